"""The opening handshake of a WebSocket server (RFC 6455 §4.2)."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, cast

from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from aiomqtt.escaping import escape

from .frames import FrameReader
from .transport import SILENT, WebSocketTransport

try:
    from websockets.speedups import apply_mask
except ImportError:
    from websockets.utils import apply_mask

# How large a request may be, in bytes.
MAXIMUM_REQUEST: Final = 64 * 1024
# The sub-protocol (MQTT 5.0 [MQTT-6.0.0-4]), and what clients of 3.1 call it.
_SUB_PROTOCOLS: Final = (Subprotocol("mqtt"), Subprotocol("mqttv3.1"))


class ServerHandshake(asyncio.Protocol):
    """The protocol of an accepted connection until the client has asked for WebSocket.

    Args:
        factory: Makes the protocol of the WebSocket transport.
        timeout: How many seconds the handshake may take.
        on_begin: Called with the handshake and the transport; returns whether the
            connection is accepted.
        on_end: Called with the handshake, and the reason if it has failed.
    """

    def __init__(
        self,
        factory: Callable[[], asyncio.Protocol],
        timeout: float,
        on_begin: Callable[["ServerHandshake", asyncio.BaseTransport], bool],
        on_end: Callable[["ServerHandshake", str | None], None],
    ) -> None:
        # All is valid for the connection.
        self._factory = factory
        self._timeout = timeout
        self._on_begin = on_begin
        self._on_end = on_end
        self._frames = ServerProtocol(
            subprotocols=_SUB_PROTOCOLS, max_size=None, logger=SILENT
        )
        self._request = b""
        self._below: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the request."""
        # Transports of other loops have a base of their own.
        self._below = below = cast("asyncio.Transport", transport)
        if not self._on_begin(self, transport):
            self._is_over = True
            below.abort()
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._timeout, self._expire)

    def data_received(self, data: bytes) -> None:
        """Gather the request; once it is complete, answer it."""
        if self._is_over or self._below is None:
            return
        self._request += data
        if not self._request[:1].isupper():
            # Nor will it ever be one: the client speaks TLS, or MQTT without WebSocket.
            self._fail("the request is no HTTP")
            return
        end = self._request.find(b"\r\n\r\n")
        if end < 0:
            if len(self._request) > MAXIMUM_REQUEST:
                self._fail("the request is too large")
            return
        head, rest = self._request[: end + 4], self._request[end + 4 :]
        self._frames.receive_data(head)
        events = self._frames.events_received()
        if not events or not isinstance(events[0], Request):
            self._fail("the request is malformed")
            return
        reason = self._answer(events[0])
        for piece in self._frames.data_to_send():
            # An empty one says that nothing follows.
            if piece:
                self._below.write(piece)
        if reason is None:
            self._go_on(self._below, rest)
        else:
            self._end(reason)
            self._below.close()

    def _answer(self, request: Request) -> str | None:
        """Answer a request; return the reason of a refusal."""
        frames = self._frames
        response = frames.accept(request)
        if frames.handshake_exc is None and frames.subprotocol is None:
            # MQTT 5.0 [MQTT-6.0.0-3]
            response = frames.reject(
                HTTPStatus.BAD_REQUEST, "The sub-protocol mqtt is missing.\n"
            )
        frames.send_response(response)
        if frames.state is OPEN:
            return None
        error = frames.handshake_exc
        return escape(str(error)) if error else "the sub-protocol mqtt is missing"

    def _go_on(self, below: asyncio.Transport, rest: bytes) -> None:
        """Have the WebSocket transport take over."""
        protocol = self._factory()
        reader = FrameReader(apply_mask)
        transport = WebSocketTransport(below, self._frames, reader, protocol)
        below.set_protocol(transport)
        self._end(None)
        protocol.connection_made(transport)
        if rest:
            transport.data_received(rest)

    def abort(self) -> None:
        """Cut the connection."""
        self._fail("the handshake was cut off")

    def _expire(self) -> None:
        self._fail(f"no request came within {self._timeout:g} seconds")

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the end, if the handshake was not complete."""
        self._end(str(exc) if exc else "the client closed the connection")

    def _fail(self, reason: str) -> None:
        self._end(reason)
        if self._below is not None:
            self._below.abort()

    def _end(self, reason: str | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._is_over:
            self._is_over = True
            self._on_end(self, reason)
