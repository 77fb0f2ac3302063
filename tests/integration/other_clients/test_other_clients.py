"""The same conversations with the broker, by each client in each version of MQTT."""

import asyncio

import pytest

from tests.integration.other_clients.drivers import CLIENTS
from tests.until import until

pytestmark = pytest.mark.once("compiled")

LARGE = "0123456789abcdef" * 6000


async def test_publish_and_subscribe(client):
    listener, speaker = client(), client()
    await listener.connect("listener")
    assert await listener.subscribe("to/+/#", 2) == 2
    await speaker.connect("speaker")
    for qos in (0, 1, 2):
        for payload in ("1", "ü", "", LARGE):
            await speaker.publish(f"to/{qos}/a", payload, qos)
            await listener.take(
                topic=f"to/{qos}/a", payload=payload, qos=qos, retain=False
            )
    # Several at once.
    async with asyncio.TaskGroup() as tasks:
        for number in range(20):
            tasks.create_task(speaker.publish("to/many", str(number), 2))
    numbers = [int((await listener.take(qos=2))["payload"]) for _ in range(20)]
    assert sorted(numbers) == list(range(20))
    await listener.subscribe("end", 2)
    await listener.unsubscribe("to/+/#")
    await speaker.publish("to/0/a", "not this", 1)
    await speaker.publish("end", "this", 2)
    await listener.take(topic="end", payload="this", qos=2)
    await speaker.disconnect()
    await listener.disconnect()


async def test_retained_messages(client):
    speaker = client()
    await speaker.connect("speaker")
    for qos in (0, 1, 2):
        await speaker.publish(f"kept/{qos}", "first", qos, retain=True)
        await speaker.publish(f"kept/{qos}", "kept", qos, retain=True)
    await speaker.publish("kept/1", "", 1, retain=True)
    await speaker.disconnect()
    listener = client()
    await listener.connect("listener")
    await listener.subscribe("kept/#", 2)
    kept = [await listener.take(payload="kept", retain=True) for _ in range(2)]
    assert sorted((message["topic"], message["qos"]) for message in kept) == [
        ("kept/0", 0),
        ("kept/2", 2),
    ]
    await speaker.connect("speaker")
    await speaker.publish("kept/0", "live", 1, retain=True)
    await listener.take(topic="kept/0", payload="live", qos=1, retain=False)


async def test_a_will(client):
    listener, talker = client(), client()
    await listener.connect("listener")
    await listener.subscribe("will", 2)
    for ending in ("disconnect", "vanish"):
        will = {"topic": "will", "payload": ending, "qos": 2, "retain": True}
        await talker.connect("talker", will=will)
        await talker.subscribe("any")
        await getattr(talker, ending)()
        if ending == "vanish" or talker.disconnects_with_will:
            await listener.take(topic="will", payload=ending, qos=2, retain=False)
    await listener.unsubscribe("will")
    await listener.subscribe("will", 1)
    await listener.take(topic="will", payload="vanish", qos=1, retain=True)


@pytest.mark.parametrize("ending", ["disconnect", "vanish"])
async def test_a_session_is_taken_up(client, spoken, broker, ending):
    _, version = spoken
    listener, speaker = client(), client()
    assert await listener.connect("session", session=True) in (None, False)
    await listener.subscribe("queue/#", 2)
    await getattr(listener, ending)()
    await until(lambda: "session" not in broker.clients)
    await speaker.connect("speaker")
    for number in range(6):
        await speaker.publish(f"queue/{number}", str(number), number % 3)
    assert await listener.connect("session", session=True) in (None, version > 3)
    # A program may see one of QoS 2 later than it came, but each QoS in order.
    waited = [await listener.take(retain=False) for _ in range(4)]
    for qos in (1, 2):
        topics = [message["topic"] for message in waited if message["qos"] == qos]
        assert topics == [f"queue/{qos}", f"queue/{qos + 3}"]
    await speaker.publish("queue/live", "live", 1)
    await listener.take(topic="queue/live", payload="live", qos=1)
    await listener.disconnect()
    assert "session" in broker.sessions


@pytest.mark.parametrize("spoken", [(name, 5) for name in CLIENTS], indirect=True)
async def test_properties(client):
    listener, speaker = client(), client()
    await listener.connect("listener")
    await listener.subscribe("to/#", 1)
    await speaker.connect("speaker")
    pairs = [("a", "1"), ("a", "2"), ("b", "ü")]
    for qos in (0, 1):
        await speaker.publish(
            "to/a", "1", qos, content_type="text/plain", user_property=pairs
        )
        await listener.take(
            topic="to/a",
            payload="1",
            qos=qos,
            content_type="text/plain",
            user_property=[list(pair) for pair in pairs],
        )
