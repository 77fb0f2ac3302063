"""The connections of a running broker, and the event loop's timer that they share."""

import asyncio
from typing import TYPE_CHECKING

from aiomqtt.broker.core.state import BrokerState
from aiomqtt.log import SafeLogger

from .connection_protocol import ConnectionProtocol
from .hook_runner import Hooks

if TYPE_CHECKING:
    from aiomqtt.net.websocket.server import ServerHandshake

    from .barrier import Barrier


class ConnectionSet:
    """Runs the broker's rules on an event loop.

    Attributes:
        state: The broker's rules and their state.
        protocols: The network connections.
        leaving: The connections that have ended while a hook still runs for a packet
            that the client sent before.
        is_paused: Whether reading is paused.
        barrier: Holds what they write until it is stored; None: there is no store.
        is_over: Whether it has ended: later connections are refused.
    """

    def __init__(self, state: BrokerState, hooks: Hooks, logger: SafeLogger) -> None:
        self.state = state
        self.hooks = hooks
        self.logger = logger
        # In the order in which they began, which a set of objects would not keep.
        self.protocols: dict[ConnectionProtocol, None] = {}
        self.leaving: dict[ConnectionProtocol, None] = {}
        # TLS connections whose handshake is not complete.
        self.handshakes: set[asyncio.Task[None]] = set()
        # Connections whose WebSocket handshake is not complete.
        self.upgrades: set[ServerHandshake] = set()
        self.is_paused: bool = False
        # The reasons: the program wants it; the store is behind.
        self._is_told_to_pause = False
        self._is_held_up = False
        self.barrier: Barrier | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self.is_over: bool = False
        # Resolves when it has ended.
        self._ended: asyncio.Future[None] = self._loop.create_future()
        # Resolves when there is no connection left.
        self._empty: asyncio.Future[None] | None = None

    @property
    def now(self) -> float:
        """The time, by the loop's clock."""
        return self._loop.time()

    @property
    def is_full(self) -> bool:
        """Whether the maximum number of connections is reached."""
        count = len(self.protocols) + len(self.handshakes) + len(self.upgrades)
        state = self.state
        return (
            count >= state.limits.maximum_connections
            or not state.memory.takes_connections
        )

    def admits(self, address: str) -> bool:
        """Whether another connection is accepted; log if there are too many."""
        if self.is_over:
            return False
        if self.is_full:
            self.logger.warning(
                "There are too many connections: %s is refused", address
            )
            return False
        return True

    def flush(self) -> None:
        """Flush every connection that has something to do."""
        ready = self.state.ready
        while ready:
            batch = ready[:]
            ready.clear()
            for send_buffer in batch:
                send_buffer.owner.flush()
        if self.barrier is not None:
            self.barrier.end_turn()
        self.arm()

    def arm(self) -> None:
        """Set the timer to the next deadline."""
        due = self.state.deadline()
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
        self.state.tick(max(self._due, self._loop.time()))
        self.flush()

    def pause(self, is_paused: bool) -> None:
        """Pause or resume reading."""
        self._is_told_to_pause = is_paused
        self._pause_or_resume()

    def hold_up(self, is_held_up: bool) -> None:
        """Pause reading as long as the store is behind."""
        self._is_held_up = is_held_up
        self._pause_or_resume()

    def _pause_or_resume(self) -> None:
        is_paused = self._is_told_to_pause or self._is_held_up
        if is_paused == self.is_paused:
            return
        self.is_paused = is_paused
        if is_paused:
            self.state.pause(self.now)
        else:
            self.state.resume(self.now)
        for protocol in self.protocols:
            protocol.read_or_not()

    def forget(self, protocol: ConnectionProtocol) -> None:
        """Remove a connection that is closed."""
        self.protocols.pop(protocol, None)
        self.state.statistics.connections = len(self.protocols)
        if not self.protocols and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

    async def close(self, seconds: float) -> None:
        """Close all connections; return when they are closed.

        Args:
            seconds: The time that clients have to close their side.
        """
        self._cancel_handshakes()
        for protocol in [*self.protocols]:
            protocol.close_soon(seconds)
        while self.protocols:
            self._empty = self._loop.create_future()
            await self._empty
        self.end()
        await asyncio.gather(*self.handshakes, return_exceptions=True)

    def abort(self) -> None:
        """Abort all connections, and accept no others."""
        self.end()
        for protocol in [*self.protocols]:
            protocol.abort()

    def end(self) -> None:
        """Cancel everything that still runs."""
        self.is_over = True
        if not self._ended.done():
            self._ended.set_result(None)
        self._cancel_handshakes()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def ended(self) -> None:
        """Return when it has ended."""
        await asyncio.shield(self._ended)

    def _cancel_handshakes(self) -> None:
        for task in self.handshakes:
            task.cancel()
        for handshake in [*self.upgrades]:
            handshake.abort()
