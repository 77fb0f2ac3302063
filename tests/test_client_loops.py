"""One client object in one event loop after the other."""

import asyncio
import contextlib

import pytest

from aiomqtt import Broker, Client, MqttReentrantError


async def served(use):
    async with Broker(name="loops") as broker:
        await asyncio.wait_for(use(broker), 20)


def in_memory(name, **options):
    return Client(name, transport="memory", **options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_concurrent_outgoing_calls": 1},
        {"queue_type": asyncio.LifoQueue},
        {"max_queued_incoming_messages": 10},
    ],
)
def test_a_client_is_used_in_several_loops(options):
    client = in_memory("loops", **options)

    async def use(broker):
        async with client:
            await client.subscribe("a")
            # Some of these wait for their turn.
            await asyncio.gather(*(client.publish("a", str(i), 1) for i in range(5)))
            for _ in range(5):
                await anext(client.messages)

    for _ in range(3):
        asyncio.run(served(use))


def test_a_loop_that_was_closed_while_the_client_was_entered():
    client = in_memory("loops", max_concurrent_outgoing_calls=1)

    async def use(broker):
        async with client:
            await client.publish("a", b"", 1)

    loop = asyncio.new_event_loop()
    broker = Broker(name="loops")
    loop.run_until_complete(broker.__aenter__())
    loop.run_until_complete(client.__aenter__())
    waiting = loop.create_task(anext(client.messages))
    loop.run_until_complete(asyncio.sleep(0))
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        loop.run_until_complete(waiting)
    with contextlib.suppress(Exception):
        loop.run_until_complete(broker.__aexit__(None, None, None))
    loop.close()
    assert not client.is_connected()
    for _ in range(2):
        asyncio.run(served(use))
    assert not client.is_connected()


async def test_entered_is_not_reentrant_still():
    async with Broker(name="loops") as broker, in_memory(broker.name) as client:
        with pytest.raises(MqttReentrantError):
            await client.__aenter__()
