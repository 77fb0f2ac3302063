"""How long to wait before the next attempt to connect: rules without a clock."""

from collections.abc import Callable

from .causes import Action
from .reconnect import Reconnect


class Backoff:
    """The delays of one client: exponential, with full jitter.

    Args:
        reconnect: The bounds.
        random: Returns a random number from 0 up to 1, as `random.random`.
    """

    def __init__(self, reconnect: Reconnect, random: Callable[[], float]) -> None:
        self._reconnect = reconnect
        self._random = random
        # Valid until a connection was stable: the bound of the next delay, in seconds,
        # and whether there was a delay or a redirection.
        self._bound = float(reconnect.min_delay)
        self._has_begun = False

    def next_delay(self, action: Action) -> float:
        """Return how many seconds to wait before the next attempt.

        Args:
            action: Why there is one. `REDIRECT` leads to another server at once, but
                only once: servers may send a client back and forth.
        """
        reconnect = self._reconnect
        if action is Action.REDIRECT and not self._has_begun:
            self._has_begun = True
            return 0.0
        self._has_begun = True
        if action is Action.SLOW:
            self._bound = float(reconnect.max_delay)
        bound = self._bound
        self._bound = min(reconnect.max_delay, bound * reconnect.multiplier)
        return self._random() * bound

    def on_stable(self) -> None:
        """Begin with the smallest delay again: a connection has lasted."""
        self._bound = float(self._reconnect.min_delay)
        self._has_begun = False
