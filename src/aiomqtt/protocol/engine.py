"""The engine of a client: all rules of the protocol, without I/O and without a clock.

The caller passes in bytes (`receive`), calls (`publish`, `subscribe`, ...) and the
time (`tick`). After each of them it calls `take`, stores the changes, writes the bytes,
then handles the happenings in order. Every Delivery and every Request that a call
returned ends in exactly one happening. `deadline` returns when to call `tick` at the
latest. No method blocks, sleeps or calls back.
"""

from collections.abc import Callable
from typing import Any, Final

from aiomqtt.exceptions import MqttCodeError, MqttError, MqttLimitError
from aiomqtt.properties import (
    PlainCode,
    Properties,
    ReasonCode,
    SubscribeOptions,
)
from aiomqtt.standard.names import (
    DEFAULT_RECEIVE_MAXIMUM,
    KEEP_ALIVE_TIMEOUT,
    PROTOCOL_ERROR,
    V5,
    V311,
)
from aiomqtt.standard.tables import REASON_NAMES, PacketType, ProtocolVersion, Role

from .codec.encode import encode
from .codec.fast import encode_publish
from .codec.framing import Decoder
from .delivery import Delivery, copied_properties
from .dispatch import State, by_packet_type
from .keepalive import KeepAlive
from .negotiated import Negotiated, check_expiry
from .output import Closed, Connected, Output, PendingOutput
from .packets import (
    Ack,
    Connack,
    Connect,
    Ping,
    Publish,
    Signal,
    Suback,
    Subscribe,
    Unsubscribe,
)
from .requests import Request, Requests
from .session import Session
from .settings import Settings
from .wire import PacketError

# Members of enumerations that every message needs: looking one up is slow.
PUBREL: Final = PacketType.PUBREL
CLIENT: Final = Role.CLIENT
SERVER: Final = Role.SERVER
CLOSED: Final = State.CLOSED
CONNECTING: Final = State.CONNECTING
CONNECTED: Final = State.CONNECTED
# The codes of aiomqtt 2 for a call without a connection and for a full queue.
NOT_CONNECTED: Final = PlainCode(4, "Not connected")
QUEUE_FULL: Final = PlainCode(15, "Queue full")

_PINGREQ: Final = b"\xc0\x00"


