"""Cancellations of a task, and of what code of the program awaits."""

import asyncio

import pytest

from aiomqtt.net.cancellation import interrupted_by, tell_cancellations_apart
from tests.raw_scripts import turns, within


async def catching(event: asyncio.Event) -> None:
    """Wait, and go on when cancelled."""
    try:
        await event.wait()
    except asyncio.CancelledError:
        return


async def test_a_result_and_an_exception_pass():
    with tell_cancellations_apart():
        await asyncio.sleep(0)
    with pytest.raises(ValueError, match="mine"), tell_cancellations_apart():
        raise ValueError("mine")


@pytest.mark.parametrize("wait", [asyncio.Event.wait, catching])
async def test_a_cancellation_of_the_task(wait):
    async def call():
        with tell_cancellations_apart():
            await wait(asyncio.Event())

    task = asyncio.create_task(call())
    await turns()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(task)


@pytest.mark.parametrize("wait", [asyncio.Event.wait, catching])
async def test_a_timeout(wait):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            with tell_cancellations_apart():
                await wait(asyncio.Event())


async def test_what_is_awaited_is_cancelled():
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    with (
        pytest.raises(RuntimeError, match="it was cancelled") as caught,
        tell_cancellations_apart(),
    ):
        await future
    assert type(caught.value.__cause__) is asyncio.CancelledError


async def test_a_timeout_within_the_block_is_not_ours():
    with tell_cancellations_apart(), pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()


async def test_a_task_that_goes_on_after_a_cancellation():
    """As one that says goodbye through a client when it is cancelled."""
    done = asyncio.Event()

    async def call():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            with tell_cancellations_apart():
                await asyncio.sleep(0)
            done.set()
            raise

    task = asyncio.create_task(call())
    await turns()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(task)
    assert done.is_set()


# --- interrupted by a future ----------------------------------------------------------


@pytest.mark.parametrize("wait", [asyncio.Event.wait, catching])
async def test_a_future_interrupts_the_block(wait):
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, None)
    task = asyncio.current_task()
    assert task is not None
    with (
        pytest.raises(InterruptedError),
        interrupted_by(future),
        tell_cancellations_apart(),
    ):
        await wait(asyncio.Event())
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_a_future_that_is_done_later_interrupts_nothing():
    future = asyncio.get_running_loop().create_future()
    with interrupted_by(future):
        future.set_result(None)
    with interrupted_by(asyncio.get_running_loop().create_future()):
        await turns()
    await turns()


async def test_a_cancellation_counts_more_than_a_future():
    future = asyncio.get_running_loop().create_future()

    async def call():
        with interrupted_by(future), tell_cancellations_apart():
            await asyncio.Event().wait()

    task = asyncio.create_task(call())
    await turns()
    future.set_result(None)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(task)
    assert task.cancelled()


async def test_an_exception_passes_a_future():
    future = asyncio.get_running_loop().create_future()
    with pytest.raises(ValueError, match="mine"), interrupted_by(future):
        raise ValueError("mine")
