"""What a connected client asks for: to publish, to subscribe, to unsubscribe."""

from typing import Final

from aiomqtt.properties import ReasonCode, SubscribeOptions
from aiomqtt.protocol.packets import (
    Publish,
    Suback,
    Subscribe,
    Unsubscribe,
    WillMessage,
)
from aiomqtt.protocol.spec import PacketType
from aiomqtt.protocol.wire import PacketError

from .core import Core
from .handshake import code_within
from .hooks import Refusal
from .message import ApplicationMessage, for_others
from .retained import is_own
from .session import Session, Subscription

NO_MATCHING_SUBSCRIBERS: Final = 0x10
NO_SUBSCRIPTION_EXISTED: Final = 0x11
UNSPECIFIED_ERROR: Final = 0x80
NOT_AUTHORIZED: Final = 0x87
TOPIC_FILTER_INVALID: Final = 0x8F
TOPIC_NAME_INVALID: Final = 0x90
QUOTA_EXCEEDED: Final = 0x97
RETAIN_NOT_SUPPORTED: Final = 0x9A
QOS_NOT_SUPPORTED: Final = 0x9B
SHARED_NOT_SUPPORTED: Final = 0x9E
IDENTIFIERS_NOT_SUPPORTED: Final = 0xA1
WILDCARDS_NOT_SUPPORTED: Final = 0xA2
# What a topic filter costs, counted in messages that are sent.
FILTER_WORK: Final = 10


def refusal_of_publish(core: Core, packet: Publish) -> int:
    """Return with which reason code a PUBLISH is refused, or 0.

    Raises:
        PacketError: It asks for what the CONNACK said there is not.
    """
    limits = core.limits
    if packet.qos > limits.maximum_qos:
        raise PacketError(QOS_NOT_SUPPORTED, f"QoS {packet.qos} is not supported")
    if packet.retain and not limits.retain_available:
        raise PacketError(RETAIN_NOT_SUPPORTED, "messages can't be retained")
    topic = packet.topic.value
    if is_own(topic):
        return NOT_AUTHORIZED
    return TOPIC_NAME_INVALID if core.is_too_deep(topic) else 0


def refusal_of_will(core: Core, will: WillMessage) -> Refusal | None:
    """Return why a will can't be published, or None."""
    if core.is_too_deep(will.topic):
        return Refusal(TOPIC_NAME_INVALID, "the will's topic has too many levels")
    if is_own(will.topic):
        return Refusal(NOT_AUTHORIZED, "the broker's own topics")
    return None


def publish(core: Core, session: Session, packet: Publish, code: int) -> None:
    """Publish what a client sent, unless a code says why not, and acknowledge it.

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
            for_others(packet.properties),
            core.shared.now,
        )
        # Only QoS 1 and 2 of 5.0 can be told that it is refused.
        can_refuse = packet.qos > 0 and session.is_v5
        has_room = core.memory.has_room(message.size)
        if packet.qos == 2 and not has_room and not can_refuse:
            # Its identifier would have to be kept.
            raise PacketError(QUOTA_EXCEEDED, "there is no memory for a message")
        if can_refuse and (
            not has_room or (packet.retain and not core.retained.has_room_for(message))
        ):
            code = QUOTA_EXCEEDED
        elif not core.publish(message, session):
            code = NO_MATCHING_SUBSCRIBERS
    outlet = session.outlet
    if packet.qos and outlet is not None:
        outlet.wake()
        inbound.answer(packet, code, outlet.data)
        if packet.qos == 2:
            session.count()


def subscribe(
    core: Core, session: Session, packet: Subscribe, codes: list[int]
) -> tuple[Suback, list[Subscription]]:
    """Subscribe a session.

    Args:
        core: The broker.
        session: The session.
        packet: The SUBSCRIBE.
        codes: For each filter why it is refused; 0: nobody has anything against it.

    Returns:
        The answer, and the subscriptions that get the retained messages after it.
    """
    identifier = 0
    if packet.properties is not None:
        identifier = next(iter(packet.properties.subscription_identifier), 0)
    core.shared.work += FILTER_WORK * len(codes)
    answers: list[ReasonCode] = []
    wanted: list[Subscription] = []
    for (name, options), refused in zip(packet.subscriptions, codes, strict=True):
        if refused:
            code = code_within(PacketType.SUBACK, refused)
        else:
            code = _refusal_of(core, session, name, identifier)
        if not code:
            code = min(options.qos, core.limits.maximum_qos)
            subscription = Subscription(
                session,
                name,
                code,
                options.no_local,
                options.retain_as_published,
                identifier,
            )
            is_new = core.subscriptions.add(subscription)
            if _wants_retained(name, options, is_new):
                wanted.append(subscription)
        elif not session.is_v5:
            code = UNSPECIFIED_ERROR
        answers.append(ReasonCode(code))
    return Suback(PacketType.SUBACK, packet.packet_id, answers), wanted


def _refusal_of(
    core: Core, session: Session, topic_filter: str, identifier: int
) -> int:
    """Return with which reason code a subscription is refused, or 0."""
    limits = core.limits
    if core.is_too_deep(topic_filter):
        return TOPIC_FILTER_INVALID
    if not limits.wildcard_subscriptions and (
        "+" in topic_filter or "#" in topic_filter
    ):
        return WILDCARDS_NOT_SUPPORTED
    if not limits.shared_subscriptions and topic_filter.startswith("$share/"):
        return SHARED_NOT_SUPPORTED
    if identifier and not limits.subscription_identifiers:
        return IDENTIFIERS_NOT_SUPPORTED
    if (
        len(session.subscriptions) >= limits.maximum_subscriptions
        and topic_filter not in session.subscriptions
    ):
        return QUOTA_EXCEEDED
    if not core.subscriptions.has_room_for(topic_filter):
        return QUOTA_EXCEEDED
    return 0


def _wants_retained(name: str, options: SubscribeOptions, is_new: bool) -> bool:
    """Whether a subscription gets the retained messages now (§3.8.3.1, §4.8.2)."""
    if name.startswith("$share/"):
        return False
    return options.retain_handling == 0 or (options.retain_handling == 1 and is_new)


def unsubscribe(core: Core, session: Session, packet: Unsubscribe) -> Suback:
    """Unsubscribe a session; return the answer."""
    core.shared.work += FILTER_WORK * len(packet.filters)
    for name in packet.filters:
        session.send_no_retained(name)
    codes = [
        ReasonCode(0)
        if core.subscriptions.remove(session, name)
        else ReasonCode(NO_SUBSCRIPTION_EXISTED)
        for name in packet.filters
    ]
    return Suback(PacketType.UNSUBACK, packet.packet_id, codes)
