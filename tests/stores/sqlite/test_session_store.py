"""The store of one session in a SQLite file."""

import asyncio
import gc
import sqlite3
import sys
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from aiomqtt import Properties
from aiomqtt.protocol.changes import Change, ChangeKind, SessionState
from aiomqtt.protocol.delivery import DONE
from aiomqtt.stores.base import FIRST_PLACE, SessionStore, SessionStoreError
from aiomqtt.stores.memory import MemoryStore
from aiomqtt.stores.sqlite.file import DatabaseFile
from aiomqtt.stores.sqlite.schema import SESSION_SCHEMA
from aiomqtt.stores.sqlite.session_store import SQLiteSessionStore
from aiomqtt.testing.session_changes import Conversation, added


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "session.db"


@pytest.fixture
async def open_store(path: Path):
    """Return a function that creates a store, which the test need not close."""
    stores: list[SQLiteSessionStore] = []

    def create(**arguments: Any) -> SQLiteSessionStore:
        stores.append(SQLiteSessionStore(path, **arguments))
        return stores[-1]

    yield create
    for store in stores:
        await store.close()


async def read(store: SQLiteSessionStore, window: int = 1_000_000) -> SessionState:
    opened = await store.open("me", window)
    await store.close()
    return opened.state


async def test_a_file_of_the_first_version_is_migrated(path, open_store):
    first = SESSION_SCHEMA._replace(migrations=SESSION_SCHEMA.migrations[:1])
    file = DatabaseFile(path, first)
    file.open()
    with file.transaction() as connection:
        connection.execute("INSERT INTO aiomqtt_session (client_id) VALUES ('me')")
        connection.execute("INSERT INTO aiomqtt_received VALUES (7)")
    file.close()
    store = open_store()
    assert (await read(store)).received == {7}
    await store.open("me", 10)
    await store.commit([Change(ChangeKind.NAMED, 7, "flow")])
    await store.close()
    assert (await read(store)).flows == {7: "flow"}


async def test_a_file_without_reservations_is_migrated(path, open_store):
    second = SESSION_SCHEMA._replace(migrations=SESSION_SCHEMA.migrations[:2])
    file = DatabaseFile(path, second)
    file.open()
    with file.transaction() as connection:
        connection.execute(
            "INSERT INTO aiomqtt_session (client_id, last_packet_id) VALUES ('me', 7)"
        )
    file.close()
    state = await read(open_store())
    assert state.last_packet_id == 7
    assert (state.reserved_first, state.reserved_last) == (0, 0)
    store = open_store()
    await store.open("me", 10)
    await store.commit([Change(ChangeKind.RESERVED, 1031, 8)])
    await store.close()
    state = await read(open_store())
    assert (state.reserved_first, state.reserved_last) == (8, 1031)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE aiomqtt_session SET last_packet_id = 65536",
        "UPDATE aiomqtt_session SET last_packet_id = 'x'",
        "UPDATE aiomqtt_session SET reserved_first = -1, reserved_last = 7",
        "UPDATE aiomqtt_session SET reserved_last = 7",
        "UPDATE aiomqtt_session SET last_sequence = 'x'",
        "UPDATE aiomqtt_session SET waiting = 'x'",
        "UPDATE aiomqtt_session SET waiting = -1",
        "UPDATE aiomqtt_session SET waiting_size = 'x'",
        "UPDATE aiomqtt_session SET generation = 1.5",
        "UPDATE aiomqtt_session SET in_flight = 7",
        "UPDATE aiomqtt_session SET generation = 'x'",
        "INSERT INTO aiomqtt_received VALUES (0)",
        "INSERT INTO aiomqtt_blocked VALUES (65536)",
        "INSERT INTO aiomqtt_flows VALUES (1, x'00')",
        "INSERT INTO aiomqtt_subscriptions VALUES ('f', 3, 0, 0, 0, 0, 0)",
        "UPDATE aiomqtt_deliveries SET packet_id = 65536",
        "UPDATE aiomqtt_deliveries SET identifiers = 'x'",
        "UPDATE aiomqtt_deliveries SET reason_code = 256",
        "UPDATE aiomqtt_deliveries SET released = 'x'",
        "UPDATE aiomqtt_deliveries SET packet_id = 1",
        "UPDATE aiomqtt_deliveries SET sequence = 'x'",
        "UPDATE aiomqtt_deliveries SET topic = x'61'",
        "UPDATE aiomqtt_deliveries SET payload = 'x', checksum = NULL",
        "UPDATE aiomqtt_deliveries SET receipt_id = x'61'",
        "UPDATE aiomqtt_deliveries SET identifiers = '0'",
        "UPDATE aiomqtt_deliveries SET expires = 'x'",
        "UPDATE aiomqtt_deliveries SET expires = 1.5",
    ],
)
async def test_values_that_can_not_be_are_refused(path, open_store, statement):
    store = open_store()
    await store.open("me", 10)
    await store.commit([added(1)])
    await store.close()
    before = await read(open_store())
    with sqlite3.connect(path) as connection:
        kept = "\n".join(connection.iterdump())
        connection.execute(statement)
    connection.close()
    for _ in range(2):
        with pytest.raises(SessionStoreError, match="it is damaged"):
            await store.open("me", 10)
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.executescript(kept)
        connection.execute(f"PRAGMA application_id = {SESSION_SCHEMA.application_id}")
        connection.execute(f"PRAGMA user_version = {len(SESSION_SCHEMA.migrations)}")
    connection.close()
    assert await read(open_store()) == before


