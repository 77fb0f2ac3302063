"""Transactions on connections of programs; `tests/integration` has those of servers."""

import asyncio
import sqlite3
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any

import pytest

from aiomqtt.client.databases_async import Database, to_database

TABLE = "CREATE TABLE numbers (number INTEGER NOT NULL CHECK (number > 0))"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "program.db"
    with sqlite3.connect(file) as connection:
        connection.execute(TABLE)
    connection.close()
    return file


@pytest.fixture
def connect(path: Path):
    """Return a function that connects to the file."""
    connections: list[sqlite3.Connection] = []

    def create(**arguments: Any) -> sqlite3.Connection:
        given = {"check_same_thread": False, **arguments}
        connections.append(sqlite3.connect(path, **given))
        return connections[-1]

    yield create
    for connection in connections:
        connection.close()


def numbers(connection: sqlite3.Connection) -> list[int]:
    return [one for (one,) in connection.execute("SELECT number FROM numbers")]


async def insert(database: Database, number: int) -> None:
    statement = f"INSERT INTO numbers VALUES ({database.marker(1)})"
    assert await database.execute(statement, database.named((number,))) == []


@pytest.mark.parametrize("mode", ["DEFERRED", "", None], ids=["deferred", "", "none"])
@pytest.mark.parametrize("commits", [True, False])
async def test_a_transaction_of_sqlite3(connect, mode, commits):
    connection = connect(isolation_level=mode)
    database = to_database(connection)
    await database.begin()
    await insert(database, 5)
    assert await database.execute("SELECT number FROM numbers", ()) == [(5,)]
    assert numbers(connect()) == []
    await database.end(commits)
    assert numbers(connect()) == ([5] if commits else [])
    # It can be used again, also by its program.
    connection.execute("BEGIN")
    connection.rollback()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sqlite3 has no such mode")
async def test_the_modes_of_sqlite3_since_python_3_12(connect):
    connection = connect(autocommit=True)
    database = to_database(connection)
    await database.begin()
    await insert(database, 5)
    await database.end(False)
    assert numbers(connection) == []
    with pytest.raises(ValueError, match="autocommit=False"):
        await to_database(connect(autocommit=False)).begin()


async def test_statements_do_not_block_the_event_loop(connect):
    connection = connect()
    threads: set[int] = set()

    def sleep() -> int:
        threads.add(threading.get_ident())
        time.sleep(0.2)
        return 1

    connection.create_function("sleep", 0, sleep)
    database = to_database(connection)
    await database.begin()
    slow = asyncio.create_task(database.execute("SELECT sleep()", ()))
    turns = 0
    while not slow.done():
        await asyncio.sleep(0.01)
        turns += 1
    assert turns > 5
    assert await slow == [(1,)]
    assert threading.get_ident() not in threads
    # A statement that is cancelled has ended when the call has.
    slow = asyncio.create_task(database.execute("SELECT sleep()", ()))
    await asyncio.sleep(0.05)
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    await database.end(False)


async def test_a_connection_of_another_thread_is_refused(connect):
    connection = connect(check_same_thread=True)
    database = to_database(connection)
    with pytest.raises(ValueError, match="check_same_thread=False"):
        await database.begin()
    assert not connection.in_transaction


async def test_a_connection_is_in_one_transaction_at_a_time(connect):
    connection = connect()
    connection.execute("INSERT INTO numbers VALUES (1)")
    with pytest.raises(ValueError, match="in a transaction already"):
        await to_database(connection).begin()
    connection.commit()
    first = to_database(connection)
    beginning = asyncio.create_task(first.begin())
    await asyncio.sleep(0)
    with pytest.raises(ValueError, match="in a transaction already"):
        await to_database(connection).begin()
    await beginning
    await first.end(True)
    second = to_database(connection)
    await second.begin()
    await second.end(True)
    assert numbers(connection) == [1]


async def test_one_that_can_not_begin_leaves_the_connection_free(connect):
    connection, other = connect(timeout=0.01), connect()
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        await to_database(connection).begin()
    other.rollback()
    database = to_database(connection)
    await database.begin()
    await database.end(True)


async def test_what_can_not_be_committed_is_rolled_back(connect):
    connection = connect()
    connection.executescript(
        "PRAGMA foreign_keys = ON; CREATE TABLE parent (id INTEGER PRIMARY KEY);"
        "CREATE TABLE child (id INTEGER REFERENCES parent (id)"
        " DEFERRABLE INITIALLY DEFERRED);"
    )
    database = to_database(connection)
    await database.begin()
    await insert(database, 5)
    await database.execute("INSERT INTO child VALUES (1)", ())
    with pytest.raises(sqlite3.IntegrityError):
        await database.end(True)
    assert not connection.in_transaction
    assert numbers(connection) == []


async def test_an_error_that_has_rolled_it_back_is_no_trouble(connect):
    database = to_database(connect())
    await database.begin()
    with pytest.raises(sqlite3.IntegrityError):
        await database.execute("INSERT OR ROLLBACK INTO numbers VALUES (0)", ())
    await database.end(False)


async def test_a_rollback_that_fails_does_not_hide_why(connect):
    connection = connect()
    database = to_database(connection)
    await database.begin()
    connection.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed") as raised:
        await database.end(True)
    assert "The rollback has failed, too" in raised.value.__notes__[0]
    await database.end(False)


@pytest.mark.parametrize(
    "wrong", [None, "x", object(), sqlite3.Connection, asyncio.Lock(), sqlite3]
)
def test_what_is_no_connection_is_refused(wrong):
    with pytest.raises(TypeError, match="connection must be one of"):
        to_database(wrong)


# --- other drivers --------------------------------------------------------------------

MARKERS = {
    "qmark": ("?", "?", (5, 6)),
    "format": ("%s", "%s", (5, 6)),
    "pyformat": ("%s", "%s", (5, 6)),
    "numeric": (":1", ":2", (5, 6)),
    "named": (":v1", ":v2", {"v1": 5, "v2": 6}),
}


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch):
    """Return a function that makes the class of the connections of a driver."""

    def make(style: str, **attributes: Any) -> type:
        module = types.ModuleType("some_driver")
        module.paramstyle = style  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "some_driver", module)

        class Connection:
            __module__ = "some_driver.connections"

            def __init__(self) -> None:
                vars(self).update(attributes)

            def cursor(self) -> None: ...
            def commit(self) -> None: ...
            def rollback(self) -> None: ...

        return Connection

    return make


@pytest.mark.parametrize("style", MARKERS)
def test_parameters_are_written_in_the_style_of_the_driver(driver, style):
    database = to_database(driver(style)())
    found = (database.marker(1), database.marker(2), database.named((5, 6)))
    assert found == MARKERS[style]


def test_a_derived_class_is_of_the_same_driver(driver):
    derived = type("Derived", (driver("format"),), {"__module__": __name__})
    assert to_database(derived()).marker(1) == "%s"


async def test_one_that_commits_by_itself_is_refused(driver):
    with pytest.raises(ValueError, match="autocommit"):
        await to_database(driver("format", autocommit=True)()).begin()
    info = types.SimpleNamespace(transaction_status=2)
    with pytest.raises(ValueError, match="in a transaction already"):
        await to_database(driver("format", info=info)()).begin()
    # Unknown, since it is closed: the driver says so.
    closed = types.SimpleNamespace(transaction_status=4)
    for attributes in ({}, {"autocommit": False}, {"info": closed}):
        database = to_database(driver("format", **attributes)())
        await database.begin()
        await database.end(True)
