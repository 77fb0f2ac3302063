"""The timeouts of a client: for silence, and for an incomplete packet."""

from typing import Final

# The longest time between two checks of a client, in seconds; while nothing is read,
# also the shortest.
CHECK_INTERVAL: Final = 30.0
PAUSED_CHECK_INTERVAL: Final = 0.25


class ClientTimeout:
    """The silence of one client, by the clock of `BrokerState.reading_time`.

    Attributes:
        seconds: How long the client may be silent, in seconds; 0: forever.
    """

    __slots__ = ("_heard", "_partial_since", "_partial_timeout", "seconds")

    def __init__(self, seconds: float, partial_timeout: float, time: float) -> None:
        """Begin with a connection.

        Args:
            seconds: How long the client may be silent, in seconds; 0: forever.
            partial_timeout: How long a packet may be incomplete, in seconds.
            time: The time.
        """
        self.seconds: float = seconds
        self._partial_timeout = partial_timeout
        self._heard = time
        # When the beginning of an incomplete packet came; None: there is none.
        self._partial_since: float | None = None

    def on_activity(self, time: float) -> None:
        """Record that the client sent bytes, or could not send any."""
        self._heard = time

    def note_partial(self, is_partial: bool, is_new: bool, time: float) -> None:
        """Record whether a packet is incomplete."""
        if not is_partial:
            self._partial_since = None
        elif is_new or self._partial_since is None:
            self._partial_since = time

    def restart(self, time: float) -> None:
        """Restart the time, as bytes of the client are not being read."""
        self._heard = time
        if self._partial_since is not None:
            self._partial_since = time

    def has_expired(self, time: float) -> bool:
        """Return whether the client has been silent for too long."""
        return self.seconds > 0 and time >= self._heard + self.seconds

    def is_packet_overdue(self, time: float) -> bool:
        """Return whether a packet has been incomplete for too long."""
        since = self._partial_since
        return since is not None and time >= since + self._partial_timeout

    def next_check(self, time: float, is_paused: bool) -> float:
        """Return the seconds until the next check."""
        wait = min(CHECK_INTERVAL, self._partial_timeout)
        if self.seconds:
            left = self._heard + self.seconds - time
            wait = min(wait, max(PAUSED_CHECK_INTERVAL if is_paused else 0.0, left))
        return wait
