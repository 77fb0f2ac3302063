"""CONNECT with all of its fields."""

import pytest

from aiomqtt.properties import Properties
from aiomqtt.protocol.packets import WillMessage
from aiomqtt.protocol.settings import Settings
from aiomqtt.standard.tables import ProtocolVersion

from .client_and_broker import (
    CONNACK,
    octets,
    strangers,
)


@pytest.mark.conformance("5.0", "MQTT-3.1.0-1", "MQTT-3.1.2-1", "MQTT-3.1.3-3")
@pytest.mark.conformance("3.1.1", "MQTT-3.1.0-1", "MQTT-3.1.3-3")
@pytest.mark.parametrize(
    ("version", "wanted"),
    [
        (3, "10 0f  00 06 4d 51 49 73 64 70  03 02 00 3c  00 01 63"),
        (4, "10 0d  00 04 4d 51 54 54  04 02 00 3c  00 01 63"),
        (5, "10 0e  00 04 4d 51 54 54  05 02 00 3c  00  00 01 63"),
    ],
)
def test_the_first_packet_is_a_connect_with_nothing_that_nobody_asked_for(
    version, wanted
):
    client, broker = strangers(version, client_id="c", clean_start=True)
    broker.gets_nothing()
    client.connect()
    broker.gets(octets(wanted))


@pytest.mark.conformance("5.0", "MQTT-3.1.2-3", "MQTT-3.1.2-9", "MQTT-3.1.2-17")
@pytest.mark.conformance("5.0", "MQTT-3.1.2-19", "MQTT-3.1.3-1")
@pytest.mark.conformance("3.1.1", "MQTT-3.1.2-3", "MQTT-3.1.2-9", "MQTT-3.1.2-19")
@pytest.mark.conformance("3.1.1", "MQTT-3.1.2-21", "MQTT-3.1.3-1")
@pytest.mark.parametrize(
    ("version", "wanted"),
    [
        (
            3,
            (
                "10 21  00 06 4d 51 49 73 64 70  03 f4 01 2c  00 01 63"
                "00 01 77  00 04 67 6f 6e 65  00 02 6d 65  00 03 70 77 64"
            ),
        ),
        (
            4,
            (
                "10 1f  00 04 4d 51 54 54  04 f4 01 2c  00 01 63"
                "00 01 77  00 04 67 6f 6e 65  00 02 6d 65  00 03 70 77 64"
            ),
        ),
        (
            5,
            (
                "10 28  00 04 4d 51 54 54  05 f4 01 2c  00  00 01 63"
                "07 18 00 00 00 05 01 01"
                "00 01 77  00 04 67 6f 6e 65  00 02 6d 65  00 03 70 77 64"
            ),
        ),
    ],
)
def test_every_field_of_connect_stands_in_its_place(version, wanted):
    values = Properties(will_delay_interval=5, payload_format_indicator=1)
    client, broker = strangers(
        version,
        client_id="c",
        clean_start=False,
        keep_alive=300,
        username="me",
        password=b"pwd",
        will=WillMessage("w", b"gone", 2, True, values if version == 5 else None),
    )
    client.connect()
    broker.gets(octets(wanted))


@pytest.mark.conformance("5.0", "MQTT-3.1.2-11", "MQTT-3.1.2-12", "MQTT-3.1.2-13")
@pytest.mark.conformance("5.0", "MQTT-3.1.2-16", "MQTT-3.1.2-18")
@pytest.mark.conformance("3.1.1", "MQTT-3.1.2-11", "MQTT-3.1.2-13", "MQTT-3.1.2-14")
@pytest.mark.conformance("3.1.1", "MQTT-3.1.2-15", "MQTT-3.1.2-18", "MQTT-3.1.2-20")
@pytest.mark.parametrize(
    ("settings", "flags"),
    [
        ({}, 0b0000_0010),
        ({"clean_start": False}, 0b0000_0000),
        ({"username": "me"}, 0b1000_0010),
        ({"username": "me", "password": b"p"}, 0b1100_0010),
        ({"username": "", "password": b""}, 0b1100_0010),
        ({"will": WillMessage("w", b"", 0)}, 0b0000_0110),
        ({"will": WillMessage("w", b"", 1)}, 0b0000_1110),
        ({"will": WillMessage("w", b"", 2)}, 0b0001_0110),
        ({"will": WillMessage("w", b"", 0, True)}, 0b0010_0110),
    ],
)
def test_the_connect_flags_say_what_follows(version, settings, flags):
    client, broker = strangers(
        version, **{"client_id": "c", "clean_start": True} | settings
    )
    client.connect()
    data = client.written
    name_length = 6 if version == 3 else 4
    assert data[2 + 2 + name_length + 1] == flags
    connect = broker.gets_connect()
    assert (connect.will is not None) == ("will" in settings)
    assert connect.username == settings.get("username")
    assert connect.password == settings.get("password")


def test_a_password_without_a_user_name_is_for_5_0_only():
    client, broker = strangers(5, client_id="c", password=b"token", keep_alive=0)
    client.connect()
    broker.gets(
        octets(
            "10 15  00 04 4d 51 54 54  05 42 00 00  00  00 01 63  00 05 74 6f 6b 65 6e"
        )
    )


