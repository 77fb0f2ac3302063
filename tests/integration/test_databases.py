"""Transactions with messages in databases of PostgreSQL, over each of its drivers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeAlias

import asyncpg
import psycopg
import pytest
from psycopg.rows import dict_row

import aiomqtt
from aiomqtt.client.databases_async import to_database
from tests.integration.programs import client_of, take
from tests.postgres_servers import PostgresServer
from tests.raw_scripts import turns
from tests.until import until

pytestmark = pytest.mark.timeout(60)

OWN = pytest.mark.parametrize("broker_kind", ["own"], indirect=True)
Connect: TypeAlias = Callable[[], Awaitable[Any]]
TABLES = f"""
DROP TABLE IF EXISTS aiomqtt_processed, readings;
{aiomqtt.PROCESSED_TABLE};
CREATE TABLE readings (value INTEGER NOT NULL CHECK (value > 0));
"""


@pytest.fixture
def tables(postgres: PostgresServer) -> Iterator[psycopg.Connection[Any]]:
    """The tables, and a connection that looks at them."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(TABLES)
        yield connection


async def _open(kind: str, url: str) -> Any:
    if kind == "asyncpg":
        return await asyncpg.connect(url)
    if kind == "psycopg, asyncio":
        return await psycopg.AsyncConnection.connect(url)
    row_factory: Any = dict_row
    options: dict[str, Any] = {"row_factory": row_factory} if "dicts" in kind else {}
    return psycopg.connect(url, **options)


@pytest.fixture(params=["psycopg", "psycopg, dicts", "psycopg, asyncio", "asyncpg"])
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
async def connect(
    kind: str, postgres: PostgresServer, tables: Any
) -> AsyncIterator[Connect]:
    """Return a function that connects with one of the drivers."""
    connections: list[Any] = []

    async def open_one() -> Any:
        connections.append(await _open(kind, postgres.url))
        return connections[-1]

    yield open_one
    for connection in connections:
        closing = connection.close()
        if asyncio.iscoroutine(closing):
            await closing


def values(tables: psycopg.Connection[Any]) -> list[int]:
    return [value for (value,) in tables.execute("SELECT value FROM readings")]


async def insert(database: Any, value: int) -> None:
    statement = f"INSERT INTO readings VALUES ({database.marker(1)})"
    await database.execute(statement, database.named((value,)))


@pytest.mark.parametrize("commits", [True, False])
async def test_a_transaction(connect, tables, commits):
    connection = await connect()
    for value in (5, 6):
        database = to_database(connection)
        await database.begin()
        await insert(database, value)
        assert value not in values(tables)
        rows = await database.execute("SELECT value FROM readings", ())
        assert len(rows) == (value - 4 if commits else 1)
        await database.end(commits)
    assert values(tables) == ([5, 6] if commits else [])


async def test_an_error_undoes_it_and_the_connection_can_be_used(connect, tables):
    connection = await connect()
    for wrong in ("INSERT INTO readings VALUES (0)", "INSERT INTO nothing VALUES (1)"):
        database = to_database(connection)
        await database.begin()
        await insert(database, 5)
        with pytest.raises((psycopg.Error, asyncpg.PostgresError)):
            await database.execute(wrong, ())
        await database.end(False)
    database = to_database(connection)
    await database.begin()
    await insert(database, 6)
    await database.end(True)
    assert values(tables) == [6]


async def test_a_commit_that_violates_a_constraint(connect, tables):
    tables.execute(
        "ALTER TABLE readings ADD CONSTRAINT once UNIQUE (value) DEFERRABLE"
        " INITIALLY DEFERRED"
    )
    connection = await connect()
    database = to_database(connection)
    await database.begin()
    await insert(database, 5)
    await insert(database, 5)
    with pytest.raises((psycopg.Error, asyncpg.PostgresError)):
        await database.end(True)
    assert values(tables) == []
    database = to_database(connection)
    await database.begin()
    await database.end(True)


async def test_a_connection_in_a_transaction_is_refused(connect, kind):
    connection = await connect()
    if kind == "asyncpg":
        await connection.execute("BEGIN")
    else:
        begun = connection.execute("SELECT 1")
        if asyncio.iscoroutine(begun):
            await begun
    with pytest.raises(ValueError, match="in a transaction already"):
        await to_database(connection).begin()


async def test_a_connection_that_commits_by_itself_is_refused(postgres, tables):
    connection = psycopg.connect(postgres.url, autocommit=True)
    with connection, pytest.raises(ValueError, match="autocommit"):
        await to_database(connection).begin()


