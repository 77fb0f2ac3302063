"""Bytes to packets: each field from its place, and what the standard forbids told."""

import pytest

from aiomqtt.properties import SUCCESS, Properties, ReasonCode, SubscribeOptions
from aiomqtt.protocol.codec.decode import decode
from aiomqtt.protocol.packets import (
    NO_TOPIC,
    Ack,
    Connack,
    Connect,
    Ping,
    Publish,
    Signal,
    Suback,
    Subscribe,
    Unsubscribe,
    WillMessage,
)
from aiomqtt.protocol.wire import PacketError
from aiomqtt.standard.tables import PACKETS, PacketType, ProtocolVersion, Role, senders

V31, V311, V5 = ProtocolVersion
ALL = list(ProtocolVersion)
CLIENT, SERVER = Role.CLIENT, Role.SERVER


def decoded(packet, version=V5, sender=SERVER):
    """Decode a packet in hex; its remaining length is one byte, and right."""
    data = bytes.fromhex(packet)
    assert data[1] == len(data) - 2, len(data) - 2
    return decode(data[0], data[2:], version, sender)


def codes(*values):
    return [ReasonCode(value) for value in values]


def answered_with(code, text=""):
    return pytest.raises(
        PacketError,
        check=lambda error: error.reason_code == code and text in error.text,
    )


# --- what is in each packet ----------------------------------------------------


@pytest.mark.parametrize(
    ("version", "packet"),
    [
        (V31, "10 0f 0006 4d5149736470 03 02 003c 0001 63"),
        (V311, "10 0d 0004 4d515454 04 02 003c 0001 63"),
        (V5, "10 0e 0004 4d515454 05 02 003c 00 0001 63"),
    ],
)
def test_connect_brings_its_version(version, packet):
    # The version of the connection is not known before; this one is ignored.
    connect = decoded(packet, V311, CLIENT)
    assert connect == Connect(version, "c", True, 60, properties=connect.properties)
    assert connect.properties == (Properties() if version == V5 else None)


def test_connect_with_everything():
    packet = (
        "10 2a 0004 4d515454 05 ec 0001 03 21 000a"
        " 0002 6964"
        " 05 18 00000001 0001 77 0003 627965"
        " 0004 75736572 0002 ff00"
    )
    assert decoded(packet, V5, CLIENT) == Connect(
        V5,
        "id",
        clean_start=False,
        keep_alive=1,
        username="user",
        password=b"\xff\0",
        will=WillMessage("w", b"bye", 1, True, Properties(will_delay_interval=1)),
        properties=Properties(receive_maximum=10),
    )


def test_connack():
    assert decoded("20 05 01 00 02 24 01") == Connack(
        True, ReasonCode(0), Properties(maximum_qos=1)
    )
    assert decoded("20 02 01 00", V311) == Connack(True, ReasonCode(0))
    code = decoded("20 03 00 87 00").reason_code
    assert (code.value, str(code), code.is_failure) == (0x87, "Not authorized", True)


def test_the_first_byte_of_connack_means_nothing_in_3_1():
    assert decoded("20 02 01 00", V31) == Connack(False, ReasonCode(0))
    assert decoded("20 02 ff 05", V31) == Connack(False, ReasonCode(5))


def test_publish():
    message = decoded("3d 0c 0003 612f62 0102 02 01 01 78 79")
    assert str(message.topic) == "a/b"
    assert (message.payload, message.qos, message.mid) == (b"xy", 2, 0x0102)
    assert (message.retain, message.dup) == (True, True)
    assert message.properties == Properties(payload_format_indicator=1)


def test_a_publish_of_qos_0_below_5_0():
    message = decoded("30 05 0001 61 0001", V311)
    assert (message.payload, message.qos, message.mid) == (b"\0\x01", 0, 0)
    assert message.properties is None


def test_a_publish_with_an_alias_for_its_topic():
    message = decoded("30 07 0000 03 23 0001 78")
    assert message.topic is NO_TOPIC
    assert message.properties.topic_alias == 1


