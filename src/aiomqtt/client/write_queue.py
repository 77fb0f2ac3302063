"""The queue of publishers that wait until the transport has room."""

import asyncio
from typing import Final

from aiomqtt.net.coalescing import PACKET_COST

from .waiters import Waiter, resolve


class WriteQueue:
    """Admits waiting publishers in order, as the transport has room.

    Args:
        loop: The event loop.
        portion: The approximate number of bytes to write in one turn of the loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, portion: int) -> None:
        self._loop: Final = loop
        self._portion = portion
        # Whether the transport's buffer is above its high-water mark.
        self.is_paused: bool = False
        # In order, with the approximate number of bytes that each will write.
        self.waiters: dict[Waiter, int] = {}
        # The same, until `resume`: those that were admitted, but found no connection.
        self._returned: dict[Waiter, int] = {}
        self._is_admitting = False

    def __len__(self) -> int:
        """Return the number of publishers that wait."""
        return len(self.waiters) + len(self._returned)

    def add(self, size: int, is_back: bool = False) -> Waiter:
        """Return a future that resolves when there is room; `remove` gives it up.

        Args:
            size: About how many bytes the caller will write.
            is_back: Whether it was admitted, and the connection ended before it wrote:
                it comes before all that were not.
        """
        waiter: Waiter = self._loop.create_future()
        (self._returned if is_back else self.waiters)[waiter] = size
        return waiter

    def remove(self, waiter: Waiter) -> None:
        """Remove a waiter that `add` returned: its caller no longer waits."""
        self.waiters.pop(waiter, None)
        if self._returned:
            self._returned.pop(waiter, None)

    def all(self) -> list[Waiter]:
        """Return all waiters, in order."""
        return [*self._returned, *self.waiters]

    def pause(self) -> None:
        """Admit no publisher until `resume`."""
        self.is_paused = True

    def resume(self) -> None:
        """Admit the waiting publishers, from the next turn of the loop on."""
        self.is_paused = False
        if self._returned:
            self.waiters = {**self._returned, **self.waiters}
            self._returned = {}
        self._admit_soon()

    def admit(self) -> None:
        """Admit the publishers that have waited longest, up to one portion of bytes."""
        if not self._is_admitting:
            self._admit()

    def _admit_soon(self) -> None:
        """Schedule `_admit` for the next turn of the loop, unless it is scheduled."""
        if self.waiters and not self.is_paused and not self._is_admitting:
            self._is_admitting = True
            self._loop.call_soon(self._admit)

    def _admit(self) -> None:
        self._is_admitting = False
        room = self._portion
        for waiter, size in [*self.waiters.items()]:
            if self.is_paused or room <= 0:
                break
            room -= size + PACKET_COST
            del self.waiters[waiter]
            resolve(waiter, None)
        # They write in the next turn of the loop; only then is the amount known.
        self._admit_soon()
