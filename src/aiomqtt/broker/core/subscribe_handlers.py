"""SUBSCRIBE and UNSUBSCRIBE (MQTT 5.0 §3.8, §3.10), a portion of the filters at a time.

A packet may have many filters with many levels. If they are too many for one turn of
the event loop, the rest is handled in the next. The answer, after the last filter, has
all codes.
"""

from typing import TYPE_CHECKING

from aiomqtt.properties import ReasonCode, SubscribeOptions
from aiomqtt.protocol.packets import Suback, Subscribe, Unsubscribe
from aiomqtt.standard.names import (
    NO_SUBSCRIPTION_EXISTED,
    QUOTA_EXCEEDED,
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED,
    SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED,
    TOPIC_FILTER_INVALID,
    UNSPECIFIED_ERROR,
    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED,
)
from aiomqtt.standard.tables import PacketType
from aiomqtt.topic import is_shared, split_shared

from .connack import code_within
from .events import SubscribePermission
from .memory_account import PACKET_SIZE
from .packet_in_progress import PacketInProgress
from .session import Session
from .state import BrokerState
from .subscription import Subscription
from .turn import FILTER_COST

if TYPE_CHECKING:
    from .connection import ClientConnection


def handle_subscribe(connection: "ClientConnection", packet: Subscribe) -> None:
    """Handle a SUBSCRIBE of the client."""
    if connection.state.asks_for_topics:
        filters = [split_shared(name)[1] for name, _ in packet.subscriptions]
        connection.ask(SubscribePermission(packet, filters))
    else:
        subscribe(connection, packet, [0] * len(packet.subscriptions))


def subscribe(
    connection: "ClientConnection", packet: Subscribe, codes: list[int]
) -> None:
    """Subscribe to the filters that no reason code refuses.

    Args:
        connection: The connection.
        packet: The packet.
        codes: For each filter the reason code that refuses it; 0: it is allowed.
    """
    session = connection.session
    assert session is not None
    connection.work_on(SubscribeInProgress(session, packet, codes))


def handle_unsubscribe(connection: "ClientConnection", packet: Unsubscribe) -> None:
    """Handle an UNSUBSCRIBE of the client."""
    session = connection.session
    assert session is not None
    connection.work_on(UnsubscribeInProgress(session, packet))


class FiltersInProgress(PacketInProgress):
    """A packet with topic filters that is being handled."""

    __slots__ = ("_answers", "_names", "_packet_id", "session")

    def __init__(self, session: Session, packet_id: int, names: list[str]) -> None:
        super().__init__(PACKET_SIZE * len(names) + 2 * sum(map(len, names)))
        self.session: Session = session
        self._packet_id = packet_id
        self._names = names
        self._answers: list[ReasonCode] = []

    def go_on(self, connection: "ClientConnection") -> bool:
        """Handle the next portion of filters, and answer after the last one.

        Raises:
            PacketError: The answer is larger than the client accepts.
        """
        state = connection.state
        turn, names, answers = state.turn, self._names, self._answers
        while len(answers) < len(names):
            if answers and turn.is_over:
                return False
            name = names[len(answers)]
            turn.work += FILTER_COST + name.count("/")
            answers.append(ReasonCode(self._handle(state, len(answers), name)))
        connection.write(Suback(self._answer_kind(), self._packet_id, answers))
        pending_retained = self.session.pending_retained
        if pending_retained is not None:
            pending_retained.is_held = False
            self.session.send_more_retained()
        return True

    def _answer_kind(self) -> PacketType:
        raise NotImplementedError

    def _handle(self, state: BrokerState, index: int, name: str) -> int:
        raise NotImplementedError


class SubscribeInProgress(FiltersInProgress):
    """A SUBSCRIBE.

    Args:
        session: The session that subscribes.
        packet: The packet.
        codes: For each filter the reason code that refuses it; 0: it is allowed so far.
    """

    __slots__ = ("_codes", "_identifier", "_options")

    def __init__(self, session: Session, packet: Subscribe, codes: list[int]) -> None:
        names = [name for name, _ in packet.subscriptions]
        super().__init__(session, packet.packet_id, names)
        self._options = [options for _, options in packet.subscriptions]
        self._codes = codes
        self._identifier = 0
        if packet.properties is not None:
            self._identifier = next(iter(packet.properties.subscription_identifier), 0)

    def _answer_kind(self) -> PacketType:
        return PacketType.SUBACK

    def _handle(self, state: BrokerState, index: int, name: str) -> int:
        session, options, refused = (
            self.session,
            self._options[index],
            self._codes[index],
        )
        if refused:
            code = code_within(PacketType.SUBACK, refused)
        else:
            code = _refusal_of(state, session, name, self._identifier)
        if code:
            return code if session.is_v5 else UNSPECIFIED_ERROR
        qos = min(options.qos, state.limits.maximum_qos)
        subscription = Subscription(
            session,
            name,
            qos,
            options.no_local,
            options.retain_as_published,
            self._identifier,
        )
        is_new = state.subscriptions.add(subscription)
        if _wants_retained(name, options, is_new):
            session.send_retained(name)
        return qos


class UnsubscribeInProgress(FiltersInProgress):
    """An UNSUBSCRIBE."""

    __slots__ = ()

    def __init__(self, session: Session, packet: Unsubscribe) -> None:
        super().__init__(session, packet.packet_id, packet.filters)

    def _answer_kind(self) -> PacketType:
        return PacketType.UNSUBACK

    def _handle(self, state: BrokerState, index: int, name: str) -> int:
        self.session.send_no_retained(name)
        if state.subscriptions.remove(self.session, name):
            return 0
        return NO_SUBSCRIPTION_EXISTED


def _refusal_of(
    state: BrokerState, session: Session, topic_filter: str, identifier: int
) -> int:
    """Return the reason code with which a subscription is refused, or 0."""
    limits = state.limits
    if state.is_too_deep(topic_filter):
        return TOPIC_FILTER_INVALID
    if not limits.wildcard_subscriptions and (
        "+" in topic_filter or "#" in topic_filter
    ):
        return WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED
    if not limits.shared_subscriptions and is_shared(topic_filter):
        return SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
    if identifier and not limits.subscription_identifiers:
        return SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED
    if (
        len(session.subscriptions) >= limits.maximum_subscriptions
        and topic_filter not in session.subscriptions
    ):
        return QUOTA_EXCEEDED
    if not state.subscriptions.has_room_for(topic_filter):
        return QUOTA_EXCEEDED
    return 0


def _wants_retained(name: str, options: SubscribeOptions, is_new: bool) -> bool:
    """Whether a subscription gets the retained messages now (§3.8.3.1, §4.8.2)."""
    if is_shared(name):
        return False
    return options.retain_handling == 0 or (options.retain_handling == 1 and is_new)
