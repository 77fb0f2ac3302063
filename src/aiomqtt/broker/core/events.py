"""The states of a connection, and the events that it reports to its caller."""

from enum import Enum
from typing import NamedTuple

from aiomqtt.broker.hooks import ClientInfo
from aiomqtt.protocol.packets import Connect, Publish, Subscribe


class ConnectionPhase(Enum):
    """The states of a connection, as the broker sees it."""

    CONNECTING = "connecting"
    AUTHENTICATING = "authenticating"
    CONNECTED = "connected"
    CLOSED = "closed"


class PermissionRequest(NamedTuple):
    """May the client do this? All that it sends waits for the `answer`.

    Attributes:
        action: "connect", "publish" or "subscribe".
        topics: The topics or filters; none for "connect".
        packet: The packet that waits.
    """

    action: str
    topics: list[str]
    packet: Connect | Publish | Subscribe


class AuthenticationStarted(NamedTuple):
    """The client began an authentication of several steps (§4.12)."""

    method: str
    data: bytes | None


class AuthenticationContinued(NamedTuple):
    """The client sent the next step of its authentication."""

    data: bytes | None


class Accepted(NamedTuple):
    """The client is connected."""

    info: ClientInfo
    clean_start: bool
    keep_alive: int


class Ended(NamedTuple):
    """The connection is over: write what is left, close it."""

    reason: str


Event = (
    PermissionRequest
    | AuthenticationStarted
    | AuthenticationContinued
    | Accepted
    | Ended
)
