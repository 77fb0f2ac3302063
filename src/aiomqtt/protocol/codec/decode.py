"""Decoding by the table: every packet, as either role sends it.

A violation of the standard raises `PacketError`, with the reason code for the peer.
The stream decoder has a faster path for PUBLISH and the success acks; a differential
test checks that both give the same results.
"""

from collections.abc import Callable

from aiomqtt.escaping import quote
from aiomqtt.properties import Properties, ReasonCode, SubscribeOptions
from aiomqtt.protocol.packets import (
    NO_TOPIC,
    Ack,
    Connack,
    Connect,
    Packet,
    Ping,
    Publish,
    Signal,
    Suback,
    Subscribe,
    Unsubscribe,
    WillMessage,
)
from aiomqtt.protocol.wire import MAXIMUM_ITEMS, PacketError, Reader
from aiomqtt.standard.names import (
    FIRST_FAILURE,
    MALFORMED_PACKET,
    PROTOCOL_ERROR,
    UNSUPPORTED_PROTOCOL_VERSION,
    V5,
    V31,
)
from aiomqtt.standard.tables import (
    CONNECT_RETURN_CODES,
    PACKET,
    PROTOCOL_NAMES,
    PacketType,
    ProtocolVersion,
    Role,
    senders,
)
from aiomqtt.topic import Topic, is_shared

from .codes import codes_of
from .encode import check_topic_filter
from .properties import decode_properties

# In these packets a server may report a failure by a code that the standard lists for
# other packets, or not at all: any code from 0x80 up is a failure (5.0 §2.4; decision
# 0008).
_TELLS_FAILURE = frozenset(
    {
        PacketType.CONNACK,
        PacketType.PUBACK,
        PacketType.PUBREC,
        PacketType.SUBACK,
        PacketType.UNSUBACK,
        PacketType.DISCONNECT,
    }
)

# The versions by the name and level of CONNECT.
VERSIONS = {(name, int(version)): version for version, name in PROTOCOL_NAMES.items()}


def check_first_byte(first: int, version: int, sender: Role) -> PacketType:
    """Check the packet type and the flags of a fixed header (§2.1.2, §2.1.3)."""
    row = PACKET.get(first >> 4)
    if row is None or version < row.since:
        raise PacketError(MALFORMED_PACKET, f"packet type {first >> 4} is reserved")
    kind = row.packet
    if sender not in senders(kind, version):
        raise PacketError(PROTOCOL_ERROR, f"a {sender.value} sends no {kind.name}")
    flags = first & 0x0F
    expected = row.flags
    if expected is None:
        if flags & 0x06 == 0x06:
            raise PacketError(MALFORMED_PACKET, "a PUBLISH has both QoS bits set")
        if flags & 0x0E == 0x08:
            raise PacketError(MALFORMED_PACKET, "a PUBLISH with QoS 0 has the DUP flag")
    # In 3.1 the flags of CONNECT mean nothing, and only its body has the version.
    # 3.1 repeats SUBSCRIBE, UNSUBSCRIBE and PUBREL with the DUP flag.
    elif (
        flags != expected
        and kind is not PacketType.CONNECT
        and not (version == V31 and expected == 2 and flags == expected | 0x08)
    ):
        raise PacketError(MALFORMED_PACKET, f"{kind.name} has the flags {flags:#x}")
    return kind


def decode(
    first: int,
    body: bytes,
    version: int,
    sender: Role,
    maximum_items: int = MAXIMUM_ITEMS,
) -> Packet:
    """Decode one packet that a role sent.

    Args:
        first: The first byte of the fixed header.
        body: All bytes after the remaining length.
        version: The version of the connection (a CONNECT has its own).
        sender: The role of the sender.
        maximum_items: The maximum number of topic filters, of reason codes, and of
            properties of one kind.

    Raises:
        PacketError: The packet is malformed, a protocol error, or has too many items.
    """
    kind = check_first_byte(first, version, sender)
    reader = Reader(body, maximum_items=maximum_items)
    packet = _DECODERS[kind](first, reader, version, sender)
    reader.finish()
    return packet


def _decode_code(
    kind: PacketType,
    code: int,
    version: int,
    sender: Role,
    error: int = MALFORMED_PACKET,
) -> ReasonCode:
    listed = codes_of(kind, version, sender).get(code)
    if listed is not None:
        return listed
    if code >= FIRST_FAILURE and sender is Role.SERVER and kind in _TELLS_FAILURE:
        return ReasonCode(code)
    raise PacketError(error, f"reason code {code:#04x} is not allowed in {kind.name}")


def _decode_topic_name(reader: Reader) -> str:
    topic = reader.string()
    if "+" in topic or "#" in topic:
        raise PacketError(MALFORMED_PACKET, "a topic name contains wildcards")
    return topic


