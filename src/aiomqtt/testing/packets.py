"""Packets in the notation of a script: a kind, and the fields that matter."""

from typing import Any, Final

from aiomqtt.properties import Properties, ReasonCode
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
from aiomqtt.standard.tables import PROPERTY_NAMES, PacketType
from aiomqtt.topic import Topic, Wildcard

# The default answers: `reply` may leave out the kind.
ANSWERS: Final = {
    PacketType.CONNECT: PacketType.CONNACK,
    PacketType.SUBSCRIBE: PacketType.SUBACK,
    PacketType.UNSUBSCRIBE: PacketType.UNSUBACK,
    PacketType.PINGREQ: PacketType.PINGRESP,
    PacketType.PUBREC: PacketType.PUBREL,
    PacketType.PUBREL: PacketType.PUBCOMP,
    PacketType.AUTH: PacketType.AUTH,
}
# The answers with the packet identifier of the packet that they answer.
ACKNOWLEDGEMENTS: Final = (
    PacketType.PUBACK,
    PacketType.PUBREC,
    PacketType.PUBREL,
    PacketType.PUBCOMP,
    PacketType.SUBACK,
    PacketType.UNSUBACK,
)


def with_plain_topics(fields: dict[str, object]) -> dict[str, object]:
    """Return the fields with a str in place of each Topic and Wildcard."""
    return {
        name: list(map(_plain_topic, value))
        if isinstance(value, list)
        else _plain_topic(value)
        for name, value in fields.items()
    }


def _plain_topic(value: object) -> object:
    return value.value if isinstance(value, Wildcard) else value


def describe(kind: PacketType, fields: dict[str, Any]) -> str:
    """Return a packet in the notation of a script."""
    return ", ".join((kind.name, *(f"{k}={v!r}" for k, v in fields.items())))


def answer_to(
    last: Packet, kind: PacketType | None, fields: dict[str, Any]
) -> tuple[PacketType, dict[str, Any]]:
    """Return the kind and the fields of the answer to a packet.

    Args:
        last: The packet.
        kind: The kind of the answer; None: the standard's.
        fields: The fields that the script sets.

    Raises:
        AssertionError: The standard has no answer to this packet.
    """
    if isinstance(last, Publish) and kind is None and last.qos:
        kind = PacketType.PUBACK if last.qos == 1 else PacketType.PUBREC
    kind = kind or ANSWERS.get(last.kind)
    if kind is None:
        msg = f"nothing answers {last!r}"
        raise AssertionError(msg)
    given = dict(fields)
    packet_id = last.packet_id if isinstance(last, Publish) else None
    packet_id = getattr(last, "packet_id", packet_id)
    if packet_id and kind in ACKNOWLEDGEMENTS:
        given.setdefault("packet_id", packet_id)
    if isinstance(last, Subscribe) and kind is PacketType.SUBACK:
        granted = [options.qos for _, options in last.subscriptions]
        given.setdefault("reason_codes", granted)
    if isinstance(last, Unsubscribe) and kind is PacketType.UNSUBACK:
        given.setdefault("reason_codes", [0] * len(last.filters))
    return kind, given


def make(kind: PacketType, fields: dict[str, Any]) -> Packet:
    """Make a packet that a broker sends."""
    given = dict(fields)
    if isinstance(given.get("properties"), dict):
        given["properties"] = Properties(**given["properties"])
    if kind is PacketType.PUBLISH:
        payload = given.pop("payload", b"")
        return Publish(
            Topic(given.pop("topic", "topic")),
            payload.encode() if isinstance(payload, str) else payload,
            given.pop("qos", 0),
            given.pop("retain", False),
            given.pop("packet_id", 0),
            given.pop("properties", None),
            given.pop("dup", False),
        )
    if kind is PacketType.CONNACK:
        code = given.get("reason_code", 0)
        given["reason_code"] = (
            code if isinstance(code, ReasonCode) else ReasonCode(code)
        )
        given.setdefault("session_present", False)
        return Connack(**given)
    if kind in (PacketType.SUBACK, PacketType.UNSUBACK):
        given["reason_codes"] = [ReasonCode(code) for code in given["reason_codes"]]
        return Suback(kind, **given)
    if kind is PacketType.PINGRESP:
        return Ping(kind)
    if kind in (PacketType.DISCONNECT, PacketType.AUTH):
        return Signal(kind, **given)
    if "reason_code" in given:
        given["reason_code"] = ReasonCode(given["reason_code"])
    return Ack(kind, **given)


_SHAPES: Final[dict[PacketType, type]] = {
    PacketType.CONNECT: Connect,
    PacketType.SUBSCRIBE: Subscribe,
    PacketType.UNSUBSCRIBE: Unsubscribe,
    PacketType.PINGREQ: Ping,
    PacketType.DISCONNECT: Signal,
    PacketType.AUTH: Signal,
}


def fields_of(kind: PacketType) -> set[str]:
    """Return the fields that can be expected in a client's packet."""
    if kind is PacketType.PUBLISH:
        own = {"topic", "payload", "qos", "retain", "dup", "packet_id", "properties"}
    else:
        own = set(getattr(_SHAPES.get(kind, Ack), "FIELDS", ()))
    if kind is PacketType.SUBSCRIBE:
        own.add("filters")
    return own | PROPERTY_NAMES.keys()


def field_of(packet: Packet, name: str) -> object:
    """Return a field or a property of a packet, for comparison."""
    if isinstance(packet, Publish) and name in ("topic", "packet_id"):
        return packet.topic.value if name == "topic" else packet.packet_id
    if isinstance(packet, Subscribe) and name == "filters":
        return [topic_filter for topic_filter, _ in packet.subscriptions]
    if name in PROPERTY_NAMES:
        return getattr(getattr(packet, "properties", None) or Properties(), name)
    return getattr(packet, name)
