"""The timers of the broker: a heap, so that one timer of the event loop is enough."""

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Final

# Up to this many cancelled timers stay in the heap until they are due.
SWEEP: Final = 64


class Timer:
    """An action that is due at a time, unless it is cancelled before.

    Timers of the same time are ordered by number.
    """

    __slots__ = ("action", "number", "when")

    def __init__(
        self, when: float, number: int, action: Callable[[float], None] | None
    ) -> None:
        self.when: float = when
        self.number: int = number
        self.action: Callable[[float], None] | None = action

    def __lt__(self, other: "Timer") -> bool:
        """Order by time, and then as they were made."""
        if self.when != other.when:
            return self.when < other.when
        return self.number < other.number


class Timers:
    """All timers."""

    def __init__(self) -> None:
        self._heap: list[Timer] = []
        self._made = 0
        self._cancelled = 0

    def __len__(self) -> int:
        """Return how many are to come."""
        return len(self._heap) - self._cancelled

    def add(self, when: float, action: Callable[[float], None]) -> Timer:
        """Call an action with the time, at `when` or soon after."""
        self._made += 1
        timer = Timer(when, self._made, action)
        heappush(self._heap, timer)
        return timer

    def cancel(self, timer: Timer | None) -> None:
        """Drop a timer, if it is still to come."""
        if timer is None or timer.action is None:
            return
        timer.action = None
        self._cancelled += 1
        if self._cancelled > SWEEP and self._cancelled > len(self._heap) // 2:
            self._heap = [timer for timer in self._heap if timer.action is not None]
            heapify(self._heap)
            self._cancelled = 0

    def deadline(self) -> float | None:
        """Return when to call `run` at the latest; None: there is no need to."""
        while self._heap and self._heap[0].action is None:
            heappop(self._heap)
            self._cancelled -= 1
        return self._heap[0].when if self._heap else None

    def run(self, now: float) -> None:
        """Do what is due."""
        while self._heap and self._heap[0].when <= now:
            timer = heappop(self._heap)
            action, timer.action = timer.action, None
            if action is None:
                self._cancelled -= 1
            else:
                action(now)
