"""Encoding by the table: every packet, as either role sends it.

A violation of the standard raises ValueError. `fast` has a faster path for PUBLISH and
the success acks; a differential test checks that both give the same bytes.
"""

from collections.abc import Callable
from typing import Any

from aiomqtt.escaping import quote
from aiomqtt.protocol.packets import (
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
)
from aiomqtt.protocol.wire import (
    encode_binary,
    encode_string,
    encode_two_bytes,
    encode_variable,
)
from aiomqtt.standard.names import MAXIMUM_PACKET_ID, MAXIMUM_REMAINING_LENGTH, V5, V31
from aiomqtt.standard.tables import (
    PACKET,
    PROTOCOL_NAMES,
    PacketType,
    Role,
    senders,
)
from aiomqtt.topic import (
    is_shared,
    split_shared,
    topic_filter_fault,
    topic_name_fault,
)

from .codes import codes_of
from .properties import check_properties, encode_properties


def encode(packet: Packet, version: int, sender: Role) -> bytes:
    """Encode a packet as a role sends it.

    Raises:
        ValueError: The packet, or something in it, violates the standard.
    """
    kind = packet.kind
    if sender not in senders(kind, version):
        msg = f"a {sender.value} sends no {kind.name} in this version of MQTT"
        raise ValueError(msg)
    body = _ENCODERS[kind](packet, version, sender)
    flags = PACKET[kind].flags
    if isinstance(packet, Publish):
        flags = packet.dup << 3 | packet.qos << 1 | bool(packet.retain)
    assert flags is not None
    if len(body) > MAXIMUM_REMAINING_LENGTH:
        msg = f"the packet has {len(body)} bytes; 268435455 are the most"
        raise ValueError(msg)
    return bytes((kind << 4 | flags,)) + encode_variable(len(body)) + body


def _encode_packet_id(packet_id: int) -> bytes:
    if not 0 < packet_id <= MAXIMUM_PACKET_ID:
        msg = f"a packet identifier must be 1 to 65535, not {packet_id}"
        raise ValueError(msg)
    return encode_two_bytes(packet_id)


def _encode_code(kind: PacketType, code: int, version: int, sender: Role) -> bytes:
    if int(code) not in codes_of(kind, version, sender):
        msg = f"reason code {int(code):#04x} is not allowed in {kind.name}"
        raise ValueError(msg)
    return bytes((code,))


def check_qos(qos: object, name: str = "qos") -> None:
    """Raise ValueError unless a value is a QoS (§3.3.1.2)."""
    if not isinstance(qos, int):
        msg = f"{name} must be an int, not {type(qos).__name__}"
        raise TypeError(msg)
    if qos not in (0, 1, 2):
        msg = f"{name} must be 0, 1 or 2, not {qos!r}"
        raise ValueError(msg)


def check_topic_name(topic: str, name: str = "topic") -> None:
    """Raise ValueError unless a text is a topic name (§4.7)."""
    fault = topic_name_fault(topic)
    if fault is not None:
        msg = f"{name} {fault}: {quote(topic, 80)} (MQTT 5.0 §4.7)"
        raise ValueError(msg)


def check_topic_filter(topic_filter: str, no_local: bool = False) -> None:
    """Raise ValueError unless a text is a topic filter (§4.7.1, §4.8.2)."""
    fault = topic_filter_fault(topic_filter)
    if fault is None and is_shared(topic_filter):
        if no_local:
            msg = "no_local is not allowed on a shared subscription ([MQTT-3.8.3-4])"
            raise ValueError(msg)
        name, rest = split_shared(topic_filter)
        if not name or "+" in name or "#" in name or not rest:
            fault = "must be $share/, a name without wildcards, / and a filter"
    if fault is not None:
        shown = quote(topic_filter, 80)
        msg = f"Invalid topic filter: topic {fault}: {shown} (MQTT 5.0 §4.7)"
        raise ValueError(msg)