@pytest.mark.parametrize(
    "values",
    ["state = 'lost'", "reason_code = 'x'", "changed_at = 'now'", "id = x'61'"],
)
async def test_receipts_that_can_not_be_are_refused(path, open_store, values):
    store = open_store(clock=Clock())
    await store.open("me", 10)
    await store.commit([added(1, 7, "order 1")])
    await store.commit([Change(ChangeKind.ENDED, 1, (DONE, 0))])
    assert [each.id for each in await store.list_receipts()] == ["order 1"]
    await store.close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE aiomqtt_receipts SET {values}")
    connection.close()
    await store.open("me", 10)
    with pytest.raises(SessionStoreError, match="it is damaged"):
        await store.list_receipts()
    # It is still of use.
    await store.commit([added(2)])
    await store.close()


@pytest.mark.parametrize(("durability", "usual"), [("normal", 1), ("full", 2)])
async def test_a_group_that_reserves_is_written_to_the_disk(
    open_store, durability, usual
):
    store = open_store(durability=durability)
    seen = []

    def see(name: str) -> None:
        connection = store._file.connection
        if name == "commit" and connection is not None:
            seen.extend(connection.execute("PRAGMA synchronous").fetchone())

    await store.open("me", 10)
    store.on_step(see)
    # The second one is none.
    for last, first in ((1024, 1), (0, 0), (2048, 1025)):
        await store.commit([added(last + 1, 1)])
        await store.commit([Change(ChangeKind.RESERVED, last, first)])
    await store.close()
    assert seen == [usual, 2, usual, usual, usual, 2]


async def test_the_session_is_there_when_it_is_opened_again(path, open_store):
    store = open_store()
    assert isinstance(store, SessionStore)
    opened = await store.open("me", 10)
    assert opened == (SessionState("me"), FIRST_PLACE, 0, 0, 0, 1)
    await store.commit([Change(ChangeKind.IDENTIFIED, None, ("me", True, True))])
    await store.commit([added(1, 7), *map(added, range(2, 6))])
    await store.close()
    # Another process has only the file.
    store = open_store()
    state, place, remaining, size, qos0, generation = await store.open("me", 2)
    assert (state.exists, state.connected_before) == (True, True)
    assert (state.last_packet_id, state.last_sequence) == (7, 5)
    assert [*state.deliveries] == [1, 2, 3]
    assert (remaining, size, qos0, generation) == (2, 4, 0, 2)
    assert [one.sequence for _, one in await store.load_queued(place, 10)] == [4, 5]
    await store.close()
    assert [*path.parent.iterdir()] == [path]


@pytest.mark.parametrize("is_strange", [False, True])
@pytest.mark.parametrize("seed", range(8))
async def test_the_changes_make_of_the_file_what_they_make_of_a_state(
    open_store, seed, is_strange
):
    conversation = Conversation(seed, is_strange=is_strange)
    clock = Clock()
    store = open_store(clock=clock)
    memory = MemoryStore(clock=clock)
    await memory.open("me", 0)
    for round_number in range(12):
        opened = await store.open("me", 1_000_000)
        assert opened.state == conversation.state
        assert opened.remaining == opened.remaining_size == 0
        for size in (1, 3, 40)[: 1 + round_number % 3]:
            clock.now += 1
            changes = conversation.go_on(size)
            await store.commit(changes)
            await memory.commit(changes)
        assert {*await store.list_receipts()} == {*await memory.list_receipts()}
        await store.close()


