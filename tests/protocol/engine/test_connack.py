"""Every answer to a CONNECT."""

import pytest

from aiomqtt.exceptions import MqttCodeError
from aiomqtt.properties import Properties
from aiomqtt.protocol.dispatch import State
from aiomqtt.protocol.output import Closed, Connected
from aiomqtt.standard.tables import CONNECT_REASON_CODES, PacketType, Role, reason_codes

from .client_and_broker import (
    AUTH,
    CONNACK,
    DISCONNECT,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    UNSUBACK,
    connected,
    lasting,
    octets,
    reconnect,
    strangers,
)

V5_REFUSALS = sorted(
    code for code in reason_codes(PacketType.CONNACK, 5, Role.SERVER) if code
)

# --- an accepted connection ----------------------------------------------------


def test_a_connack_with_success_opens_the_connection(version):
    client, broker = strangers(version)
    client.connect()
    assert client.state() is State.CONNECTING
    assert client.events() == []
    broker.sends(CONNACK())
    assert client.state() is State.CONNECTED
    [event] = client.events()
    assert isinstance(event, Connected)
    assert event.connack.reason_code == 0


def test_the_program_sees_the_connack_with_its_properties():
    client, broker = strangers()
    client.connect()
    connack = CONNACK(
        assigned_client_identifier="given",
        server_keep_alive=7,
        response_information="r",
        user_property=[("a", "b")],
        reason_string="welcome",
    )
    broker.sends(connack)
    [event] = client.events()
    assert isinstance(event, Connected)
    assert event.connack == connack


@pytest.mark.conformance("5.0", "MQTT-3.1.3-6", "MQTT-3.1.3-2")
def test_an_assigned_client_identifier_is_used_from_then_on():
    client, broker = lasting(
        client_id="", connack=CONNACK(assigned_client_identifier="given")
    )
    assert client.engine.session.client_id == "given"
    broker.vanishes()
    client.connect()
    connect = broker.gets_connect()
    assert (connect.client_id, connect.clean_start) == ("given", False)


@pytest.mark.conformance("5.0", "MQTT-3.2.2-16")
def test_an_assigned_client_identifier_does_not_replace_ones_own():
    client, broker = lasting(
        client_id="mine", connack=CONNACK(assigned_client_identifier="given")
    )
    broker.vanishes()
    client.connect()
    assert broker.gets_connect().client_id == "mine"


@pytest.mark.conformance("5.0", "MQTT-3.1.3-7")
def test_without_an_assigned_client_identifier_the_next_one_is_empty_again():
    client, broker = lasting(client_id="", connack=CONNACK())
    assert client.engine.session.client_id == ""
    broker.vanishes()
    client.connect()
    assert broker.gets_connect().client_id == ""
    broker.sends(CONNACK())
    assert isinstance(client.events()[-1], Connected)


@pytest.mark.conformance("5.0", "MQTT-3.1.2-28")
def test_response_information_that_was_not_asked_for_is_no_error():
    client, _ = connected(connack=CONNACK(response_information="r"))
    assert not client.is_closed


def test_messages_may_come_in_the_same_bytes_as_the_connack(version):
    client, broker = strangers(version)
    client.connect()
    broker.sends(CONNACK(), PUBLISH("t", b"early"))
    assert [type(event) for event in client.events()] == [Connected]
    assert client.payloads() == [b"early"]


def test_a_connack_may_come_byte_by_byte(version):
    client, broker = strangers(version)
    client.connect()
    octet = b"\x20\x03\x00\x00\x00" if version == 5 else b"\x20\x02\x00\x00"
    for position in range(len(octet)):
        assert client.state() is State.CONNECTING
        broker.sends(octet[position : position + 1])
    assert client.state() is State.CONNECTED


# --- a refused connection ------------------------------------------------------


@pytest.mark.conformance("3.1.1", "MQTT-3.1.2-2", "MQTT-3.1.3-8", "MQTT-3.2.2-5")
@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("code", [1, 2, 3, 4, 5])
def test_a_refusal_of_3_x_closes_with_its_code(version, code):
    client, broker = strangers(version)
    client.connect()
    broker.gets_connect()
    broker.sends(CONNACK(code))
    [event] = client.events()
    assert isinstance(event, Closed)
    assert isinstance(event.error, MqttCodeError)
    assert event.error.rc == code
    assert event.connack is not None
    assert event.connack.reason_code.value == CONNECT_REASON_CODES[code]
    broker.gets_nothing()


