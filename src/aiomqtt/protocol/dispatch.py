"""The states, and tables of the packets that each accepts and their handlers."""

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

    A packet that is not in the table has None in the list, and is a protocol error.
    """
    return {
        state: [
            table.get((state, PacketType(number))) if number else None
            for number in range(PacketType.WILL)
        ]
        for state in states
    }
