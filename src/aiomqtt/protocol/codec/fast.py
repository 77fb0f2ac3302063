"""The hot path of the codec: PUBLISH, and acknowledgements without a reason.

Topics repeat, so a bounded cache keeps them checked and encoded. A PUBLISH is encoded
in two parts, with room for the packet identifier between them, so that it is checked
and measured before it takes an identifier.
"""

from typing import Final

from aiomqtt.build import i64
from aiomqtt.message import NO_PROPERTIES
from aiomqtt.properties import Properties
from aiomqtt.protocol.packets import Ack, Connect, Packet, Publish
from aiomqtt.protocol.wire import Reader, encode_string, encode_variable
from aiomqtt.standard.names import (
    MAXIMUM_REMAINING_LENGTH,
    PACKET_IDENTIFIER_NOT_FOUND,
    PUBACK_FIRST_BYTE,
    PUBCOMP_FIRST_BYTE,
    PUBLISH_FIRST_BYTE,
    PUBREC_FIRST_BYTE,
    PUBREL_FIRST_BYTE,
    V5,
)
from aiomqtt.standard.tables import PacketType, ProtocolVersion, Role
from aiomqtt.topic import Topic

from .decode import decode
from .encode import check_qos, check_topic_name
from .encoded import check_encoded
from .properties import decode_properties, encode_properties
from .size import WIDE, properties_size

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


# --- decoding -------------------------------------------------------------------------

# The decoder to try for a packet, by its first byte.
TABLE: Final = 0
PUBLISH: Final = 1
ACK: Final = 2

ROUTES: Final = bytes(
    PUBLISH
    if first >> 4 == PacketType.PUBLISH and first & 6 != 6 and first & 14 != 8
    else ACK
    if first
    in (PUBACK_FIRST_BYTE, PUBREC_FIRST_BYTE, PUBREL_FIRST_BYTE, PUBCOMP_FIRST_BYTE)
    else TABLE
    for first in range(256)
)
# By the type in the first byte, less 4. Without its length in the type: otherwise mypyc
# makes a new tuple each time.
_ACK_KINDS: Final[tuple[PacketType, ...]] = (
    PacketType.PUBACK,
    PacketType.PUBREC,
    PacketType.PUBREL,
    PacketType.PUBCOMP,
)


class PacketDecoder:
    """Decodes whole packets of one peer on one connection.

    Args:
        version: The version of the connection; a CONNECT replaces it with its own.
        sender: The role of the peer.
        maximum_items: The maximum number of topic filters, of reason codes, and of
            properties of one kind in a packet.

    Attributes:
        version: The version of the connection.
        kept: An estimate of the memory that packets use, in bytes; its user resets it.
        has_others: Whether there may be others than PUBLISH with QoS 0 and without a
            topic alias, which need nothing but to be delivered; its user resets it.
    """

    __slots__ = (
        "_is_lazy",
        "_is_v5",
        "_last_name",
        "_last_topic",
        "_maximum_items",
        "_sender",
        "has_others",
        "kept",
        "version",
    )

    def __init__(
        self, version: ProtocolVersion, sender: Role, maximum_items: int
    ) -> None:
        self.version: ProtocolVersion = version
        self.kept: int = 0
        self.has_others: bool = False
        self._is_v5 = version >= V5
        # A client hands properties to a program, which may not read them. A broker has
        # to look at them, and passes them on.
        self._is_lazy = sender is Role.SERVER
        self._sender = sender
        self._maximum_items = maximum_items
        # The topic of a PUBLISH, and its bytes.
        self._last_name = b""
        self._last_topic: Topic | None = None

    def decode(self, first: i64, data: bytes, start: i64, stop: i64) -> Packet:
        """Decode one packet: the usual ones by the fast path, others by the table."""
        if ROUTES[first] == PUBLISH and stop - start >= 2:
            body: i64 = start + 2 + (data[start] << 8 | data[start + 1])
            # It is often that of the last one. Else look it up in the cache; check it
            # if it is not there.
            name = data[start + 2 : body]
            topic = self._last_topic
            if name != self._last_name:
                topic = decoded_topics.get(name)
                if topic is None:
                    topic = decode_topic(name)
                    if len(name) > CACHED_LENGTH and not name.isascii():
                        self.kept += WIDE * len(name)
                else:
                    self._last_name = name
                    self._last_topic = topic
            qos = first >> 1 & 3
            packet_id: i64 = 0
            if qos and body + 2 <= stop:
                self.has_others = True
                packet_id = data[body] << 8 | data[body + 1]
                body += 2
            # The table decodes the unusual packets and reports the wrong ones.
            if topic is not None and body <= stop and (packet_id or not qos):
                properties = None
                encoded = None
                if self._is_v5 and body < stop and not data[body]:
                    properties = NO_PROPERTIES
                    body += 1
                elif self._is_v5 and self._is_lazy:
                    encoded = check_encoded(data, body, stop, self._maximum_items)
                if encoded is not None:
                    properties = NO_PROPERTIES
                    body += encoded.size
                    self.kept += encoded.memory
                elif self._is_v5 and properties is None:
                    self.has_others = True
                    reader = Reader(data, body, stop, self._maximum_items)
                    properties = self._decode_properties(reader)
                    body = reader.position
                return Publish(
                    topic,
                    data[body:stop],
                    qos,
                    first & 1 == 1,
                    packet_id,
                    properties,
                    first & 8 == 8,
                    encoded,
                )
        self.has_others = True
        if ROUTES[first] == ACK and stop - start == 2:
            packet_id = data[start] << 8 | data[start + 1]
            if packet_id:
                return Ack(_ACK_KINDS[(first >> 4) - 4], packet_id)
        return self._decode_by_table(first, data[start:stop])

    def _decode_by_table(self, first: int, body: bytes) -> Packet:
        packet = decode(first, body, self.version, self._sender, self._maximum_items)
        if isinstance(packet, Connect):
            self.version = packet.version
            self._is_v5 = packet.version >= V5
        return packet

    def _decode_properties(self, reader: Reader) -> Properties | None:
        """Decode the properties of a PUBLISH at once, and count their memory."""
        start = reader.position
        properties = decode_properties(reader, PUBLISH_TYPE, self.version, self._sender)
        if properties is not None:
            section = reader.data[start : reader.position]
            self.kept += properties_size(
                properties, not section.isascii(), len(section)
            )
        return properties
