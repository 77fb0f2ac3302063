"""The engine of a client: all rules of the protocol, without I/O and without a clock.

The caller passes in bytes (`receive`), calls (`publish`, `subscribe`, ...) and the
time (`tick`). After each of them it calls `take`, stores the changes, writes the bytes,
then handles the happenings in order. Every Delivery and every Request that a call
returned ends in exactly one happening. `deadline` returns when to call `tick` at the
latest. No method blocks, sleeps or calls back.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from aiomqtt.exceptions import MqttCodeError, MqttError
from aiomqtt.properties import Properties, ReasonCode
from aiomqtt.standard.names import (
    KEEP_ALIVE_TIMEOUT,
    PROTOCOL_ERROR,
    V5,
    V311,
)
from aiomqtt.standard.tables import REASON_NAMES, PacketType, ProtocolVersion, Role

from .changes import SessionState, StoredDelivery
from .codec.encode import encode
from .codec.framing import Decoder
from .counts import Counts
from .delivery import DONE, Delivery
from .dispatch import State, by_packet_type, find_handler
from .engine_calls import EngineCalls
from .keepalive import KeepAlive
from .negotiated import Negotiated, check_expiry
from .output import Closed, Connected, Happening, Output, PendingOutput
from .packets import Ack, Connack, Connect, Packet, Ping, Publish, Signal, Suback
from .requests import Requests
from .session import Session
from .settings import Settings
from .wire import PacketError

if TYPE_CHECKING:
    from .authentication import Authentication

# Members of enumerations that every message needs: looking one up is slow.
PUBREL: Final = PacketType.PUBREL
CLIENT: Final = Role.CLIENT
SERVER: Final = Role.SERVER
CLOSED: Final = State.CLOSED
CONNECTING: Final = State.CONNECTING
VERIFYING: Final = State.VERIFYING
CONNECTED: Final = State.CONNECTED

_PINGREQ: Final = b"\xc0\x00"


class Engine(EngineCalls):
    """The client's side of one connection after the other, with one session.

    Args:
        settings: The contents of every CONNECT, and the bounds of publishing.
        session: The session to resume; None: a new one, whose changes are not recorded.

    Attributes:
        is_continuous: Whether the next connection continues with what this one leaves:
            unanswered requests, unfinished deliveries and granted subscriptions,
            whether or not the broker keeps the session. `give_up` ends it.
        keeps_messages: Whether unfinished deliveries outlast the session at the broker,
            and go on with the next one.
        birth: The message that is published first on the next connection that the
            broker accepts, after lost subscriptions were restored and unacknowledged
            messages were sent again; None: there is none.

    Raises:
        ValueError: A setting violates the standard.
    """

    def __init__(self, settings: Settings, session: Session | None = None) -> None:
        """Start without a connection."""
        self.settings: Settings = settings
        self.version: ProtocolVersion = settings.version
        self.counts: Counts = Counts()
        # Valid for the session.
        self.session: Session = session or Session(settings.client_id)
        # Valid until the caller changes it.
        self.is_continuous: bool = False
        self.keeps_messages: bool = False
        # None: there was no need for it yet.
        self._continuation = None
        # Valid until the broker accepts the next connection.
        self.birth: Delivery | None = None
        # The one of the last connection.
        self._last_birth: Delivery | None = None
        # Valid for the connection.
        self._enter(CLOSED)
        self._negotiated = Negotiated(Connect(settings.version))
        outbound = self.session.outbound
        outbound.measure(self._negotiated.encode, outbound.unreceived())
        self._decoder = Decoder(settings.version, SERVER)
        self._requests = Requests()
        # None: the CONNECT had no Authentication Method, or there is no connection.
        self.authentication: Authentication | None = None
        # The time when bytes last came.
        self._received_at = 0.0
        # Valid until the broker accepts the next connection.
        self.connack: Connack | None = None
        # The number of bytes that the program's last call added, written or not.
        self.added_size: int = 0
        # Valid until the caller takes it.
        self._pending = PendingOutput()
        encode(settings.to_connect(settings.client_id, False), self.version, CLIENT)

    def restore(
        self, state: SessionState, behind: int = 0, size: int = 0, qos0: int = 0
    ) -> None:
        """Continue from a stored state of the session; there is no connection.

        Args:
            state: The state.
            behind: How many further deliveries wait in the store: see `load_behind`.
            size: The sizes of their topics and payloads, in bytes.
            qos0: How many of them have QoS 0, at most.
        """
        outbound = self.session.outbound
        self.session.load(state)
        outbound.measure(self._negotiated.encode, outbound.unreceived())
        outbound.leave_behind(behind, size, qos0)

    def load_behind(self, page: list[StoredDelivery], now: float) -> list[Delivery]:
        """Go on with the next deliveries of those that only the store had.

        Args:
            page: The deliveries, in order.
            now: The time.

        Returns:
            Them, as far as they have not ended.
        """
        outbound = self.session.outbound
        loaded = outbound.load_behind(page)
        outbound.measure(self._negotiated.encode, loaded)
        if outbound.drops_behind:
            outbound.drops_behind = outbound.behind > 0
            self._pending.add_all([one for one in loaded if outbound.drop(one)])
        elif self._is_connected:
            refused = outbound.check(loaded, self._negotiated.refusal, now)
            self._pending.add_all(refused)
        self._pump(now)
        return [delivery for delivery in loaded if delivery.state < DONE]

    # --- the life of a connection -------------------------------------------------

    def connect(self, authentication_data: bytes | None = None) -> None:
        """Begin a connection with a CONNECT (§3.1); a ValueError changes nothing.

        Args:
            authentication_data: The data of the authenticator; None: there are none.
        """
        session = self.session
        connect = self.settings.to_connect(
            session.client_id, session.connected_before, authentication_data
        )
        data = encode(connect, self.version, CLIENT)
        goes_on = self.is_continuous or self.keeps_messages
        if goes_on and (connect.clean_start or not session.exists):
            self._pending.add_all(session.begin_anew())
        elif connect.clean_start:
            self._end_session()
        if not connect.clean_start and not session.connected_before:
            # The program says that there is a session, from an earlier process: we
            # know of nothing in flight.
            session.identify(session.client_id, True)
        self._negotiated = Negotiated(connect)
        maximum_size = self._negotiated.announced.maximum_packet_size
        self._decoder = Decoder(self.version, SERVER, maximum_size)
        self._pending.data.clear()
        self._pending.data.append(data)
        if self._negotiated.announced.authentication_method is not None:
            from .authentication import Authentication

            self.authentication = Authentication(
                self._negotiated, self._pending, self.settings.has_authenticator
            )
        self._enter(CONNECTING)

    def _enter(self, state: State) -> None:
        self.state = state
        self._is_connected = state is CONNECTED
        self._handlers = _HANDLERS_OF[state]

    def disconnect(
        self, reason_code: int = 0, properties: Properties | None = None
    ) -> None:
        """End the connection with a DISCONNECT (§3.14).

        Raises:
            ValueError: An argument violates the standard. Nothing has changed.
        """
        if self.state is CLOSED:
            return
        self.session.inbound.write_decided(self._pending.data)
        self._pending.data.append(self._encode_disconnect(reason_code, properties))
        if properties is not None:
            self.session.set_expiry(properties.session_expiry_interval)
        self._close(None)

    def check_disconnect(self, reason_code: int, properties: Properties | None) -> None:
        """Check the arguments of `disconnect`, and change nothing.

        Raises:
            ValueError: An argument violates the standard.
            MqttLimitError: The DISCONNECT is larger than the broker accepts.
        """
        size = len(self._encode_disconnect(reason_code, properties))
        if self._is_connected:
            self._negotiated.limits.check(0, size)

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
        self.authentication = None
        self._pending.add(Closed(error, connack))
        unanswered = self._requests.end()
        if self._continuation is not None or self.is_continuous:
            unanswered = self._continued().interrupt(unanswered)
        self._pending.add_all(unanswered)
        self.session.close()
        if not self.is_continuous:
            self._end_kept()

    def give_up(self) -> None:
        """End what is kept for the next connection: there is none.

        Requests end without an answer, and deliveries are lost unless the session
        exists. If there is a connection, this happens when it ends.
        """
        self.is_continuous = False
        if self.state is CLOSED:
            self._end_kept()

    def _end_kept(self) -> None:
        if self._continuation is not None:
            self._pending.add_all(self._continuation.give_up())
        if not self.session.exists and not self.keeps_messages:
            self._end_session()

    def _end_session(self) -> None:
        self._pending.add_all(self.session.clear())

    def fail(
        self, reason_code: int, text: str, cause: BaseException | None = None
    ) -> None:
        """End the connection for a reason that engine or caller have found (§4.13)."""
        if self.state is CLOSED:
            return
        if self.version >= V5:
            packet = Signal(PacketType.DISCONNECT, reason_code)
            self._pending.data.append(encode(packet, self.version, CLIENT))
        name = REASON_NAMES[reason_code]
        code = ReasonCode(reason_code)
        error = MqttCodeError(code, f"Disconnected with {name}: {text}")
        error.__cause__ = cause
        self._close(error)

    # --- time ---------------------------------------------------------------------

    def deadline(self) -> float | None:
        """Return the time to call `tick` at the latest; None: there is no need to.

        Every other call may change it, so check it after each.
        """
        return self._negotiated.keep_alive.due if self._is_connected else None

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
            text = "Disconnected: Keep Alive timeout: no PINGRESP came in time"
            self._close(MqttCodeError(ReasonCode(KEEP_ALIVE_TIMEOUT), text))
        elif clock.next_ping is not None and now >= clock.next_ping:
            self._pending.data.append(_PINGREQ)
            clock.on_pingreq(now)

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
        if self._is_connected and not self._decoder.has_others:
            # A fast path: they are only to be delivered.
            self._pending.messages.extend(cast("list[Publish]", packets))
            packets = []
        self._handle(packets, now, data)

    def _handle(self, packets: list[Packet], now: float, data: bytes) -> None:
        """Handle decoded packets, and then what could not be decoded."""
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
                handler = find_handler(self._handlers, packet.kind, self.state)
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
            self.fail(error.reason_code, text)

    def take(self) -> Output:
        """Return everything that the caller has to do now."""
        self.session.inbound.write_decided(self._pending.data)
        changes = self.session.take_changes() if self.session.has_changes else None
        return self._pending.take(changes)

    def take_without_connection(self) -> Output:
        """Return the changes, and what has happened; the CONNECT stays, if any."""
        changes = self.session.take_changes() if self.session.has_changes else None
        return Output(changes, [], self._pending.take_happenings())

    def take_happenings(self) -> list[Happening]:
        """Return only what has happened, as `take` does: there is no connection."""
        return self._pending.take_happenings()

    def _on_connack(self, connack: Connack, now: float) -> None:
        negotiated, session = self._negotiated, self.session
        code = connack.reason_code
        if code:
            self._close(MqttCodeError(code), connack)
            return
        negotiated.check_connack(connack)
        if connack.session_present and not session.exists:
            # Request a new session next time: [MQTT-3.2.2-4] ends this connection.
            session.identify(session.client_id, session.exists, False)
            raise PacketError(PROTOCOL_ERROR, "the broker has a session that we lack")
        if self.authentication is not None and self.settings.has_authenticator:
            self._pending.add(self.authentication.on_connack(connack))
            self._enter(VERIFYING)
        else:
            self._accept(connack, now)

    def _accept(self, connack: Connack, now: float) -> None:
        negotiated, session = self._negotiated, self.session
        negotiated.accept(connack, now)
        self.connack = connack
        client_id = session.client_id or negotiated.assigned_client_id
        limit = negotiated.send_quota(self.settings.maximum_in_flight)
        session.outbound.open(self.version, negotiated.encode, limit)
        session.inbound.open(self.version, negotiated.receive_maximum)
        self._enter(CONNECTED)
        self._pending.add(Connected(connack))
        # 3.1 has no Session Present: assume that the request was granted.
        present = connack.session_present or (self.version < V311 and session.exists)
        session.identify(client_id, negotiated.persists(connack), True)
        out = self._pending.data
        if not present:
            session.inbound.clear()
            self._pending.add_all(session.outbound.requeue())
        if self.is_continuous or self.keeps_messages:
            is_kept = connack.session_present and self.version >= V311
            self._pending.add_all(self._continued().resume(is_kept, negotiated, out))
        if self.birth is not None:
            self._put_birth_first(self.birth, now)
        self._pending.add_all(session.outbound.resume(out, negotiated.refusal, now))
        self._pending.add_all(session.outbound.take_ended())

    def _put_birth_first(self, birth: Delivery, now: float) -> None:
        outbound, last = self.session.outbound, self._last_birth
        if last is not None and outbound.withdraw(last):
            # The broker has not got it: it would come after the new one.
            self._pending.add(last)
        self.birth, self._last_birth = None, birth
        # It was encoded for no connection in particular.
        birth.head = birth.tail = b""
        birth.start_expiry(now)
        self.counts.messages_published += 1
        outbound.put_first(birth)

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
        delivery = self.session.outbound.acknowledge(ack, self._pending.data, now)
        if delivery is not None:
            self._pending.add(delivery)
        self._pump(now)

    def _on_suback(self, packet: Suback, now: float) -> None:
        self._negotiated.check_problem_information(packet.properties)
        outbound = self.session.outbound
        request = self._requests.answer(packet, self.version, outbound)
        if request is not None:
            self._pending.add(request)
            self.session.on_answer(request)
            if self._continuation is not None:
                self._continuation.pump(self._pending.data)
            # A packet identifier is free, and a publish may be waiting for one.
            self._pump(now)

    def _on_pingresp(self, packet: Ping, now: float) -> None:
        self._negotiated.keep_alive.on_pingresp(now)

    def _on_disconnect(self, packet: Signal, now: float) -> None:
        from .problem import disconnected_error

        self._close(disconnected_error(packet, self.version))

    # --- authentication: its other calls are those of `authentication` ----------------

    def _on_auth(self, packet: Signal, now: float) -> None:
        if self.authentication is None:
            raise PacketError(PROTOCOL_ERROR, "AUTH without an authentication method")
        self._pending.add(self.authentication.on_auth(packet, self._is_connected))

    def _hold(self, packet: Packet, now: float) -> None:
        assert self.authentication is not None
        self.authentication.hold(packet)

    def accept_broker(self, now: float) -> None:
        """Accept the broker after the last `Challenge`: the connection goes on."""
        assert self.authentication is not None
        connack, held = self.authentication.complete()
        if connack is not None:
            self._accept(connack, now)
            self._handle(held, now, b"")


# The packets that each state accepts; any other packet is a protocol error.
_Handler = Callable[[Engine, Any, float], None]
_ROWS: Final[dict[tuple[State, PacketType], _Handler]] = {
    (State.CONNECTING, PacketType.CONNACK): Engine._on_connack,
    (State.CONNECTING, PacketType.AUTH): Engine._on_auth,
    (State.CONNECTING, PacketType.DISCONNECT): Engine._on_disconnect,
    (State.VERIFYING, PacketType.DISCONNECT): Engine._on_disconnect,
    (State.CONNECTED, PacketType.PUBLISH): Engine._on_publish,
    (State.CONNECTED, PacketType.PUBACK): Engine._on_ack,
    (State.CONNECTED, PacketType.PUBREC): Engine._on_ack,
    (State.CONNECTED, PacketType.PUBCOMP): Engine._on_ack,
    (State.CONNECTED, PacketType.PUBREL): Engine._on_ack,
    (State.CONNECTED, PacketType.SUBACK): Engine._on_suback,
    (State.CONNECTED, PacketType.UNSUBACK): Engine._on_suback,
    (State.CONNECTED, PacketType.PINGRESP): Engine._on_pingresp,
    (State.CONNECTED, PacketType.AUTH): Engine._on_auth,
    (State.CONNECTED, PacketType.DISCONNECT): Engine._on_disconnect,
}
# A broker that has accepted the client need not wait until the client accepts it.
_HELD: Final[dict[tuple[State, PacketType], _Handler]] = {
    (VERIFYING, kind): Engine._hold
    for state, kind in _ROWS
    if state is CONNECTED and kind is not PacketType.AUTH
}
_HANDLERS_OF: Final = by_packet_type(_HELD | _ROWS, State)