async def test_a_connection_of_a_pool(postgres, tables):
    async with asyncpg.create_pool(postgres.url, min_size=1, max_size=1) as pool:
        with pytest.raises(TypeError, match="connection must be"):
            to_database(pool)
        async with pool.acquire() as connection:
            database = to_database(connection)
            await database.begin()
            await insert(database, 5)
            await database.end(True)
    assert values(tables) == [5]


async def test_a_statement_that_is_cancelled(connect, tables):
    connection = await connect()
    database = to_database(connection)
    await database.begin()
    await insert(database, 5)
    slow = asyncio.create_task(database.execute("SELECT pg_sleep(0.3)", ()))
    await asyncio.sleep(0.05)
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    await database.end(False)
    database = to_database(connection)
    await database.begin()
    await insert(database, 6)
    await database.end(True)
    assert values(tables) == [6]


async def test_a_connection_that_is_lost(connect, tables):
    database = to_database(await connect())
    await database.begin()
    await insert(database, 5)
    tables.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    with pytest.raises((psycopg.Error, asyncpg.PostgresError, OSError)):
        await insert(database, 6)
    await database.end(False)
    assert values(tables) == []
    with pytest.raises((psycopg.Error, asyncpg.InterfaceError, OSError)):
        database = to_database(database._connection)
        await database.begin()
        await insert(database, 7)
    await database.end(False)


# --- messages -------------------------------------------------------------------------


@OWN
async def test_messages_are_processed_once(connect, tables, broker, tmp_path):
    """Each is left twice before PUBREC leaves, and comes again."""
    connection = await connect()
    is_new: list[bool] = []
    async with client_of(broker) as publisher:
        for attempt in range(6):
            session = aiomqtt.SQLiteSession(tmp_path / "session.db")
            client = client_of(
                broker,
                identifier="me",
                session=session,
                ack="manual",
            )
            async with client:
                await client.subscribe("t", 2)
                if attempt % 3 == 0:
                    await publisher.publish("t", attempt + 1, 2)
                [message] = await take(client, 1)
                tx = message.transaction(connection)
                await tx.__aenter__()
                is_new.append(not tx.repeated)
                if not tx.repeated:
                    await insert(tx._database, int(message.payload))
                if attempt % 3 == 2:
                    await tx.__aexit__(None, None, None)
                else:
                    await tx._database.end(True)
                    assert client._calls is not None
                    client._calls.driver.abort()
                    tx._inbox.end_turn(tx._ticket)
    assert is_new == [True, False, False] * 2
    assert values(tables) == [1, 4]


@OWN
async def test_two_transactions_with_one_connection(connect, tables, broker, tmp_path):
    first, second = await connect(), await connect()
    session = aiomqtt.SQLiteSession(tmp_path / "session.db")
    options: dict[str, Any] = {"identifier": "me", "session": session, "ack": "manual"}
    async with client_of(broker, **options) as client:
        await client.subscribe("t", 2)
        for value in (1, 2):
            await client.publish("t", value, 2)
        one, other = await take(client, 2)
        async with one.transaction(first) as tx:
            with pytest.raises(ValueError, match="in a transaction already"):
                await other.transaction(first).__aenter__()
            async with other.transaction(second) as other_tx:
                await insert(other_tx._database, 2)
            await insert(tx._database, 1)
        # Each row is that of its own message.
        [(count,)] = tables.execute("SELECT count(*) FROM aiomqtt_processed")
        assert count == 2
        await until(lambda: not len(client._engine.session.inbound))
    assert sorted(values(tables)) == [1, 2]


@OWN
async def test_cancelled_at_any_step_it_is_done_or_undone(
    connect, tables, broker, tmp_path
):
    connection = await connect()
    session = aiomqtt.SQLiteSession(tmp_path / "session.db")
    options: dict[str, Any] = {"identifier": "me", "session": session, "ack": "manual"}
    processed: list[int] = []

    async def process(message: aiomqtt.Message) -> None:
        async with message.transaction(connection) as tx:
            await insert(tx._database, int(message.payload))

    async with client_of(broker, **options) as client:
        await client.subscribe("t", 2)
        for step in range(1, 40):
            await client.publish("t", step, 2)
            [message] = await take(client, 1)
            task = asyncio.create_task(process(message))
            # Up to some steps of the loop, or of the server.
            await (turns(step) if step % 2 else asyncio.sleep(step * 3e-4))
            task.cancel()
            await asyncio.wait((task,))
            assert message.ticket is not None
            if message.ticket.is_decided:
                processed.append(step)
            else:
                message.ack()
    assert values(tables) == processed
    assert len(processed) < 39