def test_all_properties_of_connect_arrive():
    properties = Properties(
        session_expiry_interval=1,
        receive_maximum=2,
        maximum_packet_size=3000,
        topic_alias_maximum=4,
        request_response_information=1,
        request_problem_information=0,
        user_property=[("a", "b"), ("a", "c")],
        authentication_method="m",
        authentication_data=b"d",
    )
    client, broker = strangers(5, properties=properties)
    client.connect()
    assert broker.gets_connect().properties == properties


@pytest.mark.conformance("5.0", "MQTT-3.1.3-4", "MQTT-3.1.3-11", "MQTT-3.1.3-12")
@pytest.mark.conformance("3.1.1", "MQTT-3.1.3-4", "MQTT-3.1.3-10", "MQTT-3.1.3-11")
@pytest.mark.conformance("3.1.1", "MQTT-3.1.2-22", "MQTT-3.1.3-7")
@pytest.mark.parametrize(
    ("versions", "settings", "named"),
    [
        ("345", {"client_id": "\ud800"}, "client identifier"),
        ("345", {"client_id": "a\0"}, "client identifier"),
        ("345", {"client_id": "c" * 65_536}, "client identifier"),
        ("345", {"username": "\ud800"}, "user name"),
        ("345", {"username": "a\0"}, "user name"),
        ("345", {"username": "me", "password": b"p" * 65_536}, "password"),
        ("345", {"will": WillMessage("\udfff", b"")}, "will's topic"),
        ("345", {"will": WillMessage("a/#", b"")}, "will's topic"),
        ("345", {"will": WillMessage("", b"")}, "will's topic"),
        ("345", {"will": WillMessage("w", b"", 3)}, "will's qos"),
        ("345", {"will": WillMessage("w", b"p" * 65_536)}, "will's payload"),
        ("345", {"keep_alive": -1}, "keep alive"),
        ("345", {"keep_alive": 65_536}, "keep alive"),
        ("34", {"password": b"p"}, "MQTT-3.1.2-22"),
        ("34", {"client_id": "", "clean_start": False}, "MQTT-3.1.3-7"),
        ("34", {"properties": Properties(receive_maximum=1)}, "receive_maximum"),
        ("5", {"properties": Properties(topic_alias=1)}, "topic_alias"),
        ("5", {"properties": Properties(maximum_qos=1)}, "maximum_qos"),
        ("5", {"properties": Properties(authentication_data=b"")}, "authentication"),
        (
            "5",
            {"will": WillMessage("w", b"", properties=Properties(topic_alias=1))},
            "topic_alias",
        ),
    ],
)
def test_settings_that_the_standard_forbids_are_refused_at_once(
    versions, settings, named
):
    for version in map(int, versions):
        with pytest.raises(ValueError, match=named):
            strangers(version, **{"client_id": "c", "clean_start": True} | settings)


def test_new_settings_that_the_standard_forbids_change_nothing(version):
    client, broker = strangers(version, client_id="c", clean_start=True)
    good = client.engine.settings
    client.engine.settings = good._replace(username="a\0")
    with pytest.raises(ValueError, match="user name"):
        client.connect()
    assert client.is_closed
    broker.gets_nothing()
    client.engine.settings = good
    client.connect()
    assert broker.gets_connect().username is None


@pytest.mark.conformance("5.0", "MQTT-3.1.0-2")
@pytest.mark.conformance("3.1.1", "MQTT-3.1.0-2")
def test_a_connection_has_one_connect(version):
    client, broker = strangers(version)
    client.connect()
    broker.gets_connect()
    broker.sends(CONNACK())
    broker.gets_nothing()
    client.tick(54)
    broker.gets(octets("c0 00"))


# --- clean start ---------------------------------------------------------------


def test_clean_start_is_asked_for_until_a_connection_was_accepted():
    client, broker = strangers(5, client_id="c")
    asked = []
    for answer in (None, CONNACK(0x88), CONNACK(), None, CONNACK()):
        client.connect()
        asked.append(broker.gets_connect().clean_start)
        if answer is not None:
            broker.sends(answer)
        if not client.is_closed:
            broker.vanishes()
    assert asked == [True, True, True, False, False]


@pytest.mark.parametrize("clean_start", [True, False])
def test_clean_start_can_be_the_same_for_every_connection(version, clean_start):
    client, broker = strangers(version, client_id="c", clean_start=clean_start)
    for _ in range(3):
        client.connect()
        assert broker.gets_connect().clean_start is clean_start
        broker.sends(CONNACK())
        broker.vanishes()


def test_without_an_identifier_every_session_is_clean_below_5_0():
    for version in (3, 4):
        client, broker = strangers(version, clean_start=None)
        for _ in range(2):
            client.connect()
            assert broker.gets_connect().clean_start is True
            broker.sends(CONNACK())
            broker.vanishes()


def test_no_repr_shows_the_password():
    settings = Settings(ProtocolVersion.V5, username="u", password=b"secret")
    assert "username='u'" in repr(settings)
    assert "secret" not in repr(settings)
