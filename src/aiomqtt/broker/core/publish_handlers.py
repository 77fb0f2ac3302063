"""PUBLISH and the acknowledgements of QoS 1 and 2 (MQTT 5.0 §3.3 to §3.7)."""

from typing import TYPE_CHECKING, Final

from aiomqtt.broker.hooks import Refusal
from aiomqtt.protocol.packets import Ack, Publish, WillMessage
from aiomqtt.protocol.wire import PacketError
from aiomqtt.standard.names import (
    NO_MATCHING_SUBSCRIBERS,
    NOT_AUTHORIZED,
    QOS_NOT_SUPPORTED,
    QUOTA_EXCEEDED,
    RETAIN_NOT_SUPPORTED,
    TOPIC_NAME_INVALID,
)
from aiomqtt.standard.tables import PacketType

from .connack import code_within
from .distribution import Distribution
from .events import PublishPermission
from .memory_account import PACKET_SIZE, size_of_properties
from .message import ApplicationMessage, for_others
from .packet_in_progress import PacketInProgress
from .retained import is_own
from .session import Session
from .state import BrokerState
from .subscriptions import Matches, SubscriberSearch

if TYPE_CHECKING:
    from .connection import ClientConnection

PUBREL: Final = PacketType.PUBREL


def refusal_of_publish(state: BrokerState, packet: Publish) -> int:
    """Return the reason code with which a PUBLISH is refused, or 0.

    Raises:
        PacketError: It uses a feature that the CONNACK ruled out.
    """
    limits = state.limits
    if packet.qos > limits.maximum_qos:
        raise PacketError(QOS_NOT_SUPPORTED, f"QoS {packet.qos} is not supported")
    if packet.retain and not limits.retain_available:
        raise PacketError(RETAIN_NOT_SUPPORTED, "messages can't be retained")
    topic = packet.topic.value
    if is_own(topic):
        return NOT_AUTHORIZED
    return TOPIC_NAME_INVALID if state.is_too_deep(topic) else 0


def refusal_of_will(state: BrokerState, will: WillMessage) -> Refusal | None:
    """Return the reason why a will can't be published, or None."""
    if state.is_too_deep(will.topic):
        return Refusal(TOPIC_NAME_INVALID, "the will's topic has too many levels")
    if is_own(will.topic):
        return Refusal(NOT_AUTHORIZED, "the broker's own topics")
    return None


def handle_publish(connection: "ClientConnection", packet: Publish) -> None:
    """Handle a PUBLISH of the client.

    Raises:
        PacketError: The client violates the standard.
    """
    state = connection.state
    state.statistics.messages_received += 1
    if packet.carried is not None:
        connection.aliases.resolve(packet)
    code = refusal_of_publish(state, packet)
    if not code and state.asks_for_topics:
        connection.ask(PublishPermission(packet))
    else:
        publish(connection, packet, code)


def publish(connection: "ClientConnection", packet: Publish, code: int) -> None:
    """Publish a message of the client, unless a reason code refuses it.

    Raises:
        PacketError: The client exceeds the Receive Maximum.
    """
    session, state = connection.session, connection.state
    assert session is not None
    if state.has_to_wait(packet.qos):
        connection.work_on(WaitingPublish(state, packet, code))
        return
    matches: Matches | None = None
    if not code:
        topic = packet.topic.value
        matches = state.subscriptions.known(topic)
        if matches is None:
            search = state.subscriptions.search(topic)
            matches = search.go_on(state.turn)
            if matches is None:
                connection.work_on(PublishInProgress(session, packet, search, None, 0))
                return
    code, distribution = _publish(state, session, packet, code, matches)
    if distribution is None:
        _answer(session, packet, code)
    else:
        connection.work_on(PublishInProgress(session, packet, None, distribution, code))


def handle_ack(connection: "ClientConnection", ack: Ack) -> None:
    """Handle a PUBACK, PUBREC, PUBREL or PUBCOMP of the client.

    Raises:
        PacketError: The packet identifier is that of another kind of flow.
    """
    session = connection.session
    assert session is not None
    if ack.kind is PUBREL:
        session.inbound.release(ack, connection.send_buffer.announce())
        session.count()
    else:
        session.acknowledge(ack)


