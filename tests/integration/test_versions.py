"""Every feature of the three versions, against a real broker."""

import asyncio

import pytest

import aiomqtt
from aiomqtt.testing import FaultProxy
from tests.integration.programs import (
    SOON,
    client_of,
    nothing_more,
    payloads,
    take,
    unique,
    until_logged,
)

QOS = [0, 1, 2]
# Of the brokers, for messages of QoS 1 and 2: more is to be so many times that.
WINDOW = 20


@pytest.mark.parametrize("subscribed", QOS)
@pytest.mark.parametrize("published", QOS)
async def test_every_qos_both_ways(broker, version, published, subscribed):
    topic = unique("qos")
    async with client_of(broker, version) as client:
        granted = await client.subscribe(topic, subscribed)
        assert list(granted) == [subscribed]
        await client.publish(topic, b"payload", published)
        (message,) = await take(client, 1)
        assert message.topic == aiomqtt.Topic(topic)
        assert message.payload == b"payload"
        assert message.qos == min(published, subscribed)
        assert message.retain is False
        assert (message.properties is None) == (version < 5)
        await nothing_more(client)


@pytest.mark.parametrize("qos", QOS)
async def test_order_holds_within_a_topic(broker, version, qos):
    topic, count = unique("order"), 6 * WINDOW
    async with (
        client_of(broker, version) as listener,
        client_of(broker, version) as publisher,
    ):
        await listener.subscribe(topic, qos)
        async with asyncio.TaskGroup() as tasks:
            for number in range(count):
                tasks.create_task(publisher.publish(topic, number, qos))
        expected = [str(number).encode() for number in range(count)]
        assert await payloads(listener, count) == expected
        await nothing_more(listener)


@pytest.mark.parametrize("qos", QOS)
async def test_a_retained_message_waits_for_subscribers(broker, version, qos):
    topic = unique("retained")
    async with client_of(broker, version) as client:
        await client.publish(topic, b"first", qos, True)
        await client.publish(topic, b"second", qos, retain=True)
        await client.publish(topic, b"not retained", qos)
        await client.subscribe(topic, 2)
        (message,) = await take(client, 1)
        assert (message.payload, message.qos) == (b"second", qos)
        assert message.retain is True
        await client.publish(topic, b"live", qos, retain=True)
        (message,) = await take(client, 1)
        assert (message.payload, message.retain) == (b"live", False)
        # An empty payload takes it back.
        await client.publish(topic, None, qos, retain=True)
        assert await payloads(client, 1) == [b""]
    async with client_of(broker, version) as late:
        await late.subscribe(topic)
        await nothing_more(late)


@pytest.mark.parametrize("qos", QOS)
async def test_the_will_is_published_when_the_client_vanishes(broker, version, qos):
    topic = unique("will")
    will = aiomqtt.Will(topic, "vanished", qos, retain=True)
    async with (
        client_of(broker, version) as listener,
        FaultProxy(broker.host, broker.port) as network,
    ):
        await listener.subscribe(topic, 2)
        async with client_of(broker, version, will=will, port=network.port) as client:
            network.reset()
            (message,) = await take(listener, 1)
            assert (message.payload, message.qos) == (b"vanished", qos)
            with pytest.raises(aiomqtt.MqttError):
                await anext(client.messages)
    async with client_of(broker, version) as late:
        await late.subscribe(topic)
        (message,) = await take(late, 1)
        assert (message.payload, message.retain) == (b"vanished", True)


async def test_the_will_is_not_published_after_a_clean_exit(broker, version):
    topic = unique("no-will")
    async with client_of(broker, version) as listener:
        await listener.subscribe(topic)
        name = unique("clean-exit")
        will = aiomqtt.Will(topic, "vanished")
        async with client_of(broker, version, will=will, identifier=name):
            pass
        await until_logged(broker, f"Client {name} disconnected")
        await nothing_more(listener)


async def test_a_program_that_fails_leaves_without_its_will(broker, version):
    topic = unique("no-will")
    async with client_of(broker, version) as listener:
        await listener.subscribe(topic)
        name = unique("failing-exit")
        will = aiomqtt.Will(topic, "vanished")
        with pytest.raises(ZeroDivisionError):
            async with client_of(broker, version, will=will, identifier=name):
                _ = 1 / 0
        await until_logged(broker, f"Client {name} disconnected")
        await nothing_more(listener)


