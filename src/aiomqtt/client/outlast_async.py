"""Waiting for what has to end although its caller is cancelled.

Like all coroutines that wait, these are not compiled.
"""

import asyncio
import math
from collections.abc import Coroutine
from typing import Any

from .arguments import check_timeout


def limit(timeout: float | None) -> asyncio.Timeout:
    """Return a limit for a block of the program, which has not begun.

    Args:
        timeout: How many seconds it may take; None or infinity: any time.

    Raises:
        ValueError: It is nan.
        TypeError: It is no number.
    """
    if timeout is None or check_timeout(timeout) == math.inf:
        return asyncio.timeout(None)
    return asyncio.timeout(timeout)


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
