"""The hot half of encoding: PUBLISH and the acks without a reason.

Topics repeat, so a bounded cache keeps them checked and encoded; a PUBLISH comes in
two parts, with room for the packet identifier between them, so that it is checked
and measured before it takes an identifier.
"""

from typing import Final

from aiomqtt.properties import Properties
from aiomqtt.protocol.wire import encode_string, encode_variable
from aiomqtt.standard.names import (
    MAXIMUM_REMAINING_LENGTH,
    PACKET_IDENTIFIER_NOT_FOUND,
    PUBLISH_FIRST_BYTE,
    V5,
)
from aiomqtt.standard.tables import PacketType, Role
from aiomqtt.topic import Topic

from .encode import check_qos, check_topic_name
from .properties import encode_properties

PUBLISH_TYPE: Final = PacketType.PUBLISH

# Longer topics are not kept, nor more than this many: a peer that invents topics
# must not make us hold them.
CACHED_TOPICS: Final = 16_384
CACHED_LENGTH: Final = 128


class Head:
    """A fixed header and the topic name behind it.

    It is never changed: threads share the cache, say a client and a broker's.
    """

    __slots__ = ("encoded", "key")

    def __init__(self, key: int, encoded: bytes) -> None:
        """Take the bytes.

        Args:
            key: The first byte and the remaining length, together.
            encoded: All bytes.
        """
        self.key: int = key
        self.encoded: bytes = encoded


class TopicName:
    """A topic name that was checked and encoded, and the last header in front of it."""

    __slots__ = ("encoded", "head")

    def __init__(self, encoded: bytes) -> None:
        """Take the bytes of the name, with their length in front."""
        self.encoded: bytes = encoded
        # The next one is often the same.
        self.head: Head = _NO_HEAD


_NO_HEAD: Final = Head(-1, b"")
# Topic names that were sent.
encoded_topics: Final[dict[str, TopicName]] = {}
# Topic names that were received, checked.
decoded_topics: Final[dict[bytes, Topic]] = {}

# The topic name where the topic alias says it all.
_NO_NAME: Final = TopicName(b"\x00\x00")


def encode_topic(topic: str) -> TopicName:
    """Encode a topic name; ValueError when it is none."""
    name = encoded_topics.get(topic)
    if name is None:
        check_topic_name(topic)
        name = TopicName(encode_string(topic, "topic"))
        if len(name.encoded) <= CACHED_LENGTH:
            if len(encoded_topics) >= CACHED_TOPICS:
                encoded_topics.clear()
            encoded_topics[topic] = name
    return name


def decode_topic(encoded: bytes) -> Topic | None:
    """Return the Topic of the bytes of a topic name; None when it is none."""
    topic = decoded_topics.get(encoded)
    if topic is None:
        try:
            topic = Topic(encoded.decode())
        except ValueError:
            return None
        if len(encoded) <= CACHED_LENGTH:
            if len(decoded_topics) >= CACHED_TOPICS:
                decoded_topics.clear()
            decoded_topics[encoded] = topic
    return topic


def encode_publish(
    topic: str,
    payload: bytes,
    qos: int,
    retain: bool,
    properties: Properties | None,
    version: int,
    sender: Role,
) -> tuple[bytes, bytes]:
    """Encode a PUBLISH in two parts; at QoS 1 and 2 its packet id goes between them.

    The topic may be empty where the properties have a topic alias.

    Raises:
        ValueError: The standard forbids the QoS, the topic or a property, or the
            packet is larger than any may be.
    """
    if not 0 <= qos <= 2:
        check_qos(qos)
    if topic or properties is None or properties.topic_alias is None:
        name = encode_topic(topic)
    else:
        name = _NO_NAME
    length = len(name.encoded) + len(payload)
    if qos:
        length += 2
    if version < V5 and properties is None:
        tail = payload
    elif properties is None:
        tail = b"\x00" + payload
        length += 1
    else:
        encoded = encode_properties(properties, PUBLISH_TYPE, version, sender)
        tail = encoded + payload
        length += len(encoded)
    first = PUBLISH_FIRST_BYTE | qos << 1 | (1 if retain else 0)
    key = length << 8 | first
    head = name.head
    if head.key != key:
        if length > MAXIMUM_REMAINING_LENGTH:
            msg = f"the packet has {length} bytes; 268435455 are the most"
            raise ValueError(msg)
        fixed = bytes((first,)) + encode_variable(length)
        name.head = head = Head(key, fixed + name.encoded)
    return head.encoded, tail


def encode_ack(first: int, packet_id: int) -> bytes:
    """Encode an ack in its shortest form (§3.4.2.1), which means success."""
    return (first << 24 | 2 << 16 | packet_id).to_bytes(4, "big")


def encode_not_found(first: int, packet_id: int) -> bytes:
    """Encode a PUBREL or PUBCOMP for an identifier that is not known (§3.6.2.1)."""
    return bytes(
        (first, 3, packet_id >> 8, packet_id & 0xFF, PACKET_IDENTIFIER_NOT_FOUND)
    )


def with_dup(head: bytes) -> bytes:
    """Set the DUP flag in the first part of a PUBLISH."""
    return bytes((head[0] | 0x08,)) + head[1:]
