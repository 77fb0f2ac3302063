"""The ping clock (§3.1.2.10): when to send PINGREQ, and when to give up."""

from typing import Final

# These are fractions of the keep alive. PINGREQ is sent at this interval, whatever else
# is sent or received: traffic in one direction says nothing about the other.
PING_INTERVAL: Final = 0.9
# After a PINGREQ has left, no byte may come for this long; then, after a last look, the
# connection is given up. The sum of all three is below 1.5 times the keep alive, the
# time that a broker waits, too.
SILENCE: Final = 0.45
# The length of the last look, in which bytes that came in the meantime are read. If the
# program blocks the event loop for longer than that, another one follows.
LAST_LOOK: Final = 0.05
# The interval at which to check whether a waiting PINGREQ has been written.
LEAVING_LOOK: Final = 0.02
# A peer that sends bytes but does not answer the PINGREQ, or reads bytes but has not
# yet reached it, is given up after this many keep alives.
MAXIMUM_WAIT: Final = 10


class KeepAlive:
    """The ping clock.

    While a PINGREQ is unanswered, the peer must show signs of life: bytes arrive or,
    as long as the PINGREQ waits to be written, bytes ahead of it leave.

    Args:
        keep_alive: In seconds; 0 turns the clock off.
        now: The time.

    Attributes:
        round_trip: The time from the last answered PINGREQ to its PINGRESP, in seconds;
            None: none was answered.
        due: When the next action is due; None: never. It stays the same object until it
            changes, so an identity check is enough to see a change.
    """

    def __init__(self, keep_alive: int, now: float) -> None:
        self._keep_alive = float(keep_alive)
        # When to send the next PINGREQ; None: never.
        self.next_ping: float | None = None
        if keep_alive:
            self.next_ping = now + keep_alive * PING_INTERVAL
        # When to check whether to give up the connection; None: no PINGREQ is
        # unanswered.
        self.deadline: float | None = None
        # Valid while a PINGREQ is unanswered: when the peer last showed a sign of life,
        # when to give up in spite of them, and whether this is the last look.
        self._life = 0.0
        self._limit = 0.0
        self._is_last_look = False
        # When the PINGREQ that is unanswered was written, or left.
        self._asked = 0.0
        self.round_trip: float | None = None
        # When to check whether the PINGREQ has left; None: it has, or there is none.
        self._next_look: float | None = None
        self.due: float | None = self.next_ping

    def on_pingreq(self, now: float) -> None:
        """Record that a PINGREQ is being sent."""
        self.next_ping = now + self._keep_alive * PING_INTERVAL
        if self.deadline is None:
            self._start_waiting(now)
        self._find_due()

    @property
    def is_awaited(self) -> bool:
        """Whether a PINGREQ has not been answered yet."""
        return self.deadline is not None

    def on_waiting(self, has_drained: bool, now: float) -> None:
        """Record that the PINGREQ waits to be written.

        Args:
            has_drained: Whether bytes ahead of it have left since the last call.
            now: The time.
        """
        if self.deadline is None:
            return
        self._next_look = now + self._keep_alive * LEAVING_LOOK
        if has_drained:
            self._life = now
        self._find_due()

    def on_left(self, now: float) -> None:
        """Record that a PINGREQ that waited to be written has left."""
        if self.deadline is not None:
            self._start_waiting(now)

    def _start_waiting(self, now: float) -> None:
        self._next_look = None
        self._life = self._asked = now
        self._limit = now + self._keep_alive * MAXIMUM_WAIT
        self._is_last_look = False
        self.deadline = now + self._keep_alive * SILENCE
        self._find_due()

    def on_pingresp(self, now: float) -> None:
        """Record that a PINGRESP came."""
        if self.deadline is not None:
            self.round_trip = now - self._asked
        self.deadline = None
        self._next_look = None
        self._find_due()

    def is_over(self, now: float, received: float) -> bool:
        """Return whether to give up the connection; otherwise go on waiting.

        Args:
            now: The time.
            received: When bytes last came.
        """
        if self.deadline is None:
            return False
        self._life = max(self._life, received)
        silence = self._keep_alive * SILENCE
        due = min(self._life + silence, self._limit)
        if now < due:
            self.deadline = due
            self._is_last_look = False
            self._find_due()
            return False
        if now < self.deadline:
            return False
        look = self._keep_alive * LAST_LOOK
        is_late = now > self.deadline + look and now < self._limit + look
        if not self._is_last_look or is_late:
            self._is_last_look = True
            self.deadline = now + look
            self._find_due()
            return False
        return True

    def _find_due(self) -> None:
        due = self.next_ping
        if due is not None:
            if self.deadline is not None:
                due = min(due, self.deadline)
            if self._next_look is not None:
                due = min(due, self._next_look)
        self.due = due