@pytest.mark.parametrize("window", [0, 1, 3])
@pytest.mark.parametrize("seed", range(5))
async def test_what_does_not_fit_into_the_window_is_loaded_later(
    open_store, seed, window
):
    conversation = Conversation(seed, is_strange=seed > 2)
    store = open_store()
    await store.open("me", 0)
    changes = conversation.go_on(150)
    await store.commit(changes)
    await store.close()
    in_memory = MemoryStore()
    await in_memory.open("me", 0)
    await in_memory.commit(changes)
    await in_memory.close()
    expected = await in_memory.open("me", window)
    opened = await store.open("me", window)
    assert (opened.state, opened.remaining) == (expected.state, expected.remaining)
    assert opened.remaining_size == expected.remaining_size
    assert opened.remaining_qos0 == expected.remaining_qos0
    places = [opened.place, expected.place]
    for count in (5, 1, 100):
        loaded = [
            await one.load_queued(place, count)
            for one, place in zip((store, in_memory), places, strict=True)
        ]
        assert [one for _, one in loaded[0]] == [one for _, one in loaded[1]]
        if loaded[0]:
            places = [found[-1][0] for found in loaded]
    assert len(loaded[0]) == max(0, opened.remaining - 6)
    await store.close()


async def test_a_file_is_for_one_client_at_a_time(open_store):
    store, other = open_store(), open_store()
    with pytest.raises(SessionStoreError, match="not open"):
        await store.commit([])
    await store.open("me", 10)
    with pytest.raises(SessionStoreError, match="in use here already"):
        await store.open("me", 10)
    with pytest.raises(SessionStoreError, match="another client of this process"):
        await other.open("me", 10)
    await store.commit([added(1)])
    await store.close()
    await store.close()
    with pytest.raises(SessionStoreError, match="'me', not to 'you'"):
        await other.open("you", 10)
    assert [*(await read(other)).deliveries] == [1]


async def test_receipts_outlive_the_process(path, open_store):
    clock = Clock()
    store = open_store(keep_receipts=60.0, clock=clock)
    await store.open("me", 10)
    await store.commit(
        [added(1, 1, "done"), added(2, 0, "waits"), added(3, 0, "flies")]
    )
    clock.now += 1
    await store.commit(
        [Change(ChangeKind.ENDED, 1, (DONE, 0x10)), Change(ChangeKind.SENT, 3, 2)]
    )
    await store.close()
    store = open_store(keep_receipts=60.0, clock=clock)
    await store.open("me", 10)
    assert await store.list_receipts() == [
        ("waits", "queued", None, 1000.0),
        ("done", "acknowledged", 0x10, 1001.0),
        ("flies", "in flight", None, 1001.0),
    ]
    assert await store.find_receipt("done") == ("done", "acknowledged", 0x10, 1001.0)
    assert await store.find_receipt("unknown") is None
    # The id of a message that has ended may be used again.
    await store.commit([added(4, 0, "done")])
    assert (await store.find_receipt("done")).state == "queued"
    await store.commit([Change(ChangeKind.ENDED, 4, (DONE, 0))])
    clock.now += 60
    assert await store.find_receipt("done") is None
    assert [one.id for one in await store.list_receipts()] == ["waits", "flies"]
    await store.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT * FROM aiomqtt_receipts").fetchall() == []
    connection.close()


async def test_a_group_is_stored_as_a_whole_or_not_at_all(open_store):
    store = open_store()
    await store.open("me", 10)
    await store.commit([added(1)])
    pages = await store._worker.call(store._file.pages)
    limit = f"PRAGMA max_page_count = {pages + 20}"
    await store._worker.call(lambda: store._file.connected().execute(limit).fetchall())
    large = [added(number, payload=b"x" * 5000) for number in range(2, 40)]
    with pytest.raises(SessionStoreError, match=r"session\.db: the disk is full"):
        await store.commit([Change(ChangeKind.ENDED, 1), *large])
    # What it knows may not fit the file any more.
    with pytest.raises(SessionStoreError, match="written: start again"):
        await store.commit([added(2)])
    await store.close()
    assert [*(await read(store)).deliveries] == [1]


async def test_a_large_group_is_inserted_in_parts_between_which_others_can_run(
    open_store,
):
    store = open_store()
    await store.open("me", 10)
    steps: list[str] = []
    store.on_step(steps.append)
    group = [
        added(number, number, f"reading {number}" if number % 3 else "")
        for number in range(1, 5000)
    ]
    await store.commit(group)
    # With 8 or 12 values each, of which at most 2,048 gather.
    assert steps.count("insert deliveries") > 5000 * 10 // 2048
    await store.close()
    assert (await read(store)).deliveries == {
        change.key: change.value for change in group
    }


