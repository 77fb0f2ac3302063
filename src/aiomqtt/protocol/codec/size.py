"""What messages take of memory, about: bounds count what is kept, not payloads alone.

The bytes on the wire count as they are; what objects take besides is added here. The
figures are those of CPython on 64 bits, rounded up.
"""

from typing import Any, Final

from aiomqtt.message import Message
from aiomqtt.properties import Properties

# A message, its payload, and its topic where that is not shared.
MESSAGE_SIZE: Final = 512
# Properties, when there are any; a user property, a tuple of two strings; a number.
PROPERTIES_SIZE: Final = 256
PAIR_SIZE: Final = 160
NUMBER_SIZE: Final = 40
# A string with any character beyond the basic plane takes four bytes for each.
WIDE: Final = 3


def properties_size(properties: Properties, is_wide: bool, encoded: int) -> int:
    """Return what properties take besides their bytes on the wire.

    Args:
        properties: The properties.
        is_wide: Whether their strings may have other characters than ASCII.
        encoded: How many bytes they are on the wire.
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
    """Return what a message takes, as the sum of these, from its fields alone."""
    size = MESSAGE_SIZE + len(message.payload) + _text_size(message.topic.value)
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
