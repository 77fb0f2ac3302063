"""The timer of an engine: it follows a deadline that moves."""

import asyncio

import pytest

from aiomqtt.net.timer import Timer


@pytest.fixture
async def timer_and_calls():
    calls: list[float] = []
    loop = asyncio.get_running_loop()
    timer = Timer(loop, calls.append)
    yield timer, calls
    timer.stop()


async def until(loop: asyncio.AbstractEventLoop, when: float) -> None:
    """Return when the loop's calls of this time have been made."""
    reached = loop.create_future()
    loop.call_at(when, reached.set_result, None)
    await reached


async def test_it_calls_once_at_the_deadline_and_not_before(timer_and_calls):
    timer, calls = timer_and_calls
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 0.01
    timer.set(deadline)
    assert timer.deadline == deadline
    await until(loop, deadline + 0.01)
    assert len(calls) == 1
    assert calls[0] >= deadline
    assert timer.deadline is None


@pytest.mark.parametrize("moves", ["later", "away", "stopped"])
async def test_a_deadline_that_has_moved_does_not_count(timer_and_calls, moves):
    timer, calls = timer_and_calls
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 0.01
    timer.set(deadline)
    if moves == "stopped":
        timer.stop()
    else:
        timer.set(deadline + 60 if moves == "later" else None)
    assert timer.deadline == (deadline + 60 if moves == "later" else None)
    await until(loop, deadline + 0.01)
    assert calls == []


async def test_after_its_call_it_can_be_set_to_the_same_deadline(timer_and_calls):
    """The clock of the loop may be early: the engine has the same deadline again."""
    timer, calls = timer_and_calls
    loop = asyncio.get_running_loop()
    deadline = loop.time()
    for count in (1, 2):
        timer.set(deadline)
        await until(loop, deadline + 0.01)
        assert len(calls) == count


async def test_a_call_is_never_told_a_time_before_the_deadline(timer_and_calls):
    timer, calls = timer_and_calls
    deadline = asyncio.get_running_loop().time() + 60
    timer.set(deadline)
    timer._fire(deadline)
    assert calls == [deadline]
