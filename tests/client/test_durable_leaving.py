"""Leaving a client while its store takes long: a cancellation closes the session."""

import asyncio
from typing import Any

import pytest

from aiomqtt import Broker, Client, DurableSession, SQLiteSession
from tests.client.test_durable_async import GatedStore
from tests.raw_scripts import within


def client_of(broker: Broker, store: GatedStore, reconnects: bool) -> Client:
    options: dict[str, Any] = {"session": DurableSession(store), "identifier": "me"}
    return Client(broker.host, broker.port, reconnect=reconnects, **options)


async def is_cancelled(task: asyncio.Task[None]) -> None:
    """The first cancellation may end a step before."""
    for _ in range(2):
        await asyncio.sleep(0.05)
        task.cancel()
    await asyncio.wait((task,), timeout=5)
    assert task.cancelled()


@pytest.mark.parametrize("reconnects", [False, True], ids=["once", "reconnects"])
async def test_leaving_that_is_cancelled_while_a_group_is_stored(reconnects):
    store = GatedStore()
    async with Broker(port=0) as broker:
        client = client_of(broker, store, reconnects)

        async def run() -> None:
            async with client:
                store.gate.clear()
                client.publish_nowait("a", "1", 1)

        await is_cancelled(asyncio.create_task(run()))
        store.gate.set()
        # Another client can have it, and this one again.
        for one in (client_of(broker, store, reconnects), client):
            async with one:
                await within(one.publish("a", "2", 1))


@pytest.mark.parametrize("reconnects", [False, True], ids=["once", "reconnects"])
async def test_entering_that_is_cancelled_while_a_group_is_stored(reconnects):
    store = GatedStore()
    async with Broker(port=0) as broker:
        client = client_of(broker, store, reconnects)

        async def run() -> None:
            async with client:
                raise AssertionError

        store.gate.clear()
        await is_cancelled(asyncio.create_task(run()))
        store.gate.set()
        async with client:
            await within(client.publish("a", "2", 1))


async def test_leaving_that_is_cancelled_while_a_transaction_goes_on(tmp_path):
    session = SQLiteSession(tmp_path / "session.db")
    async with Broker(port=0) as broker:
        client = Client(broker.host, broker.port, identifier="me", session=session)

        async def run() -> None:
            async with client:
                tx = session.transaction(timeout=None)
                await tx.__aenter__()
                client.publish_nowait("a", "1", 1)

        await is_cancelled(asyncio.create_task(run()))
        async with client:
            await within(client.publish("a", "2", 1))
