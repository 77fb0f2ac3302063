"""The state of the connection of a client that reconnects, for its program."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .configuration import to_birth, to_offline_rules, to_reconnection
from .derived import derived
from .fields import ClientFields

if TYPE_CHECKING:
    from .states import ConnectionState, StateIterator, StateJournal
else:  # so that annotations can be read without importing these
    ConnectionState = StateIterator = StateJournal = Any


class Reconnecting(ClientFields):
    """Shows the state of the connection, and ends delays."""

    def _set_reconnection(self, given: Mapping[str, Any]) -> None:
        """Set what the client does while there is no connection, by its arguments."""
        # Valid as long as the client.
        self._reconnect, self._journal = to_reconnection(given)
        self._birth = to_birth(given["birth"], self._reconnect, self._engine)
        self._offline, self._queued_messages = to_offline_rules(
            given["offline"], self._reconnect, self._engine
        )

    @derived
    def state(self) -> "ConnectionState":
        """The state of the connection, such as `ConnectionState.CONNECTED`."""
        from .states import ConnectionState

        if self._journal is not None:
            return self._journal.current.state
        if self._calls is None:
            return ConnectionState.LEFT
        if self._calls.is_connected:
            return ConnectionState.CONNECTED
        if self._calls.is_over:
            return ConnectionState.STOPPED
        return ConnectionState.CONNECTING

    async def connected(self) -> None:
        """Return when there is a connection that the broker has accepted.

        At once if there is one. It has no timeout of its own, as a client that
        reconnects may wait for hours; ``async with asyncio.timeout(60)`` sets one. A
        cancellation leaves nothing behind.

        Raises:
            MqttError: The client has given up, for the reason in `__cause__`; or it is
                not entered, or was left.
            ValueError: The client does not reconnect.
        """
        await self._reported("connected").connected()

    def states(self) -> "StateIterator":
        """Return an iterator over the changes of the state of the connection.

        ``async for change in client.states()`` gets the current state first, and then
        each change, as a `StateChange`. It ends after the client was left.

        Raises:
            ValueError: The client does not reconnect.
        """
        from .states import StateIterator

        return StateIterator(self._reported("states"))

    def retry_now(self) -> None:
        """Connect now if the client waits before its next attempt.

        For programs that know more than the client, such as that the network is back.
        In all other states it does nothing.

        Raises:
            ValueError: The client does not reconnect.
        """
        self._reported("retry_now")
        if self._supervision is not None:
            self._supervision.retry_now()

    def _reported(self, name: str) -> "StateJournal":
        if self._journal is None:
            msg = f"{name} needs a client that reconnects: pass reconnect=True"
            raise ValueError(msg)
        return self._journal
