"""One client object in one event loop after the other."""

import asyncio
import contextlib

import pytest

from aiomqtt import Broker, Client, MqttReentrantError, Properties
from aiomqtt.net import memory
from tests.peer import CONNECT, PUBACK, serve
from tests.raw_scripts import accept, ack_bytes, expect_publish, goodbye, within


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


class Silent(asyncio.Protocol):
    """A broker that accepts, and acknowledges nothing."""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if data[0] >> 4 == CONNECT:
            self.transport.write(b"\x20\x03\x00\x00\x00")


def test_who_waited_in_a_loop_that_was_closed_is_not_woken_in_another():
    """The session lasts, so that the broker acknowledges in the second loop."""
    client = in_memory(
        "silent",
        protocol=5,
        identifier="me",
        properties=Properties(session_expiry_interval=60),
    )

    async def begin():
        """Enter, and run each call up to where it waits, as a task would."""
        listener = memory.listen("silent", Silent)
        await client.__aenter__()
        listener.close()
        receipt = client.publish_nowait("a", b"0", 1)
        calls = [
            receipt.__await__(),
            client.publish("a", b"1", 1),
            client.publish_many([("a", b"2", 1)]),
        ]
        for call in calls:
            call.send(None).add_done_callback(woken.append)
        return receipt, calls

    async def script(peer):
        await accept(peer, 5, session_present=True)
        for number in range(4):
            published = await expect_publish(peer, 5)
            assert published.payload == b"%d" % number
            peer.send(ack_bytes(PUBACK, published.packet_id))
        await goodbye(peer)

    async def go_on():
        async with serve(script, name="silent"), client:
            await within(client.publish("a", b"3", 1))
            await within(receipt)
        assert client.pending_messages() == ()

    woken: list[object] = []
    loop = asyncio.new_event_loop()
    receipt, calls = loop.run_until_complete(begin())
    loop.close()
    asyncio.run(go_on())
    for call in calls:
        call.close()
    assert receipt.done()
    assert woken == []


async def test_entered_is_not_reentrant_still():
    async with Broker(name="loops") as broker, in_memory(broker.name) as client:
        with pytest.raises(MqttReentrantError):
            await client.__aenter__()
