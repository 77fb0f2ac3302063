"""Waiting for what has to end although its caller is cancelled.

Like all coroutines that wait, these are not compiled.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def outlast(future: "asyncio.Future[Any]") -> asyncio.CancelledError | None:
    """Wait until a future is done, also if this task is cancelled meanwhile.

    Args:
        future: The future; it is not cancelled.

    Returns:
        The cancellation, which the caller has to raise; ``None``: there was none.
    """
    cancellation: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait((future,))
        except asyncio.CancelledError as error:
            cancellation = error
    return cancellation


async def complete(
    coroutine: Coroutine[Any, Any, None],
) -> asyncio.CancelledError | None:
    """Run a coroutine to its end, also if this task is cancelled meanwhile.

    Args:
        coroutine: The coroutine; it is not cancelled.

    Returns:
        The cancellation, which the caller has to raise; ``None``: there was none.

    Raises:
        Exception: What the coroutine has raised. If this task was cancelled, too, that
            is the cause of its CancelledError.
    """
    task = asyncio.ensure_future(coroutine)
    cancellation = await outlast(task)
    failure = task.exception()
    if failure is not None and cancellation is not None:
        raise cancellation from failure
    if failure is not None:
        raise failure
    return cancellation
