"""Connecting by WebSocket: the opening handshake of a client (RFC 6455 §4.1)."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, cast
from urllib.parse import quote

from websockets.client import ClientProtocol
from websockets.http11 import Request
from websockets.typing import Origin, Subprotocol
from websockets.uri import WebSocketURI

from aiomqtt.escaping import escape
from aiomqtt.exceptions import MqttError
from aiomqtt.net.explain import explain
from aiomqtt.net.interruption import waiting
from aiomqtt.net.target import WebSocketTarget
from aiomqtt.net.tcp import open_tcp

from .answer import MAXIMUM_HEAD, explain_answer
from .frames import FrameReader
from .headers import to_headers
from .transport import SILENT, WebSocketTransport

# The characters of a path that stay as they are (RFC 3986 §3.3, §3.4).
_SAFE: Final = "/?:@!$&'()*+,;=%~-._[]"
EXPECTED: Final = "does this port expect WebSocket, or TLS?"
EXPECTED_OVER_TLS: Final = "does this port expect WebSocket, or a client certificate?"


async def open_websocket(
    target: WebSocketTarget, factory: Callable[[], asyncio.Protocol]
) -> None:
    """Connect a protocol by WebSocket; return when the server has agreed.

    When cancelled or on an error, no socket is left behind, unless the protocol
    already has its transport: then the protocol has to close it.

    Raises:
        MqttError: It failed; the message says to where and why.
        CallableError: A callable of the program raised an exception.
        TypeError: The callable for the headers returned something else.
        ValueError: A header is malformed.
    """
    handshake = ClientHandshake(target, factory)
    try:
        await open_tcp(target, lambda: handshake)
        with waiting(
            f"{target} did not answer the WebSocket handshake", advise(target)
        ):
            reason = await handshake.done
    finally:
        handshake.abort()
    if reason is not None:
        raise MqttError(f"Could not connect to {target}: {reason}") from handshake.cause


class ClientHandshake(asyncio.Protocol):
    """The protocol of the transport below until the server has answered.

    Args:
        target: The server.
        factory: Makes the protocol of the WebSocket transport.
    """

    def __init__(
        self, target: WebSocketTarget, factory: Callable[[], asyncio.Protocol]
    ) -> None:
        # All is valid for the connection.
        self._target = target
        self._factory = factory
        self._frames, self._request = make_request(target)
        self._answer = b""
        self._below: asyncio.Transport | None = None
        # The exception that the connection failed with, if any.
        self.cause: BaseException | None = None
        # Resolves to None, or to the reason of the failure.
        self.done: asyncio.Future[str | None] = (
            asyncio.get_running_loop().create_future()
        )

    def abort(self) -> None:
        """Cut the connection, unless the WebSocket transport has it."""
        below, self._below = self._below, None
        if below is not None:
            below.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        # Transports of other loops have a base of their own.
        self._below = below = cast("asyncio.Transport", transport)
        self._frames.send_request(self._request)
        for data in self._frames.data_to_send():
            below.write(data)

    def data_received(self, data: bytes) -> None:
        """Gather the answer; once it is complete, go on by WebSocket."""
        if self.done.done():
            return
        self._answer += data
        end = self._answer.find(b"\r\n\r\n")
        if end < 0 and len(self._answer) <= MAXIMUM_HEAD:
            if not b"HTTP/".startswith(self._answer[:5]):
                self._finish(explain_answer(self._answer, self._target))
            return
        head, rest = self._answer[: end + 4], self._answer[end + 4 :]
        reason = explain_answer(head, self._target)
        if reason is None:
            # The library checks the rest.
            self._frames.receive_data(head)
            reason = self._explain_refusal()
        if reason is None:
            self._go_on(rest)
        else:
            self._finish(reason)

    def _explain_refusal(self) -> str | None:
        """Return why the answer does not open a WebSocket, or None if it does."""
        error = self._frames.handshake_exc
        if error is not None:
            said = escape(str(error))
            return f"its answer to the WebSocket handshake is wrong: {said}"
        if self._frames.subprotocol is None:
            # MQTT 5.0 [MQTT-6.0.0-4]
            return (
                "it does not speak MQTT on this path, for it left out the sub-protocol"
                " mqtt: check websocket_path"
            )
        return None

    def _go_on(self, rest: bytes) -> None:
        """Have the WebSocket transport take over."""
        below, self._below = self._below, None
        assert below is not None
        protocol = self._factory()
        transport = WebSocketTransport(below, self._frames, FrameReader(), protocol)
        below.set_protocol(transport)
        protocol.connection_made(transport)
        self._finish(None)
        if rest:
            transport.data_received(rest)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the reason, if the answer has not come."""
        said = "it closed the connection" if exc is None else escape(explain(exc))
        said += ", during the WebSocket handshake"
        # In TLS 1.3 the handshake is over before the server refuses a certificate.
        if not isinstance(exc, ssl.SSLError):
            said += f": {advise(self._target)}"
        self._finish(said, exc)

    def _finish(self, reason: str | None, cause: BaseException | None = None) -> None:
        if not self.done.done():
            self.cause = cause
            self.done.set_result(reason)


def advise(target: WebSocketTarget) -> str:
    """Return what to ask about a port that does not answer a handshake."""
    return EXPECTED_OVER_TLS if target.uses_tls else EXPECTED


def make_request(target: WebSocketTarget) -> tuple[ClientProtocol, Request]:
    """Return the protocol of the library, and the request of the handshake."""
    host = target.hostname
    if not host.isascii():
        host = host.encode("idna").decode()
    path = quote(target.websocket_path, safe=_SAFE)
    uri = WebSocketURI(target.uses_tls, host, target.port, path, "")
    # Without extensions: compressed packets would cost more than they save.
    frames = ClientProtocol(
        uri, subprotocols=[Subprotocol("mqtt")], max_size=None, logger=SILENT
    )
    request = frames.connect()
    headers = request.headers
    scheme = "https" if target.uses_tls else "http"
    headers["Origin"] = Origin(f"{scheme}://{headers['Host']}")
    if target.websocket_headers is not None:
        made = to_headers(dict(headers.raw_items()), target.websocket_headers)
        headers.clear()
        headers.update(made)
        # A program may offer a sub-protocol of its own.
        offered = headers.get("Sec-WebSocket-Protocol", "")
        frames.available_subprotocols = [
            Subprotocol(name.strip()) for name in offered.split(",")
        ]
    return frames, request
