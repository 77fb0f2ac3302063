"""The unacknowledged messages of a session, as shown to the program."""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, TypeAlias

from aiomqtt.argument_checks import check_type
from aiomqtt.properties import Properties
from aiomqtt.protocol.delivery import QUEUED, SENT, Delivery
from aiomqtt.topic import Topic

PendingState: TypeAlias = Literal["queued", "sent", "released"]

_NAMES: Final[dict[int, PendingState]] = {QUEUED: "queued", SENT: "sent"}


@dataclass(frozen=True, eq=False, repr=False)
class PendingMessage:
    """A message that was published and is not yet acknowledged; with QoS 0, not sent.

    It is immutable, and describes the message at the time it was created. Two are equal
    if they stand for the same message.

    Attributes:
        qos: 0, 1 or 2. With 0 it waits for a connection, or for others that wait.
        packet_id: Its packet identifier; ``None``: it has none, as it has not been sent
            yet.
        state: "queued": not sent yet. "sent": sent, and neither PUBACK nor PUBREC has
            come. "released": the broker has it (PUBREC came), PUBCOMP has not come.
        size: The size of its PUBLISH in bytes; 0 when it is released: then the message
            itself is no longer kept.
    """

    qos: int
    packet_id: int | None
    state: PendingState
    size: int
    _delivery: Delivery
    # Empty and None when it is released.
    _topic: str
    _payload: bytes
    _retain: bool
    _properties: Properties | None

    @cached_property
    def topic(self) -> Topic | None:
        """The topic; ``None`` when it is released."""
        return Topic(self._topic) if self._topic else None

    @property
    def payload(self) -> bytes | None:
        """The payload; ``None`` when it is released."""
        return self._payload if self._topic else None

    @property
    def retain(self) -> bool | None:
        """Whether the broker retains it; ``None`` when it is released."""
        return self._retain if self._topic else None

    @cached_property
    def properties(self) -> Properties | None:
        """The properties (5.0 only); also ``None`` when it is released."""
        # A copy, as the program may change it.
        return deepcopy(self._properties)

    def __eq__(self, other: object) -> bool:
        """Return whether both stand for the same message."""
        if not isinstance(other, PendingMessage):
            return NotImplemented
        return self._delivery is other._delivery

    def __hash__(self) -> int:
        """Return the hash of the message that it stands for."""
        return hash(self._delivery)

    def __repr__(self) -> str:
        """Return all but the payload and the properties."""
        topic = None if self.topic is None else self.topic.value
        return (
            f"PendingMessage(topic={topic!r:.200}, qos={self.qos},"
            f" retain={self.retain}, packet_id={self.packet_id}, state={self.state!r},"
            f" size={self.size})"
        )


def to_pending(
    deliveries: Iterable[Delivery],
) -> tuple[PendingMessage, ...]:
    """Return the messages of deliveries as the program sees them; nothing is copied."""
    return tuple(
        PendingMessage(
            delivery.qos,
            delivery.packet_id or None,
            _NAMES.get(delivery.state, "released"),
            delivery.size,
            delivery,
            delivery.topic,
            delivery.payload,
            delivery.retain,
            delivery.properties,
        )
        for delivery in deliveries
    )


def to_delivery(message: PendingMessage) -> Delivery:
    """Return the delivery that a message stands for.

    Raises:
        TypeError: It is not a PendingMessage.
    """
    check_type("message", message, PendingMessage)
    return message._delivery  # noqa: SLF001
