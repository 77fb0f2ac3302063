"""Publishing and subscribing, as every version of MQTT has it."""

import pytest

from aiomqtt.protocol.packets import Ack, Ping
from tests.broker.scenarios.line import (
    PINGREQ,
    PINGRESP,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
)


async def test_connect_and_disconnect(broker, call, version):
    talker = await call(broker, version)
    connack = await talker.hello("basic")
    assert connack.session_present is False
    await talker.goodbye()


async def test_every_qos_both_ways(broker, join, version):
    """5.0 [MQTT-3.8.4-8]: the lower one counts; 3.1.1 [MQTT-3.8.4-6]."""
    speaker = await join(broker, version, "speaker")
    listener = await join(broker, version, "listener")
    for subscribed in (0, 1, 2):
        assert await listener.subscribe("a/b", qos=subscribed) == [subscribed]
        for published in (0, 1, 2):
            payload = f"{published} to {subscribed}".encode()
            assert await speaker.publish("a/b", payload, published) in (None, 0)
            qos = min(published, subscribed)
            await listener.take("a/b", payload, qos, dup=False, retain=False)
    await listener.nothing()


async def test_the_publisher_gets_its_own_messages(broker, join, version):
    talker = await join(broker, version, "both")
    await talker.subscribe("own")
    await talker.publish("own", b"1", 2)
    await talker.take("own", b"1")
    await talker.nothing()


async def test_each_ping_is_answered(broker, join, version):
    # 5.0 [MQTT-3.12.4-1]
    talker = await join(broker, version, "pings")
    talker.send(Ping(PINGREQ), Ping(PINGREQ))
    await talker.expect(PINGRESP)
    await talker.expect(PINGRESP)


async def test_a_repeated_publish_of_qos_2_arrives_once(broker, join, version):
    """5.0 [MQTT-4.3.3-10], [MQTT-4.3.3-12]; 3.1.1 §4.3.3."""
    listener = await join(broker, version, "listener")
    await listener.subscribe("once", qos=2)
    speaker = await join(broker, version, "speaker")
    packet = speaker.publish_packet("once", b"1", 2)
    speaker.send(packet)
    await speaker.expect(PUBREC, packet_id=packet.mid)
    packet.dup = True
    speaker.send(packet)
    await speaker.expect(PUBREC, packet_id=packet.mid)
    speaker.send(Ack(PUBREL, packet.mid))
    await speaker.expect(PUBCOMP, packet_id=packet.mid)
    # The answer may have been lost, so that the question comes again.
    speaker.send(Ack(PUBREL, packet.mid))
    answer = await speaker.expect(PUBCOMP, packet_id=packet.mid)
    assert answer.reason_code in ((0, 0x92) if version == 5 else (0,))
    # The identifier is free again, and so this is another message.
    packet.dup, packet.payload = False, b"2"
    speaker.send(packet)
    await speaker.expect(PUBREC, packet_id=packet.mid)
    speaker.send(Ack(PUBREL, packet.mid))
    await speaker.expect(PUBCOMP, packet_id=packet.mid)
    await listener.take("once", b"1", 2)
    await listener.take("once", b"2", 2)
    await listener.nothing()