@pytest.mark.parametrize("number", [4, 5, 6, 7])
def test_acks(number):
    kind = PacketType(number)
    first = "62" if kind is PacketType.PUBREL else f"{number}0"
    code = 0x92 if number > 5 else 0x97
    assert decoded(f"{first} 02 0102", V311) == Ack(kind, 0x0102)
    assert decoded(f"{first} 02 0102") == Ack(kind, 0x0102)
    assert decoded(f"{first} 03 0102 {code:02x}") == Ack(kind, 0x0102, ReasonCode(code))
    assert decoded(f"{first} 04 0102 00 00") == Ack(kind, 0x0102, SUCCESS, Properties())
    assert decoded(f"{first} 08 0102 {code:02x} 04 1f 0001 78") == Ack(
        kind, 0x0102, ReasonCode(code), Properties(reason_string="x")
    )


def test_subscribe():
    assert decoded("82 0a 0001 03 0b c801 0001 61 2e", V5, CLIENT) == Subscribe(
        1,
        [("a", SubscribeOptions(2, True, True, 2))],
        Properties(subscription_identifier=200),
    )
    assert decoded("82 0a 0001 0001 61 01 0001 62 02", V311, CLIENT) == Subscribe(
        1, [("a", SubscribeOptions(1)), ("b", SubscribeOptions(2))]
    )


def test_unsubscribe():
    assert decoded("a2 08 0001 0001 61 0001 62", V31, CLIENT) == Unsubscribe(
        1, ["a", "b"]
    )


def test_suback_and_unsuback():
    suback = decoded("90 06 0001 00 02 80 87")
    assert suback == Suback(PacketType.SUBACK, 1, codes(2, 0x80, 0x87), Properties())
    assert [str(code) for code in suback.reason_codes] == [
        "Granted QoS 2",
        "Unspecified error",
        "Not authorized",
    ]
    assert decoded("90 04 0001 00 80", V311) == Suback(
        PacketType.SUBACK, 1, codes(0, 0x80)
    )
    assert decoded("b0 02 0001", V311) == Suback(PacketType.UNSUBACK, 1, [])
    assert decoded("b0 05 0001 00 00 11").reason_codes == [0, 0x11]


def test_ping_disconnect_auth():
    assert decoded("c0 00", V31, CLIENT) == Ping(PacketType.PINGREQ)
    assert decoded("d0 00", V31) == Ping(PacketType.PINGRESP)
    assert decoded("e0 00", V311, CLIENT) == Signal(PacketType.DISCONNECT)
    assert decoded("e0 00") == Signal(PacketType.DISCONNECT)
    assert decoded("e0 01 8e") == Signal(PacketType.DISCONNECT, 0x8E)
    assert decoded("e0 02 8b 00") == Signal(PacketType.DISCONNECT, 0x8B, Properties())
    assert decoded("f0 06 18 04 15 0001 6d") == Signal(
        PacketType.AUTH, 0x18, Properties(authentication_method="m")
    )


# --- the fixed header ----------------------------------------------------------

GOOD_FLAGS = {row.packet: {row.flags} for row in PACKETS if row.flags is not None}
# No QoS 3, and no DUP at QoS 0.
GOOD_FLAGS[PacketType.PUBLISH] = {0, 1, 2, 3, 4, 5, 10, 11, 12, 13}


def header_fault(first, version, sender):
    """Return the reason code for a first byte by the standard; None: it is valid."""
    kind = first >> 4
    if kind == 0 or (kind == PacketType.AUTH and version < V5):
        return 0x81
    if sender not in senders(PacketType(kind), version):
        return 0x82
    if kind == PacketType.CONNECT:
        return None  # what its flags may be depends on the version that follows
    good = set(GOOD_FLAGS[PacketType(kind)])
    if version == V31 and good == {2}:
        good.add(10)  # MQTT 3.1 §2.1: PUBREL, SUBSCRIBE and UNSUBSCRIBE have DUP
    return None if first & 15 in good else 0x81


