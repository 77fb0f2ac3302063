"""SUBSCRIBE: what is refused, its options, identifiers, and sharing (MQTT 5.0 §3.8)."""

from collections import Counter

import pytest

from aiomqtt.broker import Limits
from aiomqtt.properties import Properties, SubscribeOptions
from aiomqtt.protocol.packets import Subscribe
from tests.broker.scenarios.line import PUBLISH, SUBACK


async def test_each_filter_gets_its_answer(broker, join, version):
    """5.0 [MQTT-3.8.4-5], [MQTT-3.8.4-6]; 3.1.1 [MQTT-3.8.4-4], [MQTT-3.8.4-5]."""
    listener = await join(broker, version, "listener")
    wanted = [(f"several/{qos}", SubscribeOptions(qos)) for qos in (2, 0, 1)]
    properties = Properties() if version == 5 else None
    listener.send(Subscribe(77, wanted, properties))
    await listener.expect(SUBACK, packet_id=77, reason_codes=[2, 0, 1])
    speaker = await join(broker, version, "speaker")
    for qos in (0, 1, 2):
        await speaker.publish(f"several/{qos}", b"1", 2)
        await listener.take(f"several/{qos}", b"1", qos)


async def test_a_subscription_may_be_refused(start_broker, join, version):
    """5.0 §3.9.3, 3.1.1 [MQTT-3.8.4-5], and 3.1, which has no code for it."""
    asked = []

    async def authorize(client, action, topic):
        asked.append((client.client_id, action, topic))
        if topic == "busy/#":
            return 0x97
        return not topic.startswith("secret")

    broker = await start_broker(authorize=authorize)
    listener = await join(broker, version, "listener")
    codes = await listener.subscribe("a", "secret/#", "b", "busy/#", qos=1)
    assert codes == ([1, 0x87, 1, 0x97] if version == 5 else [1, 0x80, 1, 0x80])
    assert asked == [
        ("listener", "subscribe", topic) for topic in ("a", "secret/#", "b", "busy/#")
    ]
    speaker = await join(broker, version, "speaker")
    await speaker.publish("b", b"1", 1)
    await listener.take("b", b"1", 1)
    await speaker.publish("busy/now", b"1", 1)
    await listener.nothing()


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_publish_may_be_refused(start_broker, join, version, qos):
    """5.0 §3.4.2.1; 3.1.1 [MQTT-3.3.5-2]: acknowledged all the same."""

    async def authorize(client, action, topic):
        return action == "subscribe" or not topic.startswith("secret")

    broker = await start_broker(authorize=authorize)
    listener = await join(broker, version, "listener")
    await listener.subscribe("#", qos=2)
    speaker = await join(broker, version, "speaker")
    code = await speaker.publish("secret/a", b"1", qos, retain=True)
    assert code == (None if qos == 0 else 0x87 if version == 5 else 0)
    # The connection goes on.
    await speaker.publish("open/a", b"1", qos)
    await listener.take("open/a", b"1", qos)
    await listener.nothing()
    late = await join(broker, version, "late")
    await late.subscribe("#")
    await late.nothing()


# --- options, since 5.0 ---------------------------------------------------------


async def test_no_local(broker, join):
    """[MQTT-3.8.3-3]"""
    talker = await join(broker, 5, "talker")
    other = await join(broker, 5, "other")
    for listener in (talker, other):
        await listener.subscribe("local", no_local=True)
        await listener.subscribe("not/local")
    await talker.publish("local", b"1", 1)
    await talker.publish("not/local", b"2", 1)
    await other.take("local", b"1")
    for listener in (talker, other):
        await listener.take("not/local", b"2")
        await listener.nothing()


async def test_no_local_of_one_of_two_subscriptions(broker, join):
    talker = await join(broker, 5, "talker")
    await talker.subscribe("local/a", qos=2, no_local=True, identifier=1)
    await talker.subscribe("local/+", qos=1, identifier=2)
    await talker.publish("local/a", b"1", 2)
    await talker.take("local/a", b"1", 1, subscription_identifier=[2])
    await talker.nothing()


