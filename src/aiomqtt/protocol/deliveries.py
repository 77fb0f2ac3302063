"""The outgoing messages that a session keeps, by how far each of them has come."""

from collections import OrderedDict

from .changes import Change, ChangeKind, SessionState, restore, store
from .delivery import (
    EXPIRED,
    LOST,
    QUEUED,
    RELEASED,
    SENT,
    WITHDRAWN,
    Delivery,
    Encode,
    packet_size,
)
from .dropped import DroppedIds


class Deliveries:
    """The deliveries of a session that are not done.

    Args:
        changes: The list for the changes of the session; None: they are not recorded.

    Attributes:
        size: The total size of the kept PUBLISH packets, in bytes.
        queued_size: The size of those of them that have not been written yet.
        queued_qos0: The number of deliveries with QoS 0, all of which wait.
        dropped: The number of deliveries that the program or its queue has dropped.
        expired: The number of deliveries that have expired.
        lost: The number of deliveries that ended with a session.
        receipt_ids: The identifiers that the program gave them, for their receipts.
        ended: The deliveries that have ended without an acknowledgement, because they
            expired or were written with QoS 0, until the caller takes them.
    """

    def __init__(self, changes: list[Change] | None) -> None:
        # Valid as long as this object.
        self.dropped: int = 0
        self.expired: int = 0
        self.lost: int = 0
        self._changes: list[Change] | None = changes
        # Valid for the session.
        # PUBLISH written and not acknowledged, in the order they were first
        # written; PUBREL written and not completed, in the order of the PUBRECs.
        self._sent: dict[int, Delivery] = {}
        self._released: dict[int, Delivery] = {}
        self._queued: OrderedDict[Delivery, None] = OrderedDict()
        self._last_id: int = 0
        self._last_sequence: int = 0
        self.size: int = 0
        self.queued_size: int = 0
        self.queued_qos0: int = 0
        self._dropped: DroppedIds = DroppedIds()
        self.receipt_ids: set[str] = set()
        # Valid until the caller takes them.
        self.ended: list[Delivery] = []

    def __len__(self) -> int:
        """Return the number of deliveries that are not done."""
        return len(self._sent) + len(self._released) + len(self._queued)

    @property
    def queued(self) -> int:
        """The number of deliveries that have not been written yet."""
        return len(self._queued)

    @property
    def oldest_queued(self) -> Delivery | None:
        """The delivery that will be written next of those that have never been."""
        return next(iter(self._queued)) if self._queued else None

    def unfinished(self) -> list[Delivery]:
        """Return all unfinished deliveries, the most advanced first."""
        return [*self._released.values(), *self._sent.values(), *self._queued]

    def unreceived(self) -> list[Delivery]:
        """Return the deliveries that the peer has not acknowledged at all, in order."""
        return [*self._sent.values(), *self._queued]

    def _queue(self, delivery: Delivery) -> None:
        self._queued[delivery] = None
        self.queued_size += delivery.size
        if not delivery.qos:
            self.queued_qos0 += 1

    def clear(self) -> list[Delivery]:
        """Forget all state of the session; return the unfinished deliveries."""
        lost = [*self._released.values(), *self._sent.values(), *self._queued]
        for delivery in lost:
            delivery.state = LOST
            forget_packet(delivery)
        self.lost += len(lost)
        self.size = self.queued_size = self.queued_qos0 = 0
        self._sent.clear()
        self._released.clear()
        self._queued.clear()
        self._dropped.clear()
        self.receipt_ids.clear()
        self._last_id = 0
        if self._changes is not None:
            self._changes.append(Change(ChangeKind.OUTBOUND_CLEARED))
        return lost

    def _add(self, delivery: Delivery) -> None:
        self._last_sequence = delivery.sequence = self._last_sequence + 1
        self.size += delivery.size
        if delivery.origin is not None and delivery.origin.receipt_id:
            self.receipt_ids.add(delivery.origin.receipt_id)

    def count_end(self, state: int) -> None:
        """Count a delivery that has ended without a word of the peer."""
        if state == EXPIRED:
            self.expired += 1
        elif state != WITHDRAWN:
            self.dropped += 1

    def _leave_queue(self, delivery: Delivery) -> None:
        del self._queued[delivery]
        self.queued_size -= delivery.size
        if not delivery.qos:
            self.queued_qos0 -= 1

    def _drop_packet(self, delivery: Delivery) -> None:
        self.size -= delivery.size
        forget_packet(delivery)

    def take_ended(self) -> list[Delivery]:
        """Return the deliveries that have `ended`, and forget them."""
        ended, self.ended = self.ended, []
        return ended

    # --- storing ------------------------------------------------------------------

    def save(self, state: SessionState) -> None:
        """Save its part in the state of a session."""
        for delivery in [*self.unreceived(), *self._released.values()]:
            state.deliveries[delivery.sequence] = store(delivery)
        state.blocked.update(self._dropped.lasting())
        state.last_packet_id = self._last_id
        state.last_sequence = self._last_sequence

    def load(self, state: SessionState) -> list[Delivery]:
        """Load its part from the state of a session, and return the deliveries.

        Call `measure` next.
        """
        for stored in state.deliveries.values():
            delivery = restore(stored)
            if delivery.origin is not None:
                self.receipt_ids.add(delivery.origin.receipt_id)
            if delivery.state == RELEASED:
                self._released[delivery.packet_id] = delivery
            elif delivery.state == SENT:
                self._sent[delivery.packet_id] = delivery
            else:
                self._queue(delivery)
        for packet_id in state.blocked:
            self._dropped.add(packet_id, 2, False)
        self._last_id = state.last_packet_id
        self._last_sequence = state.last_sequence
        return self.unfinished()

    def measure(self, encode: Encode) -> None:
        """Set the sizes of the loaded packets, which depend on the encoding."""
        for delivery in self.unreceived():
            if not delivery.size:
                head, tail = encode(delivery, 0.0)
                delivery.size = packet_size(delivery.qos, head, tail)
                self.size += delivery.size
                if delivery.state == QUEUED:
                    self.queued_size += delivery.size


def forget_packet(delivery: Delivery) -> None:
    """Forget the message: only its delivery counts."""
    delivery.topic = ""
    delivery.payload = delivery.head = delivery.tail = b""
    delivery.properties = None
    delivery.size = 0
