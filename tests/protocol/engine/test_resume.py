"""A session goes on: what was in flight when a connection ended."""

import pytest

from aiomqtt.properties import Properties
from aiomqtt.protocol.dispatch import State
from aiomqtt.protocol.output import Closed

from .client_and_broker import (
    CONNACK,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    connect,
    connected,
    lasting,
    octets,
    reconnect,
    strangers,
)

WITH_SESSION_PRESENT = pytest.mark.parametrize("version", [4, 5], ids=["3.1.1", "5.0"])

# --- the broker kept the session -----------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-3.3.1-1", "MQTT-4.4.0-1", "MQTT-4.6.0-1")
@pytest.mark.conformance("5.0", "MQTT-4.3.3-6", "MQTT-4.3.2-3", "MQTT-4.3.3-5")
@pytest.mark.conformance("5.0", "MQTT-3.1.2-23")
@pytest.mark.conformance("3.1.1", "MQTT-3.3.1-1", "MQTT-4.4.0-1", "MQTT-4.6.0-1")
@pytest.mark.conformance("3.1.1", "MQTT-2.3.1-3", "MQTT-3.1.2-4", "MQTT-4.1.0-1")
def test_what_was_not_acknowledged_is_sent_again_in_order(version):
    client, broker = lasting(version)
    deliveries = [client.publish("t", b"%d" % n, 1 + n % 2) for n in range(6)]
    broker.read()
    # 1 is done; of 4 and 2, the broker has the message.
    broker.sends(PUBACK(1), PUBREC(4), PUBREC(2))
    broker.gets(PUBREL(4), PUBREL(2))
    assert client.events() == [deliveries[0]]
    reconnect(client, broker)
    broker.gets(
        PUBREL(4),
        PUBREL(2),
        PUBLISH("t", b"2", 1, 3, dup=True),
        PUBLISH("t", b"4", 1, 5, dup=True),
        PUBLISH("t", b"5", 2, 6, dup=True),
    )
    broker.sends(PUBACK(3), PUBACK(5), PUBREC(6))
    broker.gets(PUBREL(6))
    broker.sends(PUBCOMP(4), PUBCOMP(2), PUBCOMP(6))
    assert client.events() == [deliveries[n] for n in (2, 4, 3, 1, 5)]
    reconnect(client, broker)
    broker.gets_nothing()


@pytest.mark.conformance("5.0", "MQTT-4.4.0-1", "MQTT-4.1.0-1")
def test_it_is_sent_again_on_every_connection_and_at_no_other_time(version):
    client, broker = lasting(version)
    client.publish("t", b"", 1)
    broker.gets(PUBLISH("t", b"", 1, 1))
    for _ in range(3):
        for now in range(0, 1000, 10):
            client.tick(now)
            broker.sends(octets("d0 00"))
        assert set(broker.read()) <= {0xC0, 0x00}
        reconnect(client, broker)
        broker.gets(PUBLISH("t", b"", 1, 1, dup=True))


@pytest.mark.conformance("5.0", "MQTT-3.1.3-2")
@pytest.mark.conformance("3.1.1", "MQTT-3.1.3-2", "MQTT-3.1.2-4")
def test_the_session_is_asked_for_under_the_same_client_identifier(version):
    client, broker = lasting(version, client_id="mine")
    broker.vanishes()
    client.connect()
    connect = broker.gets_connect()
    assert (connect.client_id, connect.clean_start) == ("mine", False)


def test_a_new_publish_takes_no_identifier_of_the_session(version):
    client, broker = lasting(version)
    client.publish("t", b"", 1)
    client.publish("t", b"", 2)
    broker.sends(PUBREC(2))
    reconnect(client, broker)
    broker.read()
    assert client.publish("t", b"", 1).packet_id == 3
    assert client.subscribe("f").packet_id == 4


def test_what_had_no_turn_is_sent_for_the_first_time(version):
    client, broker = lasting(version, maximum_in_flight=1)
    client.publish("t", b"1", 1)
    client.publish("t", b"2", 1)
    broker.read()
    reconnect(client, broker)
    broker.gets(PUBLISH("t", b"1", 1, 1, dup=True))
    broker.sends(PUBACK(1))
    broker.gets(PUBLISH("t", b"2", 1, 2))