async def test_answers_of_the_subscriber_free_the_packet_identifier(
    broker, join, version
):
    # 5.0 [MQTT-2.2.1-4]: one that is not in use.
    speaker = await join(broker, version, "speaker")
    listener = await join(broker, version, "listener")
    await listener.subscribe("id", qos=2)
    await speaker.publish("id", b"1", 2)
    await speaker.publish("id", b"2", 1)
    await speaker.publish("id", b"3", 2)
    packets = [await listener.expect(PUBLISH, dup=False) for _ in range(3)]
    assert [packet.payload for packet in packets] == [b"1", b"2", b"3"]
    assert len({packet.mid for packet in packets}) == 3
    for packet in packets:
        await listener.take_over(packet)
    await listener.nothing()


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_messages_keep_their_order(broker, join, version, qos):
    # 5.0 [MQTT-4.6.0-5], [MQTT-4.6.0-6]; 3.1.1 [MQTT-4.6.0-5]
    listener = await join(broker, version, "listener")
    speaker = await join(broker, version, "speaker")
    await listener.subscribe("order", qos=qos)
    payloads = [str(number).encode() for number in range(20)]
    packets = [speaker.publish_packet("order", payload, qos) for payload in payloads]
    speaker.send(*packets)
    if qos == 2:
        for packet in packets:
            await speaker.expect(PUBREC, packet_id=packet.mid)
        speaker.send(*[Ack(PUBREL, packet.mid) for packet in packets])
    for payload in payloads:
        packet = await listener.expect(PUBLISH, payload=payload, qos=qos)
        if qos == 1:
            await listener.take_over(packet)
        elif qos == 2:
            listener.ack(PUBREC, packet)
    if qos == 2:
        # 5.0 [MQTT-4.6.0-4]
        for _ in payloads:
            listener.ack(PUBCOMP, await listener.expect(PUBREL))
    await listener.nothing()


async def test_payloads_of_every_size(broker, join, version):
    listener = await join(broker, version, "listener")
    speaker = await join(broker, version, "speaker")
    await listener.subscribe("size", qos=1)
    for size in (0, 1, 127, 128, 16_383, 16_384, 1_000_000):
        payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
        await speaker.publish("size", payload, 1)
        await listener.take("size", payload, 1)


async def test_topics_of_every_length_and_script(broker, join, version):
    listener = await join(broker, version, "listener")
    speaker = await join(broker, version, "speaker")
    # The last but one begins with what is no byte order mark here: 5.0 [MQTT-1.5.4-3].
    for topic in ("x" * 65_535, " ", "/", "ü/東京/🦀", "\ufefftopic", "a//b"):
        await listener.subscribe(topic)
        await speaker.publish(topic, b"1")
        await listener.take(topic, b"1")
    await listener.nothing()


MATCHES = {
    # Filter: topics that match, topics that don't.
    "a/b": (["a/b"], ["a", "a/b/c", "A/b", "/a/b", "a/b/"]),
    "a/+": (["a/b", "a/"], ["a", "a/b/c", "b/a"]),
    "+/+": (["a/b", "/b", "/"], ["a", "a/b/c"]),
    "/+": (["/b", "/"], ["a/b", "b"]),
    "+/b/#": (["a/b", "a/b/c", "/b", "a/b/c/d"], ["a/c/b", "b"]),
    "a/#": (["a", "a/b", "a/b/c", "a/"], ["b", "ab", "/a"]),
    "#": (["a", "/", "a/b/c"], ["$a", "$a/b"]),
    "+/a": (["a/a", "/a"], ["$a/a"]),
    "$a/#": (["$a/b", "$a"], ["a/b"]),
    "$a/+": (["$a/b"], ["$a/b/c"]),
}


@pytest.mark.parametrize("topic_filter", MATCHES)
async def test_filters(broker, join, topic_filter):
    """5.0 §4.7.1, [MQTT-4.7.1-1] to [MQTT-4.7.2-1]: $ is not for the wildcards."""
    matching, others = MATCHES[topic_filter]
    listener = await join(broker, 5, "listener")
    speaker = await join(broker, 4, "speaker")
    await listener.subscribe(topic_filter)
    for topic in others:
        await speaker.publish(topic, b"other")
    for topic in matching:
        await speaker.publish(topic, b"matching")
        await listener.take(topic, b"matching")
    await listener.nothing()


