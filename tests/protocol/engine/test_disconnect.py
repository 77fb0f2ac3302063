"""The end of a connection, by either side."""

from typing import Any

import pytest

from aiomqtt.exceptions import MqttCodeError, MqttLimitError
from aiomqtt.properties import Properties
from aiomqtt.protocol.dispatch import State

from .client_and_broker import (
    CONNACK,
    DISCONNECT,
    PINGRESP,
    PUBLISH,
    connect,
    connected,
    lasting,
    octets,
    strangers,
)


@pytest.mark.conformance("5.0", "MQTT-3.14.4-1", "MQTT-3.14.4-2")
@pytest.mark.conformance("3.1.1", "MQTT-3.14.1-1", "MQTT-3.14.4-1", "MQTT-3.14.4-2")
def test_disconnect_is_the_last_packet(version):
    client, broker = connected(version)
    client.disconnect()
    assert client.closed() is None
    broker.gets(octets("e0 00"))
    broker.sends(PUBLISH("t", b"late", 1, 1), PINGRESP)
    client.tick(1000)
    client.disconnect()
    with pytest.raises(MqttCodeError, match="not currently connected"):
        client.publish("t")
    assert client.engine.deadline() is None
    assert client.messages() == []
    assert client.events() == []
    broker.gets_nothing()


@pytest.mark.conformance("5.0", "MQTT-3.14.2-1")
def test_disconnect_can_ask_for_the_will():
    client, broker = connected()
    client.disconnect(0x04)
    broker.gets(octets("e0 01 04"))


def test_disconnect_refuses_a_reason_that_clients_have_not():
    client, broker = connected()
    with pytest.raises(ValueError, match="0x8b"):
        client.disconnect(0x8B)
    assert not client.is_closed
    broker.gets_nothing()


def test_disconnect_carries_properties():
    client, broker = lasting()
    client.disconnect(0, session_expiry_interval=5, reason_string="bye")
    broker.gets(octets("e0 0d 00 0b 11 00 00 00 05 1f 00 03 62 79 65"))
    assert client.closed() is None


@pytest.mark.conformance("5.0", "MQTT-3.14.2-2")
@pytest.mark.parametrize("announced", [{}, {"session_expiry_interval": 0}])
def test_disconnect_cannot_ask_for_a_session_that_connect_did_not(announced):
    client, broker = connected(properties=Properties(**announced))
    with pytest.raises(ValueError, match=r"MQTT-3\.14\.2-2"):
        client.disconnect(0, session_expiry_interval=5)
    assert not client.is_closed
    broker.gets_nothing()
    client.disconnect(0, session_expiry_interval=0)
    broker.gets(octets("e0 07 00 05 11 00 00 00 00"))


def test_disconnect_can_end_a_session_that_would_last():
    client, broker = lasting()
    client.publish("t", b"x", qos=1)
    broker.gets(PUBLISH("t", b"x", 1, 1))
    client.disconnect(0, session_expiry_interval=0)
    assert len(client.engine.session.outbound) == 0
    assert not client.engine.session.exists


def test_disconnect_can_shorten_a_session():
    client, broker = lasting()
    client.publish("t", b"x", qos=1)
    broker.gets(PUBLISH("t", b"x", 1, 1))
    client.disconnect(0, session_expiry_interval=1)
    assert len(client.engine.session.outbound) == 1
    assert client.engine.session.exists


@pytest.mark.parametrize("level", [3, 4])
@pytest.mark.parametrize(
    ("code", "properties"), [(4, {}), (0x80, {}), (0, {"reason_string": "bye"})]
)
def test_disconnect_says_nothing_below_5(level, code, properties):
    client, broker = connected(level)
    with pytest.raises(ValueError, match=r"5\.0"):
        client.disconnect(code, **properties)
    assert not client.is_closed
    broker.gets_nothing()


def test_disconnect_that_is_larger_than_the_broker_accepts():
    client, broker = connected(5, CONNACK(maximum_packet_size=20))
    properties = Properties(reason_string="x" * 20)
    with pytest.raises(MqttLimitError):
        client.engine.check_disconnect(0, properties)
    client.engine.check_disconnect(0x04, None)
    assert not client.is_closed
    broker.gets_nothing()


def test_the_end_is_told_once_with_its_first_reason(version):
    client, broker = connected(version)
    broker.sends(b"\x00\x00")
    assert client.closed_with() == 0x81
    broker.vanishes()
    client.disconnect()
    broker.sends(b"\x00\x00")
    assert client.events() == []


@pytest.mark.conformance("5.0", "MQTT-4.13.2-1", "MQTT-3.1.4-3")
@pytest.mark.parametrize(
    ("packet", "code", "text"),
    [
        ("e0 00", 0x00, "Normal disconnection"),
        ("e0 01 8e", 0x8E, "Session taken over"),
        ("e0 02 8b 00", 0x8B, "Server shutting down"),
        ("e0 07 98 05 1f 00 02 6e 6f", 0x98, "Administrative action: no"),
    ],
)
def test_a_disconnect_of_the_broker_says_why(packet, code, text):
    client, broker = connected()
    broker.sends(octets(packet))
    error = client.closed()
    assert isinstance(error, MqttCodeError)
    assert error.rc == code
    assert text in str(error)
    broker.gets_nothing()


TOLD: list[dict[str, Any]] = [
    {},
    {"reason_string": "moved"},
    {"server_reference": "b.example:1883"},
    {"user_property": [("a", "1"), ("a", "2")]},
    {
        "reason_string": "moved",
        "server_reference": "b.example:1883",
        "user_property": [("a", "1")],
    },
]


@pytest.mark.conformance("5.0", "MQTT-3.14.0-1")
@pytest.mark.parametrize("told", TOLD, ids=lambda told: "+".join(told) or "nothing")
@pytest.mark.parametrize("code", [0x00, 0x8B, 0x98, 0x9C, 0x9D])
def test_the_properties_of_a_disconnect_are_those_of_the_error(code, told):
    client, broker = connected()
    broker.sends(DISCONNECT(code, **told))
    error = client.closed()
    assert isinstance(error, MqttCodeError)
    assert error.properties == (Properties(**told) if told else None)
    assert error.reason_string == told.get("reason_string")
    reference = told.get("server_reference")
    assert str(error).endswith(f"(server reference: {reference})") == bool(reference)


def test_a_disconnect_before_the_connack_has_properties_too():
    client, broker = strangers()
    client.connect()
    broker.sends(DISCONNECT(0x9C, server_reference="b.example"))
    error = client.closed()
    assert error is not None
    assert error.properties == Properties(server_reference="b.example")


def test_an_end_without_the_brokers_words_has_no_properties(version):
    client, broker = connected(version)
    broker.sends(b"\x00\x00")
    error = client.closed()
    assert error is not None
    assert error.properties is None


def test_a_disconnect_of_the_broker_is_for_5_0_only():
    for version in (3, 4):
        client, broker = connected(version)
        broker.sends(octets("e0 00"))
        assert client.closed_with() == 0x82
        broker.gets_nothing()


def test_the_connection_can_end_before_the_connack(version):
    client, broker = strangers(version)
    client.connect()
    broker.vanishes()
    assert str(client.closed()) == "lost"
    connect(client, broker)
    assert client.state() is State.CONNECTED
