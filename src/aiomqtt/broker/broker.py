"""The public class of the broker."""

import asyncio
import itertools
import logging
import os
import ssl
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from aiomqtt.argument_checks import check_finite
from aiomqtt.exceptions import MqttError
from aiomqtt.log import Logger, SafeLogger, to_logger
from aiomqtt.net.buffers import keep_large_blocks
from aiomqtt.paho import PropertiesLike, to_properties
from aiomqtt.payload import PayloadType, encode_payload
from aiomqtt.protocol.codec.encode import check_qos, check_topic_name
from aiomqtt.protocol.codec.properties import check_properties
from aiomqtt.standard.names import (
    ADMINISTRATIVE_ACTION,
    SERVER_MOVED,
    SERVER_SHUTTING_DOWN,
    USE_ANOTHER_SERVER,
)
from aiomqtt.standard.tables import PacketType, Role
from aiomqtt.topic import TopicLike, to_text

from .attributes import BrokerAttributes
from .core.connack import code_within
from .core.message import ApplicationMessage
from .core.state import BrokerState
from .core.timers import Timer
from .hooks import (
    Authenticate,
    Authorize,
    EnhancedAuthentication,
    Refusal,
    check_texts,
)
from .io.connection_set import ConnectionSet
from .io.hook_runner import Hooks
from .limits import Limits
from .listeners import NOT_RUNNING, Listener, Server

if TYPE_CHECKING:
    from aiomqtt.stores.broker import BrokerStore

    from .storing import Storing

LOGGER: Final = logging.getLogger("aiomqtt.broker")

# The seconds that clients have to close their side when the broker stops.
SHUTDOWN_GRACE: Final = 0.5

_numbers = itertools.count(1)


