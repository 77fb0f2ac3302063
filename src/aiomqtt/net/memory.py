"""Connections without a socket, within one event loop of this process.

Both ends are transports as asyncio's own for sockets. What one end has written and the
other has not taken yet is the buffer of the one that wrote.
"""

import asyncio
import errno
import os
from collections.abc import Callable, Iterable
from contextvars import Context, copy_context
from typing import Any, Final

from aiomqtt.exceptions import MqttError

from .pipe import Pipe, nobody

# What one turn of the loop gives to a protocol, in bytes: as of a socket of asyncio's.
READ: Final = 256 * 1024
HIGH_WATER: Final = 64 * 1024

_Bytes = bytes | bytearray | memoryview


class MemoryTransport(asyncio.Transport):
    """One end of a connection; made by `open_memory`.

    Nothing that one end does calls the protocol of the other: that happens in a later
    turn of the loop. `get_extra_info("peername")` is "memory".

    An end that is closed reads no more. What was, or is, written to it is lost; the
    writer still gets what was sent to it, and then, instead of the end of the file, the
    ConnectionResetError that a socket would give.

    Args:
        loop: The event loop.
        protocol: The protocol; the caller sees to `connection_made`.
        context: What the protocol's methods run in, not that of who writes to it.
        incoming: What comes from the other end.
        outgoing: What goes there.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol: asyncio.BaseProtocol,
        context: Context,
        incoming: Pipe,
        outgoing: Pipe,
    ) -> None:
        """Be one of the two ends of the pipes."""
        super().__init__({"peername": "memory"})
        self._loop = loop
        self._context = context
        self._protocol: Any = protocol
        self._in = incoming
        self._out = outgoing
        incoming.wake_reader = self._read_soon
        outgoing.wake_writer = self._drain_soon
        self._high = HIGH_WATER
        self._low = HIGH_WATER // 4
        self._is_writing_paused = False
        self._is_reading_paused = False
        # Whether a look at the pipes is due.
        self._read_is_due = False
        self._drain_is_due = False
        self._is_end_received = False
        # Whether `close` or `abort` was called, and whether the protocol was told, or
        # will be in the next turn.
        self._is_closing = False
        self._is_lost = False

    def __repr__(self) -> str:
        """Return the state, for messages."""
        state = "open"
        if self._is_closing:
            state = "closed" if self._is_lost else "closing"
        reading = "reading" if self.is_reading() else "not reading"
        return f"<MemoryTransport {state}, {reading}, bufsize={self._out.size}>"

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Set the protocol that is called from now on."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol."""
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    # --- writing ------------------------------------------------------------------

    def write(self, data: _Bytes) -> None:
        """Send bytes; a bytes object is passed without a copy.

        Raises:
            TypeError: It is none of bytes, bytearray and memoryview.
            RuntimeError: `write_eof` was called.
        """
        if type(data) is not bytes:
            data = _to_bytes(data)
        pipe = self._out
        if pipe.has_end:
            msg = "Cannot call write() after write_eof()"
            raise RuntimeError(msg)
        if self._is_lost or not data:
            return
        if pipe.is_deaf:
            self._write_to_nobody()
            return
        pipe.chunks.append(data)
        pipe.size += len(data)
        pipe.wake_reader()
        if pipe.size > self._high and not self._is_writing_paused:
            self._pause_writing()

    def writelines(self, list_of_data: Iterable[_Bytes]) -> None:
        """Send several pieces, as `write`."""
        for data in [_to_bytes(data) for data in list_of_data]:
            self.write(data)

    def _write_to_nobody(self) -> None:
        """Lose what is written; say so at once if reading would not."""
        self._out.has_lost = True
        is_heard = self.is_reading() and not self._is_end_received
        if self._out.is_reader_gone and not is_heard:
            self._force_close(_os_error(BrokenPipeError, errno.EPIPE))

    def write_eof(self) -> None:
        """Send the end of the file: nothing more will be written."""
        if not self._is_closing and not self._out.has_end:
            self._out.has_end = True
            self._out.wake_reader()

    def can_write_eof(self) -> bool:
        """Return True."""
        return True

    def get_write_buffer_size(self) -> int:
        """Return how many bytes the peer has not taken yet."""
        return self._out.size

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low and the high water mark, in bytes."""
        return self._low, self._high

    def set_write_buffer_limits(
        self, high: int | None = None, low: int | None = None
    ) -> None:
        """Set the water marks, in bytes.

        Args:
            high: Above it, the protocol is to pause writing; ``None``: four times
                `low`, or 64 KiB.
            low: At it and below, the protocol may resume; ``None``: a quarter of
                `high`.

        Raises:
            ValueError: Not ``high >= low >= 0``.
        """
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            msg = f"high ({high!r}) must be >= low ({low!r}) must be >= 0"
            raise ValueError(msg)
        self._high = high
        self._low = low
        if self._out.size > high and not self._is_writing_paused:
            self._pause_writing()

    def _pause_writing(self) -> None:
        self._is_writing_paused = True
        try:
            self._protocol.pause_writing()
        except Exception as error:  # noqa: BLE001
            self._report("protocol.pause_writing() failed", error)

    def _resume_writing(self) -> None:
        self._is_writing_paused = False
        try:
            self._protocol.resume_writing()
        except Exception as error:  # noqa: BLE001
            self._report("protocol.resume_writing() failed", error)

    def _drain_soon(self) -> None:
        """Have `_drain` run in the next turn of the loop, if it has something to do."""
        if self._drain_is_due or self._is_lost:
            return
        if (self._is_writing_paused and self._out.size <= self._low) or (
            self._is_closing and not self._out.chunks
        ):
            self._drain_is_due = True
            self._loop.call_soon(self._drain, context=self._context)

    def _drain(self) -> None:
        """Go on now that less, or nothing, is left to be taken."""
        self._drain_is_due = False
        if self._is_lost:
            return
        if self._is_writing_paused and self._out.size <= self._low:
            self._resume_writing()  # which may write, or abort
        if self._is_closing and not self._out.chunks and not self._is_lost:
            self._is_lost = True
            self._lose(None)

    # --- reading ------------------------------------------------------------------

    def is_reading(self) -> bool:
        """Whether the protocol gets what comes."""
        return not self._is_reading_paused and not self._is_closing

    def pause_reading(self) -> None:
        """Give the protocol nothing, until `resume_reading`."""
        if not self._is_closing:
            self._is_reading_paused = True

    def resume_reading(self) -> None:
        """Give the protocol what has come, and what comes."""
        if not self._is_closing and self._is_reading_paused:
            self._is_reading_paused = False
            self._read_soon()

    def _read_soon(self) -> None:
        """Have `_read` run in the next turn of the loop, just once."""
        if not self._read_is_due and self.is_reading():
            self._read_is_due = True
            self._loop.call_soon(self._read, context=self._context)

    def _read(self) -> None:
        """Give the protocol what the peer has written, or the end of it."""
        self._read_is_due = False
        if not self.is_reading():
            return
        pipe = self._in
        if not pipe.chunks:
            if pipe.has_end or pipe.is_writer_gone:
                self._read_end()
            return
        room = READ
        try:
            while room > 0 and pipe.chunks and self.is_reading():
                data = pipe.take(room)
                room -= len(data)
                self._protocol.data_received(data)
        except Exception as error:  # noqa: BLE001
            self._fail("Fatal error: protocol.data_received() call failed.", error)
        pipe.wake_writer()
        if pipe.chunks or pipe.has_end or pipe.is_writer_gone:
            self._read_soon()

    def _read_end(self) -> None:
        if self._is_end_received:
            return
        if self._out.has_lost:
            self._force_close(_os_error(ConnectionResetError, errno.ECONNRESET))
            return
        self._is_end_received = True
        try:
            keep_open = self._protocol.eof_received()
        except Exception as error:  # noqa: BLE001
            self._fail("Fatal error: protocol.eof_received() call failed.", error)
            return
        if not keep_open:
            self.close()

    # --- closing ------------------------------------------------------------------

    def is_closing(self) -> bool:
        """Whether the end is closed, or about to be."""
        return self._is_closing

    def close(self) -> None:
        """Read no more, and close when the peer has taken what was written."""
        if not self._is_closing:
            self._is_closing = True
            self._in.stop_reading()
            if not self._out.chunks:
                self._lose_soon(None)

    def abort(self) -> None:
        """Close; what the peer has not taken yet is lost."""
        self._force_close(None)

    def _force_close(self, error: Exception | None) -> None:
        if self._is_lost:
            return
        self._out.drop()
        if not self._is_closing:
            self._is_closing = True
            self._in.stop_reading()
        self._lose_soon(error)

    def _lose_soon(self, error: Exception | None) -> None:
        self._is_lost = True
        self._loop.call_soon(self._lose, error, context=self._context)

    def _lose(self, error: Exception | None) -> None:
        try:
            self._protocol.connection_lost(error)
        finally:
            self._protocol = None
            self._in.wake_reader = self._out.wake_writer = nobody
            self._in.is_reader_gone = True
            self._out.is_writer_gone = True
            self._out.wake_reader()

    def _fail(self, message: str, error: Exception) -> None:
        """Close because of an exception of the protocol."""
        self._report(message, error)
        self._force_close(error)

    def _report(self, message: str, error: Exception) -> None:
        self._loop.call_exception_handler(
            {
                "message": message,
                "exception": error,
                "transport": self,
                "protocol": self._protocol,
            }
        )


def _to_bytes(data: _Bytes) -> bytes:
    if not isinstance(data, bytes | bytearray | memoryview):
        msg = f"data must be bytes-like, not {type(data).__name__}"
        raise TypeError(msg)
    return data if type(data) is bytes else bytes(data)


def _os_error(kind: type[OSError], number: int) -> OSError:
    return kind(number, os.strerror(number))


# --- who can be connected to ------------------------------------------------------


class MemoryServer:
    """What accepts connections under a name; made by `listen`."""

    def __init__(self, name: str, factory: Callable[[], asyncio.BaseProtocol]) -> None:
        """Belong to the running event loop."""
        self.name = name
        self.factory = factory
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        # As with a socket, what listens gives its context to what it accepts.
        self.context: Context = copy_context()

    def close(self) -> None:
        """Accept no more, and free the name; connections stay as they are."""
        if _servers.get(self.name) is self:
            del _servers[self.name]


_servers: Final[dict[str, MemoryServer]] = {}


def listen(name: str, factory: Callable[[], asyncio.BaseProtocol]) -> MemoryServer:
    """Accept connections from this event loop, from now on until `close`.

    Args:
        name: The name to connect to.
        factory: Makes the protocol of each connection.

    Raises:
        ValueError: The name is taken, in this process.
    """
    taken = _servers.get(name)
    # One that was not closed before its loop was does not keep its name.
    if taken is not None and not taken.loop.is_closed():
        msg = f"memory:{name} is taken: names are unique in a process"
        raise ValueError(msg)
    server = _servers[name] = MemoryServer(name, factory)
    return server


async def open_memory(name: str, factory: Callable[[], asyncio.BaseProtocol]) -> None:
    """Connect a protocol to what listens under a name.

    Returns when `connection_made` was called, first there and then here. Cancelled,
    the connection is closed.

    Args:
        name: The name.
        factory: Makes the protocol of this end.

    Raises:
        MqttError: Nothing of that name listens in this event loop.
    """
    loop = asyncio.get_running_loop()
    server = _servers.get(name)
    if server is None or server.loop.is_closed():
        msg = "no broker of that name runs in this process"
        raise MqttError(f"Could not connect to memory:{name}: {msg}")
    if server.loop is not loop:
        msg = "the broker of that name runs in another event loop"
        raise MqttError(f"Could not connect to memory:{name}: {msg}")
    to, fro = Pipe(), Pipe()
    contexts = server.context.copy(), copy_context()
    there = MemoryTransport(loop, server.factory(), contexts[0], to, fro)
    here = MemoryTransport(loop, factory(), contexts[1], fro, to)
    made = loop.create_future()
    for end, context in zip((there, here), contexts, strict=True):
        loop.call_soon(end.get_protocol().connection_made, end, context=context)
    loop.call_soon(_resolve, made)
    try:
        await made
    except BaseException:
        here.close()
        raise


def _resolve(made: asyncio.Future[None]) -> None:
    if not made.done():
        made.set_result(None)
