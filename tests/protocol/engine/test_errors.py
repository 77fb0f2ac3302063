"""Violations of the standard by the broker, and the DISCONNECT that answers each."""

from typing import Any, NamedTuple

import pytest

from aiomqtt.properties import Properties
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.protocol.dispatch import State
from aiomqtt.protocol.output import Connected
from aiomqtt.protocol.packets import Connect, Packet
from aiomqtt.standard.tables import PacketType, ProtocolVersion, Role, senders

from .client_and_broker import (
    AUTH,
    CONNACK,
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    connected,
    octets,
    strangers,
)


def in_state(state, version=5, **settings):
    client, broker = strangers(version, client_id="c", **settings)
    if state is not State.CLOSED:
        client.connect()
        broker.gets_connect()
    if state is State.CONNECTED:
        method = client.engine.settings.properties
        broker.sends(
            CONNACK(authentication_method=method.authentication_method)
            if method is not None and method.authentication_method
            else CONNACK()
        )
        assert isinstance(client.events()[0], Connected)
    return client, broker


def ends(client, broker, code, version=5):
    """The connection ended with this code, told to the broker and the program."""
    assert client.closed_with() == code
    broker.gets(*[bytes((0xE0, 1, code))] * (version == 5))


# --- the table of states --------------------------------------------------------

ACCEPTED = {
    State.CONNECTING: {"CONNACK", "DISCONNECT", "AUTH"},
    State.CONNECTED: {
        "PUBLISH",
        "PUBACK",
        "PUBREC",
        "PUBREL",
        "PUBCOMP",
        "SUBACK",
        "UNSUBACK",
        "PINGRESP",
        "DISCONNECT",
        "AUTH",
    },
}

EVERY_PACKET: list[Packet] = [
    Connect(ProtocolVersion.V5, "c"),
    CONNACK(),
    PUBLISH("t", b"x"),
    PUBACK(1),
    PUBREC(1),
    PUBREL(1),
    PUBCOMP(1),
    SUBSCRIBE(1, "f"),
    SUBACK(1, 0),
    UNSUBSCRIBE(1, "f"),
    UNSUBACK(1, 0),
    PINGREQ,
    PINGRESP,
    DISCONNECT(),
    AUTH(authentication_method="m"),
]


def as_bytes(packet, version):
    """A packet as somebody would send it in this version, or as in 5.0."""
    roles = senders(packet.kind, version)
    if not roles:
        return None
    role = Role.SERVER if Role.SERVER in roles else Role.CLIENT
    if isinstance(packet, Connect):
        packet.version = ProtocolVersion(version)
    return encode(packet, version, role)


@pytest.mark.conformance("5.0", "MQTT-3.2.0-1", "MQTT-3.2.0-2")
@pytest.mark.conformance("3.1.1", "MQTT-3.2.0-1", "MQTT-4.8.0-1")
@pytest.mark.parametrize("state", [State.CONNECTING, State.CONNECTED])
@pytest.mark.parametrize("packet", EVERY_PACKET, ids=lambda packet: packet.kind.name)
def test_what_a_state_does_not_accept_is_a_protocol_error(version, state, packet):
    data = as_bytes(packet, version)
    if data is None:
        # There is no such packet in this version: a reserved type.
        client, broker = in_state(state, version)
        broker.sends(octets("f0 00"))
        ends(client, broker, 0x81, version)
        return
    client, broker = in_state(state, version)
    broker.sends(data)
    accepted = packet.kind.name in ACCEPTED[state]
    if version < 5 and packet.kind is PacketType.DISCONNECT:
        accepted = False
    if packet.kind is PacketType.AUTH:
        # Accepted by the state, but nobody asked for it.
        accepted = False
    if not accepted:
        ends(client, broker, 0x82, version)
        assert client.messages() == []
    elif packet.kind is PacketType.DISCONNECT:
        assert client.closed_with() == 0
        broker.gets_nothing()
    else:
        assert client.state() is State.CONNECTED


@pytest.mark.parametrize("packet", EVERY_PACKET, ids=lambda packet: packet.kind.name)
def test_without_a_connection_nothing_is_read(version, packet):
    client, broker = in_state(State.CLOSED, version)
    data = as_bytes(packet, version)
    if data is not None:
        broker.sends(data)
    broker.sends(b"\xff\xff\xff\xff\xff")
    broker.gets_nothing()
    assert client.events() == []
    assert client.messages() == []


