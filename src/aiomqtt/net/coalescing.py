"""Decides when packets leave: few writes, but no delay for a lone packet."""

import asyncio
from collections.abc import Callable
from typing import Final

# Packets gather until the end of a turn of the event loop, or up to this many bytes.
GATHERING_LIMIT: Final = 64 * 1024
# A packet counts as so many bytes more than it has: however small it is, it takes time,
# and a turn of many small packets must not keep other tasks waiting.
PACKET_COST: Final = 64
# asyncio does not say when a turn of its loop begins. A packet within this many seconds
# of another one, with nothing received in between, counts as part of the same turn.
# After this time and GATHERING_LIMIT bytes, publishers let other tasks run.
COALESCING_WINDOW: Final = 0.001


class Coalescer:
    """Sends the first packet of a turn at once, and the following ones together.

    The packets themselves stay in the engine; this class counts their bytes.

    Args:
        loop: The event loop.
        end_turn: Called at the end of a turn in which packets have gathered; it has
            to call `end_turn` here.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, end_turn: Callable[[], None]
    ) -> None:
        # Valid for the connection.
        self._loop: Final = loop
        self._call_at_end: Final = end_turn
        # Valid for one turn of the loop: its end for further packets; whether packets
        # are gathering, and how many bytes so far.
        self._turn_ends = 0.0
        self.is_gathering: bool = False
        self._gathered = 0
        # Whether the turn has taken so long that other tasks should run.
        self.is_turn_full: bool = False

    def add(self, size: int) -> bool:
        """Count a packet; return whether the gathered packets leave now.

        Args:
            size: The approximate number of bytes.
        """
        if not self.is_gathering:
            now = self._loop.time()
            if now >= self._turn_ends:
                self._turn_ends = now + COALESCING_WINDOW
                return True
            self.hold()
        self._gathered += size + PACKET_COST
        if self._gathered < GATHERING_LIMIT:
            return False
        self._gathered = 0
        self.is_turn_full = self._loop.time() >= self._turn_ends
        return True

    def hold(self) -> None:
        """Gather all packets from the next one on, until the turn ends."""
        if not self.is_gathering:
            self.is_gathering = True
            self._gathered = 0
            self._turn_ends = self._loop.time() + COALESCING_WINDOW
            self._loop.call_soon(self._call_at_end)

    def reset(self) -> None:
        """Count from zero: the gathered packets leave now."""
        self._gathered = 0

    def start_turn(self) -> None:
        """Begin a new turn, as bytes were received: the next packet leaves at once."""
        self._turn_ends = 0.0

    def end_turn(self) -> None:
        """End the turn; the caller sends the gathered packets."""
        self.is_gathering = False
        self.is_turn_full = False
        self._turn_ends = 0.0
