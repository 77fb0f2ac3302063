"""Topic aliases: they stand for a topic on one connection, in one direction."""

import pytest

from aiomqtt.properties import Properties

from .client_and_broker import (
    CONNACK,
    PUBACK,
    PUBLISH,
    PUBREC,
    PUBREL,
    connected,
    lasting,
    octets,
    reconnect,
)

ALIASES = Properties(topic_alias_maximum=3)


def topics(client):
    return [message.topic.value for message in client.messages()]


# --- received ------------------------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-3.3.2-10")
def test_an_alias_stands_for_the_topic_that_it_last_came_with():
    client, broker = connected(properties=ALIASES)
    broker.sends(
        PUBLISH("a", topic_alias=1),
        PUBLISH("c", topic_alias=3),
        PUBLISH("", topic_alias=1),
        PUBLISH("b", topic_alias=1),
        PUBLISH("", topic_alias=1),
        PUBLISH("", b"", 1, 1, topic_alias=3),
        PUBLISH("", b"", 2, 2, topic_alias=3),
    )
    assert topics(client) == ["a", "c", "a", "b", "b", "c", "c"]


@pytest.mark.conformance("5.0", "MQTT-3.1.2-26", "MQTT-3.1.2-27", "MQTT-3.3.2-11")
@pytest.mark.parametrize("maximum", [None, 0, 3])
def test_an_alias_above_the_announced_maximum_ends_the_connection(maximum):
    properties = Properties(topic_alias_maximum=maximum)
    client, broker = connected(properties=properties)
    broker.sends(PUBLISH("a", topic_alias=(maximum or 0) + 1))
    assert client.closed_with() == 0x94
    assert client.messages() == []
    broker.gets(octets("e0 01 94"))


def test_alias_0_ends_the_connection():
    client, broker = connected(properties=ALIASES)
    broker.sends(octets("30 07  00 01 61  03 23 00 00"))
    assert client.closed_with() == 0x94
    broker.gets(octets("e0 01 94"))


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_an_alias_that_was_never_set_ends_the_connection(qos):
    client, broker = connected(properties=ALIASES)
    broker.sends(PUBLISH("a", topic_alias=1))
    broker.sends(PUBLISH("", b"", qos, 1 if qos else 0, topic_alias=2))
    assert client.closed_with() == 0x82
    broker.gets(octets("e0 01 82"))


def test_a_repetition_may_use_and_set_aliases():
    client, broker = connected(properties=ALIASES)
    broker.sends(
        PUBLISH("a", b"", 2, 1, topic_alias=1),
        PUBLISH("", b"", 2, 1, dup=True, topic_alias=1),
        PUBLISH("b", b"", 2, 1, dup=True, topic_alias=2),
        PUBLISH("", b"", topic_alias=2),
    )
    assert topics(client) == ["a", "b"]


@pytest.mark.conformance("5.0", "MQTT-3.3.2-7")
def test_received_aliases_end_with_the_connection():
    client, broker = lasting(
        properties=Properties(topic_alias_maximum=3, session_expiry_interval=9)
    )
    broker.sends(PUBLISH("a", topic_alias=1))
    reconnect(client, broker)
    broker.sends(PUBLISH("", topic_alias=1))
    assert client.closed_with() == 0x82


# --- sent ----------------------------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-3.2.2-17", "MQTT-3.3.2-9")
def test_a_topic_is_written_once_for_each_alias():
    client, broker = connected(connack=CONNACK(topic_alias_maximum=2))
    client.publish("a/b", b"x", topic_alias=2)
    broker.gets(octets("30 0a  00 03 61 2f 62  03 23 00 02  78"))
    client.publish("a/b", b"y", topic_alias=2)
    broker.gets(octets("30 07  00 00  03 23 00 02  79"))
    client.publish("", b"z", topic_alias=2)
    broker.gets(octets("30 07  00 00  03 23 00 02  7a"))
    client.publish("c", topic_alias=2)
    broker.gets(PUBLISH("c", topic_alias=2))
    client.publish("", topic_alias=2)
    broker.gets(PUBLISH("", topic_alias=2))


@pytest.mark.conformance("5.0", "MQTT-3.2.2-17", "MQTT-3.2.2-18", "MQTT-3.3.2-9")
@pytest.mark.parametrize("maximum", [None, 0, 2])
def test_no_alias_above_the_brokers_maximum_is_sent(maximum):
    properties = {} if maximum is None else {"topic_alias_maximum": maximum}
    client, broker = connected(connack=CONNACK(**properties))
    with pytest.raises(ValueError, match="Topic Alias Maximum"):
        client.publish("a", topic_alias=(maximum or 0) + 1)
    broker.gets_nothing()


