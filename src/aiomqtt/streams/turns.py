"""The turns of iterators: other tasks run in between, and reading leaves them time."""

import asyncio
from collections.abc import Callable
from typing import Final

# An iterator that always finds a message and has run for so many seconds lets other
# tasks run. The limit is a time, not a number: an iterator limited to fewer messages
# than a read brings would leave a queue that only grows.
TURN: Final = 0.002
# If more messages or bytes wait when others come for an iterator that is about to run,
# reading pauses for so many of its turns, or until half of them are left. So one that
# keeps up never leaves more than two reads: uvloop would read 32 times in between. One
# that does not keep up may leave all that there is room for.
CATCH_UP: Final = 4096
CATCH_UP_BYTES: Final = 2 * 1024 * 1024
CATCH_UP_TURNS: Final = 4


class Turns:
    """The turns of the iterators of one queue.

    Args:
        clock: Returns the time in seconds, from any starting point.

    Attributes:
        is_due: Whether an iterator was woken or has let other tasks run, and has not
            gone on.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._own_clock: Final = clock
        # Valid until the client is entered again.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._clock = clock
        # When the turn ends; 0.0: none has begun.
        self._ends = 0.0
        self.is_due: bool = False
        # For how many turns reading waits.
        self._left = 0

    def expect(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin with an event loop."""
        self._loop = loop
        # In a simulation, real time must not decide which task runs.
        self._clock = getattr(loop, "turn_clock", self._own_clock)
        self.is_due = False
        self._left = 0

    # --- iterators ------------------------------------------------------------------

    def wait(self) -> None:
        """Note that an iterator waits for a message: others run meanwhile."""
        self._ends = 0.0

    def is_over(self) -> bool:
        """Whether other tasks should run now: then call `end`, and `begin` after it."""
        if not self._ends:
            # Others ran while it waited, or it has not begun to iterate before.
            self._ends = self._clock() + TURN
            return False
        return self._clock() >= self._ends

    def end(self) -> None:
        """Note that an iterator lets other tasks run."""
        self.is_due = True

    def begin(self) -> None:
        """Note that an iterator goes on after them."""
        self._ends = self._clock() + TURN

    # --- reading --------------------------------------------------------------------

    @property
    def must_catch_up(self) -> bool:
        """Whether reading waits for an iterator."""
        return self._left > 0

    def let_catch_up(self, count: int, size: int) -> None:
        """Let reading wait for an iterator that is due, if much waits.

        Args:
            count: How many messages wait.
            size: The memory that they take, in bytes.
        """
        if not self._left and (count > CATCH_UP or size > CATCH_UP_BYTES):
            self._left = CATCH_UP_TURNS

    def catch_up(self, count: int, size: int, read_on: Callable[[], None]) -> None:
        """Note that an iterator has one of the turns for which reading waits.

        Args:
            count: How many messages wait.
            size: The memory that they take, in bytes.
            read_on: Called when reading may go on.
        """
        self._left -= 1
        if count <= CATCH_UP // 2 and size <= CATCH_UP_BYTES // 2:
            self._left = 0
        if not self._left:
            read_on()
        elif self._loop is not None:
            # It may wait for something else, and not come back soon.
            self._loop.call_soon(self._read_on_unless_due, read_on)

    def _read_on_unless_due(self, read_on: Callable[[], None]) -> None:
        if self._left and not self.is_due:
            self._left = 0
            read_on()

    def reset(self) -> None:
        """Let reading go on whatever waits: there is a new connection, or room."""
        self._left = 0
