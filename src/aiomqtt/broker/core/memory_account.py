"""The account of all memory that a broker uses for its clients.

Everything that is kept is added, and subtracted when it is released, by the sizes
below. They are the sizes of the objects in CPython, rounded up.
"""

from typing import Final

from aiomqtt.properties import Properties
from aiomqtt.protocol.packets import Connect, WillMessage

# In bytes, without the text and the data in them.
CONNECTION_SIZE: Final = 10 * 1024
SESSION_SIZE: Final = 3 * 1024
SUBSCRIPTION_SIZE: Final = 600
# One level of a topic or filter that no other shares.
LEVEL_SIZE: Final = 300
MESSAGE_SIZE: Final = 500
# The time at which a retained message expires.
EXPIRY_SIZE: Final = 500
# A message in a session's queue, without the message itself.
QUEUED_SIZE: Final = 700
# A packet identifier of QoS 2 between PUBLISH and PUBREL.
IDENTIFIER_SIZE: Final = 200
# A packet that was decoded and waits.
PACKET_SIZE: Final = 500
# A topic of a retained message that a session still gets.
PENDING_SIZE: Final = 110
# The cached subscribers of a topic, and each session in them.
FOUND_SIZE: Final = 400
RECIPIENT_SIZE: Final = 250
# A property; an item of one that repeats.
PROPERTIES_SIZE: Final = 300
ITEM_SIZE: Final = 160

# This share of the maximum is reserved for connections, so that clients can still
# connect and receive their messages.
RESERVE: Final = 8


class MemoryAccount:
    """The memory in use, and its maximum.

    Attributes:
        maximum: The maximum, in bytes.
        used: The bytes in use.
    """

    __slots__ = ("_maximum_kept", "maximum", "used")

    def __init__(self, maximum: int) -> None:
        self.maximum: int = maximum
        self._maximum_kept = maximum - maximum // RESERVE
        self.used: int = 0

    def has_room(self, size: int) -> bool:
        """Return whether this many more bytes can be kept."""
        return self.used + size <= self._maximum_kept

    @property
    def takes_connections(self) -> bool:
        """Whether there is room for one more connection."""
        return self.used + CONNECTION_SIZE <= self.maximum


def size_of_properties(properties: Properties | None) -> int:
    """Estimate the size of properties, in bytes."""
    if properties is None or not properties.present:
        return 0
    size = PROPERTIES_SIZE
    for value in properties.present.values():
        if isinstance(value, str | bytes):
            size += ITEM_SIZE + 2 * len(value)
        elif isinstance(value, list):
            for item in value:
                size += ITEM_SIZE
                if isinstance(item, tuple):
                    size += 2 * (len(item[0]) + len(item[1]))
        else:
            size += ITEM_SIZE
    return size


def size_of_will(will: WillMessage) -> int:
    """Estimate the size of a will, in bytes."""
    text = 2 * len(will.topic) + len(will.payload)
    return MESSAGE_SIZE + text + size_of_properties(will.properties)


def size_of_connect(packet: Connect) -> int:
    """Estimate the size of a CONNECT, in bytes; it is kept with its connection."""
    size = 2 * len(packet.client_id) + size_of_properties(packet.properties)
    if packet.username is not None:
        size += 2 * len(packet.username)
    if packet.password is not None:
        size += len(packet.password)
    if packet.will is not None:
        size += size_of_will(packet.will)
    return size
