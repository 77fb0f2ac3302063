"""Messages that were accepted without a connection, QoS 0 as well: when they leave."""

from typing import Any

import pytest

from aiomqtt.exceptions import MqttCodeError
from aiomqtt.properties import Properties
from aiomqtt.protocol.delivery import DISPLACED, DONE, EXPIRED, LOST, Delivery

from .client_and_broker import (
    CONNACK,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    SUBACK,
    Client,
    connect,
    connected,
    lasting,
    reconnect,
)


def enqueue(
    client: Client, payload: bytes, qos: int = 0, topic: str = "t", **properties: Any
) -> Delivery:
    values = Properties(**properties) if properties else None
    delivery = client.engine.prepare(topic, payload, qos, False, values)
    client.engine.session.enqueue(delivery, client.now)
    client.handed_over()
    return delivery


def test_all_leave_in_order_on_the_next_connection(version):
    client, broker = lasting(version)
    broker.vanishes()
    client.events()
    deliveries = [enqueue(client, b"%d" % qos, qos) for qos in (0, 1, 0, 2)]
    reconnect(client, broker)
    broker.gets(
        PUBLISH("t", b"0"),
        PUBLISH("t", b"1", 1, 1),
        PUBLISH("t", b"0"),
        PUBLISH("t", b"2", 2, 2),
    )
    assert client.events() == [deliveries[0], deliveries[2]]
    broker.sends(PUBACK(1), PUBREC(2), PUBCOMP(2))
    assert client.events() == [deliveries[1], deliveries[3]]
    assert {delivery.state for delivery in deliveries} == {DONE}


def test_qos_0_does_not_overtake_qos_0_that_waits(version):
    client, broker = lasting(version, maximum_in_flight=1)
    broker.vanishes()
    client.events()
    first = enqueue(client, b"1", 1)
    second, third = enqueue(client, b"2", 1), enqueue(client, b"3")
    reconnect(client, broker)
    broker.gets(PUBLISH("t", b"1", 1, 1))
    fourth = client.publish("t", b"4")
    assert isinstance(fourth, Delivery)
    broker.gets_nothing()
    broker.sends(PUBACK(1))
    broker.gets(PUBLISH("t", b"2", 1, 2), PUBLISH("t", b"3"), PUBLISH("t", b"4"))
    assert client.events() == [first, third, fourth]
    # From now on nothing with QoS 0 waits.
    assert client.publish("t", b"5") is None
    broker.gets(PUBLISH("t", b"5"))
    broker.sends(PUBACK(2))
    assert client.events() == [second]


@pytest.mark.parametrize("end", ["withdraw", "drop"])
def test_qos_0_goes_on_when_what_it_waits_for_ends_unsent(version, end):
    client, broker = lasting(version, maximum_in_flight=1)
    broker.vanishes()
    client.events()
    enqueue(client, b"1", 1)
    second, third = enqueue(client, b"2", 1), enqueue(client, b"3")
    reconnect(client, broker)
    broker.gets(PUBLISH("t", b"1", 1, 1))
    assert getattr(client, end)(second)
    broker.gets(PUBLISH("t", b"3"))
    assert client.events() == [second, third]


def test_a_dropped_message_makes_room_for_what_waits(version):
    """Its late acknowledgement gives its place in the quota to those that wait."""
    client, broker = lasting(version, maximum_in_flight=1)
    dropped = client.publish("t", b"1", 1)
    broker.read()
    assert client.drop(dropped)
    second = client.publish("t", b"2", 1)
    # As if the connection had come after it.
    third = enqueue(client, b"3")
    broker.gets_nothing()
    client.events()
    broker.sends(PUBACK(1))
    broker.gets(PUBLISH("t", b"2", 1, 2), PUBLISH("t", b"3"))
    assert client.events() == [third]
    broker.sends(PUBACK(2))
    assert client.events() == [second]


def test_what_the_broker_forbids_ends_with_the_reason():
    client, broker = lasting(5)
    broker.vanishes()
    client.events()
    # 4 bytes of topic and properties, and its header; at QoS 1 there is an identifier.
    fits, large = enqueue(client, b"x" * 14), enqueue(client, b"x" * 15)
    larger = enqueue(client, b"x" * 13, 1)
    reconnect(client, broker, maximum_packet_size=20)
    broker.gets(PUBLISH("t", b"x" * 14))
    assert client.events() == [large, larger, fits]
    assert [delivery.reason_code for delivery in (large, larger)] == [0x95, 0x95]
    assert fits.reason_code == 0


