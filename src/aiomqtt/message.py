"""A received message."""

from typing import Any, Final

from .build import mypyc_attr
from .payload import PayloadType
from .properties import Properties
from .topic import Topic, TopicLike

# Those of all packets of MQTT 5.0 that have none: never to be changed, nor to reach a
# program.
NO_PROPERTIES: Final = Properties()


@mypyc_attr(allow_interpreted_subclasses=True)
class Message:
    """A message, as the broker sent it.

    A program may make its own, derive a class, set further attributes and keep weak
    references.

    Args:
        topic: The topic that it was published to.
        payload: The payload.
        qos: The QoS it was delivered with: 0, 1 or 2.
        retain: Whether it is a retained message.
        mid: The packet identifier; 0 at QoS 0; ``None``: there is none.
        properties: Its properties; ``None`` below MQTT 5.0.

    Attributes:
        topic (aiomqtt.Topic): The topic that it was published to.
        payload (bytes): The payload.
        qos (int): The QoS it was delivered with.
        retain (bool): Whether it is a retained message.
    """

    # The compiler makes no room for the first two: setup.py does.
    __slots__ = (
        "__dict__",
        "__weakref__",
        "carried",
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
        """Take the fields; a str becomes a Topic."""
        self.topic: Topic = topic if isinstance(topic, Topic) else Topic(topic)
        # What the broker sent is bytes; a program that makes its own may pass others.
        self.payload: bytes | Any = payload
        self.qos: int = qos
        self.retain: bool = bool(retain)
        self.packet_id: int = -1 if mid is None else mid
        # NO_PROPERTIES, which all messages without any share, until a program looks.
        self.carried: Properties | None = properties

    @property
    def properties(self) -> Properties | None:
        """Its properties; ``None`` below MQTT 5.0."""
        if self.carried is NO_PROPERTIES:
            self.carried = Properties()
        return self.carried

    @properties.setter
    def properties(self, value: Properties | None) -> None:
        self.carried = value

    @property
    def mid(self) -> int | Any:
        """The packet identifier (an int); 0 at QoS 0."""
        # One that a program makes may have None.
        return None if self.packet_id < 0 else self.packet_id

    @mid.setter
    def mid(self, value: int | None) -> None:
        self.packet_id = -1 if value is None else value

    def __hash__(self) -> int:
        """Return a hash of the object: two messages are never equal."""
        return id(self) >> 4

    def __lt__(self, other: "Message") -> bool:
        """Order by message id, as priority queues do in the case of a tie."""
        return self.packet_id < other.packet_id

    def __reduce__(self) -> tuple[object, ...]:
        """Copy and pickle by the fields: a compiled class has no other way."""
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
        """Return the fields; a long payload is cut."""
        shown = repr(self.payload)
        shown = shown if len(shown) <= 80 else f"{shown[:80]}..."
        return (
            f"Message(topic={self.topic.value!r}, payload={shown}, qos={self.qos},"
            f" retain={self.retain}, mid={self.mid}, properties={self.properties!r})"
        )


def _copied(kind: type[Message], fields: tuple[Any, ...]) -> Message:
    # A derived class may be made of other arguments.
    message: Message = kind.__new__(kind)
    Message.__init__(message, *fields)
    return message
