"""A WebSocket connection as a transport of asyncio, over any other transport."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from websockets.exceptions import ProtocolError
from websockets.frames import Close, CloseCode
from websockets.protocol import OPEN, Protocol

from aiomqtt.escaping import escape
from aiomqtt.net.closing import Linger
from aiomqtt.net.layered import LayeredTransport

from .frames import FrameReader

# Larger writes are split, in bytes: the largest frame with a length of 16 bits. Servers
# may refuse larger ones.
LARGEST_FRAME: Final = 65_535

# For the library, which logs the headers of the handshake. As they may have
# credentials, they go nowhere.
SILENT: Final = logging.Logger("websockets", logging.CRITICAL + 1)  # noqa: LOG001

# How long a peer may take the last bytes after `close`, in seconds, as asyncio's TLS
# has it.
LONGEST_LINGER: Final = 30.0

_Bytes = bytes | bytearray | memoryview


class WebSocketTransport(LayeredTransport):
    """A transport whose bytes are the payloads of binary frames.

    The buffer of the transport below holds the frames. The Close frame of the peer is
    the end of the file. `close` sends one, and waits a second for that of the peer:
    closing while bytes of it are unread would reset the connection, which can destroy
    what was written last. `get_extra_info("subprotocol")` is "mqtt".

    Args:
        below: The transport that carries the frames.
        handshake: The protocol of the library, after the opening handshake.
        reader: Reads the frames of the peer.
        protocol: The protocol of this transport.
    """

    def __init__(
        self,
        below: asyncio.Transport,
        handshake: Protocol,
        reader: FrameReader,
        protocol: asyncio.Protocol,
    ) -> None:
        super().__init__(below, protocol, {"subprotocol": handshake.subprotocol})
        # All is valid for the connection.
        self._frames = handshake
        self._reader = reader
        self._is_closing = False
        self._is_reading_paused = False
        self._is_writing_paused = False
        # The payload that came while reading was paused.
        self._held: list[bytes] = []
        # Why the connection ends, if the frames of the peer are the reason.
        self._error: Exception | None = None
        # Cuts the connection if the peer does not take the last Close frame.
        self._linger: Linger | None = None

    # --- writing ------------------------------------------------------------------

    def write(self, data: _Bytes) -> None:
        """Send bytes, in one frame or, if they are many, in several.

        Raises:
            TypeError: It is not bytes-like.
        """
        if isinstance(data, bytes | bytearray) and len(data) <= LARGEST_FRAME:
            self._send(data)
        else:
            self.writelines((data,))

    def writelines(self, list_of_data: Iterable[_Bytes]) -> None:
        """Send several pieces, as `write`, joined to frames of the largest size."""
        pieces: list[memoryview] = []
        room = LARGEST_FRAME
        for data in list_of_data:
            view = memoryview(data).cast("B")
            while len(view) > room:
                pieces.append(view[:room])
                self._send(b"".join(pieces))
                pieces.clear()
                view = view[room:]
                room = LARGEST_FRAME
            pieces.append(view)
            room -= len(view)
        self._send(b"".join(pieces))

    def _send(self, data: bytes | bytearray) -> None:
        """Send one binary frame."""
        if data and self._frames.state is OPEN and not self._is_closing:
            self._frames.send_binary(data)
            self._flush()

    def _flush(self) -> None:
        """Write the frames that the library has made."""
        for frame in self._frames.data_to_send():
            # An empty one says that nothing follows.
            if frame:
                self._below.write(frame)

    def can_write_eof(self) -> bool:
        """Return False: a Close frame ends both directions."""
        return False

    def _send_close(self, code: int | None) -> None:
        if self._frames.state is OPEN and not self._below.is_closing():
            self._frames.send_close(code)
            self._flush()

    def pause_writing(self) -> None:
        """Pass on that the buffer of the transport below is full."""
        if not self._is_closing:
            self._is_writing_paused = True
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that the buffer of the transport below has drained."""
        was_paused, self._is_writing_paused = self._is_writing_paused, False
        if self._is_closing:
            self._limit()
        self._send_pong()
        if was_paused:
            self._protocol.resume_writing()

    # --- reading ------------------------------------------------------------------

    def is_reading(self) -> bool:
        """Whether the protocol gets what comes."""
        return not self._is_reading_paused and self._below.is_reading()

    def pause_reading(self) -> None:
        """Give the protocol nothing, until `resume_reading`."""
        self._is_reading_paused = True
        self._below.pause_reading()

    def resume_reading(self) -> None:
        """Give the protocol what has come, and what comes."""
        if self._is_reading_paused:
            self._is_reading_paused = False
            self._below.resume_reading()
            if self._held:
                self._loop.call_soon(self._deliver_held)

    def data_received(self, data: bytes) -> None:
        """Give the protocol all payload of a chunk at once."""
        payload = self._reader.feed(data)
        if self._is_closing:
            if self._reader.has_ended():
                self._below.close()
            return
        if self._is_reading_paused or self._held:
            self._held.append(payload)
            return
        if payload:
            self._protocol.data_received(payload)
        if self._reader.ping is not None or self._reader.has_ended():
            self._on_control()

    def _deliver_held(self) -> None:
        if self._is_reading_paused or self._is_closing:
            return
        held, self._held = b"".join(self._held), []
        if held:
            self._protocol.data_received(held)
        self._on_control()

    def eof_received(self) -> None:
        """Pass on the end of the file, which the peer sent without a Close frame."""
        if not self._is_closing:
            self._protocol.eof_received()

    def _on_control(self) -> None:
        """Answer a Ping frame, and end the connection after a Close frame."""
        if self._is_closing or self._is_reading_paused:
            return
        self._send_pong()
        if self._reader.close is not None:
            self._on_close(self._reader.close)
        elif self._reader.error is not None:
            self._fail(*self._reader.error)

    def _send_pong(self) -> None:
        # A peer that sends pings and reads nothing must not fill the buffer.
        ping = self._reader.ping
        if ping is not None and not self._is_writing_paused and not self._is_closing:
            self._reader.ping = None
            self._frames.send_pong(ping)
            self._flush()

    # --- closing ------------------------------------------------------------------

    def is_closing(self) -> bool:
        """Whether the connection is closed, or about to be."""
        return self._is_closing or self._below.is_closing()

    def close(self) -> None:
        """Read no more, send a Close frame, and close when the peer has sent one."""
        if self._is_closing:
            return
        self._send_close(CloseCode.NORMAL_CLOSURE)
        self._is_closing = True
        if self._reader.has_ended():
            self._below.close()
            return
        if self._is_reading_paused:
            self._below.resume_reading()
        if self._below.get_write_buffer_size():
            # From here on the buffer counts as drained when it is empty.
            self._below.set_write_buffer_limits(0)
        else:
            self._limit()

    def _limit(self) -> None:
        """Cut the connection if the peer does not close its side soon."""
        if self._linger is None:
            self._linger = Linger(self._below)
            self._linger.start(self._loop.time() + LONGEST_LINGER)

    def abort(self) -> None:
        """Close; what has not left yet is lost."""
        self._is_closing = True
        self._below.abort()

    def _on_close(self, payload: bytes) -> None:
        """End the connection as the peer asks, which is its end of the file."""
        try:
            close = Close.parse(payload)
        except (ProtocolError, UnicodeDecodeError):
            self._fail(CloseCode.PROTOCOL_ERROR, "a Close frame is malformed")
            return
        is_silent = close.code == CloseCode.NO_STATUS_RCVD
        if self._frames.state is OPEN:
            if close.reason or not (
                is_silent or close.code == CloseCode.NORMAL_CLOSURE
            ):
                said = f"it closed the WebSocket with {escape(str(close))}"
                self._error = ConnectionAbortedError(said)
            self._send_close(None if is_silent else close.code)
        if self._error is None:
            self._protocol.eof_received()
        self._end()

    def _fail(self, code: int, reason: str) -> None:
        """End the connection because the peer broke the protocol."""
        said = f"it broke the WebSocket protocol: {reason}"
        self._error = ConnectionAbortedError(said)
        self._frames.fail(code, reason)
        self._flush()
        self._end()

    def _end(self) -> None:
        """Close; cut the connection if the peer does not take the Close frame."""
        self._is_closing = True
        self._below.close()
        self._limit()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on that the connection is closed, and why."""
        self._is_closing = True
        if self._linger is not None:
            self._linger.stop()
        self._protocol.connection_lost(self._error or exc)
        self._protocol = None