def test_the_expiry_counts_down_while_a_message_waits():
    client, broker = lasting(5)
    client.engine.session.outbound.drops_expired = True
    broker.vanishes()
    client.events()
    deliveries = [
        enqueue(client, b"%d" % qos, qos, message_expiry_interval=interval)
        for qos in (0, 1)
        for interval in (10, 20)
    ]
    client.now = 12.5
    reconnect(client, broker)
    broker.gets(
        PUBLISH("t", b"0", message_expiry_interval=8),
        PUBLISH("t", b"1", 1, 1, message_expiry_interval=8),
    )
    assert client.events() == [deliveries[0], deliveries[1], deliveries[2]]
    assert [d.state for d in deliveries[:3]] == [EXPIRED, DONE, EXPIRED]


def test_the_expiry_counts_down_while_a_message_waits_for_the_quota():
    client, broker = connected(5, maximum_in_flight=1)
    client.engine.session.outbound.drops_expired = True
    client.publish("t", b"1", 1)
    kept = client.publish("t", b"2", 1, message_expiry_interval=10)
    expired = client.publish("t", b"3", 1, message_expiry_interval=4)
    broker.read()
    client.now = 4.0
    broker.sends(PUBACK(1))
    broker.gets(PUBLISH("t", b"2", 1, 2, message_expiry_interval=6))
    broker.sends(PUBACK(2))
    broker.gets_nothing()
    assert client.events()[1:] == [kept, expired]
    assert expired.state == EXPIRED


@pytest.mark.parametrize("way", ["withdraw", "drop"])
def test_the_expiry_counts_down_while_a_message_waits_for_one_that_is_given_up(way):
    """Until the call that lets it go: the last packet came long before."""
    client, broker = lasting(5, maximum_in_flight=1)
    client.engine.session.outbound.drops_expired = True
    broker.vanishes()
    client.events()
    enqueue(client, b"1", 1)
    given_up = enqueue(client, b"2", 1)
    expired = enqueue(client, b"3", message_expiry_interval=10)
    kept = enqueue(client, b"4", message_expiry_interval=20)
    reconnect(client, broker)
    broker.gets(PUBLISH("t", b"1", 1, 1))
    client.now = 12.0
    assert getattr(client, way)(given_up)
    broker.gets(PUBLISH("t", b"4", message_expiry_interval=8))
    assert client.events() == [given_up, expired, kept]
    assert [expired.state, kept.state] == [EXPIRED, DONE]


def test_what_was_sent_once_is_sent_again_whatever_its_expiry():
    client, broker = lasting(5)
    client.engine.session.outbound.drops_expired = True
    client.publish("t", b"1", 1, message_expiry_interval=10)
    broker.read()
    client.now = 20.0
    reconnect(client, broker)
    broker.gets(PUBLISH("t", b"1", 1, 1, dup=True, message_expiry_interval=0))


def test_a_message_that_waits_may_make_way_for_another(version):
    client, broker = lasting(version)
    broker.vanishes()
    client.events()
    oldest, newest = enqueue(client, b"1"), enqueue(client, b"2")
    assert client.engine.withdraw(oldest, client.now, DISPLACED)
    client.handed_over()
    assert client.events() == [oldest]
    assert oldest.state == DISPLACED
    reconnect(client, broker)
    broker.gets(PUBLISH("t", b"2"))
    assert client.events() == [newest]


def test_the_session_takes_what_waits_with_it(version):
    client, broker = connected(version)
    delivery = enqueue(client, b"1")
    broker.vanishes()
    assert client.events()[1:] == [delivery]
    assert delivery.state == LOST


def test_only_qos_1_and_2_count_as_unfinished(version):
    client, broker = lasting(version, maximum_queued=1)
    broker.vanishes()
    enqueue(client, b"0")
    enqueue(client, b"0")
    connect(client, broker, CONNACK(0, version >= 4))
    client.publish("t", b"1", 1)
    with pytest.raises(MqttCodeError, match="1 are unfinished already"):
        client.publish("t", b"2", 1)


def test_a_request_may_be_all_that_qos_0_waits_for(version):
    """A SUBACK frees the last identifier for the message before it."""
    client, broker = lasting(version)
    client.subscribe("f")
    outbound = client.engine.session.outbound
    taken = [outbound.assign_to_request() for _ in range(65_534)]
    first = client.publish("t", b"1", 1)
    assert first.packet_id == 0
    client.engine.session.enqueue(delivery := Delivery("t", b"2", 0, False, None, 4), 0)
    client.stored = client.engine.session.snapshot()
    client.engine.session.take_changes()
    broker.read()
    broker.sends(SUBACK(1, 0))
    broker.gets(PUBLISH("t", b"1", 1, 1), PUBLISH("t", b"2"))
    assert delivery.state == DONE
    assert len(taken) == len(set(taken))
