"""The databases of programs: transactions on a connection that the program has made.

A connection of DB-API 2.0 (PEP 249) blocks, so it is used in a thread; those of asyncpg
and the asyncio ones of psycopg are not. Like all coroutines that wait, these are not
compiled.
"""

import asyncio
import functools
import inspect
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from .outlast_async import complete, outlast

Parameters: TypeAlias = Sequence[object] | Mapping[str, object]
# As the driver makes them: tuples, unless the program has it make something else.
Rows: TypeAlias = list[Any]

# What connections need to have.
_DBAPI: Final = ("cursor", "commit", "rollback")
_ASYNCPG: Final = ("fetch", "transaction", "is_in_transaction")
# "active", "in transaction" and "in error", of libpq.
_BEGUN: Final = (1, 2, 3)
# The connections in a transaction of ours, by their `id`: several clients may be given
# the same one.
_in_use: Final[dict[int, object]] = {}


class Database:
    """One transaction on a connection: `begin`, statements, then `end`.

    All calls are made one after the other. A call that is cancelled has had its effect
    or not; the transaction can still be ended.

    Args:
        connection: The connection.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def begin(self) -> None:
        """Begin the transaction.

        Raises:
            ValueError: The connection is in a transaction already, or it is in a mode
                without transactions.
            Exception: What the driver of the database raises.
        """
        key = id(self._connection)
        if key in _in_use or self._is_in_transaction():
            msg = (
                "the connection is in a transaction already: end that first, or use"
                " another connection"
            )
            raise ValueError(msg)
        self._check_mode()
        _in_use[key] = self._connection
        try:
            cancellation = await complete(self._begin())
        except BaseException:
            del _in_use[key]
            raise
        if cancellation is not None:
            await complete(self.end(False))
            raise cancellation

    async def execute(self, statement: str, parameters: Parameters) -> Rows:
        """Execute one statement; return the rows that it returns."""
        raise NotImplementedError

    async def end(self, commits: bool) -> None:
        """Commit, or roll back.

        Raises:
            Exception: What the driver raises if it could not be committed. It is rolled
                back then, unless the connection was lost in that moment.
        """
        try:
            if commits:
                await self._commit()
        except BaseException as error:
            await self._undo(error)
            raise
        else:
            if not commits:
                await self._undo(None)
        finally:
            _in_use.pop(id(self._connection), None)

    async def _undo(self, cause: BaseException | None) -> None:
        try:
            await self._rollback()
        except Exception as error:  # noqa: BLE001 - drivers have errors of their own
            # The connection is lost, and the transaction with it.
            if cause is not None:
                cause.add_note(f"The rollback has failed, too: {error}")

    def marker(self, number: int) -> str:
        """Return what stands in a statement for a parameter, counted from 1."""
        raise NotImplementedError

    def named(self, values: Sequence[object]) -> Parameters:
        """Return the values of such parameters as the driver takes them."""
        return values

    def _is_in_transaction(self) -> bool:
        raise NotImplementedError

    def _check_mode(self) -> None:
        """Raise ValueError if the connection commits each statement by itself."""

    async def _begin(self) -> None:
        raise NotImplementedError

    async def _commit(self) -> None:
        raise NotImplementedError

    async def _rollback(self) -> None:
        raise NotImplementedError


class _AsyncpgDatabase(Database):
    async def execute(self, statement: str, parameters: Parameters) -> Rows:
        rows = await self._connection.fetch(statement, *parameters)
        return list(rows)

    def marker(self, number: int) -> str:
        return f"${number}"

    def _is_in_transaction(self) -> bool:
        # When the connection is lost, it still says that it is in one.
        connection = self._connection
        return bool(connection.is_in_transaction() and not connection.is_closed())

    async def _begin(self) -> None:
        self._transaction = self._connection.transaction()
        await self._transaction.start()

    async def _commit(self) -> None:
        await self._transaction.commit()

    async def _rollback(self) -> None:
        await self._transaction.rollback()


class _StyledDatabase(Database):
    """A connection with a cursor: PEP 249, or the same with coroutines."""

    def __init__(self, connection: Any, style: str) -> None:
        super().__init__(connection)
        self._style = style

    def marker(self, number: int) -> str:
        if self._style == "qmark":
            return "?"
        if self._style in ("format", "pyformat"):
            return "%s"
        return f":{number}" if self._style == "numeric" else f":v{number}"

    def named(self, values: Sequence[object]) -> Parameters:
        if self._style != "named":
            return values
        return {f"v{number}": value for number, value in enumerate(values, 1)}

    def _is_in_transaction(self) -> bool:
        # PEP 249 has no way to ask. sqlite3 and others have the first, psycopg the
        # second one.
        found = getattr(self._connection, "in_transaction", None)
        if isinstance(found, bool):
            return found
        info = getattr(self._connection, "info", None)
        return getattr(info, "transaction_status", None) in _BEGUN

    def _check_mode(self) -> None:
        if getattr(self._connection, "autocommit", False) is True:
            msg = (
                "the connection commits each statement by itself: turn its autocommit"
                " mode off"
            )
            raise ValueError(msg)

    async def _begin(self) -> None:
        """The first statement begins it (PEP 249)."""


class _AsyncDatabase(_StyledDatabase):
    async def execute(self, statement: str, parameters: Parameters) -> Rows:
        given = (parameters,) if parameters else ()
        cursor = self._connection.cursor()
        try:
            await cursor.execute(statement, *given)
            if cursor.description is None:
                return []
            return list(await cursor.fetchall())
        finally:
            await cursor.close()

    async def _commit(self) -> None:
        await self._connection.commit()

    async def _rollback(self) -> None:
        await self._connection.rollback()


class _ThreadedDatabase(_StyledDatabase):
    async def _call(self, function: Any, *arguments: Any) -> Any:
        """Call a function in a thread; when it is cancelled, that has ended, too."""
        loop = asyncio.get_running_loop()
        calling = loop.run_in_executor(None, functools.partial(function, *arguments))
        cancellation = await outlast(calling)
        if cancellation is not None:
            calling.exception()  # so that asyncio does not log it
            raise cancellation
        return calling.result()

    async def execute(self, statement: str, parameters: Parameters) -> Rows:
        rows: Rows = await self._call(self._execute, statement, parameters)
        return rows

    def _execute(self, statement: str, parameters: Parameters) -> Rows:
        given = (parameters,) if parameters else ()
        cursor = self._connection.cursor()
        try:
            cursor.execute(statement, *given)
            return [] if cursor.description is None else list(cursor.fetchall())
        finally:
            cursor.close()

    async def _commit(self) -> None:
        await self._call(self._connection.commit)

    async def _rollback(self) -> None:
        await self._call(self._connection.rollback)


class _SQLiteDatabase(_ThreadedDatabase):
    """sqlite3: a transaction begins and ends by statements, whatever its mode is."""

    def _check_mode(self) -> None:
        # Its autocommit mode does not matter: BEGIN turns it off.
        pass

    def _is_in_transaction(self) -> bool:
        if getattr(self._connection, "autocommit", True) is False:
            msg = (
                "with autocommit=False the connection always is in a transaction: leave"
                " that argument of sqlite3.connect out"
            )
            raise ValueError(msg)
        return super()._is_in_transaction()

    async def _begin(self) -> None:
        await self._call(self._begin_in_thread)

    def _begin_in_thread(self) -> None:
        try:
            self._connection.cursor().close()
        except sqlite3.ProgrammingError as error:
            msg = (
                f"the connection can't be used in another thread ({error}): create it"
                " with sqlite3.connect(..., check_same_thread=False)"
            )
            raise ValueError(msg) from error
        # IMMEDIATE: one that only reads at first may fail to write later.
        self._execute("BEGIN IMMEDIATE", ())

    async def _commit(self) -> None:
        await self.execute("COMMIT", ())

    async def _rollback(self) -> None:
        # An error may have rolled it back.
        if self._connection.in_transaction:
            await self.execute("ROLLBACK", ())


def to_database(connection: object) -> Database:
    """Return a transaction on a connection of the program, which has not begun.

    Raises:
        TypeError: It is no connection that can be used.
    """
    if isinstance(connection, type):
        has_dbapi = has_asyncpg = False
    else:
        has_dbapi = all(hasattr(connection, name) for name in _DBAPI)
        has_asyncpg = all(hasattr(connection, name) for name in _ASYNCPG)
    style = _paramstyle(type(connection)) if has_dbapi else None
    if style is not None:
        if isinstance(connection, sqlite3.Connection):
            return _SQLiteDatabase(connection, style)
        if inspect.iscoroutinefunction(getattr(connection, "commit", None)):
            return _AsyncDatabase(connection, style)
        return _ThreadedDatabase(connection, style)
    if has_asyncpg:
        return _AsyncpgDatabase(connection)
    msg = (
        "connection must be one of a DB-API 2.0 driver, of asyncpg or of psycopg, not"
        f" {type(connection).__name__}"
    )
    raise TypeError(msg)


def _paramstyle(kind: type) -> str | None:
    """Return the ``paramstyle`` of the driver (PEP 249); None: it is no driver."""
    for base in kind.__mro__:
        driver = sys.modules.get(base.__module__.partition(".")[0])
        style = getattr(driver, "paramstyle", None)
        if isinstance(style, str):
            return style
    return None
