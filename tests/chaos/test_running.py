"""Tasks beside a block."""

import asyncio

import pytest

from tests.chaos.running import find_causes, running


async def fail(error):
    await asyncio.sleep(0)
    raise error


async def wait_forever():
    await asyncio.Event().wait()


async def test_tasks_end_with_the_block():
    async with running(wait_forever(), wait_forever()) as tasks:
        await asyncio.sleep(0)
        assert not any(task.done() for task in tasks)
    assert all(task.cancelled() for task in tasks)


async def test_a_task_that_fails_ends_the_block_and_the_others():
    error = AssertionError("wrong")
    with pytest.raises(ExceptionGroup) as raised:
        async with running(wait_forever(), fail(error)) as tasks:
            await asyncio.Event().wait()
    assert find_causes(raised.value) == [error]
    assert tasks[0].cancelled()


async def test_a_task_that_ends_does_not_end_the_block():
    async with running(asyncio.sleep(0)):
        await asyncio.sleep(0.01)


def test_the_causes_of_groups():
    errors = [OSError(1), ValueError(2), KeyError(3)]
    group = ExceptionGroup("", [errors[0], ExceptionGroup("", errors[1:])])
    assert find_causes(group) == errors
    assert find_causes(errors[0]) == [errors[0]]
