"""The limits and the topic aliases of one connection: they end with it."""

from typing import Any, Final

from aiomqtt.exceptions import MqttLimitError
from aiomqtt.message import NO_PROPERTIES
from aiomqtt.properties import Properties, ReasonCode
from aiomqtt.standard.names import (
    DEFAULT_RECEIVE_MAXIMUM,
    PACKET_TOO_LARGE,
    PROTOCOL_ERROR,
    QOS_NOT_SUPPORTED,
    RETAIN_NOT_SUPPORTED,
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED,
    SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED,
    V5,
    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED,
)
from aiomqtt.standard.tables import REASON_NAMES, PacketType, ProtocolVersion, Role
from aiomqtt.topic import is_shared

from .aliases import InboundAliases, OutboundAliases
from .codec.fast import encode_publish
from .delivery import Delivery, packet_size, remaining
from .keepalive import KeepAlive
from .packets import Connack, Connect
from .requests import Request
from .wire import PacketError

CLIENT: Final = Role.CLIENT
# Below 5.0 there is no Receive Maximum; this number works with every broker we know.
IN_FLIGHT_V3: Final = 20


class ServerLimits:
    """The limits that the broker's CONNACK sets (§3.2.2.3); none below 5.0."""

    def __init__(self, connack: Connack | None = None) -> None:
        """Read the properties of a CONNACK; an absent one has its default."""
        properties = (connack and connack.properties) or NO_PROPERTIES
        self.receive_maximum: int = (
            properties.receive_maximum or DEFAULT_RECEIVE_MAXIMUM
        )
        self.maximum_qos = 2 if properties.maximum_qos is None else 1
        if properties.maximum_qos == 0:
            self.maximum_qos = 0
        self.retain_available: bool = properties.retain_available != 0
        self.maximum_packet_size: int | None = properties.maximum_packet_size
        self.topic_alias_maximum: int = properties.topic_alias_maximum or 0
        self.wildcards: bool = properties.wildcard_subscription_available != 0
        self.identifiers: bool = properties.subscription_identifier_available != 0
        self.shared: bool = properties.shared_subscription_available != 0
        # Whether the limits allow every PUBLISH, so that no check is needed.
        self.allow_any_publish: bool = (
            self.maximum_qos == 2
            and self.retain_available
            and self.maximum_packet_size is None
        )

    def refusal(self, first: int, size: int) -> int:
        """Return the reason code that forbids a PUBLISH, or 0.

        Args:
            first: The first byte of the packet, with QoS and RETAIN.
            size: The size of the packet in bytes.
        """
        if first >> 1 & 3 > self.maximum_qos:
            return QOS_NOT_SUPPORTED
        if first & 1 and not self.retain_available:
            return RETAIN_NOT_SUPPORTED
        if self.maximum_packet_size is not None and size > self.maximum_packet_size:
            return PACKET_TOO_LARGE
        return 0

    def check(self, first: int, size: int) -> None:
        """Check a packet of the program, as `refusal` does.

        Raises:
            MqttLimitError: The broker does not accept it.
        """
        code = self.refusal(first, size)
        if code:
            raise _limit_error(code)

    def check_request(self, request: Request) -> None:
        """Check a request of the program, as `refusal_of_request` does.

        Raises:
            MqttLimitError: The broker does not accept it.
        """
        code = self.refusal_of_request(request)
        if code:
            raise _limit_error(code)

    def refusal_of_request(self, request: Request) -> int:
        """Return the reason code that forbids a SUBSCRIBE or UNSUBSCRIBE, or 0."""
        code = 0
        if request.answer is PacketType.SUBACK:
            # A restoration is without the identifier where that is not available.
            is_identified = request.identifier > 0 and not request.is_restoration
            code = self.refusal_to_subscribe(request.filters, is_identified)
        return code or self.refusal(0, len(request.packet))

    def refusal_to_subscribe(self, filters: list[str], is_identified: bool) -> int:
        """Return the reason code that forbids a SUBSCRIBE, or 0.

        Args:
            filters: The topic filters.
            is_identified: Whether it has a Subscription Identifier.
        """
        if not self.wildcards and any("+" in f or "#" in f for f in filters):
            return WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED
        if not self.shared and any(is_shared(f) for f in filters):
            return SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
        if not self.identifiers and is_identified:
            return SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED
        return 0


