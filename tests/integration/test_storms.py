"""Very many messages at once, with real brokers."""

import asyncio
import math
from collections import defaultdict

import pytest

from aiomqtt import Publication
from tests.integration.programs import client_of, nothing_more, unique

# On a busy machine.
pytestmark = pytest.mark.timeout(300)

PATIENCE = 240  # seconds
# Our own broker sends those of the need, the others more than is read ahead.
MESSAGES = {"mosquitto": 3000, "own": 10_000, "memory": 3000}


async def test_need_3_bursts_to_a_slow_consumer(start_broker, broker_kind):
    """All of every QoS arrive, each in order, although reading has to pause."""
    broker, count = await start_broker(), MESSAGES[broker_kind]
    topic = unique("bursts")
    received: dict[int, list[int]] = defaultdict(list)

    async def publish(publisher):
        for first in range(0, count, 1000):
            numbers = range(first, first + 1000)
            messages = [Publication(topic, str(n), n % 3) for n in numbers]
            await publisher.publish_many(messages, timeout=math.inf)

    async with (
        asyncio.timeout(PATIENCE),
        client_of(broker, 5) as consumer,
        client_of(broker, 5) as publisher,
    ):
        await consumer.subscribe(topic, 2)
        publishing = asyncio.create_task(publish(publisher))
        for number in range(1, count + 1):
            message = await anext(consumer.messages)
            received[message.qos].append(int(message.payload))
            if number % 500 == 0:
                await asyncio.sleep(0.02)
        await publishing
        await nothing_more(consumer)
    for qos in range(3):
        assert received[qos] == [*range(qos, count, 3)]
