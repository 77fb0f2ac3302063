"""How long those who publish to a slow client wait for it: a second in ten, no more."""

from collections import deque
from typing import Final

# So many seconds, in so many.
SLOW_SUBSCRIBER_WAIT: Final = 1.0
SLOW_SUBSCRIBER_WINDOW: Final = 10.0
# A wait that ends as soon as this is not counted: the client keeps reading, and others
# publish as fast as it reads.
NEGLIGIBLE_WAIT: Final = 0.05


class WaitAllowance:
    """What others have waited for one client, in the last seconds."""

    __slots__ = ("_spent", "_waits")

    def __init__(self) -> None:
        """Start as if nobody had waited."""
        # When each wait ended, and how long it was; and how long all of them were.
        self._waits: deque[tuple[float, float]] = deque()
        self._spent = 0.0

    def remaining(self, now: float) -> float:
        """Return for how many seconds others may wait from now on."""
        waits = self._waits
        while waits and waits[0][0] <= now - SLOW_SUBSCRIBER_WINDOW:
            self._spent -= waits.popleft()[1]
        return SLOW_SUBSCRIBER_WAIT - self._spent if waits else SLOW_SUBSCRIBER_WAIT

    def spend(self, since: float, now: float) -> None:
        """Take note of a wait."""
        seconds = now - since
        if seconds > NEGLIGIBLE_WAIT:
            if not self._waits:
                self._spent = 0.0
            self._waits.append((now, seconds))
            self._spent += seconds