def _decode_connect(first: int, reader: Reader, version: int, sender: Role) -> Connect:
    name, level = reader.string(), reader.byte()
    if (name, level) not in VERSIONS:
        raise PacketError(
            UNSUPPORTED_PROTOCOL_VERSION,
            f"protocol {quote(name, 16)} level {level} is not supported",
        )
    version = VERSIONS[name, level]
    flags = reader.byte()
    if version == V31:
        flags = _without_unused_flags(flags)
    elif first & 0x0F:
        raise PacketError(MALFORMED_PACKET, f"CONNECT has the flags {first & 0x0F:#x}")
    qos = flags >> 3 & 3
    if flags & 0x01 or qos == 3 or (flags & 0x38 and not flags & 0x04):
        raise PacketError(
            MALFORMED_PACKET, f"CONNECT has the connect flags {flags:#04x}"
        )
    if flags & 0xC0 == 0x40 and version < V5:
        raise PacketError(
            MALFORMED_PACKET, "CONNECT has a password without a user name"
        )
    keep_alive = reader.two_bytes()
    properties = decode_properties(reader, PacketType.CONNECT, version, sender)
    packet = Connect(
        ProtocolVersion(version),
        reader.string(),
        bool(flags & 0x02),
        keep_alive,
        properties=properties,
    )
    if flags & 0x04:
        will_properties = decode_properties(reader, PacketType.WILL, version, sender)
        topic = _decode_topic_name(reader)
        if not topic:
            raise PacketError(MALFORMED_PACKET, "the will's topic is empty")
        packet.will = WillMessage(
            topic, reader.binary(), qos, bool(flags & 0x20), will_properties
        )
    # 3.1 §3.1: in 3.1 the flags may announce fields that are missing.
    is_lenient = version == V31
    if flags & 0x80 and not (is_lenient and reader.position == reader.end):
        packet.username = reader.string()
    if flags & 0x40 and not (is_lenient and reader.position == reader.end):
        packet.password = reader.binary()
    return packet


def _without_unused_flags(flags: int) -> int:
    """Clear the connect flags that mean nothing in 3.1 (3.1 §3.1)."""
    flags &= ~0x01
    return flags if flags & 0x04 else flags & ~0x38


def _decode_connack(first: int, reader: Reader, version: int, sender: Role) -> Connack:
    flags, number = reader.byte(), reader.byte()
    if number:
        return Connack(False, *_decode_refusal(number, reader, version, sender))
    # The byte is reserved in 3.1, but some brokers set Session Present in it.
    if flags > 1 and version > V31:
        raise PacketError(MALFORMED_PACKET, f"CONNACK has the flags {flags:#04x}")
    if version >= V5 and reader.position == reader.end:
        raise PacketError(
            MALFORMED_PACKET,
            "the broker answers as in MQTT 3.1.1 and may not speak 5.0:"
            " try protocol=ProtocolVersion.V311",
        )
    code = _decode_code(PacketType.CONNACK, number, version, sender)
    properties = decode_properties(reader, PacketType.CONNACK, version, sender)
    return Connack(flags == 1 and version > V31, code, properties)


def _decode_refusal(
    number: int, reader: Reader, version: int, sender: Role
) -> tuple[ReasonCode, Properties | None]:
    """Decode the rest of a CONNACK that refuses, after the flags, which mean nothing.

    A broker that does not support 5.0 may refuse as in 3.1.1: with a return code of
    3.1.1, and without properties (decision 0008).
    """
    kind = PacketType.CONNACK
    if version >= V5 and number in CONNECT_RETURN_CODES:
        code = ReasonCode.of_connack(number)
    else:
        code = _decode_code(kind, number, version, sender)
    if version >= V5 and reader.position == reader.end:
        return code, None
    return code, decode_properties(reader, kind, version, sender)


def _decode_publish(first: int, reader: Reader, version: int, sender: Role) -> Publish:
    qos = first >> 1 & 3
    topic = _decode_topic_name(reader)
    packet_id = reader.packet_id() if qos else 0
    properties = decode_properties(reader, PacketType.PUBLISH, version, sender)
    if not topic:
        if properties is None:
            raise PacketError(MALFORMED_PACKET, "a topic name is empty")
        if properties.topic_alias is None:
            raise PacketError(PROTOCOL_ERROR, "a PUBLISH has neither topic nor alias")
    return Publish(
        Topic(topic) if topic else NO_TOPIC,
        reader.rest(),
        qos,
        bool(first & 1),
        packet_id,
        properties,
        bool(first & 8),
    )


