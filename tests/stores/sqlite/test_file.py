"""A SQLite file: who may open it, and what is refused before anything changes."""

import contextlib
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aiomqtt.stores.base import SessionStoreError
from aiomqtt.stores.sqlite.errors import explained
from aiomqtt.stores.sqlite.file import DatabaseFile, Schema
from tests.rights import drop_rights

SCHEMA = Schema(77, "numbers", (("CREATE TABLE numbers (number INTEGER)",),))
COUNT = "SELECT count(*) FROM numbers"
NEWER = Schema(
    77, "numbers", (*SCHEMA.migrations, ("ALTER TABLE numbers ADD name TEXT",))
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "numbers.db"


@pytest.fixture
def make(path: Path):
    """Return a function that creates a file object, which the test need not close."""
    files: list[DatabaseFile] = []

    def create(schema: Schema = SCHEMA, **arguments: Any) -> DatabaseFile:
        files.append(DatabaseFile(path, schema, **arguments))
        return files[-1]

    yield create
    for file in files:
        file.close()


@pytest.fixture
def written(make, path: Path) -> Path:
    """A file with some numbers."""
    file = make()
    file.open()
    with file.transaction() as connection:
        rows = [(number,) for number in range(5000)]
        connection.executemany("INSERT INTO numbers VALUES (?)", rows)
    file.close()
    return path


def refused(file: DatabaseFile, text: str) -> None:
    """Check that the file is refused, and nothing in its directory has changed."""
    directory = Path(file.path).parent
    before = {one: one.read_bytes() for one in directory.iterdir()}
    with pytest.raises(SessionStoreError, match=text), explained(file.path):
        file.open()
    assert file.connection is None
    after = {one: one.read_bytes() for one in directory.iterdir()}
    assert after == before


def test_a_new_file_has_our_mark_and_its_log(make, path):
    file = make(durability="full")
    connection = file.open()
    assert connection.execute("PRAGMA application_id").fetchone() == (77,)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    file.close()
    assert [*path.parent.iterdir()] == [path]
    connection = make(durability="normal").open()
    assert connection.execute("PRAGMA synchronous").fetchone() == (1,)


def test_a_transaction_that_fails_is_undone(make):
    file = make()
    file.open()
    with pytest.raises(KeyError), file.transaction() as connection:
        connection.execute("INSERT INTO numbers VALUES (1)")
        raise KeyError
    with file.transaction() as connection:
        assert connection.execute("SELECT * FROM numbers").fetchall() == []


def test_an_older_file_is_migrated(make, written):
    connection = make(NEWER).open()
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    row = connection.execute("SELECT * FROM numbers LIMIT 1").fetchone()
    assert row == (0, None)


def test_a_migration_that_fails_leaves_the_file_as_it_was(make, written):
    broken = Schema(77, "numbers", (*NEWER.migrations, ("no statement",)))
    with pytest.raises(SessionStoreError), explained(str(written)):
        make(broken).open()
    connection = make().open()
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)


def test_what_is_not_for_us_is_refused(make, path, written):
    refused(make(SCHEMA._replace(application_id=78)), "but something else")
    file = make(NEWER)
    file.open()
    file.close()
    refused(make(), r"a newer version of aiomqtt .*version 2 .*knows 1")
    path.write_bytes(b"no database" * 1000)
    refused(make(), "it is no SQLite database, or it is damaged: choose")
    path.write_bytes(b"")
    refused(make(), "it is empty, .*delete it to begin anew")
    path.unlink()
    Path(f"{path}-wal").write_bytes(b"log")
    refused(make(), "it is missing, but its log .*numbers.db-wal is there")


def test_a_check_of_the_caller_comes_before_any_change(make, written):
    before = written.read_bytes()

    def check(connection: sqlite3.Connection) -> None:
        raise SessionStoreError("not this one")

    with pytest.raises(SessionStoreError, match="not this one"):
        make(NEWER).open(check)
    assert written.read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps a file that is in use")
@pytest.mark.parametrize("how", ["delete", "move", "replace"])
def test_nothing_is_committed_to_a_file_that_is_no_longer_there(
    make, path, written, how
):
    file = make()
    file.open()
    other = path.with_name("other.db")
    if how == "delete":
        path.unlink()
    elif how == "move":
        path.rename(other)
    else:
        other.write_bytes(path.read_bytes())
        other.replace(path)
    for call in (file.transaction, file.group):
        with (
            pytest.raises(SessionStoreError, match=r"numbers\.db: it was moved, del"),
            call() as connection,
        ):
            connection.execute("INSERT INTO numbers VALUES (1)")
        assert connection.execute(COUNT).fetchone() == (5000,)


