"""The client: signatures, arguments, entering and leaving; no protocol rules."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final, Literal, Self

from aiomqtt.exceptions import MqttError, MqttReentrantError
from aiomqtt.log import Logger, to_logger
from aiomqtt.message import Message
from aiomqtt.paho import to_properties
from aiomqtt.properties import Properties, ReasonCode
from aiomqtt.protocol.engine import Engine
from aiomqtt.protocol.requests import Request
from aiomqtt.standard.tables import ProtocolVersion
from aiomqtt.streams.iterator import MessagesIterator
from aiomqtt.topic import to_text
from aiomqtt.types import (
    PropertiesLike,
    ProxySettings,
    SocketOption,
    SubscribeOptionsLike,
    SubscribeTopic,
    TLSParameters,
    UnsubscribeTopic,
    WebSocketHeaders,
    Will,
)

from .arguments import (
    CLEAN_START_FIRST_ONLY,
    check_timeout,
    check_type,
    to_bound,
    to_credentials,
    to_subscriptions,
)
from .calls import Calls
from .calls_async import close, connect, request
from .configuration import to_settings, to_stream
from .legacy import LegacyAttributes
from .other_names import OtherNames
from .publish_async import Publisher
from .target_arguments import to_target, with_websocket_options

LOGGER: Final = logging.getLogger("mqtt")

DEFAULT_TIMEOUT: Final = 10.0  # seconds


class Client(Publisher, LegacyAttributes, OtherNames):
    """A connection to an MQTT broker, as an asynchronous context manager.

    Entering connects; leaving disconnects, even after an exception. A client can be
    entered again after it was left or could not connect, but not while it is entered.
    Call all methods in the event loop in which it was entered; if that loop is closed,
    the client counts as left, without a DISCONNECT.

    If the session lasts (`clean_session=False`, or a session expiry interval above 0 in
    5.0), messages with QoS 1 or 2 that were published and not acknowledged are kept,
    and sent again, in order, when the client is entered again; if the broker has lost
    the session meanwhile, they are sent as new messages (MQTT 5.0 §4.4, §3.2.2.1.1).

    Args:
        hostname: The broker's host name or address; the path of its Unix socket; in
            memory, the broker's name.
        port: The broker's port; in memory and for a Unix socket, ignored.
        username: The user name; ``None``: none.
        password: The password; ``None``: none.
        logger: The logger for the beginning and end of a connection (INFO) and for all
            packets, without passwords and payloads (DEBUG); ``None``: the logger named
            "mqtt".
        identifier: The client identifier; ``None``: a generated one for 3.1; for
            3.1.1 and 5.0 the broker chooses.
        queue_type: The class of the queue of incoming messages, such as
            ``asyncio.LifoQueue``; ``None``: first in, first out.
        protocol: The version of MQTT, `ProtocolVersion` or 3, 4, 5; ``None``: 3.1.1.
        will: The message that the broker publishes if the connection ends without a
            DISCONNECT; ``None``: none.
        clean_session: Whether the broker forgets the session when the connection
            ends (3.1 and 3.1.1 only); ``None``: it does.
        transport: "tcp"; "websockets", which requires
            ``pip install "aiomqtt[websockets]"``; "unix", for a Unix socket, without
            TLS, `proxy`, `bind_address` and `bind_port`; or "memory", for a broker in
            the same event loop, such as `Broker`, also without `socket_options`.
        timeout: How many seconds any operation may take; ``None``: 10;
            ``math.inf``: forever.
        keepalive: The keep alive interval in seconds, 0 to 65535; 0: none.
        bind_address: The local address to connect from; "": any.
        bind_port: The local port to connect from; 0: any.
        clean_start: Whether the broker starts a new session (5.0 only): ``True``,
            ``False``, or 3 for "only until a connection was accepted".
        max_queued_incoming_messages: How many messages may wait for the program;
            further ones are discarded with a warning. ``None`` or 0: nothing is
            discarded; while very many wait, reading from the broker pauses.
        max_queued_outgoing_messages: How many publishes with QoS 1 and 2 may be
            unfinished; further ones raise. ``None`` or 0: any number.
        max_inflight_messages: How many publishes with QoS 1 and 2 may be in flight at
            once; the others wait. ``None`` or 0: as many as the broker's Receive
            Maximum allows, and 20 below 5.0.
        max_concurrent_outgoing_calls: How many calls of `publish`, `subscribe` and
            `unsubscribe` may run at once; the others wait; ``None`` or 0: any number.
        properties: The properties of the CONNECT (5.0 only); ``None``: none.
        tls_context: The context for TLS; ``None``: see `tls_params`.
        tls_params: The parameters for a new context; ``None``, and no `tls_context`: no
            TLS.
        tls_insecure: Whether to accept a certificate for another name. It also changes
            a given `tls_context`.
        proxy: Not implemented yet.
        socket_options: Arguments of ``socket.setsockopt``, one tuple for each call.
        websocket_path: The path of the WebSocket, with its query; ``None``: "/mqtt".
            Other transports ignore it.
        websocket_headers: Headers for the WebSocket handshake, such as
            ``{"Authorization": "Bearer ..."}``, which replace and extend the default
            ones; or a callable that is called for each connection with these and
            returns all headers; ``None``: the default ones. Other transports ignore it.
        server_hostname: The name that the broker's certificate must have, and that is
            sent to the broker (SNI); ``None``: the `hostname`.

    Attributes:
        timeout: The default timeout of operations, in seconds.
        pending_calls_threshold: The number of pending calls above which a warning is
            logged.

    Raises:
        ValueError: An argument violates a rule; the message names both.
        TypeError: An argument has a wrong type; the message names it.
        NotImplementedError: There is a `proxy`: it is not implemented yet.
    """

    # On the class as well, for mocks with `spec=Client`.
    timeout: float = DEFAULT_TIMEOUT
    pending_calls_threshold: int = 10

    def __init__(
        self,
        hostname: str,
        port: int = 1883,
        *,
        username: str | None = None,
        password: str | None = None,
        logger: Logger | None = None,
        identifier: str | bytes | None = None,
        queue_type: type[asyncio.Queue[Message]] | None = None,
        protocol: ProtocolVersion | int | None = None,
        will: Will | None = None,
        clean_session: bool | None = None,
        transport: Literal["tcp", "websockets", "unix", "memory"] = "tcp",
        timeout: float | None = None,
        keepalive: int = 60,
        bind_address: str = "",
        bind_port: int = 0,
        clean_start: bool | int = CLEAN_START_FIRST_ONLY,
        max_queued_incoming_messages: int | None = None,
        max_queued_outgoing_messages: int | None = None,
        max_inflight_messages: int | None = None,
        max_concurrent_outgoing_calls: int | None = None,
        properties: PropertiesLike | None = None,
        tls_context: ssl.SSLContext | None = None,
        tls_params: TLSParameters | None = None,
        tls_insecure: bool | None = None,
        proxy: ProxySettings | None = None,
        socket_options: Iterable[SocketOption] | None = None,
        websocket_path: str | None = None,
        websocket_headers: WebSocketHeaders | None = None,
        server_hostname: str | None = None,
    ) -> None:
        """Check the arguments; nothing is connected yet."""
        given = locals()
        # Valid as long as the client.
        self._target = to_target(given)
        self._engine = Engine(to_settings(given))
        self._logger = to_logger(logger, LOGGER)
        self._stream = to_stream(queue_type, max_queued_incoming_messages, self._logger)
        self._maximum_calls = to_bound(
            "max_concurrent_outgoing_calls", max_concurrent_outgoing_calls
        )
        self.timeout = check_timeout(DEFAULT_TIMEOUT if timeout is None else timeout)
        self.pending_calls_threshold = 10
        # Valid for the event loop that the client is entered in.
        self._entered_loop: asyncio.AbstractEventLoop | None = None
        self._call_slots: asyncio.Semaphore | None = None
        # Valid from entering to leaving.
        self._is_entered = False
        self._calls: Calls | None = None

    # --- state --------------------------------------------------------------------

    @property
    def identifier(self) -> str:
        """The client identifier; empty until the broker assigns one."""
        return self._engine.session.client_id

    @property
    def session_present(self) -> bool:
        """Whether the broker resumed an earlier session (MQTT 5.0 §3.2.2.1.1).

        The last CONNACK that accepted a connection says so, even after that connection
        has ended; ``False`` before the first, and in 3.1, which has no such flag.
        """
        connack = self._engine.connack
        return connack is not None and connack.session_present

    @property
    def connack_properties(self) -> Properties | None:
        """The properties of the CONNACK (MQTT 5.0 §3.2.2.3): limits of the broker, ...

        They belong to the last accepted connection, even after it has ended.
        ``None`` before the first, and below 5.0.
        """
        connack = self._engine.connack
        return None if connack is None else connack.properties

    @property
    def messages(self) -> MessagesIterator:
        """The incoming messages, to iterate over."""
        return MessagesIterator(self._stream)

    def is_connected(self) -> bool:
        """Whether there is a connection that the broker has accepted."""
        return self._calls is not None and self._calls.is_connected

    def set_credentials(
        self, username: str | None, password: str | None = None
    ) -> None:
        """Set the user name and password for future connections.

        Args:
            username: The user name; ``None``: none.
            password: The password; ``None``: none.

        Raises:
            ValueError: There is a password without a user name below 5.0.
            TypeError: An argument is neither a str nor ``None``.
        """
        settings = self._engine.settings
        name, word = to_credentials(settings.version, username, password)
        self._engine.settings = settings._replace(username=name, password=word)

    def set_websocket_options(
        self, path: str | None = None, headers: WebSocketHeaders | None = None
    ) -> None:
        """Set path and headers of the WebSocket connections from now on.

        Args:
            path: As `websocket_path`.
            headers: As `websocket_headers`.

        Raises:
            ValueError: An argument violates a rule, or the client has another
                transport.
            TypeError: An argument has a wrong type.
        """
        self._target = with_websocket_options(self._target, path, headers)

    # --- subscriptions ------------------------------------------------------------

    async def subscribe(
        self,
        topic: SubscribeTopic,
        qos: int = 0,
        options: SubscribeOptionsLike | None = None,
        properties: PropertiesLike | None = None,
        *,
        timeout: float | None = None,
    ) -> tuple[int, ...] | list[ReasonCode]:
        """Subscribe to one or several topic filters (MQTT 5.0 §3.8).

        Returns when the broker has answered. After a cancellation or a timeout the
        subscription may still come into effect. Filters that the broker refuses are
        logged as a warning, and are no error.

        Args:
            topic: A topic filter; a tuple of a filter and its QoS or its
                SubscribeOptions; or a list of either.
            qos: The maximum QoS for filters that come without one.
            options: The options (5.0 only) for filters that come without; ``None``:
                the defaults, with `qos`.
            properties: The properties (5.0 only); ``None``: none.
            timeout: How many seconds to wait; ``None``: the client's timeout;
                ``math.inf``: forever.

        Returns:
            One answer for each filter, in their order: a tuple of granted QoS below
            5.0, a list of reason codes in 5.0. 0x80 and above is a refusal.

        Raises:
            ValueError: An argument violates a rule; nothing was sent.
            TypeError: An argument has a wrong type; nothing was sent.
            MqttCodeError: There is no connection, or the broker does not offer it.
            MqttError: The connection ended, or the call timed out.
        """
        subscriptions = to_subscriptions(topic, qos, options)
        properties = to_properties("properties", properties)
        codes = await self._request(
            lambda: self._engine.subscribe(subscriptions, properties), timeout
        )
        if self._engine.version >= ProtocolVersion.V5:
            return codes
        return tuple(codes)

    async def unsubscribe(
        self,
        topic: UnsubscribeTopic,
        properties: PropertiesLike | None = None,
        *,
        timeout: float | None = None,
    ) -> list[ReasonCode] | None:
        """Unsubscribe from one or several topic filters (MQTT 5.0 §3.10).

        Returns when the broker has answered. After a cancellation or a timeout the
        subscription may still end. Filters that the broker refuses are logged as a
        warning.

        Args:
            topic: A topic filter, or a list of them.
            properties: The properties (5.0 only); ``None``: none.
            timeout: How many seconds to wait; ``None``: the client's timeout;
                ``math.inf``: forever.

        Returns:
            In 5.0 the reason codes, one for each filter, in their order; 0x80 and above
            is a refusal. ``None`` below 5.0, where the broker can't refuse.

        Raises:
            ValueError: An argument violates a rule; nothing was sent.
            TypeError: An argument has a wrong type; nothing was sent.
            MqttCodeError: There is no connection.
            MqttError: The connection ended, or the call timed out.
        """
        topics = topic if isinstance(topic, list | tuple) else [topic]
        filters = [to_text("topic", item) for item in topics]
        properties = to_properties("properties", properties)
        codes = await self._request(
            lambda: self._engine.unsubscribe(filters, properties), timeout
        )
        return codes if self._engine.version >= ProtocolVersion.V5 else None

    async def _request(
        self, make: Callable[[], Request], timeout: float | None
    ) -> list[ReasonCode]:
        """Send a request, and return the reason codes of its answer."""
        seconds = self.timeout if timeout is None else check_timeout(timeout)
        slots = self._call_slots
        if slots is not None:
            await slots.acquire()
        try:
            return await request(
                self._calls, make, seconds, self.pending_calls_threshold
            )
        finally:
            if slots is not None:
                slots.release()

    # --- entering and leaving ---------------------------------------------------

    async def __aenter__(self) -> Self:
        """Connect to the broker (MQTT 5.0 §3.1); returns when it has accepted.

        After a cancellation or an error nothing is left behind, and the client can be
        entered again.

        Raises:
            MqttReentrantError: The client is entered already.
            MqttConnectError: The broker refused the connection, with its code.
            MqttError: The broker could not be reached, the connection ended, or the
                timeout.
        """
        self._belong_to(asyncio.get_running_loop())
        if self._is_entered:
            msg = "The client context manager is reusable, but not reentrant"
            raise MqttReentrantError(msg)
        self._is_entered = True
        self._stream.expect()
        calls = self._calls = Calls(
            self._engine, self._stream, self._logger, str(self._target), self.timeout
        )
        try:
            await connect(calls, self._engine, self._target, self.timeout)
        except BaseException as error:
            self._calls = None
            self._is_entered = False
            calls.driver.abort()
            self._stream.close(error if isinstance(error, MqttError) else None)
            raise
        return self

    def _belong_to(self, loop: asyncio.AbstractEventLoop) -> None:
        """Use this event loop from now on, if the client is not entered in another."""
        if loop is self._entered_loop:
            return
        self._forget_closed_loop()
        if not self._is_entered:
            self._entered_loop = loop
            if self._maximum_calls is not None:
                self._call_slots = asyncio.Semaphore(self._maximum_calls)

    def _forget_closed_loop(self) -> None:
        """Leave the client if the event loop that it was entered in was closed."""
        if self._entered_loop is not None and self._entered_loop.is_closed():
            # The waiting tasks ended with the loop.
            calls, self._calls = self._calls, None
            self._is_entered = False
            self._stream.abandon()
            if calls is not None:
                calls.abandon()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Disconnect from the broker (MQTT 5.0 §3.14); returns when that is done.

        Everything that was published is written first; from now on `publish` raises.
        Without an exception, calls that still wait for the broker's answer in other
        tasks get it, within the timeout. Harmless when the client is not entered.
        A cancellation cuts the connection.
        """
        self._forget_closed_loop()
        if self._calls is not None:
            await self._leave(self._calls, flush=exc_type is None)

    async def disconnect(
        self,
        reason_code: int = 0,
        properties: PropertiesLike | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Leave the client, and tell the broker why (MQTT 5.0 §3.14).

        The same as leaving `async with`, but with a reason code and properties:
        everything that was published is written first, calls that wait for the
        broker's answer get it, and no new ones are accepted. Returns when the
        connection is closed. It is harmless to leave the context afterwards, to call
        this again, or to call it while the client is not entered. A cancellation cuts
        the connection.

        Args:
            reason_code: 0: the broker discards the will. 0x04: it publishes the will
                (Disconnect with Will Message). See MQTT 5.0 §3.14.2.1; 0 below 5.0.
            properties: The properties of the DISCONNECT (5.0 only), such as
                `session_expiry_interval`: 0 ends a session that would last; more
                than 0 needs a CONNECT that said more than 0. ``None``: none.
            timeout: How many seconds to wait for unfinished calls, and again for
                the connection to close; ``None``: the client's timeout;
                ``math.inf``: forever.

        Raises:
            ValueError: An argument violates a rule, or this version does not have it;
                the connection goes on.
            TypeError: An argument has a wrong type; the connection goes on.
        """
        check_type("reason_code", reason_code, int)
        properties = to_properties("properties", properties)
        seconds = self.timeout if timeout is None else check_timeout(timeout)
        self._engine.check_disconnect(reason_code, properties)
        self._forget_closed_loop()
        if self._calls is not None:
            self._calls.set_timeout(seconds)
            await self._leave(self._calls, True, reason_code, properties)

    async def _leave(
        self,
        calls: Calls,
        flush: bool,
        reason_code: int = 0,
        properties: Properties | None = None,
    ) -> None:
        try:
            await close(calls, flush, reason_code, properties)
        finally:
            calls.driver.abort()
            if self._calls is calls:
                self._calls = None
                self._is_entered = False
