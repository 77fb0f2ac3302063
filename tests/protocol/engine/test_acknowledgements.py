"""The program decides when to acknowledge: the order, the quota, the connection."""

from typing import Any

import pytest

from aiomqtt.exceptions import MqttError
from aiomqtt.properties import Properties
from aiomqtt.protocol.acknowledgements import AckTicket
from aiomqtt.protocol.packets import Publish

from .client_and_broker import (
    CONNACK,
    DISCONNECT,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    Broker,
    Client,
    connect,
    connected,
    lasting,
    octets,
    reconnect,
    strangers,
)


def manual(version: int = 5, **settings: Any) -> tuple[Client, Broker]:
    """A connected client, with a session that lasts, whose program decides."""
    settings.setdefault("client_id", "c")
    if version == 5:
        settings.setdefault("properties", Properties(session_expiry_interval=100))
    else:
        settings.setdefault("clean_start", False)
    client, broker = strangers(version, **settings)
    client.engine.session.inbound.set_manual(False)
    connect(client, broker)
    return client, broker


def ticket(message: Publish) -> AckTicket:
    assert isinstance(message.ticket, AckTicket)
    return message.ticket


def decide(client: Client, message: Publish, reason_code: int = 0) -> None:
    ticket(message).decide(reason_code)
    client.handed_over()


@pytest.mark.conformance("5.0", "MQTT-4.6.0-2", "MQTT-4.6.0-3")
@pytest.mark.conformance("3.1.1", "MQTT-4.6.0-2", "MQTT-4.6.0-3")
def test_decided_in_any_order_they_are_written_in_that_of_the_messages(version):
    client, broker = manual(version)
    broker.sends(
        PUBLISH("t", b"", 1, 1),
        PUBLISH("t", b"", 2, 2),
        PUBLISH("t", b""),
        PUBLISH("t", b"", 1, 3),
        PUBLISH("t", b"", 2, 4),
    )
    broker.gets_nothing()
    first, second, unacknowledged, third, fourth = client.messages()
    assert unacknowledged.ticket is None
    decide(client, fourth)
    decide(client, third)
    broker.gets_nothing()
    decide(client, second)
    broker.gets(PUBREC(2), PUBREC(4))
    broker.sends(PUBREL(4), PUBREL(2))
    broker.gets(PUBCOMP(4), PUBCOMP(2))
    decide(client, first)
    broker.gets(PUBACK(1), PUBACK(3))


@pytest.mark.parametrize("code", [0x10, 0x80, 0x99])
def test_a_reason_code_is_sent_in_5(code):
    client, broker = manual()
    broker.sends(PUBLISH("t", b"", 1, 1), PUBLISH("t", b"", 2, 2))
    first, second = client.messages()
    decide(client, first, code)
    decide(client, second, code)
    broker.gets(PUBACK(1, code), PUBREC(2, code))


def test_a_refused_message_of_qos_2_is_over_and_its_identifier_free():
    client, broker = manual(properties=Properties(receive_maximum=1))
    for _ in range(3):
        broker.sends(PUBLISH("t", b"", 2, 7))
        [message] = client.messages()
        decide(client, message, 0x83)
        broker.gets(PUBREC(7, 0x83))


@pytest.mark.parametrize("qos", [1, 2])
def test_a_repetition_of_what_is_undecided_is_acknowledged_with_it(version, qos):
    client, broker = manual(version)
    broker.sends(PUBLISH("t", b"", qos, 1), PUBLISH("t", b"", qos, 1, dup=True))
    [message] = client.messages()
    broker.gets_nothing()
    decide(client, message)
    broker.gets(PUBACK(1) if qos == 1 else PUBREC(1))


@pytest.mark.conformance("5.0", "MQTT-4.3.3-10")
def test_a_repetition_after_pubrec_gets_another_one_in_its_turn(version):
    client, broker = manual(version)
    broker.sends(PUBLISH("t", b"", 2, 1))
    [message] = client.messages()
    decide(client, message)
    broker.gets(PUBREC(1))
    broker.sends(PUBLISH("t", b"", 2, 2), PUBLISH("t", b"", 2, 1, dup=True))
    [another] = client.messages()
    broker.gets_nothing()
    decide(client, another)
    broker.gets(PUBREC(2), PUBREC(1))
    broker.sends(PUBLISH("t", b"", 2, 1, dup=True))
    broker.gets(PUBREC(1))
    assert client.messages() == []


