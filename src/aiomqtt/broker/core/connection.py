"""The broker's side of one connection: what a client may send, and what it causes.

The caller hands in bytes (`receive`) and answers (`answer`, `authenticated`, ...), and
then does what `events` says and what the outlet holds. No method blocks, sleeps or
calls back.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from aiomqtt.broker.hooks import ClientInfo, Refusal
from aiomqtt.properties import Properties, ReasonCode
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.protocol.codec.stream import Decoder
from aiomqtt.protocol.connection import InboundAliases
from aiomqtt.protocol.packets import (
    Ack,
    Connack,
    Connect,
    Packet,
    Ping,
    Publish,
    Signal,
    Subscribe,
    Unsubscribe,
)
from aiomqtt.protocol.wire import PacketError
from aiomqtt.standard.names import (
    CONTINUE_AUTHENTICATION,
    DEFAULT_RECEIVE_MAXIMUM,
    KEEP_ALIVE_TIMEOUT,
    PACKET_TOO_LARGE,
    PROTOCOL_ERROR,
    QUOTA_EXCEEDED,
    RE_AUTHENTICATE,
    V5,
    V31,
)
from aiomqtt.standard.tables import PacketType, ProtocolVersion, Role

from .client_timeout import ClientTimeout
from .connack import (
    OPENING,
    answer_to_undecodable,
    auth_packet,
    check_method,
    code_within,
    connack_properties,
    encode_within,
    expiry_at_disconnect,
    refusal_in,
    refusal_of,
    session_expiry,
)
from .events import (
    Accepted,
    AuthenticationContinued,
    AuthenticationStarted,
    ConnectionPhase,
    Ended,
    Event,
    PermissionRequest,
)
from .memory_account import PACKET_SIZE, size_of_connect, size_of_properties
from .publish_handlers import (
    PublishRequest,
    publish,
    refusal_of_publish,
    refusal_of_will,
)
from .send_buffer import BufferOwner, SendBuffer
from .session import Session
from .state import BrokerState
from .subscribe_handlers import FilterRequest, SubscribeRequest, UnsubscribeRequest
from .subscriptions import Matches, split_shared
from .turn import WORK_PER_TURN

CLIENT: Final = Role.CLIENT
SERVER: Final = Role.SERVER
PUBREL: Final = PacketType.PUBREL

# With so little kept of what came, a connection goes on also when memory is short.
ALWAYS_ALLOWED: Final = 16 * 1024
# So many packets of a client are decoded at once, before it is the turn of others.
PACKETS_PER_TURN: Final = 2000
# So many bytes of a client are read while what it sent before waits for an answer: only
# who reads knows that a client has gone.
READ_AHEAD: Final = 64 * 1024
_PINGRESP: Final = b"\xd0\x00"


class ClientConnection:
    """One connection of a broker.

    Args:
        core: The broker.
        address: Where the client connects from.
        certificate: Its certificate, or None.
        owner: Writes to the client and handles the events.

    Attributes:
        send_buffer: The bytes to write.
        events: What happened since the caller last looked; the caller clears it.
        session: The session; None until the client is connected.
    """

    def __init__(
        self,
        state: BrokerState,
        address: str,
        certificate: Mapping[str, object] | None,
        owner: BufferOwner,
        now: float,
    ) -> None:
        """Wait for the CONNECT."""
        self._state = state
        limits = state.limits
        self.send_buffer: SendBuffer = SendBuffer(
            state.ready, state.timers, state.memory, owner
        )
        self.events: list[Event] = []
        self.session: Session | None = None
        self.info: ClientInfo = ClientInfo(
            "", ProtocolVersion.V5, address=address, certificate=certificate
        )
        self._decoder = Decoder(
            ProtocolVersion.V5,
            CLIENT,
            limits.maximum_packet_size,
            limits.maximum_packet_items,
            PACKETS_PER_TURN,
        )
        self._enter(ConnectionPhase.CONNECTING)
        self._version = ProtocolVersion.V311
        self._connect = Connect(ProtocolVersion.V311)
        self._is_assigned = False
        self._aliases = InboundAliases(0)
        # What waits for an answer; what is done in part; and what came after it or is
        # left for the next turn, with its size in bytes. Why the connection has ended
        # when that is still to be done.
        self._question: PermissionRequest | None = None
        self._request: FilterRequest | PublishRequest | None = None
        self._later: list[Packet] = []
        self._later_size = 0
        self._lost: str | None = None
        # How many bytes the CONNECT takes.
        self._connect_size = 0
        self._is_authenticating = False
        self._final_data: bytes | None = None
        # The first bytes, which tell the version of a CONNECT that can't be decoded.
        self._opening = b""
        # Before the CONNECT it counts from the beginning, whatever comes.
        self._timeout = ClientTimeout(
            limits.connect_timeout, limits.packet_timeout, state.reading_time(now)
        )
        self._timer = state.timers.add(self._next_check(now), self._check)

    def _enter(self, phase: ConnectionPhase) -> None:
        self.phase = phase
        self._is_connected = phase is ConnectionPhase.CONNECTED
        self._handlers = _HANDLERS_OF[phase]

    @property
    def is_closed(self) -> bool:
        """Whether the connection is over."""
        return self.phase is ConnectionPhase.CLOSED

    @property
    def is_waiting(self) -> bool:
        """Whether something has to be done before more is read."""
        send_buffer = self.send_buffer
        if send_buffer.waits_for > 0 or send_buffer.is_full or self._decoder.has_more:
            return True
        if self._question is not None:
            return self._later_size >= READ_AHEAD
        return self._request is not None or len(self._later) > 0

    @property
    def has_more(self) -> bool:
        """Whether to call `go_on` in the next turn of the event loop."""
        return self._request is not None or self._has_packets or self._has_retained

    @property
    def _has_packets(self) -> bool:
        return (
            (len(self._later) > 0 or self._decoder.has_more)
            and self._question is None
            and self._request is None
            and self.send_buffer.waits_for == 0
            and not self.send_buffer.is_full
            and not self.is_closed
        )

    @property
    def _is_busy(self) -> bool:
        """Whether a packet waits for an answer or is done in part."""
        return self._question is not None or self._request is not None

    @property
    def _has_retained(self) -> bool:
        session = self.session
        return session is not None and session.has_more_retained

    # --- time ---------------------------------------------------------------------

    def _next_check(self, now: float) -> float:
        state = self._state
        return now + self._timeout.next_check(state.reading_time(now), state.is_paused)

    def _check(self, now: float) -> None:
        """Give up a client that has been silent for too long (§3.1.2.10)."""
        if self.is_closed:
            return
        time = self._state.reading_time(now)
        timeout = self._timeout
        if self.send_buffer.is_full and self.send_buffer.has_stalled(
            self._state.limits.packet_timeout, time
        ):
            self._fail(QUOTA_EXCEEDED, "it takes nothing of what is sent to it")
            return
        # Nothing of it is being read, or it has to wait for its CONNACK.
        if self.is_waiting or (self._question is not None and not self._is_connected):
            timeout.restart(time)
        elif timeout.has_expired(time):
            if self._is_connected:
                self._fail(KEEP_ALIVE_TIMEOUT, "nothing came within 1.5 keep alives")
            else:
                self._close("it did not connect in time")
            return
        elif timeout.is_packet_overdue(time):
            self._fail(PROTOCOL_ERROR, "the rest of a packet did not come in time")
            return
        self._timer = self._state.timers.add(self._next_check(now), self._check)

    # --- what comes from the client -----------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Handle bytes of the client; look at `has_more` afterwards.

        Args:
            data: The bytes, cut anywhere.
            now: The time, in seconds of the broker's clock.
        """
        if self.is_closed:
            return
        self._state.turn.begin(now)
        packets = self._decode(data)
        if self._question is not None or self._request is not None or self._later:
            self._later += packets
            self._later_size += len(data)
        else:
            self._later_size = len(data)
            self._handle(packets)
        self._count()

    def _count(self) -> None:
        """Count what is kept of what came; end the connection if that is too much."""
        if self.is_closed:
            return
        size = self._decoder.size + self._connect_size + 2 * self._aliases.size
        if self._later:
            size += PACKET_SIZE * len(self._later) + 2 * self._later_size
        question = self._question
        if question is not None:
            packet = question.packet
            size += PACKET_SIZE * len(question.topics)
            if isinstance(packet, Publish):
                size += len(packet.payload) + size_of_properties(packet.carried)
        request = self._request
        if request is not None:
            size += request.size
        memory = self._state.memory
        self.send_buffer.count_received(size)
        if (
            size > ALWAYS_ALLOWED
            and not memory.has_room(0)
            and self._decoder.is_partial
        ):
            self._fail(QUOTA_EXCEEDED, "there is no memory for a large packet")

    def go_on(self, now: float) -> None:
        """Do more of what is to do: one client's flood must not stop the others."""
        self._state.turn.begin(now)
        self._go_on_with_request()
        if self._has_packets:
            packets, self._later = self._later, []
            self._handle(packets or self._decode(b""))
        session = self.session
        if session is not None:
            session.send_more_retained()
        self._end_if_lost()
        self._count()

    def _decode(self, data: bytes) -> list[Packet]:
        time = self._state.reading_time(self._state.turn.now)
        decoder = self._decoder
        if self.phase is ConnectionPhase.CONNECTING:
            self._opening += data[: OPENING - len(self._opening)]
        else:
            self._timeout.on_activity(time)
        packets = decoder.feed(data)
        self._timeout.note_partial(decoder.is_partial, len(packets) > 0, time)
        return packets

    def _handle(self, packets: list[Packet]) -> None:
        turn = self._state.turn
        try:
            for index, packet in enumerate(packets):
                # The two rows of the table that every message takes, without it.
                if self._is_connected and isinstance(packet, Publish):
                    self._on_publish(packet)
                elif self._is_connected and isinstance(packet, Ack):
                    self._on_ack(packet)
                else:
                    handler = self._handlers[packet.kind]
                    if handler is None:
                        raise PacketError(
                            PROTOCOL_ERROR,
                            f"{packet.kind.name} while {self.phase.value}",
                        )
                    handler(self, packet)
                turn.work += 1
                if self.is_closed:
                    return
                # What is done in part has worked as much as it may.
                if self._question is not None or turn.work >= WORK_PER_TURN:
                    self._later = packets[index + 1 :]
                    if self._later or self._is_busy:
                        return
            if self._decoder.error is not None:
                raise self._decoder.error
        except PacketError as error:
            self._fail(error.reason_code, error.text)

    def connection_lost(self, reason: str, now: float) -> None:
        """Take note that the network connection has ended.

        With a question, what came before is still done: the peer stays open until that
        is so, or until the caller abandons it.
        """
        question = self._question
        if question is not None and (question.action != "connect" or self._later):
            self._lost = reason
        else:
            self.abandon(reason, now)

    def abandon(self, reason: str, now: float) -> None:
        """End at once, whatever is still to be done for the client."""
        if not self.is_closed:
            self._state.turn.begin(now)
            self._close(self._lost or reason)

    def end(
        self,
        reason_code: int,
        text: str,
        now: float,
        server_reference: str | None = None,
    ) -> None:
        """End the connection with a DISCONNECT, below 5.0 without a word."""
        if not self.is_closed:
            self._state.turn.now = now
            self._write_disconnect(reason_code, text, server_reference)
            self._close(text)

    def _fail(self, reason_code: int, text: str) -> None:
        """End the connection because the client broke a rule (§4.13)."""
        if self._is_connected:
            self._write_disconnect(reason_code, text)
        elif self.phase is ConnectionPhase.CONNECTING:
            answer = answer_to_undecodable(self._opening, reason_code, text)
            if answer:
                self.send_buffer.write(answer)
        else:
            self._write_connack(Refusal(reason_code, text))
        self._close(text)

    def _close(self, reason: str, is_will_due: bool = True) -> None:
        self._enter(ConnectionPhase.CLOSED)
        self._state.timers.cancel(self._timer)
        self._question = None
        self._request = None
        self._later = []
        # The client may take its time to close its side.
        self._decoder = Decoder(ProtocolVersion.V5, CLIENT)
        self._connect = Connect(ProtocolVersion.V311)
        send_buffer, session = self.send_buffer, self.session
        send_buffer.announce()
        send_buffer.close(self._state.turn.now)
        self.events.append(Ended(reason))
        if session is not None:
            self.session = None
            self._state.detach(session, is_will_due)

    def _write(self, packet: Packet) -> None:
        data = encode(packet, self._version, SERVER)
        maximum = self.send_buffer.maximum_packet_size
        if maximum and len(data) > maximum:
            # [MQTT-3.1.2-24]
            raise PacketError(
                PACKET_TOO_LARGE,
                f"the answer, {packet.kind.name}, of {len(data)} bytes exceeds"
                f" the client's Maximum Packet Size of {maximum}",
            )
        self.send_buffer.write(data)

    def _write_within(self, packet: Connack | Signal) -> None:
        """Write a CONNACK or DISCONNECT, with what the client takes of it."""
        maximum = self.send_buffer.maximum_packet_size
        data = encode_within(packet, self._version, maximum)
        if data:
            self.send_buffer.write(data)

    def _write_disconnect(
        self, reason_code: int, text: str, server_reference: str | None = None
    ) -> None:
        if self._version < V5 or not self._is_connected:
            return
        packet = Signal(
            PacketType.DISCONNECT,
            code_within(PacketType.DISCONNECT, reason_code),
            Properties(reason_string=text or None, server_reference=server_reference),
        )
        self._write_within(packet)

    # --- connecting ---------------------------------------------------------------

    def _on_connect(self, packet: Connect) -> None:
        state = self._state
        self._timeout.on_activity(state.reading_time(state.turn.now))
        self._connect = packet
        self._connect_size = size_of_connect(packet)
        self._version = packet.version
        limits = state.limits
        properties = packet.properties or Properties()
        self._enter(ConnectionPhase.AUTHENTICATING)
        maximum = properties.maximum_packet_size or 0
        self.send_buffer.open(
            packet.version,
            maximum,
            min(limits.topic_alias_maximum, properties.topic_alias_maximum or 0),
        )
        self._aliases = InboundAliases(limits.topic_alias_maximum)
        refusal = state.redirection or refusal_of(packet, limits)
        if refusal is None and packet.will is not None:
            refusal = refusal_of_will(state, packet.will)
        if refusal is not None:
            self.refuse(refusal, state.turn.now)
            return
        client_id = packet.client_id
        if not client_id:
            client_id = state.new_identifier()
            self._is_assigned = True
        self.info = ClientInfo(
            client_id,
            packet.version,
            packet.username,
            packet.password,
            packet.properties,
            self.info.address,
            self.info.certificate,
        )
        method = properties.authentication_method
        if method is not None:
            self._is_authenticating = True
            self.events.append(
                AuthenticationStarted(method, properties.authentication_data)
            )
        elif state.asks_to_connect:
            self._ask(PermissionRequest("connect", [], packet))
        else:
            self._go_on()

    def _ask(self, question: PermissionRequest) -> None:
        self._question = question
        self.events.append(question)

    def _take_question(self) -> PermissionRequest | None:
        # Apart, because a compiled method that sets it to None would take it for None
        # to its own end, and another question may be asked in between.
        question, self._question = self._question, None
        return question

    def answer(self, verdicts: list[Refusal | None], now: float) -> None:
        """Answer the question that was asked last.

        Args:
            verdicts: One for each topic; for "connect" one.
            now: The time.
        """
        question = self._take_question()
        if question is None or self.is_closed:
            return
        self._state.turn.begin(now)
        # Its own waiting does not count against the client.
        self._timeout.on_activity(self._state.reading_time(now))
        try:
            packet = question.packet
            if isinstance(packet, Publish):
                self._publish(packet, _code_of(verdicts[0]))
            elif isinstance(packet, Subscribe):
                self._subscribe(packet, [_code_of(verdict) for verdict in verdicts])
            elif verdicts[0] is not None:
                self.refuse(verdicts[0], now)
            elif question.action == "connect":
                self._go_on()
            else:
                self._accept()
        except PacketError as error:
            self._fail(error.reason_code, error.text)
        self._handle_later()
        self._end_if_lost()

    def _handle_later(self) -> None:
        if not (self._is_busy or self.is_closed):
            later, self._later = self._later, []
            self._handle(later)
        self._count()

    def _end_if_lost(self) -> None:
        if (
            self._lost is not None
            and not self._is_busy
            and not (self._later or self._decoder.has_more or self.is_closed)
        ):
            self._close(self._lost)

    def challenge(self, data: bytes | None, now: float) -> None:
        """Send the client an AUTH that continues its authentication."""
        if not self.is_closed:
            self._state.turn.now = now
            self._write_auth(CONTINUE_AUTHENTICATION, data)

    def authenticated(self, data: bytes | None, now: float) -> None:
        """End an authentication of several steps: the client is who it says."""
        if self.is_closed or not self._is_authenticating:
            return
        self._state.turn.now = now
        self._is_authenticating = False
        if self._is_connected:
            self._write_auth(0, data)
            return
        try:
            self._go_on(data)
        except PacketError as error:
            self._fail(error.reason_code, error.text)

    def _write_auth(self, reason_code: int, data: bytes | None) -> None:
        try:
            self._write(auth_packet(self._connect, reason_code, data))
        except PacketError as error:
            self._fail(error.reason_code, error.text)

    def refuse(self, refusal: Refusal, now: float) -> None:
        """Refuse the client, or what it is when it is connected already (§4.12.1)."""
        if self.is_closed:
            return
        self._state.turn.now = now
        text = refusal.reason_string or ReasonCode(refusal.reason_code).name
        if self._is_connected:
            self.end(refusal.reason_code, text, now)
            return
        self._write_connack(refusal)
        self._close(f"refused: {text}", is_will_due=False)

    def _go_on(self, data: bytes | None = None) -> None:
        """Go on with a client that is who it says: may it have its will?"""
        self._final_data = data
        will = self._connect.will
        if will is not None and self._state.asks_for_topics:
            self._ask(PermissionRequest("publish", [will.topic], self._connect))
        else:
            self._accept()

    def _accept(self) -> None:
        state, connect = self._state, self._connect
        properties = connect.properties or Properties()
        expiry = session_expiry(
            connect, properties.session_expiry_interval, state.limits
        )
        connack = Connack(
            False,
            ReasonCode(0),
            connack_properties(
                connect,
                state.limits,
                self.info.client_id if self._is_assigned else None,
                expiry,
                self._final_data,
            ),
        )
        maximum = self.send_buffer.maximum_packet_size
        if not encode_within(connack, self._version, maximum):
            raise PacketError(PACKET_TOO_LARGE, f"no CONNACK fits into {maximum} bytes")
        is_present = state.attach(self, self.info.client_id, connect.clean_start)
        session = self.session
        assert session is not None
        session.expiry = expiry
        session.will = connect.will
        keep_alive = connect.keep_alive
        if self._version >= V5 and state.limits.server_keep_alive is not None:
            keep_alive = state.limits.server_keep_alive
        self._timeout.seconds = 1.5 * keep_alive
        session.attach(
            self.send_buffer,
            self._version,
            properties.receive_maximum or DEFAULT_RECEIVE_MAXIMUM,
        )
        if not is_present:
            session.inbound.clear()
        self._enter(ConnectionPhase.CONNECTED)
        connack.session_present = is_present and self._version > V31
        self._write(connack)
        self.events.append(Accepted(self.info, connect.clean_start, keep_alive))
        session.resume()
        if keep_alive:
            state.timers.cancel(self._timer)
            self._timer = state.timers.add(
                self._next_check(state.turn.now), self._check
            )

    def _write_connack(self, refusal: Refusal) -> None:
        self._write_within(refusal_in(self._version, refusal))

    # --- packets of a connected client ----------------------------------------------

    def _on_publish(self, packet: Publish) -> None:
        state = self._state
        state.statistics.messages_received += 1
        if packet.carried is not None:
            self._aliases.resolve(packet)
        code = refusal_of_publish(state, packet)
        if not code and state.asks_for_topics:
            self._ask(PermissionRequest("publish", [packet.topic.value], packet))
        else:
            self._publish(packet, code)

    def _publish(self, packet: Publish, code: int) -> None:
        session, state = self.session, self._state
        assert session is not None
        matches: Matches | None = None
        if not code:
            topic = packet.topic.value
            matches = state.subscriptions.known(topic)
            if matches is None:
                search = state.subscriptions.search(topic)
                matches = search.go_on(state.turn)
                if matches is None:
                    self._request = PublishRequest(session, packet, search)
                    return
        publish(state, session, packet, code, matches)

    def _on_ack(self, ack: Ack) -> None:
        session = self.session
        assert session is not None
        if ack.kind is PUBREL:
            session.inbound.release(ack, self.send_buffer.announce())
            session.count()
        else:
            session.acknowledge(ack)

    def _on_subscribe(self, packet: Subscribe) -> None:
        if self._state.asks_for_topics:
            filters = [split_shared(name)[1] for name, _ in packet.subscriptions]
            self._ask(PermissionRequest("subscribe", filters, packet))
        else:
            self._subscribe(packet, [0] * len(packet.subscriptions))

    def _subscribe(self, packet: Subscribe, codes: list[int]) -> None:
        session = self.session
        assert session is not None
        self._work_on(SubscribeRequest(session, packet, codes))

    def _on_unsubscribe(self, packet: Unsubscribe) -> None:
        session = self.session
        assert session is not None
        self._work_on(UnsubscribeRequest(session, packet))

    def _work_on(self, request: FilterRequest | PublishRequest) -> None:
        if isinstance(request, PublishRequest):
            self._request = None if request.go_on(self._state) else request
            return
        answer = request.go_on(self._state)
        if answer is None:
            self._request = request
            return
        self._request = None
        self._write(answer)
        if request.wanted:
            session = request.session
            for topic_filter in request.wanted:
                session.send_retained(topic_filter)
            session.send_more_retained()

    def _go_on_with_request(self) -> None:
        request = self._request
        if request is not None:
            try:
                self._work_on(request)
            except PacketError as error:
                self._fail(error.reason_code, error.text)

    def _on_pingreq(self, packet: Ping) -> None:
        self.send_buffer.write(_PINGRESP)

    def _on_disconnect(self, packet: Signal) -> None:
        session = self.session
        expiry = expiry_at_disconnect(self._connect, packet, self._state.limits)
        if session is not None and expiry >= 0:
            session.expiry = expiry
        self._close("", is_will_due=bool(packet.reason_code))

    def _on_auth(self, packet: Signal) -> None:
        method = check_method(self._connect, packet)
        data = (packet.properties or Properties()).authentication_data
        if packet.reason_code == RE_AUTHENTICATE:
            if self._is_authenticating or not self._is_connected:
                raise PacketError(PROTOCOL_ERROR, "an authentication has begun already")
            self._is_authenticating = True
            self.events.append(AuthenticationStarted(method, data))
        elif self._is_authenticating:
            self.events.append(AuthenticationContinued(data))
        else:
            raise PacketError(PROTOCOL_ERROR, "AUTH continues no authentication")


