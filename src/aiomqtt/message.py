"""A received message."""

from typing import TYPE_CHECKING, Any, Final

from .argument_checks import check_type
from .build import mypyc_attr
from .payload import PayloadType
from .properties import Properties
from .topic import Topic, TopicLike

if TYPE_CHECKING:
    from .client.inbox_async import MessageTransaction

# How long a transaction may be open, in seconds, unless the program says otherwise.
_LIMIT: Final = 10.0
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

    def transaction(
        self, connection: object, timeout: float | None
    ) -> "MessageTransaction":
        """Return a transaction with the message: see `Message.transaction`."""
        msg = (
            "the message has no acknowledgement of its own that could wait for a"
            " transaction: several streams have it, or it was acknowledged before it"
            " came to this one"
        )
        raise ValueError(msg)


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
        self._needed_ticket().decide(reason_code)

    def _needed_ticket(self) -> PendingAck:
        if self.ticket is not None:
            return self.ticket
        if self.qos:
            msg = (
                "the message needs no acknowledgement by the program: the client"
                ' did that, unless it is created with ack="manual"'
            )
        else:
            msg = "a message with QoS 0 has no acknowledgement (MQTT 5.0 §4.3.1)"
        raise ValueError(msg)

    def transaction(
        self, connection: object, *, timeout: float | None = _LIMIT
    ) -> "MessageTransaction":
        """Return a transaction in a database of the program that processes the message.

        It is for ``async with message.transaction(connection) as tx:``, and for clients
        with ``ack="manual"`` or ``ack="processed"``. When the block ends, the
        transaction is committed, and then the message is acknowledged. At QoS 2 the
        program's rows and the fact that the message is processed are committed
        together: if the process is killed at any moment and the broker sends the
        message again, ``tx.repeated`` is true (MQTT 5.0 §4.3.3). So it is processed
        exactly once, as long as the broker keeps the session. This needs a client with
        ``session=`` and the table ``aiomqtt_processed`` in the database, which the
        statement `aiomqtt.PROCESSED_TABLE` creates. At QoS 1 the broker may send the
        message again, and it is processed again; `duplicate` says that it may have.

        An exception in the block, or a cancellation, rolls everything back, and the
        message stays unacknowledged.

        Args:
            connection: A connection that no other task uses meanwhile, and that is in
                no transaction: of a driver with DB-API 2.0 (PEP 249), such as sqlite3
                or psycopg, whose statements are executed in a thread, one of asyncpg,
                or an asyncio one of psycopg. One of sqlite3 needs
                ``check_same_thread=False``.
            timeout: How many seconds the block may take, with beginning; then it is
                cancelled, and rolled back. ``None``: any time.

        Raises:
            TypeError: It is no such connection.
            ValueError: There is nothing to acknowledge (QoS 0, or ``ack="receive"``),
                several streams have the message, or it has QoS 2 and the client has no
                ``session=``.
            MqttError: It is acknowledged already, or the connection to the broker on
                which it came has ended: then the broker sends it again if the session
                lasts.
        """
        return self._needed_ticket().transaction(connection, timeout)

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
