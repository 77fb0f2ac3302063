"""The control packets, one class per shape (MQTT 5.0 §3).

They are plain classes: dataclasses would noticeably slow down the import of the
package, and be slower when compiled.
"""

from typing import ClassVar

from aiomqtt.message import EncodedProperties, Message, PendingAck
from aiomqtt.properties import SUCCESS, Properties, ReasonCode, SubscribeOptions
from aiomqtt.standard.tables import PacketType, ProtocolVersion
from aiomqtt.topic import Topic


class Shape:
    """The base of all packets: compares and shows the fields."""

    __slots__ = ()

    FIELDS: ClassVar[tuple[str, ...]] = ()
    # The fields that must not be shown.
    SECRETS: ClassVar[tuple[str, ...]] = ()

    def __eq__(self, other: object) -> bool:
        """Compare all fields."""
        if type(self) is not type(other):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.FIELDS)

    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Return the fields that may be shown."""
        shown = (
            f"{name}={getattr(self, name)!r}"
            for name in self.FIELDS
            if name not in self.SECRETS
        )
        return f"{type(self).__name__}({', '.join(shown)})"


class WillMessage(Shape):
    """The will, as CONNECT carries it (§3.1.3)."""

    __slots__ = ("payload", "properties", "qos", "retain", "topic")

    FIELDS: ClassVar[tuple[str, ...]] = (
        "topic",
        "payload",
        "qos",
        "retain",
        "properties",
    )

    def __init__(
        self,
        topic: str,
        payload: bytes,
        qos: int = 0,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> None:
        self.topic: str = topic
        self.payload: bytes = payload
        self.qos: int = qos
        self.retain: bool = retain
        self.properties: Properties | None = properties


class Connect(Shape):
    """CONNECT (§3.1)."""

    __slots__ = (
        "clean_start",
        "client_id",
        "keep_alive",
        "password",
        "properties",
        "username",
        "version",
        "will",
    )

    FIELDS: ClassVar[tuple[str, ...]] = (
        "version",
        "client_id",
        "clean_start",
        "keep_alive",
        "username",
        "password",
        "will",
        "properties",
    )
    SECRETS: ClassVar[tuple[str, ...]] = ("password",)
    kind: ClassVar[PacketType] = PacketType.CONNECT

    def __init__(
        self,
        version: ProtocolVersion,
        client_id: str = "",
        clean_start: bool = True,
        keep_alive: int = 0,
        username: str | None = None,
        password: bytes | None = None,
        will: WillMessage | None = None,
        properties: Properties | None = None,
    ) -> None:
        self.version: ProtocolVersion = version
        self.client_id: str = client_id
        # 3.1 and 3.1.1 call it Clean Session.
        self.clean_start: bool = clean_start
        self.keep_alive: int = keep_alive  # seconds
        self.username: str | None = username
        self.password: bytes | None = password
        self.will: WillMessage | None = will
        self.properties: Properties | None = properties


class Connack(Shape):
    """CONNACK (§3.2)."""

    __slots__ = ("properties", "reason_code", "session_present")

    FIELDS: ClassVar[tuple[str, ...]] = ("session_present", "reason_code", "properties")
    kind: ClassVar[PacketType] = PacketType.CONNACK

    def __init__(
        self,
        session_present: bool,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        self.session_present: bool = session_present
        self.reason_code: ReasonCode = reason_code
        self.properties: Properties | None = properties


class Publish(Message):
    """PUBLISH (§3.3). It is also the message that a program receives.

    So there is only one object per received message. With a topic alias, `topic` may be
    `NO_TOPIC` until the alias is resolved.
    """

    __slots__ = ()

    kind: ClassVar[PacketType] = PacketType.PUBLISH

    def __init__(
        self,
        topic: Topic,
        payload: bytes,
        qos: int,
        retain: bool,
        mid: int,
        properties: Properties | None,
        dup: bool,
        encoded: EncodedProperties | None = None,
        ticket: PendingAck | None = None,
    ) -> None:
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.retain = retain
        self.packet_id = mid
        self.carried = properties
        self.encoded = encoded
        self.ticket = ticket
        self.dup = dup

    def _copied_as(self) -> type[Message]:
        return Message


def _no_topic() -> Topic:
    topic = Topic.__new__(Topic)
    object.__setattr__(topic, "value", "")
    return topic


# The empty topic of a PUBLISH that relies on its topic alias (§3.3.2.1).
NO_TOPIC = _no_topic()


class Ack(Shape):
    """PUBACK, PUBREC, PUBREL or PUBCOMP (§3.4 to §3.7)."""

    __slots__ = ("kind", "packet_id", "properties", "reason_code")

    FIELDS: ClassVar[tuple[str, ...]] = (
        "kind",
        "packet_id",
        "reason_code",
        "properties",
    )

    def __init__(
        self,
        kind: PacketType,
        packet_id: int,
        reason_code: ReasonCode = SUCCESS,
        properties: Properties | None = None,
    ) -> None:
        self.kind: PacketType = kind
        self.packet_id: int = packet_id
        self.reason_code: ReasonCode = reason_code
        self.properties: Properties | None = properties


class Subscribe(Shape):
    """SUBSCRIBE (§3.8)."""

    __slots__ = ("packet_id", "properties", "subscriptions")

    FIELDS: ClassVar[tuple[str, ...]] = ("packet_id", "subscriptions", "properties")
    kind: ClassVar[PacketType] = PacketType.SUBSCRIBE

    def __init__(
        self,
        packet_id: int,
        subscriptions: list[tuple[str, SubscribeOptions]],
        properties: Properties | None = None,
    ) -> None:
        self.packet_id: int = packet_id
        self.subscriptions: list[tuple[str, SubscribeOptions]] = subscriptions
        self.properties: Properties | None = properties


class Unsubscribe(Shape):
    """UNSUBSCRIBE (§3.10)."""

    __slots__ = ("filters", "packet_id", "properties")

    FIELDS: ClassVar[tuple[str, ...]] = ("packet_id", "filters", "properties")
    kind: ClassVar[PacketType] = PacketType.UNSUBSCRIBE

    def __init__(
        self,
        packet_id: int,
        filters: list[str],
        properties: Properties | None = None,
    ) -> None:
        self.packet_id: int = packet_id
        self.filters: list[str] = filters
        self.properties: Properties | None = properties


class Suback(Shape):
    """SUBACK or UNSUBACK (§3.9, §3.11); the latter has no codes below 5.0."""

    __slots__ = ("kind", "packet_id", "properties", "reason_codes")

    FIELDS: ClassVar[tuple[str, ...]] = (
        "kind",
        "packet_id",
        "reason_codes",
        "properties",
    )

    def __init__(
        self,
        kind: PacketType,
        packet_id: int,
        reason_codes: list[ReasonCode],
        properties: Properties | None = None,
    ) -> None:
        self.kind: PacketType = kind
        self.packet_id: int = packet_id
        self.reason_codes: list[ReasonCode] = reason_codes
        self.properties: Properties | None = properties


class Ping(Shape):
    """PINGREQ or PINGRESP (§3.12, §3.13)."""

    __slots__ = ("kind",)

    FIELDS: ClassVar[tuple[str, ...]] = ("kind",)

    def __init__(
        self,
        kind: PacketType,
    ) -> None:
        self.kind: PacketType = kind


class Signal(Shape):
    """DISCONNECT or AUTH (§3.14, §3.15): a reason and properties."""

    __slots__ = ("kind", "properties", "reason_code")

    FIELDS: ClassVar[tuple[str, ...]] = ("kind", "reason_code", "properties")

    def __init__(
        self,
        kind: PacketType,
        reason_code: int = 0,
        properties: Properties | None = None,
    ) -> None:
        self.kind: PacketType = kind
        self.reason_code: int = reason_code
        self.properties: Properties | None = properties


Packet = (
    Connect | Connack | Publish | Ack | Subscribe | Unsubscribe | Suback | Ping | Signal
)
