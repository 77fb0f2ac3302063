"""The broker's state of a client's session (MQTT 5.0 §4.1)."""

from typing import Final

from aiomqtt.broker.limits import Limits
from aiomqtt.broker.statistics import Statistics
from aiomqtt.protocol.changes import Change, SessionState
from aiomqtt.protocol.delivery import Delivery, Origin
from aiomqtt.protocol.inbound import Inbound
from aiomqtt.protocol.outbound import Outbound
from aiomqtt.protocol.packets import Ack, WillMessage
from aiomqtt.standard.names import DEFAULT_RECEIVE_MAXIMUM, PACKET_TOO_LARGE, V5
from aiomqtt.standard.tables import ProtocolVersion, Role
from aiomqtt.stores.broker import SessionAttributes

from .journal import Journal
from .memory_account import (
    IDENTIFIER_SIZE,
    QUEUED_SIZE,
    SESSION_SIZE,
    MemoryAccount,
    size_of_will,
)
from .message import ApplicationMessage, MessagePool, message_of
from .pending_retained import PendingRetained
from .retained import RetainedMessages
from .send_buffer import ALIAS_SIZE, SUBSCRIPTION_IDENTIFIER_SIZE, SendBuffer
from .session_record import SessionRecord
from .subscription import Subscription
from .timers import Timer
from .turn import NODES_PER_UNIT, Turn

# A Session Expiry Interval that means never.
FOREVER: Final = 0xFFFF_FFFF
# Below 5.0 a client announces no Receive Maximum.
IN_FLIGHT_V3: Final = 100
# From this number of waiting messages on, publishers have to wait for a client.
BACKLOG_HIGH: Final = 1000
# When memory is short, messages of QoS 0 are dropped for a client with this many bytes
# waiting to be written.
UNSENT_HIGH: Final = 64 * 1024
# This many bytes of retained messages count as one unit of work: with `WORK_PER_TURN`,
# about as much as may wait to be written.
BYTES_PER_UNIT: Final = 32


