"""Closes a connection so that the last written bytes arrive."""

import asyncio
import math
import struct
from typing import Final

# The seconds that the peer has to close its side, once our last byte is written. To
# close while bytes of the peer are unread would reset the connection, and a reset can
# destroy the last written bytes.
LINGER: Final = 1.0
# The seconds in which a transport below TLS writes on when the system has room again.
REFILL: Final = 0.05


class Linger:
    """Cuts a transport if the peer does not close its side in a second.

    The second begins anew while bytes have not left: TLS leaves them to the transport
    below it, which loses them when it is cut.

    Args:
        transport: The transport.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        # Valid for the connection.
        self._transport: Final = transport
        self._loop: Final = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def start(self, latest: float) -> None:
        """Begin; `latest` is when to cut at the latest, by the clock of the loop."""
        self.stop()
        at = min(self._loop.time() + LINGER, latest)
        self._timer = self._loop.call_at(at, self._end, latest)

    def stop(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _end(self, latest: float, was_sent: bool = False) -> None:
        now = self._loop.time()
        if now < latest and has_unsent_tls(self._transport):
            self.start(latest)
        elif was_sent or not has_tls(self._transport):
            self._transport.abort()
        else:
            # The system has sent all that it had; it may be about to get more.
            at = min(now + REFILL, latest)
            self._timer = self._loop.call_at(at, self._end, latest, True)


def has_tls(transport: asyncio.Transport) -> bool:
    """Whether a transport encrypts, so that there is another one below it."""
    return transport.get_extra_info("ssl_object") is not None


def has_unsent_tls(transport: asyncio.Transport) -> bool:
    """Whether a transport with TLS may hold bytes that it does not count.

    `get_write_buffer_size` leaves out those that the transport below it holds. There
    are none if the queue of the operating system is empty. False, where that can't be
    asked.
    """
    if not has_tls(transport):
        return False
    sock = transport.get_extra_info("socket")
    if sock is None:
        # uvloop has closed it already.
        return False
    try:
        # Windows has neither.
        from fcntl import ioctl
        from termios import TIOCOUTQ

        queued = ioctl(sock.fileno(), TIOCOUTQ, bytes(struct.calcsize("i")))
    except (ImportError, OSError, ValueError):
        return False
    return any(queued)


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
        self._linger = Linger(transport)
        # The latest time to cut the transport, by the clock of the loop, and the end of
        # the time to flush.
        self._limit = math.inf
        self._flush_end = 0.0

    def flush(self, seconds: float) -> bool:
        """Wait until the written bytes have left; return whether there are any.

        If there are none, the next step is `half_close`.

        Args:
            seconds: Cut the transport after this time.
        """
        self._flush_end = self._loop.time() + seconds
        if not self._transport.get_write_buffer_size():
            return False
        # From now on the buffer counts as drained only when it is empty.
        self._transport.set_write_buffer_limits(0)
        self._cut_in(seconds)
        return True

    def half_close(self) -> None:
        """Close our side, and give the peer a second to close its own: see `Linger`."""
        transport = self._transport
        self.stop()
        latest = max(self._loop.time() + LINGER, self._flush_end)
        self._linger.start(min(latest, self._limit))
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
        """Cancel the timers: the transport is closed."""
        self._linger.stop()
        if self._timer is not None:
            self._timer.cancel()

    def _cut_in(self, seconds: float) -> None:
        self.stop()
        at = min(self._loop.time() + seconds, self._limit)
        self._timer = self._loop.call_at(at, self._transport.abort)
