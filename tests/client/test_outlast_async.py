"""Waiting for what has to end although its caller is cancelled."""

import asyncio

import pytest

from aiomqtt.client.outlast_async import complete, outlast


async def test_a_future_that_is_done_is_not_waited_for():
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_exception(KeyError())
    assert await outlast(future) is None
    assert isinstance(future.exception(), KeyError)


async def test_it_outlasts_any_number_of_cancellations():
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(outlast(future))
    for number in range(3):
        await asyncio.sleep(0)
        waiting.cancel(f"cancellation {number}")
    await asyncio.sleep(0)
    assert not waiting.done()
    assert not future.done()
    future.set_result(5)
    cancellation = await waiting
    assert isinstance(cancellation, asyncio.CancelledError)
    with pytest.raises(asyncio.CancelledError, match="cancellation 2"):
        raise cancellation


async def test_a_coroutine_runs_to_its_end():
    done: list[int] = []

    async def work(number: int) -> None:
        await asyncio.sleep(0.01)
        done.append(number)
        if number == 2:
            raise KeyError(number)

    assert await complete(work(1)) is None
    with pytest.raises(KeyError):
        await complete(work(2))
    task = asyncio.create_task(complete(work(3)))
    await asyncio.sleep(0)
    task.cancel()
    assert isinstance(await task, asyncio.CancelledError)
    task = asyncio.create_task(complete(work(2)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as raised:
        await task
    assert isinstance(raised.value.__cause__, KeyError)
    assert done == [1, 2, 3, 2]
