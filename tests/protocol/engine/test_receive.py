"""Receiving: the flows of QoS 0, 1 and 2, repetitions, Receive Maximum."""

from typing import Any

import pytest

from aiomqtt.properties import Properties
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.standard.tables import Role

from .client_and_broker import (
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    connected,
    lasting,
    octets,
    reconnect,
)

# --- the flows -----------------------------------------------------------------


def test_a_message_has_all_that_the_broker_said(version):
    client, broker = connected(version)
    values: dict[str, Any] = {}
    if version == 5:
        values = {"content_type": "text/plain", "subscription_identifier": [1, 2]}
    broker.sends(PUBLISH("a/b", b"x", 2, 9, retain=True, **values))
    [message] = client.messages()
    assert message.topic.value == "a/b"
    assert (message.payload, message.qos, message.retain) == (b"x", 2, True)
    assert message.mid == 9
    assert message.properties == (Properties(**values) if version == 5 else None)


@pytest.mark.conformance("5.0", "MQTT-3.3.4-1", "MQTT-2.2.1-5", "MQTT-4.3.2-4")
@pytest.mark.conformance("5.0", "MQTT-4.3.3-8", "MQTT-4.3.3-11")
@pytest.mark.conformance("3.1.1", "MQTT-3.3.4-1", "MQTT-2.3.1-6", "MQTT-4.3.2-2")
def test_each_qos_has_its_answer_in_the_shortest_form(version):
    client, broker = connected(version)
    broker.sends(PUBLISH("t", b"0"))
    broker.gets_nothing()
    broker.sends(PUBLISH("t", b"1", 1, 0x1234))
    broker.gets(octets("40 02 12 34"))
    broker.sends(PUBLISH("t", b"2", 2, 0x1234))
    broker.gets(octets("50 02 12 34"))
    broker.sends(octets("62 02 12 34"))
    broker.gets(octets("70 02 12 34"))
    assert client.payloads() == [b"0", b"1", b"2"]
    assert client.events() == []


@pytest.mark.conformance("5.0", "MQTT-4.5.0-2", "MQTT-3.3.2-3")
@pytest.mark.conformance("3.1.1", "MQTT-4.5.0-2", "MQTT-3.3.2-3")
def test_a_message_that_matches_no_subscription_is_taken_and_acknowledged(version):
    client, broker = connected(version)
    broker.sends(PUBLISH("nobody/asked", b"x", 1, 1))
    broker.gets(PUBACK(1))
    assert client.payloads() == [b"x"]


@pytest.mark.conformance("5.0", "MQTT-4.6.0-2", "MQTT-4.6.0-3")
@pytest.mark.conformance("3.1.1", "MQTT-4.6.0-2", "MQTT-4.6.0-3")
def test_acknowledgements_go_in_the_order_of_the_messages(version):
    client, broker = connected(version)
    broker.sends(
        PUBLISH("t", b"a", 1, 3),
        PUBLISH("t", b"b", 2, 9),
        PUBLISH("t", b"c", 1, 1),
        PUBLISH("t", b"d", 0),
        PUBLISH("t", b"e", 2, 2),
        PUBREL(9),
        PUBLISH("t", b"f", 1, 2),
    )
    broker.gets(PUBACK(3), PUBREC(9), PUBACK(1), PUBREC(2), PUBCOMP(9), PUBACK(2))
    assert client.payloads() == [b"a", b"b", b"c", b"d", b"e", b"f"]


@pytest.mark.parametrize("count", [0, 1, 100])
def test_what_only_has_to_be_delivered_keeps_its_place(version, count):
    """A chunk of QoS 0 takes a shorter way than one with anything else in it."""
    client, broker = connected(version)
    plain = [PUBLISH("t", b"%d" % number) for number in range(count)]
    broker.sends(*plain)
    broker.sends(*plain, PUBLISH("t", b"last", 1, 7))
    broker.sends(PUBLISH("u", b"first", 2, 8), *plain)
    broker.gets(PUBACK(7), PUBREC(8))
    numbers = [b"%d" % number for number in range(count)]
    assert client.payloads() == [*numbers, *numbers, b"last", b"first", *numbers]


def test_what_came_before_a_wrong_packet_in_its_chunk_is_delivered(version):
    client, broker = connected(version)
    broker.sends(PUBLISH("t", b"1"), PUBLISH("t", b"2"), octets("f1 00"))
    assert client.payloads() == [b"1", b"2"]
    assert client.engine.is_closed


