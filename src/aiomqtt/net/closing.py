"""Closes a connection so that the last written bytes arrive."""

import asyncio
import math
from typing import Final

# The seconds that the peer has to close its side, once our last byte is written. To
# close while bytes of the peer are unread would reset the connection, and a reset can
# destroy the last written bytes.
LINGER: Final = 1.0


class Closing:
    """Closes a transport in steps: flush, half-close, linger, cut.

    Its owner continues to read meanwhile. It calls `half_close` after the transport has
    called `resume_writing`, and `stop` after `connection_lost`.

    Args:
        transport: The transport.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        # Valid for the connection.
        self._transport: Final = transport
        self._loop: Final = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        # The latest time to cut the transport, by the clock of the loop.
        self._limit = math.inf

    def flush(self, seconds: float) -> bool:
        """Wait until the written bytes have left; return whether there are any.

        If there are none, the next step is `half_close`.

        Args:
            seconds: Cut the transport after this time.
        """
        if not self._transport.get_write_buffer_size():
            return False
        # From now on the buffer counts as drained only when it is empty.
        self._transport.set_write_buffer_limits(0)
        self._cut_in(seconds)
        return True

    def half_close(self) -> None:
        """Close our side, and give the peer a second to close its own."""
        transport = self._transport
        self._cut_in(LINGER)
        if transport.is_closing():
            return
        if not transport.can_write_eof():
            transport.close()
            return
        try:
            transport.write_eof()
        except OSError:
            # The peer has reset the connection; the transport will notice.
            transport.abort()

    def limit(self, seconds: float) -> None:
        """Cut the transport after this many seconds, at whichever step it is."""
        self._limit = self._loop.time() + seconds
        self._cut_in(seconds)

    def stop(self) -> None:
        """Cancel the timer: the transport is closed."""
        if self._timer is not None:
            self._timer.cancel()

    def _cut_in(self, seconds: float) -> None:
        self.stop()
        at = min(self._loop.time() + seconds, self._limit)
        self._timer = self._loop.call_at(at, self._transport.abort)