# --- subscription identifiers, since 5.0 ----------------------------------------


async def test_subscription_identifiers(broker, join):
    """[MQTT-3.3.4-3], [MQTT-3.3.4-4]."""
    listener = await join(broker, 5, "listener")
    await listener.subscribe("id/a", qos=1, identifier=1)
    await listener.subscribe("id/+", qos=2, identifier=268_435_455)
    await listener.subscribe("id/#")
    speaker = await join(broker, 4, "speaker")
    for topic, qos, identifiers in (
        ("id/a", 2, {1, 268_435_455}),
        ("id/b", 2, {268_435_455}),
        ("id/b/c", 0, set()),
    ):
        await speaker.publish(topic, b"1", 2)
        packet = await listener.take(topic, b"1", qos)
        assert set(packet.properties.subscription_identifier) == identifiers
    await listener.nothing()


async def test_one_identifier_for_several_filters(broker, join):
    listener = await join(broker, 5, "listener")
    await listener.subscribe("one", "two", identifier=9)
    speaker = await join(broker, 5, "speaker")
    for topic in ("one", "two"):
        await speaker.publish(topic, b"1")
        await listener.take(topic, b"1", subscription_identifier=[9])


async def test_subscribing_again_replaces_the_identifier(broker, join):
    # §3.8.4
    listener = await join(broker, 5, "listener")
    speaker = await join(broker, 5, "speaker")
    for identifier in (1, 2, 0):
        await listener.subscribe("again", identifier=identifier)
        await speaker.publish("again", b"1")
        expected = [identifier] if identifier else ()
        await listener.take("again", b"1", subscription_identifier=expected)


async def test_identifiers_belong_to_the_session(broker, join):
    listener = await join(broker, 5, "listener", session=True)
    await listener.subscribe("kept", qos=1, identifier=5)
    await listener.goodbye()
    speaker = await join(broker, 5, "speaker")
    await speaker.publish("kept", b"1", 1)
    listener = await join(broker, 5, "listener", session=True)
    await speaker.publish("kept", b"2", 1)
    for payload in (b"1", b"2"):
        await listener.take("kept", payload, 1, subscription_identifier=[5])


async def test_identifiers_are_not_for_publishers(broker, join):
    """[MQTT-3.3.4-6]: a client's PUBLISH has none."""
    listener = await join(broker, 5, "listener")
    await listener.subscribe("id")
    speaker = await join(broker, 5, "speaker")
    # Topic "id", one property: identifier 1.
    speaker.send_bytes(b"\x30\x07\x00\x02id\x02\x0b\x01")
    await speaker.expect_refusal(0x81, 0x82)
    await listener.nothing()


# --- shared subscriptions (§4.8.2) ----------------------------------------------


async def test_a_shared_subscription_divides_the_messages(broker, join, version):
    """[MQTT-4.8.2-4]; brokers offer it to older clients too."""
    members = [await join(broker, version, f"member-{n}") for n in range(2)]
    for member in members:
        assert await member.subscribe("$share/group/job/+", qos=1) == [1]
    whole = await join(broker, version, "whole")
    await whole.subscribe("job/#", qos=1)
    speaker = await join(broker, version, "speaker")
    for number in range(20):
        await speaker.publish("job/a", str(number).encode(), 1)
    # In turn, so that each gets as many.
    shares = [
        [(await member.expect(PUBLISH, topic="job/a")).payload for _ in range(10)]
        for member in members
    ]
    for member in members:
        await member.nothing()
    everything = Counter(str(number).encode() for number in range(20))
    assert Counter(shares[0] + shares[1]) == everything
    for number in range(20):
        await whole.take("job/a", str(number).encode(), 1)
    await whole.nothing()


async def test_each_group_gets_every_message(broker, join):
    talker = await join(broker, 5, "talker")
    other = await join(broker, 5, "other")
    await talker.subscribe("$share/one/work", "$share/two/work", "work", qos=0)
    await other.subscribe("$share/three/work")
    speaker = await join(broker, 5, "speaker")
    await speaker.publish("work", b"1", 1)
    for _ in range(3):
        await talker.take("work", b"1")
    await other.take("work", b"1")
    await talker.nothing()
    await other.nothing()


