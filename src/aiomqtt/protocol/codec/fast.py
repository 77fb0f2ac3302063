"""The hot path of encoding: PUBLISH and the acks without a reason.

Topics repeat, so a bounded cache keeps them checked and encoded. A PUBLISH is encoded
in two parts, and the packet identifier goes between them. So its content is checked and
its size is known before it needs an identifier.
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

# The limits of the cache, so that a peer that invents topics can't fill the memory: the
# length of a topic, and their number.
CACHED_TOPICS: Final = 16_384
CACHED_LENGTH: Final = 128


class Head:
    """A fixed header and the topic name that follows it.

    It is never changed, since threads share the cache: those of a client and of a
    broker, for example.
    """

    __slots__ = ("encoded", "key")

    def __init__(self, key: int, encoded: bytes) -> None:
        """Keep the encoded bytes under their key.

        Args:
            key: The first byte and the remaining length, combined.
            encoded: All bytes.
        """
        self.key: int = key
        self.encoded: bytes = encoded


class TopicName:
    """A checked and encoded topic name, and the last header that was used with it."""

    __slots__ = ("encoded", "head")

    def __init__(self, encoded: bytes) -> None:
        """Keep the bytes of the name, which begin with their length."""
        self.encoded: bytes = encoded
        # The next header is often the same.
        self.head: Head = _NO_HEAD


_NO_HEAD: Final = Head(-1, b"")
# Topic names that were sent.
encoded_topics: Final[dict[str, TopicName]] = {}
# Topic names that were received, checked.
decoded_topics: Final[dict[bytes, Topic]] = {}

# The empty topic name, if a topic alias stands for the topic.
_NO_NAME: Final = TopicName(b"\x00\x00")


def encode_topic(topic: str) -> TopicName:
    """Encode a topic name; raise ValueError if it is not one."""
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
    """Decode the bytes of a topic name; return None if they are not one."""
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

    The topic may be empty if the properties have a topic alias.

    Raises:
        ValueError: The QoS, the topic or a property violates the standard, or the
            packet is too large for MQTT.
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
        encoded = b""
    elif properties is None:
        encoded = b"\x00"
        length += 1
    else:
        encoded = encode_properties(properties, PUBLISH_TYPE, version, sender)
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
    if not encoded:
        return head.encoded, payload
    if not qos:
        # Nothing stands before the properties: so the payload is not copied.
        return head.encoded + encoded, payload
    return head.encoded, encoded + payload


def encode_ack(first: int, packet_id: int) -> bytes:
    """Encode an ack that reports success, in its shortest form (§3.4.2.1)."""
    return (first << 24 | 2 << 16 | packet_id).to_bytes(4, "big")


def encode_not_found(first: int, packet_id: int) -> bytes:
    """Encode a PUBREL or PUBCOMP for an unknown packet identifier (§3.6.2.1)."""
    return bytes(
        (first, 3, packet_id >> 8, packet_id & 0xFF, PACKET_IDENTIFIER_NOT_FOUND)
    )


def with_dup(head: bytes) -> bytes:
    """Set the DUP flag in the first part of a PUBLISH."""
    return bytes((head[0] | 0x08,)) + head[1:]
