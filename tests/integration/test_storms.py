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


async def test_need_3_bursts_to_a_slow_consumer(start_broker):
    """All of every QoS arrive, each in order, although reading has to pause."""
    broker = await start_broker()
    topic = unique("bursts")
    received: dict[int, list[int]] = defaultdict(list)

    async def publish(publisher):
        for burst in range(10):
            numbers = range(1000 * burst, 1000 * (burst + 1))
            messages = [Publication(topic, str(n), n % 3) for n in numbers]
            await publisher.publish_many(messages, timeout=math.inf)

    async with (
        asyncio.timeout(PATIENCE),
        client_of(broker, 5) as consumer,
        client_of(broker, 5) as publisher,
    ):
        await consumer.subscribe(topic, 2)
        publishing = asyncio.create_task(publish(publisher))
        for count in range(1, 10_001):
            message = await anext(consumer.messages)
            received[message.qos].append(int(message.payload))
            if count % 500 == 0:
                await asyncio.sleep(0.02)
        await publishing
        await nothing_more(consumer)
    for qos in range(3):
        assert received[qos] == [*range(qos, 10_000, 3)]