@pytest.mark.conformance("5.0", "MQTT-3.1.2-2", "MQTT-3.2.2-7", "MQTT-4.13.2-1")
@pytest.mark.parametrize("code", V5_REFUSALS, ids=hex)
def test_a_refusal_of_5_0_closes_with_its_code(code):
    client, broker = strangers()
    client.connect()
    broker.gets_connect()
    connack = CONNACK(code, reason_string="no", server_reference="elsewhere:1883")
    broker.sends(connack)
    [event] = client.events()
    assert isinstance(event, Closed)
    assert isinstance(event.error, MqttCodeError)
    assert event.error.rc == code
    assert event.connack == connack
    broker.gets_nothing()


@pytest.mark.conformance("5.0", "MQTT-3.2.2-6")
@pytest.mark.conformance("3.1.1", "MQTT-3.2.2-4")
@pytest.mark.parametrize(
    ("version", "refusal", "code"),
    [(4, "20 02 01 05", 0x87), (5, "20 03 01 87 00", 0x87)],
)
def test_a_refusal_with_session_present_is_a_refusal(version, refusal, code):
    client, broker = lasting(version)
    delivery = client.publish("t", b"x", 1)
    broker.vanishes()
    client.events()
    client.connect()
    broker.gets_connect()
    broker.sends(octets(refusal))
    assert client.closed_with() == code
    broker.gets_nothing()
    # Refused is not forgotten: the session goes on.
    reconnect(client, broker)
    broker.gets(PUBLISH("t", b"x", 1, delivery.packet_id, dup=True))


@pytest.mark.parametrize("version", [3, 4, 5])
def test_what_comes_after_a_refusal_is_not_read(version):
    client, broker = strangers(version)
    client.connect()
    broker.gets_connect()
    refusal = CONNACK(0x87 if version == 5 else 5)
    broker.sends(refusal, PUBLISH("t", b"x", 1, 1), b"\x00\x00")
    assert len(client.events()) == 1
    assert client.messages() == []
    broker.gets_nothing()


def test_a_refused_client_connects_again(version):
    client, broker = strangers(version)
    client.connect()
    broker.sends(CONNACK(0x88 if version == 5 else 3))
    client.events()
    client.connect()
    client.written = b""
    broker.sends(CONNACK())
    assert client.state() is State.CONNECTED


# --- answers that are none -----------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-3.2.0-1")
@pytest.mark.conformance("3.1.1", "MQTT-3.2.0-1")
@pytest.mark.parametrize(
    "packet",
    [
        PUBLISH("t"),
        PUBLISH("t", b"", 1, 1),
        PUBACK(1),
        PUBREC(1),
        PUBREL(1),
        PUBCOMP(1),
        SUBACK(1, 0),
        UNSUBACK(1, 0),
        PINGRESP,
    ],
    ids=lambda packet: packet.kind.name,
)
def test_another_packet_before_the_connack_ends_the_connection(version, packet):
    client, broker = strangers(version)
    client.connect()
    broker.gets_connect()
    broker.sends(packet, CONNACK())
    assert client.closed_with() == 0x82
    assert client.messages() == []
    broker.gets(*[octets("e0 01 82")] * (version == 5))


@pytest.mark.conformance("5.0", "MQTT-3.14.0-1")
def test_a_disconnect_before_the_connack_says_why():
    client, broker = strangers()
    client.connect()
    broker.gets_connect()
    broker.sends(DISCONNECT(0x8B, reason_string="bye"))
    assert client.closed_with() == 0x8B
    broker.gets_nothing()


@pytest.mark.conformance("5.0", "MQTT-3.2.0-2")
@pytest.mark.conformance("3.1.1", "MQTT-4.8.0-1")
def test_a_second_connack_ends_the_connection(version):
    client, broker = connected(version)
    broker.sends(CONNACK())
    assert client.closed_with() == 0x82
    broker.gets(*[octets("e0 01 82")] * (version == 5))