@pytest.mark.conformance(
    "5.0", "MQTT-2.1.3-1", "MQTT-3.3.1-2", "MQTT-3.3.1-4", "MQTT-3.14.1-1"
)
@pytest.mark.conformance("5.0", "MQTT-3.15.1-1")
@pytest.mark.conformance("3.1.1", "MQTT-2.2.2-1", "MQTT-3.3.1-2")
@pytest.mark.parametrize("sender", Role)
@pytest.mark.parametrize("version", ALL)
def test_every_first_byte(version, sender):
    for first in range(256):
        fault = header_fault(first, version, sender)
        try:
            decode(first, b"\0\x01a\0\x01\0", version, sender)
        except PacketError as error:
            if fault is not None:
                assert error.reason_code == fault, hex(first)  # noqa: PT017
            else:
                assert "flags" not in error.text, hex(first)  # noqa: PT017
        else:
            assert fault is None, hex(first)


# --- what is wrong in a packet -------------------------------------------------

# Packets that are right; cut short anywhere, or longer, they are not. (Where the
# standard lets the end of a packet go without saying, it is not in the list.)
WHOLE = [
    (V5, CLIENT, "10 15 0004 4d515454 05 06 003c 00 0001 63 00 0001 77 0001 78"),
    (V311, CLIENT, "10 15 0004 4d515454 04 c2 003c 0001 63 0002 7573 0002 7077"),
    (V5, SERVER, "20 05 01 00 02 24 01"),
    (V311, SERVER, "20 02 01 00"),
    (V311, SERVER, "40 02 0001"),
    (V311, CLIENT, "62 02 0001"),
    (V311, SERVER, "b0 02 0001"),
]  # fmt: skip


@pytest.mark.parametrize(("version", "sender", "packet"), WHOLE)
def test_a_packet_that_is_cut_short_or_too_long_is_malformed(version, sender, packet):
    data = bytes.fromhex(packet)
    assert decoded(packet, version, sender)
    for end in range(2, len(data)):
        with answered_with(0x81):
            decode(data[0], data[2:end], version, sender)
    with answered_with(0x81, "1 bytes follow the end"):
        decode(data[0], data[2:] + b"\0", version, sender)


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize(
    ("first", "body", "sender"),
    [
        (0xC0, b"\0", CLIENT),
        (0xD0, b"\0", SERVER),
        (0x40, b"\0\x01\0\0\0", SERVER),
        (0x62, b"\0\x01\x92\0\0", SERVER),
    ],
)
def test_bytes_left_over_are_malformed(version, first, body, sender):
    with answered_with(0x81):
        decode(first, body, version, sender)


def test_bytes_after_disconnect_are_malformed():
    for version in (V31, V311):
        with answered_with(0x81):
            decode(0xE0, b"\0", version, CLIENT)
    with answered_with(0x81):
        decode(0xE0, b"\x8b\0\0", V5, SERVER)


