"""The supervisor: connects again after a connection was lost, until it has to stop.

It knows no sockets and no event loop: what it connects, how it waits and what is random
are arguments. Like all coroutines that wait, these are not compiled.
"""

import logging
from collections.abc import Callable
from typing import Any, Protocol

from aiomqtt.exceptions import MqttError
from aiomqtt.log import SafeLogger

from .backoff import Backoff
from .causes import Action, to_action
from .reconnect import Reconnect
from .states import ConnectionState, StateChange, StateJournal


class Dialer(Protocol):
    """What the supervisor needs to know of the connections of a client."""

    @property
    def follows_redirections(self) -> bool:
        """Whether the next `connect` goes to a server that the broker named."""
        ...

    async def connect(self) -> bool:
        """Try all addresses; return whether the broker resumed the session.

        It can be cancelled. Then, and after an error, there is no connection.

        Raises:
            MqttError: None has accepted.
            ValueError: A callable of the program returned a wrong value.
            TypeError: The same, of a wrong type.
        """
        ...

    async def wait_until_lost(self, timeout: float | None) -> MqttError | None:
        """Wait until the connection is over; return why.

        It can be cancelled, and the connection goes on.

        Args:
            timeout: After how many seconds to return None if it is still there; None:
                never.
        """
        ...

    async def returns_to_first(self) -> bool:
        """Disconnect if the connection is to a fallback, and the first address answers.

        Return whether it has. It can be cancelled, and the connection goes on.
        """
        ...


class Clock(Protocol):
    """Time, and waiting for it."""

    def time(self) -> float:
        """Return the time in seconds."""
        ...

    async def wait(self, seconds: float) -> None:
        """Return after so many seconds, or after `interrupt`. It can be cancelled."""
        ...

    def interrupt(self) -> None:
        """End the `wait` in progress; if there is none, do nothing."""
        ...


class Supervisor:
    """Keeps a client connected, from entering to leaving it.

    Args:
        dialer: Makes the connections.
        reconnect: The rules.
        journal: Receives the changes of the state.
        logger: Receives why there is no connection, and when the next attempt comes.
        clock: Tells the time, and waits.
        random: Returns a random number from 0 up to 1, as `random.random`.
    """

    def __init__(
        self,
        dialer: Dialer,
        reconnect: Reconnect,
        journal: StateJournal,
        logger: SafeLogger,
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        # All is valid from entering to leaving.
        self._dialer = dialer
        self._reconnect = reconnect
        self._journal = journal
        self._logger = logger
        self._clock = clock
        self._backoff = Backoff(reconnect, random)
        # When the last connection was accepted.
        self._connected_at = 0.0
        self._is_stopped = False
        self._stopped_by: MqttError | None = None
        # The last failure in the log, which is not repeated as a warning.
        self._said = ""

    async def enter(self) -> None:
        """Connect for the first time; return when the broker has accepted.

        Without `initial`, there is one attempt. A cancellation leaves no connection.

        Raises:
            MqttError: The attempt failed; or, with `initial`, for a reason to stop.
            ValueError: A callable of the program returned a wrong value.
            TypeError: The same, of a wrong type.
        """
        await self._connect(None, is_first=True)

    async def run(self) -> MqttError:
        """Keep the client connected; return the error with which it had to stop.

        A connection was accepted before. A cancellation ends an attempt to connect, but
        not a connection.
        """
        while True:
            cause = await self._wait_until_lost()
            try:
                await self._connect(cause)
            except MqttError as error:
                return error
            except (ValueError, TypeError) as raised:
                wrong = MqttError(f"Could not connect again: {raised}")
                wrong.__cause__ = raised
                return wrong

    def stop(self, error: MqttError | None = None) -> None:
        """Make no further attempt.

        Args:
            error: Why; None: the program leaves the client.
        """
        self._is_stopped = True
        self._stopped_by = error
        self._clock.interrupt()

    def retry_now(self) -> None:
        """End the delay before the next attempt, if there is one."""
        self._clock.interrupt()

    async def _wait_until_lost(self) -> MqttError | None:
        """Wait until the connection is over; return why.

        None: it was ended to go back to the first address.
        """
        dialer, interval = self._dialer, self._reconnect.return_to_first
        while (cause := await dialer.wait_until_lost(interval)) is None:
            if await dialer.returns_to_first():
                break
        if self._clock.time() - self._connected_at >= self._reconnect.stable_after:
            self._backoff.on_stable()
        return cause

    async def _connect(self, cause: MqttError | None, is_first: bool = False) -> None:
        """Connect, after a delay if there is a cause; repeat that until it succeeds.

        Args:
            cause: Why there is no connection; None: try at once.
            is_first: Whether there was no connection yet.

        Raises:
            MqttError: The cause to stop, with a note that says why it stops.
            ValueError: As `enter`.
            TypeError: As `enter`.
        """
        attempt = 0
        while True:
            if cause is not None:
                await self._wait(cause, attempt)
            attempt += 1
            state = StateChange(ConnectionState.CONNECTING, cause, attempt)
            self._journal.report(state)
            try:
                session_present = await self._dialer.connect()
            except MqttError as error:
                if is_first and not self._reconnect.initial:
                    raise
                if attempt == self._reconnect.attempts:
                    error.add_note(f"No further attempt: {attempt} in a row failed.")
                    raise
                cause = error
            else:
                self._connected_at = self._clock.time()
                self._said = ""
                self._journal.report(
                    StateChange(
                        ConnectionState.CONNECTED,
                        cause,
                        attempt,
                        session_present=session_present,
                    )
                )
                return

    async def _wait(self, cause: MqttError, attempt: int) -> None:
        """Wait before the next attempt.

        Raises:
            MqttError: There is none.
        """
        self._check_stopped()
        action = self._decide(cause)
        delay = self._backoff.next_delay(action)
        change = StateChange(ConnectionState.WAITING, cause, attempt, delay)
        self._journal.report(change)
        said = str(cause)
        level = logging.INFO if said == self._said else logging.WARNING
        self._said = said
        fields = {"delay": delay, "attempt": attempt, "reason_code": cause.reason_code}
        text = "%s: connecting again in %.1f seconds"
        self._logger.event(level, "reconnecting", fields, text, said, delay)
        await self._clock.wait(delay)
        self._check_stopped()

    def _check_stopped(self) -> None:
        if self._is_stopped:
            raise self._stopped_by or MqttError("Disconnected")

    def _decide(self, cause: MqttError) -> Action:
        """Return what to do after a failure.

        Raises:
            MqttError: To stop, with the cause, or because `decide` failed.
        """
        action = to_action(cause, self._reconnect.takeover)
        if action is Action.REDIRECT and not self._dialer.follows_redirections:
            action = Action.STOP
        if self._reconnect.decide is not None:
            action = self._ask(self._reconnect.decide, cause) or action
        if action is Action.STOP:
            cause.add_note("No further attempt: see aiomqtt.Reconnect.")
            raise cause
        return action

    def _ask(
        self, decide: Callable[[MqttError], Any], cause: MqttError
    ) -> Action | None:
        """Return what the program decides, or None.

        Raises:
            MqttError: Its callable raised an exception, or returned something else.
        """
        try:
            decision = decide(cause)
        except Exception as error:
            msg = f"The callable for decide raised {type(error).__name__}"
            raise MqttError(msg) from error
        if decision is None:
            return None
        try:
            return Action(decision)
        except ValueError:
            msg = (
                f'The callable for decide must return "retry", "slow", "redirect",'
                f' "stop" or None, not {decision!r}'
            )
            raise MqttError(msg) from TypeError(msg)