def test_a_directory_that_is_missing_is_not_created(tmp_path):
    file = DatabaseFile(tmp_path / "none" / "numbers.db", SCHEMA)
    with pytest.raises(SessionStoreError, match="no directory .*none: create it first"):
        file.open()
    assert not [*tmp_path.iterdir()]


def without_rights(call: Callable[[], None]) -> str:
    """Make a call in a process that is not root; return the error that it raises."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            drop_rights()
            call()
        except Exception as error:  # noqa: BLE001
            os.write(writer, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        text = told.read().decode()
    os.waitpid(child, 0)
    return text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no such rights")
@pytest.mark.parametrize(
    ("directory_mode", "file_mode", "text"),
    [
        (0o555, 0o666, "Permission denied: check the path"),
        (0o777, 0o444, "it can't be read and written: give this user"),
        (0o777, 0o000, "it can't be read and written: give this user"),
    ],
)
def test_what_can_not_be_written_is_refused(directory_mode, file_mode, text):
    # The directories of `tmp_path` are closed to other users.
    with tempfile.TemporaryDirectory() as name:
        directory, path = Path(name), Path(name) / "numbers.db"
        file = DatabaseFile(path, SCHEMA)
        file.open()
        file.close()
        before = path.read_bytes()
        path.chmod(file_mode)
        directory.chmod(directory_mode)

        def use() -> None:
            with explained(file.path), contextlib.closing(file):
                file.open()
                with file.transaction():
                    pass

        try:
            error = without_rights(use)
            found = [*directory.iterdir()]
        finally:
            directory.chmod(0o700)
            path.chmod(0o600)
        assert error.startswith(f"SessionStoreError: {path}: {text}")
        assert path.read_bytes() == before
        assert found == [path]


def test_another_program_that_writes_keeps_us_out(make, written, monkeypatch):
    monkeypatch.setattr("aiomqtt.stores.sqlite.file._BUSY_TIMEOUT", 0.1)
    other = sqlite3.connect(written, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    file = make()
    file.open()
    text = "another program has locked it: end the transaction"
    with (
        pytest.raises(SessionStoreError, match=text),
        explained(file.path),
        file.transaction(),
    ):
        pass
    other.execute("ROLLBACK")
    with file.transaction() as connection:
        connection.execute("INSERT INTO numbers VALUES (1)")
    other.close()


def test_opening_ends_no_lock_of_another_connection_of_this_process(make, written):
    other = sqlite3.connect(written, isolation_level=None)
    other.execute("BEGIN")
    assert other.execute(COUNT).fetchone() == (5000,)
    file = make()
    file.open()
    file.close()
    # Another process does not believe that it is the last to close the file.
    read = (
        "import sqlite3, sys; connection = sqlite3.connect(sys.argv[1]);"
        f" connection.execute({COUNT!r}).fetchall(); connection.close()"
    )
    subprocess.run([sys.executable, "-c", read, written], check=True)
    assert Path(f"{written}-wal").exists()
    other.execute("COMMIT")
    other.close()
    assert not Path(f"{written}-wal").exists()


def test_what_a_file_has_is_read_after_its_log_was_not_closed(make, written, tmp_path):
    # As after a kill: the log has what the file does not have.
    file = make()
    file.open()
    with file.transaction() as connection:
        connection.execute("DELETE FROM numbers WHERE number > 0")
    copies = tmp_path / "copies"
    copies.mkdir()
    for one in tmp_path.glob("numbers.db*"):
        if not one.name.endswith("-lease"):
            (copies / one.name).write_bytes(one.read_bytes())
    copy = DatabaseFile(copies / "numbers.db", SCHEMA)
    connection = copy.open()
    assert connection.execute("SELECT * FROM numbers").fetchall() == [(0,)]
    copy.close()


def test_the_file_shrinks_in_small_steps(make, written):
    file = make()
    file.open()
    large = [(f"x{number:8000}",) for number in range(3000)]
    with file.transaction() as connection:
        connection.executemany("INSERT INTO numbers VALUES (?)", large)
    pages = file.pages()
    with file.transaction() as connection:
        connection.execute("DELETE FROM numbers WHERE typeof(number) = 'text'")
    steps = 1
    while file.shrink():
        steps += 1
    assert 5 < steps < 20
    assert file.pages() < pages / 10
    file.close()
    assert written.stat().st_size < pages * 4096 / 10