class Broker(BrokerAttributes):
    """An MQTT broker inside the process, as an asynchronous context manager.

    It supports MQTT 3.1, 3.1.1 and 5.0 and is for tests, demos, development and small
    programs in a single process. It starts when entered, and disconnects all clients
    when left. The object keeps sessions and retained messages: entering it again is
    like restarting a broker that has kept them. With a store they outlive the process,
    however it ends. Call its methods only in the event loop in which it was entered.

    Args:
        host: The address to listen on; a name: all its addresses, on one port; "": all
            addresses of this host; ``None``: none, for the memory transport only.
        port: The port; 0: a free one.
        name: The name for ``Client(name, transport="memory")`` in this process;
            ``None``: a generated one.
        ssl_context: The server's context for TLS; ``None``: no TLS.
        credentials: The passwords by user name; ``None``: every client may connect.
            Clients without a user name are refused with 0x87, and those with a wrong
            user name or password with 0x86.
        authenticate: Decides who may connect: called with a `ClientInfo` it returns
            ``True``, ``False`` (0x86), a reason code or a `Refusal`.
        authorize: Decides who may publish and subscribe: called for each topic or
            filter with a `ClientInfo`, ``"publish"`` or ``"subscribe"``, and the topic
            or filter, it returns ``True``, ``False`` (0x87) or a reason code.
        enhanced_authentication: Decides about clients with an Authentication Method
            (MQTT 5.0 §4.12): called with an `Authentication` when they connect and when
            they reauthenticate, it returns ``True``, the last Authentication Data,
            ``False`` (0x87), a reason code or a `Refusal`. ``None``: such clients are
            refused with 0x8C.
        limits: The features of the broker and the resources for clients; ``None``:
            `Limits()`.
        sys_interval: The interval at which the ``$SYS`` topics are updated, in seconds;
            0: there are none.
        logger: The logger for connections and disconnections (INFO) and for all packets
            (DEBUG); ``None``: the logger named "aiomqtt.broker".
        store: Where sessions and retained messages are kept, such as an `SQLiteStore`:
            nothing is acknowledged before it is stored. ``None``: nothing is written to
            disk.

    Raises:
        TypeError: `store` is none.
        ValueError: The name is already used; raised when entered.
        OSError: It is impossible to listen on the address; raised when entered.
        SessionStoreError: The store can't be used; raised when entered.
    """

    def __init__(
        self,
        host: str | None = "127.0.0.1",
        port: int = 0,
        *,
        name: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        credentials: Mapping[str, str] | None = None,
        authenticate: Authenticate | None = None,
        authorize: Authorize | None = None,
        enhanced_authentication: EnhancedAuthentication | None = None,
        limits: Limits | None = None,
        sys_interval: float = 10.0,
        logger: Logger | None = None,
        store: "BrokerStore | None" = None,
    ) -> None:
        _check_arguments(port, sys_interval)
        super().__init__(Limits() if limits is None else limits)
        self.name: str = name or f"broker-{next(_numbers)}"
        self._host = host
        self._port = port
        self._ssl_context = ssl_context
        self._logger = to_logger(logger, LOGGER)
        self._hooks = Hooks(
            credentials,
            authenticate,
            authorize,
            enhanced_authentication,
            self._logger,
        )
        self._sys_interval = sys_interval
        self._storing: Storing | None = None
        if store is not None:
            self._storing = _storing(store, self._logger)
        # Valid while it runs.
        self._sys_timer: Timer | None = None

    @property
    def _observer(self) -> Callable[[ApplicationMessage], None] | None:
        """What is called for each message that is published; None: nothing."""
        return None

    # --- starting and stopping ------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Start the broker; see `start`."""
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Stop the broker; see `stop`."""
        await self.stop()

    async def start(self) -> None:
        """Start the broker; return when it listens.

        A port that the system chose stays the same when it is started again.

        With a store, it begins with what is stored, also if it ran before.

        Raises:
            OSError: It is impossible to listen on the address.
            ValueError: Another broker has the name.
            RuntimeError: It is already running.
            SessionStoreError: The store can't be used; nothing in it has changed.
        """
        if self._connection_set is not None:
            msg = "The broker is running."
            raise RuntimeError(msg)
        keep_large_blocks()
        loop = asyncio.get_running_loop()
        storing = self._storing
        if self._state is None or storing is not None:
            state = self._new_state(loop.time())
            if storing is not None:
                await storing.load(state)
            self._state = state
        self._connection_set = ConnectionSet(self._state, self._hooks, self._logger)
        if storing is not None:
            storing.begin(self._connection_set)
        try:
            self._listeners.begin(self._connection_set, self.name)
            if self._host is not None:
                first = await self.listen(
                    self._host, self._port, ssl_context=self._ssl_context
                )
                self._port = first.port
        except BaseException:
            await self.stop()
            raise
        self._started = loop.time()
        if self._sys_interval:
            self._show_statistics(self._started)
        self._connection_set.arm()

    def _new_state(self, now: float) -> BrokerState:
        state = BrokerState(self._limits, _new_identifier, self._logger.info, now)
        state.asks_to_connect = self._hooks.decide_who_connects
        state.on_publish = self._observer
        state.asks_for_topics = self._hooks.decide_about_topics
        return state

    async def listen(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        ssl_context: ssl.SSLContext | None = None,
        websocket: bool = False,
    ) -> Listener:
        """Listen on one more address, until the broker stops.

        Args:
            host: The address; a name: all its addresses, on one port; "": all addresses
                of this host.
            port: The port; 0: a free one.
            ssl_context: The server's context for TLS; ``None``: no TLS.
            websocket: Whether clients connect by WebSocket, on any path.

        Returns:
            The address and port that it listens on.

        Raises:
            OSError: It is impossible to listen on the address.
            ImportError: WebSocket needs ``pip install "aiomqtt[websockets]"``.
            RuntimeError: The broker is not running, or was stopped meanwhile.
        """
        running = self._running()
        return await self._listeners.listen(running, host, port, ssl_context, websocket)

    async def listen_unix(self, path: str) -> Listener:
        """Listen on a Unix socket too, until the broker stops.

        A socket that a process has left behind at the path is replaced. The path is
        removed when the broker stops.

        Args:
            path: The path.

        Returns:
            The path as `host`, and 0 as `port`.

        Raises:
            OSError: It is impossible to listen on the path.
            RuntimeError: The broker is not running.
        """
        return await self._listeners.listen_unix(self._running(), path)

    async def stop(self) -> None:
        """Disconnect all clients (0x8B) and stop; return when everything is closed.

        Sessions and retained messages are kept for the next start. It does nothing if
        the broker is not running.
        """
        connection_set = self._connection_set
        if connection_set is None:
            if self._storing is not None:
                # After `kill`, it may not be closed yet.
                await self._storing.settled()
            return
        closing = self._close()
        for connection in [*connection_set.state.connections.values()]:
            connection.end(
                SERVER_SHUTTING_DOWN, "the broker is being stopped", connection_set.now
            )
        for protocol in [*connection_set.protocols, *connection_set.leaving]:
            protocol.connection.abandon(
                "the broker is being stopped", connection_set.now
            )
            protocol.flush()
        connection_set.flush()
        try:
            await connection_set.close(SHUTDOWN_GRACE)
        finally:
            # Even if it was cancelled, nothing of it may go on.
            connection_set.abort()
            if self._storing is not None:
                await self._storing.close()
        for server in closing:
            await server.wait_closed()

    def kill(self) -> None:
        """Stop as in a crash: without a DISCONNECT to clients, and without wills.

        Sessions and retained messages are kept for the next start, as by a broker that
        writes them to disk at once; with a store, those that are stored. It does
        nothing if the broker is not running.
        """
        connection_set = self._connection_set
        if connection_set is None:
            return
        if self._storing is not None:
            self._storing.abandon()
        self._close()
        for connection in connection_set.state.connections.values():
            if connection.session is not None:
                connection.session.will = None
        for protocol in [*connection_set.protocols, *connection_set.leaving]:
            protocol.connection.abandon("the broker was killed", connection_set.now)
            protocol.flush()
            protocol.abort()
        connection_set.flush()
        connection_set.end()

    def _close(self) -> list[Server]:
        """Accept no more connections; return the servers, which are closing."""
        connection_set, self._connection_set = self._connection_set, None
        assert connection_set is not None
        connection_set.state.timers.cancel(self._sys_timer)
        closing = self._listeners.close()
        connection_set.pause(False)
        return closing

    def clear(self) -> None:
        """Forget the sessions without a connection, and all retained messages.

        Raises:
            RuntimeError: The broker has a store, and is not running.
        """
        if self._storing is not None:
            self._running()
        if self._state is not None:
            self._state.clear(self._now())
        if self._connection_set is not None:
            self._connection_set.flush()

    async def serve_forever(self) -> None:
        """Wait until the broker stops, in another task, or its store fails.

        Cancelling it changes nothing.

        Raises:
            SessionStoreError: The store has failed: the clients are disconnected, and
                no client is served until the broker is started again.
            RuntimeError: The broker is not running.
        """
        await self._running().ended()
        if self._storing is not None:
            self._storing.check()

    def _running(self) -> ConnectionSet:
        if self._connection_set is None:
            raise RuntimeError(NOT_RUNNING)
        return self._connection_set

    # --- actions ----------------------------------------------------------------------

    def publish(
        self,
        topic: TopicLike,
        payload: PayloadType = None,
        qos: int = 0,
        retain: bool = False,
        properties: PropertiesLike | None = None,
    ) -> int:
        """Publish a message to all subscribers (MQTT 5.0 §3.3).

        With a store, it is stored soon, and before a subscriber gets it.

        Args:
            topic: The topic name.
            payload: The payload: a str is sent as UTF-8, a number as its decimal text,
                ``None`` as an empty payload.
            qos: 0, 1 or 2.
            retain: Whether to retain the message.
            properties: The properties for clients of 5.0; ``None``: none.

        Returns:
            The number of sessions that it goes to, connected or not.

        Raises:
            ValueError: An argument violates a rule; nothing was published.
            TypeError: An argument has a wrong type; nothing was published.
            MqttError: There is no room to retain it, or the store has failed; nothing
                was published.
            RuntimeError: The broker is not running.
        """
        connection_set = self._running()
        if self._storing is not None:
            self._storing.check()
        check_qos(qos)
        topic = to_text("topic", topic)
        check_topic_name(topic)
        encoded = encode_payload(payload)
        given = to_properties("properties", properties)
        check_properties(given, PacketType.PUBLISH, sender=Role.CLIENT)
        now = self._now()
        message = ApplicationMessage(topic, encoded, qos, bool(retain), given, now)
        if retain and not connection_set.state.retained.has_room_for(message):
            msg = "Could not retain the message: too much is retained already"
            raise MqttError(msg)
        count = connection_set.state.publish_own(message, now)
        connection_set.flush()
        return count

    def disconnect(
        self,
        client_id: str,
        reason_code: int = ADMINISTRATIVE_ACTION,
        *,
        reason_string: str | None = None,
        server_reference: str | None = None,
    ) -> bool:
        """Disconnect a client (MQTT 5.0 §3.14); its will is published.

        Args:
            client_id: The client identifier.
            reason_code: The reason; not sent to clients below 5.0.
            reason_string: The reason, for people; ``None``: the name of the code.
            server_reference: The server to use instead, for 0x9C and 0x9D.

        Returns:
            Whether the client was connected.

        Raises:
            ValueError: A broker's DISCONNECT can't have this code, or can't carry a
                text.
            RuntimeError: The broker is not running.
        """
        connection_set = self._running()
        if code_within(PacketType.DISCONNECT, reason_code) != reason_code:
            msg = f"reason_code {reason_code:#04x} is not allowed in DISCONNECT"
            raise ValueError(msg)
        check_texts(reason_string, server_reference)
        connection = connection_set.state.connections.get(client_id)
        if connection is None:
            return False
        connection.end(
            reason_code, reason_string or "", connection_set.now, server_reference
        )
        connection_set.flush()
        return True

    def abort(self, client_id: str | None = None) -> int:
        """Abort connections without a DISCONNECT, like a network failure.

        Args:
            client_id: The client; ``None``: all connections.

        Returns:
            The number of aborted connections.
        """
        connection_set = self._running()
        protocols = [
            protocol
            for protocol in connection_set.protocols
            if client_id is None or protocol.connection.info.client_id == client_id
        ]
        for protocol in protocols:
            protocol.abort()
        return len(protocols)

    def redirect(
        self, server_reference: str | None, *, permanent: bool = False
    ) -> None:
        """Send all clients to another server (MQTT 5.0 §4.11).

        Clients of 5.0 get 0x9C (if permanent, 0x9D) with the reference: connected ones
        at once, others when they connect. Clients below 5.0 are refused with "server
        unavailable".

        Args:
            server_reference: The other server, such as ``"other.example:1883"``;
                ``None``: serve clients again.
            permanent: Whether clients should use the other server from now on.
        """
        connection_set = self._running()
        if server_reference is None:
            connection_set.state.redirection = None
            return
        code = SERVER_MOVED if permanent else USE_ANOTHER_SERVER
        connection_set.state.redirection = Refusal(code, None, server_reference)
        for connection in [*connection_set.state.connections.values()]:
            connection.end(code, "", connection_set.now, server_reference)
        connection_set.flush()

    def pause(self) -> None:
        """Stop reading and answering, like a host that hangs, until `resume`."""
        self._running().pause(True)

    def resume(self) -> None:
        """Go on after `pause`."""
        self._running().pause(False)

    def _show_statistics(self, now: float) -> None:
        """Update the $SYS topics, and again after the interval."""
        connection_set = self._connection_set
        if connection_set is None:
            return
        state = connection_set.state
        state.statistics.uptime = now - self._started
        state.show_statistics(now)
        self._sys_timer = state.timers.add(
            now + self._sys_interval, self._show_statistics
        )


def _storing(store: "BrokerStore", logger: SafeLogger) -> "Storing":
    # Most programs need it never.
    from .storing import Storing

    return Storing(store, logger)


def _new_identifier() -> str:
    """Generate a client identifier for a client that has none."""
    return f"auto-{os.urandom(8).hex().upper()}"


def _check_arguments(port: int, sys_interval: float) -> None:
    if not isinstance(port, int) or not 0 <= port <= 0xFFFF:
        msg = f"port must be 0 to 65535, not {port!r}"
        raise ValueError(msg)
    check_finite("sys_interval", sys_interval)