@pytest.mark.parametrize("bad", ["00 00", "c0 00", "36 03 00 01 74"])
def test_what_came_before_an_error_counts_and_what_comes_after_does_not(version, bad):
    client, broker = in_state(State.CONNECTED, version)
    broker.sends(
        PUBLISH("t", b"before", 1, 1), octets(bad), PUBLISH("t", b"after", 1, 2)
    )
    assert client.payloads() == [b"before"]
    assert broker.read().startswith(octets("40 02 00 01"))
    assert len(client.events()) == 1


# --- rules without a number -------------------------------------------------------

METHOD = Properties(authentication_method="m")


class Case(NamedTuple):
    """Bytes that break a rule, in a state and with settings where they can."""

    section: str
    packet: str
    data: bytes
    code: int
    state: State = State.CONNECTED
    settings: dict[str, Any] = {}  # noqa: RUF012 - never changed


def packet(first: str, head: str, *properties: str) -> bytes:
    """A packet of 5.0: first byte, what comes before the properties, properties."""
    section = octets("".join(properties))
    body = octets(head) + bytes([len(section)]) + section
    return octets(first) + bytes([len(body)]) + body


def connack(section: str, *properties: str) -> Case:
    settings: dict[str, Any] = {"properties": METHOD}
    data = packet("20", "00 00", *properties)
    return Case(section, "CONNACK", data, 0x82, State.CONNECTING, settings)


def publish(section: str, *properties: str, code: int = 0x82) -> Case:
    aliases = {"properties": Properties(topic_alias_maximum=5)}
    data = packet("30", "00 01 74", *properties)
    return Case(section, "PUBLISH", data, code, settings=aliases)


def twice(section: str, kind: str, first: str, head: str, *properties: str) -> Case:
    settings = {"properties": METHOD} if kind == "AUTH" else {}
    data = packet(first, head, *properties)
    return Case(section, kind, data, 0x82, settings=settings)


REASON = "1f 00 01 61"
AUTH_METHOD = "15 00 01 6d"
RECEIVE_MAXIMUM = {"properties": Properties(receive_maximum=1)}
MAXIMUM_SIZE = {"properties": Properties(maximum_packet_size=20)}
NO_PROBLEMS: dict[str, Any] = {"properties": Properties(request_problem_information=0)}