@pytest.mark.parametrize(
    "release", ["62 02 00 07", "62 03 00 07 00", "62 04 00 07 00 00", "62 03 00 07 92"]
)
@pytest.mark.conformance("5.0", "MQTT-4.3.3-11")
def test_a_pubrel_counts_in_all_of_its_forms(release):
    client, broker = connected()
    broker.sends(PUBLISH("t", b"x", 2, 7), octets(release))
    broker.gets(PUBREC(7), PUBCOMP(7))
    assert client.payloads() == [b"x"]


@pytest.mark.conformance("5.0", "MQTT-3.7.2-1")
@pytest.mark.parametrize(
    ("version", "answer"),
    [(3, "70 02 00 07"), (4, "70 02 00 07"), (5, "70 03 00 07 92")],
)
def test_a_pubrel_of_an_unknown_identifier_is_answered_with_pubcomp(version, answer):
    client, broker = connected(version)
    broker.sends(PUBREL(7))
    broker.gets(octets(answer))
    assert not client.is_closed


# --- repetitions ---------------------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-4.3.2-5")
@pytest.mark.conformance("3.1.1", "MQTT-4.3.2-2")
@pytest.mark.parametrize("dup", [False, True])
def test_after_its_puback_an_identifier_means_a_new_message(version, dup):
    client, broker = connected(version)
    broker.sends(PUBLISH("t", b"a", 1, 1), PUBLISH("t", b"b", 1, 1, dup=dup))
    broker.gets(PUBACK(1), PUBACK(1))
    assert client.payloads() == [b"a", b"b"]


@pytest.mark.conformance("5.0", "MQTT-4.3.3-10", "MQTT-4.1.0-1")
@pytest.mark.conformance("3.1.1", "MQTT-4.3.3-2", "MQTT-4.1.0-2")
@pytest.mark.parametrize("dup", [False, True])
def test_until_its_pubrel_a_qos_2_message_is_delivered_once(version, dup):
    client, broker = connected(version)
    broker.sends(*[PUBLISH("t", b"a", 2, 1, dup=dup)] * 3)
    broker.gets(PUBREC(1), PUBREC(1), PUBREC(1))
    broker.sends(PUBREL(1))
    broker.gets(PUBCOMP(1))
    assert client.payloads() == [b"a"]


@pytest.mark.conformance("5.0", "MQTT-4.3.3-12")
@pytest.mark.conformance("3.1.1", "MQTT-4.3.3-2")
@pytest.mark.parametrize("dup", [False, True])
def test_after_its_pubcomp_an_identifier_means_a_new_message(version, dup):
    client, broker = connected(version)
    broker.sends(PUBLISH("t", b"a", 2, 1), PUBREL(1), PUBLISH("t", b"b", 2, 1, dup=dup))
    broker.gets(PUBREC(1), PUBCOMP(1), PUBREC(1))
    assert client.payloads() == [b"a", b"b"]


@pytest.mark.conformance("5.0", "MQTT-4.3.3-13")
def test_an_expired_message_is_still_completed():
    client, broker = connected()
    broker.sends(PUBLISH("t", b"x", 2, 1, message_expiry_interval=1))
    client.tick(50)
    broker.sends(PUBREL(1))
    broker.gets(PUBREC(1), PUBCOMP(1))


def test_a_message_with_both_qos_1_and_2_under_one_identifier_is_two_flows(version):
    client, broker = connected(version)
    broker.sends(PUBLISH("t", b"two", 2, 1), PUBLISH("t", b"one", 1, 1), PUBREL(1))
    broker.gets(PUBREC(1), PUBACK(1), PUBCOMP(1))
    assert client.payloads() == [b"two", b"one"]


# --- after a new connection ----------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-4.3.3-10", "MQTT-3.1.2-23")
@pytest.mark.conformance("3.1.1", "MQTT-4.3.3-2", "MQTT-3.1.2-4", "MQTT-4.1.0-1")
def test_a_repetition_is_known_on_the_next_connection(version):
    client, broker = lasting(version)
    broker.sends(PUBLISH("t", b"a", 2, 1), PUBLISH("t", b"b", 2, 2))
    assert client.payloads() == [b"a", b"b"]
    if version == 3:
        return  # without Session Present: see below
    reconnect(client, broker)
    broker.gets_nothing()
    broker.sends(PUBLISH("t", b"a", 2, 1, dup=True), PUBREL(2), PUBREL(1))
    broker.gets(PUBREC(1), PUBCOMP(2), PUBCOMP(1))
    assert client.payloads() == []


