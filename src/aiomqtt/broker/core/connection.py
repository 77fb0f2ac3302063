"""The rules of one client's connection, without I/O and without a clock.

The caller passes in bytes (`receive`) and answers (`answer`, `authenticated`, ...), and
then handles `events` and writes the data in the send buffer. No method blocks, sleeps
or calls back.
"""

from collections.abc import Mapping
from typing import Final

from aiomqtt.broker.hooks import ClientInfo, Refusal
from aiomqtt.properties import Properties, ReasonCode
from aiomqtt.protocol.aliases import InboundAliases
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.protocol.dispatch import find_handler
from aiomqtt.protocol.packets import Ack, Connack, Connect, Packet, Publish, Signal
from aiomqtt.protocol.wire import PacketError
from aiomqtt.standard.names import (
    CONTINUE_AUTHENTICATION,
    KEEP_ALIVE_TIMEOUT,
    PACKET_TOO_LARGE,
    PROTOCOL_ERROR,
    QUOTA_EXCEEDED,
    V5,
)
from aiomqtt.standard.tables import PacketType, ProtocolVersion, Role

from .authentication import complete_authentication, write_auth
from .client_timeout import ClientTimeout
from .connack import answer_to_undecodable, code_within, encode_within, refusal_in
from .connect_handlers import accept, ask_about_will
from .dispatch import HANDLERS
from .events import (
    ConnectionPhase,
    ConnectPermission,
    Ended,
    Event,
    PermissionRequest,
    PublishPermission,
    SubscribePermission,
)
from .inbound_packets import InboundPackets
from .memory_account import PACKET_SIZE, size_of_properties
from .packet_in_progress import PacketInProgress
from .publish_handlers import handle_ack, handle_publish, publish
from .send_buffer import BufferOwner, SendBuffer
from .session import Session
from .state import BrokerState
from .subscribe_handlers import subscribe

SERVER: Final = Role.SERVER

# A connection that keeps at most this many received bytes goes on even when memory is
# short.
ALWAYS_ALLOWED: Final = 16 * 1024