def _encode_connect(packet: Connect, version: int, sender: Role) -> bytes:
    has_user, has_password = packet.username is not None, packet.password is not None
    if has_password and not has_user and version < V5:
        msg = "a password needs a user name below MQTT 5.0 ([MQTT-3.1.2-22])"
        raise ValueError(msg)
    if not packet.client_id and not packet.clean_start and version < V5:
        msg = "an empty client identifier needs a clean session ([MQTT-3.1.3-7])"
        raise ValueError(msg)
    if not 0 <= packet.keep_alive <= 0xFFFF:
        msg = f"keep alive must be 0 to 65535 seconds, not {packet.keep_alive}"
        raise ValueError(msg)
    flags = has_user << 7 | has_password << 6 | packet.clean_start << 1
    payload = encode_string(packet.client_id, "client identifier")
    will = packet.will
    if will is not None:
        check_qos(will.qos, "the will's qos")
        check_topic_name(will.topic, "the will's topic")
        flags |= will.retain << 5 | will.qos << 3 | 0x04
        payload += (
            encode_properties(will.properties, PacketType.WILL, version, sender)
            + encode_string(will.topic, "the will's topic")
            + encode_binary(will.payload, "the will's payload")
        )
    if packet.username is not None:
        payload += encode_string(packet.username, "user name")
    if packet.password is not None:
        payload += encode_binary(packet.password, "password")
    return (
        encode_string(PROTOCOL_NAMES[version], "protocol name")
        + bytes((version, flags))
        + encode_two_bytes(packet.keep_alive)
        + encode_properties(packet.properties, packet.kind, version, sender)
        + payload
    )


def _encode_connack(packet: Connack, version: int, sender: Role) -> bytes:
    if packet.session_present and packet.reason_code:
        msg = "a refusal has no session present ([MQTT-3.2.2-6])"
        raise ValueError(msg)
    if packet.session_present and version == V31:
        msg = "MQTT 3.1 knows no session present"
        raise ValueError(msg)
    code: int = packet.reason_code
    if version < V5 and packet.reason_code.equivalent is not None:
        code = packet.reason_code.equivalent
    return (
        bytes((packet.session_present,))
        + _encode_code(packet.kind, code, version, sender)
        + encode_properties(packet.properties, packet.kind, version, sender)
    )


def _encode_publish(packet: Publish, version: int, sender: Role) -> bytes:
    check_qos(packet.qos)
    topic = packet.topic.value
    properties = packet.properties
    if topic or properties is None or properties.topic_alias is None:
        check_topic_name(topic)
    if packet.dup and not packet.qos:
        msg = "a PUBLISH with QoS 0 has no DUP flag ([MQTT-3.3.1-2])"
        raise ValueError(msg)
    if packet.packet_id and not packet.qos:
        msg = "a PUBLISH with QoS 0 has no packet identifier ([MQTT-2.2.1-2])"
        raise ValueError(msg)
    return (
        encode_string(topic, "topic")
        + (_encode_packet_id(packet.packet_id) if packet.qos else b"")
        + encode_properties(properties, packet.kind, version, sender)
        + packet.payload
    )


def _encode_ack(packet: Ack, version: int, sender: Role) -> bytes:
    head = _encode_packet_id(packet.packet_id)
    check_properties(packet.properties, packet.kind, version, sender)
    has_properties = packet.properties is not None and bool(packet.properties.present)
    if version < V5 and packet.reason_code:
        msg = f"{packet.kind.name} has no reason code below MQTT 5.0"
        raise ValueError(msg)
    # The shortest form omits a reason code of zero (§3.4.2.1).
    if not packet.reason_code and not has_properties:
        return head
    head += _encode_code(packet.kind, packet.reason_code, version, sender)
    if not has_properties:
        return head
    return head + encode_properties(packet.properties, packet.kind, version, sender)


