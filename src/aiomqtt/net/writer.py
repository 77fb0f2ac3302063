"""Writes the packets of one connection, counts them and follows how they leave."""

import asyncio

from aiomqtt.protocol.counts import Counts
from aiomqtt.protocol.engine import Engine

from .packet_log import PacketLog
from .progress import Progress
from .writing import LARGEST_WRITE, NO_LIMIT, write_pieces


class Writer:
    """Writes to the transport of a connection.

    Args:
        engine: The engine whose packets are written.
        log: Where they are logged.

    Attributes:
        transport: The transport; None before it is there, and when it is closed.
        is_paused: Whether the transport's buffer is above its high-water mark.
    """

    def __init__(self, engine: Engine, log: PacketLog) -> None:
        # All is valid for the connection.
        self._engine = engine
        self._counts: Counts = engine.counts
        self._log = log
        self.transport: asyncio.Transport | None = None
        self.is_paused: bool = False
        self._progress = Progress()
        # The largest number of bytes that the transport takes in one write.
        self._largest: int = LARGEST_WRITE

    def write(self, data: list[bytes]) -> bool:
        """Write packets, unless the transport is closed.

        Returns:
            Whether that ended the connection, as the broker does not read.
        """
        transport = self.transport
        if transport is None or transport.is_closing():
            return False
        size = write_pieces(transport, data, self._largest)
        if not size:
            # Most programs never need it.
            from .large_writes import with_parts

            transport = self.transport = with_parts(transport, self.is_paused)
            self._largest = NO_LIMIT
            size = write_pieces(transport, data, NO_LIMIT)
        self._progress.add(size)
        self._counts.bytes_sent += size
        # Not before: a handler that publishes would overtake them.
        self._log.sent(data)
        return self.is_paused and self._progress.check_acks(
            self._engine, transport, data
        )

    def pop_transport(self) -> asyncio.Transport | None:
        """Return the transport, and write no more."""
        transport, self.transport = self.transport, None
        return transport

    def check_progress(self, now: float) -> None:
        """Tell the engine whether bytes before a PINGREQ have left the transport."""
        self._progress.tick(self._engine, self.transport, now)

    def on_pingreq(self, now: float) -> None:
        """Note that the last written packet is a PINGREQ, and whether it has left."""
        self._progress.on_pingreq()
        self.check_progress(now)
