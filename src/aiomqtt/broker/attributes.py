"""What a broker shows of itself: its address, clients, sessions and counts."""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType

from aiomqtt.message import Message
from aiomqtt.topic import Topic

from .core.state import BrokerState
from .hooks import ClientInfo
from .io.connection_set import ConnectionSet
from .limits import Limits
from .listeners import Listener, Listeners
from .statistics import Statistics


class BrokerAttributes:
    """The attributes of a `Broker`.

    Args:
        limits: The limits of the broker.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # Kept when it is stopped; None: it was never started.
        self._state: BrokerState | None = None
        # Valid while it runs.
        self._connection_set: ConnectionSet | None = None
        self._started = 0.0
        self._listeners = Listeners()

    @property
    def host(self) -> str:
        """The address that it listens on."""
        return self._first.host

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._first.port

    @property
    def url(self) -> str:
        """The URL that it listens on, such as ``mqtt://127.0.0.1:40123``."""
        return self._first.url

    @property
    def _first(self) -> Listener:
        if not self._listeners.opened:
            msg = "The broker does not listen: it is not running, or has no host."
            raise RuntimeError(msg)
        return self._listeners.opened[0]

    @property
    def limits(self) -> Limits:
        """The limits of the broker."""
        return self._limits

    @property
    def clients(self) -> dict[str, ClientInfo]:
        """The connected clients by client identifier."""
        state = self._state
        return (
            {}
            if state is None
            else {k: connection.info for k, connection in state.connections.items()}
        )

    @property
    def sessions(self) -> set[str]:
        """The client identifiers of all sessions, connected or not."""
        return set() if self._state is None else set(self._state.sessions)

    @property
    def retained(self) -> Mapping[str, Message]:
        """The retained messages by topic, without those of the broker (``$SYS``)."""
        state = self._state
        if state is None:
            return {}
        found = state.retained.all(self._now())
        return MappingProxyType(
            {
                message.topic: Message(
                    Topic(message.topic),
                    message.payload,
                    message.qos,
                    True,
                    0,
                    message.properties,
                )
                for message in found
                if not message.topic.startswith("$SYS/")
            }
        )

    @property
    def statistics(self) -> Statistics:
        """The current counts."""
        if self._state is None:
            return Statistics()
        statistics = self._state.count()
        if self._connection_set is not None:
            statistics.uptime = self._now() - self._started
        return statistics

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
