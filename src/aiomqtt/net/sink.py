"""The interface to which a connection delivers messages."""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol

from aiomqtt.exceptions import MqttError
from aiomqtt.message import Message


class Room(Enum):
    """The room for further messages."""

    ENOUGH = "enough"
    # Reading should pause, unless a call waits for the broker's answer.
    LITTLE = "little"
    # Reading must pause, unless a PINGRESP is due.
    NONE = "none"
    # Reading has to pause in any case.
    USED_UP = "used up"


class Sink(Protocol):
    """Receives messages; it outlives connections."""

    def open(self, resume: Callable[[], None]) -> None:
        """Begin a connection; call `resume` when there is room again."""

    def deliver(self, messages: Sequence[Message], size: int) -> Room:
        """Take messages, in order; return how much room there is for more.

        Args:
            messages: The messages.
            size: The memory that they take, about, in bytes.
        """

    def room(self) -> Room:
        """Return how much room there is for more."""

    def overflow(self) -> MqttError:
        """Return the error of a connection that ends because there is no room."""

    def forget_repeated(self) -> None:
        """Forget unacknowledged messages of the last connection: they come again."""

    def close(self, error: MqttError | None) -> None:
        """End the connection, with the reason; called once."""
