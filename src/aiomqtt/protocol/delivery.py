"""One outgoing message that is kept, from publishing to its end."""

from collections.abc import Callable
from math import ceil
from typing import Any, Final, Literal, TypeAlias

from aiomqtt.properties import SUCCESS, Properties, ReasonCode

# The memory that an unfinished message takes besides its packet, in bytes.
DELIVERY_SIZE: Final = 512

# The states of a delivery.
QUEUED: Final = 0  # not written yet: it has no packet identifier
SENT: Final = 1  # written: waits for PUBACK or PUBREC
RELEASED: Final = 2  # PUBREC came: waits for PUBCOMP
DONE: Final = 3
LOST: Final = 4  # its session ended before it was done
DROPPED: Final = 5  # the program has dropped it
WITHDRAWN: Final = 6  # the program has taken it back before it was written
EXPIRED: Final = 7  # its Message Expiry Interval passed before it was written
DISPLACED: Final = 8  # a newer one took its place in the caller's queue, which was full
OUTDATED: Final = 9  # it waited in the caller's queue for longer than that allows
OMITTED: Final = 10  # the caller's queue takes no message with QoS 0

# The words with which a program is told of an end other than DONE.
EndWord: TypeAlias = Literal["session lost", "dropped", "withdrawn", "expired"]
END_WORDS: Final[dict[int, EndWord]] = {
    LOST: "session lost",
    DROPPED: "dropped",
    WITHDRAWN: "withdrawn",
    EXPIRED: "expired",
    DISPLACED: "dropped",
    OUTDATED: "dropped",
    OMITTED: "dropped",
}


class Origin:
    """What a store has to know of a message besides the message.

    Attributes:
        receipt_id: The identifier that the program gave it, for its receipt; "": none.
        staged: The number under which a transaction of the program has stored it; 0:
            none has.
        share: In the broker, the filter of its shared subscription; "": none.
        published: For a shared subscription, the flags with which it was published, as
            in the first byte of a PUBLISH (§3.3.1): QoS and RETAIN.
    """

    __slots__ = ("published", "receipt_id", "share", "staged")

    def __init__(
        self,
        receipt_id: str = "",
        staged: int = 0,
        share: str = "",
        published: int = 0,
    ) -> None:
        self.receipt_id: str = receipt_id
        self.staged: int = staged
        self.share: str = share
        self.published: int = published


class Delivery:
    """One PUBLISH on its way to the peer; with QoS 0 only while it has to wait.

    Attributes:
        sequence: Its number in the session, in the order in which they are sent.
        topic: The topic name; like the payload and the properties it is kept until the
            peer has the message.
        payload: The payload.
        qos: 0, 1 or 2.
        retain: The RETAIN flag.
        properties: Its properties (5.0), without a topic alias; None: there are none.
            They belong to the delivery and never change.
        expires: The time when its Message Expiry Interval has passed; None: never.
        identifiers: In the broker, the identifiers of the matching subscriptions.
        size: The size of its packet in bytes, as first encoded.
        packet_id: Its packet identifier; 0 while it has none.
        state: QUEUED, SENT, RELEASED; from DONE on it has ended: DONE, LOST, DROPPED,
            WITHDRAWN, EXPIRED, DISPLACED, OUTDATED or OMITTED. With QoS 0 it is QUEUED,
            or it has ended.
        reason_code: The reason code of its end; 0x80 and above: the peer refused it.
        alias: The topic alias to use on this connection; 0: none.
        head: The first part of its packet, encoded for this connection, up to the
            packet identifier; b"": it is encoded when it is written.
        tail: The second part, after the packet identifier.
        answer: The properties of the acknowledgement that ended it, or None.
        observer: An object of the caller, for use when it is done.
        origin: What a store has to know of it besides the message; None: nothing.
    """

    __slots__ = (
        "alias",
        "answer",
        "expires",
        "head",
        "identifiers",
        "observer",
        "origin",
        "packet_id",
        "payload",
        "properties",
        "qos",
        "reason_code",
        "retain",
        "sequence",
        "size",
        "state",
        "tail",
        "topic",
    )

    def __init__(
        self,
        topic: str,
        payload: bytes,
        qos: int,
        retain: bool,
        properties: Properties | None,
        size: int,
        head: bytes = b"",
        tail: bytes = b"",
        expires: float | None = None,
        identifiers: tuple[int, ...] = (),
        observer: object = None,
    ) -> None:
        """Take fields that have been checked."""
        # Valid for the session.
        self.sequence: int = 0
        self.topic: str = topic
        self.payload: bytes = payload
        self.qos: int = qos
        self.retain: bool = retain
        self.properties: Properties | None = properties
        self.expires: float | None = expires
        self.identifiers: tuple[int, ...] = identifiers
        self.origin: Origin | None = None
        self.size: int = size
        self.packet_id: int = 0
        self.state: int = QUEUED
        self.reason_code: ReasonCode = SUCCESS
        # Valid for the connection.
        self.alias: int = 0
        self.head: bytes = head
        self.tail: bytes = tail
        # Valid for the process.
        self.answer: Properties | None = None
        self.observer: object = observer

    def start_expiry(self, now: float) -> None:
        """Begin the Message Expiry Interval, if there is one."""
        if self.properties is not None:
            interval = self.properties.message_expiry_interval
            if interval is not None:
                self.expires = now + interval


# Encodes a delivery for a connection, at a given time, in two parts.
Encode: TypeAlias = Callable[[Delivery, float], tuple[bytes, bytes]]


def packet_size(qos: int, head: bytes, tail: bytes) -> int:
    """Return the size of a PUBLISH in bytes, with the packet identifier if it has one.

    Args:
        qos: Its QoS.
        head: The first part of it.
        tail: The second part of it.
    """
    return len(head) + len(tail) + (2 if qos else 0)


def remaining(interval: int, expires: float, now: float) -> int:
    """Return the Message Expiry Interval to send (§3.3.2.3.3), in seconds.

    Args:
        interval: The interval that the message came with: the rest is rounded up, and
            must not become larger than it.
        expires: When the message expires.
        now: The time.
    """
    return max(0, min(ceil(expires - now), interval))


def copied_properties(properties: Properties) -> Properties | None:
    """Copy the program's properties for a delivery, without the topic alias.

    The program may change its own later. None: there are none.
    """
    values: dict[str, Any] = {
        name: value.copy() if isinstance(value, list) else value
        for name, value in properties.present.items()
        if name != "topic_alias"
    }
    return Properties._decoded(values) if values else None  # noqa: SLF001
