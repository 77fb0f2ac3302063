"""Packets that the CONNACK rules out are refused before they get an identifier."""

import pytest

from aiomqtt.exceptions import MqttLimitError
from aiomqtt.properties import Properties

from .client_and_broker import (
    CONNACK,
    PUBACK,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBSCRIBE,
    UNSUBSCRIBE,
    connected,
    lasting,
    octets,
    reconnect,
)


def refused(call, code):
    with pytest.raises(MqttLimitError) as raised:
        call()
    assert raised.value.rc == code
    # It is the caller's mistake as well as the broker's word.
    assert isinstance(raised.value, ValueError)


# --- PUBLISH -------------------------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-3.2.2-15")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_no_publish_is_larger_than_the_maximum_packet_size(qos):
    # 2 fixed header, 3 topic, 2 packet identifier, 1 property length.
    payload = b"x" * (100 - 6 - (2 if qos else 0))
    client, broker = connected(connack=CONNACK(maximum_packet_size=100))
    refused(lambda: client.publish("t", payload + b"x", qos), 0x95)
    broker.gets_nothing()
    client.publish("t", payload, qos)
    data = broker.read()
    assert len(data) == 100
    # The one that was refused took no identifier.
    assert not qos or data[5:7] == b"\x00\x01"


@pytest.mark.conformance("5.0", "MQTT-3.2.2-15")
@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("maximum", [100, 131, 132, 133, 134, 135, 300])
def test_a_topic_alias_counts_in_the_size_of_a_packet(qos, maximum):
    connack = CONNACK(maximum_packet_size=maximum, topic_alias_maximum=1)
    client, broker = connected(connack=connack)
    for size in range(maximum):
        try:
            client.publish("t", b"x" * size, qos, topic_alias=1)
        except MqttLimitError:
            break
        data = broker.read()
        assert len(data) <= maximum
        broker.sends(*[PUBACK(size + 1)] * qos)
        # Only the first PUBLISH tells the alias: try the next size with another topic.
        client.publish("other", b"", 0, topic_alias=1)
        broker.read()
    assert size > maximum - 20


@pytest.mark.conformance("5.0", "MQTT-3.2.2-15")
def test_subscribing_obeys_the_maximum_packet_size():
    client, broker = connected(connack=CONNACK(maximum_packet_size=20))
    # 2 fixed header, 2 packet identifier, 1 property length, 2 + 12 + 1.
    client.subscribe("f" * 12)
    broker.gets(SUBSCRIBE(1, "f" * 12))
    refused(lambda: client.subscribe("f" * 13), 0x95)
    refused(lambda: client.unsubscribe("f" * 14), 0x95)
    client.unsubscribe("f" * 13)
    broker.gets(UNSUBSCRIBE(2, "f" * 13))


@pytest.mark.conformance("5.0", "MQTT-3.2.2-11")
@pytest.mark.parametrize("maximum", [0, 1])
def test_no_publish_exceeds_the_maximum_qos(maximum):
    client, broker = connected(connack=CONNACK(maximum_qos=maximum))
    for qos in range(maximum + 1, 3):
        refused(lambda qos=qos: client.publish("t", b"", qos), 0x9B)
    broker.gets_nothing()
    for qos in range(maximum + 1):
        client.publish("t", b"", qos)
        broker.gets(PUBLISH("t", b"", qos, qos))


def test_subscribing_may_ask_for_a_qos_above_the_maximum():
    # §3.2.2.3.4: the broker grants what it can.
    client, broker = connected(connack=CONNACK(maximum_qos=0))
    client.subscribe("f", qos=2)
    broker.gets(SUBSCRIBE(1, "f", qos=2))


@pytest.mark.conformance("5.0", "MQTT-3.2.2-14")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_no_retained_message_where_retain_is_not_available(qos):
    client, broker = connected(connack=CONNACK(retain_available=0))
    refused(lambda: client.publish("t", b"", qos, retain=True), 0x9A)
    broker.gets_nothing()
    client.publish("t", b"", qos)
    broker.gets(PUBLISH("t", b"", qos, 1 if qos else 0))


def test_preparing_checks_the_arguments_and_sends_nothing():
    client, broker = connected(connack=CONNACK(maximum_qos=1))
    client.engine.prepare("t", b"", 1, False, None)
    with pytest.raises(MqttLimitError):
        client.engine.prepare("t", b"", 2, False, None)
    with pytest.raises(ValueError, match="topic"):
        client.engine.prepare("t/#", b"", 1, False, None)
    client.handed_over()
    broker.gets_nothing()


def test_what_was_prepared_is_checked_by_the_limits_of_the_connection_it_is_sent_on():
    client, broker = lasting()
    prepared = client.engine.prepare("t", b"", 2, False, None)
    large = client.engine.prepare("t", b"x" * 20, 1, True, None)
    reconnect(client, broker, maximum_qos=1, maximum_packet_size=20)
    refused(lambda: client.engine.send(prepared, 0.0), 0x9B)
    refused(lambda: client.engine.send(large, 0.0), 0x95)
    client.handed_over()
    broker.gets_nothing()


def test_limits_end_with_the_connection():
    client, broker = lasting(connack=CONNACK(maximum_qos=0, maximum_packet_size=20))
    refused(lambda: client.publish("t", b"", 2), 0x9B)
    refused(lambda: client.publish("t", b"x" * 20), 0x95)
    reconnect(client, broker)
    client.publish("t", b"x" * 20, 2)
    broker.gets(PUBLISH("t", b"x" * 20, 2, 1))


