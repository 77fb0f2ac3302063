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
    """Return with which reason code a PUBLISH is refused, or 0.

    Raises:
        PacketError: It asks for what the CONNACK said there is not.
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
    """Return why a will can't be published, or None."""
    if state.is_too_deep(will.topic):
        return Refusal(TOPIC_NAME_INVALID, "the will's topic has too many levels")
    if is_own(will.topic):
        return Refusal(NOT_AUTHORIZED, "the broker's own topics")
    return None


def handle_publish(connection: "ClientConnection", packet: Publish) -> None:
    """Handle a PUBLISH of the client.

    Raises:
        PacketError: The client breaks a rule.
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
    matches: Matches | None = None
    if not code:
        topic = packet.topic.value
        matches = state.subscriptions.known(topic)
        if matches is None:
            search = state.subscriptions.search(topic)
            matches = search.go_on(state.turn)
            if matches is None:
                connection.work_on(PublishInProgress(session, packet, search))
                return
    publish_and_answer(state, session, packet, code, matches)


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


class PublishInProgress(PacketInProgress):
    """A PUBLISH whose subscribers are being searched."""

    __slots__ = ("_packet", "_search", "_session")

    def __init__(
        self, session: Session, packet: Publish, search: SubscriberSearch
    ) -> None:
        super().__init__()
        self.size = PACKET_SIZE + len(packet.payload)
        self.size += size_of_properties(packet.carried)
        self._session = session
        self._packet = packet
        self._search = search

    def go_on(self, connection: "ClientConnection") -> bool:
        """Search as much as is due; return whether it is published."""
        state = connection.state
        matches = self._search.go_on(state.turn)
        if matches is None:
            return False
        publish_and_answer(state, self._session, self._packet, 0, matches)
        return True


def publish_and_answer(
    state: BrokerState,
    session: Session,
    packet: Publish,
    code: int,
    matches: Matches | None,
) -> None:
    """Publish what a client sent, unless a code says why not, and acknowledge it.

    Args:
        core: The broker.
        session: The client's session.
        packet: What it sent.
        code: Why it is refused; 0: it is not.
        matches: Who gets it; None: that is to be found, if it is published.

    Raises:
        PacketError: The client exceeds the Receive Maximum.
    """
    inbound = session.inbound
    if packet.qos and not inbound.admit(packet):
        # It came before, and was not refused.
        code = 0
    elif code:
        code = code_within(PacketType.PUBACK, code)
    else:
        message = ApplicationMessage(
            packet.topic.value,
            packet.payload,
            packet.qos,
            packet.retain,
            for_others(packet.carried),
            state.turn.now,
        )
        # Only QoS 1 and 2 of 5.0 can be told that it is refused.
        can_refuse = packet.qos > 0 and session.is_v5
        has_room = state.memory.has_room(message.size)
        if packet.qos == 2 and not has_room and not can_refuse:
            # Its identifier would have to be kept.
            raise PacketError(QUOTA_EXCEEDED, "there is no memory for a message")
        if can_refuse and (
            not has_room or (packet.retain and not state.retained.has_room_for(message))
        ):
            code = QUOTA_EXCEEDED
        elif not state.publish(message, session, matches):
            code = NO_MATCHING_SUBSCRIBERS
    send_buffer = session.send_buffer
    if packet.qos and send_buffer is not None:
        inbound.answer(packet, code, send_buffer.announce())
        if packet.qos == 2:
            session.count()
