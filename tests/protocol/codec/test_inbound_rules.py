"""The rules of 5.0 that have no number, row by row: what the codec answers.

The table is tests/conformance/unnumbered_inbound_rules_v5.tsv. Rows that take more
than one packet to break are the engine's, and named in `ENGINE`.
"""

import pytest

from aiomqtt.protocol.codec.framing import Decoder
from aiomqtt.protocol.packets import Publish
from aiomqtt.standard.tables import ProtocolVersion, Role
from tests import statements

# (section, beginning of the rule): rows that the tests of the engine hold.
ENGINE = {
    ("3.1.2.11.7", "reason string or user property although Request Problem"),
    # 0 is the codec's; what was announced is known to the engine.
    ("3.3.4", "Topic Alias 0 or above the announced maximum"),
    ("3.3.4", "known-alias form used for an alias never set"),
    ("3.3.4", "more unacknowledged QoS>0 messages"),
    ("3.15", "AUTH although CONNECT carried no authentication method"),
    ("3.2", "anything but CONNACK or AUTH before CONNACK"),
}


def packet(first: int, *fields: bytes) -> bytes:
    body = b"".join(fields)
    assert len(body) < 128
    return bytes((first, len(body))) + body


def properties(*fields: bytes) -> bytes:
    return packet(0, *fields)[1:]


def connack(*fields: bytes) -> bytes:
    return packet(0x20, b"\0\0", properties(*fields))


def publish(*fields: bytes, topic: bytes = b"\0\1a") -> bytes:
    return packet(0x30, topic, properties(*fields))


def ack(first: int, *fields: bytes) -> bytes:
    return packet(first, b"\0\1\0", properties(*fields))


def auth(*fields: bytes) -> bytes:
    return packet(0xF0, b"\x18", properties(*fields))


SESSION_EXPIRY = b"\x11\0\0\0\1"
RECEIVE_MAXIMUM = b"\x21\0\1"
MAXIMUM_QOS = b"\x24\1"
RETAIN_AVAILABLE = b"\x25\1"
MAXIMUM_PACKET_SIZE = b"\x27\0\0\1\0"
CLIENT_IDENTIFIER = b"\x12\0\1a"
TOPIC_ALIAS_MAXIMUM = b"\x22\0\1"
REASON_STRING = b"\x1f\0\1a"
SERVER_KEEP_ALIVE = b"\x13\0\1"
RESPONSE_INFORMATION = b"\x1a\0\1a"
SERVER_REFERENCE = b"\x1c\0\1a"
METHOD = b"\x15\0\1a"
DATA = b"\x16\0\1a"

