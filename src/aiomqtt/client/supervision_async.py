"""The supervision of a client that reconnects: its connections, its clock, its task.

Imported for such clients. Like all coroutines that wait, these are not compiled.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from aiomqtt.exceptions import MqttError
from aiomqtt.net.callables import CallableError
from aiomqtt.net.connect import open_connection
from aiomqtt.net.target import Target
from aiomqtt.properties import ReasonCode
from aiomqtt.protocol.engine import Engine
from aiomqtt.protocol.packets import Connack

from .addresses import LONGEST_ATTEMPT, Addresses
from .attempts_async import connect_to_first
from .calls import Calls
from .reconnect import Reconnect
from .states import ConnectionState, StateChange, StateJournal
from .supervisor_async import Supervisor
from .watcher import ConnectionWatcher

if TYPE_CHECKING:
    from .authentication import Authenticator
    from .birth_async import Birth
    from .renewal import Renewal


class LoopClock:
    """The clock of the running event loop."""

    def __init__(self) -> None:
        # All is valid from entering to leaving.
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None

    def time(self) -> float:
        """Return the time in seconds."""
        return self._loop.time()

    async def wait(self, seconds: float) -> None:
        """Return after so many seconds, or after `interrupt`."""
        waiter = self._waiter = self._loop.create_future()
        timer = self._loop.call_later(seconds, self.interrupt)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None

    def interrupt(self) -> None:
        """End the `wait` in progress; if there is none, do nothing."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Probe(asyncio.Protocol):
    """A connection that is made to see whether that is possible."""

    def __init__(self) -> None:
        # Valid for the connection.
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # Transports of other loops have a base of their own.
        self.transport = cast("asyncio.Transport", transport)


class ConnectionDialer(ConnectionWatcher):
    """Makes the connections of a client, and learns when they are lost.

    Args:
        calls: The calls of the client.
        engine: The engine.
        addresses: The addresses.
        timeout: Returns how many seconds an attempt may take.
        renewal: Sets parts of the CONNECT for each attempt, or None.
        authenticator: Authenticates the client in several steps, or None.
        birth: Sets the birth message for each attempt, or None.
        on_refused: Called with subscriptions that a broker did not restore, each with
            its reason code.
    """

    def __init__(
        self,
        calls: Calls,
        engine: Engine,
        addresses: Addresses,
        timeout: Callable[[], float],
        renewal: "Renewal | None",
        authenticator: "Authenticator | None",
        birth: "Birth | None",
        on_refused: Callable[[list[tuple[str, ReasonCode]]], None],
    ) -> None:
        # All is valid from entering to leaving.
        self._calls = calls
        self._engine = engine
        self._addresses = addresses
        self._timeout = timeout
        self._renewal = renewal
        self._authenticator = authenticator
        self._birth = birth
        self._on_refused = on_refused
        # Called if the session could not be stored.
        self.on_not_stored: Callable[[MqttError], None] | None = None
        # Valid for the connection: resolves to the reason of its end.
        self._lost: asyncio.Future[MqttError] | None = None

    @property
    def follows_redirections(self) -> bool:
        """Whether the next `connect` goes to a server that the broker named."""
        return self._addresses.redirect != "raise"

    def connected(self, connack: Connack) -> None:
        """Begin to wait for the end of a connection."""
        self._lost = asyncio.get_running_loop().create_future()

    def lost(self, error: MqttError | None) -> None:
        """Note why a connection that was accepted is over."""
        self._addresses.on_end(error)
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(error or MqttError("Disconnected"))

    def is_lost(self) -> bool:
        """Whether the last connection that was accepted is over."""
        return self._lost is not None and self._lost.done()

    def not_stored(self, error: MqttError) -> None:
        """Pass on that there is no next connection."""
        if self.on_not_stored is not None:
            self.on_not_stored(error)

    def on_refused_filters(self, refused: list[tuple[str, ReasonCode]]) -> None:
        """Pass on which subscriptions were not restored."""
        self._on_refused(refused)

    async def connect(self) -> bool:
        """Try all addresses; return whether the broker resumed the session.

        After a cancellation or an error there is no connection.

        Raises:
            MqttError: None has accepted.
            ValueError: A callable of the program returned a wrong value.
            TypeError: The same, of a wrong type.
        """
        if self._birth is not None:
            await self._birth.renew(self._timeout(), self._calls.logger)
        try:
            await connect_to_first(
                self._calls,
                self._engine,
                self._addresses,
                self._timeout(),
                self._renewal,
                self._authenticator,
            )
        except BaseException:
            self._calls.driver.abort()
            raise
        connack = self._engine.connack
        return connack is not None and connack.session_present

    async def wait_until_lost(self, timeout: float | None) -> MqttError | None:
        """Wait until the connection is over; return why.

        Args:
            timeout: After how many seconds to return None if it is still there; None:
                never.
        """
        assert self._lost is not None
        await asyncio.wait((self._lost,), timeout=timeout)
        return self._lost.result() if self._lost.done() else None

    async def returns_to_first(self) -> bool:
        """Disconnect if the connection is to a fallback, and the first address answers.

        Return whether it has.
        """
        assert self._lost is not None
        if not self._addresses.is_on_fallback:
            return False
        first = self._addresses.targets[0]
        if not await _answers(first, min(self._timeout(), LONGEST_ATTEMPT)):
            return False
        driver = self._calls.driver
        if self._lost.done():
            return False
        text = "Returning to %s, which answers again"
        self._calls.logger.event(logging.INFO, "returning_to_first", {}, text, first)
        driver.disconnect(0, None)
        if driver.writer.transport is not None and not driver.closed.done():
            await asyncio.wait((driver.closed,), timeout=self._timeout())
        driver.abort()
        return True