def test_another_message_with_an_undecided_identifier_is_acknowledged_too(version):
    """A broker must not send it, but QoS 1 has no other answer."""
    client, broker = manual(version)
    broker.sends(PUBLISH("t", b"a", 1, 1), PUBLISH("t", b"b", 1, 1))
    first, second = client.messages()
    assert (first.payload, second.payload) == (b"a", b"b")
    decide(client, second)
    broker.gets_nothing()
    decide(client, first)
    broker.gets(PUBACK(1), PUBACK(1))


def test_both_kinds_count_against_the_receive_maximum():
    client, broker = manual(properties=Properties(receive_maximum=2))
    broker.sends(PUBLISH("t", b"", 1, 1), PUBLISH("t", b"", 2, 2))
    broker.sends(PUBLISH("t", b"", 2, 3))
    assert client.closed_with() == 0x93


@pytest.mark.parametrize("qos", [1, 2])
def test_undecided_messages_count_against_the_receive_maximum(qos):
    client, broker = manual(properties=Properties(receive_maximum=2))
    broker.sends(PUBLISH("t", b"", qos, 1), PUBLISH("t", b"", qos, 2))
    first, second = client.messages()
    decide(client, second)
    decide(client, first)
    broker.read()
    if qos == 2:
        broker.sends(PUBREL(1), PUBREL(2))
    broker.sends(PUBLISH("t", b"", qos, 3), PUBLISH("t", b"", qos, 4))
    assert len(client.messages()) == 2
    broker.sends(PUBLISH("t", b"", qos, 5))
    assert client.closed_with() == 0x93
    assert client.messages() == []


@pytest.mark.parametrize("qos", [1, 2])
def test_what_is_undecided_at_the_end_comes_again(version, qos):
    client, broker = manual(version)
    broker.sends(PUBLISH("t", b"", qos, 1))
    [lost] = client.messages()
    reconnect(client, broker)
    broker.sends(PUBLISH("t", b"", qos, 1, dup=True))
    [message] = client.messages()
    # The late decision does not reach the message that has its identifier now.
    with pytest.raises(MqttError, match="connection on which it came has ended"):
        ticket(lost).decide(0)
    ticket(lost).finish()
    client.handed_over()
    broker.gets_nothing()
    decide(client, message)
    broker.gets(PUBACK(1) if qos == 1 else PUBREC(1))


def test_a_decision_that_was_held_back_is_void_after_the_connection(version):
    client, broker = manual(version)
    broker.sends(PUBLISH("t", b"", 2, 1), PUBLISH("t", b"", 2, 2))
    decide(client, client.messages()[1])
    reconnect(client, broker)
    broker.sends(PUBLISH("t", b"", 2, 1, dup=True), PUBLISH("t", b"", 2, 2, dup=True))
    assert len(client.messages()) == 2
    broker.gets_nothing()


def test_a_message_that_has_its_pubrec_is_not_delivered_again(version):
    client, broker = manual(version)
    broker.sends(PUBLISH("t", b"", 2, 1))
    [message] = client.messages()
    decide(client, message)
    reconnect(client, broker)
    broker.sends(PUBLISH("t", b"", 2, 1, dup=True))
    broker.gets(PUBREC(1))
    assert client.messages() == []


@pytest.mark.parametrize("end", ["disconnect", "fail"])
def test_decisions_leave_before_a_disconnect_and_never_after_one(version, end):
    client, broker = manual(version)
    broker.sends(PUBLISH("t", b"", 1, 1))
    [message] = client.messages()
    ticket(message).decide(0)
    if end == "disconnect":
        client.disconnect()
        broker.gets(PUBACK(1), DISCONNECT())
    else:
        broker.sends(octets("00 00"))
        broker.gets(*[DISCONNECT(0x81)] * (version == 5))


def test_a_client_can_begin_to_decide_while_it_is_connected(version):
    client, broker = lasting(version)
    broker.sends(PUBLISH("t", b"", 1, 1), PUBLISH("t", b"", 2, 2))
    broker.gets(PUBACK(1), PUBREC(2))
    client.engine.session.inbound.set_manual(True)
    broker.sends(PUBLISH("t", b"", 1, 1), PUBLISH("t", b"", 2, 2, dup=True))
    *_, message = client.messages()
    # The repetition of a message that was acknowledged before.
    broker.gets(PUBREC(2))
    decide(client, message)
    broker.gets(PUBACK(1))


def test_a_new_session_begins_without_old_identifiers(version):
    client, broker = connected(version, CONNACK())
    client.engine.session.inbound.set_manual(True)
    broker.sends(PUBLISH("t", b"", 2, 1))
    decide(client, client.messages()[0])
    broker.gets(PUBREC(1))
    reconnect(client, broker, session_present=False)
    broker.sends(PUBLISH("t", b"", 2, 1))
    [message] = client.messages()
    decide(client, message)
    broker.gets(PUBREC(1))
