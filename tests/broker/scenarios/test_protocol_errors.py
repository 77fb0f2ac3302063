"""Violations of the standard end just the one connection (5.0 §4.13)."""

import pytest

from aiomqtt.protocol.packets import Ping
from tests.broker.scenarios.line import CONNACK, PINGREQ
from tests.broker.scenarios.talker import connect_bytes

MALFORMED, PROTOCOL_ERROR = 0x81, 0x82
FILTER_INVALID, NAME_INVALID = 0x8F, 0x90
ALL, V3, V5, NOT_3_1 = (3, 4, 5), (3, 4), (5,), (4, 5)


def packet(first, body):
    assert len(body) < 128
    return bytes([first, len(body)]) + body


def text(value):
    return len(value).to_bytes(2) + value


def publish(topic, *, first=0x30, packet_id=b"", properties=b""):
    """A PUBLISH, by version: the same with properties, or none, from 5.0 on."""

    def encode(version):
        middle = bytes([len(properties)]) + properties if version == 5 else b""
        return packet(first, text(topic) + packet_id + middle + b"payload")

    return encode


def subscribe(*filters, first=0x82, packet_id=b"\x00\x01", options=0, properties=b""):
    """A SUBSCRIBE, or by its first byte an UNSUBSCRIBE, by version."""

    def encode(version):
        body = packet_id
        if version == 5:
            body += bytes([len(properties)]) + properties
        for topic_filter in filters:
            body += text(topic_filter)
            if first >> 4 == 8:
                body += bytes([options])
        return packet(first, body)

    return encode


def always(data):
    return lambda version: data