class WaitingPublish(PacketInProgress):
    """A PUBLISH that waits for a message on its way: see `BrokerState.has_to_wait`.

    Args:
        state: The broker's state.
        packet: The packet.
        code: The reason code that refuses it; 0: none does.
    """

    __slots__ = ("_code", "_packet", "_state")

    def __init__(self, state: BrokerState, packet: Publish, code: int) -> None:
        super().__init__(_size_of(packet))
        self._state = state
        self._packet = packet
        self._code = code

    @property
    def can_go_on(self) -> bool:
        """Whether it can be continued."""
        return not self._state.has_to_wait(self._packet.qos)

    def go_on(self, connection: "ClientConnection") -> bool:
        """Publish it, if it has waited; return whether all subscribers have it."""
        if not self.can_go_on:
            self._state.wait(connection.send_buffer)
            return False
        connection.in_progress = None
        publish(connection, self._packet, self._code)
        return connection.in_progress is None


class PublishInProgress(PacketInProgress):
    """A PUBLISH whose search for subscribers, or distribution, takes several turns.

    Args:
        session: The session of the client.
        packet: The packet.
        search: The search for the subscribers; None: it is over.
        distribution: The message on its way to them; None: it has not begun.
        code: The reason code to answer with.
    """

    __slots__ = ("_code", "_distribution", "_packet", "_search", "_session")

    def __init__(
        self,
        session: Session,
        packet: Publish,
        search: SubscriberSearch | None,
        distribution: Distribution | None,
        code: int,
    ) -> None:
        super().__init__(PACKET_SIZE if search is None else _size_of(packet))
        self._session = session
        self._packet = packet
        self._search = search
        self._distribution = distribution
        self._code = code

    @property
    def can_go_on(self) -> bool:
        """Whether it can be continued: it is not waiting for its distribution."""
        distribution = self._distribution
        return distribution is None or distribution.is_done

    def go_on(self, connection: "ClientConnection") -> bool:
        """Continue the search; return whether all subscribers have the message."""
        session, packet, search = self._session, self._packet, self._search
        if search is not None:
            state = connection.state
            matches = search.go_on(state.turn)
            if matches is None:
                return False
            self._search = None
            self._code, self._distribution = _publish(
                state, session, packet, 0, matches
            )
            # The message counts from now on.
            self.size = PACKET_SIZE
        if not self.can_go_on:
            return False
        _answer(session, packet, self._code)
        return True


def _size_of(packet: Publish) -> int:
    return PACKET_SIZE + len(packet.payload) + size_of_properties(packet.carried)


def _publish(
    state: BrokerState,
    session: Session,
    packet: Publish,
    code: int,
    matches: Matches | None,
) -> tuple[int, Distribution | None]:
    """Publish the message of a packet, unless a reason code refuses it.

    Args:
        state: The broker's state.
        session: The client's session.
        packet: The packet.
        code: The reason code that refuses it; 0: none does.
        matches: The subscribers; None: it is refused.

    Returns:
        The reason code to answer with, and the rest of the distribution if there are
        too many subscribers for this turn.

    Raises:
        PacketError: The client exceeds the Receive Maximum.
    """
    if packet.qos and not session.inbound.admit(packet):
        # It came before, and was not refused.
        return 0, None
    if code or matches is None:
        return code_within(PacketType.PUBACK, code), None
    message = ApplicationMessage(
        packet.topic.value,
        packet.payload,
        packet.qos,
        packet.retain,
        for_others(packet.carried),
        state.turn.now,
    )
    # Only QoS 1 and 2 of 5.0 have an answer that can refuse it.
    can_refuse = packet.qos > 0 and session.is_v5
    has_room = state.memory.has_room(message.size)
    if packet.qos == 2 and not has_room and not can_refuse:
        # Its identifier would have to be kept.
        raise PacketError(QUOTA_EXCEEDED, "there is no memory for a message")
    if can_refuse and (
        not has_room or (packet.retain and not state.retained.has_room_for(message))
    ):
        return QUOTA_EXCEEDED, None
    distribution = state.publish(message, session, matches)
    if distribution is not None:
        # Its client may be gone before all have it: then it sends it again.
        session.inbound.note_received(packet)
        session.count()
    return (0 if matches.count else NO_MATCHING_SUBSCRIBERS), distribution


def _answer(session: Session, packet: Publish, code: int) -> None:
    """Acknowledge a PUBLISH, if its QoS requires it and the client is connected."""
    send_buffer = session.send_buffer
    if packet.qos and send_buffer is not None:
        session.inbound.answer(packet, code, send_buffer.announce())
        if packet.qos == 2:
            session.count()
