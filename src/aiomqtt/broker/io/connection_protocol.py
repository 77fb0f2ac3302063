"""One network connection of the broker: bytes in and out, and the program's hooks."""

import asyncio
import logging
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, cast

from aiomqtt.broker.core.connection import ClientConnection
from aiomqtt.broker.core.events import (
    Accepted,
    AuthenticationContinued,
    AuthenticationStarted,
    Ended,
    Event,
    PermissionRequest,
)
from aiomqtt.broker.hooks import Refusal
from aiomqtt.escaping import escape, quote
from aiomqtt.net.closing import LINGER, Closing
from aiomqtt.net.trace import Trace
from aiomqtt.net.writing import LARGEST_WRITE, NO_LIMIT, write_pieces
from aiomqtt.standard.names import UNSPECIFIED_ERROR
from aiomqtt.standard.tables import Role

from .hook_runner import REQUESTS_PER_TURN, Exchange

if TYPE_CHECKING:
    from .connection_set import ConnectionSet

# From this many bytes waiting to be written on, publishers wait for a client.
HIGH_WATER: Final = 256 * 1024
# The seconds that hooks have for the remaining packets of a client that has gone; then
# they are cancelled.
HOOK_GRACE: Final = 5.0


class ConnectionProtocol(asyncio.Protocol):
    """Moves bytes between a transport and the rules of one connection."""

    def __init__(
        self, connection_set: "ConnectionSet", accepted_at: float | None = None
    ) -> None:
        """Wait for `connection_made`.

        Args:
            connection_set: The connections that it belongs to.
            accepted_at: When it was accepted, by the loop's clock; None: just now.
        """
        self._connection_set = connection_set
        self._accepted_at = accepted_at
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        # What came while nothing was to be read: uvloop does not pause a transport in
        # `connection_made`.
        self._early: list[bytes] = []
        self._trace: Trace | None = None
        self._is_reading = True
        # Whether `_go_on` is to be called in the next turn of the loop.
        self._goes_on = False
        # The number of bytes written; the largest number that the transport takes in
        # one write.
        self._written = 0
        self._largest_write = LARGEST_WRITE
        # Those that ask the program; and the exchange of an enhanced authentication.
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._exchange: Exchange | None = None
        # Made with the transport.
        self._closing: Closing | None = None
        # What waits for the store: the number of bytes, and whether the end does.
        self._held = 0
        self._is_end_held = False
        # Ends the questions that are still asked for a client that has gone.
        self._last_questions: asyncio.TimerHandle | None = None

    # --- what the event loop calls --------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, and wait for a CONNECT."""
        self._transport = cast(asyncio.Transport, transport)
        self._closing = Closing(self._transport)
        connection_set = self._connection_set
        address = address_of(transport)
        if not connection_set.admits(address):
            self._transport.abort()
            return
        certificate = _certificate(transport.get_extra_info("ssl_object"))
        since = self._loop.time() if self._accepted_at is None else self._accepted_at
        self.connection: ClientConnection = ClientConnection(
            connection_set.state, address, certificate, self, since
        )
        self.connection.send_buffer.bytes_taken = self._bytes_taken
        connection_set.protocols[self] = None
        connection_set.state.statistics.connections += 1
        if connection_set.logger.isEnabledFor(logging.DEBUG):
            self._trace = Trace(connection_set.logger, Role.SERVER)
        self._transport.set_write_buffer_limits(HIGH_WATER)
        self.read_or_not()
        connection_set.arm()

    def data_received(self, data: bytes) -> None:
        """Handle bytes and everything that they cause."""
        if self._connection_set.is_paused:
            if not self.connection.is_closed:
                self._early.append(data)
                self._loop.call_soon(self.read_or_not)
            return
        connection_set = self._connection_set
        connection_set.state.statistics.bytes_received += len(data)
        if self._trace is not None:
            self._trace.received(data)
        self.connection.receive(data, self._loop.time())
        self.flush()
        connection_set.flush()

    def eof_received(self) -> None:
        """The client writes no more: the transport closes by itself."""

    def connection_lost(self, exc: Exception | None) -> None:
        """End the rest of the connection."""
        self._transport = None
        connection_set = self._connection_set
        if self not in connection_set.protocols:
            return
        if self._closing is not None:
            self._closing.stop()
        reason = str(exc) or type(exc).__name__ if exc else "the client closed it"
        self.connection.connection_lost(reason, self._loop.time())
        self.connection.send_buffer.pop()
        connection_set.forget(self)
        if not self.connection.is_closed:
            self._finish_soon()
        connection_set.flush()

    def _finish_soon(self) -> None:
        """Finish the packets of a client that has gone, within a time limit."""
        connection_set = self._connection_set
        if (
            len(connection_set.leaving)
            >= connection_set.state.limits.maximum_connections
        ):
            self._abandon()
            return
        connection_set.leaving[self] = None
        self._last_questions = self._loop.call_later(HOOK_GRACE, self._abandon)

    def _abandon(self) -> None:
        self.connection.abandon("a hook took too long", self._loop.time())
        self.flush()
        self._connection_set.flush()

    def pause_writing(self) -> None:
        """The transport's buffer is above its high-water mark."""
        self.connection.send_buffer.is_paused = True

    def resume_writing(self) -> None:
        """The transport's buffer has drained."""
        send_buffer = self.connection.send_buffer
        send_buffer.is_paused = False
        if self.connection.is_closed:
            if not self._is_end_held:
                self._loop.call_soon(self._half_close)
        else:
            transport = self._transport
            size = 0 if transport is None else transport.get_write_buffer_size()
            send_buffer.set_unsent(size + self._held)
            send_buffer.release_if_drained(self._loop.time())
            self._connection_set.flush()
            self.read_or_not()

    # --- what the server calls --------------------------------------------------------

    def flush(self) -> None:
        """Write the waiting bytes, then handle the events."""
        connection, transport = self.connection, self._transport
        send_buffer = connection.send_buffer
        data = send_buffer.pop()
        if data and transport is not None:
            barrier = self._connection_set.barrier
            if barrier is None:
                self._write(transport, data)
            else:
                self._held += sum(map(len, data))
                barrier.hold(self, data)
        if connection.events:
            events, connection.events = connection.events, []
            for event in events:
                self._handle(event)
        if self._is_reading == connection.is_waiting:
            self.read_or_not()
        self._go_on_soon()

    def write_held(self, data: list[bytes]) -> None:
        """Write bytes that waited for the store."""
        self._held -= sum(map(len, data))
        if self._transport is not None:
            self._write(self._transport, data)
            if self._is_reading == self.connection.is_waiting:
                self.read_or_not()
            self._go_on_soon()

    def _go_on_soon(self) -> None:
        if self.connection.has_more and not self._goes_on:
            self._goes_on = True
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Handle more bytes from an earlier turn of the loop."""
        self._goes_on = False
        connection_set = self._connection_set
        is_there = self._transport is not None or self in connection_set.leaving
        if is_there and not connection_set.is_paused:
            self.connection.go_on(self._loop.time())
            self.flush()
            connection_set.flush()

    def _write(self, transport: asyncio.Transport, data: list[bytes]) -> None:
        size = sum(map(len, data))
        self._connection_set.state.statistics.bytes_sent += size
        if self._trace is not None:
            self._trace.sent(data)
        if not write_pieces(transport, data, self._largest_write):
            transport = self._transport = self._take_parts(transport)
            write_pieces(transport, data, NO_LIMIT)
        self._written += size
        unsent = transport.get_write_buffer_size() + self._held
        self.connection.send_buffer.set_unsent(unsent)

    def _take_parts(self, transport: asyncio.Transport) -> asyncio.Transport:
        """Return a transport for writes of any size."""
        # Most programs need it never.
        from aiomqtt.net.large_writes import with_parts

        self._largest_write = NO_LIMIT
        return with_parts(transport, self.connection.send_buffer.is_paused)

    def _bytes_taken(self) -> int:
        """Return the number of bytes that the system has accepted."""
        transport = self._transport
        return self._written - (transport.get_write_buffer_size() if transport else 0)

    def read_or_not(self) -> None:
        """Read, unless the client has to wait for an answer or for other clients."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._take_early()
        self._go_on_soon()
        wanted = self.connection.is_closed or not (
            self.connection.is_waiting or self._connection_set.is_paused
        )
        if wanted != self._is_reading:
            self._is_reading = wanted
            if wanted:
                transport.resume_reading()
            else:
                transport.pause_reading()

    def _take_early(self) -> None:
        if self._early and not self._connection_set.is_paused:
            early, self._early = self._early, []
            self.data_received(b"".join(early))

    def abort(self) -> None:
        """Abort the connection without a DISCONNECT."""
        if self._transport is not None:
            self._transport.abort()

    def close_soon(self, seconds: float) -> None:
        """Abort the connection after a number of seconds, if it is still open."""
        if self._transport is not None and self._closing is not None:
            self._closing.limit(seconds)

    # --- events -----------------------------------------------------------------------

    def _handle(self, event: Event) -> None:
        logger = self._connection_set.logger
        if isinstance(event, PermissionRequest):
            self._start_asking(event)
        elif isinstance(event, AuthenticationStarted):
            self._exchange = Exchange(
                self.connection, self._connection_set.flush, event
            )
            self._start_authenticating(self._exchange)
        elif isinstance(event, AuthenticationContinued):
            if self._exchange is not None:
                self._exchange.answered(event.data)
        elif isinstance(event, Accepted):
            info = event.info
            if self._trace is not None:
                self._trace.name = escape(info.client_id)
            logger.info(
                "New client connected from %s as %s (p%d, c%d, k%d%s).",
                info.address,
                escape(info.client_id),
                # mosquitto's numbers.
                {3: 1, 4: 2, 5: 5}[info.version],
                event.clean_start,
                event.keep_alive,
                f", u{quote(info.username)}" if info.username is not None else "",
            )
        else:
            self._end(event)

    def _end(self, event: Ended) -> None:
        info = self.connection.info
        name = escape(info.client_id) or info.address
        if event.reason:
            reason = escape(event.reason)
            self._connection_set.logger.info(
                "Client %s disconnected: %s.", name, reason
            )
        else:
            self._connection_set.logger.info("Client %s disconnected.", name)
        for task in self._tasks:
            task.cancel()
        if self in self._connection_set.leaving:
            del self._connection_set.leaving[self]
            if self._last_questions is not None:
                self._last_questions.cancel()
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self.read_or_not()
        barrier = self._connection_set.barrier
        if barrier is None:
            self._finish()
        else:
            self._is_end_held = True
            barrier.hold(self, None)

    def end_held(self) -> None:
        """Close the network connection, whose end waited for the store."""
        self._is_end_held = False
        if self._transport is not None:
            self._finish()

    def _finish(self) -> None:
        if self._closing is not None and not self._closing.flush(LINGER):
            self._closing.half_close()

    def _half_close(self) -> None:
        if self._closing is not None and self._transport is not None:
            self._closing.half_close()

    # --- asking the program -----------------------------------------------------------

    def _start_asking(self, request: PermissionRequest) -> None:
        asked = [request]
        task = self._loop.create_task(self._ask(asked))
        self._tasks[task] = None

        def end(task: asyncio.Task[None]) -> None:
            self._tasks.pop(task, None)
            if asked:
                # It was cancelled, for whatever reason: the client must not wait
                # forever.
                self._deny(asked[0])

        task.add_done_callback(end)

    async def _ask(self, asked: list[PermissionRequest]) -> None:
        """Ask the program, as long as there are requests."""
        connection = self.connection
        count = 0
        while asked:
            request = asked[0]
            count += 1
            if count % REQUESTS_PER_TURN == 0:
                # The same for many packets as for many topics of one.
                await asyncio.sleep(0)
            verdicts = await self._connection_set.hooks.decide(connection.info, request)
            self._log_denied(request, verdicts)
            asked.clear()
            connection.answer(verdicts, self._loop.time())
            # Handle the next request without another task.
            if len(connection.events) == 1:
                event = connection.events[0]
                if isinstance(event, PermissionRequest):
                    connection.events.clear()
                    asked.append(event)
        self.flush()
        self._connection_set.flush()

    def _log_denied(
        self, request: PermissionRequest, verdicts: list[Refusal | None]
    ) -> None:
        for topic, verdict in zip(request.topics, verdicts, strict=False):
            if verdict is not None:
                self._connection_set.logger.info(
                    "Denied %s from %s (%s)",
                    request.packet.kind.name,
                    escape(self.connection.info.client_id),
                    quote(topic),
                )

    def _deny(self, request: PermissionRequest) -> None:
        """Deny a request that the program can no longer answer."""
        if not self.connection.is_closed:
            self._connection_set.logger.warning(
                "A hook was cancelled: the client is denied"
            )
            denied: list[Refusal | None] = [Refusal(UNSPECIFIED_ERROR)]
            denied *= max(1, len(request.topics))
            self.connection.answer(denied, self._loop.time())
            self.flush()
            self._connection_set.flush()

    def _start_authenticating(self, exchange: Exchange) -> None:
        task = self._loop.create_task(self._authenticate(exchange))
        self._tasks[task] = None

        def end(task: asyncio.Task[None]) -> None:
            self._tasks.pop(task, None)
            if not exchange.is_over:
                self._conclude(exchange, Refusal(UNSPECIFIED_ERROR), None)

        task.add_done_callback(end)

    async def _authenticate(self, exchange: Exchange) -> None:
        refusal, data = await self._connection_set.hooks.authenticate(exchange)
        self._conclude(exchange, refusal, data)

    def _conclude(
        self, exchange: Exchange, refusal: Refusal | None, data: bytes | None
    ) -> None:
        exchange.is_over = True
        if refusal is None:
            self.connection.authenticated(data, self._loop.time(), exchange.username)
        else:
            self.connection.refuse(refusal, self._loop.time())
        self.flush()
        self._connection_set.flush()


def address_of(transport: asyncio.BaseTransport) -> str:
    """Return the address of a client as text."""
    name = transport.get_extra_info("peername")
    if isinstance(name, tuple):
        host, port = name[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    # The client's end of a Unix socket has no name.
    return str(name) if name else "unix" if name == "" else "unknown"


def _certificate(tls: ssl.SSLObject | None) -> Mapping[str, object] | None:
    """Return the client's certificate, if it gave one that was verified."""
    if tls is None or not isinstance(tls.context, ssl.SSLContext):
        return None
    return tls.getpeercert() or None