def _code_of(verdict: Refusal | None) -> int:
    return 0 if verdict is None else verdict.reason_code


# What each state accepts; what is absent is a protocol error.
_Handler = Callable[[ClientConnection, Any], None]
_HANDLERS: Final[dict[tuple[ConnectionPhase, PacketType], _Handler]] = {
    (ConnectionPhase.CONNECTING, PacketType.CONNECT): ClientConnection._on_connect,
    (ConnectionPhase.AUTHENTICATING, PacketType.AUTH): ClientConnection._on_auth,
    (
        ConnectionPhase.AUTHENTICATING,
        PacketType.DISCONNECT,
    ): ClientConnection._on_disconnect,
    (ConnectionPhase.CONNECTED, PacketType.PUBLISH): ClientConnection._on_publish,
    (ConnectionPhase.CONNECTED, PacketType.PUBACK): ClientConnection._on_ack,
    (ConnectionPhase.CONNECTED, PacketType.PUBREC): ClientConnection._on_ack,
    (ConnectionPhase.CONNECTED, PacketType.PUBREL): ClientConnection._on_ack,
    (ConnectionPhase.CONNECTED, PacketType.PUBCOMP): ClientConnection._on_ack,
    (ConnectionPhase.CONNECTED, PacketType.SUBSCRIBE): ClientConnection._on_subscribe,
    (
        ConnectionPhase.CONNECTED,
        PacketType.UNSUBSCRIBE,
    ): ClientConnection._on_unsubscribe,
    (ConnectionPhase.CONNECTED, PacketType.PINGREQ): ClientConnection._on_pingreq,
    (ConnectionPhase.CONNECTED, PacketType.DISCONNECT): ClientConnection._on_disconnect,
    (ConnectionPhase.CONNECTED, PacketType.AUTH): ClientConnection._on_auth,
}
# The same by packet type, for each state.
_HANDLERS_OF: Final = {
    phase: [
        _HANDLERS.get((phase, PacketType(number))) if number else None
        for number in range(PacketType.WILL)
    ]
    for phase in ConnectionPhase
}
