"""Estimates of the memory that messages use; bounds count it, not just payloads.

An estimate is the number of bytes on the wire and the overhead of the objects. The
figures are those of CPython on 64-bit systems, rounded up.
"""

from typing import Any, Final

from aiomqtt.message import Message
from aiomqtt.properties import Properties

# The overhead of a message, its payload, and its topic if that is not shared.
MESSAGE_SIZE: Final = 512
# The overhead of properties, if there are any; of a user property, which is a tuple of
# two strings; of a number.
PROPERTIES_SIZE: Final = 256
PAIR_SIZE: Final = 160
NUMBER_SIZE: Final = 40
# A string with any character beyond the basic plane uses four bytes per character.
WIDE: Final = 3


def properties_size(properties: Properties, is_wide: bool, encoded: int) -> int:
    """Return the memory that properties use in addition to their bytes on the wire.

    Args:
        properties: The properties.
        is_wide: Whether their strings may contain characters outside ASCII.
        encoded: Their size on the wire, in bytes.
    """
    values: dict[str, Any] = properties.present
    size = PROPERTIES_SIZE + (WIDE * encoded if is_wide else 0)
    pairs = values.get("user_property")
    if pairs is not None:
        size += PAIR_SIZE * len(pairs)
    numbers = values.get("subscription_identifier")
    if numbers is not None:
        size += NUMBER_SIZE * len(numbers)
    return size


def message_size(message: Message) -> int:
    """Estimate the memory that a message uses, from its fields alone."""
    size = MESSAGE_SIZE + len(message.payload) + _text_size(message.topic.value)
    if message.encoded is not None:
        # Decoded now, as it has to be the same size when the program has read them.
        _ = message.properties
    if message.carried is not None:
        values: dict[str, Any] = message.carried.present
        if values:
            size += properties_size(message.carried, False, 0)
        for value in values.values():
            if isinstance(value, str):
                size += _text_size(value)
            elif isinstance(value, bytes):
                size += len(value)
        for name, value in values.get("user_property", ()):
            size += _text_size(name) + _text_size(value)
    return size


def _text_size(text: str) -> int:
    return len(text) if text.isascii() else (1 + WIDE) * len(text)
