"""The store that keeps the session of one client in a SQLite file."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from aiomqtt.protocol.changes import Change, StoredDelivery
from aiomqtt.stores.base import OpenedSession, StoredReceipt

from .file import DatabaseFile, Durability, Step, check_durability
from .schema import SESSION_SCHEMA
from .tables import SessionTables
from .transaction import SQLiteTransaction, undo
from .worker import FileWorker

DAY: Final = 86_400.0  # seconds


class SQLiteSessionStore:
    """Keeps the session of one client in a SQLite file: see `SessionStore`.

    The file is used in a thread of its own, from `open` to `close`. Until then a
    file beside it, named as it with "-lease", keeps other clients from it.

    Args:
        path: The file; it is created if there is none, its directory is not.
        durability: "normal": what is stored survives the end of the process, however it
            ends; if the power is lost, the last groups may be lost. "full": it survives
            that too; each group is written to the disk.
        keep_receipts: How many seconds the receipts of finished messages are kept.
        clock: Returns the seconds since the epoch.

    Raises:
        ValueError: An argument has no such value.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "normal",
        keep_receipts: float = DAY,
        clock: Callable[[], float] = time.time,
    ) -> None:
        check_durability(durability)
        if not keep_receipts >= 0:
            msg = f"keep_receipts must be 0 or more seconds, not {keep_receipts!r}"
            raise ValueError(msg)
        self._file = DatabaseFile(path, SESSION_SCHEMA, durability)
        self._tables = SessionTables(self._file, keep_receipts, clock)
        self._worker = FileWorker(self._file, "aiomqtt-session", self._tables.clean)
        # Valid from `open` to `close`: held by the writer, a group or a transaction of
        # the program.
        self._lock = asyncio.Lock()
        self._transaction: SQLiteTransaction | None = None

    @property
    def path(self) -> str:
        """The file, without symbolic links."""
        return self._file.path

    def on_step(self, step: Step) -> None:
        """Have a function called before each step, with its name, for tests."""
        self._file.step = step

    async def open(self, client_id: str, window: int) -> OpenedSession:
        """See `SessionStore.open`."""
        if self._worker.thread is None:
            # A transaction that was abandoned may still have the last one.
            self._lock = asyncio.Lock()
        return await self._worker.open(partial(self._tables.open, client_id, window))

    async def commit(self, changes: Sequence[Change]) -> None:
        """See `SessionStore.commit`."""
        async with self._lock:
            await self._worker.call(partial(self._tables.write, changes))
        self._worker.clean_sometimes()

    async def begin(self) -> SQLiteTransaction:
        """Begin a transaction of the program; it waits for the one before.

        Until it has ended, `commit` waits. It is undone if the session is closed first.

        Raises:
            SessionStoreError: The session is not open, or the file can't be written.
        """
        lock, thread = self._lock, self._worker.thread
        await lock.acquire()
        try:
            if thread is None or thread is not self._worker.thread:
                raise self._worker.not_open()
            guard = await self._worker.call(self._tables.begin)
            self._transaction = SQLiteTransaction(
                thread, self._file, self._tables.index, guard, lock
            )
            return self._transaction
        except BaseException:
            # If we were cancelled, it may have begun.
            if thread is not None:
                thread.post(partial(undo, self._file))
            lock.release()
            raise

    async def load_queued(
        self, after: int, count: int
    ) -> list[tuple[int, StoredDelivery]]:
        """See `SessionStore.load_queued`."""
        return await self._worker.call(partial(self._tables.load_queued, after, count))

    async def find_receipt(self, receipt_id: str) -> StoredReceipt | None:
        """See `SessionStore.find_receipt`."""
        return await self._worker.call(partial(self._tables.find_receipt, receipt_id))

    async def list_receipts(self) -> list[StoredReceipt]:
        """See `SessionStore.list_receipts`."""
        return await self._worker.call(self._tables.list_receipts)

    async def close(self) -> None:
        """See `SessionStore.close`."""
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            transaction.abandon()
        await self._worker.close()