# (section, beginning of the rule): packets that break the rule.
CODEC = {
    # The choice: these characters are let through, see `test_control_characters`.
    ("1.5.4", "control characters"): [],
    ("2.2.2.2", "property identifier not allowed"): [
        connack(b"\x23\0\1"),
        publish(MAXIMUM_QOS),
        ack(0x40, SESSION_EXPIRY),
        connack(b"\x00"),
        connack(b"\x7f\0\1"),
    ],
    ("2.2.2.2", "property value not of its data type"): [
        connack(b"\x24"),
        connack(b"\x21\1"),
        connack(b"\x11\0\0\1"),
        connack(b"\x1f\0\1\xff"),
        connack(b"\x1f\0\2a"),
        publish(b"\x0b\x80\x80\x80\x80\1"),
        publish(b"\x26\0\1a"),
    ],
    ("2.2.2", "property length runs past the packet"): [
        packet(0x20, b"\0\0\5\x21\0\1"),
        packet(0x20, b"\0\0\2\x21\0\1"),
        packet(0x30, b"\0\1a", b"\x7f"),
    ],
    ("2.1.4", "remaining length in more than four bytes"): [
        b"\x30\x80\x80\x80\x80\1",
        b"\x20\xff\xff\xff\xff\x7f",
    ],
    ("2.1.4", "bytes left over after the last field"): [
        packet(0x20, b"\0\0\0\0"),
        packet(0x40, b"\0\1\0\0\0"),
        packet(0xD0, b"\0"),
        packet(0xE0, b"\0\0\0"),
    ],
    ("3.1.2.11.4", "packet longer than the Maximum Packet Size"): [
        packet(0x30, b"\0\1a\0", bytes(95)),
        b"\x30\xff\x7f",
    ],
    ("3.2.2.3.2", "Session Expiry Interval twice"): [connack(SESSION_EXPIRY * 2)],
    ("3.2.2.3.3", "Receive Maximum twice or 0"): [
        connack(RECEIVE_MAXIMUM * 2),
        connack(b"\x21\0\0"),
    ],
    ("3.2.2.3.4", "Maximum QoS twice or not 0/1"): [
        connack(MAXIMUM_QOS * 2),
        connack(b"\x24\2"),
    ],
    ("3.2.2.3.5", "Retain Available twice or not 0/1"): [
        connack(RETAIN_AVAILABLE * 2),
        connack(b"\x25\2"),
    ],
    ("3.2.2.3.6", "Maximum Packet Size twice or 0"): [
        connack(MAXIMUM_PACKET_SIZE * 2),
        connack(b"\x27\0\0\0\0"),
    ],
    ("3.2.2.3.7", "Assigned Client Identifier twice"): [connack(CLIENT_IDENTIFIER * 2)],
    ("3.2.2.3.8", "Topic Alias Maximum twice"): [connack(TOPIC_ALIAS_MAXIMUM * 2)],
    ("3.2.2.3.9", "Reason String twice"): [connack(REASON_STRING * 2)],
    ("3.2.2.3.11", "Wildcard Subscription Available"): [
        connack(b"\x28\1\x28\1"),
        connack(b"\x28\2"),
    ],
    ("3.2.2.3.12", "Subscription Identifier Available"): [
        connack(b"\x29\1\x29\1"),
        connack(b"\x29\2"),
    ],
    ("3.2.2.3.13", "Shared Subscription Available"): [
        connack(b"\x2a\1\x2a\1"),
        connack(b"\x2a\2"),
    ],
    ("3.2.2.3.14", "Server Keep Alive twice"): [connack(SERVER_KEEP_ALIVE * 2)],
    ("3.2.2.3.15", "Response Information twice"): [connack(RESPONSE_INFORMATION * 2)],
    ("3.2.2.3.16", "Server Reference twice"): [connack(SERVER_REFERENCE * 2)],
    ("3.2.2.3.17", "Authentication Method twice"): [connack(METHOD * 2)],
    ("3.2.2.3.18", "Authentication Data twice, or without a method"): [
        connack(METHOD, DATA * 2),
        connack(DATA),
    ],
    ("3.3.1.2", "QoS bits both set"): [
        packet(first, b"\0\1a\0\1\0") for first in (0x36, 0x37, 0x3E, 0x3F)
    ],
    ("3.3.2.1", "empty topic name and no topic alias"): [
        publish(topic=b"\0\0"),
        publish(b"\1\1", topic=b"\0\0"),
    ],
    ("3.3.2.3.2", "Payload Format Indicator twice"): [
        publish(b"\1\1\1\1"),
        publish(b"\1\2"),
    ],
    ("3.3.2.3.3", "Message Expiry Interval twice"): [publish(b"\2\0\0\0\1" * 2)],
    ("3.3.2.3.4", "Topic Alias twice"): [publish(b"\x23\0\1\x23\0\1")],
    ("3.3.2.3.5", "Response Topic twice"): [publish(b"\x08\0\1a" * 2)],
    ("3.3.2.3.6", "Correlation Data twice"): [publish(b"\x09\0\1a" * 2)],
    ("3.3.2.3.8", "Subscription Identifier 0"): [
        publish(b"\x0b\0"),
        publish(b"\x0b\1\x0b\0"),
    ],
    ("3.3.2.3.9", "Content Type twice"): [publish(b"\3\0\1a" * 2)],
    ("3.3.4", "Topic Alias 0"): [publish(b"\x23\0\0")],
    ("3.4.2.2.2", "Reason String twice"): [ack(0x40, REASON_STRING * 2)],
    ("3.5.2.2.2", "Reason String twice"): [ack(0x50, REASON_STRING * 2)],
    ("3.6.2.2.2", "Reason String twice"): [ack(0x62, REASON_STRING * 2)],
    ("3.7.2.2.2", "Reason String twice"): [ack(0x70, REASON_STRING * 2)],
    ("3.9.2.1.2", "Reason String twice"): [
        packet(0x90, b"\0\1", properties(REASON_STRING * 2), b"\0")
    ],
    ("3.11.2.1.2", "Reason String twice"): [
        packet(0xB0, b"\0\1", properties(REASON_STRING * 2), b"\0")
    ],
    ("3.14.2.2.3", "Reason String twice"): [
        packet(0xE0, b"\x8b", properties(REASON_STRING * 2))
    ],
    ("3.14.2.2.5", "Server Reference twice"): [
        packet(0xE0, b"\x9c", properties(SERVER_REFERENCE * 2))
    ],
    ("3.15.2.2.2", "Authentication Method missing or twice"): [
        packet(0xF0, b"\x18"),
        auth(),
        auth(METHOD * 2),
    ],
    ("3.15.2.2.3", "Authentication Data twice"): [auth(METHOD, DATA * 2)],
    ("3.15.2.2.4", "Reason String twice"): [auth(METHOD, REASON_STRING * 2)],
    ("3.3 etc.", "a packet type only a client may send"): [
        packet(0x10, b"\0\4MQTT\5\2\0\0\0\0\0"),
        packet(0x82, b"\0\1\0\0\1a\0"),
        packet(0xA2, b"\0\1\0\0\1a"),
        packet(0xC0),
    ],
    ("2.1.2", "packet type 0"): [packet(first) for first in (0x00, 0x02, 0x0F)],
}

