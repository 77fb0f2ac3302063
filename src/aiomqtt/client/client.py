"""The client: what a program sees. Signatures and arguments, no protocol rules."""

import asyncio
import logging
import math
import os
import ssl
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, Self, cast

from aiomqtt.exceptions import (
    MqttCodeError,
    MqttError,
    MqttReentrantError,
)
from aiomqtt.log import Logger, to_logger
from aiomqtt.message import Message
from aiomqtt.net.open import open_connection
from aiomqtt.net.target import Target
from aiomqtt.paho import to_properties
from aiomqtt.payload import PayloadType, encode_payload
from aiomqtt.properties import Properties, ReasonCode
from aiomqtt.protocol.codec.encode import check_qos
from aiomqtt.protocol.delivery import Delivery
from aiomqtt.protocol.engine import NOT_CONNECTED, Engine
from aiomqtt.protocol.events import Request, Settings
from aiomqtt.standard.tables import ProtocolVersion
from aiomqtt.streams.custom_queue import CustomQueueStream
from aiomqtt.streams.iterator import MessagesIterator
from aiomqtt.streams.stream import MessageStream
from aiomqtt.topic import TopicLike, to_text
from aiomqtt.types import (
    PropertiesLike,
    ProxySettings,
    PublicationLike,
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
    check_hostname,
    check_memory,
    check_proxy,
    check_range,
    check_timeout,
    check_tls,
    check_transport,
    check_type,
    to_bound,
    to_clean_start,
    to_credentials,
    to_identifier,
    to_socket_options,
    to_subscriptions,
    to_version,
    to_will,
)
from .calls import OVERHEAD, Calls
from .calls_async import close, wait_for_answer, wait_for_room
from .legacy import LegacyAttributes
from .other_names import OtherNames
from .publish_async import Receipt, publish_all
from .waiters import TIMED_OUT, copy_error
from .window import Batch, ReceiptWaiters, give_up, refusal

if TYPE_CHECKING:
    from .pending import PendingMessage

LOGGER: Final = logging.getLogger("mqtt")

DEFAULT_TIMEOUT: Final = 10.0  # seconds

# Of a generated client identifier; two characters each, and 3.1 allows 23 (3.1 §3.1).
_ID_BYTES: Final = 11


