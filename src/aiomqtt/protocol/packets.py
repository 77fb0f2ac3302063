"""The control packets, one class per shape (MQTT 5.0 §3)."""

from dataclasses import dataclass, field

from aiomqtt.message import Message
from aiomqtt.properties import Properties, ReasonCode, SubscribeOptions
from aiomqtt.topic import Topic

from .spec import PacketType, ProtocolVersion


@dataclass(slots=True)
class WillMessage:
    """The will, as CONNECT carries it (§3.1.3)."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties | None = None


@dataclass(slots=True)
class Connect:
    """CONNECT (§3.1)."""

    version: ProtocolVersion
    client_id: str = ""
    # 3.1 and 3.1.1 call it Clean Session.
    clean_start: bool = True
    keep_alive: int = 0  # seconds
    username: str | None = None
    password: bytes | None = field(default=None, repr=False)
    will: WillMessage | None = None
    properties: Properties | None = None
    kind: PacketType = field(default=PacketType.CONNECT, init=False, repr=False)


@dataclass(slots=True)
class Connack:
    """CONNACK (§3.2)."""

    session_present: bool
    reason_code: ReasonCode
    properties: Properties | None = None
    kind: PacketType = field(default=PacketType.CONNACK, init=False, repr=False)


class Publish(Message):
    """PUBLISH (§3.3), which is at once the message that a program receives.

    One object for each message received; `mid` is the packet identifier, 0 at
    QoS 0. With a topic alias, `topic` may be `NO_TOPIC` until the alias is resolved.
    """

    __slots__ = ("dup",)

    kind = PacketType.PUBLISH

    def __init__(
        self,
        topic: Topic,
        payload: bytes,
        qos: int,
        retain: bool,
        mid: int,
        properties: Properties | None,
        dup: bool,
    ) -> None:
        """Take fields that have been checked."""
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.retain = retain
        self.mid = mid
        self.properties = properties
        self.dup = dup


def _no_topic() -> Topic:
    topic = Topic.__new__(Topic)
    object.__setattr__(topic, "value", "")
    return topic


# The empty topic of a PUBLISH that relies on its topic alias (§3.3.2.1).
NO_TOPIC = _no_topic()


class Ack:
    """PUBACK, PUBREC, PUBREL or PUBCOMP (§3.4 to §3.7)."""

    # Not a dataclass: one of the two shapes that come for each message.
    __slots__ = ("kind", "packet_id", "properties", "reason_code")

    def __init__(
        self,
        kind: PacketType,
        packet_id: int,
        reason_code: int | ReasonCode = 0,
        properties: Properties | None = None,
    ) -> None:
        """Take fields that have been checked."""
        self.kind = kind
        self.packet_id = packet_id
        self.reason_code: int | ReasonCode = reason_code
        self.properties = properties

    def __eq__(self, other: object) -> bool:
        """Compare all fields."""
        return isinstance(other, Ack) and (
            (self.kind, self.packet_id, self.reason_code, self.properties)
            == (other.kind, other.packet_id, other.reason_code, other.properties)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Return the fields."""
        return (
            f"Ack(kind={self.kind!r}, packet_id={self.packet_id},"
            f" reason_code={self.reason_code!r}, properties={self.properties!r})"
        )


@dataclass(slots=True)
class Subscribe:
    """SUBSCRIBE (§3.8)."""

    packet_id: int
    subscriptions: list[tuple[str, SubscribeOptions]]
    properties: Properties | None = None
    kind: PacketType = field(default=PacketType.SUBSCRIBE, init=False, repr=False)


@dataclass(slots=True)
class Unsubscribe:
    """UNSUBSCRIBE (§3.10)."""

    packet_id: int
    filters: list[str]
    properties: Properties | None = None
    kind: PacketType = field(default=PacketType.UNSUBSCRIBE, init=False, repr=False)


@dataclass(slots=True)
class Suback:
    """SUBACK or UNSUBACK (§3.9, §3.11); the latter has no codes below 5.0."""

    kind: PacketType
    packet_id: int
    reason_codes: list[ReasonCode]
    properties: Properties | None = None


@dataclass(slots=True)
class Ping:
    """PINGREQ or PINGRESP (§3.12, §3.13)."""

    kind: PacketType


@dataclass(slots=True)
class Signal:
    """DISCONNECT or AUTH (§3.14, §3.15): a reason and properties."""

    kind: PacketType
    reason_code: int = 0
    properties: Properties | None = None


Packet = (
    Connect | Connack | Publish | Ack | Subscribe | Unsubscribe | Suback | Ping | Signal
)
