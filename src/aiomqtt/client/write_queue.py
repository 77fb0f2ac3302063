"""Those who wait until the transport takes more: first come, first served."""

import asyncio
from typing import Final

from .waiters import Waiter, resolve


class WriteQueue:
    """Publishers that wait for room to write.

    Args:
        loop: The event loop.
        portion: About how many bytes may be written in one turn of the loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, portion: int) -> None:
        """Begin with room for all."""
        self._loop: Final = loop
        self._portion = portion
        # Whether the transport's buffer is above its high-water mark.
        self.is_paused: bool = False
        # In order, with about how many bytes they will write.
        self.waiters: dict[Waiter, int] = {}
        self._is_admitting = False

    def add(self, size: int) -> Waiter:
        """Return a future for room to write; given up, it goes to `remove`.

        Args:
            size: About how many bytes the caller will write.
        """
        waiter: Waiter = self._loop.create_future()
        self.waiters[waiter] = size
        return waiter

    def remove(self, waiter: Waiter) -> None:
        """Take back what `add` returned: nobody waits for it any more."""
        self.waiters.pop(waiter, None)

    def pause(self) -> None:
        """Admit nobody until `resume`."""
        self.is_paused = True

    def resume(self) -> None:
        """Admit those who wait, from the next turn of the loop on."""
        self.is_paused = False
        self._admit_soon()

    def admit(self) -> None:
        """Let those go on who have waited longest, as many as fill a portion."""
        if not self._is_admitting:
            self._admit()

    def _admit_soon(self) -> None:
        """Have `_admit` run in the next turn of the loop, just once."""
        if self.waiters and not self.is_paused and not self._is_admitting:
            self._is_admitting = True
            self._loop.call_soon(self._admit)

    def _admit(self) -> None:
        self._is_admitting = False
        room = self._portion
        for waiter, size in [*self.waiters.items()]:
            if self.is_paused or room <= 0:
                break
            room -= size
            del self.waiters[waiter]
            resolve(waiter, None)
        # They write in the next turn of the loop; then it is known how much.
        self._admit_soon()