FAULTS = [
    # version, sender, packet, answer, what it is
    (V5, SERVER, "20 03 02 00 00", 0x81, "CONNACK flags"),
    (V311, SERVER, "20 02 02 00", 0x81, "CONNACK flags"),
    (V5, SERVER, "20 03 00 10 00", 0x81, "CONNACK code of another packet"),
    (V5, SERVER, "20 02 00 00", 0x81, "CONNACK without properties"),
    (V311, SERVER, "20 02 00 06", 0x81, "CONNACK code"),
    (V5, SERVER, "40 03 0001 11", 0x81, "PUBACK code"),
    (V5, SERVER, "50 03 0001 01", 0x81, "PUBREC code"),
    (V5, SERVER, "62 03 0001 80", 0x81, "PUBREL code"),
    (V5, SERVER, "70 03 0001 10", 0x81, "PUBCOMP code"),
    (V5, SERVER, "e0 01 01", 0x81, "DISCONNECT code"),
    (V5, SERVER, "e0 01 04", 0x81, "DISCONNECT code of a client"),
    (V5, CLIENT, "e0 01 8e", 0x81, "DISCONNECT code of a server"),
    (V5, CLIENT, "40 03 0001 92", 0x81, "PUBACK code of a client"),
    (V5, SERVER, "90 04 0001 00 03", 0x82, "SUBACK code"),
    (V5, SERVER, "90 04 0001 00 11", 0x82, "SUBACK code of UNSUBACK"),
    (V311, SERVER, "90 03 0001 03", 0x82, "SUBACK code of 3.1.1"),
    (V311, SERVER, "90 03 0001 11", 0x82, "SUBACK code of 5.0"),
    (V5, SERVER, "b0 04 0001 00 01", 0x82, "UNSUBACK code"),
    (V5, SERVER, "90 03 0001 00", 0x82, "SUBACK without a code"),
    (V5, SERVER, "b0 03 0001 00", 0x82, "UNSUBACK without a code"),
    (V311, SERVER, "90 02 0001", 0x82, "SUBACK without a code in 3.1.1"),
    (V5, SERVER, "f0 01 18", 0x82, "AUTH without a method"),
    (V5, SERVER, "f0 02 18 00", 0x82, "AUTH without a method, empty properties"),
    (V5, SERVER, "40 02 0000", 0x81, "PUBACK id 0"),
    (V5, SERVER, "50 02 0000", 0x81, "PUBREC id 0"),
    (V5, SERVER, "62 02 0000", 0x81, "PUBREL id 0"),
    (V5, SERVER, "70 02 0000", 0x81, "PUBCOMP id 0"),
    (V5, SERVER, "90 04 0000 00 00", 0x81, "SUBACK id 0"),
    (V5, SERVER, "b0 04 0000 00 00", 0x81, "UNSUBACK id 0"),
    (V5, SERVER, "32 06 0001 61 0000 00", 0x81, "PUBLISH id 0"),
    (V311, SERVER, "34 05 0001 61 0000", 0x81, "PUBLISH id 0 in 3.1.1"),
    (V5, SERVER, "32 04 0001 61 00", 0x81, "PUBLISH id cut short"),
    (V5, SERVER, "30 03 0001 61", 0x81, "PUBLISH without properties"),
    (V5, SERVER, "30 00", 0x81, "PUBLISH without a topic"),
    (V5, SERVER, "30 01 00", 0x81, "PUBLISH topic length cut short"),
    (V5, SERVER, "30 04 0005 61 00", 0x81, "PUBLISH topic cut short"),
    (V5, SERVER, "30 05 0002 612b 00", 0x81, "PUBLISH topic with +"),
    (V5, SERVER, "30 04 0001 23 00", 0x81, "PUBLISH topic with #"),
    (V5, SERVER, "30 04 0001 00 00", 0x81, "PUBLISH topic with NUL"),
    (V5, SERVER, "30 06 0003 eda080 00", 0x81, "PUBLISH topic with a surrogate"),
    (V5, SERVER, "30 05 0002 c0af 00", 0x81, "PUBLISH topic overlong"),
    (V311, SERVER, "30 02 0000", 0x81, "PUBLISH topic empty in 3.1.1"),
    (V31, SERVER, "30 02 0000", 0x81, "PUBLISH topic empty in 3.1"),
    (V5, SERVER, "30 03 0000 00", 0x82, "PUBLISH topic empty, no alias"),
    (V5, CLIENT, "30 06 0001 61 02 0b01", 0x82, "PUBLISH identifier of a client"),
    (V5, CLIENT, "82 03 0001 00", 0x82, "SUBSCRIBE without a filter"),
    (V311, CLIENT, "82 02 0001", 0x82, "SUBSCRIBE without a filter in 3.1.1"),
    (V5, CLIENT, "a2 03 0001 00", 0x82, "UNSUBSCRIBE without a filter"),
    (V5, CLIENT, "82 07 0001 00 0001 61 03", 0x82, "SUBSCRIBE QoS 3"),
    (V311, CLIENT, "82 06 0001 0001 61 03", 0x82, "SUBSCRIBE QoS 3 in 3.1.1"),
    (V5, CLIENT, "82 07 0001 00 0001 61 30", 0x82, "SUBSCRIBE retain handling 3"),
    (V5, CLIENT, "82 07 0001 00 0001 61 40", 0x81, "SUBSCRIBE reserved bit"),
    (V5, CLIENT, "82 07 0001 00 0001 61 80", 0x81, "SUBSCRIBE reserved bit"),
    (V311, CLIENT, "82 06 0001 0001 61 04", 0x81, "SUBSCRIBE reserved bit in 3.1.1"),
    (V5, CLIENT, "82 06 0001 00 0001 61", 0x81, "SUBSCRIBE without options"),
    (V5, CLIENT, "82 06 0001 00 0000 00", 0x81, "SUBSCRIBE empty filter"),
    (V5, CLIENT, "82 08 0001 00 0002 612b 00", 0x81, "SUBSCRIBE misplaced +"),
    (V5, CLIENT, "82 08 0001 00 0002 ffff 00", 0x81, "SUBSCRIBE ill-formed filter"),
    (V5, CLIENT, "a2 07 0001 00 0002 2361", 0x81, "UNSUBSCRIBE misplaced #"),
    (V5, CLIENT, "a2 07 0001 00 0002 6100", 0x81, "UNSUBSCRIBE NUL"),
    (V5, CLIENT, "a2 05 0001 00 0000", 0x81, "UNSUBSCRIBE empty filter"),
    (V5, CLIENT, "82 04 0000 00 00", 0x81, "SUBSCRIBE id 0"),
    (V5, CLIENT, "a2 04 0000 00 00", 0x81, "UNSUBSCRIBE id 0"),
]


