"""Tasks beside a block: none outlives it, and one that fails ends it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any


@contextlib.asynccontextmanager
async def running(
    *coroutines: Coroutine[Any, Any, Any],
) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """Run coroutines until the block ends; then cancel them.

    Raises:
        ExceptionGroup: One of them has failed, which ended the block; or the block has.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(coroutine) for coroutine in coroutines]
        try:
            yield tasks
        finally:
            for task in tasks:
                task.cancel()


def find_causes(error: BaseException) -> list[BaseException]:
    """Return the exceptions in a group, and in its groups; of another one itself."""
    if isinstance(error, BaseExceptionGroup):
        return [cause for part in error.exceptions for cause in find_causes(part)]
    return [error]
