"""The sender's half of QoS 1 and 2 (MQTT 5.0 §4.3.2, §4.3.3), the same in both roles.

It owns the packet identifiers of its direction. An identifier is taken when a
packet is written and is free again only when the last acknowledgement came; what
was not written yet waits in order, without one.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeAlias

from aiomqtt.properties import SUCCESS, ReasonCode
from aiomqtt.standard.names import (
    DEFAULT_RECEIVE_MAXIMUM,
    FIRST_FAILURE,
    MAXIMUM_PACKET_ID,
    PROTOCOL_ERROR,
    PUBREL_FIRST_BYTE,
    UNSPECIFIED_ERROR,
    V5,
)
from aiomqtt.standard.tables import PacketType, ProtocolVersion, Role

from .changes import Change, ChangeKind, SessionState, restore, store
from .codec.fast import encode_ack, encode_not_found, with_dup
from .delivery import (
    DONE,
    DROPPED,
    EXPIRED,
    LOST,
    QUEUED,
    RELEASED,
    SENT,
    WITHDRAWN,
    Delivery,
)
from .dropped import DroppedIds
from .packets import Ack
from .wire import PacketError

PUBACK: Final = PacketType.PUBACK
PUBREC: Final = PacketType.PUBREC
# Publishing leaves some identifiers for SUBSCRIBE and UNSUBSCRIBE.
MAXIMUM_IN_FLIGHT: Final = 65_000

# Encodes a delivery for a connection at a time, in two parts.
Encode: TypeAlias = Callable[[Delivery, float], tuple[bytes, bytes]]
# Tells with which reason code a connection forbids a delivery; 0: it does not.
Refusal: TypeAlias = Callable[[Delivery, float], int]


def _encode_nothing(delivery: Delivery, now: float) -> tuple[bytes, bytes]:
    raise AssertionError


class Outbound:
    """All deliveries of one direction of a session.

    Args:
        role: Whose they are. A broker does not send what has expired while it waited
            ([MQTT-3.3.2-5]); a client leaves that to the broker.
        changes: Where to append each change of the session; None: nowhere.

    Attributes:
        size: How many bytes of PUBLISH packets are kept.
        expired: The deliveries that have expired, until the caller takes them out.
    """

    def __init__(
        self, role: Role = Role.CLIENT, changes: list[Change] | None = None
    ) -> None:
        """Start with nothing in flight."""
        self._drops_expired = role is Role.SERVER
        self._changes = changes
        # Valid for the session.
        # PUBLISH written and not acknowledged, in the order they were first
        # written; PUBREL written and not completed, in the order of the PUBRECs.
        self._sent: dict[int, Delivery] = {}
        self._released: dict[int, Delivery] = {}
        self._queued: OrderedDict[Delivery, None] = OrderedDict()
        self._last_id = 0
        self._last_sequence = 0
        self.size: int = 0
        self._dropped = DroppedIds()
        # Valid until the caller takes them.
        self.expired: list[Delivery] = []

        # Valid for the connection.
        # Of the sent ones, those that were not yet written on this connection.
        self._resend: OrderedDict[Delivery, None] = OrderedDict()
        # Identifiers that SUBSCRIBE and UNSUBSCRIBE hold.
        self._reserved: set[int] = set()
        self._version: int = V5
        self._limit = 0
        self._encode: Encode = _encode_nothing

    def __len__(self) -> int:
        """Return the number of deliveries that are not done."""
        return len(self._sent) + len(self._released) + len(self._queued)

    @property
    def in_flight(self) -> int:
        """How many have been written on this connection and are not done."""
        written = len(self._sent) + len(self._released) - len(self._resend)
        return written + self._dropped.in_flight

    @property
    def queued(self) -> int:
        """How many have not been written yet."""
        return len(self._queued)

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
        self._reserved.clear()
        self._dropped.close()
        # Their topic aliases end with it, and another may have another version.
        for delivery in self.unreceived():
            delivery.alias = 0
            delivery.head = delivery.tail = b""

    def clear(self) -> list[Delivery]:
        """Forget all state of the session and return what was not done."""
        lost = [*self._released.values(), *self._sent.values(), *self._queued]
        for delivery in lost:
            delivery.state = LOST
            _forget_packet(delivery)
        self.size = 0
        self._sent.clear()
        self._released.clear()
        self._queued.clear()
        self._resend.clear()
        self._dropped.clear()
        self._last_id = 0
        if self._changes is not None:
            self._changes.append(Change(ChangeKind.OUTBOUND_CLEARED))
        return lost

    # --- what a store keeps -------------------------------------------------------

    def save(self, state: SessionState) -> None:
        """Put its part into the state of a session."""
        for delivery in [*self.unreceived(), *self._released.values()]:
            state.deliveries[delivery.sequence] = store(delivery)
        state.blocked.update(self._dropped.lasting())
        state.last_packet_id = self._last_id
        state.last_sequence = self._last_sequence

    def load(self, state: SessionState) -> list[Delivery]:
        """Take its part from the state of a session, and return the deliveries.

        Call `measure` next.
        """
        for stored in state.deliveries.values():
            delivery = restore(stored)
            if delivery.state == RELEASED:
                self._released[delivery.packet_id] = delivery
            elif delivery.state == SENT:
                self._sent[delivery.packet_id] = delivery
            else:
                self._queued[delivery] = None
        for packet_id in state.blocked:
            self._dropped.add(packet_id, 2, False)
        self._last_id = state.last_packet_id
        self._last_sequence = state.last_sequence
        return self.unfinished()

    def measure(self, encode: Encode) -> None:
        """Find out how large the packets are of what was loaded: it depends on how
        they are encoded.
        """
        for delivery in self.unreceived():
            if not delivery.size:
                head, tail = encode(delivery, 0.0)
                delivery.size = len(head) + 2 + len(tail)
                self.size += delivery.size

    # --- packet identifiers -----------------------------------------------------

    def reserve(self) -> int:
        """Take a free packet identifier for a SUBSCRIBE or UNSUBSCRIBE; 0: none."""
        packet_id = self._allocate()
        if packet_id:
            self._reserved.add(packet_id)
            if self._changes is not None:
                self._changes.append(Change(ChangeKind.COUNTED, packet_id))
        return packet_id

    def unreserve(self, packet_id: int) -> None:
        """Give back what `reserve` took."""
        self._reserved.discard(packet_id)

    def is_used(self, packet_id: int) -> bool:
        """Whether an identifier is that of a delivery in flight."""
        return (
            packet_id in self._sent
            or packet_id in self._released
            or self._dropped.has(packet_id)
        )

    def _allocate(self) -> int:
        """Return the next free identifier, counting up from 1 and around; 0: none."""
        packet_id = first = self._last_id % MAXIMUM_PACKET_ID + 1
        while (
            packet_id in self._sent
            or (self._released and packet_id in self._released)
            or (self._reserved and packet_id in self._reserved)
            or (len(self._dropped) and self._dropped.has(packet_id))
        ):
            packet_id = packet_id % MAXIMUM_PACKET_ID + 1
            if packet_id == first:
                return 0
        self._last_id = packet_id
        return packet_id

    # --- sending ----------------------------------------------------------------

    def send(self, delivery: Delivery, out: list[bytes], now: float) -> None:
        """Accept a delivery and write it as soon as the quota allows, in order."""
        self._last_sequence = delivery.sequence = self._last_sequence + 1
        self.size += delivery.size
        packet_id = 0
        # What is queued already is held back by the quota, and goes first.
        if not self._queued and not self._resend and self.in_flight < self._limit:
            packet_id = self._allocate()
        if packet_id:
            self._send_first(delivery, packet_id, out, now)
        else:
            self._queued[delivery] = None
        if self._changes is not None:
            change = Change(ChangeKind.ADDED, delivery.sequence, store(delivery))
            self._changes.append(change)

    def unfinished(self) -> list[Delivery]:
        """Return all deliveries that are not done, those first that came furthest."""
        return [*self._released.values(), *self._sent.values(), *self._queued]

    def unreceived(self) -> list[Delivery]:
        """Return what the peer has not acknowledged in any way, in order."""
        return [*self._sent.values(), *self._queued]

    def withdraw(self, delivery: Delivery) -> bool:
        """Take back a delivery that has not been written; False: it has been."""
        if delivery.state != QUEUED:
            return False
        self._finish(delivery, SUCCESS)
        delivery.state = WITHDRAWN
        return True

    def drop(self, delivery: Delivery) -> bool:
        """Forget a delivery wherever it is; False: it is done, or not one of these.

        It is not sent again. The identifier of what was written stays out of use as
        long as the peer may go by it, see `DroppedIds`, and counts towards the quota.
        """
        packet_id = delivery.packet_id
        if delivery.state == QUEUED:
            is_ours = delivery in self._queued
        elif delivery.state == SENT:
            is_ours = self._sent.get(packet_id) is delivery
        else:
            is_ours = self._released.get(packet_id) is delivery
        if not is_ours:
            return False
        if delivery.state != QUEUED:
            is_in_flight = self._limit > 0 and delivery not in self._resend
            self._dropped.add(packet_id, delivery.qos, is_in_flight)
            if self._changes is not None and delivery.qos == 2:
                self._changes.append(Change(ChangeKind.BLOCKED, packet_id))
        self._finish(delivery, ReasonCode(UNSPECIFIED_ERROR))
        delivery.state = DROPPED
        return True

    def pump(self, out: list[bytes], now: float) -> None:
        """Write what the send quota allows (§4.9): first what is sent again."""
        if not self._resend and not self._queued:
            return
        room = self._limit - self.in_flight
        while room > 0 and self._resend:
            delivery, _ = self._resend.popitem(last=False)
            self._send_again(delivery, out, now)
            room -= 1
        while room > 0 and self._queued:
            last_id = self._last_id
            packet_id = self._allocate()
            if not packet_id:
                return
            delivery, _ = self._queued.popitem(last=False)
            if self._drops_expired and _is_expired(delivery, now):
                self._last_id = last_id
                self._drop_packet(delivery)
                delivery.state = EXPIRED
                self.expired.append(delivery)
                self._record_end(delivery)
            else:
                self._send_first(delivery, packet_id, out, now)
                room -= 1
                if self._changes is not None:
                    sequence = delivery.sequence
                    self._changes.append(Change(ChangeKind.SENT, sequence, packet_id))

    def _send_first(
        self, delivery: Delivery, packet_id: int, out: list[bytes], now: float
    ) -> None:
        delivery.packet_id = packet_id
        delivery.state = SENT
        self._sent[packet_id] = delivery
        head, tail = delivery.head, delivery.tail
        if head:
            # It is hardly ever needed again: what is kept is the message.
            delivery.head = delivery.tail = b""
        else:
            head, tail = self._encode(delivery, now)
        _write(head, tail, packet_id, out)

    def _send_again(self, delivery: Delivery, out: list[bytes], now: float) -> None:
        """Write a delivery that the peer may have had already: it can't expire."""
        head, tail = delivery.head, delivery.tail
        if head:
            delivery.head = delivery.tail = b""
        else:
            head, tail = self._encode(delivery, now)
        _write(with_dup(head), tail, delivery.packet_id, out)

    # --- resuming ---------------------------------------------------------------

    def resume(self, out: list[bytes], refusal: Refusal, now: float) -> list[Delivery]:
        """Go on where the last connection ended (§4.4): the peer kept the session.

        PUBREL goes first, for what had been received, then PUBLISH with DUP, each
        in the original order and within the send quota.

        Args:
            out: Where to write.
            refusal: Tells which deliveries this connection forbids.
            now: The time.

        Returns:
            What ended because the peer no longer accepts it.
        """
        refused = [
            self._finish(delivery, ReasonCode(code))
            for delivery in self.unreceived()
            if (code := refusal(delivery, now))
        ]
        out.extend(
            encode_ack(PUBREL_FIRST_BYTE, packet_id) for packet_id in self._released
        )
        self._resend.update(dict.fromkeys(self._sent.values()))
        self.pump(out, now)
        return refused

    def restart(self, out: list[bytes], refusal: Refusal, now: float) -> list[Delivery]:
        """Begin anew: the peer has lost the session (§3.2.2.1.1).

        What it never acknowledged is sent again as a new message. What it had
        received (PUBREC came) is done: sending it again could deliver it twice.

        Args:
            out: Where to write.
            refusal: As for `resume`.
            now: The time.

        Returns:
            What ended by this.
        """
        ended = [
            self._finish(delivery, SUCCESS) for delivery in [*self._released.values()]
        ]
        for delivery in reversed(self._sent.values()):
            delivery.state = QUEUED
            delivery.packet_id = 0
            self._queued[delivery] = None
            self._queued.move_to_end(delivery, last=False)
        self._sent.clear()
        self._dropped.clear()
        self._last_id = 0
        if self._changes is not None:
            self._changes.append(Change(ChangeKind.REQUEUED))
        return ended + self.resume(out, refusal, now)

    # --- acknowledgements -------------------------------------------------------

    def acknowledge(self, ack: Ack, out: list[bytes], now: float) -> Delivery | None:
        """Handle a PUBACK, PUBREC or PUBCOMP.

        Returns:
            The delivery that it ends, or None: it goes on, or is not known. The
            latter is ignored, as it comes from brokers in good faith, but for
            PUBREC, which wants a PUBREL (§4.3.3).

        Raises:
            PacketError: The packet identifier is that of another kind of flow.
        """
        packet_id = ack.packet_id
        delivery = self._sent.get(packet_id)
        if ack.kind is PUBACK:
            if delivery is None:
                if not self._is_for_dropped(ack, out, now):
                    self._refuse_if_used(ack)
                return None
            # RabbitMQ 3 answers QoS 2 with PUBACK on MQTT 3: it takes it at QoS 1.
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
            # From now on only its identifier counts.
            self._drop_packet(delivery)
            delivery.reason_code = ack.reason_code
            self._released[packet_id] = delivery
            if self._changes is not None:
                code = int(ack.reason_code)
                change = Change(ChangeKind.RELEASED, delivery.sequence, code)
                self._changes.append(change)
        elif self._is_for_dropped(ack, out, now):
            return None
        elif packet_id in self._reserved:
            self._refuse_if_used(ack)
        elif packet_id not in self._released and self._version >= V5:
            if ack.reason_code < FIRST_FAILURE:
                out.append(encode_not_found(PUBREL_FIRST_BYTE, packet_id))
            return None
        out.append(encode_ack(PUBREL_FIRST_BYTE, packet_id))
        return None

    def _is_for_dropped(self, ack: Ack, out: list[bytes], now: float) -> bool:
        """Whether an acknowledgement is that of a dropped delivery, and is handled."""
        if not len(self._dropped):
            return False
        if not self._dropped.acknowledge(ack, self._version, out):
            return False
        if self._changes is not None and not self._dropped.has(ack.packet_id):
            self._changes.append(Change(ChangeKind.UNBLOCKED, ack.packet_id))
        # It may have made room.
        self.pump(out, now)
        return True

    def _refuse_if_used(self, ack: Ack) -> None:
        if ack.packet_id in self._released or ack.packet_id in self._reserved:
            raise PacketError(
                PROTOCOL_ERROR, f"{ack.kind.name} for the identifier of another flow"
            )

    def _finish(
        self,
        delivery: Delivery,
        reason_code: ReasonCode,
        ack: Ack | None = None,
    ) -> Delivery:
        if delivery.state == RELEASED:
            del self._released[delivery.packet_id]
        else:
            if delivery.state == SENT:
                # The peer may acknowledge what was not sent again yet.
                if self._resend:
                    self._resend.pop(delivery, None)
                del self._sent[delivery.packet_id]
            else:
                del self._queued[delivery]
            self._drop_packet(delivery)
        # A PUBREC that says "no matching subscribers" stands until PUBCOMP.
        if reason_code:
            delivery.reason_code = reason_code
        if ack is not None:
            delivery.answer = ack.properties
        delivery.state = DONE
        self._record_end(delivery)
        return delivery

    def _record_end(self, delivery: Delivery) -> None:
        if self._changes is not None:
            self._changes.append(Change(ChangeKind.ENDED, delivery.sequence))

    def _drop_packet(self, delivery: Delivery) -> None:
        self.size -= delivery.size
        _forget_packet(delivery)


def _forget_packet(delivery: Delivery) -> None:
    delivery.topic = ""
    delivery.payload = delivery.head = delivery.tail = b""
    delivery.properties = None
    delivery.size = 0


def _is_expired(delivery: Delivery, now: float) -> bool:
    expires = delivery.expires
    return expires is not None and now >= expires


def _write(head: bytes, tail: bytes, packet_id: int, out: list[bytes]) -> None:
    out.append(head + packet_id.to_bytes(2, "big"))
    if tail:
        out.append(tail)
