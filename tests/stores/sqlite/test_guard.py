"""What statements of a program may do."""

import sqlite3

import pytest

from aiomqtt.stores.sqlite.guard import Guard
from aiomqtt.stores.sqlite.schema import SESSION_SCHEMA


@pytest.fixture
def connection():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for statements in SESSION_SCHEMA.migrations:
        for statement in statements:
            connection.execute(statement)
    yield connection
    connection.close()


FORBIDDEN = [
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "ATTACH ':memory:' AS other",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA user_version = 7",
    "VACUUM",
    "DELETE FROM aiomqtt_deliveries",
    "DELETE FROM AIOMQTT_DELIVERIES WHERE place = 1",
    "UPDATE aiomqtt_session SET client_id = 'you'",
    "INSERT INTO aiomqtt_blocked VALUES (1)",
    "DROP TABLE aiomqtt_receipts",
    "ALTER TABLE aiomqtt_session ADD x",
    "CREATE INDEX mine ON aiomqtt_deliveries (topic)",
    "DROP INDEX aiomqtt_receipts_by_age",
    "CREATE TABLE aiomqtt_mine (a)",
    "CREATE TRIGGER t AFTER INSERT ON aiomqtt_staged BEGIN SELECT 1; END",
    # They would stand before ours.
    "CREATE TEMP TABLE aiomqtt_session (a)",
    "CREATE TEMP VIEW aiomqtt_staged AS SELECT 1",
    "CREATE TEMP TRIGGER t AFTER INSERT ON aiomqtt_staged BEGIN SELECT 1; END",
    "WITH x AS (SELECT 1) DELETE FROM aiomqtt_received",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_it_must_not_touch_what_is_ours(connection, statement):
    guard = Guard(connection)
    # Ours does it, and its compiled form does not help the program.
    if statement.startswith(("DELETE", "UPDATE")):
        connection.execute(statement)
    with pytest.raises(ValueError, match="must not begin or end a transaction, attach"):
        guard.execute(statement)


def test_a_trigger_of_the_program_must_not_either(connection):
    guard = Guard(connection)
    guard.execute("CREATE TABLE mine (a)")
    guard.execute(
        "CREATE TRIGGER t AFTER INSERT ON mine BEGIN DELETE FROM aiomqtt_blocked; END"
    )
    with pytest.raises(ValueError, match="must not"):
        guard.execute("INSERT INTO mine VALUES (1)")


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT count(*) FROM aiomqtt_deliveries",
        "CREATE TABLE mine (a)",
        "CREATE TABLE receipts (a)",
        "PRAGMA table_info(aiomqtt_session)",
        "SAVEPOINT s",
        "CREATE TEMP TABLE mine (a)",
    ],
)
def test_it_may_do_the_rest(connection, statement):
    Guard(connection).execute(statement)


def test_other_errors_are_those_of_sqlite(connection):
    with pytest.raises(sqlite3.OperationalError, match="syntax error"):
        Guard(connection).execute("no statement")
