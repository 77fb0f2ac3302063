"""Closes a connection in such a way that what was written last arrives."""

import asyncio
import math
from typing import Final

# After the last byte was written, the peer has this long to close its side, in
# seconds: closing while bytes of it are unread would reset the connection, and a
# reset can destroy what was written last.
LINGER: Final = 1.0


class Closing:
    """Closes a transport in steps: flush, half-close, linger, cut.

    Its owner reads on meanwhile, and calls `half_close` when the transport calls
    `resume_writing`, and `stop` when it calls `connection_lost`.

    Args:
        transport: The transport.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        # Valid for the connection.
        self._transport: Final = transport
        self._loop: Final = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        # When the transport is cut at the latest, by the clock of the loop.
        self._limit = math.inf

    def flush(self, seconds: float) -> bool:
        """Wait until what is written has left; return whether there is anything.

        If there is nothing, the next step is `half_close`.

        Args:
            seconds: After this time the transport is cut.
        """
        if not self._transport.get_write_buffer_size():
            return False
        # From here on the buffer counts as drained when it is empty.
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
            # The peer has reset the connection; the transport will find out.
            transport.abort()

    def limit(self, seconds: float) -> None:
        """Cut the transport in so many seconds, whichever step it is at."""
        self._limit = self._loop.time() + seconds
        self._cut_in(seconds)

    def stop(self) -> None:
        """Cut nothing any more: the transport is closed."""
        if self._timer is not None:
            self._timer.cancel()

    def _cut_in(self, seconds: float) -> None:
        self.stop()
        at = min(self._loop.time() + seconds, self._limit)
        self._timer = self._loop.call_at(at, self._transport.abort)