@pytest.mark.conformance("5.0", "MQTT-2.2.1-4", "MQTT-3.2.2-1", "MQTT-3.2.2-8")
@pytest.mark.conformance("5.0", "MQTT-3.8.4-7", "MQTT-3.9.3-2", "MQTT-3.11.3-2")
@pytest.mark.conformance("3.1.1", "MQTT-2.3.1-4", "MQTT-3.9.3-2")
@pytest.mark.parametrize(
    ("version", "sender", "packet", "answer"),
    [pytest.param(*fault[:4], id=fault[4]) for fault in FAULTS],
)
def test_a_packet_that_the_standard_forbids(version, sender, packet, answer):
    with answered_with(answer):
        decoded(packet, version, sender)


def test_no_local_on_a_shared_subscription_is_a_protocol_error():
    packet = b"\0\x01\0\0\x0a$share/g/a"
    assert decode(0x82, packet + b"\0", V5, CLIENT)
    with answered_with(0x82, "No Local"):
        decode(0x82, packet + b"\x04", V5, CLIENT)


CONNECT_FAULTS = [
    ("0004 4d515454 05 03 0000 00 0001 63", 0x81, "reserved flag"),
    ("0004 4d515454 05 0a 0000 00 0001 63", 0x81, "will QoS without a will"),
    ("0004 4d515454 05 22 0000 00 0001 63", 0x81, "will retain without a will"),
    ("0004 4d515454 05 1e 0000 00 0001 63 00 0001 77 0000", 0x81, "will QoS 3"),
    ("0004 4d515454 04 42 0000 0001 63 0001 70", 0x81, "password alone in 3.1.1"),
    ("0006 4d5149736470 03 42 0000 0001 63 0001 70", 0x81, "password alone in 3.1"),
    ("0004 4d515454 05 06 0000 00 0001 63 00 0000 0000", 0x81, "empty will topic"),
    ("0004 4d515454 05 06 0000 00 0001 63 00 0001 2b 0000", 0x81, "will wildcard"),
    ("0004 4d515454 05 02 0000 00 0001 00", 0x81, "NUL in the client identifier"),
    ("0004 4d515454 05 02 0000 00 0001 ff", 0x81, "ill-formed client identifier"),
    ("0004 4d515454 05 82 0000 00 0001 63 0001 ff", 0x81, "ill-formed user name"),
    ("0004 4d515454 05 82 0000 00 0001 63", 0x81, "no user name"),
    ("0004 4d515454 06 02 0000 00 0001 63", 0x84, "unknown level"),
    ("0004 4d515454 03 02 0000 0001 63", 0x84, "level of 3.1 with the name of 3.1.1"),
    ("0006 4d5149736470 04 02 0000 0001 63", 0x84, "name of 3.1 with level of 3.1.1"),
    ("0004 58585858 05 02 0000 00 0001 63", 0x84, "another protocol"),
    ("0004 4d515454 84 02 0000 0001 63", 0x84, "a bridge"),
]