CASES = [
    # not allowed in the packet, of no known property
    Case("2.2.2.2", "any v5 packet", packet("30", "00 01 74", "21 00 01"), 0x81),
    Case("2.2.2.2", "any v5 packet", packet("40", "00 01 00", "03 00 01 61"), 0x81),
    Case("2.2.2.2", "any v5 packet", packet("30", "00 01 74", "7f 00"), 0x81),
    Case("2.2.2.2", "any v5 packet", packet("30", "00 01 74", "00"), 0x81),
    # cut short, or not of its type
    Case("2.2.2.2", "any v5 packet", packet("30", "00 01 74", "02 00 00"), 0x81),
    Case("2.2.2.2", "any v5 packet", packet("30", "00 01 74", "03 00 05 61"), 0x81),
    Case("2.2.2.2", "any v5 packet", packet("30", "00 01 74", "03 00 01 ff"), 0x81),
    Case("2.2.2.2", "any v5 packet", packet("30", "00 01 74", "26 00 01 61"), 0x81),
    # the property length
    Case("2.2.2", "any v5 packet", octets("30 04 00 01 74 05"), 0x81),
    Case("2.2.2", "any v5 packet", octets("30 05 00 01 74 01 02"), 0x81),
    Case("2.2.2", "any v5 packet", octets("30 08 00 01 74 ff ff ff ff 01"), 0x81),
    Case("2.2.2", "any v5 packet", octets("30 03 00 01 74"), 0x81),
    # the remaining length, bytes left over
    Case("2.1.4", "any", octets("30 ff ff ff ff 01"), 0x81),
    Case("2.1.4", "any", octets("30 80 80 80 80 00"), 0x81),
    Case("2.1.4", "any", octets("d0 80 00"), 0x81),
    Case("2.1.4", "any", octets("d0 01 00"), 0x81),
    Case("2.1.4", "any", octets("40 05 00 01 00 00 00"), 0x81),
    Case("3.1.2.11.4", "any", octets("30 13"), 0x95, settings=MAXIMUM_SIZE),
    *[
        Case(
            "3.1.2.11.7",
            "ack packets",
            packet(first, head, values),
            0x82,
            settings=NO_PROBLEMS,
        )
        for first, head in (
            ("40", "00 01 00"),
            ("50", "00 01 00"),
            ("62", "00 01 00"),
            ("70", "00 01 00"),
        )
        for values in (REASON, "26 00 01 61 00 01 62")
    ],
    # CONNACK
    connack("3.2.2.3.2", *["11 00 00 00 01"] * 2),
    connack("3.2.2.3.3", *["21 00 01"] * 2),
    connack("3.2.2.3.3", "21 00 00"),
    connack("3.2.2.3.4", *["24 01"] * 2),
    connack("3.2.2.3.4", "24 02"),
    connack("3.2.2.3.5", *["25 01"] * 2),
    connack("3.2.2.3.5", "25 02"),
    connack("3.2.2.3.6", *["27 00 00 00 64"] * 2),
    connack("3.2.2.3.6", "27 00 00 00 00"),
    connack("3.2.2.3.7", *["12 00 01 61"] * 2),
    connack("3.2.2.3.8", *["22 00 01"] * 2),
    connack("3.2.2.3.9", *[REASON] * 2),
    connack("3.2.2.3.11", *["28 01"] * 2),
    connack("3.2.2.3.11", "28 02"),
    connack("3.2.2.3.12", *["29 01"] * 2),
    connack("3.2.2.3.12", "29 02"),
    connack("3.2.2.3.13", *["2a 01"] * 2),
    connack("3.2.2.3.13", "2a 02"),
    connack("3.2.2.3.14", *["13 00 01"] * 2),
    connack("3.2.2.3.15", *["1a 00 01 61"] * 2),
    connack("3.2.2.3.16", *["1c 00 01 61"] * 2),
    connack("3.2.2.3.17", *[AUTH_METHOD] * 2),
    connack("3.2.2.3.18", AUTH_METHOD, *["16 00 01 64"] * 2),
    connack("3.2.2.3.18", "16 00 01 64"),
    # PUBLISH
    Case("3.3.1.2", "PUBLISH", octets("36 06 00 01 74 00 01 00"), 0x81),
    Case("3.3.2.1", "PUBLISH", octets("30 03 00 00 00"), 0x82),
    publish("3.3.2.3.2", *["01 00"] * 2),
    publish("3.3.2.3.2", "01 02"),
    publish("3.3.2.3.3", *["02 00 00 00 01"] * 2),
    publish("3.3.2.3.4", *["23 00 01"] * 2),
    publish("3.3.2.3.5", *["08 00 01 61"] * 2),
    publish("3.3.2.3.6", *["09 00 01 61"] * 2),
    publish("3.3.2.3.8", "0b 00"),
    publish("3.3.2.3.9", *["03 00 01 61"] * 2),
    publish("3.3.4", "23 00 00", code=0x94),
    publish("3.3.4", "23 00 06", code=0x94),
    Case(
        "3.3.4",
        "PUBLISH",
        packet("30", "00 00", "23 00 01"),
        0x82,
        settings={"properties": Properties(topic_alias_maximum=5)},
    ),
    Case(
        "3.3.4",
        "PUBLISH",
        octets("34 06 00 01 74 00 01 00") + octets("34 06 00 01 74 00 02 00"),
        0x93,
        settings=RECEIVE_MAXIMUM,
    ),
    # the others
    twice("3.4.2.2.2", "PUBACK", "40", "00 01 00", *[REASON] * 2),
    twice("3.5.2.2.2", "PUBREC", "50", "00 01 00", *[REASON] * 2),
    twice("3.6.2.2.2", "PUBREL", "62", "00 01 00", *[REASON] * 2),
    twice("3.7.2.2.2", "PUBCOMP", "70", "00 01 00", *[REASON] * 2),
    twice("3.9.2.1.2", "SUBACK", "90", "00 01", *[REASON] * 2),
    twice("3.11.2.1.2", "UNSUBACK", "b0", "00 01", *[REASON] * 2),
    twice("3.14.2.2.3", "DISCONNECT", "e0", "00", *[REASON] * 2),
    twice("3.14.2.2.5", "DISCONNECT", "e0", "00", *["1c 00 01 61"] * 2),
    Case("3.15", "AUTH", packet("f0", "18", AUTH_METHOD), 0x82),
    Case(
        "3.15",
        "AUTH",
        packet("f0", "18", "15 00 01 6e"),
        0x82,
        State.CONNECTING,
        {"properties": METHOD},
    ),
    twice("3.15.2.2.2", "AUTH", "f0", "18", *[AUTH_METHOD] * 2),
    twice("3.15.2.2.2", "AUTH", "f0", "18"),
    twice("3.15.2.2.3", "AUTH", "f0", "18", AUTH_METHOD, *["16 00 01 64"] * 2),
    twice("3.15.2.2.4", "AUTH", "f0", "18", AUTH_METHOD, *[REASON] * 2),
    # packet types
    *[
        Case("3.3 etc.", "any", as_bytes(packet, 5) or b"", 0x82)
        for packet in EVERY_PACKET
        if Role.SERVER not in senders(packet.kind, 5)
    ],
    Case("3.2", "any", octets("d0 00"), 0x82, State.CONNECTING),
    Case("2.1.2", "any", octets("00 00"), 0x81),
    Case("2.1.2", "any", octets("0f 00"), 0x81),
]