# Name: versions, bytes, and the reason codes that may follow.
CONNECTED = {
    # 5.0 [MQTT-3.1.0-2]
    "second CONNECT": (
        ALL,
        lambda version: connect_bytes(version, client_id=b"a"),
        [PROTOCOL_ERROR],
    ),
    # 5.0 §2.1.2
    "packet type 0": (ALL, always(b"\x00\x00"), [MALFORMED, PROTOCOL_ERROR]),
    "packet type 15": (V3, always(b"\xf0\x00"), []),
    "CONNACK": (ALL, always(b"\x20\x02\x00\x00"), [PROTOCOL_ERROR]),
    "SUBACK": (ALL, always(b"\x90\x03\x00\x01\x00"), [PROTOCOL_ERROR]),
    "UNSUBACK": (ALL, always(b"\xb0\x02\x00\x01"), [PROTOCOL_ERROR]),
    "PINGRESP": (ALL, always(b"\xd0\x00"), [PROTOCOL_ERROR]),
    # 5.0 [MQTT-2.1.3-1], 3.1.1 [MQTT-2.2.2-2]
    "flags of PUBACK": (ALL, always(b"\x41\x02\x00\x01"), [MALFORMED]),
    "flags of PUBREC": (ALL, always(b"\x51\x02\x00\x01"), [MALFORMED]),
    "flags of PUBREL": (ALL, always(b"\x60\x02\x00\x01"), [MALFORMED]),
    "flags of PUBCOMP": (ALL, always(b"\x72\x02\x00\x01"), [MALFORMED]),
    "flags of SUBSCRIBE": (ALL, subscribe(b"a", first=0x80), [MALFORMED]),
    "flags of UNSUBSCRIBE": (ALL, subscribe(b"a", first=0xA0), [MALFORMED]),
    "flags of PINGREQ": (ALL, always(b"\xc1\x00"), [MALFORMED]),
    "flags of DISCONNECT": (ALL, always(b"\xe2\x00"), [MALFORMED]),
    # 5.0 [MQTT-1.5.5-1]
    "length of five bytes": (ALL, always(b"\x30\xff\xff\xff\xff\x01"), [MALFORMED]),
    "length in more bytes than it needs": (ALL, always(b"\xc0\x80\x00"), [MALFORMED]),
    "PINGREQ with a body": (ALL, always(b"\xc0\x01\x00"), [MALFORMED]),
    # 5.0 [MQTT-3.3.1-4], [MQTT-3.3.1-2]
    "QoS 3": (ALL, publish(b"a", first=0x36, packet_id=b"\x00\x01"), [MALFORMED]),
    "DUP with QoS 0": (ALL, publish(b"a", first=0x38), [MALFORMED, PROTOCOL_ERROR]),
    # 5.0 [MQTT-2.2.1-3]
    "PUBLISH with identifier 0": (
        ALL,
        publish(b"a", first=0x32, packet_id=b"\x00\x00"),
        [MALFORMED, PROTOCOL_ERROR],
    ),
    "SUBSCRIBE with identifier 0": (
        ALL,
        subscribe(b"a", packet_id=b"\x00\x00"),
        [MALFORMED, PROTOCOL_ERROR],
    ),
    "UNSUBSCRIBE with identifier 0": (
        ALL,
        subscribe(b"a", first=0xA2, packet_id=b"\x00\x00"),
        [MALFORMED, PROTOCOL_ERROR],
    ),
    "PUBACK with identifier 0": (
        ALL,
        always(b"\x40\x02\x00\x00"),
        [MALFORMED, PROTOCOL_ERROR],
    ),
    # 5.0 [MQTT-3.3.2-2]
    "+ in a topic name": (ALL, publish(b"a/+"), [MALFORMED, NAME_INVALID]),
    "# in a topic name": (ALL, publish(b"#"), [MALFORMED, NAME_INVALID]),
    # 5.0 [MQTT-4.7.3-1], §3.3.2.1
    "empty topic name": (ALL, publish(b""), [MALFORMED, PROTOCOL_ERROR]),
    # 5.0 [MQTT-1.5.4-1], [MQTT-1.5.4-2]
    "U+0000 in a topic": (ALL, publish(b"a\x00b"), [MALFORMED]),
    "no UTF-8 in a topic": (ALL, publish(b"a\xff"), [MALFORMED]),
    "a surrogate in a topic": (ALL, publish(b"\xed\xa0\x80"), [MALFORMED]),
    "a longer form in a topic": (ALL, publish(b"\xc1\xa1"), [MALFORMED]),
    "no UTF-8 in a filter": (ALL, subscribe(b"a", b"\xff"), [MALFORMED]),
    "U+0000 in a filter": (ALL, subscribe(b"\x00"), [MALFORMED]),
    "a topic longer than its packet": (ALL, always(b"\x30\x03\x00\x05a"), [MALFORMED]),
    "a PUBLISH without anything": (ALL, always(b"\x30\x00"), [MALFORMED]),
    "an ack cut short": (ALL, always(b"\x40\x01\x00"), [MALFORMED]),
    # 5.0 [MQTT-3.8.3-2], [MQTT-3.10.3-2]
    "SUBSCRIBE to nothing": (ALL, subscribe(), [MALFORMED, PROTOCOL_ERROR]),
    "UNSUBSCRIBE from nothing": (
        ALL,
        subscribe(first=0xA2),
        [MALFORMED, PROTOCOL_ERROR],
    ),
    # 5.0 [MQTT-3.8.3-5], §3.8.3.1
    "SUBSCRIBE with QoS 3": (
        ALL,
        subscribe(b"a", options=3),
        [MALFORMED, PROTOCOL_ERROR],
    ),
    "options before 5.0": (V3, subscribe(b"a", options=4), []),
    "reserved options": (ALL, subscribe(b"a", options=0x40), [MALFORMED]),
    "retain handling 3": (
        V5,
        subscribe(b"a", options=0x30),
        [MALFORMED, PROTOCOL_ERROR],
    ),
    "options missing": (ALL, always(b"\x82\x05\x00\x01\x00\x01a"), [MALFORMED]),
    # 5.0 [MQTT-3.8.3-4]
    "no local and shared": (
        V5,
        subscribe(b"$share/group/a", options=4),
        [PROTOCOL_ERROR],
    ),
    # 5.0 [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.8.2-1], [MQTT-4.8.2-2]
    **{
        f"filter {topic_filter.decode()!r}": (
            ALL,
            subscribe(b"fine", topic_filter),
            [MALFORMED, PROTOCOL_ERROR, FILTER_INVALID],
        )
        for topic_filter in (
            b"",
            b"a#",
            b"a/#/b",
            b"+a",
            b"a/b+",
            b"$share/group",
            b"$share/group/",
            b"$share//a",
            b"$share/gr+up/a",
            b"$share/#/a",
            b"$share/group/a#",
        )
    },
    # 5.0 §2.2.2
    "unknown property": (V5, publish(b"a", properties=b"\x7f\x00"), [MALFORMED]),
    "property of another packet": (
        V5,
        publish(b"a", properties=b"\x21\x00\x01"),
        [MALFORMED, PROTOCOL_ERROR],
    ),
    "property twice": (
        V5,
        publish(b"a", properties=b"\x01\x01\x01\x01"),
        [PROTOCOL_ERROR],
    ),
    "property cut short": (V5, publish(b"a", properties=b"\x03\x00\x05a"), [MALFORMED]),
    "properties longer than the packet": (
        V5,
        always(b"\x30\x04\x00\x01a\x05"),
        [MALFORMED],
    ),
    "payload format 2": (
        V5,
        publish(b"a", properties=b"\x01\x02"),
        [MALFORMED, PROTOCOL_ERROR],
    ),
    # [MQTT-3.3.2-14]
    "# in a response topic": (
        V5,
        publish(b"a", properties=b"\x08\x00\x01#"),
        [MALFORMED, PROTOCOL_ERROR, NAME_INVALID],
    ),
    "no UTF-8 in a user property": (
        V5,
        publish(b"a", properties=b"\x26\x00\x01a\x00\x01\xff"),
        [MALFORMED],
    ),
    "subscription identifier 0": (
        V5,
        subscribe(b"a", properties=b"\x0b\x00"),
        [MALFORMED, PROTOCOL_ERROR],
    ),
    "subscription identifier twice": (
        V5,
        subscribe(b"a", properties=b"\x0b\x01\x0b\x02"),
        [PROTOCOL_ERROR],
    ),
    "unknown reason code": (
        V5,
        always(b"\x40\x03\x00\x01\x7f"),
        [MALFORMED, PROTOCOL_ERROR],
    ),
    "a server's reason to disconnect": (
        V5,
        always(b"\xe0\x01\x8b"),
        [MALFORMED, PROTOCOL_ERROR],
    ),
    "AUTH without a method": (
        V5,
        always(b"\xf0\x02\x18\x00"),
        [MALFORMED, PROTOCOL_ERROR],
    ),
}