async def test_each_member_has_its_own_options(broker, join):
    """[MQTT-4.8.2-3]: the QoS is that of the member's own subscription."""
    talkers = [await join(broker, 5, f"member-{qos}") for qos in range(3)]
    for qos, talker in enumerate(talkers):
        await talker.subscribe("$share/group/work", qos=qos, identifier=qos + 1)
    speaker = await join(broker, 5, "speaker")
    for _ in range(3):
        await speaker.publish("work", b"1", 2)
    for qos, talker in enumerate(talkers):
        await talker.take("work", b"1", qos, subscription_identifier=[qos + 1])
        await talker.nothing()


async def test_who_left_gets_no_share(broker, join):
    staying = await join(broker, 5, "staying")
    unsubscribing = await join(broker, 5, "unsubscribing")
    leaving = await join(broker, 5, "leaving")
    away = await join(broker, 5, "away", session=True)
    for talker in (staying, unsubscribing, leaving, away):
        await talker.subscribe("$share/group/work", qos=1)
    # Neither the filter alone nor another group is that subscription.
    codes = await unsubscribing.unsubscribe(
        "work", "$share/other/work", "$share/group/work"
    )
    assert codes == [0x11, 0x11, 0]
    await leaving.goodbye()
    # Who is away may get its share later; here, whoever is there comes first.
    await away.goodbye()
    speaker = await join(broker, 5, "speaker")
    for number in range(6):
        await speaker.publish("work", str(number).encode(), 1)
    for number in range(6):
        await staying.take("work", str(number).encode(), 1)
    await staying.nothing()
    await unsubscribing.nothing()
    # With nobody there, the messages wait for who comes back.
    await staying.goodbye()
    await speaker.publish("work", b"late", 1)
    away = await join(broker, 5, "away", session=True)
    await away.take("work", b"late", 1)


async def test_a_dollar_topic_is_not_for_a_shared_wildcard(broker, join):
    talker = await join(broker, 5, "talker")
    await talker.subscribe("$share/group/#", "$share/other/$dollar/#")
    speaker = await join(broker, 5, "speaker")
    await speaker.publish("$dollar/a", b"1", 1)
    await talker.take("$dollar/a", b"1")
    await talker.nothing()


# --- what is not available ------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "announced", "topic_filter", "v5"),
    [
        ("wildcard_subscriptions", "wildcard_subscription_available", "a/+", 0xA2),
        ("wildcard_subscriptions", "wildcard_subscription_available", "#", 0xA2),
        (
            "shared_subscriptions",
            "shared_subscription_available",
            "$share/group/a",
            0x9E,
        ),
    ],
)
async def test_filters_that_are_not_available(
    start_broker, join, version, limit, announced, topic_filter, v5
):
    """§3.2.2.3.11, §3.2.2.3.13, §3.9.3."""
    broker = await start_broker(limits=Limits(**{limit: False}))
    talker = await join(broker, version, "talker")
    if version == 5:
        assert getattr(talker.connack.properties, announced) == 0
    codes = await talker.subscribe(topic_filter)
    assert codes == [v5 if version == 5 else 0x80]
    # The rest works.
    assert await talker.subscribe("plain/a") == [0]


async def test_identifiers_that_are_not_available(start_broker, join):
    """§3.2.2.3.12, §3.9.3."""
    broker = await start_broker(limits=Limits(subscription_identifiers=False))
    talker = await join(broker, 5, "talker")
    assert talker.connack.properties.subscription_identifier_available == 0
    assert await talker.subscribe("a", identifier=1) == [0xA1]
    assert await talker.subscribe("a") == [0]


async def test_what_is_available_is_not_announced_otherwise(broker, join):
    talker = await join(broker, 5, "talker")
    properties = talker.connack.properties
    for name in (
        "wildcard_subscription_available",
        "shared_subscription_available",
        "subscription_identifier_available",
        "retain_available",
    ):
        assert getattr(properties, name) in (None, 1), name
    assert properties.maximum_qos is None
