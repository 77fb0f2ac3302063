"""The one timer of an engine: set to its deadline, which moves with each call."""

import asyncio
from collections.abc import Callable
from typing import Final


class Timer:
    """Calls at a deadline that moves.

    Args:
        loop: The event loop.
        callback: Called at the deadline, with the time.

    Attributes:
        deadline: The time by the clock of the loop that it is set to, or None.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, callback: Callable[[float], None]
    ) -> None:
        # Valid for the connection.
        self._loop: Final = loop
        self._callback: Final = callback
        self._handle: asyncio.TimerHandle | None = None
        self.deadline: float | None = None

    def set(self, deadline: float | None) -> None:
        """Move the deadline; None: there is none."""
        if deadline is self.deadline:
            return
        self.stop()
        self.deadline = deadline
        if deadline is not None:
            self._handle = self._loop.call_at(deadline, self._fire, deadline)

    def stop(self) -> None:
        """Remove the deadline."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = self.deadline = None

    def _fire(self, deadline: float) -> None:
        self._handle = self.deadline = None
        # The loop may be early by the resolution of its clock.
        self._callback(max(deadline, self._loop.time()))