class Negotiated:
    """The state that ends with a network connection, from its CONNECT on.

    Attributes:
        connect: The CONNECT that was sent.
        receive_maximum: How many messages the client takes at once (§4.9).
        limits: The broker's limits.
        assigned_client_id: The client identifier that the broker assigned, or "".
        keep_alive: The ping clock; it starts with the CONNACK.
        inbound_aliases: The broker's topic aliases.
        outbound_aliases: The program's topic aliases.
    """

    def __init__(self, connect: Connect) -> None:
        """Begin with the values of the CONNECT; `accept` adds those of the CONNACK."""
        self.connect = connect
        self.version: ProtocolVersion = connect.version
        self.announced: Properties = connect.properties or NO_PROPERTIES
        self.receive_maximum: int = (
            self.announced.receive_maximum or DEFAULT_RECEIVE_MAXIMUM
        )
        self.limits: ServerLimits = ServerLimits()
        self.keep_alive: KeepAlive = KeepAlive(0, 0.0)
        self.assigned_client_id: str = ""
        maximum = self.announced.topic_alias_maximum or 0
        self.inbound_aliases: InboundAliases = InboundAliases(maximum)
        self.outbound_aliases: OutboundAliases = OutboundAliases(0)

    def accept(self, connack: Connack, now: float) -> None:
        """Read the values of the CONNACK that accepted the connection."""
        self.limits = ServerLimits(connack)
        self.outbound_aliases = OutboundAliases(self.limits.topic_alias_maximum)
        properties = connack.properties or NO_PROPERTIES
        self.assigned_client_id = properties.assigned_client_identifier or ""
        keep_alive = properties.server_keep_alive
        if keep_alive is None:
            keep_alive = self.connect.keep_alive
        self.keep_alive = KeepAlive(keep_alive, now)

    def send_quota(self, maximum: int | None) -> int:
        """Return how many messages may be in flight (§4.9).

        Args:
            maximum: The program's limit; None: the broker's.
        """
        if self.version >= V5:
            limit = self.limits.receive_maximum
        else:
            # Below 5.0 the program may know better than our default.
            limit = IN_FLIGHT_V3 if maximum is None else DEFAULT_RECEIVE_MAXIMUM
        return limit if maximum is None else min(maximum, limit)

    def encode(self, delivery: Delivery, now: float) -> tuple[bytes, bytes]:
        """Encode a delivery for its next writing, in two parts.

        A topic alias replaces a topic that was written before on this connection. The
        Message Expiry Interval is what remains of it.
        """
        topic = delivery.topic
        if delivery.alias:
            topic = self.outbound_aliases.apply(topic, delivery.alias)
        return self._encode_as(topic, delivery, now)

    def _encode_as(
        self, topic: str, delivery: Delivery, now: float
    ) -> tuple[bytes, bytes]:
        properties = delivery.properties
        if self.version < V5:
            properties = None
        elif delivery.alias or delivery.expires is not None:
            values: dict[str, Any] = {}
            if delivery.alias:
                values["topic_alias"] = delivery.alias
            if properties is not None:
                values.update(properties.present)
            if delivery.expires is not None:
                values["message_expiry_interval"] = remaining(
                    values["message_expiry_interval"], delivery.expires, now
                )
            properties = Properties._decoded(values)  # noqa: SLF001
        return encode_publish(
            topic,
            delivery.payload,
            delivery.qos,
            delivery.retain,
            properties,
            self.version,
            CLIENT,
        )

    def resolve_alias(self, delivery: Delivery, now: float) -> None:
        """Set the topic of a delivery from its alias; its size then includes the topic.

        Raises:
            ValueError: The alias exceeds the peer's maximum, or it has no topic.
        """
        topic = self.outbound_aliases.resolve(delivery.topic, delivery.alias)
        if not delivery.topic:
            delivery.topic = topic
            head, tail = self._encode_as(topic, delivery, now)
            delivery.size = packet_size(delivery.qos, head, tail)

    def keep_alias(self, delivery: Delivery) -> None:
        """Keep the topic of a delivery's alias: it was accepted."""
        self.outbound_aliases.set(delivery.alias, delivery.topic)
        # The encoding depends on the packets written before.
        delivery.head = delivery.tail = b""

    def refusal(self, delivery: Delivery, now: float) -> int:
        """Return the reason code that forbids a delivery of an earlier connection."""
        limits = self.limits
        if limits.allow_any_publish:
            return 0
        head, tail = self.encode(delivery, now)
        delivery.head, delivery.tail = head, tail
        return limits.refusal(head[0], packet_size(delivery.qos, head, tail))

    def check_connack(self, connack: Connack) -> None:
        """Check a CONNACK that accepts, and correct its Session Present flag.

        Raises:
            PacketError: Its authentication method is not that of the CONNECT.
        """
        self.check_authentication(connack.properties)
        if self.version < V5 and self.connect.clean_start:
            # The broker has discarded the session, whatever it says (decision 0008).
            connack.session_present = False

    def check_authentication(self, properties: Properties | None) -> None:
        """Check that the authentication method is that of the CONNECT (§4.12).

        Raises:
            PacketError: It differs, it is missing, or the CONNECT had none.
        """
        method = (properties or NO_PROPERTIES).authentication_method
        if method != self.announced.authentication_method:
            raise PacketError(
                PROTOCOL_ERROR, "the authentication method is not that of the CONNECT"
            )

    def check_problem_information(self, properties: Properties | None) -> None:
        """Refuse reason strings that were not requested (§3.1.2.11.7).

        Raises:
            PacketError: There is a Reason String or a User Property although
                Request Problem Information was 0.
        """
        if (
            properties is not None
            and self.announced.request_problem_information == 0
            and (properties.reason_string is not None or properties.user_property)
        ):
            raise PacketError(PROTOCOL_ERROR, "problem information was not requested")

    def persists(self, connack: Connack) -> bool:
        """Whether the session outlives this connection (§3.1.2.11.2)."""
        if self.version < V5:
            return not self.connect.clean_start
        properties = connack.properties or NO_PROPERTIES
        interval = properties.session_expiry_interval
        if interval is None:
            interval = self.announced.session_expiry_interval
        return bool(interval)


def _limit_error(code: int) -> MqttLimitError:
    return MqttLimitError(
        ReasonCode(code), f"Refused by the broker's limits: {REASON_NAMES[code]}"
    )


def check_expiry(properties: Properties | None, announced: Properties | None) -> None:
    """Refuse a session expiry in a DISCONNECT if the CONNECT had none (§3.14.2.2.2).

    Raises:
        ValueError: The DISCONNECT has one.
    """
    if properties is None or not properties.session_expiry_interval:
        return
    if announced is None or not announced.session_expiry_interval:
        msg = (
            "session_expiry_interval must be 0 in the DISCONNECT, as it was in the"
            " CONNECT ([MQTT-3.14.2-2])"
        )
        raise ValueError(msg)