@pytest.mark.conformance("5.0", "MQTT-3.3.4-7", "MQTT-4.9.0-1", "MQTT-4.9.0-2")
def test_the_quota_holds_for_what_is_sent_again():
    client, broker = lasting()
    for n in range(5):
        client.publish("t", b"%d" % n, 1)
    broker.read()
    reconnect(client, broker, receive_maximum=2)
    broker.gets(PUBLISH("t", b"0", 1, 1, dup=True), PUBLISH("t", b"1", 1, 2, dup=True))
    # What is published now waits behind.
    client.publish("t", b"new", 1)
    broker.gets_nothing()
    for packet_id in (1, 2, 3):
        broker.sends(PUBACK(packet_id))
        broker.gets(PUBLISH("t", b"%d" % (packet_id + 1), 1, packet_id + 2, dup=True))
    broker.sends(PUBACK(4))
    broker.gets(PUBLISH("t", b"new", 1, 6))


def test_a_pubrel_is_sent_again_also_above_the_quota():
    client, broker = lasting()
    for _ in range(3):
        client.publish("t", b"", 2)
    client.publish("t", b"last", 2)
    broker.sends(PUBREC(1), PUBREC(2), PUBREC(3))
    broker.read()
    reconnect(client, broker, receive_maximum=1)
    data = broker.read()
    assert data.startswith(octets("62 02 00 01 62 02 00 02 62 02 00 03"))
    broker.sends(PUBCOMP(1), PUBCOMP(2), PUBCOMP(3))
    data += broker.read()
    again = octets("3c 0a 00 01 74 00 04 00 6c 61 73 74")
    assert data.endswith(again)
    assert data.count(again) == 1


def test_what_the_broker_acknowledges_before_it_came_again_is_not_sent_again():
    client, broker = lasting()
    deliveries = [client.publish("t", b"%d" % n, 2 - n % 2) for n in range(4)]
    broker.read()
    reconnect(client, broker, receive_maximum=1)
    broker.gets(PUBLISH("t", b"0", 2, 1, dup=True))
    # Late acknowledgements for 2 and 3, of packets of the last connection.
    broker.sends(PUBACK(2), PUBREC(3))
    broker.gets(PUBREL(3))
    broker.sends(PUBCOMP(3))
    broker.sends(PUBREC(1), PUBCOMP(1))
    broker.gets(PUBREL(1), PUBLISH("t", b"3", 1, 4, dup=True))
    broker.sends(PUBACK(4))
    assert client.events() == [deliveries[n] for n in (1, 2, 0, 3)]


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"maximum_qos": 0}, 0x9B),
        ({"retain_available": 0}, 0x9A),
        ({"maximum_packet_size": 12}, 0x95),
    ],
)
def test_what_the_broker_no_longer_accepts_ends_with_the_reason(limits, code):
    client, broker = lasting(maximum_in_flight=1)
    written = client.publish("t", b"written", 1, retain=True)
    queued = client.publish("t", b"in line", 1, retain=True)
    broker.read()
    reconnect(client, broker, **limits)
    assert client.events() == [written, queued]
    assert [written.reason_code, queued.reason_code] == [code, code]
    broker.gets_nothing()
    client.publish("t", b"", 0)
    broker.gets(PUBLISH("t"))


@pytest.mark.conformance("5.0", "MQTT-4.4.0-2")
def test_what_was_refused_is_not_sent_again():
    client, broker = lasting()
    client.publish("t", b"", 1)
    client.publish("t", b"", 2)
    broker.sends(PUBACK(1, 0x87), PUBREC(2, 0x97))
    broker.read()
    reconnect(client, broker)
    broker.gets_nothing()


@pytest.mark.conformance("5.0", "MQTT-4.3.3-7")
def test_what_was_sent_does_not_expire():
    client, broker = lasting()
    client.publish("t", b"", 2, message_expiry_interval=1)
    broker.read()
    client.tick(40)
    reconnect(client, broker)
    broker.gets(PUBLISH("t", b"", 2, 1, dup=True, message_expiry_interval=0))


@pytest.mark.parametrize("session_present", [True, False])
def test_on_a_later_connection_is_sent_what_is_left_of_the_expiry(session_present):
    client, broker = lasting(connack=CONNACK(receive_maximum=1))
    client.publish("t", b"1", 1, message_expiry_interval=100, content_type="c")
    client.publish("t", b"2", 1, message_expiry_interval=0xFFFF_FFFF)
    client.publish("t", b"3", 1)
    client.tick(9.5)
    reconnect(client, broker, session_present)
    # Rounded up.
    left, dup = 91, session_present
    broker.gets(
        PUBLISH(
            "t", b"1", 1, 1, dup=dup, message_expiry_interval=left, content_type="c"
        ),
        PUBLISH("t", b"2", 1, 2, message_expiry_interval=0xFFFF_FFFF - 9),
        PUBLISH("t", b"3", 1, 3),
    )


