"""The client: its arguments and its state; no protocol rules."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from aiomqtt.log import Logger, to_logger
from aiomqtt.message import Message
from aiomqtt.properties import Properties
from aiomqtt.standard.tables import ProtocolVersion
from aiomqtt.streams.iterator import MessagesIterator
from aiomqtt.types import (
    CredentialsSource,
    PropertiesLike,
    ProxySettings,
    SocketOption,
    TLSContextLike,
    TLSParameters,
    WebSocketHeaders,
    WillSource,
)

from .address_arguments import to_addresses
from .arguments import CLEAN_START_FIRST_ONLY, check_timeout, to_bound, to_credentials
from .configuration import to_engine, to_renewal
from .context_async import ClientContext
from .derived import derived
from .incoming_arguments import to_stream
from .legacy import LegacyAttributes
from .other_names import OtherNames
from .reconnecting_async import Reconnecting
from .request_async import Requester
from .subscribe_async import Subscriber
from .target_arguments import with_websocket_options

if TYPE_CHECKING:
    from .authentication import Authenticator
    from .capabilities import Capabilities
    from .durable_async import DurableSession
    from .offline import OfflineMode, OfflineQueue
    from .reconnect import Reconnect
    from .redirection import RedirectFunction
    from .statistics import ClientStatistics
else:  # so that annotations can be read without importing these
    Authenticator = DurableSession = OfflineMode = OfflineQueue = Reconnect = (
        RedirectFunction
    ) = Any

LOGGER: Final = logging.getLogger("mqtt")

DEFAULT_TIMEOUT: Final = 10.0  # seconds


class Client(
    ClientContext,
    Requester,
    Subscriber,
    Reconnecting,
    LegacyAttributes,
    OtherNames,
):
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
            memory, the broker's name. A list of these, or of tuples of name and port,
            is tried until one accepts.
        port: The port of brokers that are listed without one; in memory and for a Unix
            socket, ignored.
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
            DISCONNECT, or a callable that returns it for each attempt to connect;
            ``None``: none.
        clean_session: Whether the broker forgets the session when the connection
            ends (3.1 and 3.1.1 only); ``None``: it does.
        transport: "tcp"; "websockets", which requires
            ``pip install "aiomqtt[websockets]"``; "unix", for a Unix socket, without
            TLS, `proxy`, `bind_address` and `bind_port`; or "memory", for a broker in
            the same event loop, such as `Broker`, also without `socket_options`.
        timeout: How many seconds any operation may take; ``None``: 10;
            ``math.inf``: forever.
        keepalive: The keep alive interval in seconds, 0 to 65535; 0: none.
        bind_address: The local address to connect from, to a proxy too; "": any.
        bind_port: The local port to connect from; 0: any.
        clean_start: Whether the broker starts a new session (5.0 only): ``True``,
            ``False``, or 3 for "only until a connection was accepted".
        max_queued_incoming_messages: How many messages may wait for the program;
            further ones are discarded with a warning, unless `overflow` or `ack` says
            otherwise. ``None`` or 0: nothing is discarded; while 65,536 wait, reading
            from the broker pauses.
        max_queued_outgoing_messages: How many publishes with QoS 1 and 2 may be
            unfinished; further ones raise. ``None`` or 0: any number.
        max_inflight_messages: How many publishes with QoS 1 and 2 may be in flight at
            once; the others wait. ``None`` or 0: as many as the broker's Receive
            Maximum allows, and 20 below 5.0.
        max_concurrent_outgoing_calls: How many calls of `publish`, `subscribe` and
            `unsubscribe` may run at once; the others wait; ``None`` or 0: any number.
        properties: The properties of the CONNECT (5.0 only); ``None``: none.
        tls_context: The context for TLS, or a callable that is called for each
            connection and returns it: a plain function in a thread, a coroutine
            function in the event loop. ``None``: see `tls_params`.
        tls_params: The parameters for a new context; ``None``, and no `tls_context`: no
            TLS.
        tls_insecure: Whether to accept a certificate for another name. It also changes
            a given `tls_context`.
        proxy: The proxy to connect through, which requires
            ``pip install "aiomqtt[proxy]"``; ``None``: none, whatever the environment
            says; see `ProxySettings.from_environment`.
        socket_options: Arguments of ``socket.setsockopt``, one tuple for each call.
        websocket_path: The path of the WebSocket, with its query; ``None``: "/mqtt".
            Other transports ignore it.
        websocket_headers: Headers for the WebSocket handshake, such as
            ``{"Authorization": "Bearer ..."}``, which replace and extend the default
            ones; or a callable that is called for each connection with these and
            returns all headers; ``None``: the default ones. Other transports ignore it.
        server_hostname: The name that the broker's certificate must have, and that is
            sent to the broker (SNI); ``None``: the `hostname`.
        address_order: In which order each entry tries a list of brokers: "listed";
            "random"; or "round_robin", which begins one further each time.
        attempt_timeout: How many seconds connecting to one broker of a list may take;
            ``None``: its share of what is left of `timeout`.
        srv: Whether `hostname` is a domain whose brokers the DNS names with SRV records
            (RFC 2782), which requires ``pip install "aiomqtt[srv]"``; only for TCP,
            with or without TLS, and without `port`.
        redirect: What to do if the broker names another server (5.0 only): "raise";
            "follow", to the same port or the default one; or a callable that takes a
            `Redirect` and returns the addresses to follow.
        credentials: A callable that returns user name and password for each attempt to
            connect, within the `timeout`; instead of `username` and `password`.
            A coroutine function does not block the event loop.
        authenticator: Authenticates the client by AUTH packets (5.0 only; MQTT 5.0
            §4.12), such as `ScramSha256`; see `Authenticator`. ``None``: none.
        ack: When received messages with QoS 1 and 2 are acknowledged. "receive": when
            they come, before the program has them. "processed": when the ``async for``
            that returned the message comes back for the next one, so after its body; if
            it ends by an exception or ``break``, the message stays unacknowledged.
            "manual": when the program calls `Message.ack`, which it may in "processed",
            too. The broker sends unacknowledged messages again on the next connection,
            if the session lasts. With a bound in `max_queued_incoming_messages`, it
            sends at most as many before it gets acknowledgements (5.0 only; a
            `receive_maximum` in `properties` takes precedence).
        max_queued_incoming_bytes: How much memory they may use, in bytes, about.
            ``None`` or 0: 64 MiB, and any number where `overflow` is left out and
            further messages are discarded.
        overflow: What happens to messages above these bounds. "pause": reading from the
            broker pauses, and goes on at half of the bound; nothing is lost, TCP makes
            the broker wait, and answers and pings that the client waits for are still
            read. "drop_oldest": those that have waited longest are discarded.
            "drop_newest": those that come are. What is discarded is counted in
            `messages.discarded`, with a warning, and acknowledged. ``None``:
            "drop_newest" if `max_queued_incoming_messages` is set and `ack` is
            "receive", as in aiomqtt 2; otherwise "pause".
        reconnect: Whether to connect again when the connection is lost: ``True``, or
            a `Reconnect` that says how. Calls, iterators and subscriptions then go on
            with the next connection. ``False``: calls and iterators raise `MqttError`.
        birth: A message that the client publishes first on each connection, or a
            callable that returns it for each attempt to connect; only with `reconnect`.
            If the callable fails, there is no such message, and a line in the log.
            ``None``: none.
        offline: What publishing does while there is no connection; only with
            `reconnect`. "wait": it waits for the next one, within the timeout. "queue",
            or an `OfflineQueue` with limits of its own: messages wait in a queue.
            "fail": it raises. ``None``: "wait".
        session: Where the session is kept, so that it survives the process, such as
            `SQLiteSession`. It needs an `identifier`, and a session that lasts: with it
            ``clean_session=None`` means ``False``, and in 5.0 a session that has no
            `session_expiry_interval` in `properties` never expires. ``None``: in
            memory, as long as the client.

    Attributes:
        timeout: The default timeout of operations, in seconds.
        pending_calls_threshold: The number of pending calls above which a warning is
            logged.

    Raises:
        ValueError: An argument violates a rule; the message names both.
        TypeError: An argument has a wrong type; the message names it.
    """

    # On the class as well, for mocks with `spec=Client`.
    timeout: float = DEFAULT_TIMEOUT
    pending_calls_threshold: int = 10

    def __init__(
        self,
        hostname: str | Sequence[str | tuple[str, int]],
        port: int = 1883,
        *,
        username: str | None = None,
        password: str | None = None,
        logger: Logger | None = None,
        identifier: str | bytes | None = None,
        queue_type: type[asyncio.Queue[Message]] | None = None,
        protocol: ProtocolVersion | int | None = None,
        will: WillSource | None = None,
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
        tls_context: TLSContextLike | None = None,
        tls_params: TLSParameters | None = None,
        tls_insecure: bool | None = None,
        proxy: ProxySettings | None = None,
        socket_options: Iterable[SocketOption] | None = None,
        websocket_path: str | None = None,
        websocket_headers: WebSocketHeaders | None = None,
        server_hostname: str | None = None,
        address_order: Literal["listed", "random", "round_robin"] = "listed",
        attempt_timeout: float | None = None,
        srv: bool = False,
        redirect: "Literal['raise', 'follow'] | RedirectFunction" = "raise",
        credentials: CredentialsSource | None = None,
        authenticator: "Authenticator | None" = None,
        ack: Literal["receive", "processed", "manual"] = "receive",
        max_queued_incoming_bytes: int | None = None,
        overflow: Literal["pause", "drop_oldest", "drop_newest"] | None = None,
        reconnect: "bool | Reconnect" = False,
        birth: WillSource | None = None,
        offline: "OfflineMode | OfflineQueue | None" = None,
        session: "DurableSession | None" = None,
    ) -> None:
        """Check the arguments; nothing is connected yet."""
        given = locals()
        # Valid as long as the client.
        self._addresses = to_addresses(given)
        self._renewal = to_renewal(given)
        self._engine, self._keeper = to_engine(given)
        self._authenticator = authenticator
        self._logger = to_logger(logger, LOGGER)
        self._stream = to_stream(given, self._engine, self._logger)
        self._maximum_calls = to_bound(
            "max_concurrent_outgoing_calls", max_concurrent_outgoing_calls
        )
        self.timeout = check_timeout(DEFAULT_TIMEOUT if timeout is None else timeout)
        self._set_reconnection(given)
        self._set_left()

    @classmethod
    def from_url(cls, url: str, **arguments: object) -> Self:
        """Return a client for a URL, such as ``mqtts://user:password@host:8883``.

        The schemes are mqtt, mqtts, ws, wss, unix and memory; the query can have the
        arguments that are plain values, as in ``?keepalive=30&identifier=me``. See
        docs/connecting.md. No error has a part of the URL.

        Args:
            url: The URL; user name, password and query are percent-encoded.
            **arguments: Further arguments of the client, by name. They take precedence
                over those of the URL.

        Raises:
            ValueError: The URL is malformed, or one of its arguments violates a rule.
            TypeError: The URL is no str, or an argument has a wrong type.
        """
        # Most programs have no URL.
        from .url import to_arguments

        found = to_arguments(url, arguments)
        # A traceback that shows local variables must not show a password.
        del url
        if isinstance(found, ValueError):
            raise found
        return cls(**found)

    @classmethod
    def from_env(cls, **arguments: object) -> Self:
        """Return a client for the URL in the environment variable ``MQTT_URL``.

        Args:
            **arguments: As those of `from_url`.

        Raises:
            ValueError: The variable is missing or empty; or as `from_url`.
            TypeError: As `from_url`.
        """
        from .url import read_environment

        found = read_environment(arguments)
        if isinstance(found, ValueError):
            raise found
        return cls(**found)

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

    @derived
    def capabilities(self) -> "Capabilities | None":
        """What the broker offers (MQTT 5.0 §3.2.2.3), with the standard's defaults.

        It belongs to the last accepted connection, even after that has ended; ``None``
        before the first.
        """
        from .capabilities import to_capabilities

        return to_capabilities(self._engine)

    @derived
    def statistics(self) -> "ClientStatistics":
        """The counts since the client was created, and how much it holds now."""
        from .statistics import to_statistics

        return to_statistics(
            self._engine,
            self._calls,
            self._stream,
            self._router,
            self._response_topics,
        )

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
            ValueError: There is a password without a user name below 5.0, or the client
                has `credentials`, which are called instead.
            TypeError: An argument is neither a str nor ``None``.
        """
        if self._renewal is not None and self._renewal.has_credentials:
            msg = "the client has credentials, a callable that is called instead"
            raise ValueError(msg)
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
        addresses = self._addresses
        addresses.targets = [
            with_websocket_options(target, path, headers)
            for target in addresses.targets
        ]
