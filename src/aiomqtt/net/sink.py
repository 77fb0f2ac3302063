"""Where a connection delivers messages."""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol

from aiomqtt.exceptions import MqttError
from aiomqtt.message import Message


class Room(Enum):
    """How much room there is for messages."""

    ENOUGH = "enough"
    # Reading should pause, unless somebody waits for the broker's answer.
    LITTLE = "little"
    # Reading has to pause, unless a PINGRESP is due.
    NONE = "none"
    # Nothing may be read, whatever is due.
    USED_UP = "used up"


class Sink(Protocol):
    """Where messages go; it outlives connections."""

    def open(self, resume: Callable[[], None]) -> None:
        """Begin a connection; `resume` is to be called when there is room again."""

    def deliver(self, messages: Sequence[Message], size: int) -> Room:
        """Take messages, in order; return how much room there is for more.

        Args:
            messages: The messages.
            size: What they take of memory, about, in bytes.
        """

    def room(self) -> Room:
        """Return how much room there is for more."""

    def overflow(self) -> MqttError:
        """Return the error of a connection that ends as there is no room."""

    def close(self, error: MqttError | None) -> None:
        """End the connection, just once, with the reason."""