@pytest.mark.conformance("5.0", "MQTT-3.1.2-24", "MQTT-3.1.2-29", "MQTT-3.3.1-4")
@pytest.mark.conformance("5.0", "MQTT-4.12.0-6")
@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.section}-{case.data.hex()}"
)
def test_a_rule_without_a_number_is_answered_with_its_reason(case):
    client, broker = in_state(case.state, **case.settings)
    broker.sends(case.data)
    assert client.closed_with() == case.code
    assert client.written.endswith(bytes((0xE0, 1, case.code)))
    # Once only, and but for an acknowledgement of what was right, nothing else.
    assert client.written.count(b"\xe0") == 1


def test_every_rule_without_a_number_has_a_case(unnumbered_rules):
    have = {(case.section, case.packet, case.code) for case in CASES}
    for row in unnumbered_rules:
        if row["section"] == "1.5.4":
            continue  # a choice: control characters are let through, see below
        code = int(row["reason_code"].split()[0], 16)
        assert (row["section"], row["packet"], code) in have, row


@pytest.mark.parametrize("text", ["a\x01", "a\x7f", "a\x9f", "a\ufffe", "a\U0001ffff"])
def test_control_characters_and_non_characters_are_let_through(version, text):
    client, broker = in_state(State.CONNECTED, version)
    broker.sends(PUBLISH(text))
    assert [message.topic.value for message in client.messages()] == [text]


