"""Decides whether to read from the transport of a connection."""

import asyncio
from typing import Final

from aiomqtt.protocol.engine import Engine

from .owner import Owner
from .sink import Room

ENOUGH: Final = Room.ENOUGH


class ReadingGate:
    """Pauses reading while there is no room for messages.

    A PINGRESP, which has a deadline, is read as long as there is any room at all.

    Args:
        engine: The engine that gets the bytes.
        owner: Knows how much room there is.

    Attributes:
        is_paused: Whether reading is paused.
    """

    def __init__(self, engine: Engine, owner: Owner) -> None:
        # Valid for the connection.
        self._engine = engine
        self._owner = owner
        self.is_paused: bool = False

    def update(self, transport: asyncio.Transport, is_held_up: bool) -> None:
        """Pause or resume reading.

        Args:
            transport: The transport.
            is_held_up: Whether reading has to wait for something else.
        """
        room = self._owner.check_room()
        self._set(
            transport,
            room is Room.USED_UP
            or is_held_up
            or (room is not ENOUGH and not self._engine.keep_alive.is_awaited),
        )

    def open(self, transport: asyncio.Transport) -> None:
        """Read whatever comes."""
        self._set(transport, False)

    def _set(self, transport: asyncio.Transport, is_paused: bool) -> None:
        if is_paused is self.is_paused:
            return
        self.is_paused = is_paused
        if is_paused:
            transport.pause_reading()
        else:
            transport.resume_reading()
