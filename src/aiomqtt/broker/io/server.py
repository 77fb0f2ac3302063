"""What all connections of a running broker share: the loop, its timer, the links."""

import asyncio

from aiomqtt.broker.core.state import BrokerState
from aiomqtt.log import SafeLogger

from .connection_protocol import ConnectionProtocol
from .hook_runner import Hooks


class ConnectionSet:
    """Drives a core by an event loop.

    Attributes:
        core: The broker.
        links: The network connections.
        leaving: Those that have ended while a hook is being asked about what the client
            sent before.
        is_paused: Whether nothing is read.
        is_over: Whether it has ended: what comes in late is turned away.
    """

    def __init__(self, core: BrokerState, hooks: Hooks, logger: SafeLogger) -> None:
        """Start without connections."""
        self.core = core
        self.hooks = hooks
        self.logger = logger
        self.links: set[ConnectionProtocol] = set()
        self.leaving: set[ConnectionProtocol] = set()
        # TLS connections whose handshake is not complete.
        self.handshakes: set[asyncio.Task[None]] = set()
        self.is_paused: bool = False
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self.is_over: bool = False
        # Resolves when there is no connection left.
        self._empty: asyncio.Future[None] | None = None

    @property
    def now(self) -> float:
        """The time, by the loop's clock."""
        return self._loop.time()

    @property
    def is_full(self) -> bool:
        """Whether there are as many connections as there may be."""
        count = len(self.links) + len(self.handshakes)
        core = self.core
        return (
            count >= core.limits.maximum_connections
            or not core.memory.takes_connections
        )

    def refused(self, address: str) -> None:
        """Take note of a connection that was one too many."""
        self.logger.warning("There are too many connections: %s is refused", address)

    def flush(self) -> None:
        """Have every connection do what there is to do."""
        ready = self.core.ready
        while ready:
            batch = ready[:]
            ready.clear()
            for outlet in batch:
                outlet.owner.flush()
        self.arm()

    def arm(self) -> None:
        """Set the timer to what is due next."""
        due = self.core.deadline()
        if (
            self.is_over
            or due is None
            or (self._timer is not None and self._due <= due)
        ):
            # One that comes too early does no harm.
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        # The loop may be early by the resolution of its clock.
        self.core.tick(max(self._due, self._loop.time()))
        self.flush()

    def pause(self, is_paused: bool) -> None:
        """Read nothing, or read again."""
        self.is_paused = is_paused
        if is_paused:
            self.core.pause(self.now)
        else:
            self.core.resume(self.now)
        for link in self.links:
            link.read_or_not()

    def forget(self, link: ConnectionProtocol) -> None:
        """Take note that a connection is closed."""
        self.links.discard(link)
        self.core.statistics.connections = len(self.links)
        if not self.links and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

    async def close(self, seconds: float) -> None:
        """Close all connections; returns when they are closed.

        Args:
            seconds: How long the clients may take to close their side.
        """
        self._cancel_handshakes()
        for link in [*self.links]:
            link.close_soon(seconds)
        while self.links:
            self._empty = self._loop.create_future()
            await self._empty
        self.end()
        await asyncio.gather(*self.handshakes, return_exceptions=True)

    def end(self) -> None:
        """Leave nothing running that belongs to it."""
        self.is_over = True
        self._cancel_handshakes()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cancel_handshakes(self) -> None:
        for task in self.handshakes:
            task.cancel()
