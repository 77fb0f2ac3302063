"""The session state of one side, which outlives connections (MQTT 5.0 §4.1)."""

from aiomqtt.standard.names import FIRST_FAILURE
from aiomqtt.standard.tables import PacketType

from .changes import Change, ChangeKind, SessionState, StoredSubscription, take
from .delivery import Delivery
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
        session.exists = state.exists
        session.connected_before = state.connected_before
        session.outbound.load(state)
        session.inbound.load(state)
        session.subscriptions.update(state.subscriptions)
        return session

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

    def on_answer(self, request: Request) -> None:
        """Record the subscriptions that the broker has granted or ended."""
        codes = request.reason_codes
        for index, topic_filter in enumerate(request.filters):
            if codes and codes[index] >= FIRST_FAILURE:
                continue
            if request.answer is PacketType.SUBACK:
                options = request.options[index]
                subscription = StoredSubscription(options, request.identifier)
                self.subscriptions[topic_filter] = subscription
                if self._changes is not None:
                    change = Change(ChangeKind.SUBSCRIBED, topic_filter, subscription)
                    self._changes.append(change)
            else:
                self._unsubscribe(topic_filter)

    def _unsubscribe(self, topic_filter: str) -> None:
        if self.subscriptions.pop(topic_filter, None) is None:
            return
        if self._changes is not None:
            self._changes.append(Change(ChangeKind.UNSUBSCRIBED, topic_filter))

    def clear(self) -> list[Delivery]:
        """End the session; return the deliveries that end with it."""
        self.identify(self.client_id, False)
        self.inbound.clear()
        for topic_filter in [*self.subscriptions]:
            self._unsubscribe(topic_filter)
        return self.outbound.clear()
