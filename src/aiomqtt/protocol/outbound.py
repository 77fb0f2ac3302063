"""The sender's half of QoS 1 and 2 (MQTT 5.0 §4.3.2, §4.3.3), the same in both roles.

It owns the packet identifiers of its direction. A packet gets an identifier when it is
written, and the identifier is free again only after the last acknowledgement. Messages
that are not written yet wait in order, without one. Messages with QoS 0 are here only
while they have to wait: for a connection, or for other messages that wait.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeAlias

from aiomqtt.properties import SUCCESS, ReasonCode
from aiomqtt.standard.names import (
    DEFAULT_RECEIVE_MAXIMUM,
    FIRST_FAILURE,
    PROTOCOL_ERROR,
    PUBREL_FIRST_BYTE,
    UNSPECIFIED_ERROR,
    V5,
)
from aiomqtt.standard.tables import PacketType, ProtocolVersion, Role

from .changes import Change, ChangeKind, store
from .codec.fast import encode_ack, encode_not_found, with_dup
from .delivery import (
    DONE,
    DROPPED,
    EXPIRED,
    QUEUED,
    RELEASED,
    SENT,
    WITHDRAWN,
    Delivery,
    Encode,
)
from .identifiers import PacketIds
from .packets import Ack
from .wire import PacketError

PUBACK: Final = PacketType.PUBACK
PUBREC: Final = PacketType.PUBREC
# Publishing leaves some identifiers for SUBSCRIBE and UNSUBSCRIBE.
MAXIMUM_IN_FLIGHT: Final = 65_000

# Returns the reason code with which a connection forbids a delivery; 0: it does not.
Refusal: TypeAlias = Callable[[Delivery, float], int]


def _encode_nothing(delivery: Delivery, now: float) -> tuple[bytes, bytes]:
    raise AssertionError


class Outbound(PacketIds):
    """Sends the deliveries of a session.

    Args:
        role: The role of this side.
        changes: The list for the changes of the session; None: they are not recorded.

    Attributes:
        drops_expired: Whether messages that expired while they waited are not sent. A
            broker must not send them ([MQTT-3.3.2-5]); a client leaves that to the
            broker, unless its caller sets this.
    """

    def __init__(
        self, role: Role = Role.CLIENT, changes: list[Change] | None = None
    ) -> None:
        super().__init__(role, changes)
        # Valid until the caller changes it.
        self.drops_expired: bool = role is Role.SERVER
        # Valid for the connection.
        # The sent deliveries that have not been written on this connection yet.
        self._resend: OrderedDict[Delivery, None] = OrderedDict()
        self._version: int = V5
        self._limit = 0
        self._encode: Encode = _encode_nothing

    @property
    def in_flight(self) -> int:
        """The number of deliveries written on this connection and not done."""
        written = len(self._sent) + len(self._released) - len(self._resend)
        return written + self._dropped.in_flight

    def open(
        self,
        version: ProtocolVersion,
        encode: Encode,
        limit: int = DEFAULT_RECEIVE_MAXIMUM,
    ) -> None:
        """Begin a connection on which at most `limit` deliveries may be in flight."""
        self._version = version
        self._encode = encode
        self._limit = min(limit, MAXIMUM_IN_FLIGHT)

    def close(self) -> None:
        """End the connection; the session's state stays."""
        self._limit = 0
        self._encode = _encode_nothing
        self._resend.clear()
        self._of_requests.clear()
        was_in_doubt = len(self._dropped.doubtful) > 0
        self._dropped.close()
        if was_in_doubt:
            self._settle_doubt()
        # Topic aliases end with the connection, and the next may have another version.
        for delivery in self.unreceived():
            delivery.alias = 0
            delivery.head = delivery.tail = b""

    def clear(self) -> list[Delivery]:
        """Forget all state of the session; return the unfinished deliveries."""
        self._resend.clear()
        return super().clear()

    # --- sending ----------------------------------------------------------------

    def send(self, delivery: Delivery, out: list[bytes], now: float) -> None:
        """Accept a delivery and write it as soon as the quota allows, in order.

        One with QoS 0 always waits: pass it only while there is no connection, or while
        `queued_qos0` is not 0.
        """
        self._add(delivery)
        packet_id = 0
        # Deliveries in the queue wait for the quota, and go first.
        if (
            delivery.qos
            and not self._queued
            and not self.behind
            and not self._resend
            and self.in_flight < self._limit
        ):
            packet_id = self._allocate()
        if packet_id:
            self._send_first(delivery, packet_id, out, now)
        else:
            self._queue(delivery)
        self._record_added(delivery)

    def _record_added(self, delivery: Delivery) -> None:
        if self._changes is not None:
            change = Change(ChangeKind.ADDED, delivery.sequence, store(delivery))
            self._changes.append(change)
            if delivery.packet_id and (delivery.qos == 2 or self._reserved_last):
                self._reserve_block(delivery.packet_id, delivery.qos)
            if delivery.origin is not None and delivery.origin.staged:
                staged = delivery.origin.staged
                self._changes.append(Change(ChangeKind.UNSTAGED, staged))

    def refuse(self, delivery: Delivery, reason_code: ReasonCode) -> Delivery:
        """End a delivery that was never accepted, with a reason code; return it."""
        self._add(delivery)
        self._queue(delivery)
        self._record_added(delivery)
        return self._finish(delivery, reason_code)

    def put_first(self, delivery: Delivery) -> None:
        """Accept a delivery that goes before all that wait; call `resume` next."""
        self._add(delivery)
        self._queue_first(delivery)
        if self._changes is not None:
            sequence = delivery.sequence
            self._changes.append(
                Change(ChangeKind.ADDED_FIRST, sequence, store(delivery))
            )

    def withdraw(self, delivery: Delivery, state: int = WITHDRAWN) -> bool:
        """End a delivery that has not been written; False: it may have left.

        Its flow then continues. Others with QoS 0 may have waited for it alone: call
        `pump` next.

        Args:
            delivery: The delivery.
            state: The state in which it ends. WITHDRAWN is no failure.
        """
        if delivery.state != QUEUED:
            return False
        code = SUCCESS if state == WITHDRAWN else ReasonCode(UNSPECIFIED_ERROR)
        self._finish(delivery, code, state=state)
        self.count_end(state)
        return True

    def drop(self, delivery: Delivery) -> bool:
        """Forget a delivery in any state; False: it is done, or not one of these.

        It is not sent again. If it was written, its identifier stays out of use as long
        as the peer may remember it, see `DroppedIds`, and counts towards the quota.
        """
        packet_id = delivery.packet_id
        if delivery.state == QUEUED:
            is_ours = delivery in self._queued or delivery in self._rear
        elif delivery.state == SENT:
            is_ours = self._sent.get(packet_id) is delivery
        else:
            is_ours = self._released.get(packet_id) is delivery
        if not is_ours:
            return False
        if delivery.state != QUEUED:
            is_in_flight = self._limit > 0 and delivery not in self._resend
            self._put_out_of_use(delivery, is_in_flight)
        self._finish(delivery, ReasonCode(UNSPECIFIED_ERROR), state=DROPPED)
        self.count_end(DROPPED)
        return True

    def pump(self, out: list[bytes], now: float) -> None:
        """Write deliveries as the send quota allows (§4.9), those sent before first.

        The quota does not count QoS 0, but the order is kept.
        """
        if (not self._resend and not self._queued) or not self._limit:
            return
        room = self._limit - self.in_flight
        while room > 0 and self._resend:
            delivery, _ = self._resend.popitem(last=False)
            self._send_again(delivery, out, now)
            room -= 1
        if self._resend:
            return
        while self._queued and (room > 0 or self.queued_qos0):
            delivery = next(iter(self._queued))
            if self.drops_expired and delivery.expires is not None:
                if now >= delivery.expires:
                    self.withdraw(delivery, EXPIRED)
                    self.ended.append(delivery)
                    continue
                # Its packet has the interval that remained when it was encoded.
                delivery.head = delivery.tail = b""
            if not delivery.qos:
                self._send_qos0(delivery, out, now)
                continue
            packet_id = self._allocate() if room > 0 else 0
            if not packet_id:
                return
            self._leave_queue(delivery)
            self._send_first(delivery, packet_id, out, now)
            room -= 1
            if self._changes is not None:
                sequence = delivery.sequence
                self._changes.append(Change(ChangeKind.SENT, sequence, packet_id))
                if delivery.qos == 2 or self._reserved_last:
                    self._reserve_block(packet_id, delivery.qos)

    def _send_qos0(self, delivery: Delivery, out: list[bytes], now: float) -> None:
        """Write a delivery with QoS 0 from the queue: it is done."""
        head, tail = delivery.head, delivery.tail
        if not head:
            head, tail = self._encode(delivery, now)
        out.append(head)
        out.append(tail)
        self._leave_queue(delivery)
        self._drop_packet(delivery)
        delivery.state = DONE
        self.ended.append(delivery)
        self._record_end(delivery)

    def _send_first(
        self, delivery: Delivery, packet_id: int, out: list[bytes], now: float
    ) -> None:
        delivery.packet_id = packet_id
        delivery.state = SENT
        self._sent[packet_id] = delivery
        head, tail = delivery.head, delivery.tail
        if head:
            # The packet is hardly ever needed again: keep only the message.
            delivery.head = delivery.tail = b""
        else:
            head, tail = self._encode(delivery, now)
        _write(head, tail, packet_id, out)

    def _send_again(self, delivery: Delivery, out: list[bytes], now: float) -> None:
        """Write a delivery that the peer may already have received: it can't expire."""
        head, tail = delivery.head, delivery.tail
        if head:
            delivery.head = delivery.tail = b""
        else:
            head, tail = self._encode(delivery, now)
        _write(with_dup(head), tail, delivery.packet_id, out)

    # --- resuming ---------------------------------------------------------------

    def resume(self, out: list[bytes], refusal: Refusal, now: float) -> list[Delivery]:
        """Go on where the last connection ended (§4.4): the peer kept the session.

        First it sends PUBREL for the messages that the peer had received, then PUBLISH
        with DUP, each in the original order and within the send quota.

        Args:
            out: The buffer to write to.
            refusal: Returns why this connection forbids a delivery.
            now: The time.

        Returns:
            The deliveries that ended because the peer no longer accepts them.
        """
        refused = self.check(self.unreceived(), refusal, now)
        self._dropped.release(out)
        out.extend(
            encode_ack(PUBREL_FIRST_BYTE, packet_id) for packet_id in self._released
        )
        self._resend.update(dict.fromkeys(self._sent.values()))
        self.pump(out, now)
        return refused

    def check(
        self, deliveries: list[Delivery], refusal: Refusal, now: float
    ) -> list[Delivery]:
        """End those deliveries that the peer does not accept, and return them.

        None of them was sent on this connection.
        """
        refused = []
        for delivery in deliveries:
            if code := refusal(delivery, now):
                if delivery.state == SENT:
                    self._put_out_of_use(delivery, False)
                refused.append(self._finish(delivery, ReasonCode(code)))
        return refused

    def _put_out_of_use(self, delivery: Delivery, is_in_flight: bool) -> None:
        """Use its packet identifier no more while the peer may remember it."""
        self._dropped.add(delivery.packet_id, delivery.qos, is_in_flight)
        if self._changes is not None and delivery.qos == 2:
            self._changes.append(Change(ChangeKind.BLOCKED, delivery.packet_id))

    def requeue(self) -> list[Delivery]:
        """Prepare to start again: the peer has lost the session (§3.2.2.1.1).

        Messages that it never acknowledged wait in the queue, to be sent as new ones.
        Messages that it had received (PUBREC came) are done: sending them again could
        deliver them twice.

        Returns:
            The deliveries that ended.
        """
        ended = [
            self._finish(delivery, SUCCESS) for delivery in [*self._released.values()]
        ]
        has_changed = self._last_id > 0 or len(self._dropped) > 0
        for delivery in reversed(self._sent.values()):
            delivery.state = QUEUED
            delivery.packet_id = 0
            self._queue_first(delivery)
        self._sent.clear()
        self._forget_packet_ids()
        if self._changes is not None and has_changed:
            self._changes.append(Change(ChangeKind.REQUEUED))
        return ended

    # --- acknowledgements -------------------------------------------------------

    def acknowledge(self, ack: Ack, out: list[bytes], now: float) -> Delivery | None:
        """Handle a PUBACK, PUBREC or PUBCOMP.

        Returns:
            The delivery that it ends; None: the flow continues, or the identifier is
            unknown. An unknown identifier is ignored, since correct brokers may send
            one, except in a PUBREC, which needs a PUBREL (§4.3.3).

        Raises:
            PacketError: The packet identifier belongs to another kind of flow.
        """
        packet_id = ack.packet_id
        delivery = self._sent.get(packet_id)
        if ack.kind is PUBACK:
            if delivery is None:
                if not self._is_for_dropped(ack, out, now):
                    self._refuse_if_used(ack)
                return None
            # RabbitMQ 3 answers QoS 2 with PUBACK on MQTT 3: it accepts it at QoS 1.
            if delivery.qos != 1 and self._version >= V5:
                raise PacketError(PROTOCOL_ERROR, "PUBACK for a PUBLISH with QoS 2")
            return self._finish(delivery, ack.reason_code, ack)
        if ack.kind is PUBREC:
            return self._on_pubrec(ack, delivery, out, now)
        if delivery is not None:
            raise PacketError(PROTOCOL_ERROR, "PUBCOMP before PUBREC")
        delivery = self._released.get(packet_id)
        if delivery is None:
            if not self._is_for_dropped(ack, out, now):
                self._refuse_if_used(ack)
            return None
        return self._finish(delivery, SUCCESS, ack)

    def _on_pubrec(
        self, ack: Ack, delivery: Delivery | None, out: list[bytes], now: float
    ) -> Delivery | None:
        packet_id = ack.packet_id
        if delivery is not None:
            if delivery.qos != 2:
                raise PacketError(PROTOCOL_ERROR, "PUBREC for a PUBLISH with QoS 1")
            if ack.reason_code >= FIRST_FAILURE:
                return self._finish(delivery, ack.reason_code, ack)
            if self._resend:
                self._resend.pop(delivery, None)
            del self._sent[packet_id]
            delivery.state = RELEASED
            # From now on only its identifier is needed.
            self._drop_packet(delivery)
            delivery.reason_code = ack.reason_code
            self._released[packet_id] = delivery
            if self._changes is not None:
                code = int(ack.reason_code)
                change = Change(ChangeKind.RELEASED, delivery.sequence, code)
                self._changes.append(change)
        elif self._is_for_dropped(ack, out, now):
            return None
        elif packet_id in self._of_requests:
            self._refuse_if_used(ack)
        elif packet_id not in self._released and self._version >= V5:
            if ack.reason_code < FIRST_FAILURE:
                out.append(encode_not_found(PUBREL_FIRST_BYTE, packet_id))
            return None
        out.append(encode_ack(PUBREL_FIRST_BYTE, packet_id))
        return None

    def _is_for_dropped(self, ack: Ack, out: list[bytes], now: float) -> bool:
        """Handle an acknowledgement of a dropped delivery; False: it is not one."""
        if not len(self._dropped):
            return False
        was_doubtful = ack.packet_id in self._dropped.doubtful
        if not self._dropped.acknowledge(ack, self._version, out):
            return False
        if was_doubtful:
            self._settle_doubt()
        elif self._changes is not None and not self._dropped.has(ack.packet_id):
            self._changes.append(Change(ChangeKind.UNBLOCKED, ack.packet_id))
        # It may have made room in the quota.
        self.pump(out, now)
        return True

    def _refuse_if_used(self, ack: Ack) -> None:
        if ack.packet_id in self._released or ack.packet_id in self._of_requests:
            raise PacketError(
                PROTOCOL_ERROR, f"{ack.kind.name} for the identifier of another flow"
            )

    def _finish(
        self,
        delivery: Delivery,
        reason_code: ReasonCode,
        ack: Ack | None = None,
        state: int = DONE,
    ) -> Delivery:
        if delivery.state == RELEASED:
            del self._released[delivery.packet_id]
        else:
            if delivery.state == SENT:
                # The peer may acknowledge a delivery that was not sent again yet.
                if self._resend:
                    self._resend.pop(delivery, None)
                del self._sent[delivery.packet_id]
            else:
                self._leave_queue(delivery)
            self._drop_packet(delivery)
        # The code of a PUBREC, "no matching subscribers", is kept until PUBCOMP.
        if reason_code:
            delivery.reason_code = reason_code
        if ack is not None:
            delivery.answer = ack.properties
        delivery.state = state
        self._record_end(delivery)
        return delivery

    def _record_end(self, delivery: Delivery) -> None:
        if self._changes is not None:
            end: tuple[int, int] | None = None
            if delivery.origin is not None and delivery.origin.receipt_id:
                self.receipt_ids.discard(delivery.origin.receipt_id)
                end = delivery.state, int(delivery.reason_code)
            self._changes.append(Change(ChangeKind.ENDED, delivery.sequence, end))


def _write(head: bytes, tail: bytes, packet_id: int, out: list[bytes]) -> None:
    out.append(head + packet_id.to_bytes(2, "big"))
    if tail:
        out.append(tail)
