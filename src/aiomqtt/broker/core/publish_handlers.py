"""What a connected client publishes, and its will: whether it may, and what follows."""

from aiomqtt.broker.hooks import Refusal
from aiomqtt.protocol.packets import Publish, WillMessage
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
from .memory_account import PACKET_SIZE, size_of_properties
from .message import ApplicationMessage, for_others
from .retained import is_own
from .session import Session
from .state import BrokerState
from .subscriptions import Matches, SubscriberSearch


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


class PublishRequest:
    """A PUBLISH that waits until it is found who gets it.

    Attributes:
        size: About how many bytes it takes.
    """

    __slots__ = ("_packet", "_search", "_session", "size")

    def __init__(
        self, session: Session, packet: Publish, search: SubscriberSearch
    ) -> None:
        """Take the packet, which nobody has anything against."""
        self.size: int = PACKET_SIZE + len(packet.payload)
        self.size += size_of_properties(packet.carried)
        self._session = session
        self._packet = packet
        self._search = search

    def go_on(self, state: BrokerState) -> bool:
        """Search as much as is due; return whether it is published."""
        matches = self._search.go_on(state.turn)
        if matches is None:
            return False
        publish(state, self._session, self._packet, 0, matches)
        return True


def publish(
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
