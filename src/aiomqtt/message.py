"""A received message."""

from typing import Any, Final

from .argument_checks import check_type
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


class PendingAck:
    """The acknowledgement of a received message, which the program decides on."""

    __slots__ = ()

    @property
    def is_decided(self) -> bool:
        """Whether the program has acknowledged or refused the message."""
        raise NotImplementedError

    @property
    def is_void(self) -> bool:
        """Whether it can't be decided any more: the connection has ended."""
        raise NotImplementedError

    def check(self, reason_code: int) -> None:
        """Check that `decide` can be called, whose errors it raises."""
        raise NotImplementedError

    def decide(self, reason_code: int) -> None:
        """Acknowledge the message, or refuse it."""
        raise NotImplementedError

    def finish(self) -> None:
        """Acknowledge the message, if that is still undecided and possible."""
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
        "dup",
        "encoded",
        "packet_id",
        "payload",
        "qos",
        "retain",
        "ticket",
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
        # None: there is nothing to decide.
        self.ticket: PendingAck | None = None
        # The DUP flag.
        self.dup: bool = False

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

    @property
    def duplicate(self) -> bool:
        """Whether the broker may have sent it before (DUP, MQTT 5.0 §3.3.1.1).

        ``False``: it has not. ``True``, which the broker says only at QoS 1 and 2: it
        has sent it on an earlier connection, and does not know whether that arrived.
        """
        return self.dup

    def ack(self, reason_code: int = 0) -> None:
        """Acknowledge the message (MQTT 5.0 §4.3.2, §4.3.3): the program is done.

        It is for messages with QoS 1 or 2 of a client or a stream with ``ack="manual"``
        or ``ack="processed"``. They may be acknowledged in any order; the broker gets
        the acknowledgements in the order of the messages (§4.6), when the event loop
        goes on. It does not wait. Call it in the event loop of the client.

        Args:
            reason_code: 0: the program has it. From 0x80 on, such as 0x83
                (Implementation specific error): it refuses the message, and the broker
                does not send it again (5.0 only, §3.4.2.1).

        Raises:
            MqttError: It is acknowledged already, or the connection on which it came
                has ended: then the broker sends it again if the session lasts. This
                is harmless.
            ValueError: There is nothing to acknowledge, or no such reason code.
            TypeError: The reason code is no int.
        """
        check_type("reason_code", reason_code, int)
        if self.ticket is None:
            if self.qos:
                msg = (
                    "the message needs no acknowledgement by the program: the client"
                    ' did that, unless it is created with ack="manual"'
                )
            else:
                msg = "a message with QoS 0 has no acknowledgement (MQTT 5.0 §4.3.1)"
            raise ValueError(msg)
        self.ticket.decide(reason_code)

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
        return _copied, (self._copied_as(), fields, self.dup), self.__dict__ or None

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


def _copied(kind: type[Message], fields: tuple[Any, ...], dup: bool) -> Message:
    # The __init__ of a derived class may take other arguments.
    message: Message = kind.__new__(kind)
    Message.__init__(message, *fields)
    message.dup = dup
    return message
