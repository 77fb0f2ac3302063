"""The states of a client's connection, as the program sees them."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self
from weakref import WeakKeyDictionary

from aiomqtt.exceptions import MqttError
from aiomqtt.protocol.engine_calls import not_connected

# How many changes an iterator keeps that its program has not taken. Backoff makes them
# rare: so many take at least an hour by default.
MAXIMUM_WAITING: Final = 1000


class ConnectionState(StrEnum):
    """The state of a client's connection: the values are plain strings."""

    CONNECTING = "connecting"
    """An attempt to connect is under way."""
    CONNECTED = "connected"
    """The broker has accepted the connection."""
    WAITING = "waiting"
    """There is no connection: the next attempt comes after a delay."""
    STOPPED = "stopped"
    """There is no connection, and no attempt will come: the program has to leave."""
    LEFT = "left"
    """The client is not entered."""


@dataclass(frozen=True)
class StateChange:
    """A change of the state of a client's connection.

    Args:
        state: The new state.
        cause: Why the connection ended, or why the last attempt has failed; ``None``:
            there was none, or the program has left.
        attempt: The number of attempts since there was a connection, with the one that
            is under way: 1 for the first. 0: there was none yet.
        delay: How many seconds the client waits before the next attempt; ``None`` in
            all states but "waiting".
        session_present: Whether the broker resumed an earlier session (MQTT 5.0
            §3.2.2.1.1); ``None`` in all states but "connected".
    """

    state: ConnectionState
    cause: MqttError | None = None
    attempt: int = 0
    delay: float | None = None
    session_present: bool | None = None


class StateIterator:
    """The changes of the state of a client's connection, in order.

    Each iterator gets every change; the first is the state in which it begins, if the
    client is entered. It ends after the client was left. If the program is more than
    1000 changes behind, the oldest ones are dropped.
    """

    def __init__(self, journal: "StateJournal") -> None:
        self._changes: deque[StateChange] = deque(maxlen=MAXIMUM_WAITING)
        self._waiter: asyncio.Future[None] | None = None
        self._has_ended = False
        journal.add(self)
        if journal.current.state is not ConnectionState.LEFT:
            self._changes.append(journal.current)

    def __aiter__(self) -> Self:
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> StateChange:
        """Return the next change; wait for it if there is none.

        A cancelled call loses no change.

        Raises:
            StopAsyncIteration: The client was left.
            RuntimeError: Another task waits for the next change of this iterator.
        """
        if self._waiter is not None:
            msg = "another task waits for the next change: call states() for each task"
            raise RuntimeError(msg)
        if self._has_ended:
            raise StopAsyncIteration
        while not self._changes:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        change = self._changes.popleft()
        self._has_ended = change.state is ConnectionState.LEFT
        return change

    def push(self, change: StateChange) -> None:
        """Add a change, and wake the task that waits for it."""
        self._changes.append(change)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class StateJournal:
    """Keeps the current state, and reports its changes to the iterators.

    Attributes:
        current: The last change.
    """

    def __init__(self) -> None:
        # Valid as long as the client.
        self.current: StateChange = StateChange(ConnectionState.LEFT)
        # An iterator that the program has dropped leaves by itself. A dictionary keeps
        # their order.
        self._iterators: WeakKeyDictionary[StateIterator, None] = WeakKeyDictionary()
        # Valid from entering the client until it is entered again: whether the last
        # connection is over, which is reported a little later. None: not known.
        self.is_lost: Callable[[], bool] | None = None

    def add(self, iterator: StateIterator) -> None:
        """Report changes to an iterator from now on."""
        self._iterators[iterator] = None

    def report(self, change: StateChange) -> None:
        """Report a change."""
        self.current = change
        for iterator in list(self._iterators):
            iterator.push(change)

    def abandon(self) -> None:
        """Forget the iterators: their event loop was closed, and the client is left."""
        self._iterators.clear()
        self.is_lost = None
        self.current = StateChange(ConnectionState.LEFT)

    async def connected(self) -> None:
        """Return when there is a connection.

        Raises:
            MqttError: The client was left, or there will be none; `__cause__` says why.
        """
        if self.current.state is ConnectionState.LEFT:
            raise not_connected("The client is not entered.")
        async for _ in StateIterator(self):
            now = self.current
            is_lost = self.is_lost is not None and self.is_lost()
            if now.state is ConnectionState.CONNECTED and not is_lost:
                return
            if now.state is ConnectionState.STOPPED:
                error = MqttError("Disconnected, and no attempt to connect will come")
                raise error from now.cause
        raise not_connected("The client was left.")
