"""The states, and tables of the packets that each accepts and their handlers."""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import TypeVar

from aiomqtt.standard.names import PROTOCOL_ERROR
from aiomqtt.standard.tables import PacketType

from .wire import PacketError

S = TypeVar("S", bound=Enum)
H = TypeVar("H")


class State(Enum):
    """The states of a connection."""

    CLOSED = "closed"
    CONNECTING = "connecting"
    # The broker has accepted the connection, and the authenticator not yet the broker.
    VERIFYING = "verifying"
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


def find_handler(handlers: list[H | None], kind: PacketType, state: Enum) -> H:
    """Return the handler of a packet.

    Raises:
        PacketError: This state does not accept the packet.
    """
    handler = handlers[kind]
    if handler is None:
        msg = f"{kind.name} while {state.value}"
        raise PacketError(PROTOCOL_ERROR, msg)
    return handler