# --- malformed in every version -----------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-2.1.3-1", "MQTT-3.14.1-1", "MQTT-3.15.1-1")
@pytest.mark.conformance("5.0", "MQTT-3.3.1-4", "MQTT-3.3.1-2", "MQTT-1.5.4-1")
@pytest.mark.conformance("5.0", "MQTT-1.5.4-2", "MQTT-2.2.1-4", "MQTT-3.3.2-2")
@pytest.mark.conformance("3.1.1", "MQTT-2.2.2-1", "MQTT-2.2.2-2", "MQTT-3.3.1-4")
@pytest.mark.conformance("3.1.1", "MQTT-1.5.3-1", "MQTT-1.5.3-2", "MQTT-2.3.1-4")
@pytest.mark.conformance("3.1.1", "MQTT-3.3.2-2", "MQTT-4.8.0-1")
@pytest.mark.parametrize(
    ("versions", "data"),
    [
        # flags
        ("345", "d1 00"),
        ("345", "41 02 00 01"),
        ("345", "60 02 00 01"),
        ("45", "6a 02 00 01"),
        ("345", "9f 03 00 01 00"),
        ("5", "e1 00"),
        ("5", "f1 00"),
        # QoS 3, DUP at QoS 0
        ("345", "36 05 00 01 74 00 01"),
        ("345", "38 03 00 01 74"),
        # UTF-8
        ("345", "30 03 00 01 ff"),
        ("345", "30 03 00 01 00"),
        ("345", "30 05 00 03 ed a0 80"),
        ("345", "30 04 00 02 c0 af"),
        # packet identifier 0
        ("345", "40 02 00 00"),
        ("345", "50 02 00 00"),
        ("345", "62 02 00 00"),
        ("345", "70 02 00 00"),
        ("34", "32 05 00 01 74 00 00"),
        ("5", "32 06 00 01 74 00 00 00"),
        ("345", "90 03 00 00 00"),
        # wildcards in a topic name
        ("34", "30 03 00 01 23"),
        ("34", "30 03 00 01 2b"),
        ("5", "30 04 00 01 23 00"),
        # empty topic, cut short
        ("34", "30 02 00 00"),
        ("345", "30 00"),
        ("345", "30 01 00"),
        ("345", "30 02 00 05"),
        ("345", "32 04 00 01 74 00"),
        ("345", "40 01 00"),
        ("345", "40 00"),
        ("345", "90 01 00"),
        # too long
        ("34", "40 03 00 01 00"),
        ("34", "b0 03 00 01 00"),
        ("345", "d0 01 00"),
    ],
)
def test_a_malformed_packet_ends_the_connection(versions, data):
    for version in map(int, versions):
        client, broker = in_state(State.CONNECTED, version)
        broker.sends(octets(data))
        ends(client, broker, 0x81, version)
        client, broker = in_state(State.CONNECTED, version)
        broker.sends_separately(*[bytes([byte]) for byte in octets(data)])
        ends(client, broker, 0x81, version)


@pytest.mark.conformance("5.0", "MQTT-3.4.2-1", "MQTT-3.5.2-1", "MQTT-3.6.2-1")
@pytest.mark.conformance("5.0", "MQTT-3.7.2-1", "MQTT-3.14.2-1", "MQTT-3.15.2-1")
@pytest.mark.parametrize(
    "data",
    [
        "40 03 00 01 11",
        "50 03 00 01 01",
        "62 03 00 01 10",
        "70 03 00 01 80",
        "e0 01 04",
        "e0 01 19",
        "f0 01 01",
    ],
)
def test_an_unlisted_reason_code_is_malformed(data):
    client, broker = in_state(State.CONNECTED)
    client.publish("t", b"", 1)
    client.written = b""
    broker.sends(octets(data))
    ends(client, broker, 0x81)


@pytest.mark.conformance("5.0", "MQTT-3.14.2-2")
def test_the_broker_sets_no_session_expiry_in_its_disconnect():
    client, broker = in_state(State.CONNECTED)
    broker.sends(packet("e0", "00", "11 00 00 00 01"))
    ends(client, broker, 0x82)


@pytest.mark.conformance("5.0", "MQTT-3.1.2-29")
@pytest.mark.parametrize("values", [REASON, "26 00 01 61 00 01 62"])
@pytest.mark.parametrize("first", ["90", "b0"])
def test_no_reasons_in_suback_and_unsuback_where_they_are_not_wanted(first, values):
    client, broker = connected(**NO_PROBLEMS)
    client.subscribe("a") if first == "90" else client.unsubscribe("a")
    client.written = b""
    section = octets(values)
    body = b"\x00\x01" + bytes([len(section)]) + section + b"\x00"
    broker.sends(octets(first) + bytes([len(body)]) + body)
    ends(client, broker, 0x82)


@pytest.mark.conformance("5.0", "MQTT-3.1.2-29")
def test_reasons_in_publish_connack_and_disconnect_are_always_allowed():
    user_property = [("a", "b")]
    client, broker = connected(
        connack=CONNACK(reason_string="r", user_property=user_property), **NO_PROBLEMS
    )
    broker.sends(PUBLISH("t", b"x", user_property=user_property))
    assert client.payloads() == [b"x"]
    broker.sends(DISCONNECT(0x8B, reason_string="r", user_property=user_property))
    assert client.closed_with() == 0x8B
