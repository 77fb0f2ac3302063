"""The phases of a connection, and the events that it reports to its caller."""

from enum import Enum
from typing import NamedTuple, TypeAlias

from aiomqtt.broker.hooks import ClientInfo
from aiomqtt.protocol.packets import Connect, Publish, Subscribe, WillMessage


class ConnectionPhase(Enum):
    """The phases of a connection, as the broker sees it."""

    CONNECTING = "connecting"
    AUTHENTICATING = "authenticating"
    CONNECTED = "connected"
    CLOSED = "closed"


# --- permission -----------------------------------------------------------------------
# Everything that the client sends after the packet waits for the `answer`.


class ConnectPermission(NamedTuple):
    """May the client connect?"""

    packet: Connect

    @property
    def topics(self) -> list[str]:
        """Return no topics: the answer is one verdict all the same."""
        return []


class WillPermission(NamedTuple):
    """May the client have its will published?"""

    packet: Connect
    will: WillMessage

    @property
    def topics(self) -> list[str]:
        """Return the topic of the will."""
        return [self.will.topic]


class PublishPermission(NamedTuple):
    """May the client publish this?"""

    packet: Publish

    @property
    def topics(self) -> list[str]:
        """Return the topic, which is no longer an alias."""
        return [self.packet.topic.value]


class SubscribePermission(NamedTuple):
    """May the client subscribe to these filters? Each gets its own verdict.

    Attributes:
        packet: The packet.
        topics: Its topic filters, without the share names.
    """

    packet: Subscribe
    topics: list[str]


PermissionRequest: TypeAlias = (
    ConnectPermission | WillPermission | PublishPermission | SubscribePermission
)


# --- everything else ------------------------------------------------------------------


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
    """The connection is over: write the remaining data, and close it."""

    reason: str


Event: TypeAlias = (
    PermissionRequest
    | AuthenticationStarted
    | AuthenticationContinued
    | Accepted
    | Ended
)
