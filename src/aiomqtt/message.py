"""A received message."""

from typing import Any, Final

from .build import mypyc_attr
from .payload import PayloadType
from .properties import Properties
from .topic import Topic, TopicLike

# Shared by all packets of MQTT 5.0 without properties. It must never be changed, nor
# reach a program.
NO_PROPERTIES: Final = Properties()


@mypyc_attr(acyclic=True)
class EncodedProperties:
    """Properties that were checked, and are decoded when a program reads them."""

    __slots__ = ()

    def decode(self) -> Properties | None:
        """Decode them."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class Message:
    """A message, as the broker sent it.

    A program may create its own messages, derive a class, set further attributes and
    keep weak references.

    Args:
        topic: The topic to which it was published.
        payload: The payload.
        qos: The QoS at which it was delivered: 0, 1 or 2.
        retain: Whether it is a retained message.
        mid: The packet identifier; 0 at QoS 0; ``None``: there is none.
        properties: Its properties; ``None`` below MQTT 5.0.

    Attributes:
        topic (aiomqtt.Topic): The topic to which it was published.
        payload (bytes): The payload.
        qos (int): The QoS at which it was delivered.
        retain (bool): Whether it is a retained message.
    """

    # mypyc ignores the first two; setup.py adds them to the compiled class.
    __slots__ = (
        "__dict__",
        "__weakref__",
        "carried",
        "encoded",
        "packet_id",
        "payload",
        "qos",
        "retain",
        "topic",
    )

    def __init__(
        self,
        topic: TopicLike,
        payload: PayloadType,
        qos: int,
        retain: bool | int,
        mid: int | None,
        properties: Properties | None,
    ) -> None:
        self.topic: Topic = topic if isinstance(topic, Topic) else Topic(topic)
        # From the broker it is bytes; a program that creates a message may pass other
        # types.
        self.payload: bytes | Any = payload
        self.qos: int = qos
        self.retain: bool = bool(retain)
        self.packet_id: int = -1 if mid is None else mid
        # NO_PROPERTIES, shared by all messages without properties, until a program
        # reads them.
        self.carried: Properties | None = properties
        # With NO_PROPERTIES: those that the program has not read.
        self.encoded: EncodedProperties | None = None

    @property
    def properties(self) -> Properties | None:
        """Its properties; ``None`` below MQTT 5.0."""
        if self.carried is NO_PROPERTIES:
            encoded = self.encoded
            self.carried = Properties() if encoded is None else encoded.decode()
            self.encoded = None
        return self.carried

    @properties.setter
    def properties(self, value: Properties | None) -> None:
        self.carried = value
        self.encoded = None

    @property
    def mid(self) -> int | Any:
        """The packet identifier (an int); 0 at QoS 0."""
        # None in a message that a program created without one.
        return None if self.packet_id < 0 else self.packet_id

    @mid.setter
    def mid(self, value: int | None) -> None:
        self.packet_id = -1 if value is None else value

    def __hash__(self) -> int:
        """Return a hash of the object: two messages are never equal."""
        return id(self) >> 4

    def __lt__(self, other: "Message") -> bool:
        """Order by message id; priority queues use it to break ties."""
        return self.packet_id < other.packet_id

    def __reduce__(self) -> tuple[object, ...]:
        """Copy and pickle by the fields; a compiled class needs this."""
        fields = (
            self.topic,
            self.payload,
            self.qos,
            self.retain,
            self.mid,
            self.properties,
        )
        return _copied, (self._copied_as(), fields), self.__dict__ or None

    def _copied_as(self) -> "type[Message]":
        return type(self)

    def __repr__(self) -> str:
        """Return the fields, with a long payload cut short."""
        shown = repr(self.payload)
        shown = shown if len(shown) <= 80 else f"{shown[:80]}..."
        return (
            f"Message(topic={self.topic.value!r}, payload={shown}, qos={self.qos},"
            f" retain={self.retain}, mid={self.mid}, properties={self.properties!r})"
        )


def _copied(kind: type[Message], fields: tuple[Any, ...]) -> Message:
    # The __init__ of a derived class may take other arguments.
    message: Message = kind.__new__(kind)
    Message.__init__(message, *fields)
    return message