ROWS = statements.unnumbered()


def found(row, rules):
    """The keys of a table that name a row."""
    return [
        (section, rule)
        for section, rule in rules
        if section == row["section"] and row["rule"].startswith(rule)
    ]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['section']} {row['rule']}")
def test_every_row_is_the_codecs_or_the_engines(row):
    assert len(found(row, CODEC)) + len(found(row, ENGINE)) in (1, 2)
    both = bool(found(row, CODEC)) and bool(found(row, ENGINE))
    assert both == row["rule"].startswith("Topic Alias 0 or above")


@pytest.mark.parametrize("rule", sorted(CODEC.keys() | ENGINE))
def test_every_rule_is_one_row(rule):
    # Or two with the same words, for two packets.
    rows = [row for row in ROWS if found(row, [rule])]
    assert len(rows) == 1


BROKEN = [
    pytest.param(
        data, int(row["reason_code"].split()[0], 16), id=f"{key[0]}-{key[1]}-{index}"
    )
    for row in ROWS
    for key in found(row, CODEC)
    for index, data in enumerate(CODEC[key])
]


@pytest.mark.parametrize(("data", "code"), BROKEN)
def test_a_packet_that_breaks_a_rule(data, code):
    decoder = Decoder(ProtocolVersion.V5, Role.SERVER, maximum_packet_size=100)
    # What came before it is delivered.
    assert len(decoder.feed(b"\xd0\0" + data)) == 1
    assert decoder.error is not None
    assert decoder.error.reason_code == code


@pytest.mark.parametrize(("data", "code"), BROKEN)
def test_a_packet_that_breaks_a_rule_byte_by_byte(data, code):
    decoder = Decoder(ProtocolVersion.V5, Role.SERVER, maximum_packet_size=100)
    for index in range(len(data)):
        assert decoder.feed(data[index : index + 1]) == []
    assert decoder.error is not None
    assert decoder.error.reason_code == code


def test_control_characters():
    # 5.0 §1.5.4 leaves it to the receiver, and this one lets them through.
    decoder = Decoder(ProtocolVersion.V5, Role.SERVER)
    for character in ("\x01", "\x7f", "\x9f", "\ufdd0", "\U0010ffff"):
        encoded = character.encode()
        (message,) = decoder.feed(publish(topic=bytes((0, len(encoded))) + encoded))
        assert isinstance(message, Publish)
        assert message.topic.value == character
    assert decoder.error is None


@pytest.mark.conformance("5.0", "MQTT-3.14.2-2")
def test_a_servers_disconnect_has_no_session_expiry_interval():
    decoder = Decoder(ProtocolVersion.V5, Role.SERVER)
    assert decoder.feed(packet(0xE0, b"\0", properties(SESSION_EXPIRY))) == []
    assert decoder.error is not None
    assert decoder.error.reason_code == 0x82


def test_several_subscription_identifiers_are_legal():
    decoder = Decoder(ProtocolVersion.V5, Role.SERVER)
    (message,) = decoder.feed(publish(b"\x0b\1\x0b\2\x0b\1"))
    assert isinstance(message, Publish)
    assert message.properties is not None
    assert message.properties.subscription_identifier == [1, 2, 1]
