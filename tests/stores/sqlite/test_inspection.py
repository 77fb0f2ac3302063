"""What the command line does with the file of a session."""

import base64
import os
import sqlite3
import time
from pathlib import Path

import pytest

from aiomqtt.properties import Properties, SubscribeOptions
from aiomqtt.protocol.changes import Change, ChangeKind, StoredSubscription
from aiomqtt.protocol.delivery import DONE
from aiomqtt.stores.base import SessionStoreError
from aiomqtt.stores.sqlite.inspection import clear, export, inspect, quarantine
from aiomqtt.stores.sqlite.session_store import SQLiteSessionStore
from aiomqtt.stores.sqlite.transaction import StagedMessage
from aiomqtt.testing.session_changes import added

EXPIRING = Properties(message_expiry_interval=10)
PROPERTIES = Properties(correlation_data=b"\0\xff", user_property=[("a", "b")])


def read(path: str | Path) -> bytes:
    return Path(path).read_bytes()


def write(path: str | Path, contents: bytes) -> None:
    Path(path).write_bytes(contents)


def names(path: str | Path) -> set[str]:
    """Return the names of all files in the directory of this one."""
    return {one.name for one in Path(path).parent.iterdir()}


@pytest.fixture
async def store(tmp_path: Path):
    """A session that is open, with something of everything."""
    store = SQLiteSessionStore(tmp_path / "session.db")
    await store.open("me", 10)
    subscription = StoredSubscription(SubscribeOptions(1), 0)
    await store.commit(
        [
            Change(ChangeKind.IDENTIFIED, None, ("me", True, True)),
            added(1, 7, qos=2),
            added(2, 8, payload=b"\0\xff", properties=PROPERTIES, retain=True),
            added(3, 0, "mine", expires=5.0, properties=EXPIRING),
            added(4, 9, "done"),
        ]
    )
    await store.commit(
        [
            Change(ChangeKind.RELEASED, 1, 0),
            Change(ChangeKind.ENDED, 4, (DONE, 0)),
            Change(ChangeKind.RECEIVED, 3),
            Change(ChangeKind.SUBSCRIBED, "a/#", subscription),
        ]
    )
    transaction = await store.begin()
    await transaction.execute("CREATE TABLE readings (value)")
    await transaction.execute("INSERT INTO readings VALUES (1)")
    await transaction.stage(StagedMessage("s", b"x", 1, False, None, None, "", 1.0))
    await transaction.commit()
    yield store
    await store.close()


async def test_a_file_in_use_is_inspected(store):
    found = inspect(store.path)
    holder = found.pop("in_use_by")
    assert holder["pid"] == os.getpid()
    assert holder["since"] == pytest.approx(time.time(), abs=60)
    assert found.pop("size") > 4096
    assert found == {
        "file": store.path,
        "version": 3,
        "client_id": "me",
        "has_session": True,
        "opened": 1,
        "waiting": 1,
        "waiting_bytes": 2,
        "sent": 1,
        "received_by_broker": 1,
        "staged": 1,
        "incoming_qos2": 1,
        "subscriptions": ["a/#"],
        "receipts": {"acknowledged": 1},
        "tables_of_program": ["readings"],
    }
    await store.close()
    assert inspect(store.path)["in_use_by"] is None
    assert names(store.path) == {"session.db"}


async def test_all_messages_are_exported(store):
    first, second, third, staged = export(store.path)
    assert (first["state"], first["payload"]) == ("received by the broker", "")
    assert second == {
        "state": "sent",
        "sequence": 2,
        "packet_id": 8,
        "topic": "t",
        "payload": base64.b64encode(b"\0\xff").decode(),
        "qos": 1,
        "retain": True,
        "expires": None,
        "properties": {"correlation_data": "AP8=", "user_property": [("a", "b")]},
        "id": None,
    }
    assert (third["state"], third["id"], third["expires"]) == ("waiting", "mine", 5.0)
    assert (staged["state"], staged["topic"], staged["payload"]) == (
        "staged",
        "s",
        "eA==",
    )


async def test_a_file_is_moved_aside_with_its_log(store):
    with pytest.raises(SessionStoreError, match="in use by another client of this"):
        quarantine(store.path)
    contents = {suffix: read(store.path + suffix) for suffix in ("", "-wal")}
    await store.close()
    for suffix, one in contents.items():
        write(store.path + suffix, one)
    target = quarantine(store.path)
    assert target.name.startswith("session.db.quarantined-")
    for suffix, one in contents.items():
        assert read(f"{target}{suffix}") == one
    assert names(store.path) == {target.name, f"{target.name}-wal"}
    # Nothing is lost, and a second file of the same moment does not replace it.
    assert inspect(str(target))["waiting"] == 1
    write(store.path, b"damaged")
    assert quarantine(store.path) != target
    assert (await store.open("me", 10)).generation == 1


async def test_what_a_session_has_is_cleared(store):
    with pytest.raises(SessionStoreError, match="in use by another client of this"):
        clear(store.path)
    await store.close()
    clear(store.path)
    assert [*export(store.path)] == []
    connection = sqlite3.connect(store.path)
    assert connection.execute("SELECT * FROM readings").fetchall() == [(1,)]
    connection.close()
    opened = await store.open("another", 10)
    assert (opened.generation, opened.state.subscriptions) == (1, {})
    assert not opened.state.received


@pytest.mark.parametrize("use", [inspect, lambda path: [*export(path)], clear])
def test_what_is_no_session_is_refused(tmp_path, use):
    path = tmp_path / "other.db"
    with pytest.raises(SessionStoreError, match="no such file"):
        use(str(path))
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE readings (value)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(SessionStoreError, match="but something else"):
        use(str(path))
    path.write_bytes(b"damaged")
    with pytest.raises(SessionStoreError, match="no SQLite database"):
        use(str(path))
    path.write_bytes(before)
    assert [*tmp_path.iterdir()] == [path]


def test_there_is_nothing_to_move(tmp_path):
    with pytest.raises(SessionStoreError, match="no such file"):
        quarantine(str(tmp_path / "session.db"))
    assert not [*tmp_path.iterdir()]
    directory = tmp_path / "sessions"
    directory.mkdir()
    with pytest.raises(SessionStoreError, match="no such file"):
        quarantine(str(directory))
    assert [*tmp_path.iterdir()] == [directory]


async def test_damage_is_found(store):
    await store.commit([added(number, payload=b"x" * 900) for number in range(10, 400)])
    await store.close()
    contents = bytearray(read(store.path))
    middle = len(contents) // 2 // 4096 * 4096
    contents[middle : middle + 4096] = b"\xff" * 4096
    write(store.path, bytes(contents))
    with pytest.raises(SessionStoreError, match="it is damaged: move it aside"):
        inspect(store.path)
    # What comes before the damage can be rescued.
    rescued: list[object] = []
    with pytest.raises(SessionStoreError, match="it is damaged"):
        rescued.extend(export(store.path))
        pytest.fail("it was read")
