"""Stores that are wrong on purpose: the campaign has to catch each of them."""

import asyncio
from collections.abc import Sequence
from typing import Final

from aiomqtt.protocol.changes import Change
from aiomqtt.stores.base import OpenedSession
from aiomqtt.stores.broker import Record
from aiomqtt.stores.sqlite.broker_store import SQLiteStore
from aiomqtt.stores.sqlite.session_store import SQLiteSessionStore

LATE: Final = 0.03  # seconds
PILE: Final = 20  # records


class WritesAfterSending(SQLiteSessionStore):
    """It says that changes are stored, and stores them a moment later."""

    _writing: "asyncio.Task[None] | None" = None

    async def commit(self, changes: Sequence[Change]) -> None:
        last = self._writing

        async def write() -> None:
            if last is not None:
                await last
            await asyncio.sleep(LATE)
            await super(WritesAfterSending, self).commit(changes)

        self._writing = asyncio.create_task(write())

    async def close(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            await writing
        await super().close()


class BrokerWritesAfterSending(SQLiteStore):
    """It says that records are stored, and stores them when a group has piled up."""

    _waiting: tuple[Record, ...] = ()

    async def commit(self, records: Sequence[Record]) -> None:
        self._waiting += tuple(records)
        if len(self._waiting) > PILE:
            waiting, self._waiting = self._waiting, ()
            await super().commit(waiting)


class ForgetsReceived(SQLiteSessionStore):
    """It forgets the packet identifiers of QoS 2 that were received."""

    async def open(self, client_id: str, window: int) -> OpenedSession:
        opened = await super().open(client_id, window)
        opened.state.received.clear()
        return opened


class LosesTheLast(SQLiteSessionStore):
    """It keeps the last group in memory until the next one comes."""

    _last: Sequence[Change] = ()

    async def commit(self, changes: Sequence[Change]) -> None:
        last, self._last = self._last, changes
        await super().commit(last)

    async def close(self) -> None:
        last, self._last = self._last, ()
        if last:
            await super().commit(last)
        await super().close()


WRONG_STORES: Final[dict[str, type[SQLiteSessionStore]]] = {
    "writes after sending": WritesAfterSending,
    "forgets QoS 2 identifiers": ForgetsReceived,
    "loses the last transaction": LosesTheLast,
}
