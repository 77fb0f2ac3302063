"""The broker that keeps what was published, as fixture and on its own."""

import asyncio
import math
import re

import pytest

import aiomqtt
from aiomqtt.broker import Limits
from aiomqtt.testing import RecordingBroker


def payloads(broker: RecordingBroker, topic: str = "#") -> list[bytes]:
    return [message.payload for message in broker.published(topic)]


# --- what was published -----------------------------------------------------------


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_messages_of_clients(mqtt_broker, version, qos):
    async with aiomqtt.Client(
        mqtt_broker.host, mqtt_broker.port, protocol=version
    ) as client:
        await client.publish("lamp/1", "on", qos, retain=True)
        await client.publish("lamp/2", "off", qos)
        await client.publish("door", b"", qos)
        await mqtt_broker.assert_published("door", None)
    assert payloads(mqtt_broker) == [b"on", b"off", b""]
    first, second = mqtt_broker.published("lamp/+")
    assert first.topic == aiomqtt.Topic("lamp/1")
    assert (first.qos, first.retain) == (qos, True)
    assert (second.qos, second.retain) == (qos, False)
    assert mqtt_broker.published("window") == []
    mqtt_broker.clear_published()
    assert mqtt_broker.published() == []


async def test_a_message_is_there_once_whoever_gets_it(mqtt_broker, mqtt_client):
    await mqtt_client.subscribe("#")
    async with aiomqtt.Client(mqtt_broker.host, mqtt_broker.port) as other:
        await other.subscribe([("t", 1), ("+", 2)])
        await mqtt_client.publish("t", "x", 2)
    assert payloads(mqtt_broker) == [b"x"]


async def test_messages_of_the_broker_and_wills(mqtt_broker):
    mqtt_broker.publish("t", 1)
    will = aiomqtt.Will("gone", "away", 1)
    client = aiomqtt.Client(
        mqtt_broker.host, mqtt_broker.port, identifier="me", will=will
    )
    await client.__aenter__()
    mqtt_broker.abort("me")
    message = await mqtt_broker.assert_published("gone")
    assert (message.payload, message.qos) == (b"away", 1)
    await client.__aexit__(None, None, None)
    assert payloads(mqtt_broker) == [b"1", b"away"]


@pytest.mark.mqtt(version=5)
async def test_properties(mqtt_broker, mqtt_client):
    properties = aiomqtt.Properties(content_type="text/plain")
    await mqtt_client.publish("t", "x", 1, properties=properties)
    [message] = mqtt_broker.published("t")
    assert message.properties.content_type == "text/plain"


async def test_what_the_broker_refuses_is_not_there():
    async def authorize(client: object, action: str, topic: str) -> bool:
        return topic != "secret"

    async with (
        RecordingBroker(authorize=authorize) as broker,
        aiomqtt.Client(broker.host, broker.port, protocol=5) as client,
    ):
        with pytest.raises(aiomqtt.MqttError):
            await client.publish("secret", "x", 1)
        await client.publish("open", "x", 1)
        assert [str(message.topic) for message in broker.published()] == ["open"]


async def test_statistics_are_not_there():
    async with RecordingBroker(sys_interval=0.01) as broker:
        async with aiomqtt.Client(broker.host, broker.port) as client:
            await client.subscribe("$SYS/#")
            await anext(client.messages)
        assert broker.published("$SYS/#") == []


async def test_messages_are_kept_when_it_stops():
    broker = RecordingBroker(None, limits=Limits(maximum_qos=1))
    assert broker.published() == []
    for number in range(2):
        async with broker:
            broker.publish("t", number)
    assert payloads(broker) == [b"0", b"1"]


# --- waiting for a message --------------------------------------------------------


async def test_a_message_that_was_published_before(mqtt_broker):
    for number in (1, 2):
        mqtt_broker.publish("t", number, number)
    message = await mqtt_broker.assert_published("t", within=0)
    assert message.payload == b"1"
    message = await mqtt_broker.assert_published("+", 2, qos=2, retain=False, within=0)
    assert message.payload == b"2"


async def test_a_message_that_is_published_later(mqtt_broker):
    loop = asyncio.get_running_loop()
    waiting = [
        loop.create_task(mqtt_broker.assert_published("t/#", payload, within=10))
        for payload in ("1", "2", "2", ...)
    ]
    await asyncio.sleep(0)
    async with aiomqtt.Client(mqtt_broker.host, mqtt_broker.port) as client:
        for number in range(4):
            await client.publish(f"t/{number}", number, 1)
    messages = await asyncio.gather(*waiting)
    assert [message.payload for message in messages] == [b"1", b"2", b"2", b"0"]


async def test_a_message_that_is_not_published(mqtt_broker):
    mqtt_broker.publish("lamp/state", "off", 1)
    with pytest.raises(AssertionError) as failed:
        await mqtt_broker.assert_published("lamp/state", "on", within=0.1)
    assert str(failed.value).splitlines() == [
        "no such message was published within 0.1 seconds: 'lamp/state', payload b'on'",
        "Published to it instead:",
        "  'lamp/state', payload b'off', QoS 1",
    ]
    with pytest.raises(AssertionError) as failed:
        await mqtt_broker.assert_published("lamp/stat", qos=0, retain=True, within=0)
    assert str(failed.value).splitlines() == [
        "no such message was published: 'lamp/stat', QoS 0, RETAIN",
        "Nothing was published to it. The nearest topics:",
        "  'lamp/state', payload b'off', QoS 1",
    ]


async def test_waiting_leaves_nothing_behind(mqtt_broker):
    with pytest.raises(AssertionError):
        await mqtt_broker.assert_published("t", within=0.01)
    task = asyncio.create_task(mqtt_broker.assert_published("t"))
    await asyncio.sleep(0)
    assert len(mqtt_broker._waiting) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert mqtt_broker._waiting == []
    mqtt_broker.publish("t")


@pytest.mark.parametrize("within", [-1, math.inf, math.nan])
async def test_wrong_times(mqtt_broker, within):
    text = f"within must be a finite number, 0 or more, not {within}"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        await mqtt_broker.assert_published("t", within=within)
    with pytest.raises(TypeError, match="within must be a number, not str"):
        await mqtt_broker.assert_published("t", within="1")


async def test_wrong_filters(mqtt_broker):
    with pytest.raises(ValueError, match="wildcard"):
        mqtt_broker.published("a/#/b")
    with pytest.raises(ValueError, match="wildcard"):
        await mqtt_broker.assert_published("a/#/b")


# --- in a thread ------------------------------------------------------------------


def test_without_await_in_a_thread(mqtt_broker):
    assert type(mqtt_broker).__name__ == "ThreadedBroker"
    mqtt_broker.publish("t", "x")
    assert mqtt_broker.assert_published("t", "x").payload == b"x"
    assert [message.payload for message in mqtt_broker.published("#")] == [b"x"]
    with pytest.raises(AssertionError, match="no such message"):
        mqtt_broker.assert_published("t", "y", within=0.01)