@pytest.mark.parametrize(
    ("body", "answer"),
    [pytest.param(*fault[:2], id=fault[2]) for fault in CONNECT_FAULTS],
)
def test_a_connect_that_the_standard_forbids(body, answer):
    with answered_with(answer):
        decode(0x10, bytes.fromhex(body), V5, CLIENT)


@pytest.mark.conformance("5.0", "MQTT-2.1.3-1")
@pytest.mark.conformance("3.1.1", "MQTT-2.2.2-2")
@pytest.mark.parametrize(
    "body", ["0004 4d515454 05 02 0000 00 0001 63", "0004 4d515454 04 02 0000 0001 63"]
)
def test_the_fixed_header_of_connect_has_no_flags(body):
    for flags in range(1, 16):
        with answered_with(0x81, "flags"):
            decode(0x10 | flags, bytes.fromhex(body), V5, CLIENT)


CONNECT_3_1 = "0006 4d5149736470 03"


@pytest.mark.parametrize("first", range(0x10, 0x20))
@pytest.mark.parametrize("flags", [0x02, 0x03, 0x0A, 0x1A, 0x22, 0x3B])
def test_the_unused_bits_of_connect_mean_nothing_in_3_1(first, flags):
    """MQTT 3.1 §2.1, §3.1: also those of a will that there is not."""
    body = bytes.fromhex(f"{CONNECT_3_1} {flags:02x} 0000 0001 63")
    assert decode(first, body, V5, CLIENT) == Connect(V31, "c", keep_alive=0)


@pytest.mark.parametrize(
    ("rest", "username"), [("82 0000 0001 63", None), ("c2 0000 0001 63 0001 75", "u")]
)
def test_3_1_may_announce_a_user_name_and_a_password_and_leave_them_out(rest, username):
    """MQTT 3.1 §3.1: the remaining length takes precedence over the flags."""
    packet = decode(0x10, bytes.fromhex(f"{CONNECT_3_1} {rest}"), V5, CLIENT)
    assert packet == Connect(V31, "c", keep_alive=0, username=username)


# --- what is let through -------------------------------------------------------


def test_control_and_non_characters_are_let_through():
    # MQTT 5.0 §1.5.4: a receiver may refuse them; they are the program's business.
    for character in "\x01\x1f\x7f\x9f\ufdd0\uffff\U0001fffe":
        name = f"a{character}".encode()
        body = len(name).to_bytes(2, "big") + name + b"\0"
        message = decode(0x30, body, V5, SERVER)
        assert isinstance(message, Publish)
        assert str(message.topic) == f"a{character}"


@pytest.mark.conformance("5.0", "MQTT-1.5.4-3")
@pytest.mark.conformance("3.1.1", "MQTT-1.5.3-3")
def test_a_byte_order_mark_in_a_topic_stays():
    message = decoded("30 06 0004 efbbbf61", V311)
    assert str(message.topic) == "\ufeffa"


@pytest.mark.parametrize("first", ["6a", "8a", "aa"])
def test_3_1_repeats_with_the_dup_flag(first):
    rest = {"6a": "02 0001", "8a": "06 0001 0001 61 00", "aa": "05 0001 0001 61"}[first]
    assert decoded(f"{first} {rest}", V31, CLIENT)
    for version in (V311, V5):
        with answered_with(0x81, "flags"):
            decoded(f"{first} {rest}", version, CLIENT)
