"""Retained messages (MQTT 5.0 §3.3.1.3), and the options that concern them."""

import asyncio

import pytest

from tests.broker.scenarios.line import PUBLISH


async def test_a_retained_message_waits_for_subscribers(broker, join, version):
    """5.0 [MQTT-3.3.1-5], [MQTT-3.3.1-8], [MQTT-3.3.1-12]; 3.1.1 [MQTT-3.3.1-6]."""
    speaker = await join(broker, version, "speaker")
    for qos in (0, 1, 2):
        topic = f"kept/{qos}"
        await speaker.publish(topic, b"first", qos, retain=True)
        await speaker.publish(topic, b"kept", qos, retain=True)
        await speaker.publish(topic, b"not kept", qos)
    listener = await join(broker, version, "listener")
    for qos in (0, 1, 2):
        await listener.subscribe(f"kept/{qos}", qos=2)
        await listener.take(f"kept/{qos}", b"kept", qos, retain=True, dup=False)
        await speaker.publish(f"kept/{qos}", b"live", qos, retain=True)
        await listener.take(f"kept/{qos}", b"live", qos, retain=False)
    await listener.nothing()


async def test_the_lower_qos_counts(broker, join, version):
    speaker = await join(broker, version, "speaker")
    await speaker.publish("kept", b"1", 2, retain=True)
    for qos in (0, 1, 2):
        listener = await join(broker, version, f"listener-{qos}")
        await listener.subscribe("kept", qos=qos)
        await listener.take("kept", b"1", qos, retain=True)


async def test_an_empty_payload_takes_it_back(broker, join, version):
    """5.0 [MQTT-3.3.1-6], [MQTT-3.3.1-7]; 3.1.1 [MQTT-3.3.1-10], [MQTT-3.3.1-11]."""
    witness = await join(broker, version, "witness")
    await witness.subscribe("kept")
    speaker = await join(broker, version, "speaker")
    await speaker.publish("kept", b"1", 1, retain=True)
    await witness.take("kept", b"1", retain=False)
    await speaker.publish("kept", b"", 1, retain=True)
    # It is a message like any other to those who are there.
    await witness.take("kept", b"", retain=False)
    listener = await join(broker, version, "listener")
    await listener.subscribe("kept")
    await listener.nothing()


async def test_wildcards_find_them_all(broker, join, version):
    speaker = await join(broker, version, "speaker")
    topics = ["a", "a/b", "a/c", "a/b/c", "b", "/a", "$a/b"]
    for topic in topics:
        await speaker.publish(topic, topic.encode(), 0, retain=True)
    listener = await join(broker, version, "listener")
    for topic_filter, found in {
        "a/#": {"a", "a/b", "a/c", "a/b/c"},
        "a/+": {"a/b", "a/c"},
        "+": {"a", "b"},
        "+/+": {"a/b", "a/c", "/a"},
        "#": {"a", "a/b", "a/c", "a/b/c", "b", "/a"},
        "+/b/#": {"a/b", "a/b/c"},
        "$a/+": {"$a/b"},
    }.items():
        await listener.subscribe(topic_filter)
        packets = [await listener.expect(PUBLISH, retain=True) for _ in found]
        assert {packet.topic.value for packet in packets} == found, topic_filter
        await listener.nothing()
        await listener.unsubscribe(topic_filter)


async def test_each_subscribe_brings_them_again(broker, join, version):
    """5.0 [MQTT-3.8.4-3], 3.1.1 [MQTT-3.8.4-3]: also one that was there before."""
    speaker = await join(broker, version, "speaker")
    await speaker.publish("kept", b"1", 1, retain=True)
    listener = await join(broker, version, "listener", session=True)
    for _ in range(2):
        await listener.subscribe("kept", qos=1)
        await listener.take("kept", b"1", 1, retain=True)
    await listener.goodbye()
    # But not a session that is taken up.
    listener = await join(broker, version, "listener", session=True)
    await listener.nothing()


async def test_a_retained_message_keeps_its_properties(broker, join):
    speaker = await join(broker, 5, "speaker")
    values = {
        "content_type": "text/plain",
        "correlation_data": b"7",
        "response_topic": "answers",
        "payload_format_indicator": 1,
        "user_property": [("a", "1"), ("a", "2")],
    }
    await speaker.publish("kept", b"1", 1, retain=True, **values)
    listener = await join(broker, 5, "listener")
    await listener.subscribe("kept")
    await listener.take("kept", b"1", retain=True, **values)


