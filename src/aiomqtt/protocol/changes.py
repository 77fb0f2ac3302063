"""The state of a session as plain values, and the changes of it.

A store keeps a `SessionState`. Each `Change` is one difference: applied in order to an
earlier state, the changes give the later one.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Final

from aiomqtt.properties import Properties, ReasonCode, SubscribeOptions

from .delivery import QUEUED, RELEASED, SENT, Delivery, Origin
from .packets import Shape


class StoredDelivery(Shape):
    """An outgoing message with QoS 1 or 2, as a store keeps it: see `Delivery`.

    Attributes:
        reason_code: The reason code of the PUBREC, once it has come.
        receipt_id: The identifier that the program gave the message, for its receipt;
            "": none.
        share: In a broker, the filter of its shared subscription; "": none.
        published: For a shared subscription, the flags with which it was published.
    """

    __slots__ = (
        "expires",
        "identifiers",
        "packet_id",
        "payload",
        "properties",
        "published",
        "qos",
        "reason_code",
        "receipt_id",
        "retain",
        "sequence",
        "share",
        "state",
        "topic",
    )

    FIELDS: ClassVar[tuple[str, ...]] = (
        "sequence",
        "topic",
        "payload",
        "qos",
        "retain",
        "properties",
        "expires",
        "identifiers",
        "share",
        "packet_id",
        "state",
        "reason_code",
        "receipt_id",
        "published",
    )

    def __init__(
        self,
        sequence: int,
        topic: str,
        payload: bytes,
        qos: int,
        retain: bool,
        properties: Properties | None,
        expires: float | None,
        identifiers: tuple[int, ...],
        share: str,
        packet_id: int,
        state: int,
        reason_code: int,
        receipt_id: str = "",
        published: int = 0,
    ) -> None:
        self.sequence: int = sequence
        self.topic: str = topic
        self.payload: bytes = payload
        self.qos: int = qos
        self.retain: bool = retain
        self.properties: Properties | None = properties
        # By the clock of the engine's caller; in a store, in seconds since the epoch.
        self.expires: float | None = expires
        self.identifiers: tuple[int, ...] = identifiers
        self.share: str = share
        self.packet_id: int = packet_id
        self.state: int = state
        self.reason_code: int = reason_code
        self.receipt_id: str = receipt_id
        self.published: int = published


class StoredSubscription(Shape):
    """A subscription that was requested and granted.

    Attributes:
        options: Its options.
        identifier: Its Subscription Identifier; 0: none.
        is_confirmed: Whether the broker has it; False: the broker has lost it, and was
            asked to restore it.
    """

    __slots__ = ("identifier", "is_confirmed", "options")

    FIELDS: ClassVar[tuple[str, ...]] = ("options", "identifier", "is_confirmed")

    def __init__(
        self, options: SubscribeOptions, identifier: int, is_confirmed: bool = True
    ) -> None:
        self.options: SubscribeOptions = options
        self.identifier: int = identifier
        self.is_confirmed: bool = is_confirmed


class ChangeKind:
    """The kinds of changes; the comments tell the key and the value, if any."""

    # Value: the client identifier, whether the session exists, and whether the broker
    # has ever accepted a connection.
    IDENTIFIED: Final = "identified"
    # Key: the sequence of a delivery.
    ADDED: Final = "added"  # Value: the StoredDelivery.
    ADDED_FIRST: Final = "added first"  # Value: the same, before all that wait.
    SENT: Final = "sent"  # Value: its packet identifier.
    RELEASED: Final = "released"  # Value: the reason code of the PUBREC.
    # Value: the state in which it ended and its reason code, if it has a receipt.
    ENDED: Final = "ended"
    # Every sent delivery waits in the queue again; no packet identifier is in use.
    REQUEUED: Final = "requeued"
    # There are no deliveries any more; no packet identifier is in use.
    OUTBOUND_CLEARED: Final = "outbound cleared"
    # Key: a packet identifier.
    COUNTED: Final = "counted"  # A SUBSCRIBE or UNSUBSCRIBE has it.
    # QoS 2 may use those from the value to this one before the store knows it, until
    # the next such change; 0: none. It must not be undone: see `SessionStore.commit`.
    RESERVED: Final = "reserved"
    BLOCKED: Final = "blocked"  # No packet may have it: its message was dropped.
    UNBLOCKED: Final = "unblocked"
    # Key: a packet identifier of the peer at QoS 2.
    RECEIVED: Final = "received"  # PUBLISH came.
    # Value: the name by which a database of the program knows the flow.
    NAMED: Final = "named"
    COMPLETED: Final = "completed"  # PUBREL came, or the message was refused.
    INBOUND_CLEARED: Final = "inbound cleared"
    # Key: a topic filter.
    SUBSCRIBED: Final = "subscribed"  # Value: the StoredSubscription.
    UNSUBSCRIBED: Final = "unsubscribed"
    # Value, in a broker: see `SessionState.pending_retained`; None: no more are sent.
    RETAINED_PENDING: Final = "retained pending"
    # Key: the number of a message that a transaction of the program has stored: the
    # deliveries have it now.
    UNSTAGED: Final = "unstaged"


class Change(Shape):
    """One change of a session.

    Attributes:
        kind: One of the kinds in `ChangeKind`.
        key: The delivery, packet identifier or topic filter that it affects, or None.
        value: The new value, or None.
    """

    __slots__ = ("key", "kind", "value")

    FIELDS: ClassVar[tuple[str, ...]] = ("kind", "key", "value")

    def __init__(
        self, kind: str, key: int | str | None = None, value: object = None
    ) -> None:
        self.kind: str = kind
        self.key: int | str | None = key
        self.value: object = value


class SessionState(Shape):
    """The state of a session (MQTT 5.0 §4.1), as a store keeps it.

    It does not depend on the version of MQTT, nor on a connection.

    Attributes:
        client_id: The client identifier that it belongs to.
        exists: Whether there is a session to resume.
        connected_before: Whether a connection has ever been accepted.
        last_packet_id: The packet identifier that was assigned last.
        reserved_first: The first of the packet identifiers that QoS 2 may have used
            although the state does not know it, in the order of their use; 0: none.
        reserved_last: The last of them.
        last_sequence: The sequence of the last delivery.
        deliveries: The deliveries by sequence: those that the peer has not received in
            the order in which they are sent, the others in the order of the PUBRECs.
        blocked: The packet identifiers of dropped messages that the peer may remember.
        received: The packet identifiers of the peer at QoS 2, from PUBLISH to PUBREL.
        flows: The names of incomplete flows of the peer at QoS 2, by packet identifier.
        subscriptions: The granted subscriptions, by topic filter.
        pending_retained: In a broker, the topic filters whose retained messages are
            still being sent, in the order of their numbers: the number of the last one
            sent, and the largest that one to send may have. By the latter, the filters
            are in order.
    """

    __slots__ = (
        "blocked",
        "client_id",
        "connected_before",
        "deliveries",
        "exists",
        "flows",
        "last_packet_id",
        "last_sequence",
        "pending_retained",
        "received",
        "reserved_first",
        "reserved_last",
        "subscriptions",
    )

    FIELDS: ClassVar[tuple[str, ...]] = (
        "client_id",
        "exists",
        "connected_before",
        "last_packet_id",
        "reserved_first",
        "reserved_last",
        "last_sequence",
        "in_order",
        "blocked",
        "received",
        "flows",
        "subscriptions",
        "pending_retained",
    )

    def __init__(self, client_id: str = "") -> None:
        self.client_id: str = client_id
        self.exists: bool = False
        self.connected_before: bool = False
        self.last_packet_id: int = 0
        self.reserved_first: int = 0
        self.reserved_last: int = 0
        self.last_sequence: int = 0
        self.deliveries: dict[int, StoredDelivery] = {}
        self.blocked: set[int] = set()
        self.received: set[int] = set()
        self.flows: dict[int, str] = {}
        self.subscriptions: dict[str, StoredSubscription] = {}
        self.pending_retained: dict[str, tuple[int, int]] = {}

    @property
    def in_order(self) -> tuple[list[StoredDelivery], list[StoredDelivery]]:
        """The deliveries that the peer has received, and the others, in order."""
        released: list[StoredDelivery] = []
        unreceived: list[StoredDelivery] = []
        for delivery in self.deliveries.values():
            (released if delivery.state == RELEASED else unreceived).append(delivery)
        return released, unreceived

    def without_deliveries(self) -> "SessionState":
        """Return a copy of all but the deliveries."""
        copy = SessionState(self.client_id)
        copy.exists = self.exists
        copy.connected_before = self.connected_before
        copy.last_packet_id = self.last_packet_id
        copy.reserved_first = self.reserved_first
        copy.reserved_last = self.reserved_last
        copy.last_sequence = self.last_sequence
        copy.blocked.update(self.blocked)
        copy.received.update(self.received)
        copy.flows.update(self.flows)
        copy.subscriptions.update(self.subscriptions)
        copy.pending_retained.update(self.pending_retained)
        return copy

    def apply(self, change: Change) -> None:
        """Apply a change of a session to this state."""
        _APPLY[change.kind](self, change.key, change.value)


def take(changes: list[Change] | None) -> list[Change]:
    """Return the changes that were recorded, and forget them.

    Args:
        changes: The list that both directions of a session append to; it stays the
            same one. None: they are not recorded.
    """
    if changes is None:
        return []
    taken = changes.copy()
    changes.clear()
    return taken


def shift_expiry(changes: list[Change], seconds: float) -> None:
    """Convert the times at which the messages of changes expire to another clock.

    Args:
        changes: The changes.
        seconds: How much later it is by that clock.
    """
    for change in changes:
        value = change.value
        if isinstance(value, StoredDelivery) and value.expires is not None:
            value.expires += seconds


def store(delivery: Delivery) -> StoredDelivery:
    """Convert a delivery for a store."""
    origin = delivery.origin
    return StoredDelivery(
        delivery.sequence,
        delivery.topic,
        delivery.payload,
        delivery.qos,
        delivery.retain,
        delivery.properties,
        delivery.expires,
        delivery.identifiers,
        "" if origin is None else origin.share,
        delivery.packet_id,
        delivery.state,
        # Converting a code takes long, and nearly no delivery has one.
        int(delivery.reason_code) if delivery.reason_code else 0,
        "" if origin is None else origin.receipt_id,
        0 if origin is None else origin.published,
    )


def restore(stored: StoredDelivery) -> Delivery:
    """Convert a stored delivery back; `Outbound.measure` sets its size."""
    delivery = Delivery(
        stored.topic,
        stored.payload,
        stored.qos,
        stored.retain,
        stored.properties,
        0,
        expires=stored.expires,
        identifiers=stored.identifiers,
    )
    delivery.sequence = stored.sequence
    delivery.packet_id = stored.packet_id
    delivery.state = stored.state
    delivery.reason_code = ReasonCode(stored.reason_code)
    if stored.receipt_id or stored.share:
        delivery.origin = Origin(
            stored.receipt_id, share=stored.share, published=stored.published
        )
    return delivery


# --- the effects of each kind of change ---------------------------------------------


def _identify(state: SessionState, key: object, value: Any) -> None:
    state.client_id, state.exists, state.connected_before = value


def _add(state: SessionState, key: int, value: StoredDelivery) -> None:
    state.deliveries[key] = changed(value)
    state.last_sequence = key
    if value.packet_id:
        state.last_packet_id = value.packet_id


def _add_first(state: SessionState, key: int, value: StoredDelivery) -> None:
    before: dict[int, StoredDelivery] = {}
    after: dict[int, StoredDelivery] = {}
    for sequence, delivery in state.deliveries.items():
        (after if delivery.state == QUEUED else before)[sequence] = delivery
    state.deliveries = {**before, key: changed(value), **after}
    state.last_sequence = key


def _send(state: SessionState, key: int, value: int) -> None:
    state.deliveries[key] = changed(state.deliveries[key], state=SENT, packet_id=value)
    state.last_packet_id = value


def _release(state: SessionState, key: int, value: int) -> None:
    # Move it to the end: the order is that of the PUBRECs.
    state.deliveries[key] = released(state.deliveries.pop(key), value)


def _end(state: SessionState, key: int, value: object) -> None:
    del state.deliveries[key]


def _requeue(state: SessionState, key: object, value: object) -> None:
    for sequence, delivery in state.deliveries.items():
        if delivery.state == SENT:
            state.deliveries[sequence] = changed(delivery, state=QUEUED, packet_id=0)
    _forget_packet_ids(state)


def _forget_packet_ids(state: SessionState) -> None:
    state.last_packet_id = state.reserved_first = state.reserved_last = 0
    state.blocked.clear()


def _clear_outbound(state: SessionState, key: object, value: object) -> None:
    state.deliveries.clear()
    _forget_packet_ids(state)


def _count(state: SessionState, key: int, value: object) -> None:
    state.last_packet_id = key


def _reserve(state: SessionState, key: int, value: int) -> None:
    state.reserved_first, state.reserved_last = value, key


def _block(state: SessionState, key: int, value: object) -> None:
    state.blocked.add(key)


def _unblock(state: SessionState, key: int, value: object) -> None:
    state.blocked.discard(key)


def _receive(state: SessionState, key: int, value: object) -> None:
    state.received.add(key)


def _name(state: SessionState, key: int, value: str) -> None:
    state.flows[key] = value


def _complete(state: SessionState, key: int, value: object) -> None:
    state.received.discard(key)
    state.flows.pop(key, None)


def _clear_inbound(state: SessionState, key: object, value: object) -> None:
    state.received.clear()
    state.flows.clear()


def _subscribe(state: SessionState, key: str, value: StoredSubscription) -> None:
    state.subscriptions[key] = value


def _unsubscribe(state: SessionState, key: str, value: object) -> None:
    del state.subscriptions[key]


def _leave_retained(
    state: SessionState, key: str, value: tuple[int, int] | None
) -> None:
    if value is None:
        state.pending_retained.pop(key, None)
    else:
        state.pending_retained[key] = value


def _do_nothing(state: SessionState, key: int, value: object) -> None:
    """Such a change affects what a store keeps besides the state."""


def released(stored: StoredDelivery, reason_code: int) -> StoredDelivery:
    """Return a delivery after its PUBREC: only its identifier is still needed."""
    return changed(
        stored,
        state=RELEASED,
        reason_code=reason_code,
        topic="",
        payload=b"",
        properties=None,
    )


def changed(stored: StoredDelivery, **values: object) -> StoredDelivery:
    """Return a copy with other values: states must not share mutable values."""
    fields = {name: getattr(stored, name) for name in stored.FIELDS}
    return StoredDelivery(**{**fields, **values})


_APPLY: Final[dict[str, Callable[[SessionState, Any, Any], None]]] = {
    ChangeKind.IDENTIFIED: _identify,
    ChangeKind.ADDED: _add,
    ChangeKind.ADDED_FIRST: _add_first,
    ChangeKind.SENT: _send,
    ChangeKind.RELEASED: _release,
    ChangeKind.ENDED: _end,
    ChangeKind.REQUEUED: _requeue,
    ChangeKind.OUTBOUND_CLEARED: _clear_outbound,
    ChangeKind.COUNTED: _count,
    ChangeKind.RESERVED: _reserve,
    ChangeKind.BLOCKED: _block,
    ChangeKind.UNBLOCKED: _unblock,
    ChangeKind.RECEIVED: _receive,
    ChangeKind.NAMED: _name,
    ChangeKind.COMPLETED: _complete,
    ChangeKind.INBOUND_CLEARED: _clear_inbound,
    ChangeKind.SUBSCRIBED: _subscribe,
    ChangeKind.UNSUBSCRIBED: _unsubscribe,
    ChangeKind.RETAINED_PENDING: _leave_retained,
    ChangeKind.UNSTAGED: _do_nothing,
}
