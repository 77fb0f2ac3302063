"""The time that publishers wait for a slow subscriber: at most one second in ten."""

from collections import deque
from typing import Final

# The allowance, and the period to which it applies, in seconds.
SLOW_SUBSCRIBER_WAIT: Final = 1.0
SLOW_SUBSCRIBER_WINDOW: Final = 10.0
# A wait shorter than this, in seconds, is not counted: the client keeps reading, and
# others publish as fast as it reads.
NEGLIGIBLE_WAIT: Final = 0.05


class WaitAllowance:
    """Counts how long others have waited for one client in the last seconds."""

    __slots__ = ("_spent", "_waits")

    def __init__(self) -> None:
        # The end and the length of each wait; the total length.
        self._waits: deque[tuple[float, float]] = deque()
        self._spent = 0.0

    def remaining(self, now: float) -> float:
        """Return how long others may wait from now on, in seconds."""
        waits = self._waits
        while waits and waits[0][0] <= now - SLOW_SUBSCRIBER_WINDOW:
            self._spent -= waits.popleft()[1]
        return SLOW_SUBSCRIBER_WAIT - self._spent if waits else SLOW_SUBSCRIBER_WAIT

    def spend(self, since: float, now: float) -> None:
        """Record a wait."""
        seconds = now - since
        if seconds > NEGLIGIBLE_WAIT:
            if not self._waits:
                self._spent = 0.0
            self._waits.append((now, seconds))
            self._spent += seconds