# --- since 5.0 ------------------------------------------------------------------


async def test_retain_handling(broker, join):
    """[MQTT-3.3.1-9], [MQTT-3.3.1-10], [MQTT-3.3.1-11]."""
    speaker = await join(broker, 5, "speaker")
    await speaker.publish("kept", b"1", 1, retain=True)
    listener = await join(broker, 5, "listener")
    # 2: not at all; 1: not to a subscription that is there; 0: always.
    await listener.subscribe("kept", retain_handling=2)
    await listener.nothing()
    await listener.subscribe("kept", retain_handling=1)
    await listener.nothing()
    await listener.subscribe("kept", retain_handling=0)
    await listener.take("kept", b"1", retain=True)
    await listener.unsubscribe("kept")
    await listener.subscribe("kept", retain_handling=1)
    await listener.take("kept", b"1", retain=True)
    await listener.nothing()


async def test_retain_handling_of_a_session_that_is_taken_up(broker, join):
    speaker = await join(broker, 5, "speaker")
    await speaker.publish("kept", b"1", 1, retain=True)
    listener = await join(broker, 5, "listener", session=True)
    await listener.subscribe("kept", retain_handling=1)
    await listener.take("kept", b"1", retain=True)
    await listener.goodbye()
    listener = await join(broker, 5, "listener", session=True)
    await listener.subscribe("kept", retain_handling=1)
    await listener.nothing()


async def test_retain_as_published(broker, join):
    """[MQTT-3.3.1-12], [MQTT-3.3.1-13]."""
    as_published = await join(broker, 5, "as-published")
    await as_published.subscribe("kept", retain_as_published=True)
    cleared = await join(broker, 5, "cleared")
    await cleared.subscribe("kept", retain_as_published=False)
    speaker = await join(broker, 4, "speaker")
    for retain in (True, False):
        await speaker.publish("kept", b"1", 0, retain=retain)
        await as_published.take("kept", b"1", retain=retain)
        await cleared.take("kept", b"1", retain=False)
    # What is retained says so to both.
    for talker in (as_published, cleared):
        await talker.subscribe("kept")
        await talker.take("kept", b"1", retain=True)


async def test_an_expired_retained_message_is_gone(broker, join):
    """[MQTT-3.3.2-5], [MQTT-3.3.2-6]."""
    speaker = await join(broker, 5, "speaker")
    # Time enough to fetch it on a busy machine, too.
    await speaker.publish("kept/short", b"1", 1, retain=True, message_expiry_interval=2)
    await speaker.publish("kept/long", b"1", 1, retain=True, message_expiry_interval=90)
    listener = await join(broker, 5, "listener")
    await listener.subscribe("kept/short")
    packet = await listener.take("kept/short", b"1", retain=True)
    assert 1 <= packet.properties.message_expiry_interval <= 2
    await asyncio.sleep(2.1)
    await listener.subscribe("kept/#")
    packet = await listener.take("kept/long", b"1", retain=True)
    assert 85 <= packet.properties.message_expiry_interval <= 89
    await listener.nothing()


@pytest.mark.parametrize("identifier", [0, 7])
async def test_an_identifier_comes_with_retained_messages(broker, join, identifier):
    # [MQTT-3.3.4-3]
    speaker = await join(broker, 5, "speaker")
    await speaker.publish("kept", b"1", 1, retain=True)
    listener = await join(broker, 5, "listener")
    await listener.subscribe("kept", qos=1, identifier=identifier)
    expected = [identifier] if identifier else ()
    await listener.take("kept", b"1", 1, retain=True, subscription_identifier=expected)


async def test_shared_subscriptions_get_no_retained_messages(broker, join):
    # §4.8.2
    speaker = await join(broker, 5, "speaker")
    await speaker.publish("kept", b"1", 1, retain=True)
    listener = await join(broker, 5, "listener")
    await listener.subscribe("$share/all/kept")
    await listener.nothing()
    await speaker.publish("kept", b"2", 1, retain=True)
    await listener.take("kept", b"2", retain=False)
