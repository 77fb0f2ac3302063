"""Timeouts of many waiters, with one timer for each length of timeout."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

SWEEP: Final = 64


class Deadlines:
    """Expires the futures that are not done in time.

    Futures with the same timeout expire in the order in which they were added, so one
    timer, for the first of them, serves all. Most are done long before: these are
    dropped when others are added, so that few more are kept than are pending.

    Args:
        expire: Called with a future that is not done in time.
    """

    def __init__(self, expire: Callable[[asyncio.Future[Any]], None]) -> None:
        self._expire = expire
        self._loop = asyncio.get_running_loop()
        self._queues: dict[float, deque[tuple[float, asyncio.Future[Any]]]] = {}
        self._timers: dict[float, asyncio.TimerHandle] = {}
        # The length at which a queue is searched for futures that are done.
        self._sweep_at: dict[float, int] = {}

    def add(self, future: asyncio.Future[Any], timeout: float) -> None:
        """Expire a future after a timeout in seconds, unless it is done by then."""
        queue = self._queues.get(timeout)
        if queue is None:
            queue = self._queues[timeout] = deque()
            self._sweep_at[timeout] = SWEEP
        while queue and queue[0][1].done():
            queue.popleft()
        if len(queue) >= self._sweep_at[timeout]:
            pending = [item for item in queue if not item[1].done()]
            queue.clear()
            queue.extend(pending)
            self._sweep_at[timeout] = max(SWEEP, 2 * len(pending))
        deadline = self._loop.time() + timeout
        queue.append((deadline, future))
        if timeout not in self._timers:
            self._arm(timeout, deadline)

    def _arm(self, timeout: float, due: float) -> None:
        self._timers[timeout] = self._loop.call_at(due, self._run, timeout, due)

    def _run(self, timeout: float, due: float) -> None:
        del self._timers[timeout]
        queue = self._queues[timeout]
        # The loop may be early by the resolution of its clock.
        now = max(self._loop.time(), due)
        while queue and (queue[0][1].done() or queue[0][0] <= now):
            _, future = queue.popleft()
            if not future.done():
                self._expire(future)
        if queue:
            self._arm(timeout, queue[0][0])
        else:
            del self._queues[timeout]
            del self._sweep_at[timeout]

    def clear(self) -> None:
        """Forget all futures, and cancel the timers."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._queues.clear()
        self._sweep_at.clear()
