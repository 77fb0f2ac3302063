"""Receipts: how they are awaited. What they tell is in `test_receipt_async.py`."""

import asyncio
import inspect
from collections.abc import Awaitable

import pytest

from tests.peer import serve
from tests.raw_scripts import (
    acknowledging,
    new_client,
    polite,
    turns,
    within,
)


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_asyncio_takes_it_wherever_it_takes_an_awaitable(version, qos):
    async with serve(polite(version)) as server, new_client(server, version) as client:
        receipt = client.publish_nowait("a", "b", qos)
        assert inspect.isawaitable(receipt)
        assert isinstance(receipt, Awaitable)
        await asyncio.wait_for(receipt, 10)
        await within(asyncio.ensure_future(receipt))
        await within(asyncio.gather(receipt, receipt))


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_when_it_is_done_it_needs_no_client(version, qos):
    async with serve(polite(version)) as server:
        async with new_client(server, version) as client:
            receipt = client.publish_nowait("a", "b", qos)
            await within(receipt)
        await within(receipt)


async def test_a_call_that_no_longer_waits_leaves_nothing_behind():
    go_on = asyncio.Event()

    async with serve(acknowledging(go_on)) as server, new_client(server) as client:
        receipt = client.publish_nowait("a", "b", 1)
        waiters = receipt._waiters
        waiting = asyncio.ensure_future(receipt)
        await turns()
        assert len(waiters.waiters) == 1
        waiting.cancel()
        await turns()
        assert not waiters.waiters
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receipt, 0.01)
        assert not waiters.waiters
        go_on.set()
        await within(receipt)


async def test_another_event_loop_is_refused():
    go_on = asyncio.Event()

    async def wait(receipt):
        await receipt

    async with serve(acknowledging(go_on)) as server, new_client(server) as client:
        receipt = client.publish_nowait("a", "b", 1)
        with pytest.raises(RuntimeError, match="another event loop"):
            await asyncio.to_thread(asyncio.run, wait(receipt))
        go_on.set()
        await within(receipt)