class Client(LegacyAttributes, OtherNames):
    """A connection to an MQTT broker, as an asynchronous context manager.

    Entering connects, leaving disconnects, also on an exception. A client can be
    entered again after it was left or after it could not connect, but not while it
    is entered. All methods belong to the event loop that it was entered in; one that
    is closed meanwhile leaves the client, without a DISCONNECT.

    Between entering and entering again, what was published with QoS 1 or 2 and not
    acknowledged is kept when the session lasts (`clean_session=False`, or a session
    expiry interval above 0 in 5.0) and sent again, in order; if the broker has lost
    the session meanwhile, it is sent as a new message (MQTT 5.0 §4.4, §3.2.2.1.1).

    Args:
        hostname: The broker's host name or address; in memory, the broker's name.
        port: The broker's port; in memory, ignored.
        username: The user name; ``None``: none.
        password: The password; ``None``: none.
        logger: Where to log: at INFO that a connection has begun and ended, at DEBUG
            all packets, without passwords and payloads; ``None``: the logger named
            "mqtt".
        identifier: The client identifier; ``None``: a generated one for 3.1; for
            3.1.1 and 5.0 the broker chooses.
        queue_type: The class of the queue of incoming messages, such as
            ``asyncio.LifoQueue``; ``None``: first in, first out.
        protocol: The version of MQTT, `ProtocolVersion` or 3, 4, 5; ``None``: 3.1.1.
        will: What the broker publishes if this client vanishes; ``None``: nothing.
        clean_session: Whether the broker forgets the session when the connection
            ends (3.1 and 3.1.1 only); ``None``: it does.
        transport: "tcp"; or "memory", for a broker that runs in the same event loop,
            such as `Broker`: without a socket, and so without TLS, `proxy`,
            `bind_address`, `bind_port` and `socket_options`. The others are still to
            come.
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
        max_inflight_messages: How many publishes with QoS 1 and 2 may be part way
            through their flow at once, the others wait. ``None`` or 0: what the
            broker's Receive Maximum allows, and 20 below 5.0.
        max_concurrent_outgoing_calls: How many calls of `publish`, `subscribe` and
            `unsubscribe` may run at once, the others wait; ``None`` or 0: any number.
        properties: The properties of the CONNECT (5.0 only); ``None``: none.
        tls_context: The context for TLS; ``None``: see `tls_params`.
        tls_params: What to make a context of; without it and `tls_context`: no TLS.
        tls_insecure: Whether the broker's name need not be in its certificate.
            A given `tls_context` is changed by it.
        proxy: Not yet.
        socket_options: Arguments of ``socket.setsockopt``, one tuple for each call.
        websocket_path: Not yet.
        websocket_headers: Not yet.
        server_hostname: The name that the broker's certificate must have, and that the
            broker is asked for (SNI); ``None``: the `hostname`.

    Attributes:
        timeout: The default timeout of operations, in seconds.
        pending_calls_threshold: Over this many pending calls a warning is logged.

    Raises:
        ValueError: An argument breaks a rule of the standard; it is named.
        TypeError: An argument is of a wrong type; it is named.
        NotImplementedError: A transport or proxy that is still to come.
    """

    # On the class too, for mocks that are made with `spec=Client`.
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
        check_transport(transport)
        options = to_socket_options(socket_options)
        is_local = transport == "memory"
        if is_local:
            check_memory(
                tls_context=tls_context,
                tls_params=tls_params,
                tls_insecure=tls_insecure,
                bind_address=bind_address,
                bind_port=bind_port,
                socket_options=options,
                server_hostname=server_hostname,
                proxy=proxy,
            )
        check_proxy(proxy)
        check_tls(tls_context, tls_params, tls_insecure, server_hostname)
        check_type("bind_address", bind_address, str, type(None))
        check_type("queue_type", queue_type, type, type(None))
        identifier = to_identifier(identifier)
        version = to_version(protocol)
        self._target = Target(
            check_hostname(hostname, is_local),
            port if is_local else check_range("port", port, 1),
            transport,
            bind_address or "",
            check_range("bind_port", bind_port, 0),
            options,
            tls_context,
            tls_params,
            bool(tls_insecure),
            server_hostname,
        )
        if not identifier and version is ProtocolVersion.V31:
            identifier = os.urandom(_ID_BYTES).hex()
        self._engine = Engine(
            Settings(
                version,
                identifier,
                to_clean_start(version, identifier, clean_session, clean_start),
                check_range("keepalive", keepalive, 0),
                *to_credentials(version, username, password),
                to_will(will),
                to_properties("properties", properties),
                to_bound("max_inflight_messages", max_inflight_messages),
                to_bound("max_queued_outgoing_messages", max_queued_outgoing_messages),
            )
        )
        self._logger = to_logger(logger, LOGGER)
        self._stream = MessageStream()
        bound = to_bound("max_queued_incoming_messages", max_queued_incoming_messages)
        if queue_type is not None or bound is not None:
            self._stream = CustomQueueStream(
                queue_type or asyncio.Queue, bound or 0, self._logger
            )
        # Made for the event loop that the client is entered in.
        self._call_slots: asyncio.Semaphore | None = None
        self._entered_loop: asyncio.AbstractEventLoop | None = None
        self._maximum_calls = to_bound(
            "max_concurrent_outgoing_calls", max_concurrent_outgoing_calls
        )
        self.timeout = check_timeout(DEFAULT_TIMEOUT if timeout is None else timeout)
        self.pending_calls_threshold = 10
        # How many pending calls the next warning is due at.
        self._warn_at = 0
        self._is_entered = False
        self._calls: Calls | None = None

    # --- what can be read ---------------------------------------------------------

    @property
    def identifier(self) -> str:
        """The client identifier; empty until the broker assigns one."""
        return self._engine.session.client_id

    @property
    def session_present(self) -> bool:
        """Whether the broker went on with an earlier session (MQTT 5.0 §3.2.2.1.1).

        As the last CONNACK that accepted a connection says, also after that connection
        has ended; ``False`` before the first, and in 3.1, which does not tell.
        """
        connack = self._engine.connack
        return connack is not None and connack.session_present

    @property
    def connack_properties(self) -> Properties | None:
        """The properties of the CONNACK (MQTT 5.0 §3.2.2.3): limits of the broker, ...

        Those of the last connection that was accepted, also after it has ended.
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
        """Set user name and password for the connections from now on.

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

    # --- what can be asked of the broker ------------------------------------------

    async def publish(
        self,
        topic: TopicLike,
        payload: PayloadType = None,
        qos: int = 0,
        retain: bool = False,
        properties: PropertiesLike | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Publish a message (MQTT 5.0 §3.3).

        Returns when the message is on its way at QoS 0, and when its flow is
        complete at QoS 1 and 2. It waits first where the network is slower than the
        program.

        When the connection ends, the session keeps a message with QoS 1 or 2 that it
        has accepted, if the session lasts, see `Client`; one that still waited for the
        network is not accepted. Timed out, the message is withdrawn unless its bytes
        may have left; then its flow goes on, and it may arrive. The error says which it
        was (`MqttError.is_in_session`). Cancelled, it is as when timed out; who has to
        know what became of the message calls `publish_nowait`.

        Args:
            topic: The topic name.
            payload: The payload; a str as UTF-8, a number as its decimal text,
                ``None`` as nothing.
            qos: 0, 1 or 2.
            retain: Whether the broker retains the message.
            properties: The properties (5.0 only); ``None``: none.
            timeout: How many seconds to wait; ``None``: the client's timeout;
                ``math.inf``: forever.

        Raises:
            ValueError: An argument breaks a rule; nothing was sent.
            TypeError: An argument is of a wrong type; nothing was sent.
            MqttCodeError: The broker refused the message; there is no connection; or
                `max_queued_outgoing_messages` are unfinished.
            MqttError: The connection ended, or the timeout. Its `is_in_session` says
                whether the message is in the session.
        """
        if type(payload) is not bytes:
            payload = encode_payload(payload)
        if type(topic) is not str:
            topic = to_text("topic", topic)
        if type(qos) is not int or not 0 <= qos <= 2:
            check_qos(qos)
        seconds = self.timeout if timeout is None else check_timeout(timeout)
        if properties is not None:
            properties = to_properties("properties", properties)
        retain = bool(retain)
        slots = self._call_slots
        if slots is not None:
            await slots.acquire()
        try:
            calls = self._calls
            if calls is None:
                self._engine.check_publish(topic, payload, qos, retain, properties)
                calls = self._connection()
            if calls.is_congested:
                self._engine.check_publish(topic, payload, qos, retain, properties)
                await wait_for_room(calls, len(payload) + OVERHEAD, seconds)
            delivery = calls.publish(topic, payload, qos, retain, properties)
            if delivery is None:
                return
            delivery.waiter = waiter = calls.waiter(seconds)
            self._warn_if_many(calls)
            # As `wait_for_answer`, whose coroutine would be 2 % of a publish.
            try:
                failure = await waiter
            except BaseException:
                calls.withdraw(delivery)
                raise
            finally:
                calls.forget(waiter)
            if failure is not None:
                give_up(calls, delivery, failure)
            if delivery.reason_code >= 0x80:
                raise refusal(delivery)
        finally:
            if slots is not None:
                slots.release()

    def publish_nowait(
        self,
        topic: TopicLike,
        payload: PayloadType = None,
        qos: int = 0,
        retain: bool = False,
        properties: PropertiesLike | None = None,
    ) -> Receipt:
        """Publish a message without waiting for anything (MQTT 5.0 §3.3).

        The message is on its way, or waits for those before it. Leaving the client
        without an exception waits until it is done, within the timeout.

        Args:
            topic: The topic name.
            payload: As for `publish`.
            qos: 0, 1 or 2.
            retain: Whether the broker retains the message.
            properties: The properties (5.0 only); ``None``: none.

        Returns:
            What can be awaited to know that the flow is complete; or dropped.

        Raises:
            ValueError: An argument breaks a rule; nothing was sent.
            TypeError: An argument is of a wrong type; nothing was sent.
            MqttCodeError: There is no connection; or too much is unfinished:
                `max_queued_outgoing_messages`, or 65,536 messages or 64 MiB.
        """
        if type(payload) is not bytes:
            payload = encode_payload(payload)
        if type(topic) is not str:
            topic = to_text("topic", topic)
        check_qos(qos)
        if properties is not None:
            properties = to_properties("properties", properties)
        calls = self._connection()
        waiters = ReceiptWaiters()
        delivery = calls.publish_watched(
            topic, payload, qos, bool(retain), properties, waiters
        )
        return Receipt(delivery, waiters, self._current_calls)

    async def publish_many(
        self,
        messages: Iterable[PublicationLike],
        *,
        window: int = 100,
        timeout: float | None = None,
    ) -> int:
        """Publish messages in order, a number of them at a time (MQTT 5.0 §4.4).

        Messages are taken from the iterable as there is room for them. Returns when
        the flows of all are complete, those with QoS 0 on their way.

        After a failure no more are taken, and those in flight finish; then the first
        failure, by position, is raised. An exception of the iterable itself counts
        as one. Cancelled, what was not sent is withdrawn, and the other flows go on.

        Args:
            messages: The messages, as `Publication` or as tuples of the arguments of
                `publish`: topic, payload, qos, retain, properties.
            window: How many may be unfinished at a time.
            timeout: How many seconds may pass without any of them finishing;
                ``None``: the client's timeout; ``math.inf``: forever.

        Returns:
            The number of messages.

        Raises:
            ValueError: An argument, or one of a message, breaks a rule.
            TypeError: An argument, or one of a message, is of a wrong type.
            MqttCodeError: The broker refused a message, or there is no connection.
            MqttError: The connection ended, or the timeout. Its `position`, as that
                of a refusal, is that of the first message that failed, from 0, and
                `is_in_session` says whether that one is in the session. Messages from
                `accepted` on are to be published again. Other errors have the
                position in a note.
        """
        check_type("messages", messages, Iterable)
        check_range("window", window, 1)
        seconds = self.timeout if timeout is None else check_timeout(timeout)
        bound = self._engine.settings.maximum_queued
        slots = self._call_slots
        if slots is not None:
            await slots.acquire()
        try:
            batch = Batch(
                self._connection(),
                iter(messages),
                window if bound is None else min(window, bound),
                seconds,
            )
            return await publish_all(batch)
        finally:
            if slots is not None:
                slots.release()

    # --- what the session still owes ------------------------------------------------

    def pending_messages(self) -> "tuple[PendingMessage, ...]":
        """Return the messages of QoS 1 and 2 that are not acknowledged.

        Between entering and entering again too: these are sent again, when the session
        lasts. First those that the broker has received, then those that were sent, then
        those that were not, each in their order.
        """
        from .pending import to_pending

        return to_pending(self._engine.session.outbound.unfinished())

    def drop(self, message: "PendingMessage") -> bool:
        """Drop a message from the session: it is not sent again.

        For one that the broker never takes, say because it closes the connection at
        it. If it was sent already, it may still arrive. Whoever waits for it gets
        MqttError. Its packet identifier stays out of use as long as the broker may
        know it: at QoS 1 until the connection ends, at QoS 2 until the flow is
        complete or the session ends (MQTT 5.0 §4.3).

        Args:
            message: One of `pending_messages`.

        Returns:
            Whether it was dropped; ``False``: it was done meanwhile, or is not of this
            client.

        Raises:
            TypeError: It is no PendingMessage.
        """
        from .pending import to_delivery

        return self._drop([to_delivery(message)]) > 0

    def drop_pending(self) -> int:
        """Drop all `pending_messages`, see `drop`; return how many these were."""
        return self._drop(self._engine.session.outbound.unfinished())

    def _drop(self, deliveries: list[Delivery]) -> int:
        count = sum(map(self._engine.drop, deliveries))
        if self._calls is not None and not self._calls.is_over:
            self._calls.flush()
        else:
            # The end of the connection was the last that anybody has waited for.
            self._engine.take()
        return count

    def _current_calls(self) -> Calls | None:
        return self._calls

    def _connection(self) -> Calls:
        """Return what publishes and waits.

        Raises:
            MqttCodeError: The client is not entered.
        """
        if self._calls is None:
            msg = "The client is not currently connected."
            raise MqttCodeError(NOT_CONNECTED, msg)
        return self._calls

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

        Returns when the broker has answered. Cancelled or timed out, the
        subscription may still come about. What the broker refuses is logged as a
        warning, and is no error.

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
            What the broker granted, one for each filter, in their order: a tuple of
            QoS below 5.0, a list of reason codes in 5.0. 0x80 and above is a refusal.

        Raises:
            ValueError: An argument breaks a rule; nothing was sent.
            TypeError: An argument is of a wrong type; nothing was sent.
            MqttCodeError: There is no connection, or the broker does not offer it.
            MqttError: The connection ended, or the timeout.
        """
        subscriptions = to_subscriptions(topic, qos, options)
        properties = to_properties("properties", properties)
        codes = await self._ask(
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

        Returns when the broker has answered. Cancelled or timed out, the
        subscription may still end. What the broker refuses is logged as a warning.

        Args:
            topic: A topic filter, or a list of them.
            properties: The properties (5.0 only); ``None``: none.
            timeout: How many seconds to wait; ``None``: the client's timeout;
                ``math.inf``: forever.

        Returns:
            In 5.0 the reason codes, one for each filter, in their order; 0x80 and above
            is a refusal. ``None`` below 5.0, where the broker can't refuse.

        Raises:
            ValueError: An argument breaks a rule; nothing was sent.
            TypeError: An argument is of a wrong type; nothing was sent.
            MqttCodeError: There is no connection.
            MqttError: The connection ended, or the timeout.
        """
        topics = topic if isinstance(topic, list | tuple) else [topic]
        filters = [to_text("topic", item) for item in topics]
        properties = to_properties("properties", properties)
        codes = await self._ask(
            lambda: self._engine.unsubscribe(filters, properties), timeout
        )
        return codes if self._engine.version >= ProtocolVersion.V5 else None

    async def _ask(
        self, ask: Callable[[], Request], timeout: float | None
    ) -> list[ReasonCode]:
        """Send a request and wait for its answer."""
        seconds = self.timeout if timeout is None else check_timeout(timeout)
        slots = self._call_slots
        if slots is not None:
            await slots.acquire()
        try:
            calls = self._calls
            if calls is not None:
                calls.check_loop()
            try:
                request = ask()
            except MqttCodeError as error:
                raise error from None if calls is None else calls.error
            assert calls is not None
            request.waiter = waiter = calls.waiter(seconds)
            calls.push(OVERHEAD)
            self._warn_if_many(calls)
            answer = request.answer.name
            await wait_for_answer(
                calls, waiter, f"no {answer} came within {seconds} seconds"
            )
            return request.reason_codes
        finally:
            if slots is not None:
                slots.release()

    def _warn_if_many(self, calls: Calls) -> None:
        """Log that many calls are pending: once, and again whenever they double."""
        pending = calls.waiting
        if pending <= self.pending_calls_threshold:
            self._warn_at = 0
        elif pending >= self._warn_at:
            self._warn_at = 2 * pending
            self._logger.warning("There are %d pending publish calls.", pending)

    # --- entering and leaving ---------------------------------------------------

    async def __aenter__(self) -> Self:
        """Connect to the broker (MQTT 5.0 §3.1); returns when it has accepted.

        Cancelled or on an error, nothing is left behind, and the client can be
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
            await self._connect(calls)
        except BaseException as error:
            self._calls = None
            self._is_entered = False
            calls.driver.abort()
            self._stream.close(error if isinstance(error, MqttError) else None)
            raise
        return self

    def _belong_to(self, loop: asyncio.AbstractEventLoop) -> None:
        """Leave a loop that the client was entered in before, for another one."""
        if loop is self._entered_loop:
            return
        self._forget_closed_loop()
        if not self._is_entered:
            self._entered_loop = loop
            if self._maximum_calls is not None:
                self._call_slots = asyncio.Semaphore(self._maximum_calls)

    def _forget_closed_loop(self) -> None:
        """Be left, if the loop that the client was entered in was closed since."""
        if self._entered_loop is not None and self._entered_loop.is_closed():
            # Whoever waited there ended with it.
            calls, self._calls = self._calls, None
            self._is_entered = False
            self._stream.abandon()
            if calls is not None:
                calls.abandon()

    async def _connect(self, calls: Calls) -> None:
        """Connect and wait for the CONNACK."""
        limit = None if self.timeout == math.inf else self.timeout
        # It is one by its methods.
        protocol = cast("asyncio.Protocol", calls.driver)
        try:
            async with asyncio.timeout(limit):
                self._engine.connect()
                await open_connection(self._target, lambda: protocol)
                calls.driver.process()
                error = await calls.connected
        except TimeoutError:
            transport = calls.driver.transport
            what = "did not answer" if transport is None else "sent no CONNACK"
            why = f"{self._target} {what} within {self.timeout} seconds"
            raise MqttError(TIMED_OUT) from TimeoutError(why)
        # With a CONNACK and more in one chunk the connection may be over by now.
        if error is None and calls.is_over:
            error = calls.error or MqttError("Disconnected")
        if error is not None:
            raise copy_error(error) from error.__cause__

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
        Cancelled, the connection is cut.
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

        What `async with` does when it ends, with a reason code and properties:
        everything that was published is written first, calls that wait for the
        broker's answer get it, and no new ones are accepted. Returns when the
        connection is closed. Leaving the context afterwards is harmless, and so is
        calling this again, or while the client is not entered. Cancelled, the
        connection is cut.

        Args:
            reason_code: 0: the broker discards the will. 0x04: it publishes it
                (Disconnect with Will Message). See MQTT 5.0 §3.14.2.1; 0 below 5.0.
            properties: The properties of the DISCONNECT (5.0 only), such as
                `session_expiry_interval`: 0 ends a session that would last; more
                than 0 needs a CONNECT that said more than 0. ``None``: none.
            timeout: How many seconds to wait for unfinished calls, and again for
                the connection to close; ``None``: the client's timeout;
                ``math.inf``: forever.

        Raises:
            ValueError: An argument breaks a rule, or the version has no place for it;
                the connection goes on.
            TypeError: An argument is of a wrong type; the connection goes on.
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
