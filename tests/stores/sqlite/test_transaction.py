"""Transactions of the program: its rows and its messages, together or not at all."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from aiomqtt.properties import Properties
from aiomqtt.protocol.changes import Change, ChangeKind
from aiomqtt.protocol.delivery import QUEUED
from aiomqtt.stores.base import SessionStoreError
from aiomqtt.stores.sqlite.session_store import SQLiteSessionStore
from aiomqtt.stores.sqlite.transaction import StagedMessage
from aiomqtt.testing.session_changes import added

CREATE = "CREATE TABLE readings (value INTEGER PRIMARY KEY)"
INSERT = "INSERT INTO readings VALUES (?)"


@pytest.fixture
async def store(tmp_path: Path):
    store = SQLiteSessionStore(tmp_path / "session.db", clock=lambda: 1000.0)
    await store.open("me", 10)
    transaction = await store.begin()
    await transaction.execute(CREATE)
    await transaction.commit()
    yield store
    await store.close()


def message(payload: bytes = b"21", receipt_id: str = "") -> StagedMessage:
    properties = Properties(message_expiry_interval=60)
    return StagedMessage("t", payload, 1, True, properties, 1060.0, receipt_id, 1000.0)


async def values(store: SQLiteSessionStore) -> list[int]:
    transaction = await store.begin()
    rows = (await transaction.execute("SELECT value FROM readings")).rows
    await transaction.rollback()
    return [value for (value,) in rows]


async def test_rows_and_messages_are_committed_together(store):
    transaction = await store.begin()
    done = await transaction.execute(INSERT, (21,))
    assert (done.rows, done.row_count, done.last_row_id) == ([], 1, 21)
    assert await transaction.stage(message(receipt_id="a")) == 1
    assert await transaction.stage(message(b"22")) == 2
    await transaction.receive(5)
    await transaction.receive(5)
    await transaction.commit()
    assert (await store.find_receipt("a")).state == "queued"
    # The process ends before the session takes them: the next one finds them.
    await store.close()
    state = (await store.open("me", 10)).state
    first, second = state.deliveries.values()
    assert (first.sequence, first.state, first.qos, first.retain) == (
        1,
        QUEUED,
        1,
        True,
    )
    assert (first.topic, first.payload, first.expires) == ("t", b"21", 1060.0)
    assert first.properties == Properties(message_expiry_interval=60)
    assert (first.receipt_id, second.receipt_id) == ("a", "")
    assert (second.sequence, state.last_sequence, state.received) == (2, 2, {5})
    assert await values(store) == [21]
    # They are deliveries now, and are there once.
    await store.close()
    opened = await store.open("me", 1)
    assert [*opened.state.deliveries] == [1]
    assert (opened.remaining, opened.remaining_size) == (1, 3)


async def test_what_the_session_has_taken_is_not_staged_any_more(store):
    transaction = await store.begin()
    number = await transaction.stage(message())
    await transaction.commit()
    await store.commit([added(1, 7), Change(ChangeKind.UNSTAGED, number)])
    await store.close()
    state = (await store.open("me", 10)).state
    assert [one.packet_id for one in state.deliveries.values()] == [7]


async def test_what_was_rolled_back_has_not_happened(store):
    transaction = await store.begin()
    await transaction.execute(INSERT, (21,))
    await transaction.stage(message())
    await transaction.receive(5)
    await transaction.rollback()
    await transaction.rollback()
    with pytest.raises(SessionStoreError, match="the transaction has ended"):
        await transaction.execute(INSERT, (22,))
    with pytest.raises(SessionStoreError, match="the transaction has ended"):
        await transaction.commit()
    assert await values(store) == []
    await store.commit(
        [Change(ChangeKind.RECEIVED, 5), Change(ChangeKind.COMPLETED, 5)]
    )
    await store.close()
    state = (await store.open("me", 10)).state
    assert not state.deliveries
    assert not state.received


async def test_the_session_goes_on_after_it(store):
    transaction = await store.begin()
    await transaction.receive(5)
    waiting = asyncio.create_task(store.commit([added(1)]))
    other = asyncio.create_task(store.begin())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    assert not other.done()
    await transaction.commit()
    await waiting
    await (await other).rollback()
    # What it has received is known to the session.
    await store.commit(
        [Change(ChangeKind.RECEIVED, 5), Change(ChangeKind.COMPLETED, 5)]
    )
    await store.close()
    state = (await store.open("me", 10)).state
    assert [*state.deliveries] == [1]
    assert not state.received


async def test_an_error_of_a_statement_is_its_own(store):
    transaction = await store.begin()
    await transaction.execute(INSERT, (1,))
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        await transaction.execute(INSERT, (1,))
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await transaction.execute("SELECT * FROM missing")
    await transaction.execute("SAVEPOINT s")
    await transaction.execute(INSERT, (2,))
    await transaction.execute("ROLLBACK TO s")
    await transaction.commit()
    assert await values(store) == [1]


async def test_an_error_that_undoes_all_is_noticed(store):
    transaction = await store.begin()
    await transaction.execute(INSERT, (1,))
    with pytest.raises(sqlite3.IntegrityError):
        await transaction.execute("INSERT OR ROLLBACK INTO readings VALUES (1)")
    with pytest.raises(SessionStoreError, match="an error has undone the transaction"):
        await transaction.execute(INSERT, (2,))
    with pytest.raises(SessionStoreError, match="an error has undone the transaction"):
        await transaction.commit()
    assert await values(store) == []


async def test_a_full_disk_is_an_error_of_the_store(store):
    pages = await store._worker.call(store._file.pages)
    limit = f"PRAGMA max_page_count = {pages + 5}"
    await store._worker.call(lambda: store._file.connected().execute(limit).fetchall())
    transaction = await store.begin()
    await transaction.execute(INSERT, (1,))
    with pytest.raises(SessionStoreError, match="the disk is full"):
        await transaction.stage(message(b"x" * 1_000_000))
    await transaction.rollback()
    # It has changed nothing: the session goes on.
    await store.commit([added(1)])
    assert await values(store) == []


async def test_a_transaction_is_undone_if_the_session_is_closed(store):
    transaction = await store.begin()
    await transaction.execute(INSERT, (1,))
    waiting = asyncio.create_task(store.commit([added(1)]))
    await asyncio.sleep(0)
    await store.close()
    with pytest.raises(SessionStoreError, match="not open"):
        await waiting
    with pytest.raises(SessionStoreError, match="not open"):
        await store.begin()
    await store.open("me", 10)
    with pytest.raises(SessionStoreError, match="closed, which has undone the trans"):
        await transaction.commit()
    await transaction.rollback()
    assert await values(store) == []


async def test_cancelled_calls_leave_no_transaction_open(store):
    beginning = asyncio.create_task(store.begin())
    await asyncio.sleep(0)
    beginning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beginning
    transaction = await store.begin()
    executing = asyncio.create_task(transaction.execute(INSERT, (1,)))
    await asyncio.sleep(0)
    executing.cancel()
    rolling_back = asyncio.create_task(transaction.rollback())
    await asyncio.sleep(0)
    rolling_back.cancel()
    await asyncio.gather(executing, rolling_back, return_exceptions=True)
    assert await values(store) == []
    await store.commit([added(1)])