def test_3_1_goes_on_with_its_session_although_the_broker_does_not_tell():
    client, broker = lasting(3)
    broker.sends(PUBLISH("t", b"a", 2, 1))
    reconnect(client, broker)
    broker.sends(PUBLISH("t", b"a", 2, 1, dup=True), PUBREL(1))
    broker.gets(PUBREC(1), PUBCOMP(1))
    assert client.payloads() == [b"a"]


@pytest.mark.conformance("5.0", "MQTT-3.2.2-5")
@pytest.mark.parametrize("version", [4, 5])
def test_a_new_session_knows_no_repetitions(version):
    client, broker = lasting(version)
    broker.sends(PUBLISH("t", b"old", 2, 1))
    reconnect(client, broker, session_present=False)
    broker.sends(PUBLISH("t", b"new", 2, 1))
    broker.gets(PUBREC(1))
    assert client.payloads() == [b"old", b"new"]


def test_acknowledgements_that_were_not_written_are_not_written_later(version):
    client, broker = lasting(version)
    broker.sends(PUBLISH("t", b"", 1, 1), PUBLISH("t", b"", 2, 2))
    client.written = b""
    reconnect(client, broker)
    broker.gets_nothing()


# --- Receive Maximum -----------------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-3.3.4-9")
def test_more_qos_2_messages_than_the_receive_maximum_end_the_connection():
    client, broker = connected(properties=Properties(receive_maximum=2))
    broker.sends(PUBLISH("t", b"a", 2, 1), PUBLISH("t", b"b", 2, 2))
    # A repetition is no further message, a completed one is none any more.
    broker.sends(PUBLISH("t", b"a", 2, 1, dup=True))
    broker.sends(PUBREL(1))
    broker.sends(PUBLISH("t", b"c", 2, 3))
    broker.gets(PUBREC(1), PUBREC(2), PUBREC(1), PUBCOMP(1), PUBREC(3))
    broker.sends(PUBLISH("t", b"d", 2, 4))
    assert client.closed_with() == 0x93
    broker.gets(octets("e0 01 93"))
    assert client.payloads() == [b"a", b"b", b"c"]


def test_qos_1_never_exceeds_the_receive_maximum():
    # §3.3.4: what counts is that "it has not sent a PUBACK", and it is sent at once.
    client, broker = connected(properties=Properties(receive_maximum=1))
    broker.sends(PUBLISH("t", b"", 2, 1))
    broker.sends(*[PUBLISH("t", b"", 1, n) for n in range(2, 50)])
    broker.gets(PUBREC(1), *[PUBACK(n) for n in range(2, 50)])
    assert not client.is_closed


def test_without_a_receive_maximum_every_identifier_may_be_in_use(version):
    client, broker = connected(version)
    one = encode(PUBLISH("t", b"", 2, 1), client.version, Role.SERVER)
    start = one.index(b"t\0\1") + 1
    broker.sends(
        b"".join(
            one[:start] + packet_id.to_bytes(2) + one[start + 2 :]
            for packet_id in range(1, 65_536)
        )
    )
    assert not client.is_closed
    assert len(client.messages()) == 65_535


@pytest.mark.parametrize("first", ["PUBREL", "PUBLISH"])
def test_the_receive_maximum_counts_anew_on_every_connection(first):
    # §4.9: the broker's send quota is full again, and a PUBREL that it sends again
    # is not counted in it.
    client, broker = lasting(
        properties=Properties(session_expiry_interval=9, receive_maximum=1)
    )
    broker.sends(PUBLISH("t", b"a", 2, 1))
    reconnect(client, broker)
    if first == "PUBREL":
        broker.sends(PUBREL(1), PUBLISH("t", b"b", 2, 2))
    else:
        broker.sends(PUBLISH("t", b"b", 2, 2), PUBREL(1))
    assert not client.is_closed
    assert client.payloads() == [b"a", b"b"]
    broker.sends(PUBLISH("t", b"c", 2, 3))
    assert client.closed_with() == 0x93


def test_the_receive_maximum_counts_what_is_sent_again():
    client, broker = lasting(
        properties=Properties(session_expiry_interval=9, receive_maximum=1)
    )
    broker.sends(PUBLISH("t", b"a", 2, 1))
    reconnect(client, broker)
    broker.sends(PUBLISH("t", b"a", 2, 1, dup=True))
    assert not client.is_closed
    broker.sends(PUBLISH("t", b"b", 2, 2))
    assert client.closed_with() == 0x93
