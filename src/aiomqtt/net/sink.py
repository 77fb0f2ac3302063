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
    # Reading has to pause.
    NONE = "none"


class Sink(Protocol):
    """Where messages go; it outlives connections."""

    def open(self, resume: Callable[[], None]) -> None:
        """Begin a connection; `resume` is to be called when there is room again."""

    def deliver(self, messages: Sequence[Message], size: int) -> Room:
        """Take messages, in order; return how much room there is for more.

        Args:
            messages: The messages.
            size: The size of their payloads, in bytes.
        """

    def close(self, error: MqttError | None) -> None:
        """End the connection, just once, with the reason."""
