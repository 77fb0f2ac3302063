"""A transaction of the program in the file of its session.

What it writes, the messages that it stages and those that it has received are
committed together, or not at all.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from aiomqtt.properties import Properties
from aiomqtt.stores.encoding import encode_properties

from .errors import explain, refusal
from .file import DatabaseFile, roll_back
from .guard import Guard, Parameters
from .index import Index
from .rows import checksum
from .thread import CallThread

T = TypeVar("T")

# Errors of the disk or the file; the others are those of the statement.
_OF_THE_FILE: Final = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_BUSY,
}


class Executed(NamedTuple):
    """What a statement has done.

    Attributes:
        rows: The rows that it returns.
        row_count: How many rows it has changed; -1: it changes none.
        last_row_id: The row that was inserted last; None: none was.
    """

    rows: list[tuple[Any, ...]]
    row_count: int
    last_row_id: int | None


class StagedMessage(NamedTuple):
    """A message that a transaction stores, with fields that have been checked.

    Attributes:
        expires: When its Message Expiry Interval has passed, in seconds since the
            epoch; None: never.
        receipt_id: The identifier that the program gave it; "": none.
        now: When it is stored, in seconds since the epoch.
    """

    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: Properties | None
    expires: float | None
    receipt_id: str
    now: float


class SQLiteTransaction:
    """One transaction, which is open: `SQLiteSessionStore.begin` returns it.

    It must be ended by `commit` or `rollback`; until then, no changes of the session
    are stored. All calls are made one after the other. A call that is cancelled is made
    all the same. After an error the transaction is still open, unless the error says
    otherwise.

    Args:
        thread: The thread of the file.
        file: The file.
        index: What is known of the session.
        guard: Executes the statements of the program.
        lock: The lock that keeps the changes of the session out; it is held.
    """

    def __init__(
        self,
        thread: CallThread,
        file: DatabaseFile,
        index: Index,
        guard: Guard,
        lock: asyncio.Lock,
    ) -> None:
        self._thread = thread
        self._file = file
        self._index = index
        self._guard = guard
        self._lock = lock
        self._received: list[int] = []
        self._has_ended = False
        self._why_ended = "the transaction has ended"

    async def execute(self, statement: str, parameters: Parameters = ()) -> Executed:
        """Execute one SQL statement.

        Args:
            statement: The statement. It can change all tables but ours.
            parameters: The values of its parameters, as sqlite3 takes them.

        Raises:
            ValueError: It does what no statement of a program may.
            sqlite3.Error: It fails.
            SessionStoreError: The file can't be written, or the transaction has ended.
        """
        return await self._call(partial(self._execute, statement, parameters))

    async def stage(self, message: StagedMessage) -> int:
        """Store a message, which becomes a delivery after the commit.

        Returns:
            Its number, for `Origin.staged`.
        """
        return await self._call(partial(self._stage, message))

    async def receive(self, packet_id: int) -> None:
        """Store that a message with QoS 2 has come, as RECEIVED does.

        Args:
            packet_id: The packet identifier of the peer.
        """
        await self._call(partial(self._receive, packet_id))

    async def commit(self) -> None:
        """Commit; returns when all is durable.

        If it is cancelled, it may have happened or not.

        Raises:
            SessionStoreError: It was not committed.
        """
        await self._end(self._commit)

    async def rollback(self) -> None:
        """Undo everything; harmless if the transaction has ended."""
        if not self._has_ended:
            await self._end(self._roll_back)

    def abandon(self) -> None:
        """End it, as the session is closed, which undoes it; harmless if it ended."""
        if not self._has_ended:
            self._has_ended = True
            self._why_ended = "the session was closed, which has undone the transaction"
            self._lock.release()

    async def _end(self, function: Callable[[], None]) -> None:
        ended = self._call(function)
        self._has_ended = True
        try:
            await ended
        finally:
            # What follows is done in the thread after it.
            self._lock.release()

    def _call(self, function: Callable[[], T]) -> "asyncio.Future[T]":
        if self._has_ended:
            raise refusal(self._file.path, self._why_ended)
        return self._thread.call(partial(self._in_thread, function))

    # --- in the thread ----------------------------------------------------------

    def _in_thread(self, function: Callable[[], T]) -> T:
        try:
            return function()
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code not in _OF_THE_FILE:
                raise
            raise explain(self._file.path, error) from error

    def _connection(self) -> sqlite3.Connection:
        connection = self._file.connected()
        if not connection.in_transaction:
            reason = "an error has undone the transaction: begin another one"
            raise refusal(self._file.path, reason)
        return connection

    def _execute(self, statement: str, parameters: Parameters) -> Executed:
        self._connection()
        self._file.step("execute")
        cursor = self._guard.execute(statement, parameters)
        rows = cursor.fetchall()
        return Executed(rows, cursor.rowcount, cursor.lastrowid)

    def _stage(self, message: StagedMessage) -> int:
        connection = self._connection()
        self._file.step("stage")
        properties = None
        if message.properties is not None:
            properties = encode_properties(message.properties)
        topic, payload = message.topic, message.payload
        cursor = connection.execute(
            "INSERT INTO aiomqtt_staged (qos, retain, expires, receipt_id, changed_at,"
            " topic, properties, payload, checksum)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                message.qos,
                message.retain,
                message.expires,
                message.receipt_id or None,
                message.now,
                topic,
                properties,
                payload,
                checksum(topic, properties, payload),
            ),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _receive(self, packet_id: int) -> None:
        connection = self._connection()
        self._file.step("receive")
        connection.execute(
            "INSERT OR IGNORE INTO aiomqtt_received VALUES (?)", (packet_id,)
        )
        self._received.append(packet_id)

    def _commit(self) -> None:
        connection = self._connection()
        self._file.step("commit")
        try:
            self._file.check_place()
            connection.execute("COMMIT")
        except BaseException:
            roll_back(connection)
            raise
        self._index.received.update(self._received)
        self._file.step("committed")

    def _roll_back(self) -> None:
        undo(self._file)


def undo(file: DatabaseFile) -> None:
    """Undo the transaction of the program, if there is one."""
    if file.connection is not None:
        file.step("roll back")
        roll_back(file.connection)