def _encode_subscribe(packet: Subscribe, version: int, sender: Role) -> bytes:
    if not packet.subscriptions:
        msg = "a SUBSCRIBE needs at least one topic filter ([MQTT-3.8.3-2])"
        raise ValueError(msg)
    parts = [
        _encode_packet_id(packet.packet_id),
        encode_properties(packet.properties, packet.kind, version, sender),
    ]
    for topic_filter, options in packet.subscriptions:
        check_topic_filter(topic_filter, options.no_local)
        bits = (
            options.retain_handling << 4
            | bool(options.retain_as_published) << 3
            | bool(options.no_local) << 2
            | options.qos
        )
        if version < V5 and bits > 2:
            msg = "subscription options other than qos exist since MQTT 5.0 only"
            raise ValueError(msg)
        parts.append(encode_string(topic_filter, "topic filter") + bytes((bits,)))
    return b"".join(parts)


def _encode_unsubscribe(packet: Unsubscribe, version: int, sender: Role) -> bytes:
    if not packet.filters:
        msg = "an UNSUBSCRIBE needs at least one topic filter ([MQTT-3.10.3-2])"
        raise ValueError(msg)
    parts = [
        _encode_packet_id(packet.packet_id),
        encode_properties(packet.properties, packet.kind, version, sender),
    ]
    for topic_filter in packet.filters:
        check_topic_filter(topic_filter)
        parts.append(encode_string(topic_filter, "topic filter"))
    return b"".join(parts)


def _encode_suback(packet: Suback, version: int, sender: Role) -> bytes:
    head = _encode_packet_id(packet.packet_id)
    if packet.kind is PacketType.UNSUBACK and version < V5:
        return head
    if not packet.reason_codes:
        msg = f"{packet.kind.name} needs a reason code for each topic filter"
        raise ValueError(msg)
    return (
        head
        + encode_properties(packet.properties, packet.kind, version, sender)
        + b"".join(
            _encode_code(packet.kind, code, version, sender)
            for code in packet.reason_codes
        )
    )


def _encode_ping(packet: Ping, version: int, sender: Role) -> bytes:
    return b""


def _encode_signal(packet: Signal, version: int, sender: Role) -> bytes:
    check_properties(packet.properties, packet.kind, version, sender)
    has_properties = packet.properties is not None and bool(packet.properties.present)
    if version < V5:
        if packet.reason_code:
            msg = "DISCONNECT has no reason code below MQTT 5.0"
            raise ValueError(msg)
        return b""
    code = _encode_code(packet.kind, packet.reason_code, version, sender)
    if not has_properties and not packet.reason_code:
        return b""
    if packet.kind is PacketType.AUTH and (
        packet.properties is None or packet.properties.authentication_method is None
    ):
        msg = "AUTH needs authentication_method (MQTT 5.0 §3.15.2.2.2)"
        raise ValueError(msg)
    if not has_properties and packet.kind is PacketType.DISCONNECT:
        return code
    return code + encode_properties(packet.properties, packet.kind, version, sender)


_ENCODERS: dict[PacketType, Callable[[Any, int, Role], bytes]] = {
    PacketType.CONNECT: _encode_connect,
    PacketType.CONNACK: _encode_connack,
    PacketType.PUBLISH: _encode_publish,
    PacketType.PUBACK: _encode_ack,
    PacketType.PUBREC: _encode_ack,
    PacketType.PUBREL: _encode_ack,
    PacketType.PUBCOMP: _encode_ack,
    PacketType.SUBSCRIBE: _encode_subscribe,
    PacketType.SUBACK: _encode_suback,
    PacketType.UNSUBSCRIBE: _encode_unsubscribe,
    PacketType.UNSUBACK: _encode_suback,
    PacketType.PINGREQ: _encode_ping,
    PacketType.PINGRESP: _encode_ping,
    PacketType.DISCONNECT: _encode_signal,
    PacketType.AUTH: _encode_signal,
}