@pytest.fixture
async def witness(broker, join):
    """Another client, which goes on as if nothing had happened."""
    witness = await join(broker, 4, "witness")
    await witness.subscribe("witness", qos=1)
    yield witness
    await witness.publish("witness", b"1", 1)
    await witness.take("witness", b"1", 1)
    await witness.nothing()


@pytest.mark.parametrize("name", CONNECTED)
async def test_a_connected_client_breaks_a_rule(broker, join, witness, name):
    versions, data_of, reason_codes = CONNECTED[name]
    for version in versions:
        talker = await join(broker, version, f"v{version}")
        talker.send_bytes(data_of(version))
        # What comes after it counts no more.
        talker.send(talker.publish_packet("witness", b"not this", 0))
        await talker.expect_refusal(*reason_codes)


async def test_what_came_before_the_fault_counts(broker, join, witness, version):
    talker = await join(broker, version, "talker")
    talker.send(talker.publish_packet("witness", b"before", 0))
    talker.send_bytes(b"\x00\x00")
    await talker.expect_refusal(MALFORMED, PROTOCOL_ERROR)
    await witness.take("witness", b"before")


BEFORE_CONNECT = {
    # 5.0 [MQTT-3.1.0-1], 3.1.1 [MQTT-3.1.0-1]
    "PINGREQ": b"\xc0\x00",
    "PUBLISH": b"\x30\x09\x00\x07witness",
    "SUBSCRIBE": b"\x82\x06\x00\x01\x00\x01a\x00",
    "DISCONNECT": b"\xe0\x00",
    "CONNACK": b"\x20\x02\x00\x00",
    "AUTH": b"\xf0\x00",
    "packet type 0": b"\x00\x00",
    "HTTP": b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "0xff": b"\xff" * 100,
    "CONNECT without anything": b"\x10\x00",
    "CONNECT with flags": b"\x11" + connect_bytes(4, client_id=b"a")[1:],
}


