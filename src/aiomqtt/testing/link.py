"""One direction of a simulated network: when bytes arrive; without I/O or a clock."""

import random
from typing import Final

from .network_conditions import NetworkConditions
from .sender import CLIENT, Sender

# What a slow network delivers at once: the payload of a packet of Ethernet, in bytes.
SEGMENT: Final = 1460
# A fast network delivers more at once, as there is no timer for each packet: the bytes
# of this time, in seconds, up to this size.
PIECE_DURATION: Final = 0.01
LARGEST_PIECE: Final = 64 * 1024
# The maximum number of bytes on their way, as the window of TCP in common systems.
LARGEST_WINDOW: Final = 4 * 1024 * 1024


class Link:
    """One direction of a network with given conditions.

    Args:
        conditions: The conditions.
        sender: The side whose bytes it carries.
        seed: Determines jitter and stalls. Both directions of a connection have the
            same seed: they stall at the same times.
        now: The time at which the connection begins.

    Attributes:
        piece: How many bytes arrive at once at most.
        window: How many bytes are on their way at most, beyond those that wait.
    """

    def __init__(
        self, conditions: NetworkConditions, sender: Sender, seed: str, now: float
    ) -> None:
        rate = conditions.upload if sender is CLIENT else conditions.download
        travel = conditions.latency + conditions.jitter
        self.piece: int = LARGEST_PIECE
        self.window: int = LARGEST_WINDOW if travel else 0
        if rate is not None:
            self.piece = int(max(SEGMENT, min(LARGEST_PIECE, rate * PIECE_DURATION)))
            self.window = int(min(LARGEST_WINDOW, rate * travel))
        self._rate = rate
        self._conditions = conditions
        self._jitter = random.Random(f"{seed}, jitter of {sender.value}")
        self._stalls = Stalls(conditions, random.Random(f"{seed}, stalls"), now)
        # When everything before was sent; when the last of it arrives.
        self._free = now
        self._last = now

    def arrival(self, size: int, now: float) -> float:
        """Return when bytes arrive that were given to the network now.

        They never arrive before those of an earlier call.
        """
        sent = self._stalls.next_time(max(now, self._free))
        if self._rate is not None:
            sent += size / self._rate
        self._free = sent
        travel = (
            self._conditions.latency + self._conditions.jitter * self._jitter.random()
        )
        self._last = max(self._last, sent + travel)
        return self._last


class Stalls:
    """The stalls of a connection: periods in which the network sends nothing."""

    def __init__(
        self, conditions: NetworkConditions, generator: random.Random, now: float
    ) -> None:
        self._interval = conditions.stall_interval
        self._duration = conditions.stall_duration
        self._random = generator
        self._begin = self._end = now
        if self._interval is not None:
            self._plan(self._interval)

    def next_time(self, when: float) -> float:
        """Return the end of the stall at a time; the time itself if there is none.

        The times of successive calls must not decrease.
        """
        if self._interval is None:
            return when
        while when >= self._end:
            self._plan(self._interval)
        return self._end if when >= self._begin else when

    def _plan(self, interval: float) -> None:
        self._begin = self._end + self._random.expovariate(1 / interval)
        self._end = self._begin + self._duration