class ClientConnection:
    """One connection of a broker.

    Args:
        state: The broker's state.
        address: The address of the client.
        certificate: Its certificate, or None.
        owner: Writes to the client and handles the events.
        now: The time at which the connection was accepted.

    Attributes:
        state: The broker's state.
        send_buffer: The data to write.
        events: The events since the caller last looked; the caller clears it.
        phase: The phase of the connection.
        info: The client, as it presents itself.
        session: The session; None until the client is connected.
        connect: Its CONNECT.
        connect_size: An estimate of its size in memory, in bytes.
        version: The version of MQTT.
        aliases: The topic aliases of the client.
        timeout: How long the client may stay silent.
        is_identifier_assigned: Whether the broker chose the client identifier.
        is_authenticating: Whether an authentication of several steps is in progress.
        final_data: The Authentication Data for the CONNACK.
        in_progress: The packet whose handling is not complete; None: there is none.
    """

    def __init__(
        self,
        state: BrokerState,
        address: str,
        certificate: Mapping[str, object] | None,
        owner: BufferOwner,
        now: float,
    ) -> None:
        self.state: BrokerState = state
        limits = state.limits
        # Valid for the connection.
        self.send_buffer: SendBuffer = SendBuffer(
            state.ready, state.timers, state.memory, owner
        )
        self.events: list[Event] = []
        self.enter(ConnectionPhase.CONNECTING)
        self._packets = InboundPackets(limits)
        # Before the CONNECT it counts from the beginning, whatever is received.
        self.timeout: ClientTimeout = ClientTimeout(
            limits.connect_timeout, limits.packet_timeout, state.reading_time(now)
        )
        self._timer = state.timers.add(self._next_check(now), self._check)
        # The reason why the network connection ended, if packets still wait.
        self._lost: str | None = None
        # Valid from the CONNECT on.
        self.connect: Connect = Connect(ProtocolVersion.V311)
        self.connect_size: int = 0
        self.version: ProtocolVersion = ProtocolVersion.V311
        self.info: ClientInfo = ClientInfo(
            "", ProtocolVersion.V5, address=address, certificate=certificate
        )
        self.aliases: InboundAliases = InboundAliases(0)
        self.is_authenticating: bool = False
        # Valid from the CONNECT to the CONNACK.
        self.is_identifier_assigned: bool = False
        self.final_data: bytes | None = None
        # Valid from the CONNACK on.
        self.session: Session | None = None
        # Valid for one packet: the permission that it waits for, or the rest of it.
        self._permission: PermissionRequest | None = None
        self.in_progress: PacketInProgress | None = None

    def enter(self, phase: ConnectionPhase) -> None:
        """Enter a phase."""
        self.phase: ConnectionPhase = phase
        self.is_connected: bool = phase is ConnectionPhase.CONNECTED
        self.is_closed: bool = phase is ConnectionPhase.CLOSED
        self._handlers = HANDLERS[phase]

    @property
    def is_waiting(self) -> bool:
        """Whether reading should pause for now."""
        send_buffer, packets = self.send_buffer, self._packets
        if send_buffer.waits_for > 0 or send_buffer.is_full or packets.has_undecoded:
            return True
        if self._permission is not None:
            return packets.is_full
        return self.in_progress is not None or len(packets.waiting) > 0

    @property
    def has_more(self) -> bool:
        """Whether to call `go_on` in the next turn of the event loop."""
        packet = self.in_progress
        if packet is not None and packet.can_go_on:
            return True
        if self._has_packets:
            return True
        session = self.session
        return session is not None and session.has_more_retained

    @property
    def _has_packets(self) -> bool:
        return (
            not self._packets.is_empty
            and not self._is_busy
            and self.send_buffer.waits_for == 0
            and not self.send_buffer.is_full
            and not self.is_closed
        )

    @property
    def _is_busy(self) -> bool:
        """Whether a packet waits for permission or is handled in part."""
        return self._permission is not None or self.in_progress is not None

    # --- time ---------------------------------------------------------------------

    def _next_check(self, now: float) -> float:
        state = self.state
        return now + self.timeout.next_check(state.reading_time(now), state.is_paused)

    def restart_timer(self, now: float) -> None:
        """Check again in time for a new timeout."""
        self.state.timers.cancel(self._timer)
        self._timer = self.state.timers.add(self._next_check(now), self._check)

    def _check(self, now: float) -> None:
        """End a connection whose client has been silent for too long (§3.1.2.10)."""
        if self.is_closed:
            return
        time = self.state.reading_time(now)
        timeout = self.timeout
        if self.send_buffer.is_full and self.send_buffer.has_stalled(
            self.state.limits.packet_timeout, time
        ):
            self.fail(QUOTA_EXCEEDED, "it takes nothing of what is sent to it")
            return
        # Its bytes are not being read, or it has to wait for its CONNACK.
        if self.is_waiting or (self._permission is not None and not self.is_connected):
            timeout.restart(time)
        elif timeout.has_expired(time):
            if self.is_connected:
                self.fail(KEEP_ALIVE_TIMEOUT, "nothing came within 1.5 keep alives")
            else:
                self.close("it did not connect in time")
            return
        elif timeout.is_packet_overdue(time):
            self.fail(PROTOCOL_ERROR, "the rest of a packet did not come in time")
            return
        self._timer = self.state.timers.add(self._next_check(now), self._check)

    # --- bytes from the client ----------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Handle bytes of the client; check `has_more` afterwards.

        Args:
            data: The bytes; packets may be split anywhere.
            now: The time, in seconds of the broker's clock.
        """
        if self.is_closed:
            return
        self.state.turn.begin(now)
        decoded = self._decode(data)
        packets = self._packets
        if self._is_busy or packets.waiting:
            packets.add(decoded, len(data))
        else:
            packets.note_size(len(data))
            self._handle(decoded)
        self._count()

    def go_on(self, now: float) -> None:
        """Handle the next portion: one client's flood must not stop the others."""
        self.state.turn.begin(now)
        self._go_on_with_packet()
        if self._has_packets:
            self._handle(self._packets.pop() or self._decode(b""))
        session = self.session
        if session is not None:
            session.send_more_retained()
        self._end_if_lost()
        self._count()

    def _decode(self, data: bytes) -> list[Packet]:
        time = self.state.reading_time(self.state.turn.now)
        packets = self._packets
        if self.phase is ConnectionPhase.CONNECTING:
            packets.note_opening(data)
        else:
            self.timeout.on_activity(time)
        decoded = packets.decode(data)
        self.timeout.note_partial(packets.is_partial, len(decoded) > 0, time)
        return decoded

    def _handle(self, decoded: list[Packet]) -> None:
        turn = self.state.turn
        try:
            for index, packet in enumerate(decoded):
                # A fast path for the two rows of the table that every message needs.
                if self.is_connected and isinstance(packet, Publish):
                    handle_publish(self, packet)
                elif self.is_connected and isinstance(packet, Ack):
                    handle_ack(self, packet)
                else:
                    find_handler(self._handlers, packet.kind, self.phase)(self, packet)
                turn.work += 1
                if self.is_closed:
                    return
                # Those after a packet whose handling is not complete wait for it.
                if (
                    self._permission is not None
                    or self.in_progress is not None
                    or turn.work >= turn.limit
                ):
                    waiting = self._packets.waiting = decoded[index + 1 :]
                    if waiting or self._is_busy:
                        return
            invalid = self._packets.error
            if invalid is not None:
                raise invalid
        except PacketError as error:
            self.fail(error.reason_code, error.text)

    def _go_on_with_packet(self) -> None:
        packet = self.in_progress
        if packet is not None:
            try:
                if packet.go_on(self):
                    self.in_progress = None
            except PacketError as error:
                self.fail(error.reason_code, error.text)

    def work_on(self, packet: PacketInProgress) -> None:
        """Handle a portion of a packet, and the rest in later turns."""
        if not packet.go_on(self):
            self.in_progress = packet

    def _count(self) -> None:
        """Count the received bytes that are kept; if too many, end the connection."""
        if self.is_closed:
            return
        size = self._packets.size + self.connect_size + 2 * self.aliases.size
        permission = self._permission
        if permission is not None:
            size += PACKET_SIZE * len(permission.topics)
            if isinstance(permission, PublishPermission):
                packet = permission.packet
                size += len(packet.payload) + size_of_properties(packet.carried)
        in_progress = self.in_progress
        if in_progress is not None:
            size += in_progress.size
        self.send_buffer.count_received(size)
        if (
            size > ALWAYS_ALLOWED
            and not self.state.memory.has_room(0)
            and self._packets.is_partial
        ):
            self.fail(QUOTA_EXCEEDED, "there is no memory for a large packet")

    # --- permission ---------------------------------------------------------------

    def ask(self, permission: PermissionRequest) -> None:
        """Ask whether the client may do something; later packets wait."""
        self._permission = permission
        self.events.append(permission)

    def _pop_permission(self) -> PermissionRequest | None:
        # In a method of its own: compiled code that sets it to None would assume that
        # it stays None, but another permission may be requested in between.
        permission, self._permission = self._permission, None
        return permission

    def answer(self, verdicts: list[Refusal | None], now: float) -> None:
        """Answer the last permission request.

        Args:
            verdicts: One for each topic; for a `ConnectPermission`, just one.
            now: The time.
        """
        permission = self._pop_permission()
        if permission is None or self.is_closed:
            return
        self.state.turn.begin(now)
        # Waiting for permission does not count as silence.
        self.timeout.on_activity(self.state.reading_time(now))
        refusal = verdicts[0]
        try:
            if isinstance(permission, PublishPermission):
                publish(self, permission.packet, _code_of(refusal))
            elif isinstance(permission, SubscribePermission):
                codes = [_code_of(verdict) for verdict in verdicts]
                subscribe(self, permission.packet, codes)
            elif refusal is not None:
                self.refuse(refusal, now)
            elif isinstance(permission, ConnectPermission):
                ask_about_will(self)
            else:
                accept(self)
        except PacketError as error:
            self.fail(error.reason_code, error.text)
        if not (self._is_busy or self.is_closed):
            self._handle(self._packets.pop())
        self._count()
        self._end_if_lost()

    # --- authentication -----------------------------------------------------------

    def challenge(self, data: bytes | None, now: float) -> None:
        """Send the client an AUTH that continues its authentication."""
        if not self.is_closed:
            self.state.turn.now = now
            write_auth(self, CONTINUE_AUTHENTICATION, data)

    def authenticated(
        self, data: bytes | None, now: float, username: str | None = None
    ) -> None:
        """End an authentication of several steps with success.

        Args:
            data: The last Authentication Data, or None.
            now: The time.
            username: The user name to set; None: it does not change.
        """
        if self.is_authenticating and not self.is_closed:
            self.state.turn.now = now
            complete_authentication(self, data, username)

    def refuse(self, refusal: Refusal, now: float) -> None:
        """Refuse the client, even if it is already connected (§4.12.1)."""
        if self.is_closed:
            return
        self.state.turn.now = now
        text = refusal.reason_string or ReasonCode(refusal.reason_code).name
        if self.is_connected:
            self.end(refusal.reason_code, text, now)
            return
        self.write_within(refusal_in(self.version, refusal))
        self.close(f"refused: {text}", is_will_due=False)

    # --- the end ------------------------------------------------------------------

    def connection_lost(self, reason: str, now: float) -> None:
        """Handle the end of the network connection.

        If a packet waits for permission, it and those before it are still handled: the
        connection stays open until that is done, or until the caller abandons it.
        """
        permission = self._permission
        if permission is not None and (
            self._packets.waiting or not isinstance(permission, ConnectPermission)
        ):
            self._lost = reason
        else:
            self.abandon(reason, now)

    def _end_if_lost(self) -> None:
        if (
            self._lost is not None
            and self._packets.is_empty
            and not (self._is_busy or self.is_closed)
        ):
            self.close(self._lost)

    def abandon(self, reason: str, now: float) -> None:
        """End at once, even if packets of the client still wait."""
        if not self.is_closed:
            self.state.turn.begin(now)
            self.close(self._lost or reason)

    def end(
        self,
        reason_code: int,
        text: str,
        now: float,
        server_reference: str | None = None,
    ) -> None:
        """End the connection, in 5.0 with a DISCONNECT."""
        if not self.is_closed:
            self.state.turn.now = now
            self._write_disconnect(reason_code, text, server_reference)
            self.close(text)

    def fail(self, reason_code: int, text: str) -> None:
        """End the connection because the client violated the standard (§4.13)."""
        if self.is_connected:
            self._write_disconnect(reason_code, text)
        elif self.phase is ConnectionPhase.CONNECTING:
            answer = answer_to_undecodable(self._packets.opening, reason_code, text)
            if answer:
                self.send_buffer.write(answer)
        else:
            refusal = Refusal(reason_code, text)
            self.write_within(refusal_in(self.version, refusal))
        self.close(text)

    def close(self, reason: str, is_will_due: bool = True) -> None:
        """End the connection, and publish the will if it is due."""
        self.enter(ConnectionPhase.CLOSED)
        self.state.timers.cancel(self._timer)
        self._permission = None
        self.in_progress = None
        self._packets.clear()
        self.connect = Connect(ProtocolVersion.V311)
        send_buffer, session = self.send_buffer, self.session
        send_buffer.announce()
        send_buffer.close(self.state.turn.now)
        self.events.append(Ended(reason))
        if session is not None:
            self.session = None
            self.state.detach(session, is_will_due)

    # --- packets to the client ----------------------------------------------------

    def write(self, packet: Packet) -> None:
        """Write a packet.

        Raises:
            PacketError: It is larger than the client accepts ([MQTT-3.1.2-24]).
        """
        data = encode(packet, self.version, SERVER)
        maximum = self.send_buffer.maximum_packet_size
        if maximum and len(data) > maximum:
            raise PacketError(
                PACKET_TOO_LARGE,
                f"the answer, {packet.kind.name}, of {len(data)} bytes exceeds"
                f" the client's Maximum Packet Size of {maximum}",
            )
        self.send_buffer.write(data)

    def write_within(self, packet: Connack | Signal) -> None:
        """Write a CONNACK or DISCONNECT, without properties that make it too large."""
        maximum = self.send_buffer.maximum_packet_size
        data = encode_within(packet, self.version, maximum)
        if data:
            self.send_buffer.write(data)

    def _write_disconnect(
        self, reason_code: int, text: str, server_reference: str | None = None
    ) -> None:
        if self.version < V5 or not self.is_connected:
            return
        packet = Signal(
            PacketType.DISCONNECT,
            code_within(PacketType.DISCONNECT, reason_code),
            Properties(reason_string=text or None, server_reference=server_reference),
        )
        self.write_within(packet)


def _code_of(verdict: Refusal | None) -> int:
    return 0 if verdict is None else verdict.reason_code
