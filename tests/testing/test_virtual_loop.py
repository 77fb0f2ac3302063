"""The event loop of a simulation: its time, its order, and what it refuses."""

import asyncio
import concurrent.futures
import contextvars
import math
import threading
import time

import pytest

from aiomqtt.testing import virtual_loop
from aiomqtt.testing.virtual_loop import ABSENT, VirtualLoop


def run(main, seed=0):
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed)) as runner:
        return runner.run(main())


# --- time -----------------------------------------------------------------------------


def test_time_starts_at_0_and_jumps_to_the_next_timer():
    async def main():
        loop = asyncio.get_running_loop()
        seen = [loop.time()]
        for seconds in (5, 1, 3):
            loop.call_later(seconds, lambda: seen.append(loop.time()))
        await asyncio.sleep(4)
        return [*seen, loop.time()]

    assert run(main) == [0, 1, 3, 4]


def test_turns_take_no_time():
    async def main():
        for _ in range(1000):
            await asyncio.sleep(0)
        return asyncio.get_running_loop().time()

    assert run(main) == 0


@pytest.mark.parametrize("start", [86_400, 3e7, 1e9])
def test_after_a_long_time_short_timers_are_still_run(start):
    async def main():
        loop = asyncio.get_running_loop()
        await asyncio.sleep(start)
        for _ in range(100):
            await asyncio.sleep(0.0001)
        return loop.time() - start

    # Less would mean that timers run early, by more than the resolution.
    assert run(main) == pytest.approx(0.01, abs=100 * virtual_loop.RESOLUTION)


def test_timeouts_are_those_of_asyncio():
    async def main():
        loop = asyncio.get_running_loop()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await asyncio.sleep(7200)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(loop.create_future(), 60)
        return loop.time()

    assert run(main) == 3660


def test_a_cancelled_timer_takes_no_time():
    async def main():
        loop = asyncio.get_running_loop()
        for _ in range(300):  # so many that asyncio removes them from its heap
            loop.call_later(1000, pytest.fail).cancel()
        await asyncio.sleep(1)
        return loop.time()

    assert run(main) == 1


# --- order ----------------------------------------------------------------------------


def order(seed, count=6):
    """The order in which some tasks run, three times."""

    async def main():
        seen = []

        async def work(name):
            for _ in range(3):
                seen.append(name)
                await asyncio.sleep(0)

        await asyncio.gather(*(work(name) for name in range(count)))
        return seen

    return run(main, seed)


def test_the_seed_determines_the_order_of_tasks():
    orders = [tuple(order(seed)) for seed in range(20)]
    assert orders == [tuple(order(seed)) for seed in range(20)]
    assert len(set(orders)) == 20
    for seen in orders:
        # Every task runs once in each turn.
        assert [sorted(seen[n : n + 6]) for n in (0, 6, 12)] == [list(range(6))] * 3


def test_any_of_the_tasks_may_be_first():
    assert {order(seed)[0] for seed in range(100)} == set(range(6))


def test_tasks_that_a_future_wakes_are_ordered_too():
    def first(seed):
        async def main():
            event, seen = asyncio.Event(), []

            async def work(name):
                await event.wait()
                seen.append(name)

            async with asyncio.TaskGroup() as group:
                for name in range(3):
                    group.create_task(work(name))
                await asyncio.sleep(1)
                event.set()
            return tuple(seen)

        return run(main, seed)

    assert len({first(seed) for seed in range(50)}) == 6


@pytest.mark.parametrize("seed", range(10))
def test_callbacks_stay_in_order_and_no_task_moves_across_one(seed):
    async def main():
        loop, seen = asyncio.get_running_loop(), []

        async def work(name):
            seen.append(name)

        tasks = []
        for name in range(3):
            tasks += [loop.create_task(work((name, "task"))) for _ in range(3)]
            loop.call_soon(seen.append, (name, "callback"))
            loop.call_soon(seen.append, (name, "next callback"))
        await asyncio.gather(*tasks)
        return seen

    assert run(main, seed) == [
        item
        for name in range(3)
        for item in [*[(name, "task")] * 3, (name, "callback"), (name, "next callback")]
    ]


