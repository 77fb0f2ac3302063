"""CONNECT and CONNACK to bytes, and what the standard forbids in them refused."""

import pytest

from aiomqtt.properties import Properties, ReasonCode
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.protocol.packets import Connack, Connect, WillMessage
from aiomqtt.standard.tables import ProtocolVersion, Role

V31, V311, V5 = ProtocolVersion
ALL = list(ProtocolVersion)
BELOW_5 = [V31, V311]
CLIENT, SERVER = Role.CLIENT, Role.SERVER


def encoded(packet, version, sender=CLIENT):
    return encode(packet, version, sender).hex(" ")


def refused(rule):
    return pytest.raises(ValueError, match=rule)


# --- CONNECT -------------------------------------------------------------------

WILL = WillMessage("w", b"bye", 1, True)


@pytest.mark.conformance("5.0", "MQTT-3.1.2-1", "MQTT-3.1.2-3")
@pytest.mark.conformance("3.1.1", "MQTT-3.1.2-3")
@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (V31, "10 0f 00 06 4d 51 49 73 64 70 03 02 00 3c 00 01 63"),
        (V311, "10 0d 00 04 4d 51 54 54 04 02 00 3c 00 01 63"),
        (V5, "10 0e 00 04 4d 51 54 54 05 02 00 3c 00 00 01 63"),
    ],
)
def test_the_smallest_connect(version, expected):
    assert encoded(Connect(version, "c", keep_alive=60), version) == expected


@pytest.mark.conformance(
    "5.0",
    "MQTT-3.1.2-9",
    "MQTT-3.1.2-17",
    "MQTT-3.1.2-19",
    "MQTT-3.1.3-1",
    "MQTT-3.1.3-3",
    "MQTT-3.1.3-4",
    "MQTT-3.1.3-11",
    "MQTT-3.1.3-12",
)
@pytest.mark.conformance(
    "3.1.1",
    "MQTT-3.1.2-9",
    "MQTT-3.1.2-19",
    "MQTT-3.1.2-21",
    "MQTT-3.1.3-1",
    "MQTT-3.1.3-3",
    "MQTT-3.1.3-4",
    "MQTT-3.1.3-10",
    "MQTT-3.1.3-11",
)
@pytest.mark.parametrize("version", ALL)
def test_the_payload_of_connect_is_in_order(version):
    packet = Connect(version, "id", False, 1, "user", b"\xff\0", WILL)
    data = encode(packet, version, CLIENT)
    no_properties = b"\0" if version == V5 else b""
    assert data.endswith(
        b"\xec\0\1"  # the flags: user name, password, will retain, QoS 1, will
        + no_properties
        + b"\0\x02id"
        + no_properties
        + b"\0\x01w"
        + b"\0\x03bye"
        + b"\0\x04user"
        + b"\0\x02\xff\0"
    )


@pytest.mark.conformance(
    "5.0", "MQTT-3.1.2-11", "MQTT-3.1.2-13", "MQTT-3.1.2-16", "MQTT-3.1.2-18"
)
@pytest.mark.conformance(
    "3.1.1",
    "MQTT-3.1.2-11",
    "MQTT-3.1.2-13",
    "MQTT-3.1.2-15",
    "MQTT-3.1.2-18",
    "MQTT-3.1.2-20",
)
@pytest.mark.parametrize("version", ALL)
def test_what_connect_leaves_out_has_no_flag(version):
    data = encode(Connect(version, "id"), version, CLIENT)
    flags = data[11 if version == V31 else 9]
    assert flags == 0x02  # clean start
    assert data.endswith(b"\0\x02id")


@pytest.mark.parametrize("version", ALL)
def test_a_user_name_and_a_password_may_be_empty(version):
    packet = Connect(version, "id", username="", password=b"")
    assert encode(packet, version, CLIENT).endswith(b"\0\x02id\0\0\0\0")