class Session:
    """The broker's state of a client's session.

    Attributes:
        client_id: The client identifier.
        send_buffer: The client's send buffer; None while it is not connected.
        subscriptions: Its subscriptions by topic filter.
        is_over: Whether it has ended.
        is_v5: Whether its client used 5.0 on its last connection.
        expiry: How long it lasts without a connection, in seconds.
        record: Its changes for the store; None: it is not stored, or has ended.
        pending_retained: The retained messages that wait to be sent; None: none.
        will_timer: The timer of a delayed will.
        expiry_timer: The timer of the end of the session.
    """

    __slots__ = (
        "_counted",
        "_will",
        "client_id",
        "expiry",
        "expiry_timer",
        "inbound",
        "is_over",
        "is_v5",
        "limits",
        "memory",
        "outbound",
        "pending_retained",
        "record",
        "retained",
        "send_buffer",
        "statistics",
        "subscriptions",
        "turn",
        "will_timer",
    )

    def __init__(
        self,
        client_id: str,
        limits: Limits,
        memory: MemoryAccount,
        statistics: Statistics,
        retained: RetainedMessages,
        turn: Turn,
        journal: Journal | None = None,
    ) -> None:
        self.client_id: str = client_id
        # Of the broker: all sessions share them.
        self.limits: Limits = limits
        self.memory: MemoryAccount = memory
        self.statistics: Statistics = statistics
        self.retained: RetainedMessages = retained
        self.turn: Turn = turn
        # Valid for the session.
        self.record: SessionRecord | None = None
        changes: list[Change] | None = None
        if journal is not None:
            self.record = SessionRecord(self, journal)
            changes = self.record.changes
        self.outbound: Outbound = Outbound(Role.SERVER, changes)
        self.inbound: Inbound = Inbound(changes)
        self.subscriptions: dict[str, Subscription] = {}
        self.pending_retained: PendingRetained | None = None
        self.expiry: int = 0
        self._will: WillMessage | None = None
        self.will_timer: Timer | None = None
        self.expiry_timer: Timer | None = None
        self.is_v5: bool = False
        self.is_over: bool = False
        # Valid for the connection.
        self.send_buffer: SendBuffer | None = None
        # The memory that the broker's account has for it.
        self._counted = 0
        self.count()

    # --- storing ------------------------------------------------------------------

    def load(
        self, state: SessionState, attributes: SessionAttributes, pool: MessagePool
    ) -> None:
        """Load what is stored; the caller loads the subscriptions, and sets timers."""
        self.is_v5 = attributes.is_v5
        self.expiry = attributes.expiry
        self.will = attributes.will
        memory = self.memory
        for delivery in self.outbound.load(state):
            message = pool.get(delivery)
            delivery.observer = message
            memory.used += QUEUED_SIZE
            message.keep(memory)
        self.outbound.measure(self._encode_for_all, self.outbound.unreceived())
        self.inbound.load(state)
        pending = state.pending_retained
        for topic_filter in sorted(pending, key=lambda name: pending[name][1]):
            self._begin_retained().load(topic_filter, pending[topic_filter])
        self.count()
        if self.record is not None:
            self.record.on_loaded(attributes)

    def note_changes(self) -> None:
        """Note that something may have changed, if the session is stored."""
        record = self.record
        if record is not None:
            record.note()

    # --- memory -------------------------------------------------------------------

    @property
    def will(self) -> WillMessage | None:
        """The will, to publish when the client is gone; None: there is none."""
        return self._will

    @will.setter
    def will(self, will: WillMessage | None) -> None:
        self._will = will
        self.count()

    def count(self) -> None:
        """Count the memory that it takes, without subscriptions and messages."""
        size = (
            SESSION_SIZE + 2 * len(self.client_id) + IDENTIFIER_SIZE * len(self.inbound)
        )
        will = self._will
        if will is not None:
            size += size_of_will(will)
        self.memory.used += size - self._counted
        self._counted = size
        self.note_changes()

    def end(self) -> None:
        """Forget everything; its subscriptions have already been removed."""
        for delivery in self.outbound.clear():
            self._forget(delivery)
        if self.pending_retained is not None:
            self.pending_retained.end()
        self.memory.used -= self._counted
        self._counted = 0
        record, self.record = self.record, None
        if record is not None:
            record.end()

    def _forget(self, delivery: Delivery) -> None:
        """Count it no more: it has left the session."""
        memory = self.memory
        memory.used -= QUEUED_SIZE
        message_of(delivery).let_go(memory)

    def _forget_expired(self) -> None:
        """Forget expired messages."""
        # A broker queues no message of QoS 0, so these have expired.
        expired = self.outbound.ended
        self.statistics.messages_expired += len(expired)
        for delivery in expired:
            self._forget(delivery)
        expired.clear()

    # --- connections --------------------------------------------------------------

    def attach(
        self, send_buffer: SendBuffer, version: ProtocolVersion, receive_maximum: int
    ) -> None:
        """Begin a connection; after the CONNACK, `resume` writes waiting messages."""
        self.send_buffer = send_buffer
        limits = self.limits
        self.inbound.open(
            version,
            limits.receive_maximum if version >= V5 else DEFAULT_RECEIVE_MAXIMUM,
        )
        self.outbound.open(
            version, self._encode, receive_maximum if version >= V5 else IN_FLIGHT_V3
        )
        self.is_v5 = send_buffer.is_v5

    def resume(self) -> None:
        """Go on where the last connection ended (§4.4)."""
        send_buffer = self.send_buffer
        assert send_buffer is not None
        out = send_buffer.announce()
        self.note_changes()
        for delivery in self.outbound.resume(out, self._refusal, self.turn.now):
            self.statistics.messages_dropped += 1
            self._forget(delivery)
        if self.outbound.ended:
            self._forget_expired()
        if self.pending_retained is not None:
            self.pending_retained.release()
            self.send_more_retained()

    def detach(self) -> None:
        """End the connection; unfinished messages wait for the next one."""
        self.send_buffer = None
        self.outbound.close()

    def _encode_for_all(self, delivery: Delivery, now: float) -> tuple[bytes, bytes]:
        message = message_of(delivery)
        return message.parts(self.is_v5, delivery.qos, delivery.retain)

    def _encode(self, delivery: Delivery, now: float) -> tuple[bytes, bytes]:
        send_buffer = self.send_buffer
        assert send_buffer is not None
        return send_buffer.render(
            message_of(delivery),
            delivery.qos,
            delivery.retain,
            delivery.identifiers,
            now,
        )

    def _refusal(self, delivery: Delivery, now: float) -> int:
        """Return a reason code if a packet is too large for the client ([3.1.2-24])."""
        send_buffer = self.send_buffer
        if send_buffer is None or not send_buffer.maximum_packet_size:
            return 0
        head, tail = self._encode_for_all(delivery, now)
        size = len(head) + len(tail) + 2
        return PACKET_TOO_LARGE if size > send_buffer.maximum_packet_size else 0

    # --- messages -----------------------------------------------------------------

    def deliver(
        self,
        message: ApplicationMessage,
        qos: int,
        retain: bool,
        identifiers: tuple[int, ...],
        publisher: SendBuffer | None,
        share: str = "",
    ) -> None:
        """Send a message to the client, now or when it is back.

        Args:
            message: The message.
            qos: The QoS to send it with.
            retain: The RETAIN flag to send it with.
            identifiers: The identifiers of the subscriptions that matched.
            publisher: The publisher, which waits if this client does not keep up; None:
                no publisher has to wait.
            share: The filter of the shared subscription that matched; "": none.
        """
        send_buffer = self.send_buffer
        if send_buffer is not None and publisher is not None and send_buffer.is_behind:
            send_buffer.throttle(publisher, self.turn.now)
        if qos:
            self._deliver_surely(message, qos, retain, identifiers, share)
            return
        if send_buffer is None:
            self._has_missed(message)
            return
        if send_buffer.unsent > self.limits.maximum_queued_bytes or (
            send_buffer.unsent > UNSENT_HIGH and not self.memory.has_room(0)
        ):
            self._drop(message)
            return
        # Encoding it for the client would set an alias that it never receives.
        if send_buffer.maximum_packet_size:
            head, tail = message.parts(send_buffer.is_v5, 0, retain)
            size = len(head) + len(tail) + _extra(send_buffer, identifiers)
            if size > send_buffer.maximum_packet_size:
                self._drop(message)
                return
        if not (
            identifiers or send_buffer.uses_aliases or message.has_aged(self.turn.now)
        ):
            head, tail = message.parts(send_buffer.is_v5, 0, retain)
        else:
            head, tail = send_buffer.render(
                message, 0, retain, identifiers, self.turn.now
            )
        out = send_buffer.announce()
        out.append(head)
        out.append(tail)
        send_buffer.unsent += len(head) + len(tail)
        self.statistics.messages_sent += 1
        if message.retain:
            self._has_got(message)

    def _deliver_surely(
        self,
        message: ApplicationMessage,
        qos: int,
        retain: bool,
        identifiers: tuple[int, ...],
        share: str,
    ) -> None:
        outbound, limits = self.outbound, self.limits
        send_buffer = self.send_buffer
        head, tail = message.parts(self.is_v5, qos, retain)
        if (
            outbound.size + len(tail) > limits.maximum_queued_bytes
            or len(outbound) >= limits.maximum_queued_messages
            or not self.memory.has_room(QUEUED_SIZE + message.extra())
        ):
            self._drop(message)
            return
        size = len(head) + len(tail) + 2
        if send_buffer is not None and send_buffer.maximum_packet_size:
            extra = _extra(send_buffer, identifiers)
            if size + extra > send_buffer.maximum_packet_size:
                self._drop(message)
                return
        if (
            send_buffer is None
            or identifiers
            or message.expires is not None
            or send_buffer.uses_aliases
        ):
            # It is encoded for this client alone, when it is written.
            head = tail = b""
        delivery = Delivery(
            message.topic,
            message.payload,
            qos,
            retain,
            message.properties,
            size,
            head,
            tail,
            message.expires,
            identifiers,
            message,
        )
        if share:
            delivery.origin = Origin(share=share, published=message.flags)
        self.memory.used += QUEUED_SIZE
        message.keep(self.memory)
        self.note_changes()
        if message.retain:
            self._has_got(message)
        if send_buffer is None:
            outbound.send(delivery, [], self.turn.now)
            return
        outbound.send(delivery, send_buffer.announce(), self.turn.now)
        send_buffer.unsent += size
        self.statistics.messages_sent += 1
        if not send_buffer.has_backlog and outbound.queued > BACKLOG_HIGH:
            send_buffer.has_backlog = True

    def _drop(self, message: ApplicationMessage) -> None:
        self.statistics.messages_dropped += 1
        self._has_missed(message)

    def acknowledge(self, ack: Ack) -> None:
        """Handle a PUBACK, PUBREC or PUBCOMP of the client.

        Raises:
            PacketError: The packet identifier is that of another kind of flow.
        """
        send_buffer, outbound = self.send_buffer, self.outbound
        assert send_buffer is not None
        out = send_buffer.announce()
        now = self.turn.now
        self.note_changes()
        delivery = outbound.acknowledge(ack, out, now)
        if delivery is not None:
            self._forget(delivery)
            outbound.pump(out, now)
        if outbound.ended:
            self._forget_expired()
        if send_buffer.has_backlog and outbound.queued < BACKLOG_HIGH // 2:
            send_buffer.has_backlog = False
            send_buffer.release_if_drained(now)
        if self.pending_retained is not None:
            self.pending_retained.is_blocked = False
            self.send_more_retained()

    def deliveries_for_others(self) -> list[tuple[str, ApplicationMessage]]:
        """Return messages that may go to another member of a shared subscription.

        When the session ends, these are the unacknowledged messages, except messages of
        QoS 2 that have already been sent ([MQTT-4.8.2-5]).
        """
        return [
            (delivery.origin.share, message_of(delivery))
            for delivery in self.outbound.unreceived()
            if delivery.origin is not None
            and (delivery.qos == 1 or not delivery.packet_id)
        ]

    # --- retained messages --------------------------------------------------------

    def send_retained(self, topic_filter: str) -> None:
        """Send the retained messages of a subscription, after its SUBACK."""
        self._begin_retained().add(topic_filter)

    def _begin_retained(self) -> PendingRetained:
        pending_retained = self.pending_retained
        if pending_retained is None:
            changes: list[Change] | None = None
            # A session that ends with its connection goes on with none of them.
            if self.record is not None and self.expiry:
                changes = self.record.changes
            pending_retained = self.pending_retained = PendingRetained(
                self.retained, self.memory, changes
            )
        return pending_retained

    def send_no_retained(self, topic_filter: str) -> None:
        """Send no more retained messages of a subscription that has ended."""
        if self.pending_retained is not None:
            self.pending_retained.drop(topic_filter)

    def _has_got(self, message: ApplicationMessage) -> None:
        if self.pending_retained is not None:
            self.pending_retained.leave_out(message.topic)

    def _has_missed(self, message: ApplicationMessage) -> None:
        if self.pending_retained is not None and message.retain:
            self.pending_retained.miss(message.topic)

    def _has_room_for(self, message: ApplicationMessage) -> bool:
        _, tail = message.parts(self.is_v5, message.qos, True)
        return self.outbound.size + len(tail) <= self.limits.maximum_queued_bytes

    @property
    def has_more_retained(self) -> bool:
        """Whether `send_more_retained` would send something."""
        send_buffer, outbound = self.send_buffer, self.outbound
        pending_retained = self.pending_retained
        if (
            pending_retained is None
            or send_buffer is None
            or send_buffer.is_paused
            or pending_retained.is_blocked
            or pending_retained.is_held
        ):
            return False
        # One may wait for the client's acknowledgements, no more.
        return len(outbound) == 0 or (
            outbound.queued == 0 and len(outbound) < self.limits.maximum_queued_messages
        )

    def send_more_retained(self) -> None:
        """Send as many retained messages as fit, and as the client's turn allows."""
        turn = self.turn
        if self.pending_retained is not None:
            self.note_changes()
        while not turn.is_over and self.has_more_retained:
            pending_retained = self.pending_retained
            assert pending_retained is not None
            message = pending_retained.next(turn.now)
            subscription = self.subscriptions.get(pending_retained.topic_filter)
            if message is None:
                if pending_retained.is_done:
                    pending_retained.end()
                    self.pending_retained = None
                else:
                    most = (turn.limit - turn.work) * NODES_PER_UNIT
                    turn.work += (
                        pending_retained.search(most, turn.now) // NODES_PER_UNIT + 1
                    )
            elif len(self.outbound) and not self._has_room_for(message):
                # The next acknowledgement makes room.
                pending_retained.put_back(message)
            elif subscription is not None:
                turn.work += 1 + len(message.payload) // BYTES_PER_UNIT
                identifier = subscription.identifier
                self.deliver(
                    message,
                    min(message.qos, subscription.qos),
                    True,
                    (identifier,) if identifier else (),
                    None,
                )
                pending_retained.note_sent()


def _extra(send_buffer: SendBuffer, identifiers: tuple[int, ...]) -> int:
    """Return the maximum size of the parts of a packet that only this client gets."""
    return (
        ALIAS_SIZE if send_buffer.uses_aliases else 0
    ) + SUBSCRIPTION_IDENTIFIER_SIZE * len(identifiers)
