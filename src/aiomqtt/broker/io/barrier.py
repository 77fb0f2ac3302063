"""What leaves a broker with a store waits until the store has what it depends on."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Protocol

from aiomqtt.broker.core.journal import Journal
from aiomqtt.broker.core.state import BrokerState
from aiomqtt.net.commits import CommitQueue
from aiomqtt.net.held import HeldBytes
from aiomqtt.protocol.changes import StoredDelivery
from aiomqtt.stores.broker import Record, RetainedChanged, SessionChanged

# About what a record or a change takes in memory, without its message, in bytes.
_RECORD_SIZE: Final = 256


class Held(Protocol):
    """A connection whose bytes and whose end wait."""

    def write_held(self, data: list[bytes]) -> None:
        """Write bytes that were held."""

    def end_held(self) -> None:
        """Close the network connection, after what was written."""

    def abort(self) -> None:
        """Abort the network connection."""


class Barrier:
    """Holds what the connections write, until the changes behind it are stored.

    All that leaves in one turn of the event loop waits for all that changes in it: a
    PUBACK for the sessions that have the message, as well as the message itself for
    its packet identifier. One group of changes is stored at a time.

    Args:
        state: The broker's state.
        journal: Its changes.
        commit: Stores records; returns when they are durable.
        on_failure: Called once, if that has failed.
        on_full: Called with True when so much waits that nothing may be read, and with
            False when it is less again.
    """

    def __init__(
        self,
        state: BrokerState,
        journal: Journal,
        commit: Callable[[list[Record]], Awaitable[None]],
        on_failure: Callable[[BaseException], None],
        on_full: Callable[[bool], None],
    ) -> None:
        # Valid while the broker runs.
        self._state = state
        self._journal = journal
        self._commit = commit
        self._on_full = on_full
        self._queue: CommitQueue[Record] = CommitQueue(
            self._commit_unless_over, self._fail
        )
        self._on_failure = on_failure
        self._is_over = False
        # The bytes that wait, about.
        self._bytes = HeldBytes()
        # Valid until the turn ends. None: the end of the connection.
        self._held: list[tuple[Held, list[bytes] | None]] = []

    def hold(self, connection: Held, data: list[bytes] | None) -> None:
        """Hold bytes of a connection, or None, its end, until `end_turn` at least."""
        self._held.append((connection, data))

    def end_turn(self) -> None:
        """Have what has changed stored, and what is held released after it."""
        if self._state.is_amid_message:
            return
        records = self._journal.take()
        held, self._held = self._held, []
        if self._queue.holds(records or None):
            size = sum(map(_size_of, records))
            size += sum(len(one) for _, data in held for one in data or ())
            if self._bytes.add(size):
                self._on_full(True)
            self._queue.add(records, partial(self._release, held, size))
        elif held:
            self._release(held, 0, True)

    def _release(
        self, held: list[tuple[Held, list[bytes] | None]], size: int, is_stored: bool
    ) -> None:
        goes_on = self._bytes.remove(size)
        if is_stored and not self._is_over:
            for connection, data in held:
                try:
                    if data is None:
                        connection.end_held()
                    else:
                        connection.write_held(data)
                except Exception as error:  # noqa: BLE001 - only this one is affected
                    self._report(error)
                    connection.abort()
        if goes_on:
            self._on_full(False)

    def _report(self, error: Exception) -> None:
        asyncio.get_running_loop().call_exception_handler(
            {"message": "A connection could not be written to", "exception": error}
        )

    def _fail(self, error: BaseException, _: list[Record]) -> None:
        if not self._is_over:
            self._on_failure(error)

    async def _commit_unless_over(self, records: list[Record]) -> None:
        if not self._is_over:
            await self._commit(records)

    def abandon(self) -> None:
        """Store and release nothing any more: what is being stored may be, or not."""
        self._is_over = True
        self._held.clear()

    async def close(self) -> None:
        """Have all stored, and return when nothing waits any more, stored or not."""
        try:
            self._state.finish(self._state.turn.now)
            self.end_turn()
            await self._queue.settled()
        finally:
            self.abandon()


def _size_of(record: Record) -> int:
    size = _RECORD_SIZE
    if isinstance(record, SessionChanged):
        for change in record.changes:
            size += _RECORD_SIZE
            if isinstance(change.value, StoredDelivery):
                size += len(change.value.payload)
    elif isinstance(record, RetainedChanged) and record.message is not None:
        size += len(record.message.payload)
    return size