def test_the_properties_of_connect_and_of_its_will():
    packet = Connect(
        V5,
        "",
        will=WillMessage("w", b"", properties=Properties(will_delay_interval=1)),
        properties=Properties(receive_maximum=10),
    )
    assert encoded(packet, V5) == (
        "10 1b 00 04 4d 51 54 54 05 06 00 00"
        " 03 21 00 0a"
        " 00 00"
        " 05 18 00 00 00 01"
        " 00 01 77 00 00"
    )


@pytest.mark.conformance("3.1.1", "MQTT-3.1.2-22")
@pytest.mark.parametrize("version", BELOW_5)
def test_a_password_needs_a_user_name_below_5_0(version):
    with refused("a password needs a user name"):
        encode(Connect(version, "id", password=b"x"), version, CLIENT)


def test_a_password_stands_alone_in_5_0():
    data = encode(Connect(V5, "id", password=b"x"), V5, CLIENT)
    assert data[9] == 0x42
    assert data.endswith(b"\0\x02id\0\x01x")


@pytest.mark.conformance("3.1.1", "MQTT-3.1.3-7")
@pytest.mark.parametrize("version", BELOW_5)
def test_an_empty_client_identifier_needs_a_clean_session_below_5_0(version):
    with refused("client identifier needs a clean session"):
        encode(Connect(version, "", clean_start=False), version, CLIENT)


def test_an_empty_client_identifier_may_resume_in_5_0():
    assert encode(Connect(V5, "", clean_start=False), V5, CLIENT)


@pytest.mark.conformance("5.0", "MQTT-3.1.2-12", "MQTT-1.5.4-1", "MQTT-1.5.4-2")
@pytest.mark.conformance("3.1.1", "MQTT-3.1.2-14", "MQTT-1.5.3-1", "MQTT-1.5.3-2")
@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"keep_alive": 65_536}, "keep alive must be 0 to 65535"),
        ({"keep_alive": -1}, "keep alive must be 0 to 65535"),
        ({"client_id": "a\0"}, r"client identifier must not contain U\+0000"),
        ({"client_id": "\ud800"}, "client identifier must be well-formed"),
        ({"client_id": "x" * 65_536}, "client identifier must be at most 65535"),
        ({"username": "\0"}, r"user name must not contain U\+0000"),
        ({"username": "\udfff"}, "user name must be well-formed"),
        ({"username": "", "password": bytes(65_536)}, "password must be at most"),
        ({"will": WillMessage("w", b"", 3)}, "the will's qos must be 0, 1 or 2"),
        ({"will": WillMessage("", b"")}, "the will's topic must "),
        ({"will": WillMessage("a/+", b"")}, "the will's topic must "),
        ({"will": WillMessage("a\0", b"")}, "the will's topic must "),
        ({"will": WillMessage("a", bytes(65_536))}, "the will's payload must be"),
    ],
)
def test_a_connect_that_the_standard_forbids(version, change, rule):
    packet = Connect(version, **({"client_id": "id"} | change))
    with refused(rule):
        encode(packet, version, CLIENT)


# --- CONNACK -------------------------------------------------------------------


def test_connack():
    packet = Connack(True, ReasonCode(0), Properties(maximum_qos=1))
    assert encoded(packet, V5, SERVER) == "20 05 01 00 02 24 01"
    assert encoded(Connack(True, ReasonCode(0)), V311, SERVER) == "20 02 01 00"
    assert encoded(Connack(False, ReasonCode(5)), V31, SERVER) == "20 02 00 05"


@pytest.mark.conformance("5.0", "MQTT-3.2.2-6", "MQTT-3.2.2-8")
@pytest.mark.conformance("3.1.1", "MQTT-3.2.2-4")
@pytest.mark.parametrize(
    ("version", "present", "code", "rule"),
    [
        (V311, True, 5, "a refusal has no session present"),
        (V5, True, 0x87, "a refusal has no session present"),
        (V31, True, 0, "knows no session present"),
        (V311, False, 6, "0x06 is not allowed in CONNACK"),
        (V5, False, 5, "0x05 is not allowed in CONNACK"),
    ],
)
def test_a_connack_that_the_standard_forbids(version, present, code, rule):
    with refused(rule):
        encode(Connack(present, ReasonCode(code)), version, SERVER)
