"""The two ends of what a driver reports: its state, and its owner."""

from enum import Enum
from typing import Final

from aiomqtt.protocol.events import Happening

from .sink import Room


class DriverState(Enum):
    """Where a connection is; it only moves on."""

    # The transport opens, and the broker has not accepted yet.
    OPENING = "opening"
    CONNECTED = "connected"
    # From here on it is over, and the engine may serve another connection.
    # What was written last leaves.
    LEAVING = "leaving"
    # Our side is closed, and the broker has to close its own.
    CLOSING = "closing"
    CLOSED = "closed"


# To look up a member of an enumeration takes long.
OPENING: Final = DriverState.OPENING
CONNECTED: Final = DriverState.CONNECTED
LEAVING: Final = DriverState.LEAVING
CLOSING: Final = DriverState.CLOSING
CLOSED: Final = DriverState.CLOSED


class Owner:
    """Receives the reports of a driver, the last of which is `Closed` and what ended
    with it.

    Attributes:
        room: How much room there is for messages, as far as is known.
        follows_progress: Whether to call `on_progress`.
    """

    room: Room
    follows_progress: bool

    def handle(self, happening: Happening) -> None:
        """Handle what happened; called in that order."""
        raise NotImplementedError

    def check_room(self) -> Room:
        """Return how much room there is; ENOUGH also where reading must go on."""
        raise NotImplementedError

    def on_progress(self) -> None:
        """Look again at what the engine has to do: it may have become less."""
        raise NotImplementedError

    def on_pause_writing(self) -> None:
        """Write less: the transport's buffer is above its high-water mark."""
        raise NotImplementedError

    def on_resume_writing(self) -> None:
        """Write on: the transport's buffer has drained."""
        raise NotImplementedError

    def on_turn_end(self) -> None:
        """Write on: the turn of the loop in which packets gathered is over."""
        raise NotImplementedError
