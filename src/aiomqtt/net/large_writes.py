"""Writes of many bytes, which leave in parts.

The transports of asyncio copy what the socket does not take at once: on Python 3.11 and
with TLS several times. A part is written only when the one before it has left, so there
is never a copy of more than one.
"""

import asyncio
from collections import deque
from collections.abc import Iterable

from .layered import LayeredTransport
from .writing import LARGEST_WRITE

_Bytes = bytes | bytearray | memoryview


def with_parts(transport: asyncio.Transport, is_paused: bool) -> asyncio.Transport:
    """Return a transport that writes in parts.

    One without a socket is returned as it is: it is expected not to copy.

    Args:
        transport: The transport; its protocol remains that of the new one.
        is_paused: Whether the transport has paused its protocol from writing.
    """
    if transport.get_extra_info("socket") is None:
        return transport
    return PartsTransport(transport, is_paused)


class PartsTransport(LayeredTransport):
    """A transport over another one, which gets large writes in parts.

    `close` and `write_eof` wait until
    everything was written to the transport below.

    Args:
        below: The transport that carries the bytes.
        is_paused: Whether it has paused its protocol from writing.
    """

    def __init__(self, below: asyncio.Transport, is_paused: bool) -> None:
        super().__init__(below, below.get_protocol())
        # All is valid for the connection.
        # What was not written to the transport below yet, and its size. While there is
        # any, the transport below is paused.
        self._parts: deque[memoryview] = deque()
        self._size = 0
        self._is_paused = is_paused
        self._is_below_paused = is_paused
        # What to do once there are no more parts.
        self._is_closing = False
        self._ends = False
        below.set_protocol(self)

    # --- writing ------------------------------------------------------------------

    def write(self, data: _Bytes) -> None:
        """Write bytes."""
        if self._parts or len(data) > LARGEST_WRITE:
            self.writelines((data,))
        else:
            self._check_open()
            self._below.write(data)

    def writelines(self, list_of_data: Iterable[_Bytes]) -> None:
        """Write several pieces."""
        self._check_open()
        for data in list_of_data:
            # A later change of a bytearray must not show.
            view = memoryview(data if isinstance(data, bytes) else bytes(data))
            if view:
                self._parts.append(view)
                self._size += len(view)
        self._write_parts()

    def _check_open(self) -> None:
        if self._ends:
            msg = "Cannot call write() after write_eof()"
            raise RuntimeError(msg)

    def _write_parts(self) -> None:
        """Write parts until the buffer of the transport below is full."""
        below = self._below
        while self._parts and not below.is_closing():
            _, high = below.get_write_buffer_limits()
            if below.get_write_buffer_size() > high:
                return
            below.write(self._next_part())

    def _next_part(self) -> memoryview | bytes:
        """Remove and return the next bytes to write."""
        found: list[memoryview] = []
        room = LARGEST_WRITE
        while self._parts and room:
            piece = self._parts.popleft()
            if len(piece) > room:
                self._parts.appendleft(piece[room:])
                piece = piece[:room]
            found.append(piece)
            room -= len(piece)
        self._size -= LARGEST_WRITE - room
        return found[0] if len(found) == 1 else b"".join(found)

    def write_eof(self) -> None:
        """Close the writing side, after everything that was written."""
        self._ends = True
        if not self._parts:
            self._below.write_eof()

    def can_write_eof(self) -> bool:
        """Whether the transport below can."""
        return self._below.can_write_eof()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes have not left yet."""
        return self._size + self._below.get_write_buffer_size()

    def pause_writing(self) -> None:
        """Pass on that the buffer of the transport below is full."""
        self._is_below_paused = True
        if not self._is_paused:
            self._is_paused = True
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Write the next parts; if there are no more, the protocol may write."""
        self._is_below_paused = False
        self._write_parts()
        if self._parts:
            return
        if self._is_closing or self._ends:
            # Not now: a transport of asyncio would be closed twice.
            self._loop.call_soon(self._end)
        if self._is_paused and not self._is_below_paused:
            self._is_paused = False
            self._protocol.resume_writing()

    def _end(self) -> None:
        """Close the transport below, or its writing side."""
        if self._is_closing:
            self._below.close()
        elif not self._below.is_closing():
            self._below.write_eof()

    # --- reading ------------------------------------------------------------------

    def is_reading(self) -> bool:
        """Whether the transport below reads."""
        return not self._is_closing and self._below.is_reading()

    def pause_reading(self) -> None:
        """Pause reading, until `resume_reading`."""
        self._below.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._below.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Pass on what the transport below has read."""
        if not self._is_closing:
            self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass on the end of the file."""
        keep_open: bool | None = None
        if not self._is_closing:
            keep_open = self._protocol.eof_received()
        if self._parts and not keep_open and self._below.can_write_eof():
            # The transport below has to stay open until the last part.
            self._is_closing = True
            return True
        return keep_open

    # --- closing ------------------------------------------------------------------

    def is_closing(self) -> bool:
        """Whether the transport is closed or closing."""
        return self._is_closing or self._below.is_closing()

    def close(self) -> None:
        """Close, after everything that was written."""
        self._is_closing = True
        if not self._parts:
            self._below.close()

    def abort(self) -> None:
        """Close; what has not left yet is lost."""
        self._below.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on that the connection is closed, and why."""
        self._is_closing = True
        self._parts.clear()
        self._size = 0
        self._protocol.connection_lost(exc)
        self._protocol = None
