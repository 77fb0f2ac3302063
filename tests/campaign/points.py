"""Cancels a task at one of the points at which a coroutine waits."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any, Final, NamedTuple

# How a point may be taken: see `Point`.
VARIANTS: Final = 4


class Point(NamedTuple):
    """A point at which a coroutine waits, and how it is cancelled there.

    Attributes:
        number: The number of the point, from 1.
        is_done: Whether the cancellation comes when that which it waits for is done,
            and the coroutine has not gone on yet; False: as soon as it waits.
        is_entered_again: Whether the same process enters the client again.
    """

    number: int
    is_done: bool
    is_entered_again: bool

    @classmethod
    def decode(cls, at: int) -> "Point":
        """Return a point of a number: those from 0 on are all points in order."""
        number, variant = divmod(at, VARIANTS)
        return cls(number + 1, variant >= 2, bool(variant % 2))


class CancelledAt:
    """Awaits a coroutine, and cancels the task at a point.

    Args:
        coroutine: The coroutine.
        point: Where.
        reached: Called when it has come so far.
    """

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, None],
        point: Point,
        reached: Callable[[], None],
    ) -> None:
        self._coroutine = coroutine
        self._point = point
        self._reached = reached

    def __await__(self) -> Generator[Any, Any, None]:
        """Pass on what the coroutine waits for, and what comes back."""
        go_on: Callable[[], Any] = partial(self._coroutine.send, None)
        count = 0
        while True:
            try:
                future = go_on()
            except StopIteration:
                return
            count += 1
            if count == self._point.number:
                self._reached()
                self._cancel(future)
            try:
                value = yield future
            except BaseException as error:  # noqa: BLE001 - it is passed on
                go_on = partial(self._coroutine.throw, error)
            else:
                go_on = partial(self._coroutine.send, value)

    def _cancel(self, future: "asyncio.Future[Any] | None") -> None:
        task = asyncio.current_task()
        assert task is not None
        cancel = task.cancel
        if future is None or not self._point.is_done:
            asyncio.get_running_loop().call_soon(cancel)
        else:
            # Before the task itself is told of it.
            future.add_done_callback(lambda _: cancel())