@pytest.mark.parametrize("name", BEFORE_CONNECT)
async def test_connect_comes_first(broker, call, witness, name):
    talker = await call(broker, 5)
    talker.send_bytes(BEFORE_CONNECT[name])
    await talker.expect_end()


WILL = text(b"witness") + text(b"will")
CONNECTS = {
    # 5.0 [MQTT-3.1.2-3], 3.1.1 [MQTT-3.1.2-3]
    "reserved flag": (NOT_3_1, {"flags": 0x03}),
    # 5.0 [MQTT-3.1.2-11] to [MQTT-3.1.2-13]
    "QoS of no will": (NOT_3_1, {"flags": 0x0A}),
    "retain of no will": (NOT_3_1, {"flags": 0x22}),
    "will with QoS 3": (V3, {"flags": 0x1E, "rest": WILL}),
    "will with QoS 3 and properties": (V5, {"flags": 0x1E, "rest": b"\x00" + WILL}),
    "no will": (ALL, {"flags": 0x06}),
    "wildcards in the will's topic": (V3, {"flags": 0x06, "rest": text(b"#") * 2}),
    "wildcards in that of 5.0": (V5, {"flags": 0x06, "rest": b"\x00" + text(b"+") * 2}),
    # 3.1.1 [MQTT-3.1.2-22]
    "password without user name": (V3, {"flags": 0x42, "rest": text(b"password")}),
    "no user name": (NOT_3_1, {"flags": 0x82}),
    "no password": (NOT_3_1, {"flags": 0xC2, "rest": text(b"user")}),
    "no UTF-8 in the user name": (ALL, {"flags": 0x82, "rest": text(b"\xff")}),
    "more than there is": (ALL, {"rest": b"\x00"}),
    # 5.0 [MQTT-3.1.3-4]
    "no UTF-8 in the identifier": (ALL, {"client_id": b"\xff"}),
    "U+0000 in the identifier": (ALL, {"client_id": b"a\x00"}),
    # 5.0 §3.1.2.11
    "receive maximum 0": (V5, {"properties": b"\x21\x00\x00"}),
    "maximum packet size 0": (V5, {"properties": b"\x27\x00\x00\x00\x00"}),
    "problem information 2": (V5, {"properties": b"\x17\x02"}),
    "response information 2": (V5, {"properties": b"\x19\x02"}),
    "session expiry twice": (V5, {"properties": b"\x11\x00\x00\x00\x01" * 2}),
    "a property of CONNACK": (V5, {"properties": b"\x12\x00\x01a"}),
    "unknown property": (V5, {"properties": b"\x7f\x01"}),
    "authentication data without method": (V5, {"properties": b"\x16\x00\x01a"}),
    "will delay without will": (V5, {"properties": b"\x18\x00\x00\x00\x01"}),
}


@pytest.mark.parametrize("name", CONNECTS)
async def test_a_connect_breaks_a_rule(broker, call, witness, name):
    """5.0 [MQTT-3.1.4-1], [MQTT-3.1.4-2]: with a CONNACK that says why.

    3.1.1 [MQTT-3.1.4-1]: without one.
    """
    versions, parts = CONNECTS[name]
    for version in versions:
        talker = await call(broker, version)
        talker.send_bytes(connect_bytes(version, **{"client_id": b"bad"} | parts))
        if version >= 5:
            connack = await talker.expect(CONNACK)
            assert connack.reason_code in (MALFORMED, PROTOCOL_ERROR)
        await talker.expect_end()
    assert broker.sessions == {"witness"}


async def test_a_second_connect_in_the_same_bytes(broker, call, witness):
    # 5.0 [MQTT-3.1.0-2]
    talker = await call(broker, 5)
    talker.send(talker.connect_packet("one"), talker.connect_packet("two"))
    talker.send(Ping(PINGREQ))
    await talker.expect(CONNACK, reason_code=0)
    await talker.expect_refusal(PROTOCOL_ERROR)
    assert "two" not in broker.sessions


async def test_a_packet_that_is_never_whole_is_no_packet(broker, join, witness):
    talker = await join(broker, 4, "talker")
    talker.send_bytes(b"\x30\x10\x00\x07witness")
    await talker.close()