async def test_dollar_topics_are_not_for_wildcards(broker, join, version):
    """[MQTT-4.7.2-1], also not what the broker says of itself, live or retained."""
    listener = await join(broker, version, "listener")
    await listener.subscribe("#", "+/+/#")
    speaker = await join(broker, version, "speaker")
    await speaker.publish("$mine/a", b"1", 1, retain=True)
    await listener.nothing()
    await listener.subscribe("$mine/#")
    await listener.take("$mine/a", b"1", retain=True)
    await speaker.publish("$mine/b", b"2")
    await listener.take("$mine/b", b"2")
    await listener.nothing()


async def test_nobody_publishes_to_the_topics_of_the_broker(broker, join, version):
    listener = await join(broker, version, "listener")
    await listener.subscribe("$SYS/mine")
    speaker = await join(broker, version, "speaker")
    code = await speaker.publish("$SYS/mine", b"1", 1)
    assert code == (0x87 if version == 5 else 0)
    await listener.nothing()


async def test_overlapping_subscriptions(broker, join, version):
    """5.0 [MQTT-3.3.4-2], 3.1.1 [MQTT-3.3.5-1]: with the highest QoS; here once."""
    listener = await join(broker, version, "listener")
    await listener.subscribe("over/#", qos=0)
    await listener.subscribe("over/+", qos=2)
    await listener.subscribe("over/a", qos=1)
    speaker = await join(broker, version, "speaker")
    await speaker.publish("over/a", b"1", 2)
    await listener.take("over/a", b"1", 2)
    await speaker.publish("over/a/b", b"2", 2)
    await listener.take("over/a/b", b"2", 0)
    await listener.nothing()


async def test_a_second_subscription_to_a_filter_replaces_the_first(
    broker, join, version
):
    # 5.0 [MQTT-3.8.4-3], 3.1.1 [MQTT-3.8.4-3]
    listener = await join(broker, version, "listener")
    await listener.subscribe("again", qos=2)
    await listener.subscribe("again", qos=0)
    speaker = await join(broker, version, "speaker")
    await speaker.publish("again", b"1", 2)
    await listener.take("again", b"1", 0)
    await listener.nothing()


async def test_unsubscribing(broker, join, version):
    """5.0 [MQTT-3.10.4-1], [MQTT-3.10.4-2], [MQTT-3.11.3-1]."""
    listener = await join(broker, version, "listener")
    await listener.subscribe("one/+", "two", "three", qos=1)
    # A filter that matches the topics of another one is not that one.
    codes = await listener.unsubscribe("one/a", "two", "never", "two")
    assert codes == ([0x11, 0, 0x11, 0x11] if version == 5 else [])
    speaker = await join(broker, version, "speaker")
    for topic in ("one/a", "two", "three"):
        await speaker.publish(topic, topic.encode(), 1)
    await listener.take("one/a", b"one/a", 1)
    await listener.take("three", b"three", 1)
    await listener.nothing()


async def test_unsubscribing_leaves_what_is_under_way(broker, join, version):
    # 5.0 [MQTT-3.10.4-3], 3.1.1 [MQTT-3.10.4-3]
    listener = await join(broker, version, "listener")
    await listener.subscribe("way", qos=2)
    speaker = await join(broker, version, "speaker")
    await speaker.publish("way", b"1", 2)
    packet = await listener.expect(PUBLISH, payload=b"1", qos=2)
    await listener.unsubscribe("way")
    await listener.take_over(packet)
    await listener.nothing()


async def test_clients_of_all_versions_talk_to_each_other(broker, join):
    talkers = [await join(broker, version, f"v{version}") for version in (3, 4, 5)]
    for talker in talkers:
        await talker.subscribe("mixed", qos=2)
    for speaker_version in (3, 4, 5):
        speaker = await join(broker, speaker_version, f"speaker{speaker_version}")
        options = {"content_type": "text/plain"} if speaker_version == 5 else {}
        await speaker.publish("mixed", b"hello", 2, **options)
        for talker in talkers:
            both = speaker_version == talker.version == 5
            await talker.take(
                "mixed", b"hello", 2, content_type="text/plain" if both else None
            )
    for talker in talkers:
        await talker.nothing()
