"""Tracks whether the broker reads: its PINGREQ and its acknowledgements."""

import asyncio

from aiomqtt.protocol.engine import Engine

from .unread import ACKS_UNREAD, UnreadAcks


class Progress:
    """Counts the bytes that were written to a transport, and that have left it."""

    def __init__(self) -> None:
        # Valid for the connection.
        self._written = 0
        self._unread = UnreadAcks()
        # The position of the end of a PINGREQ that waits to leave the transport (0:
        # none does), and the number of bytes that had left at the last check.
        self._pingreq_end = 0
        self._left = 0

    def add(self, size: int) -> None:
        """Count written bytes."""
        self._written += size

    def check_acks(
        self, engine: Engine, transport: asyncio.Transport, pieces: list[bytes]
    ) -> bool:
        """End the connection if the broker reads none of its acknowledgements.

        Args:
            engine: The engine.
            transport: Its transport, whose buffer is above its high-water mark.
            pieces: The bytes that were written last.

        Returns:
            Whether it did.
        """
        left = self._written - transport.get_write_buffer_size()
        if not self._unread.are_too_many(pieces, self._written, left):
            return False
        engine.fail(*ACKS_UNREAD)
        return True

    def tick(
        self, engine: Engine, transport: asyncio.Transport | None, now: float
    ) -> None:
        """Tell the engine about a PINGREQ that waits: whether bytes before it left."""
        if not self._pingreq_end or transport is None:
            return
        left = self._written - transport.get_write_buffer_size()
        if left >= self._pingreq_end:
            self._pingreq_end = 0
            engine.keep_alive.on_left(now)
        else:
            engine.keep_alive.on_waiting(left > self._left, now)
            self._left = left

    def on_pingreq(self) -> None:
        """Note that the last written packet is a PINGREQ."""
        self._pingreq_end = self._written
