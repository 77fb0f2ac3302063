"""The store that keeps the session of one client in a SQLite file."""

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from aiomqtt.protocol.changes import Change, StoredDelivery
from aiomqtt.stores.base import OpenedSession, SessionStoreError, StoredReceipt

from .errors import explained, refusal
from .file import DatabaseFile, Durability, Step
from .schema import SESSION_SCHEMA
from .tables import SessionTables
from .thread import CallThread
from .transaction import SQLiteTransaction, undo

T = TypeVar("T")

DAY: Final = 86_400.0  # seconds
# After how many groups to look for what can be cleaned.
_CLEAN_EVERY: Final = 16
# How long closing may take to give pages back, in seconds.
_CLEAN_FOR: Final = 1.0


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
        if durability not in ("normal", "full"):
            msg = f'durability must be "normal" or "full", not {durability!r}'
            raise ValueError(msg)
        if not keep_receipts >= 0:
            msg = f"keep_receipts must be 0 or more seconds, not {keep_receipts!r}"
            raise ValueError(msg)
        self._file = DatabaseFile(path, SESSION_SCHEMA, durability)
        self._tables = SessionTables(self._file, keep_receipts, clock)
        self._groups = 0
        # Valid from `open` to `close`.
        self._thread: CallThread | None = None
        # Held by the writer: a group, or a transaction of the program.
        self._lock = asyncio.Lock()
        self._transaction: SQLiteTransaction | None = None
        # It may still be closing the file, if `close` was cancelled.
        self._last_thread: CallThread | None = None

    @property
    def path(self) -> str:
        """The file, without symbolic links."""
        return self._file.path

    def on_step(self, step: Step) -> None:
        """Have a function called before each step, with its name, for tests."""
        self._file.step = step

    async def open(self, client_id: str, window: int) -> OpenedSession:
        """See `SessionStore.open`."""
        if self._thread is not None:
            msg = f"{self.path}: it is in use by this session: close it first"
            raise SessionStoreError(msg)
        self._thread = CallThread("aiomqtt-session")
        self._lock = asyncio.Lock()
        last = self._last_thread
        try:
            return await self._call(partial(self._open, last, client_id, window))
        except BaseException:
            # What the thread does is undone behind it, even if we were cancelled.
            await self.close()
            raise

    async def commit(self, changes: Sequence[Change]) -> None:
        """See `SessionStore.commit`."""
        async with self._lock:
            await self._call(partial(self._tables.write, changes))
        self._groups += 1
        if not self._groups % _CLEAN_EVERY and self._thread is not None:
            self._thread.post(partial(self._clean, self._thread))

    async def begin(self) -> SQLiteTransaction:
        """Begin a transaction of the program; it waits for the one before.

        Until it has ended, `commit` waits. It is undone if the session is closed first.

        Raises:
            SessionStoreError: The session is not open, or the file can't be written.
        """
        lock, thread = self._lock, self._thread
        await lock.acquire()
        try:
            if thread is None or thread is not self._thread:
                raise self._not_open()
            guard = await self._call(self._tables.begin)
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
        return await self._call(partial(self._tables.load_queued, after, count))

    async def find_receipt(self, receipt_id: str) -> StoredReceipt | None:
        """See `SessionStore.find_receipt`."""
        return await self._call(partial(self._tables.find_receipt, receipt_id))

    async def list_receipts(self) -> list[StoredReceipt]:
        """See `SessionStore.list_receipts`."""
        return await self._call(self._tables.list_receipts)

    async def close(self) -> None:
        """See `SessionStore.close`."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            transaction.abandon()
        closed = thread.call(self._close)
        thread.stop()
        self._last_thread = thread
        await asyncio.shield(closed)
        # It has nothing left to do.
        thread.join()

    async def _call(self, function: Callable[[], T]) -> T:
        if self._thread is None:
            raise self._not_open()
        return await self._thread.call(partial(self._explained, function))

    def _not_open(self) -> SessionStoreError:
        return refusal(self.path, "it is not open: enter the client first")

    def _open(
        self, last: CallThread | None, client_id: str, window: int
    ) -> OpenedSession:
        if last is not None:
            last.join()
        return self._tables.open(client_id, window)

    def _explained(self, function: Callable[[], T]) -> T:
        with explained(self.path):
            return function()

    def _clean(self, thread: CallThread) -> None:
        """Give pages back between two groups, a few at a time."""
        if self._file.connection is None:
            return
        # What goes wrong here will go wrong in a commit, too, which reports it.
        with contextlib.suppress(sqlite3.Error):
            if self._tables.clean():
                thread.post(partial(self._clean, thread))

    def _close(self) -> None:
        until = time.monotonic() + _CLEAN_FOR
        try:
            if self._file.connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    while self._tables.clean() and time.monotonic() < until:
                        pass
        finally:
            self._file.close()
