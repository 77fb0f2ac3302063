"""A received message."""

from typing import Any

from .payload import PayloadType
from .properties import Properties
from .topic import Topic, TopicLike


class Message:
    """A message, as the broker sent it.

    Args:
        topic: The topic that it was published to.
        payload: The payload.
        qos: The QoS it was delivered with: 0, 1 or 2.
        retain: Whether it is a retained message.
        mid: The packet identifier; 0 at QoS 0.
        properties: Its properties; ``None`` below MQTT 5.0.

    Attributes:
        topic (aiomqtt.Topic): The topic that it was published to.
        payload (bytes): The payload.
        qos (int): The QoS it was delivered with.
        retain (bool): Whether it is a retained message.
        mid (int): The packet identifier.
        properties (aiomqtt.Properties | None): Its properties.
    """

    __slots__ = ("mid", "payload", "properties", "qos", "retain", "topic")

    def __init__(
        self,
        topic: TopicLike,
        payload: PayloadType,
        qos: int,
        retain: bool,
        mid: int,
        properties: Properties | None,
    ) -> None:
        """Take the fields; a str becomes a Topic."""
        self.topic: Topic = topic if isinstance(topic, Topic) else Topic(topic)
        # What the broker sent is bytes; a program that makes its own may pass others.
        self.payload: bytes | Any = payload
        self.qos: int = qos
        self.retain: bool = retain
        self.mid: int = mid
        self.properties: Properties | None = properties

    def __hash__(self) -> int:
        """Return a hash of the object: two messages are never equal."""
        return id(self) >> 4

    def __lt__(self, other: "Message") -> bool:
        """Order by message id, as priority queues do in the case of a tie."""
        return self.mid < other.mid

    def __reduce__(self) -> tuple[object, ...]:
        """Copy and pickle by the fields: a compiled class has no other way."""
        return Message, (
            self.topic,
            self.payload,
            self.qos,
            self.retain,
            self.mid,
            self.properties,
        )

    def __repr__(self) -> str:
        """Return the fields; a long payload is cut."""
        shown = repr(self.payload)
        shown = shown if len(shown) <= 80 else f"{shown[:80]}..."
        return (
            f"Message(topic={self.topic.value!r}, payload={shown}, qos={self.qos},"
            f" retain={self.retain}, mid={self.mid}, properties={self.properties!r})"
        )
