"""The session state of one side, which outlives connections (MQTT 5.0 §4.1)."""

from aiomqtt.standard.names import FIRST_FAILURE
from aiomqtt.standard.tables import PacketType

from .changes import Change, ChangeKind, SessionState, StoredSubscription, take
from .delivery import LOST, Delivery
from .inbound import Inbound
from .outbound import Outbound
from .requests import Request


class Session:
    """The session state of a client.

    Args:
        client_id: The client identifier; "": the broker assigns one.
        is_durable: Whether to record each change, for a store.

    Attributes:
        client_id: The client identifier that the session belongs to.
        outbound: The messages that were published and are not acknowledged.
        inbound: The messages that were received and are not completed.
        subscriptions: The subscriptions that the program requested and the broker
            granted, by topic filter.
        exists: Whether there is a session to resume.
        connected_before: Whether a connection has ever been accepted.
    """

    def __init__(self, client_id: str, is_durable: bool = False) -> None:
        # Valid until the caller takes them; None: changes are not recorded.
        self._changes: list[Change] | None = [] if is_durable else None
        # Valid for the session.
        self.client_id: str = client_id
        self.outbound: Outbound = Outbound(changes=self._changes)
        self.inbound: Inbound = Inbound(self._changes)
        self.subscriptions: dict[str, StoredSubscription] = {}
        self.exists: bool = False
        self.connected_before: bool = False

    @classmethod
    def restore(cls, state: SessionState, is_durable: bool = False) -> "Session":
        """Create a session that continues from a state."""
        session = cls(state.client_id, is_durable)
        session.load(state)
        return session

    def load(self, state: SessionState) -> None:
        """Continue from a state; what was here before is forgotten."""
        self.outbound.clear()
        self.inbound.clear()
        self.client_id = state.client_id
        self.exists = state.exists
        self.connected_before = state.connected_before
        self.outbound.load(state)
        self.inbound.load(state)
        self.subscriptions = {**state.subscriptions}
        # What was forgotten is no change.
        take(self._changes)
        self.outbound.doubt_reserved()

    def forget_unstored(self, changes: list[Change]) -> None:
        """Note that changes could not be stored: messages that they added are lost.

        Load a stored state before the session is used again.
        """
        added = {
            change.key
            for change in changes
            if change.kind in (ChangeKind.ADDED, ChangeKind.ADDED_FIRST)
        }
        for delivery in self.outbound.unfinished():
            if delivery.sequence in added:
                delivery.state = LOST

    def snapshot(self) -> SessionState:
        """Return its state as plain values."""
        state = SessionState(self.client_id)
        state.exists = self.exists
        state.connected_before = self.connected_before
        self.outbound.save(state)
        self.inbound.save(state)
        state.subscriptions.update(self.subscriptions)
        return state

    @property
    def has_changes(self) -> bool:
        """Whether `take_changes` has something to return."""
        return self._changes is not None and len(self._changes) > 0

    def take_changes(self) -> list[Change]:
        """Return the changes since the last time."""
        return take(self._changes)

    def identify(
        self, client_id: str, exists: bool, connected_before: bool | None = None
    ) -> None:
        """Record the client identifier, and whether there is a session."""
        if connected_before is None:
            connected_before = self.connected_before
        values = (client_id, exists, connected_before)
        if values == (self.client_id, self.exists, self.connected_before):
            return
        self.client_id, self.exists, self.connected_before = values
        if self._changes is not None:
            self._changes.append(Change(ChangeKind.IDENTIFIED, None, values))

    def set_expiry(self, interval: int | None) -> None:
        """Set how many seconds the session outlives the connection; None: as before."""
        if interval is not None:
            self.identify(self.client_id, interval > 0)

    def on_answer(self, request: Request) -> None:
        """Record the subscriptions that the broker has granted or ended."""
        codes = request.reason_codes
        for index, topic_filter in enumerate(request.filters):
            if codes and codes[index] >= FIRST_FAILURE:
                # The broker may have lost a subscription that it does not restore.
                known = self.subscriptions.get(topic_filter)
                if known is not None and not known.is_confirmed:
                    self.forget_subscription(topic_filter)
                continue
            if request.answer is PacketType.SUBACK:
                options = request.options[index]
                subscription = StoredSubscription(options, request.identifier)
                self._set_subscription(topic_filter, subscription)
            else:
                self.forget_subscription(topic_filter)

    def lose_subscription(self, topic_filter: str) -> None:
        """Note that the broker has lost a subscription, and is asked to restore it."""
        old = self.subscriptions[topic_filter]
        if old.is_confirmed:
            lost = StoredSubscription(old.options, old.identifier, is_confirmed=False)
            self._set_subscription(topic_filter, lost)

    def _set_subscription(
        self, topic_filter: str, subscription: StoredSubscription
    ) -> None:
        self.subscriptions[topic_filter] = subscription
        if self._changes is not None:
            change = Change(ChangeKind.SUBSCRIBED, topic_filter, subscription)
            self._changes.append(change)

    def forget_subscription(self, topic_filter: str) -> None:
        """Note that there is no subscription with this topic filter."""
        if self.subscriptions.pop(topic_filter, None) is None:
            return
        if self._changes is not None:
            self._changes.append(Change(ChangeKind.UNSUBSCRIBED, topic_filter))

    def enqueue(self, delivery: Delivery, now: float) -> None:
        """Accept a message without a connection: it waits for the next one.

        Args:
            delivery: The message, as `Engine.prepare` returned it.
            now: The time, at which the Message Expiry Interval begins, unless the
                caller has begun it.

        Raises:
            ValueError: It has a topic alias and no topic. Nothing has changed.
        """
        if not delivery.topic:
            msg = (
                "a topic is needed without a connection: topic aliases end with a"
                " connection (MQTT 5.0 §3.3.2.3.4)"
            )
            raise ValueError(msg)
        # The packet depends on the connection on which it leaves.
        delivery.alias = 0
        delivery.head = delivery.tail = b""
        if delivery.expires is None:
            delivery.start_expiry(now)
        self.outbound.send(delivery, [], now)

    def close(self) -> None:
        """End a connection: what belongs to it ends with it."""
        self.inbound.close()
        self.outbound.close()

    def begin_anew(self) -> list[Delivery]:
        """End the session at the broker, but keep what the program wants of the next.

        Returns:
            The deliveries that the broker has received: they are done.
        """
        self.identify(self.client_id, False)
        self.inbound.clear()
        return self.outbound.requeue()

    def clear(self) -> list[Delivery]:
        """End the session; return the deliveries that end with it."""
        self.identify(self.client_id, False)
        self.inbound.clear()
        for topic_filter in [*self.subscriptions]:
            self.forget_subscription(topic_filter)
        return self.outbound.clear()
