"""Connections without a socket, within one event loop of this process.

Both ends are transports that behave like asyncio's for sockets. Bytes that one end has
written and the other has not read yet are in the write buffer of the first.
"""

import asyncio
import errno
import os
from collections.abc import Callable, Iterable
from contextvars import Context, copy_context
from typing import Final

from aiomqtt.exceptions import MqttError

from .flow import FlowControlledTransport
from .pipe import Pipe, no_op

# How many bytes a protocol gets in one turn of the loop: as many as from a socket.
READ_SIZE: Final = 256 * 1024

_Bytes = bytes | bytearray | memoryview


class MemoryTransport(FlowControlledTransport):
    """One end of a connection; made by `open_memory`.

    No call of one end calls the protocol of the other at once: that happens in a later
    turn of the loop. `get_extra_info("peername")` is "memory".

    An end that is closed does not read any more, and data that is written to it is
    lost. The writer still receives the data sent to it, and then, instead of the end of
    the file, the ConnectionResetError that a socket would give.

    Args:
        loop: The event loop.
        protocol: The protocol; the caller calls `connection_made`.
        context: The context that the protocol's methods run in.
        incoming: The bytes from the other end.
        outgoing: The bytes to the other end.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol: asyncio.BaseProtocol,
        context: Context,
        incoming: Pipe,
        outgoing: Pipe,
    ) -> None:
        super().__init__(loop, protocol, {"peername": "memory"})
        self._context = context
        self._in = incoming
        self._out = outgoing
        incoming.wake_reader = self._read_soon
        outgoing.wake_writer = self._drain_soon
        self._is_reading_paused = False
        # Whether `_read` and `_drain` are scheduled.
        self._read_is_due = False
        self._drain_is_due = False
        self._is_end_received = False
        # Whether `close` or `abort` was called; whether `connection_lost` is scheduled,
        # or was called.
        self._is_closing = False
        self._is_lost = False

    def __repr__(self) -> str:
        """Return the state, for messages."""
        state = "open"
        if self._is_closing:
            state = "closed" if self._is_lost else "closing"
        reading = "reading" if self.is_reading() else "not reading"
        return f"<MemoryTransport {state}, {reading}, bufsize={self._out.size}>"

    # --- writing ------------------------------------------------------------------

    def write(self, data: _Bytes) -> None:
        """Send bytes; a bytes object is passed without a copy.

        Raises:
            TypeError: The data is neither bytes, bytearray nor memoryview.
            RuntimeError: `write_eof` was called.
        """
        if type(data) is not bytes:
            data = _to_bytes(data)
        pipe = self._out
        if pipe.has_eof:
            msg = "Cannot call write() after write_eof()"
            raise RuntimeError(msg)
        if self._is_lost or not data:
            return
        if pipe.reader_closed:
            self._write_to_closed()
            return
        pipe.chunks.append(data)
        pipe.size += len(data)
        pipe.wake_reader()
        if pipe.size > self._high and not self._is_writing_paused:
            self._pause_if_full()

    def writelines(self, list_of_data: Iterable[_Bytes]) -> None:
        """Send several pieces; otherwise like `write`."""
        for data in [_to_bytes(data) for data in list_of_data]:
            self.write(data)

    def _write_to_closed(self) -> None:
        """Drop the data; fail now unless the next read will report it."""
        self._out.data_lost = True
        read_reports = self.is_reading() and not self._is_end_received
        if self._out.reader_lost and not read_reports:
            self._force_close(_os_error(BrokenPipeError, errno.EPIPE))

    def write_eof(self) -> None:
        """Send the end of the file: nothing more will be written."""
        if not self._is_closing and not self._out.has_eof:
            self._out.has_eof = True
            self._out.wake_reader()

    def can_write_eof(self) -> bool:
        """Return True."""
        return True

    def get_write_buffer_size(self) -> int:
        """Return how many bytes the peer has not read yet."""
        return self._out.size

    def _drain_soon(self) -> None:
        """Schedule `_drain` for the next turn of the loop, if it has work to do."""
        if self._drain_is_due or self._is_lost:
            return
        if self._is_due_to_resume() or (self._is_closing and not self._out.chunks):
            self._drain_is_due = True
            self._loop.call_soon(self._drain, context=self._context)

    def _drain(self) -> None:
        """Resume writing, or end the connection, now that the peer has read."""
        self._drain_is_due = False
        if self._is_lost:
            return
        self._resume_if_drained()  # the protocol may write, or abort
        if self._is_closing and not self._out.chunks and not self._is_lost:
            self._is_lost = True
            self._lose(None)

    # --- reading ------------------------------------------------------------------

    def is_reading(self) -> bool:
        """Whether the protocol receives data."""
        return not self._is_reading_paused and not self._is_closing

    def pause_reading(self) -> None:
        """Pass no data to the protocol until `resume_reading`."""
        if not self._is_closing:
            self._is_reading_paused = True

    def resume_reading(self) -> None:
        """Pass data to the protocol again."""
        if not self._is_closing and self._is_reading_paused:
            self._is_reading_paused = False
            self._read_soon()

    def _read_soon(self) -> None:
        """Schedule `_read` for the next turn of the loop, unless it is scheduled."""
        if not self._read_is_due and self.is_reading():
            self._read_is_due = True
            self._loop.call_soon(self._read, context=self._context)

    def _read(self) -> None:
        """Pass what the peer has written to the protocol, or the end of the file."""
        self._read_is_due = False
        if not self.is_reading():
            return
        pipe = self._in
        if not pipe.chunks:
            if pipe.has_eof or pipe.writer_lost:
                self._read_end()
            return
        room = READ_SIZE
        try:
            while room > 0 and pipe.chunks and self.is_reading():
                data = pipe.read(room)
                room -= len(data)
                self._protocol.data_received(data)
        except Exception as error:  # noqa: BLE001
            self._fail("Fatal error: protocol.data_received() call failed.", error)
        pipe.wake_writer()
        if pipe.chunks or pipe.has_eof or pipe.writer_lost:
            self._read_soon()

    def _read_end(self) -> None:
        if self._is_end_received:
            return
        if self._out.data_lost:
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
        """Whether the transport is closed or closing."""
        return self._is_closing

    def close(self) -> None:
        """Stop reading, and close when the peer has read everything."""
        if not self._is_closing:
            self._is_closing = True
            self._in.stop_reading()
            if not self._out.chunks:
                self._lose_soon(None)

    def abort(self) -> None:
        """Close at once; data that the peer has not read yet is lost."""
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
            self._in.wake_reader = self._out.wake_writer = no_op
            self._in.reader_lost = True
            self._out.writer_lost = True
            self._out.wake_reader()

    def _fail(self, message: str, error: Exception) -> None:
        """Close because of an exception of the protocol."""
        self._report(message, error)
        self._force_close(error)


def _to_bytes(data: _Bytes) -> bytes:
    if not isinstance(data, bytes | bytearray | memoryview):
        msg = f"data must be bytes-like, not {type(data).__name__}"
        raise TypeError(msg)
    return data if type(data) is bytes else bytes(data)


def _os_error(kind: type[OSError], number: int) -> OSError:
    return kind(number, os.strerror(number))


# --- connecting -------------------------------------------------------------------


class MemoryServer:
    """A server that accepts connections under a name; made by `listen`."""

    def __init__(self, name: str, factory: Callable[[], asyncio.BaseProtocol]) -> None:
        self.name = name
        self.factory = factory
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        # As with sockets, connections run in the context of their server.
        self.context: Context = copy_context()

    def close(self) -> None:
        """Accept no more connections, and free the name; connections stay open."""
        if _servers.get(self.name) is self:
            del _servers[self.name]


_servers: Final[dict[str, MemoryServer]] = {}


def listen(name: str, factory: Callable[[], asyncio.BaseProtocol]) -> MemoryServer:
    """Accept connections from this event loop, until `close`.

    Args:
        name: The name to connect to.
        factory: Makes the protocol of each connection.

    Raises:
        ValueError: The name is taken, in this process.
    """
    taken = _servers.get(name)
    # A server that was not closed before its loop does not keep its name.
    if taken is not None and not taken.loop.is_closed():
        msg = f"memory:{name} is taken: names are unique in a process"
        raise ValueError(msg)
    server = _servers[name] = MemoryServer(name, factory)
    return server


async def open_memory(name: str, factory: Callable[[], asyncio.BaseProtocol]) -> None:
    """Connect a protocol to the server of a name.

    Return when `connection_made` was called, first at the server and then here. When
    cancelled, the connection is closed.

    Args:
        name: The name.
        factory: Makes the protocol.

    Raises:
        MqttError: No server of that name listens in this event loop.
    """
    loop = asyncio.get_running_loop()
    server = _servers.get(name)
    if server is None or server.loop.is_closed():
        msg = "no broker of that name runs in this process"
        raise MqttError(f"Could not connect to memory:{name}: {msg}")
    if server.loop is not loop:
        msg = "the broker of that name runs in another event loop"
        raise MqttError(f"Could not connect to memory:{name}: {msg}")
    client_to_server, server_to_client = Pipe(), Pipe()
    contexts = server.context.copy(), copy_context()
    server_end = MemoryTransport(
        loop, server.factory(), contexts[0], client_to_server, server_to_client
    )
    client_end = MemoryTransport(
        loop, factory(), contexts[1], server_to_client, client_to_server
    )
    made = loop.create_future()
    for end, context in zip((server_end, client_end), contexts, strict=True):
        loop.call_soon(end.get_protocol().connection_made, end, context=context)
    loop.call_soon(_resolve, made)
    try:
        await made
    except BaseException:
        client_end.close()
        raise


def _resolve(made: asyncio.Future[None]) -> None:
    if not made.done():
        made.set_result(None)
