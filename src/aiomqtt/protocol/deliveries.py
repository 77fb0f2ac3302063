"""The outgoing messages that a session keeps, by how far each of them has come."""

from collections import OrderedDict

from .changes import (
    Change,
    ChangeKind,
    SessionState,
    StoredDelivery,
    restore,
    store,
)
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
        behind: The number of deliveries that wait, and that only the store has. They
            come before all that were published since.
        behind_size: About the size of their packets.
        drops_behind: Whether they are dropped, each when it has been read.
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
        # Those that come after the ones that only the store has.
        self._rear: OrderedDict[Delivery, None] = OrderedDict()
        self.behind: int = 0
        self.behind_size: int = 0
        self.drops_behind: bool = False
        # How many of them may have QoS 0; these are part of `queued_qos0`.
        self._behind_qos0 = 0
        self._last_id: int = 0
        # The identifiers that QoS 2 may use before the store knows it; 0: none.
        self._reserved_first: int = 0
        self._reserved_last: int = 0
        self._last_sequence: int = 0
        self.size: int = 0
        self.queued_size: int = 0
        self.queued_qos0: int = 0
        self._dropped: DroppedIds = DroppedIds()
        self.receipt_ids: set[str] = set()
        # Valid until the caller takes them.
        self.ended: list[Delivery] = []

    def __len__(self) -> int:
        """Return the number of deliveries that are not done, without those behind."""
        waiting = len(self._queued) + len(self._rear)
        return len(self._sent) + len(self._released) + waiting

    @property
    def queued(self) -> int:
        """The number of deliveries that were never written, also of those behind."""
        return len(self._queued) + self.behind + len(self._rear)

    @property
    def next_queued(self) -> int:
        """The number of those of them that come before the ones that are behind."""
        return len(self._queued)

    @property
    def oldest_queued(self) -> Delivery | None:
        """The delivery that will be written next of those that have never been.

        None: there is none, or only the store has it.
        """
        return next(iter(self._queued)) if self._queued else None

    def unfinished(self) -> list[Delivery]:
        """Return all unfinished deliveries but those behind, most advanced first."""
        return [*self._released.values(), *self.unreceived()]

    def unreceived(self) -> list[Delivery]:
        """Return those of them that the peer has not acknowledged at all, in order."""
        return [*self._sent.values(), *self._queued, *self._rear]

    def _queue(self, delivery: Delivery) -> None:
        if self.behind:
            self._rear[delivery] = None
        else:
            self._queued[delivery] = None
        self._count_queued(delivery)

    def _queue_first(self, delivery: Delivery) -> None:
        self._queued[delivery] = None
        self._queued.move_to_end(delivery, last=False)
        self._count_queued(delivery)

    def _count_queued(self, delivery: Delivery) -> None:
        self.queued_size += delivery.size
        if not delivery.qos:
            self.queued_qos0 += 1

    def clear(self) -> list[Delivery]:
        """Forget all state of the session; return the unfinished deliveries."""
        lost = self.unfinished()
        for delivery in lost:
            delivery.state = LOST
            forget_packet(delivery)
        self.lost += len(lost) + self.behind
        self.size = self.queued_size = self.queued_qos0 = 0
        self.behind = self.behind_size = self._behind_qos0 = 0
        self.drops_behind = False
        self._rear.clear()
        self._sent.clear()
        self._released.clear()
        self._queued.clear()
        self._forget_packet_ids()
        self.receipt_ids.clear()
        if self._changes is not None:
            self._changes.append(Change(ChangeKind.OUTBOUND_CLEARED))
        return lost

    def _forget_packet_ids(self) -> None:
        """Begin again: no packet identifier is in use."""
        self._dropped.clear()
        self._last_id = self._reserved_first = self._reserved_last = 0

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
        if self._rear and delivery in self._rear:
            del self._rear[delivery]
        else:
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
        state.reserved_first = self._reserved_first
        state.reserved_last = self._reserved_last
        state.last_sequence = self._last_sequence

    def load(self, state: SessionState) -> list[Delivery]:
        """Load its part from the state of a session, and return the deliveries.

        Call `measure` next.
        """
        for stored in state.deliveries.values():
            delivery = restore(stored)
            if delivery.origin is not None and delivery.origin.receipt_id:
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
        self._reserved_first = state.reserved_first
        self._reserved_last = state.reserved_last
        self._last_sequence = state.last_sequence
        return self.unfinished()

    def leave_behind(self, count: int, size: int, qos0: int) -> None:
        """Note that only the store has further deliveries, which wait.

        Args:
            count: How many.
            size: The sizes of their topics and payloads, in bytes.
            qos0: How many of them have QoS 0, at most.
        """
        self.behind = count
        self.behind_size = size
        self._behind_qos0 = qos0
        self.queued_qos0 += qos0

    def load_behind(self, page: list[StoredDelivery]) -> list[Delivery]:
        """Take over the next deliveries of those that only the store had.

        Call `measure` next.
        """
        loaded = [restore(stored) for stored in page]
        for delivery in loaded:
            if delivery.origin is not None and delivery.origin.receipt_id:
                self.receipt_ids.add(delivery.origin.receipt_id)
            self._queued[delivery] = None
            self._count_queued(delivery)
            if not delivery.qos:
                self._behind_qos0 -= 1
                self.queued_qos0 -= 1
            self.behind_size -= len(delivery.topic.encode()) + len(delivery.payload)
        self.behind -= len(loaded)
        if not self.behind:
            self.queued_qos0 -= self._behind_qos0
            self.behind_size = self._behind_qos0 = 0
            self._queued.update(self._rear)
            self._rear.clear()
        return loaded

    def measure(self, encode: Encode, loaded: list[Delivery]) -> None:
        """Set the sizes of the loaded packets, which depend on the encoding."""
        for delivery in loaded:
            if not delivery.size and delivery.state != RELEASED:
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