async def test_unsubscribing_ends_delivery(broker, version):
    one, two, three = unique("one"), unique("two"), unique("three")
    async with client_of(broker, version) as client:
        await client.subscribe([(one, 1), (two, 1), (three, 1)])
        await client.unsubscribe(one)
        await client.unsubscribe([two, "never/subscribed"])
        for topic in (one, two, three):
            await client.publish(topic, topic, 1)
        assert await payloads(client, 1) == [three.encode()]
        await nothing_more(client)


@pytest.mark.parametrize("qos", QOS)
@pytest.mark.parametrize("size", [0, 1, 100, 16_383, 300_000])
async def test_payloads_of_every_size(broker, version, qos, size):
    topic = unique("size")
    payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
    async with client_of(broker, version) as client:
        await client.subscribe(topic, qos)
        await client.publish(topic, payload, qos)
        (message,) = await take(client, 1)
        assert message.payload == payload


async def test_all_kinds_of_payload(broker, version):
    topic = unique("kinds")
    async with client_of(broker, version) as client:
        await client.subscribe(topic)
        for payload in ("text ü", b"bytes", bytearray(b"array"), 5, 28.4, None):
            await client.publish(topic, payload)
        expected = ["text ü".encode(), b"bytes", b"array", b"5", b"28.4", b""]
        assert await payloads(client, 6) == expected


async def test_many_topics(broker, version):
    base, count = unique("many"), 10 * WINDOW
    topics = [f"{base}/{number % 7}/{number}" for number in range(count)]
    async with client_of(broker, version) as client:
        for start in range(0, count, 50):
            await client.subscribe([(topic, 1) for topic in topics[start : start + 50]])
        async with asyncio.TaskGroup() as tasks:
            for topic in topics:
                tasks.create_task(client.publish(topic, topic, 1))
        messages = await take(client, count)
        assert [str(message.topic) for message in messages] == topics
        assert all(str(m.topic).encode() == m.payload for m in messages)
        await nothing_more(client)


async def test_wildcards_and_shared_subscriptions(broker, version):
    base = unique("wild")
    async with (
        client_of(broker, version) as one,
        client_of(broker, version) as two,
        client_of(broker, version) as all_of_it,
    ):
        await all_of_it.subscribe(f"{base}/+/#")
        await one.subscribe(f"$share/{base}/{base}/+/b")
        await two.subscribe(f"$share/{base}/{base}/+/b")
        for number in range(10):
            await all_of_it.publish(f"{base}/a/b", number)
        everything = await payloads(all_of_it, 10)
        shared = await payloads(one, 5) + await payloads(two, 5)
        assert sorted(shared) == sorted(everything)


async def test_many_publishes_at_once_keep_the_window(broker, version):
    """mosquitto's Receive Maximum is 20; below 5.0 that many is our own bound."""
    topic, name, count = unique("window"), unique("windowed"), 15 * WINDOW
    start = len(broker.log)
    async with client_of(broker, version, identifier=name) as client:
        client.pending_calls_threshold = 2000
        async with asyncio.TaskGroup() as tasks:
            for number in range(count):
                tasks.create_task(client.publish(topic, number, 2))
    in_flight = most = published = 0
    for line in broker.log[start:].splitlines():
        if f"Received PUBLISH from {name} (d0, q2" in line:
            in_flight += 1
            published += 1
            most = max(most, in_flight)
        elif f"Sending PUBCOMP to {name} " in line:
            in_flight -= 1
    assert published == count
    assert in_flight == 0
    assert 1 < most <= WINDOW


async def test_clients_of_all_versions_talk_to_each_other(broker):
    topic = unique("mixed")
    async with (
        client_of(broker, 3) as one,
        client_of(broker, 4) as two,
        client_of(broker, 5) as three,
    ):
        clients = [one, two, three]
        for client in clients:
            await client.subscribe(topic, 2)
        for client in clients:
            await client.publish(topic, b"to all", 2)
        async with asyncio.timeout(SOON):
            for client in clients:
                assert await payloads(client, 3) == [b"to all"] * 3