def _decode_ack(first: int, reader: Reader, version: int, sender: Role) -> Ack:
    kind = PacketType(first >> 4)
    packet = Ack(kind, reader.packet_id())
    if version >= V5 and reader.position < reader.end:
        packet.reason_code = _decode_code(kind, reader.byte(), version, sender)
        if reader.position < reader.end:
            packet.properties = decode_properties(reader, kind, version, sender)
    return packet


def _decode_subscribe(
    first: int, reader: Reader, version: int, sender: Role
) -> Subscribe:
    kind = PacketType.SUBSCRIBE
    packet_id = reader.packet_id()
    properties = decode_properties(reader, kind, version, sender)
    subscriptions = []
    while reader.position < reader.end:
        topic_filter, bits = reader.string(), reader.byte()
        if bits & (0xC0 if version >= V5 else 0xFC):
            raise PacketError(
                MALFORMED_PACKET, "subscription options have reserved bits set"
            )
        if bits & 3 == 3 or bits >> 4 == 3:
            raise PacketError(PROTOCOL_ERROR, "subscription options hold a value of 3")
        options = SubscribeOptions(bits & 3, bool(bits & 4), bool(bits & 8), bits >> 4)
        subscriptions.append((topic_filter, options))
        reader.check_items(len(subscriptions), "topic filters")
        _check_received_filter(topic_filter, options.no_local)
    if not subscriptions:
        raise PacketError(PROTOCOL_ERROR, "SUBSCRIBE has no topic filter")
    return Subscribe(packet_id, subscriptions, properties)


def _check_received_filter(topic_filter: str, no_local: bool = False) -> None:
    if no_local and is_shared(topic_filter):
        raise PacketError(PROTOCOL_ERROR, "No Local on a shared subscription")
    try:
        check_topic_filter(topic_filter)
    except ValueError as error:
        raise PacketError(MALFORMED_PACKET, str(error)) from None


def _decode_unsubscribe(
    first: int, reader: Reader, version: int, sender: Role
) -> Unsubscribe:
    packet_id = reader.packet_id()
    properties = decode_properties(reader, PacketType.UNSUBSCRIBE, version, sender)
    filters = []
    while reader.position < reader.end:
        filters.append(reader.string())
        reader.check_items(len(filters), "topic filters")
        _check_received_filter(filters[-1])
    if not filters:
        raise PacketError(PROTOCOL_ERROR, "UNSUBSCRIBE has no topic filter")
    return Unsubscribe(packet_id, filters, properties)


def _decode_suback(first: int, reader: Reader, version: int, sender: Role) -> Suback:
    kind = PacketType(first >> 4)
    packet_id = reader.packet_id()
    properties = decode_properties(reader, kind, version, sender)
    if kind is PacketType.UNSUBACK and version < V5:
        return Suback(kind, packet_id, [])
    reader.check_items(reader.end - reader.position, "reason codes")
    codes = [
        _decode_code(kind, code, version, sender, PROTOCOL_ERROR)
        for code in reader.rest()
    ]
    if not codes:
        raise PacketError(PROTOCOL_ERROR, f"{kind.name} has no reason code")
    return Suback(kind, packet_id, codes, properties)


def _decode_ping(first: int, reader: Reader, version: int, sender: Role) -> Ping:
    return Ping(PacketType(first >> 4))


def _decode_signal(first: int, reader: Reader, version: int, sender: Role) -> Signal:
    kind = PacketType(first >> 4)
    packet = Signal(kind)
    if version >= V5 and reader.position < reader.end:
        packet.reason_code = _decode_code(kind, reader.byte(), version, sender)
        if reader.position < reader.end:
            packet.properties = decode_properties(reader, kind, version, sender)
        if kind is PacketType.AUTH and (
            packet.properties is None or packet.properties.authentication_method is None
        ):
            raise PacketError(PROTOCOL_ERROR, "AUTH has no Authentication Method")
    return packet


_DECODERS: dict[PacketType, Callable[[int, Reader, int, Role], Packet]] = {
    PacketType.CONNECT: _decode_connect,
    PacketType.CONNACK: _decode_connack,
    PacketType.PUBLISH: _decode_publish,
    PacketType.PUBACK: _decode_ack,
    PacketType.PUBREC: _decode_ack,
    PacketType.PUBREL: _decode_ack,
    PacketType.PUBCOMP: _decode_ack,
    PacketType.SUBSCRIBE: _decode_subscribe,
    PacketType.SUBACK: _decode_suback,
    PacketType.UNSUBSCRIBE: _decode_unsubscribe,
    PacketType.UNSUBACK: _decode_suback,
    PacketType.PINGREQ: _decode_ping,
    PacketType.PINGRESP: _decode_ping,
    PacketType.DISCONNECT: _decode_signal,
    PacketType.AUTH: _decode_signal,
}
