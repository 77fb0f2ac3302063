"""How long a client may say nothing, and how long a packet may take to come."""

from typing import Final

# A client is looked after at least this often, in seconds; and while nothing is read,
# no more often than this.
CHECK_INTERVAL: Final = 30.0
PAUSED_CHECK_INTERVAL: Final = 0.25


class ClientTimeout:
    """The silence of one client, by the clock of `BrokerState.reading_time`.

    Attributes:
        seconds: How long the client may say nothing, in seconds; 0: for ever.
    """

    __slots__ = ("_heard", "_partial_since", "_partial_timeout", "seconds")

    def __init__(self, seconds: float, partial_timeout: float, time: float) -> None:
        """Begin with a connection.

        Args:
            seconds: How long the client may say nothing, in seconds; 0: for ever.
            partial_timeout: How long a packet may take to come, in seconds.
            time: The time.
        """
        self.seconds: float = seconds
        self._partial_timeout = partial_timeout
        self._heard = time
        # Since when a packet is coming; None: none is.
        self._partial_since: float | None = None

    def on_activity(self, time: float) -> None:
        """Take note that the client said something, or could not."""
        self._heard = time

    def note_partial(self, is_partial: bool, is_new: bool, time: float) -> None:
        """Take note of whether the beginning of a packet has come, and not its end."""
        if not is_partial:
            self._partial_since = None
        elif is_new or self._partial_since is None:
            self._partial_since = time

    def restart(self, time: float) -> None:
        """Take note that what the client says is not being read."""
        self._heard = time
        if self._partial_since is not None:
            self._partial_since = time

    def has_expired(self, time: float) -> bool:
        """Whether the client has said nothing for too long."""
        return self.seconds > 0 and time >= self._heard + self.seconds

    def is_packet_overdue(self, time: float) -> bool:
        """Whether a packet takes too long to come."""
        since = self._partial_since
        return since is not None and time >= since + self._partial_timeout

    def next_check(self, time: float, is_paused: bool) -> float:
        """Return in how many seconds to look again."""
        wait = min(CHECK_INTERVAL, self._partial_timeout)
        if self.seconds:
            left = self._heard + self.seconds - time
            wait = min(wait, max(PAUSED_CHECK_INTERVAL if is_paused else 0.0, left))
        return wait
