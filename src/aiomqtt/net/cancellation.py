"""Cancellation while the client awaits code of the program."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def tell_cancellations_apart() -> Iterator[None]:
    """Raise CancelledError exactly if the current task is cancelled in the block.

    Code of the program may catch the cancellation of its task, which may be a timeout
    of ours. And what it awaits may be cancelled, without its task.

    Raises:
        RuntimeError: What the block awaited was cancelled, and the task was not.
    """
    task = asyncio.current_task()
    assert task is not None
    # An earlier cancellation, which the program has caught, still counts.
    before = task.cancelling()
    try:
        yield
    except asyncio.CancelledError as error:
        if task.cancelling() == before:
            msg = "it was cancelled"
            raise RuntimeError(msg) from error
        raise
    finally:
        if task.cancelling() > before:
            raise asyncio.CancelledError


@contextlib.contextmanager
def interrupted_by(over: asyncio.Future[Any]) -> Iterator[None]:
    """Interrupt the block when a future is done, by a cancellation of its task.

    Raises:
        InterruptedError: The future was done before the block, and nobody else has
            cancelled the task.
    """
    task = asyncio.current_task()
    assert task is not None
    before = task.cancelling()
    is_inside = True
    is_interrupted = False

    def interrupt(_: object) -> None:
        nonlocal is_interrupted
        # The loop may have scheduled the call before the block ended.
        if is_inside:
            is_interrupted = True
            task.cancel()

    over.add_done_callback(interrupt)
    try:
        yield
    except asyncio.CancelledError:
        if is_interrupted and task.uncancel() == before:
            raise InterruptedError from None
        raise
    finally:
        is_inside = False
        over.remove_done_callback(interrupt)
