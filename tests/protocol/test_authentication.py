"""Authentication in several steps (MQTT 5.0 §4.12): the engine's side."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiomqtt.exceptions import MqttError, MqttLimitError
from aiomqtt.properties import Properties
from aiomqtt.protocol.codec.framing import Decoder
from aiomqtt.protocol.dispatch import State
from aiomqtt.protocol.output import Arrived, Challenge, Connected
from aiomqtt.protocol.packets import Signal
from aiomqtt.standard.tables import PacketType, ProtocolVersion, Role
from tests.examples import examples
from tests.protocol.engine.client_and_broker import (
    AUTH,
    CONNACK,
    DISCONNECT,
    PINGRESP,
    PUBACK,
    PUBLISH,
    SUBACK,
    octets,
    strangers,
)

METHOD = Properties(authentication_method="m")


def authenticating(data=b"hello", **settings):
    """A client whose CONNECT began an authentication, and a broker."""
    client, broker = strangers(properties=METHOD, has_authenticator=True, **settings)
    client.engine.connect(data)
    client.handed_over()
    return client, broker


def auth(data=None, code=0x18):
    return AUTH(code, authentication_method="m", authentication_data=data)


def connack(data=None, **properties):
    return CONNACK(authentication_method="m", authentication_data=data, **properties)


def challenge(client):
    """The one thing that happened."""
    [happening] = client.happenings()
    assert isinstance(happening, Challenge)
    return happening.data, happening.is_last


def answer(client, data=None):
    client.engine.authentication.answer(data)
    client.handed_over()


def accept(client):
    client.engine.accept_broker(client.now)
    client.handed_over()


def authenticated(**settings):
    client, broker = authenticating(**settings)
    broker.gets_connect()
    broker.sends(connack())
    challenge(client)
    accept(client)
    client.events()
    return client, broker


def begin_again(client, data=None):
    client.engine.authentication.begin_again(data)
    client.handed_over()


# --- before the CONNACK ---------------------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-4.12.0-3", "MQTT-4.12.0-5", "MQTT-3.15.2-1")
def test_challenges_are_answered_until_both_sides_have_accepted():
    client, broker = authenticating()
    properties = broker.gets_connect().properties
    assert properties is not None
    assert properties.authentication_method == "m"
    assert properties.authentication_data == b"hello"
    broker.sends(auth(b"who?"))
    assert challenge(client) == (b"who?", False)
    answer(client, b"me")
    broker.gets(auth(b"me"))
    broker.sends(auth())
    assert challenge(client) == (None, False)
    answer(client)
    broker.gets(auth())
    broker.sends(connack(b"bye"))
    assert challenge(client) == (b"bye", True)
    broker.gets_nothing()
    accept(client)
    [connected] = client.happenings()
    assert isinstance(connected, Connected)
    properties = connected.connack.properties
    assert properties is not None
    assert properties.authentication_data == b"bye"
    assert client.state() is State.CONNECTED


def test_without_data_the_connect_has_only_the_method():
    _, broker = authenticating(None)
    assert broker.gets_connect().properties == METHOD


def test_the_data_of_one_connect_are_not_those_of_the_next():
    client, broker = authenticating(b"first")
    broker.gets_connect()
    broker.vanishes()
    client.engine.connect(b"second")
    client.handed_over()
    properties = broker.gets_connect().properties
    assert properties is not None
    assert properties.authentication_data == b"second"
    assert client.engine.settings.properties == METHOD


def test_data_that_are_too_long_change_nothing():
    client, _ = strangers(properties=METHOD, has_authenticator=True)
    with pytest.raises(ValueError, match="65535"):
        client.engine.connect(bytes(65_536))
    assert client.is_closed


def test_the_repr_of_a_connect_keeps_the_data_secret():
    _, broker = authenticating(b"secret")
    assert "secret" not in repr(broker.gets_connect())


# The broker goes on although it is our turn.
@pytest.mark.parametrize(
    "packet",
    [
        auth(b"2"),
        connack(),
        PUBLISH("t"),
        auth(code=0),
        AUTH(authentication_method="n"),
    ],
    ids=["AUTH", "CONNACK", "PUBLISH", "success", "another method"],
)
def test_the_broker_has_to_wait_for_the_answer(packet):
    client, broker = authenticating()
    broker.gets_connect()
    broker.sends(auth(b"1"))
    challenge(client)
    broker.sends(packet)
    assert client.closed_with() == 0x82
    broker.gets(octets("e0 01 82"))


@pytest.mark.parametrize(
    "packet",
    [auth(code=0), PUBLISH("t"), CONNACK()],
    ids=["AUTH", "PUBLISH", "CONNACK"],
)
def test_packets_that_continue_no_authentication(packet):
    client, broker = authenticating()
    broker.gets_connect()
    broker.sends(packet)
    assert client.closed_with() == 0x82


@pytest.mark.conformance("5.0", "MQTT-3.1.2-30")
def test_only_auth_and_disconnect_are_sent_before_the_connack():
    client, broker = authenticating()
    broker.gets_connect()
    broker.sends(auth())
    client.tick(1000)
    with pytest.raises(MqttError):
        client.publish("t")
    broker.gets_nothing()
    client.engine.fail(0x80, "we do not like it", ValueError("why"))
    client.handed_over()
    broker.gets(DISCONNECT(0x80))
    error = client.closed()
    assert str(error) == (
        "[code:128] Disconnected with Unspecified error: we do not like it"
    )
    assert isinstance(error.__cause__, ValueError)


def test_a_refusal_ends_the_authentication():
    client, broker = authenticating()
    broker.gets_connect()
    broker.sends(auth())
    challenge(client)
    broker.sends(CONNACK(0x8C))
    assert client.closed_with() == 0x8C
    assert client.engine.authentication is None


# --- the broker is verified before anything else happens -----------------------------


def test_nothing_happens_before_the_broker_is_accepted():
    client, broker = authenticating(client_id="c", clean_start=True)
    broker.gets_connect()
    broker.sends(connack(), PUBLISH("t", b"1", 1, 7))
    broker.sends(PUBLISH("t", b"2"), PINGRESP)
    assert challenge(client) == (None, True)
    assert client.engine.deadline() is None
    with pytest.raises(MqttError):
        client.publish("t")
    broker.gets_nothing()
    accept(client)
    broker.gets(PUBACK(7))
    connected, arrived = client.happenings()
    assert isinstance(connected, Connected)
    assert [message.payload for message in arrived.messages] == [b"1", b"2"]
    # The estimate covers the packets, although they came earlier.
    assert arrived.size > sum(len(m.payload) for m in arrived.messages)
    client.publish("t", b"3")
    broker.gets(PUBLISH("t", b"3"))


def test_messages_of_the_session_are_not_sent_to_a_broker_that_is_not_accepted():
    client, broker = authenticated(client_id="c", clean_start=None)
    client.engine.settings = client.engine.settings._replace(
        properties=Properties(authentication_method="m", session_expiry_interval=100)
    )
    broker.vanishes()
    client.events()
    client.engine.connect()
    client.handed_over()
    broker.gets_connect()
    broker.sends(connack())
    challenge(client)
    accept(client)
    client.events()
    client.publish("t", b"secret", 1)
    broker.read()
    broker.vanishes()
    client.events()
    client.engine.connect()
    client.handed_over()
    broker.gets_connect()
    broker.sends(CONNACK(session_present=True, authentication_method="m"))
    challenge(client)
    broker.gets_nothing()
    client.engine.fail(0x80, "an impostor")
    client.handed_over()
    broker.gets(DISCONNECT(0x80))


def test_a_held_packet_may_be_wrong():
    client, broker = authenticating()
    broker.gets_connect()
    broker.sends(connack(), SUBACK(1, 0, 0), PUBLISH("t", topic_alias=1))
    challenge(client)
    accept(client)
    connected, closed = client.happenings()
    assert isinstance(connected, Connected)
    assert closed.error.rc == 0x94


@pytest.mark.parametrize("packet", [auth(), connack()], ids=["AUTH", "CONNACK"])
def test_the_broker_has_nothing_more_to_say_about_who_it_is(packet):
    client, broker = authenticating()
    broker.gets_connect()
    broker.sends(connack())
    challenge(client)
    broker.sends(packet)
    assert client.closed_with() == 0x82


def test_the_broker_may_disconnect_before_it_is_accepted():
    client, broker = authenticating()
    broker.gets_connect()
    broker.sends(connack(), DISCONNECT(0x8B))
    assert challenge_then_closed(client).rc == 0x8B


def challenge_then_closed(client):
    first, closed = client.happenings()
    assert isinstance(first, Challenge)
    return closed.error


# --- again, on the living connection --------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-4.12.1-1", "MQTT-4.12.0-3", "MQTT-4.12.0-5")
def test_a_connected_client_authenticates_again():
    client, broker = authenticated()
    begin_again(client, b"hello")
    broker.gets(auth(b"hello", 0x19))
    broker.sends(auth(b"who?"))
    assert challenge(client) == (b"who?", False)
    # Meanwhile other packets come and go (§4.12.1).
    client.publish("t", b"x")
    broker.gets(PUBLISH("t", b"x"))
    broker.sends(PUBLISH("t", b"y"))
    assert client.payloads() == [b"y"]
    answer(client, b"me")
    broker.gets(auth(b"me"))
    broker.sends(auth(b"bye", 0x00))
    assert challenge(client) == (b"bye", True)
    accept(client)
    assert client.happenings() == []
    # And once more.
    begin_again(client)
    broker.gets(auth(code=0x19))
    broker.sends(auth(code=0x00))
    assert challenge(client) == (None, True)


def test_one_authentication_at_a_time():
    client, broker = authenticated()
    begin_again(client)
    broker.read()
    with pytest.raises(MqttError, match="already"):
        begin_again(client)
    broker.sends(auth())
    with pytest.raises(MqttError, match="already"):
        begin_again(client)
    broker.gets_nothing()


@pytest.mark.conformance("5.0", "MQTT-4.12.0-7")
def test_without_a_method_there_is_no_authentication():
    client, _ = strangers()
    client.connect()
    assert client.engine.authentication is None


@pytest.mark.parametrize("code", [0x00, 0x18], ids=hex)
def test_the_client_begins_another_authentication_and_not_the_broker(code):
    client, broker = authenticated()
    broker.sends(auth(code=code))
    assert client.closed_with() == 0x82
    broker.gets(octets("e0 01 82"))


@pytest.mark.parametrize(
    "packet",
    [AUTH(0, authentication_method="n"), AUTH(0x18, authentication_method="n")],
    ids=["success", "continue"],
)
def test_the_method_stays_the_same(packet):
    client, broker = authenticated()
    begin_again(client)
    broker.read()
    broker.sends(packet)
    assert client.closed_with() == 0x82


def test_a_broker_that_does_not_wait():
    client, broker = authenticated()
    begin_again(client)
    broker.read()
    broker.sends(auth(b"1"), auth(code=0))
    first, closed = client.happenings()
    assert isinstance(first, Challenge)
    assert closed.error.rc == 0x82


@pytest.mark.conformance("5.0", "MQTT-4.12.1-2")
def test_a_broker_that_refuses_disconnects():
    client, broker = authenticated()
    begin_again(client)
    broker.read()
    broker.sends(DISCONNECT(0x87))
    assert client.closed_with() == 0x87
    broker.gets_nothing()


def test_an_auth_that_is_too_large_for_the_broker_is_not_sent():
    client, broker = authenticating()
    broker.gets_connect()
    broker.sends(connack(maximum_packet_size=20))
    challenge(client)
    accept(client)
    with pytest.raises(MqttLimitError):
        begin_again(client, bytes(30))
    broker.gets_nothing()
    begin_again(client, b"short")
    broker.gets(auth(b"short", 0x19))


@pytest.mark.conformance("5.0", "MQTT-3.15.2-2", "MQTT-3.15.2-3")
def test_our_auth_has_neither_a_reason_string_nor_user_properties():
    client, broker = authenticated()
    begin_again(client, b"d")
    [packet] = Decoder(ProtocolVersion.V5, Role.CLIENT).feed(broker.read())
    assert isinstance(packet, Signal)
    assert packet.properties == Properties(
        authentication_method="m", authentication_data=b"d"
    )


def test_problem_information_that_was_not_requested():
    client, broker = strangers(
        properties=Properties(authentication_method="m", request_problem_information=0),
        has_authenticator=True,
    )
    client.connect()
    broker.gets_connect()
    broker.sends(AUTH(authentication_method="m", reason_string="why"))
    assert client.closed_with() == 0x82


# --- whatever both sides do -----------------------------------------------------------

FROM_BROKER = [
    auth(b"1"),
    auth(code=0),
    AUTH(authentication_method="n"),
    connack(),
    CONNACK(),
    CONNACK(0x87),
    PUBLISH("t", b"x"),
    PUBLISH("t", b"x", 1, 1),
    SUBACK(1, 0),
    PINGRESP,
    DISCONNECT(0x87),
]


@examples(150)
@given(
    st.lists(
        st.sampled_from([*range(len(FROM_BROKER)), "go on", "again", "fail"]),
        max_size=12,
    )
)
def test_whatever_both_sides_do(steps):
    client, broker = authenticating(client_id="c")
    broker.gets_connect()
    due: Challenge | None = None
    is_accepted = False
    for step in steps:
        if isinstance(step, int):
            broker.sends(FROM_BROKER[step])
        elif step == "fail":
            client.engine.fail(0x80, "it fails")
            client.handed_over()
        elif client.is_closed:
            break
        elif step == "again" and client.state() is State.CONNECTED:
            with contextlib.suppress(MqttError):
                begin_again(client)
        elif step == "go on" and due is not None:
            if due.is_last:
                accept(client)
            else:
                answer(client, b"2")
            due = None
        happenings = client.happenings()
        for happening in happenings:
            if isinstance(happening, Challenge):
                assert due is None
                due = happening
            elif isinstance(happening, Connected):
                is_accepted = True
            elif isinstance(happening, Arrived):
                assert is_accepted
        kinds = {
            packet.kind
            for packet in Decoder(ProtocolVersion.V5, Role.CLIENT).feed(broker.read())
        }
        if not is_accepted:
            assert kinds <= {PacketType.AUTH, PacketType.DISCONNECT}
    assert (client.engine.authentication is None) is client.is_closed