def test_on_its_own_connection_a_message_is_sent_as_it_was_published():
    client, broker = connected(connack=CONNACK(receive_maximum=1))
    client.publish("t", b"1", 1)
    client.publish("t", b"2", 1, message_expiry_interval=100)
    broker.read()
    client.tick(9.5)
    broker.sends(PUBACK(1))
    broker.gets(PUBLISH("t", b"2", 1, 2, message_expiry_interval=100))


def test_properties_belong_to_the_message_once_it_is_published():
    client, broker = lasting()
    properties = Properties(user_property=[("a", "b")], content_type="c")
    client.engine.publish("t", b"", 1, False, properties, 0.0)
    client.handed_over()
    assert isinstance(properties.user_property, list)
    properties.user_property.append(("c", "d"))
    properties.content_type = "changed"
    broker.read()
    reconnect(client, broker)
    broker.gets(
        PUBLISH("t", b"", 1, 1, dup=True, user_property=[("a", "b")], content_type="c")
    )


def test_subscribing_is_not_sent_again(version):
    client, broker = lasting(version)
    client.subscribe("f")
    client.unsubscribe("f")
    broker.read()
    reconnect(client, broker)
    broker.gets_nothing()
    # Its identifiers are free, and a late answer is for nobody.
    broker.sends(SUBACK(1, 0), UNSUBACK(2, 0))
    assert not client.is_closed
    assert client.events() == []


def test_an_attempt_that_fails_keeps_the_session(version):
    client, broker = lasting(version)
    client.publish("t", b"", 1)
    broker.read()
    for _ in range(3):
        broker.vanishes()
        client.connect()
    broker.gets_connect()
    broker.sends(CONNACK(0x88 if version == 5 else 3))
    reconnect(client, broker)
    broker.gets(PUBLISH("t", b"", 1, 1, dup=True))


# --- the broker has lost the session -------------------------------------------


@WITH_SESSION_PRESENT
@pytest.mark.conformance("5.0", "MQTT-3.2.2-5")
@pytest.mark.conformance("3.1.1", "MQTT-3.2.2-2")
def test_a_lost_session_gets_unacknowledged_messages_as_new_ones(version):
    client, broker = lasting(version, maximum_in_flight=4)
    deliveries = [client.publish("t", b"%d" % n, 1 + n % 2) for n in range(6)]
    broker.read()
    broker.sends(PUBREC(2))
    assert client.events() == []
    reconnect(client, broker, session_present=False)
    # 1 was at PUBREL: the broker had it, so it is done.
    assert client.events() == [deliveries[1]]
    assert deliveries[1].reason_code == 0
    broker.gets(
        PUBLISH("t", b"0", 1, 1),
        PUBLISH("t", b"2", 1, 2),
        PUBLISH("t", b"3", 2, 3),
        PUBLISH("t", b"4", 1, 4),
    )
    broker.sends(PUBACK(1))
    broker.gets(PUBLISH("t", b"5", 2, 5))
    broker.sends(PUBACK(2), PUBREC(3), PUBACK(4), PUBREC(5), PUBCOMP(3), PUBCOMP(5))
    assert client.events() == [deliveries[n] for n in (0, 2, 4, 3, 5)]


@WITH_SESSION_PRESENT
def test_a_lost_session_is_forgotten_just_once(version):
    client, broker = lasting(version)
    client.publish("t", b"", 1)
    broker.read()
    reconnect(client, broker, session_present=False)
    broker.gets(PUBLISH("t", b"", 1, 1))
    reconnect(client, broker, session_present=True)
    broker.gets(PUBLISH("t", b"", 1, 1, dup=True))


# --- the client has no session -------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-3.2.2-4", "MQTT-3.2.2-2")
def test_session_present_without_a_session_ends_the_connection():
    client, broker = strangers(client_id="c", clean_start=True)
    client.connect()
    broker.gets_connect()
    broker.sends(CONNACK(session_present=True))
    assert client.closed_with() == 0x82
    broker.gets(octets("e0 01 82"))