@pytest.mark.conformance("5.0", "MQTT-3.2.2-1", "MQTT-3.2.2-8")
@pytest.mark.parametrize(
    ("version", "connack"),
    [
        (4, "20 02 02 00"),
        (4, "20 02 80 00"),
        (4, "20 02 00 06"),
        (3, "20 02 00 06"),
        (4, "20 02 00 7f"),
        (4, "20 03 00 00 00"),
        (5, "20 03 02 00 00"),
        (5, "20 03 00 06 00"),
        (5, "20 03 00 10 00"),
        (5, "20 03 00 7f 00"),
        (5, "20 02 00 06"),
        (5, "20 02 00 00"),
        (5, "20 04 00 00 00 00"),
        (5, "21 03 00 00 00"),
    ],
)
def test_a_malformed_connack_ends_the_connection(version, connack):
    client, broker = strangers(version)
    client.connect()
    broker.gets_connect()
    broker.sends(octets(connack))
    assert client.closed_with() == 0x81
    broker.gets(*[octets("e0 01 81")] * (version == 5))


# --- authentication ------------------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-4.12.0-6", "MQTT-4.12.0-7")
@pytest.mark.parametrize(
    "packet",
    [
        AUTH(authentication_method="m"),
        AUTH(0, authentication_method="m"),
        CONNACK(authentication_method="m"),
        CONNACK(authentication_method="m", authentication_data=b"d"),
    ],
    ids=lambda packet: packet.kind.name,
)
def test_authentication_that_the_client_did_not_ask_for_ends_the_connection(packet):
    client, broker = strangers()
    client.connect()
    broker.gets_connect()
    broker.sends(packet)
    assert client.closed_with() == 0x82
    broker.gets(octets("e0 01 82"))


@pytest.mark.conformance("5.0", "MQTT-4.12.0-5")
@pytest.mark.parametrize(
    "packet",
    [AUTH(authentication_method="n"), CONNACK(authentication_method="n"), CONNACK()],
    ids=["other in AUTH", "other in CONNACK", "none in CONNACK"],
)
def test_the_authentication_method_is_the_one_of_the_connect(packet):
    client, broker = strangers(properties=Properties(authentication_method="m"))
    client.connect()
    broker.gets_connect()
    broker.sends(packet)
    assert client.closed_with() == 0x82
    broker.gets(octets("e0 01 82"))


def test_a_connack_with_the_method_of_the_connect_is_accepted():
    client, _ = connected(
        properties=Properties(authentication_method="m"),
        connack=CONNACK(authentication_method="m", authentication_data=b"d"),
    )
    assert not client.is_closed


@pytest.mark.conformance("5.0", "MQTT-4.12.0-2")
@pytest.mark.parametrize("code", [0x00, 0x19], ids=hex)
def test_the_broker_goes_on_with_an_authentication_by_0x18_only(code):
    client, broker = strangers(properties=Properties(authentication_method="m"))
    client.connect()
    broker.gets_connect()
    method = octets("15 00 01 6d")
    broker.sends(bytes((0xF0, 2 + len(method), code, len(method))) + method)
    assert client.closed_with() in (0x81, 0x82)
    assert client.written[:1] == b"\xe0"


@pytest.mark.conformance("5.0", "MQTT-3.1.2-30")
def test_during_an_authentication_only_disconnect_is_sent():
    client, broker = strangers(properties=Properties(authentication_method="m"))
    client.connect()
    broker.gets_connect()
    for call in (
        lambda: client.publish("t"),
        lambda: client.publish("t", b"", 1),
        lambda: client.subscribe("t"),
        lambda: client.unsubscribe("t"),
    ):
        with pytest.raises(MqttCodeError) as raised:
            call()
        assert raised.value.rc == 4
    client.tick(1000)
    broker.gets_nothing()
    client.disconnect()
    broker.gets(DISCONNECT())


def test_an_authentication_of_several_steps_is_not_supported():
    client, broker = strangers(properties=Properties(authentication_method="m"))
    client.connect()
    broker.gets_connect()
    broker.sends(AUTH(authentication_method="m", authentication_data=b"challenge"))
    assert client.closed_with() == 0x83
    broker.gets(octets("e0 01 83"))


@pytest.mark.parametrize("code", [0x00, 0x18], ids=hex)
def test_the_broker_begins_no_reauthentication(code):
    # §4.12.1: that is for the client to do.
    client, broker = connected(
        properties=Properties(authentication_method="m"),
        connack=CONNACK(authentication_method="m"),
    )
    broker.sends(AUTH(code, authentication_method="m"))
    assert client.closed_with() == 0x82
    broker.gets(octets("e0 01 82"))