def test_an_alias_without_a_topic_is_refused():
    client, broker = connected(connack=CONNACK(topic_alias_maximum=2))
    client.publish("a", topic_alias=1)
    broker.read()
    with pytest.raises(ValueError, match="topic_alias 2 has no topic"):
        client.publish("", topic_alias=2)
    broker.gets_nothing()


@pytest.mark.parametrize(
    "refused",
    [
        {"topic": "a/#"},
        {"topic": "b", "qos": 2},
        {"topic": "b", "payload": b"x" * 100},
        {"topic": "b", "subscription_identifier": [1]},
    ],
    ids=["topic", "qos", "size", "property"],
)
def test_a_publish_that_is_refused_sets_no_alias(refused):
    connack = CONNACK(topic_alias_maximum=2, maximum_qos=1, maximum_packet_size=100)
    client, broker = connected(connack=connack)
    client.publish("a", topic_alias=1)
    broker.read()
    with pytest.raises(ValueError):  # noqa: PT011 - each has its own
        client.publish(**refused, topic_alias=1)
    client.publish("", b"again", topic_alias=1)
    broker.gets(PUBLISH("", b"again", topic_alias=1))


def test_an_alias_is_resolved_at_the_call_and_applied_at_the_writing():
    # The second waits for the quota while another publish moves the alias.
    connack = CONNACK(topic_alias_maximum=1, receive_maximum=1)
    client, broker = connected(connack=connack)
    client.publish("a", b"1", 1, topic_alias=1)
    client.publish("", b"2", 1, topic_alias=1)
    client.publish("b", b"3", topic_alias=1)
    client.publish("", b"4", topic_alias=1)
    broker.gets(
        PUBLISH("a", b"1", 1, 1, topic_alias=1),
        PUBLISH("b", b"3", topic_alias=1),
        PUBLISH("", b"4", topic_alias=1),
    )
    broker.sends(PUBACK(1))
    broker.gets(PUBLISH("a", b"2", 1, 2, topic_alias=1))


@pytest.mark.conformance("5.0", "MQTT-3.3.2-7")
@pytest.mark.parametrize("session_present", [True, False])
def test_what_is_sent_on_a_later_connection_has_its_full_topic(session_present):
    connack = CONNACK(topic_alias_maximum=2, receive_maximum=2)
    client, broker = lasting(connack=connack)
    client.publish("a", b"1", 1, topic_alias=1)
    client.publish("", b"2", 2, topic_alias=1)
    client.publish("", b"3", 1, topic_alias=1, content_type="c")
    broker.read()
    reconnect(client, broker, session_present, topic_alias_maximum=1)
    dup = session_present
    broker.gets(
        PUBLISH("a", b"1", 1, 1, dup=dup),
        PUBLISH("a", b"2", 2, 2, dup=dup),
        PUBLISH("a", b"3", 1, 3, content_type="c"),
    )
    broker.sends(PUBACK(1), PUBREC(2))
    broker.gets(PUBREL(2))
    # The old alias means nothing any more.
    with pytest.raises(ValueError, match="has no topic"):
        client.publish("", topic_alias=1)
    client.publish("b", topic_alias=1)
    broker.gets(PUBLISH("b", topic_alias=1))


def test_the_properties_of_the_caller_stay_as_they_are():
    client, broker = connected(connack=CONNACK(topic_alias_maximum=1))
    properties = Properties(topic_alias=1, content_type="c")
    for _ in range(2):
        client.engine.publish("a", b"", 0, False, properties, 0.0)
    assert properties == Properties(topic_alias=1, content_type="c")
    client.handed_over()
    broker.gets(
        PUBLISH("a", topic_alias=1, content_type="c"),
        PUBLISH("", topic_alias=1, content_type="c"),
    )


def test_properties_that_change_after_the_call_do_not_change_what_is_written():
    connack = CONNACK(topic_alias_maximum=2, receive_maximum=1)
    client, broker = connected(connack=connack)
    client.publish("a", b"", 1)
    broker.read()
    properties = Properties(topic_alias=1, content_type="c")
    client.engine.publish("b", b"", 1, False, properties, 0.0)
    properties.content_type = "changed"
    properties.topic_alias = 2
    broker.sends(PUBACK(1))
    broker.gets(PUBLISH("b", b"", 1, 2, topic_alias=1, content_type="c"))