async def _answers(target: Target, timeout: float) -> bool:
    """Whether a target accepts network connections, with TLS and WebSocket if need be.

    Args:
        target: The target.
        timeout: How many seconds it has.
    """
    probe = Probe()
    try:
        async with asyncio.timeout(timeout):
            await open_connection(target, lambda: probe)
    except (MqttError, CallableError, TimeoutError, ValueError, TypeError):
        return False
    finally:
        if probe.transport is not None:
            probe.transport.abort()
    return True


class Supervision:
    """Runs the supervisor of a client in a task, from entering to leaving it.

    Args:
        dialer: Makes the connections.
        calls: The calls of the client.
        reconnect: The rules.
        journal: Receives the changes of the state.
    """

    def __init__(
        self,
        dialer: ConnectionDialer,
        calls: Calls,
        reconnect: Reconnect,
        journal: StateJournal,
    ) -> None:
        # All is valid from entering to leaving.
        self._calls = calls
        self._journal = journal
        calls.watcher = dialer
        journal.is_lost = dialer.is_lost
        self._supervisor = Supervisor(
            dialer, reconnect, journal, calls.logger, LoopClock(), random.random
        )
        self._task: asyncio.Task[None] | None = None
        self._is_stopped = False
        dialer.on_not_stored = self._on_not_stored

    async def enter(self) -> None:
        """Connect for the first time, then keep the client connected in a task.

        A cancellation leaves no connection, and no task.

        Raises:
            MqttError: It could not connect, and does not try again.
            ValueError: A callable of the program returned a wrong value.
            TypeError: The same, of a wrong type.
        """
        await self._supervisor.enter()
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(self._on_done)
        # A program may close its event loop without leaving the client.
        self._task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001

    async def _run(self) -> None:
        try:
            error = await self._supervisor.run()
        except Exception as unexpected:  # noqa: BLE001 - the cause of the MqttError
            text = "The client can't reconnect: %s"
            name = type(unexpected).__name__
            self._calls.logger.event(
                logging.ERROR, "reconnecting_failed", {}, text, name, exc_info=True
            )
            error = MqttError(f"Could not reconnect: {name}")
            error.__cause__ = unexpected
        if not self._is_stopped:
            self._end(error)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        """End the client if the program has cancelled all tasks that it found."""
        if task.cancelled() and not self._is_stopped:
            self._end(MqttError("The task that reconnects was cancelled"))

    def _on_not_stored(self, error: MqttError) -> None:
        """End the client: the session could not be stored."""
        if self._is_stopped:
            return
        self._is_stopped = True
        self._supervisor.stop(error)
        if self._task is not None:
            self._task.cancel()
            self._end(error)

    def _end(self, error: MqttError) -> None:
        """End the client: everything that waits gets the error."""
        self._calls.driver.abort()
        self._journal.report(StateChange(ConnectionState.STOPPED, error))
        self._calls.give_up(error)

    def retry_now(self) -> None:
        """End the delay before the next attempt, if there is one."""
        self._supervisor.retry_now()

    async def stop(self, timeout: float) -> None:
        """End the task; a connection goes on.

        Args:
            timeout: How many seconds callables of the program have to end.
        """
        self._is_stopped = True
        self._supervisor.stop()
        task = self._task
        # The program may leave the client in a callable that this task calls.
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            await asyncio.wait((task,), timeout=timeout)

    def abandon(self) -> None:
        """Forget the task: its event loop was closed."""
        self._is_stopped = True
        self._journal.abandon()