# --- what can't go on -----------------------------------------------------------------


async def wait_for_nothing():
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("when", [None, math.inf])
def test_tasks_that_wait_forever_are_an_error(when):
    async def main():
        loop = asyncio.get_running_loop()
        if when is not None:
            loop.call_at(when, print)
        task = asyncio.create_task(wait_for_nothing(), name="worker")
        await task

    with pytest.raises(RuntimeError, match="The simulation stands still") as caught:
        run(main)
    line = wait_for_nothing.__code__.co_firstlineno + 1
    assert f"worker: {__file__}, line {line}, in wait_for_nothing" in str(caught.value)
    assert "in main" in str(caught.value)


def test_tasks_that_wait_without_time_are_an_error(monkeypatch):
    monkeypatch.setattr(virtual_loop, "MAXIMUM_TURNS", 1000)

    async def main():
        loop = asyncio.get_running_loop()
        while loop.time() < 1:  # noqa: ASYNC110
            await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="in which no time passed") as caught:
        run(main)
    assert "in main" in str(caught.value)


def test_turns_between_which_time_passes_are_no_error(monkeypatch):
    monkeypatch.setattr(virtual_loop, "MAXIMUM_TURNS", 10)

    async def main():
        for _ in range(100):
            await asyncio.sleep(0.001)
            await asyncio.sleep(0)

    run(main)


def test_tasks_are_cancelled_after_the_error():
    cleaned = []

    async def main():
        try:
            await wait_for_nothing()
        finally:
            await asyncio.sleep(10)
            cleaned.append(asyncio.get_running_loop().time())

    with pytest.raises(RuntimeError, match="stands still"):
        run(main)
    assert cleaned == [10]


# --- what is refused ------------------------------------------------------------------


def test_each_method_of_a_loop_is_there_or_refused():
    missing = {
        name
        for name, value in vars(asyncio.AbstractEventLoop).items()
        if callable(value) and getattr(VirtualLoop, name) is value
    }
    assert missing <= {"__init_subclass__"}


@pytest.mark.parametrize("name", ABSENT)
def test_what_needs_the_system_is_refused(name):
    assert name in vars(asyncio.AbstractEventLoop)

    async def main():
        with pytest.raises(RuntimeError, match=rf"no loop\.{name}\(\)"):
            getattr(asyncio.get_running_loop(), name)(1, 2, x=3)

    run(main)


def test_another_thread_is_refused():
    async def main():
        loop = asyncio.get_running_loop()

        def schedule():
            loop.call_soon_threadsafe(print)

        with pytest.raises(RuntimeError, match="Another thread"):
            await asyncio.to_thread(schedule)
        loop.call_soon_threadsafe(loop.create_future().set_result, None)

    run(main)


# --- functions that block -------------------------------------------------------------

variable = contextvars.ContextVar[str]("variable")


def test_a_function_runs_in_a_thread_and_takes_no_time():
    def function(value):
        time.sleep(0.001)
        return value, variable.get(), threading.get_ident()

    async def main():
        variable.set("x")
        loop = asyncio.get_running_loop()
        loop.call_later(1, pytest.fail)
        results = [await asyncio.to_thread(function, number) for number in range(3)]
        assert loop.time() == 0
        return results

    results = run(main)
    assert [(value, text) for value, text, _ in results] == [(n, "x") for n in range(3)]
    assert threading.get_ident() not in {thread for *_, thread in results}


def test_a_function_that_raises():
    async def main():
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 / 0)

    run(main)


def test_an_executor_of_the_program():
    async def main():
        with concurrent.futures.ThreadPoolExecutor() as executor:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(executor, divmod, 7, 3)

    assert run(main) == (2, 1)


def test_closing_without_running_ends_the_thread():
    loop = VirtualLoop(0)
    assert loop.run_until_complete(asyncio.wait_for(_in_thread(), 1)) == 1
    loop.close()
    assert loop.is_closed()


async def _in_thread():
    return await asyncio.to_thread(lambda: 1)
