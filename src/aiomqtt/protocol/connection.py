"""The state that ends with a network connection: negotiated limits, topic aliases."""

from math import ceil
from typing import Any, Final

from aiomqtt.message import NO_PROPERTIES
from aiomqtt.properties import Properties
from aiomqtt.standard.names import (
    DEFAULT_RECEIVE_MAXIMUM,
    PACKET_TOO_LARGE,
    PROTOCOL_ERROR,
    QOS_NOT_SUPPORTED,
    RETAIN_NOT_SUPPORTED,
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED,
    SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED,
    TOPIC_ALIAS_INVALID,
    V5,
    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED,
)
from aiomqtt.standard.tables import ProtocolVersion, Role
from aiomqtt.topic import Topic

from .codec.fast import encode_publish
from .delivery import Delivery
from .keep_alive import KeepAlive
from .packets import Connack, Connect, Publish
from .wire import PacketError

CLIENT: Final = Role.CLIENT
# Below 5.0 there is no Receive Maximum; this number works with every broker we know.
IN_FLIGHT_V3: Final = 20


class Limits:
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

    def refusal_to_subscribe(self, filters: list[str], is_identified: bool) -> int:
        """Return the reason code that forbids a SUBSCRIBE, or 0.

        Args:
            filters: The topic filters.
            is_identified: Whether it has a Subscription Identifier.
        """
        if not self.wildcards and any("+" in f or "#" in f for f in filters):
            return WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED
        if not self.shared and any(f.startswith("$share/") for f in filters):
            return SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
        if not self.identifiers and is_identified:
            return SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED
        return 0


class InboundAliases:
    """The topic aliases that the peer has set (§3.3.2.3.4)."""

    def __init__(self, maximum: int) -> None:
        """Accept aliases up to the Topic Alias Maximum that was sent to the peer."""
        self._maximum = maximum
        self._topics: dict[int, Topic] = {}
        # The total number of characters in the topics.
        self.size: int = 0

    def resolve(self, packet: Publish) -> None:
        """Set an alias, or give a PUBLISH the topic that its alias stands for.

        Raises:
            PacketError: The alias exceeds the maximum (0x94) or was never set.
        """
        properties = packet.carried
        if properties is None or properties is NO_PROPERTIES:
            return
        alias = properties.topic_alias
        if alias is None:
            return
        if alias > self._maximum:
            raise PacketError(
                TOPIC_ALIAS_INVALID, f"topic alias {alias} exceeds {self._maximum}"
            )
        if packet.topic.value:
            last = self._topics.get(alias)
            if last is not None:
                self.size -= len(last.value)
            self.size += len(packet.topic.value)
            self._topics[alias] = packet.topic
        elif alias in self._topics:
            packet.topic = self._topics[alias]
        else:
            raise PacketError(PROTOCOL_ERROR, f"topic alias {alias} was never set")


class OutboundAliases:
    """The topic aliases that the program uses when it publishes."""

    def __init__(self, maximum: int) -> None:
        """Allow aliases up to the peer's Topic Alias Maximum."""
        self._maximum = maximum
        # The topics that the program has set, and those already sent to the peer.
        self._set: dict[int, str] = {}
        self._told: dict[int, str] = {}

    def resolve(self, topic: str, alias: int) -> str:
        """Return the full topic of a publish that has an alias.

        Raises:
            ValueError: The alias exceeds the peer's maximum, or it has no topic.
        """
        if alias > self._maximum:
            msg = (
                f"topic_alias must not exceed the broker's Topic Alias Maximum,"
                f" {self._maximum}, not {alias} ([MQTT-3.2.2-17])"
            )
            raise ValueError(msg)
        if not topic:
            if alias not in self._set:
                msg = f"topic_alias {alias} has no topic yet: publish with both first"
                raise ValueError(msg)
            return self._set[alias]
        return topic

    def set(self, alias: int, topic: str) -> None:
        """Record the topic of an alias: a publish with both was accepted."""
        self._set[alias] = topic

    def apply(self, topic: str, alias: int) -> str:
        """Return the topic to write: empty if the peer already knows the alias."""
        if self._told.get(alias) == topic:
            return ""
        self._told[alias] = topic
        return topic


class Connection:
    """One network connection, from CONNECT on.

    Attributes:
        connect: The CONNECT that was sent.
        limits: The broker's limits.
        keep_alive: The ping clock; it starts with the CONNACK.
        inbound_aliases: The broker's topic aliases.
        outbound_aliases: The program's topic aliases.
    """

    def __init__(self, connect: Connect) -> None:
        """Begin with the values of the CONNECT; `accept` adds those of the CONNACK."""
        self.connect = connect
        self.version: ProtocolVersion = connect.version
        self.announced: Properties = connect.properties or NO_PROPERTIES
        self.limits: Limits = Limits()
        self.keep_alive: KeepAlive = KeepAlive(0, 0.0)
        maximum = self.announced.topic_alias_maximum or 0
        self.inbound_aliases: InboundAliases = InboundAliases(maximum)
        self.outbound_aliases: OutboundAliases = OutboundAliases(0)

    def accept(self, connack: Connack, now: float) -> None:
        """Read the values of the CONNACK that accepted the connection."""
        self.limits = Limits(connack)
        self.outbound_aliases = OutboundAliases(self.limits.topic_alias_maximum)
        properties = connack.properties or NO_PROPERTIES
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
                # Rounding up must not make it larger than it was.
                left = max(0, ceil(delivery.expires - now))
                interval = values["message_expiry_interval"]
                values["message_expiry_interval"] = min(left, interval)
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
            delivery.size = len(head) + len(tail) + (2 if delivery.qos else 0)

    def refusal(self, delivery: Delivery, now: float) -> int:
        """Return the reason code that forbids a delivery of an earlier connection."""
        limits = self.limits
        if limits.allow_any_publish:
            return 0
        head, tail = self.encode(delivery, now)
        delivery.head, delivery.tail = head, tail
        return limits.refusal(head[0], len(head) + 2 + len(tail))

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
