"""A durable session of more messages than are read at a time."""

import asyncio
import contextlib
from typing import Any

import pytest

import aiomqtt
from aiomqtt import Client
from aiomqtt.client.durable_async import DurableSession
from aiomqtt.client.pages_async import PAGE
from aiomqtt.protocol.changes import Change, ChangeKind
from aiomqtt.stores.memory import MemoryStore
from aiomqtt.testing.session_changes import added
from tests.chaos.running import running
from tests.until import becomes_so

COUNT = 3 * PAGE


async def store_of(*changes: Change) -> MemoryStore:
    """What an earlier process has left."""
    store = MemoryStore()
    await store.open("me", 0)
    await store.commit(
        [Change(ChangeKind.IDENTIFIED, None, ("me", True, True)), *changes]
    )
    await store.close()
    return store


async def many(count: int = COUNT, **values: Any) -> MemoryStore:
    return await store_of(*(added(one, **values) for one in range(1, count + 1)))


def client_of(store: MemoryStore, broker: aiomqtt.Broker, **options: Any) -> Client:
    given = {"identifier": "me", "protocol": 5, "timeout": 30, **options}
    return Client(broker.host, broker.port, session=DurableSession(store), **given)


@contextlib.asynccontextmanager
async def watched(broker: aiomqtt.Broker, came: list[bytes]):
    """Note the payloads that come."""
    async with Client(broker.host, broker.port) as client:
        await client.subscribe("t", 2)

        async def watch() -> None:
            while True:
                came.append((await anext(client.messages)).payload)

        async with running(watch()):
            yield


async def all_acknowledged(client: Client) -> None:
    assert await becomes_so(lambda: client.statistics.unfinished_messages == 0, 10)


@pytest.mark.parametrize(
    ("qos", "reconnects"), [(0, False), (1, False), (1, True), (2, True)]
)
async def test_all_are_sent_in_order_and_before_what_is_published_since(
    qos, reconnects
):
    store = await many(qos=qos)
    came: list[bytes] = []
    async with aiomqtt.Broker() as broker, watched(broker, came):
        async with client_of(store, broker, reconnect=reconnects) as client:
            loaded = [one for one in client.pending_messages() if one.state == "queued"]
            assert len(loaded) <= PAGE + PAGE // 2
            await asyncio.wait_for(client.publish("t", "last", qos), 30)
            assert client.statistics.queued_messages == 0
            await all_acknowledged(client)
        await becomes_so(lambda: len(came) > COUNT, 10)
    assert came == [*(b"%d" % one for one in range(1, COUNT + 1)), b"last"]
    assert store._state is not None
    assert not store._state.deliveries


async def test_a_client_that_is_entered_again_goes_on_where_it_was():
    """Also if another one has read nothing in between."""
    store = await many()
    came: list[bytes] = []
    async with aiomqtt.Broker() as broker, watched(broker, came):
        client = client_of(store, broker)
        for _ in range(20):
            with contextlib.suppress(RuntimeError):
                async with client:
                    await asyncio.sleep(0.01)
                    msg = "no time to send them all"
                    raise RuntimeError(msg)
        async with client:
            await all_acknowledged(client)
        await becomes_so(lambda: came[-1:] == [b"%d" % COUNT], 10)
    # At QoS 1, the messages in flight were repeated.
    assert [*dict.fromkeys(came)] == [b"%d" % one for one in range(1, COUNT + 1)]


async def test_all_can_be_dropped():
    store = await many()
    came: list[bytes] = []
    async with aiomqtt.Broker() as broker, watched(broker, came):
        client = client_of(store, broker)
        async with client:
            left = client.statistics.unfinished_messages
            assert client.drop_pending() == left
            await asyncio.wait_for(client.publish("t", "new", 1), 30)
            dropped = client.statistics.messages_dropped
        await becomes_so(lambda: b"new" in came, 10)
    assert dropped == left
    # Those that were in flight may arrive.
    assert len(came) < COUNT
    assert came[-1] == b"new"


async def test_what_is_dropped_between_two_times_is_stored_the_next_time():
    store = await many(3)
    async with aiomqtt.Broker() as broker:
        client = client_of(store, broker)
        await client._keeper.open()  # type: ignore[union-attr]
        await client._keeper.close()  # type: ignore[union-attr]
        [first, *_] = client.pending_messages()
        assert client.drop(first)
        came: list[bytes] = []
        async with watched(broker, came), client:
            await all_acknowledged(client)
            await becomes_so(lambda: len(came) >= 2, 5)
        assert came == [b"2", b"3"]
    assert store._state is not None
    assert not store._state.deliveries


async def test_the_limits_count_those_that_only_the_store_has():
    store = await many(PAGE)
    queue = aiomqtt.OfflineQueue(max_messages=PAGE + 2)
    client = Client(
        "localhost",
        1,
        identifier="me",
        session=DurableSession(store),
        reconnect=aiomqtt.Reconnect(initial=True, min_delay=60),
        offline=queue,
    )
    entering = asyncio.create_task(client.__aenter__())
    await becomes_so(lambda: client.statistics.queued_messages == PAGE, 5)
    for _ in range(2):
        client.publish_nowait("t", "more", 1)
    with pytest.raises(aiomqtt.MqttError, match="as many as max_messages allows"):
        client.publish_nowait("t", "too many", 1)
    entering.cancel()
    await asyncio.wait((entering,))


async def test_the_oldest_are_dropped_page_by_page():
    store = await many()
    queue = aiomqtt.OfflineQueue(max_messages=10, overflow="drop_oldest")
    came: list[bytes] = []
    async with aiomqtt.Broker() as broker, watched(broker, came):
        async with client_of(store, broker, reconnect=True, offline=queue) as client:
            await asyncio.wait_for(client.publish("t", "last", 1), 30)
            dropped = client.statistics.messages_dropped
        await becomes_so(lambda: b"last" in came, 10)
    assert dropped + len(came) == COUNT + 1
    assert dropped >= COUNT - 10 - 2 * PAGE
    assert came[-2:] == [b"%d" % COUNT, b"last"]


async def test_messages_expire_whenever_they_are_read():
    properties = aiomqtt.Properties(message_expiry_interval=1)
    store = await many(properties=properties, expires=1.0)
    came: list[bytes] = []
    async with aiomqtt.Broker() as broker, watched(broker, came):
        async with client_of(store, broker, reconnect=True) as client:
            await asyncio.wait_for(client.publish("t", "last", 1), 30)
            assert client.statistics.messages_expired == COUNT
        await becomes_so(lambda: b"last" in came, 10)
    assert came == [b"last"]
