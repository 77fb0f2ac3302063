"""The thread that makes blocking calls."""

import asyncio
import threading

import pytest

from aiomqtt.stores.sqlite.thread import CallThread


@pytest.fixture
def thread():
    thread = CallThread("calls")
    yield thread
    thread.stop()
    thread.join()


async def test_calls_are_made_one_after_the_other_in_another_thread(thread):
    names = []

    def call(number: int) -> int:
        names.append((number, threading.current_thread().name))
        return number

    assert await asyncio.gather(
        *(thread.call(lambda number=number: call(number)) for number in range(5))
    ) == [*range(5)]
    assert names == [(number, "calls") for number in range(5)]


async def test_the_error_of_a_call_is_raised_where_it_is_awaited(thread):
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await thread.call(fail)
    # The thread goes on.
    assert await thread.call(lambda: 1) == 1


async def test_a_call_whose_future_is_cancelled_is_made(thread, caplog):
    made: list[object] = []
    gate = threading.Event()
    thread.post(lambda: made.append(gate.wait(5)))
    first = thread.call(lambda: made.append("first"))
    second = thread.call(lambda: 1 / 0)
    first.cancel()
    second.cancel()
    gate.set()
    await thread.call(lambda: None)
    assert made == [True, "first"]
    await asyncio.sleep(0)
    assert not caplog.records


async def test_it_stops_after_the_calls_that_were_passed():
    thread = CallThread("calls")
    made = []
    thread.post(lambda: made.append(1))
    thread.stop()
    thread.join()
    assert made == [1]
    assert "calls" not in {one.name for one in threading.enumerate()}


def test_a_loop_that_was_closed_is_not_told():
    thread = CallThread("calls")
    gate = threading.Event()

    async def call() -> None:
        thread.call(gate.wait)

    asyncio.run(call())
    gate.set()
    thread.stop()
    thread.join()