async def test_a_call_that_is_cancelled_leaves_nothing_half_done(open_store, caplog):
    store = open_store()
    opening = asyncio.create_task(store.open("me", 10))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await store.open("me", 10)
    group = [added(number) for number in range(1, 500)]
    committing = asyncio.create_task(store.commit(group))
    await asyncio.sleep(0)
    committing.cancel()
    # This one fails, and nobody waits for it.
    failing = asyncio.create_task(store.commit([added(1)]))
    await asyncio.sleep(0)
    failing.cancel()
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(committing, failing, closing, return_exceptions=True)
    state = await read(store)
    assert len(state.deliveries) == 499
    gc.collect()
    assert "never retrieved" not in caplog.text
    assert not [one for one in threading.enumerate() if "aiomqtt" in one.name]


async def test_arguments_are_checked(open_store):
    with pytest.raises(ValueError, match='"normal" or "full", not \'safe\''):
        open_store(durability="safe")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="0 or more seconds, not -1"):
        open_store(keep_receipts=-1)


async def test_each_step_is_announced(open_store):
    steps: list[str] = []
    store = open_store(durability="full")
    store.on_step(steps.append)
    await store.open("me", 10)
    await store.commit([added(1)])
    await store.close()
    assert steps[:3] == ["take lease", "create", "migrate"]
    assert steps[-8:-2] == [
        "begin", "insert deliveries", "write session", "commit", "committed",
        "forget receipts",
    ]  # fmt: skip
    assert steps[-2:] == ["close", "release lease"]


async def test_opening_a_long_queue_takes_memory_for_the_window_only(open_store):
    store = open_store()
    await store.open("me", 10)
    for start in range(1, 20_001, 5000):
        group = [added(n, payload=b"x" * 1000) for n in range(start, start + 5000)]
        await store.commit([added(start, 1 + start), *group[1:]])
    await store.close()
    tracemalloc.start()
    try:
        opened = await store.open("me", 10)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(opened.state.deliveries) == 14
    assert (opened.remaining, opened.state.last_sequence) == (19_986, 20_000)
    assert peak < 500_000


async def test_the_file_of_a_queue_that_was_drained_is_small_again(path, open_store):
    store = open_store()
    await store.open("me", 0)
    await store.commit([added(n, payload=b"x" * 5000) for n in range(1, 2001)])
    large = await store._worker.call(store._file.pages)
    for start in range(1, 2001, 40):
        await store.commit(
            [Change(ChangeKind.ENDED, n) for n in range(start, start + 40)]
        )
    # It is given back while the session is open.
    assert await store._worker.call(store._file.pages) < large / 5
    await store.close()
    assert path.stat().st_size < large * 4096 / 5


@pytest.mark.parametrize("jump", [-1e6, 1e6])
async def test_a_clock_that_is_set_loses_no_message(open_store, jump):
    clock = Clock()
    store = open_store(keep_receipts=60.0, clock=clock)
    await store.open("me", 10)
    expiring = {
        "expires": 1010.0,
        "properties": Properties(message_expiry_interval=10),
    }
    await store.commit([added(1, 7, "done"), added(2, 0, "waits", **expiring)])
    await store.commit([Change(ChangeKind.ENDED, 1, (DONE, 0))])
    clock.now += jump
    await store.commit([added(3, 0, "later")])
    await store.close()
    state = (await store.open("me", 10)).state
    assert [*state.deliveries] == [2, 3]
    assert state.deliveries[2].expires == 1010.0
    # A receipt may be forgotten too early, never be wrong.
    found = {one.id: one.state for one in await store.list_receipts()}
    assert found.pop("done", "acknowledged") == "acknowledged"
    assert found == {"waits": "queued", "later": "queued"}


@pytest.mark.skipif(sys.platform == "win32", reason="a file in use can't be deleted")
async def test_of_two_that_have_it_the_first_stores_no_more(path, open_store):
    """Somebody has deleted the file of the lease."""
    first, second = open_store(), open_store()
    await first.open("me", 10)
    lease = path.with_name(f"{path.name}-lease")
    lease.unlink()
    await second.open("me", 10)
    await second.commit([added(1)])
    for call in (first.commit([added(1)]), first.begin(), first.commit([added(2)])):
        with pytest.raises(SessionStoreError):
            await call
    with pytest.raises(SessionStoreError, match="another client has opened it since"):
        await first.begin()
    await first.close()
    # That was not its lease any more.
    assert lease.exists()
    await second.commit([added(2)])
    await second.close()
    assert [*(await read(second)).deliveries] == [1, 2]
