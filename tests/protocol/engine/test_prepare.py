"""Publishing in two steps: a message is checked and measured before it is sent."""

import pytest

from aiomqtt.exceptions import MqttCodeError, MqttLimitError
from aiomqtt.properties import Properties, SubscribeOptions

from .client_and_broker import (
    CONNACK,
    PUBLISH,
    connected,
    lasting,
    reconnect,
    strangers,
)


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("payload", [b"", b"x" * 200])
def test_the_size_of_a_message_is_known_before_it_is_sent(version, qos, payload):
    client, broker = connected(version)
    prepared = client.engine.prepare("a/b", payload, qos, True, None)
    client.handed_over()
    broker.gets_nothing()
    delivery = client.engine.send(prepared, 0.0)
    assert client.engine.added_size == prepared.size
    size = prepared.size
    client.handed_over()
    assert len(client.written) == size
    broker.gets(PUBLISH("a/b", payload, qos, 1 if qos else 0, retain=True))
    assert delivery is (prepared if qos else None)


def test_the_size_of_each_call_is_known(version):
    client, _ = connected(version)
    engine = client.engine
    for call in (
        lambda: engine.publish("t", b"x", 0, False, None, 0.0),
        lambda: engine.publish("t", b"xy", 1, False, None, 0.0),
        lambda: engine.subscribe([("a", SubscribeOptions())], None),
        lambda: engine.unsubscribe(["a/b"], None),
    ):
        client.written = b""
        call()
        client.handed_over()
        assert engine.added_size == len(client.written)


def test_a_message_goes_by_the_order_in_which_it_is_sent(version):
    client, broker = connected(version)
    first, second = (
        client.engine.prepare("t", payload, 1, False, None) for payload in (b"1", b"2")
    )
    client.engine.send(second, 0.0)
    client.engine.send(first, 0.0)
    client.handed_over()
    broker.gets(PUBLISH("t", b"2", 1, 1), PUBLISH("t", b"1", 1, 2))


def test_a_message_expires_from_when_it_is_sent():
    client, broker = lasting()
    properties = Properties(message_expiry_interval=10)
    prepared = client.engine.prepare("t", b"", 1, False, properties)
    properties.message_expiry_interval = 99
    client.engine.send(prepared, 5.0)
    client.handed_over()
    broker.gets(PUBLISH("t", b"", 1, 1, message_expiry_interval=10))
    client.now = 7.0
    reconnect(client, broker)
    broker.gets(PUBLISH("t", b"", 1, 1, dup=True, message_expiry_interval=8))


def test_without_a_connection_a_message_can_be_prepared_but_not_sent(version):
    client, _ = strangers(version)
    prepared = client.engine.prepare("t", b"", 1, False, None)
    with pytest.raises(MqttCodeError, match="not currently connected"):
        client.engine.send(prepared, 0.0)
    assert len(client.engine.session.outbound) == 0


def test_what_was_prepared_before_the_queue_was_full_is_refused(version):
    client, _ = connected(version, maximum_queued=1)
    prepared = client.engine.prepare("t", b"", 1, False, None)
    client.publish("t", b"", 1)
    with pytest.raises(MqttCodeError, match="1 are unfinished"):
        client.engine.send(prepared, 0.0)


def test_a_topic_alias_is_that_of_the_moment_of_sending():
    client, broker = connected(connack=CONNACK(topic_alias_maximum=1))
    alias = Properties(topic_alias=1)
    first = client.engine.prepare("a", b"1", 1, False, alias)
    second = client.engine.prepare("", b"2", 1, False, alias)
    third = client.engine.prepare("", b"3", 0, False, alias)
    for prepared in (first, second, third):
        client.engine.send(prepared, 0.0)
    client.handed_over()
    broker.gets(
        PUBLISH("a", b"1", 1, 1, topic_alias=1),
        PUBLISH("", b"2", 1, 2, topic_alias=1),
        PUBLISH("", b"3", topic_alias=1),
    )


def test_a_topic_alias_counts_with_its_topic_in_the_limits():
    connack = CONNACK(topic_alias_maximum=1, maximum_packet_size=30)
    client, broker = connected(connack=connack)
    client.publish("t" * 20, b"", topic_alias=1)
    broker.read()
    prepared = client.engine.prepare("", b"x", 1, False, Properties(topic_alias=1))
    with pytest.raises(MqttLimitError):
        client.engine.send(prepared, 0.0)
    client.handed_over()
    broker.gets_nothing()
