"""A task is cancelled at each point at which it waits, in both ways."""

import asyncio

import pytest

from tests.campaign.points import VARIANTS, CancelledAt, Point


def test_points_are_enumerated():
    first = [Point.decode(at) for at in range(2 * VARIANTS)]
    assert first[0] == (1, False, False)
    assert first[-1] == (2, True, True)
    assert len({*first}) == 2 * VARIANTS


async def cancel_at(number: int, *, is_done: bool) -> list[str]:
    """Return what happened in a coroutine that waits twice and then for nothing."""
    happened: list[str] = []
    loop = asyncio.get_running_loop()
    first, second = loop.create_future(), loop.create_future()

    async def wait() -> None:
        try:
            happened.append(await first)
            await asyncio.sleep(0)
            happened.append("slept")
            happened.append(await second)
        finally:
            happened.append("end")

    async def run() -> None:
        point = Point(number, is_done, False)
        await CancelledAt(wait(), point, lambda: happened.append("reached"))

    task = asyncio.create_task(run())
    for _ in range(3):
        await asyncio.sleep(0)
    for future in (first, second):
        if not future.done():
            future.set_result("done")
        for _ in range(5):
            await asyncio.sleep(0)
    await asyncio.wait((task,))
    happened.append("cancelled" if task.cancelled() else "over")
    return happened


@pytest.mark.parametrize(
    ("number", "is_done", "expected"),
    [
        (1, False, ["reached", "end", "cancelled"]),
        (1, True, ["reached", "end", "cancelled"]),
        (2, False, ["done", "reached", "end", "cancelled"]),
        (3, False, ["done", "slept", "reached", "end", "cancelled"]),
        (3, True, ["done", "slept", "reached", "end", "cancelled"]),
        (4, True, ["done", "slept", "done", "end", "over"]),
    ],
)
async def test_the_task_ends_at_that_point(number, is_done, expected):
    assert await cancel_at(number, is_done=is_done) == expected


async def test_what_was_done_is_done_when_the_cancellation_comes():
    future = asyncio.get_running_loop().create_future()
    was_done: list[bool] = []

    async def wait() -> None:
        try:
            await future
        except asyncio.CancelledError:
            was_done.append(future.done() and not future.cancelled())
            raise

    async def run() -> None:
        await CancelledAt(wait(), Point(1, True, False), lambda: None)

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    future.set_result(None)
    await asyncio.wait((task,))
    assert task.cancelled()
    assert was_done == [True]
