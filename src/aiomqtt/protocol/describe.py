"""Descriptions of packets for the log, worded as in paho-mqtt and aiomqtt 2.

Passwords, Authentication Data and payloads are left out. Text from the other side is
escaped, and every description is at most a few lines long.
"""

from collections.abc import Callable
from typing import Any, Final

from aiomqtt.escaping import escape, quote
from aiomqtt.properties import Properties, ReasonCode
from aiomqtt.standard.tables import PacketType, ProtocolVersion, Role

from .codec.codes import codes_of
from .packets import (
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

# The number of topic filters or reason codes of a packet that are shown.
MAXIMUM_ITEMS: Final = 10

_NO_PROPERTIES: Final = Properties()


def describe(packet: Packet) -> str:
    """Return the text that follows the name of a packet in the log, possibly empty."""
    return _WORDS[type(packet)](packet)


def _connect(packet: Connect) -> str:
    will = packet.will
    return (
        f" (u{packet.username is not None:d}, p{packet.password is not None:d},"
        f" wr{will is not None and will.retain:d}, wq{will.qos if will else 0},"
        f" wf{will is not None:d}, c{packet.clean_start:d}, k{packet.keep_alive})"
        f" client_id={quote(packet.client_id)}{_properties(packet.properties, ' ')}"
    )


def _connack(packet: Connack) -> str:
    return (
        f" ({packet.session_present:d}, {packet.reason_code})"
        f"{_properties(packet.properties, ' ')}"
    )


def _publish(packet: Publish) -> str:
    return (
        f" (d{packet.dup:d}, q{packet.qos}, r{packet.retain:d}, m{packet.packet_id}),"
        f" {quote(packet.topic.value)},{_properties(packet.properties, ' ', ',')}"
        f" ... ({len(packet.payload)} bytes)"
    )


def _ack(packet: Ack) -> str:
    code = f", {packet.reason_code}" if packet.reason_code else ""
    return f" (Mid: {packet.packet_id}{code}){_properties(packet.properties, ' ')}"


def _subscribe(packet: Subscribe) -> str:
    asked = _list(
        packet.subscriptions, lambda each: f"({quote(each[0])}, {each[1].qos})"
    )
    return f" (m{packet.packet_id}) {asked}{_properties(packet.properties, ' ')}"


def _unsubscribe(packet: Unsubscribe) -> str:
    filters = _list(packet.filters, quote)
    return f" (m{packet.packet_id}) {filters}{_properties(packet.properties, ' ')}"


def _suback(packet: Suback) -> str:
    codes = f" {_list(packet.reason_codes, str)}" if packet.reason_codes else ""
    return f" (Mid: {packet.packet_id}){codes}{_properties(packet.properties, ' ')}"


def _ping(_packet: Ping) -> str:
    return ""


def _signal(packet: Signal) -> str:
    code, properties = packet.reason_code, packet.properties
    if not code and properties is None and packet.kind is PacketType.DISCONNECT:
        return ""
    # Code 0 has a different name in each of the two.
    named = codes_of(packet.kind, ProtocolVersion.V5, Role.SERVER)
    name = named.get(code, ReasonCode(code))
    return f" ({name}){_properties(properties, ' ')}"


def _properties(properties: Properties | None, before: str, after: str = "") -> str:
    """Return the properties, if there are any."""
    if properties is None or properties == _NO_PROPERTIES:
        return ""
    # Their repr() leaves secrets out.
    return f"{before}properties={escape(repr(properties))}{after}"


def _list(items: list[Any], word: Callable[[Any], str]) -> str:
    shown = ", ".join(word(item) for item in items[:MAXIMUM_ITEMS])
    further = len(items) - MAXIMUM_ITEMS
    return f"[{shown}, and {further} more]" if further > 0 else f"[{shown}]"


_WORDS: Final[dict[type, Callable[[Any], str]]] = {
    Connect: _connect,
    Connack: _connack,
    Publish: _publish,
    Ack: _ack,
    Subscribe: _subscribe,
    Unsubscribe: _unsubscribe,
    Suback: _suback,
    Ping: _ping,
    Signal: _signal,
}