# --- SUBSCRIBE -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("connack", "topic_filter", "properties", "code"),
    [
        ({"wildcard_subscription_available": 0}, "a/+/b", {}, 0xA2),
        ({"wildcard_subscription_available": 0}, "a/#", {}, 0xA2),
        ({"shared_subscription_available": 0}, "$share/g/a", {}, 0x9E),
        (
            {"subscription_identifier_available": 0},
            "a",
            {"subscription_identifier": [1]},
            0xA1,
        ),
    ],
)
def test_the_broker_does_not_offer_every_kind_of_subscription(
    connack, topic_filter, properties, code
):
    client, broker = connected(connack=CONNACK(**connack))
    refused(lambda: client.subscribe(topic_filter, **properties), code)
    broker.gets_nothing()
    client.subscribe("a")
    broker.gets(SUBSCRIBE(1, "a"))
    client, broker = connected()
    client.subscribe(topic_filter, **properties)
    broker.gets(SUBSCRIBE(1, topic_filter, **properties))


# --- acknowledgements --------------------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-3.4.2-2", "MQTT-3.4.2-3", "MQTT-3.5.2-2")
@pytest.mark.conformance("5.0", "MQTT-3.5.2-3", "MQTT-3.6.2-2", "MQTT-3.6.2-3")
@pytest.mark.conformance("5.0", "MQTT-3.7.2-2", "MQTT-3.7.2-3", "MQTT-3.14.2-3")
@pytest.mark.conformance("5.0", "MQTT-3.14.2-4", "MQTT-3.2.2-15")
def test_no_answer_carries_words_that_could_make_it_too_large():
    client, broker = connected(connack=CONNACK(maximum_packet_size=8))
    client.publish("t", b"", 2)
    broker.gets(PUBLISH("t", b"", 2, 1))
    broker.sends(PUBLISH("t", b"", 1, 1), PUBLISH("t", b"", 2, 2), PUBREL(2), PUBREL(9))
    broker.gets(octets("40 02 00 01  50 02 00 02  70 02 00 02  70 03 00 09 92"))
    broker.sends(PUBREC(1), PUBREC(9))
    broker.gets(octets("62 02 00 01  62 03 00 09 92"))
    broker.sends(octets("00 00"))
    broker.gets(octets("e0 01 81"))


# --- what the standard forbids -------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-3.3.2-2", "MQTT-4.7.0-1", "MQTT-4.7.3-1")
@pytest.mark.conformance("5.0", "MQTT-4.7.3-2", "MQTT-4.7.3-3", "MQTT-3.3.1-4")
@pytest.mark.conformance("3.1.1", "MQTT-3.3.2-2", "MQTT-4.7.1-1", "MQTT-4.7.3-1")
@pytest.mark.conformance("3.1.1", "MQTT-4.7.3-2", "MQTT-4.7.3-3", "MQTT-3.3.1-4")
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("",), "topic"),
        (("a/+",), "topic"),
        (("#",), "topic"),
        (("a\0",), "topic"),
        (("\ud800",), "topic"),
        (("t" * 65_536,), "topic"),
        (("t", b"", 3), "qos"),
        (("t", b"", 4), "qos"),
        (("t", b"", -1), "qos"),
    ],
)
def test_a_publish_that_the_standard_forbids_changes_nothing(version, arguments, named):
    client, broker = connected(version)
    with pytest.raises(ValueError, match=named):
        client.publish(*arguments)
    broker.gets_nothing()
    assert client.publish("t", b"", 1).packet_id == 1


@pytest.mark.conformance("5.0", "MQTT-3.3.4-6", "MQTT-3.3.2-8", "MQTT-3.3.2-14")
@pytest.mark.parametrize(
    "properties",
    [
        {"subscription_identifier": [1]},
        {"topic_alias": 0},
        {"response_topic": "a/#"},
        {"session_expiry_interval": 1},
    ],
    ids=lambda properties: next(iter(properties)),
)
def test_a_property_that_the_standard_forbids_changes_nothing(properties):
    client, broker = connected(connack=CONNACK(topic_alias_maximum=10))
    with pytest.raises(ValueError, match=next(iter(properties))):
        client.publish("t", b"", 1, **properties)
    broker.gets_nothing()
    assert client.publish("t", b"", 1).packet_id == 1


def test_properties_exist_since_5_0_only():
    for version in (3, 4):
        client, broker = connected(version)
        for call in (
            lambda client=client: client.publish("t", content_type="x"),
            lambda client=client: client.publish("t", topic_alias=1),
            lambda client=client: client.subscribe("t", user_property=[("a", "b")]),
            lambda client=client: client.unsubscribe("t", user_property=[("a", "b")]),
        ):
            with pytest.raises(ValueError, match=r"MQTT 5\.0"):
                call()
        broker.gets_nothing()


# --- the limits that the client sets -------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-3.1.2-24")
def test_a_packet_above_ones_own_maximum_packet_size_ends_the_connection():
    client, broker = connected(properties=Properties(maximum_packet_size=100))
    broker.sends(PUBLISH("t", b"x" * 94))
    assert client.payloads() == [b"x" * 94]
    # The size is known with the header: nothing of such a packet is kept.
    broker.sends(octets("30 63"))
    assert client.closed_with() == 0x95
    broker.gets(octets("e0 01 95"))


def test_a_connack_above_ones_own_maximum_packet_size_ends_the_connection():
    client, broker = connected(properties=Properties(maximum_packet_size=10))
    broker.vanishes()
    client.events()
    client.connect()
    broker.gets_connect()
    broker.sends(CONNACK(reason_string="too many words"))
    assert client.closed_with() == 0x95
    broker.gets(octets("e0 01 95"))
