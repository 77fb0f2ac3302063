"""What a state accepts, and what handles it: one table for each side."""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import TypeVar

from aiomqtt.standard.tables import PacketType

S = TypeVar("S", bound=Enum)
H = TypeVar("H")


class State(Enum):
    """The states of a connection."""

    CLOSED = "closed"
    CONNECTING = "connecting"
    CONNECTED = "connected"


def by_packet_type(
    table: Mapping[tuple[S, PacketType], H], states: Iterable[S]
) -> dict[S, list[H | None]]:
    """Return a table of handlers as a list by packet type, for each state.

    What is absent from the table, which is None in the list, is a protocol error.
    """
    return {
        state: [
            table.get((state, PacketType(number))) if number else None
            for number in range(PacketType.WILL)
        ]
        for state in states
    }