class Engine:
    """The client's side of one connection after the other, with one session.

    Args:
        settings: The contents of every CONNECT, and the bounds of publishing.
        session: The session to resume; None: a new one, whose changes are not recorded.

    Raises:
        ValueError: A setting violates the standard.
    """

    def __init__(self, settings: Settings, session: Session | None = None) -> None:
        """Start without a connection."""
        self.settings = settings
        self.version: ProtocolVersion = settings.version
        # Valid for the session.
        self.session: Session = session or Session(settings.client_id)
        # Valid for the connection.
        self._enter(CLOSED)
        self._negotiated = Negotiated(Connect(settings.version))
        self.session.outbound.measure(self._negotiated.encode)
        self._decoder = Decoder(settings.version, SERVER)
        self._requests: Requests = Requests()
        # The time when bytes last came.
        self._received_at = 0.0
        # Valid until the broker accepts the next connection.
        self.connack: Connack | None = None
        # The number of bytes that the program's last call added, written or not.
        self.added_size: int = 0
        # Valid until the caller takes it.
        self._pending: PendingOutput = PendingOutput()
        encode(self._make_connect(), self.version, CLIENT)

    # --- the life of a connection -------------------------------------------------

    def connect(self) -> None:
        """Begin a new connection with a CONNECT (§3.1)."""
        session = self.session
        connect = self._make_connect()
        if connect.clean_start:
            self._end_session()
        elif not session.connected_before:
            # The program says that there is a session, from an earlier process: we
            # know of nothing in flight.
            session.identify(session.client_id, True)
        self._negotiated = Negotiated(connect)
        maximum_size = self._negotiated.announced.maximum_packet_size
        self._decoder = Decoder(self.version, SERVER, maximum_size)
        self._pending.data.clear()
        self._pending.data.append(encode(connect, self.version, CLIENT))
        self._enter(CONNECTING)

    def _enter(self, state: State) -> None:
        self.state = state
        self._is_connected = state is CONNECTED
        self._handlers = _HANDLERS_OF[state]

    def _make_connect(self) -> Connect:
        session = self.session
        return self.settings.to_connect(session.client_id, session.connected_before)

    def disconnect(
        self, reason_code: int = 0, properties: Properties | None = None
    ) -> None:
        """End the connection with a DISCONNECT (§3.14).

        Raises:
            ValueError: An argument violates the standard. Nothing has changed.
        """
        if self.state is CLOSED:
            return
        self._pending.data.append(self._encode_disconnect(reason_code, properties))
        if properties is not None and properties.session_expiry_interval is not None:
            session = self.session
            is_kept = properties.session_expiry_interval > 0
            session.identify(session.client_id, is_kept)
        self._close(None)

    def check_disconnect(self, reason_code: int, properties: Properties | None) -> None:
        """Check the arguments of `disconnect`, and change nothing.

        Raises:
            ValueError: An argument violates the standard.
            MqttLimitError: The DISCONNECT is larger than the broker accepts.
        """
        size = len(self._encode_disconnect(reason_code, properties))
        if self._is_connected:
            self._check_limits(0, size)

    def _encode_disconnect(
        self, reason_code: int, properties: Properties | None
    ) -> bytes:
        packet = Signal(PacketType.DISCONNECT, reason_code, properties)
        data = encode(packet, self.version, CLIENT)
        announced = self.settings.properties
        if self.state is not CLOSED:
            announced = self._negotiated.announced
        check_expiry(properties, announced)
        return data

    def connection_lost(self, error: MqttError) -> None:
        """Handle the end of the network connection.

        Args:
            error: The reason, for waiting calls; ignored if one is already known.
        """
        if self.state is not CLOSED:
            self._close(error)

    def _close(self, error: MqttError | None, connack: Connack | None = None) -> None:
        self._enter(CLOSED)
        self._pending.add(Closed(error, connack))
        for request in self._requests.end():
            self._pending.add(request)
        self.session.outbound.close()
        if not self.session.exists:
            self._end_session()

    def _end_session(self) -> None:
        for delivery in self.session.clear():
            self._pending.add(delivery)

    def fail(self, reason_code: int, text: str) -> None:
        """End the connection for a reason that the caller has found (§4.13)."""
        if self.state is not CLOSED:
            self._fail(reason_code, text)

    def _fail(self, reason_code: int, text: str) -> None:
        """End the connection because the broker violated the standard (§4.13)."""
        if self.version >= V5:
            packet = Signal(PacketType.DISCONNECT, reason_code)
            self._pending.data.append(encode(packet, self.version, CLIENT))
        name = REASON_NAMES[reason_code]
        code = ReasonCode(reason_code)
        self._close(MqttCodeError(code, f"Disconnected with {name}: {text}"))

    # --- time ---------------------------------------------------------------------

    def deadline(self) -> float | None:
        """Return the time to call `tick` at the latest; None: there is no need to.

        Every other call may change it, so check it after each.
        """
        if not self._is_connected:
            return None
        return self._negotiated.keep_alive.due

    @property
    def is_closed(self) -> bool:
        """Whether there is no connection, not even one that is being opened."""
        return self.state is CLOSED

    @property
    def is_inside_packet(self) -> bool:
        """Whether part of a packet has come."""
        return self._decoder.is_partial

    @property
    def keep_alive(self) -> KeepAlive:
        """The ping clock of the connection."""
        return self._negotiated.keep_alive

    def tick(self, now: float) -> None:
        """Send a PINGREQ, or give up the connection, if it is time to (§3.1.2.10)."""
        if self.state is not CONNECTED:
            return
        clock = self._negotiated.keep_alive
        if clock.is_over(now, self._received_at):
            self._close(
                MqttCodeError(
                    ReasonCode(KEEP_ALIVE_TIMEOUT),
                    "Disconnected: Keep Alive timeout: no PINGRESP came in time",
                )
            )
        elif clock.next_ping is not None and now >= clock.next_ping:
            self._pending.data.append(_PINGREQ)
            clock.on_pingreq(now)

    # --- calls of the program -----------------------------------------------------

    def publish(
        self,
        topic: str,
        payload: bytes,
        qos: int,
        retain: bool,
        properties: Properties | None,
        now: float,
    ) -> Delivery | None:
        """Publish a message at once: `prepare` and `send` in one.

        Returns and raises like `send`, and raises ValueError like `prepare`.
        """
        if qos or (properties is not None and properties.topic_alias is not None):
            delivery = self.prepare(topic, payload, qos, retain, properties)
            return self.send(delivery, now)
        # The same for QoS 0, which needs no Delivery.
        head, tail = encode_publish(
            topic, payload, 0, retain, properties, self.version, CLIENT
        )
        size = len(head) + len(tail)
        self._check_connected()
        if not self._negotiated.limits.allow_any_publish:
            self._check_limits(head[0], size)
        self.added_size = size
        self._pending.data.append(head)
        self._pending.data.append(tail)
        return None

    def prepare(
        self,
        topic: str,
        payload: bytes,
        qos: int,
        retain: bool,
        properties: Properties | None,
    ) -> Delivery:
        """Check and encode a message, so that its size is known before `send`.

        Raises:
            MqttLimitError: The broker does not accept such a message.
            ValueError: An argument violates the standard.
        """
        head, tail = encode_publish(
            topic, payload, qos, retain, properties, self.version, CLIENT
        )
        size = len(head) + len(tail) + (2 if qos else 0)
        if self._is_connected and not self._negotiated.limits.allow_any_publish:
            self._check_limits(head[0], size)
        delivery = Delivery(topic, payload, qos, retain, None, size, head, tail)
        if properties is not None:
            delivery.alias = properties.topic_alias or 0
            delivery.properties = copied_properties(properties)
        return delivery

    def send(self, delivery: Delivery, now: float) -> Delivery | None:
        """Publish a message that `prepare` returned (§3.3).

        Args:
            delivery: The message; it can be sent once.
            now: The time, at which the Message Expiry Interval begins.

        Returns:
            None at QoS 0: the message is written. At QoS 1 and 2 the Delivery, which
            becomes a happening when its flow is complete or its session ends;
            `withdraw` takes it back as long as it has not been written.

        Raises:
            MqttCodeError: There is no connection, or too many are unfinished.
            MqttLimitError: The broker does not accept such a message.
            ValueError: Its topic alias has no topic, or exceeds the broker's maximum.
        """
        self._check_connected()
        negotiated, qos, first = self._negotiated, delivery.qos, delivery.head[0]
        if delivery.alias:
            negotiated.resolve_alias(delivery, now)
        if not negotiated.limits.allow_any_publish:
            self._check_limits(first, delivery.size)
        outbound, maximum = self.session.outbound, self.settings.maximum_queued
        if qos and maximum is not None and len(outbound) >= maximum:
            msg = f"Could not publish message: {maximum} are unfinished already"
            raise MqttCodeError(QUEUE_FULL, msg)
        delivery.start_expiry(now)
        if delivery.alias:
            negotiated.keep_alias(delivery)
        self.added_size = delivery.size
        if qos:
            outbound.send(delivery, self._pending.data, now)
            return delivery
        if delivery.alias:
            delivery.head, delivery.tail = negotiated.encode(delivery, now)
        self._pending.data.append(delivery.head)
        self._pending.data.append(delivery.tail)
        return None

    def withdraw(self, delivery: Delivery) -> bool:
        """Withdraw a publish; False: its bytes may have left, so its flow continues."""
        if not self.session.outbound.withdraw(delivery):
            return False
        self._pending.add(delivery)
        return True

    def drop(self, delivery: Delivery) -> bool:
        """Forget an unfinished publish; False: it is done, or not of this session.

        Its bytes may have left: see `Outbound.drop`.
        """
        outbound = self.session.outbound
        if not outbound.drop(delivery):
            return False
        self._pending.add(delivery)
        if self._is_connected:
            # A packet identifier may be free again.
            outbound.pump(self._pending.data, self._received_at)
        return True

    def subscribe(
        self,
        subscriptions: list[tuple[str, SubscribeOptions]],
        properties: Properties | None,
    ) -> Request:
        """Subscribe to topic filters with one SUBSCRIBE (§3.8).

        Returns:
            The Request, which becomes a happening when the SUBACK comes or the
            connection ends.

        Raises:
            MqttCodeError: There is no connection.
            MqttLimitError: The broker does not support such a subscription.
            ValueError: An argument violates the standard. Nothing has changed.
        """
        packet = Subscribe(1, subscriptions, properties)
        size = len(encode(packet, self.version, CLIENT))
        self._check_connected()
        filters = [topic_filter for topic_filter, _ in subscriptions]
        identified = () if properties is None else properties.subscription_identifier
        code = self._negotiated.limits.refusal_to_subscribe(filters, bool(identified))
        if code:
            raise _limit_error(code)
        request = self._request(packet, PacketType.SUBACK, filters, size)
        request.options = [options for _, options in subscriptions]
        if identified:
            request.identifier = identified[0]
        return request

    def unsubscribe(self, filters: list[str], properties: Properties | None) -> Request:
        """Unsubscribe from topic filters with one UNSUBSCRIBE (§3.10).

        Returns and raises like `subscribe`.
        """
        packet = Unsubscribe(1, filters, properties)
        size = len(encode(packet, self.version, CLIENT))
        self._check_connected()
        return self._request(packet, PacketType.UNSUBACK, filters, size)

    def _request(
        self,
        packet: Subscribe | Unsubscribe,
        answer: PacketType,
        filters: list[str],
        size: int,
    ) -> Request:
        self._check_limits(0, size)
        packet.packet_id = self.session.outbound.reserve()
        if not packet.packet_id:
            msg = "All 65535 packet identifiers are in use"
            raise MqttError(msg)
        request = Request(answer, packet.packet_id, filters)
        self._requests.add(request)
        self.added_size = size
        self._pending.data.append(encode(packet, self.version, CLIENT))
        return request

    def _check_connected(self) -> None:
        if not self._is_connected:
            msg = "The client is not currently connected."
            raise MqttCodeError(NOT_CONNECTED, msg)

    def _check_limits(self, first: int, size: int) -> None:
        code = self._negotiated.limits.refusal(first, size)
        if code:
            raise _limit_error(code)

    # --- packets from the broker ----------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Handle bytes from the broker.

        Args:
            data: The bytes; packets may be split anywhere.
            now: The time in seconds, by the same clock as for `tick`.
        """
        if self.is_closed:
            return
        self._received_at = now
        packets = self._decoder.feed(data)
        self._pending.size += self._decoder.kept
        try:
            for packet in packets:
                # A fast path for the two rows of the table that every message needs.
                if self._is_connected:
                    if isinstance(packet, Publish):
                        self._on_publish(packet, now)
                        continue
                    if isinstance(packet, Ack):
                        self._on_ack(packet, now)
                        continue
                handler = self._handlers[packet.kind]
                if handler is None:
                    raise PacketError(
                        PROTOCOL_ERROR,
                        f"{packet.kind.name} while {self.state.value}",
                    )
                handler(self, packet, now)
                if self.state is CLOSED:
                    return
            if self._decoder.error is not None:
                raise self._decoder.error
        except PacketError as error:
            text = error.text
            if self.state is CONNECTING:
                from .foreign import foreign_protocol

                text = foreign_protocol(data) or text
            self._fail(error.reason_code, text)

    def take(self) -> Output:
        """Return everything that the caller has to do now."""
        changes = self.session.take_changes() if self.session.has_changes else None
        return self._pending.take(changes)

    def _on_connack(self, connack: Connack, now: float) -> None:
        negotiated, session = self._negotiated, self.session
        code = connack.reason_code
        if code:
            self._close(MqttCodeError(code), connack)
            return
        negotiated.check_authentication(connack.properties)
        if self.version < V5 and negotiated.connect.clean_start:
            # The broker has discarded the session, whatever it says (decision 0008).
            connack.session_present = False
        if connack.session_present and not session.exists:
            # Request a new session next time: [MQTT-3.2.2-4] ends this connection.
            session.identify(session.client_id, session.exists, False)
            raise PacketError(PROTOCOL_ERROR, "the broker has a session that we lack")
        negotiated.accept(connack, now)
        self.connack = connack
        client_id = session.client_id
        properties = connack.properties
        if not client_id and properties is not None:
            client_id = properties.assigned_client_identifier or ""
        limit = negotiated.send_quota(self.settings.maximum_in_flight)
        session.outbound.open(self.version, negotiated.encode, limit)
        session.inbound.open(
            self.version,
            negotiated.announced.receive_maximum or DEFAULT_RECEIVE_MAXIMUM,
        )
        self._enter(CONNECTED)
        self._pending.add(Connected(connack))
        # 3.1 has no Session Present: assume that the request was granted.
        present = connack.session_present or (self.version < V311 and session.exists)
        session.identify(client_id, negotiated.persists(connack), True)
        if present:
            ended = session.outbound.resume(self._pending.data, negotiated.refusal, now)
        else:
            session.inbound.clear()
            ended = session.outbound.restart(
                self._pending.data, negotiated.refusal, now
            )
        for delivery in ended:
            self._pending.add(delivery)

    def _on_publish(self, packet: Publish, now: float) -> None:
        if packet.carried is not None:
            self._negotiated.inbound_aliases.resolve(packet)
        if not packet.qos or self.session.inbound.accept(packet, self._pending.data):
            self._pending.messages.append(packet)

    def _on_ack(self, ack: Ack, now: float) -> None:
        if ack.properties is not None:
            self._negotiated.check_problem_information(ack.properties)
        if ack.kind is PUBREL:
            self.session.inbound.release(ack, self._pending.data)
            return
        outbound = self.session.outbound
        delivery = outbound.acknowledge(ack, self._pending.data, now)
        if delivery is not None:
            self._pending.add(delivery)
            outbound.pump(self._pending.data, now)

    def _on_suback(self, packet: Suback, now: float) -> None:
        self._negotiated.check_problem_information(packet.properties)
        outbound = self.session.outbound
        request = self._requests.answer(packet, self.version)
        if request is None:
            if outbound.is_used(packet.packet_id):
                raise PacketError(
                    PROTOCOL_ERROR,
                    f"{packet.kind.name} for the identifier of a PUBLISH",
                )
            # No request has this identifier; the broker's fault and harmless: ignored.
            return
        outbound.unreserve(packet.packet_id)
        self._pending.add(request)
        self.session.on_answer(request)
        # A packet identifier is free again, and a publish may be waiting for one.
        outbound.pump(self._pending.data, now)

    def _on_pingresp(self, packet: Ping, now: float) -> None:
        self._negotiated.keep_alive.on_pingresp()

    def _on_disconnect(self, packet: Signal, now: float) -> None:
        from .problem import disconnected_error

        self._close(disconnected_error(packet, self.version))

    def _on_auth(self, packet: Signal, now: float) -> None:
        self._negotiated.refuse_auth(packet)


def _limit_error(code: int) -> MqttLimitError:
    return MqttLimitError(
        ReasonCode(code), f"Refused by the broker's limits: {REASON_NAMES[code]}"
    )


# The packets that each state accepts; any other packet is a protocol error.
_Handler = Callable[[Engine, Any, float], None]
_HANDLERS: Final[dict[tuple[State, PacketType], _Handler]] = {
    (State.CONNECTING, PacketType.CONNACK): Engine._on_connack,
    (State.CONNECTING, PacketType.AUTH): Engine._on_auth,
    (State.CONNECTING, PacketType.DISCONNECT): Engine._on_disconnect,
    (State.CONNECTED, PacketType.PUBLISH): Engine._on_publish,
    (State.CONNECTED, PacketType.PUBACK): Engine._on_ack,
    (State.CONNECTED, PacketType.PUBREC): Engine._on_ack,
    (State.CONNECTED, PacketType.PUBCOMP): Engine._on_ack,
    (State.CONNECTED, PacketType.PUBREL): Engine._on_ack,
    (State.CONNECTED, PacketType.SUBACK): Engine._on_suback,
    (State.CONNECTED, PacketType.UNSUBACK): Engine._on_suback,
    (State.CONNECTED, PacketType.PINGRESP): Engine._on_pingresp,
    (State.CONNECTED, PacketType.DISCONNECT): Engine._on_disconnect,
}
_HANDLERS_OF: Final = by_packet_type(_HANDLERS, State)