@pytest.mark.conformance("5.0", "MQTT-3.2.2-4")
def test_after_a_session_that_is_not_ours_a_new_one_is_asked_for():
    client, broker = connected(client_id="c")
    broker.vanishes()
    client.events()
    client.connect()
    assert broker.gets_connect().clean_start is False
    broker.sends(CONNACK(session_present=True))
    assert client.closed_with() == 0x82
    client.connect()
    client.events()
    broker.read()
    broker.vanishes()
    client.connect()
    assert broker.gets_connect().clean_start is True
    broker.sends(CONNACK())
    assert client.state() is State.CONNECTED


@WITH_SESSION_PRESENT
def test_a_session_of_an_earlier_process_may_be_resumed(version):
    client, broker = strangers(version, client_id="c", clean_start=False)
    connect(client, broker, CONNACK(session_present=True))
    assert client.state() is State.CONNECTED
    broker.sends(PUBLISH("t", b"kept", 2, 1, dup=True), PUBREL(7))
    broker.gets(PUBREC(1), octets("70 03 00 07 92" if version == 5 else "70 02 00 07"))
    assert client.payloads() == [b"kept"]


@pytest.mark.conformance("3.1.1", "MQTT-3.1.2-6")
def test_a_clean_session_ends_with_its_connection():
    for version in (3, 4):
        client, broker = connected(version, client_id="c", clean_start=True)
        client.publish("t", b"out", 1)
        client.publish("t", b"out", 2)
        broker.sends(PUBLISH("t", b"in", 2, 1), PUBREC(2))
        reconnect(client, broker, session_present=False)
        broker.gets_nothing()
        assert client.publish("t", b"new", 1).packet_id == 1
        broker.sends(PUBLISH("t", b"again", 2, 1, dup=True))
        assert client.payloads() == [b"in", b"again"]


@pytest.mark.conformance("5.0", "MQTT-3.1.2-4")
def test_clean_start_drops_the_session_here_too():
    client, broker = lasting(clean_start=True)
    client.publish("t", b"out", 1)
    broker.sends(PUBLISH("t", b"in", 2, 1))
    broker.read()
    reconnect(client, broker, session_present=False)
    broker.gets_nothing()
    broker.sends(PUBLISH("t", b"new", 2, 1))
    assert client.payloads() == [b"in", b"new"]
    assert client.publish("t", b"", 1).packet_id == 1


# --- how long a session lasts --------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-3.1.2-23")
@pytest.mark.parametrize(
    ("asked", "granted", "lasts"),
    [
        (None, None, False),
        (0, None, False),
        (1, None, True),
        (0xFFFF_FFFF, None, True),
        (100, 0, False),
        (100, 1, True),
        (None, 10, True),
    ],
)
def test_a_session_lasts_as_the_session_expiry_interval_says(asked, granted, lasts):
    connack = CONNACK(session_expiry_interval=granted)
    properties = Properties(session_expiry_interval=asked)
    client, broker = connected(5, connack, client_id="c", properties=properties)
    client.publish("t", b"", 1)
    broker.read()
    reconnect(client, broker, session_present=lasts)
    broker.gets(*[PUBLISH("t", b"", 1, 1, dup=True)] * lasts)


@pytest.mark.conformance("5.0", "MQTT-3.1.2-23")
@pytest.mark.conformance("3.1.1", "MQTT-3.1.2-4")
@pytest.mark.parametrize("end", ["disconnect", "vanish", "error", "DISCONNECT"])
def test_a_session_outlasts_every_end_of_a_connection(version, end):
    client, broker = lasting(version)
    delivery = client.publish("t", b"", 1)
    broker.read()
    if end == "disconnect":
        client.disconnect()
    elif end == "vanish":
        broker.vanishes()
    else:
        broker.sends(octets("00 00" if end == "error" else "e0 00"))
    [event] = client.events()
    assert isinstance(event, Closed)
    client.written = b""
    reconnect(client, broker)
    broker.gets(PUBLISH("t", b"", 1, 1, dup=True))
    broker.sends(PUBACK(1))
    assert client.events() == [delivery]


def test_subscribing_works_on_a_resumed_session(version):
    client, broker = lasting(version)
    client.publish("t", b"", 1)
    reconnect(client, broker)
    broker.read()
    client.subscribe("f")
    broker.gets(SUBSCRIBE(2, "f"))
