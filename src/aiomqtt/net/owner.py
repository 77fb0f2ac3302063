"""The states of a driver, and the owner that receives its reports."""

from enum import Enum
from typing import Final

from aiomqtt.protocol.output import Happening

from .sink import Room


class DriverState(Enum):
    """The phase of a connection, which only moves forward."""

    # The transport opens; the broker has not accepted the connection.
    OPENING = "opening"
    CONNECTED = "connected"
    # From here on the connection is over; the engine may serve the next one.
    # The last written bytes leave.
    LEAVING = "leaving"
    # Our side is closed; the broker has to close its side.
    CLOSING = "closing"
    CLOSED = "closed"


# Looking up a member of an enumeration is slow.
OPENING: Final = DriverState.OPENING
CONNECTED: Final = DriverState.CONNECTED
LEAVING: Final = DriverState.LEAVING
CLOSING: Final = DriverState.CLOSING
CLOSED: Final = DriverState.CLOSED


class Owner:
    """Receives the reports of a driver; `Closed`, and what ended with it, are the last.

    Attributes:
        room: How much room there is for messages, as far as is known.
        follows_progress: Whether to call `on_progress`.
    """

    room: Room
    follows_progress: bool

    def handle(self, happening: Happening) -> None:
        """Handle a happening; they come in order."""
        raise NotImplementedError

    def check_room(self) -> Room:
        """Return how much room there is; ENOUGH also where reading must go on."""
        raise NotImplementedError

    def on_progress(self) -> None:
        """Check the engine again: it may have less to do now."""
        raise NotImplementedError

    def on_pause_writing(self) -> None:
        """Pause publishers: the transport's buffer is above its high-water mark."""
        raise NotImplementedError

    def on_resume_writing(self) -> None:
        """Resume publishers: the transport's buffer has drained."""
        raise NotImplementedError

    def on_turn_end(self) -> None:
        """Resume publishers: the turn in which packets gathered is over."""
        raise NotImplementedError
