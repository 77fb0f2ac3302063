"""What becomes of a session when its process is killed, or its file is damaged.

The long campaign calls these functions with a step of 1; the tests with a larger one.
"""

import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from aiomqtt.protocol.changes import Change, SessionState
from aiomqtt.stores.base import SessionStoreError
from aiomqtt.stores.sqlite.errors import explained
from aiomqtt.stores.sqlite.file import DatabaseFile, Durability, Step
from aiomqtt.stores.sqlite.schema import SESSION_SCHEMA
from aiomqtt.stores.sqlite.tables import SessionTables
from aiomqtt.testing.session_changes import Conversation

WINDOW = 10


def make_tables(
    path: Path, step: Step | None = None, durability: Durability = "normal"
) -> SessionTables:
    """Return the tables of a file, to be used without a thread."""
    file = DatabaseFile(path, SESSION_SCHEMA, durability)
    if step is not None:
        file.step = step
    return SessionTables(file, 60.0, lambda: 1000.0)


def read(path: Path) -> SessionState:
    """Return the whole session; SessionStoreError: it is refused."""
    tables = make_tables(path)
    with explained(str(path)):
        try:
            opened = tables.open("me", WINDOW)
            known = opened.state.deliveries
            waiting = tables.load_queued(opened.place, 1_000_000)
            known.update({one.sequence: one for _, one in waiting})
            assert len(waiting) == opened.remaining
            tables.find_receipt("receipt 1")
        finally:
            tables.close()
    return opened.state


def groups(
    seed: int, count: int, reserving: int = 0
) -> tuple[list[list[Change]], list[SessionState]]:
    """Return groups of changes, and the states before and after each of them.

    Args:
        seed: The seed of all choices.
        count: How many groups.
        reserving: The number of one that reserves packet identifiers, from 1; 0: none.
    """
    conversation, made, states = Conversation(seed), [], [SessionState("me")]
    for number in range(count):
        made.append(conversation.go_on(1 + 7 * (number % 3)))
        if number + 1 == reserving:
            conversation.reserve()
        state = SessionState("me")
        for change in (change for group in made for change in group):
            state.apply(change)
        states.append(state)
    return made, states


# --- kills --------------------------------------------------------------------------


class Killer:
    """Kills the process at a step.

    Args:
        at: The number of the step, from 1; 0: never.
    """

    def __init__(self, at: int) -> None:
        self.names: list[str] = []
        self._at = at

    def __call__(self, name: str) -> None:
        self.names.append(name)
        if len(self.names) == self._at:
            os.kill(os.getpid(), signal.SIGKILL)


def run(
    path: Path,
    made: list[list[Change]],
    step: Step,
    tell: Callable[[], object],
    durability: Durability = "normal",
    pages: int = 1000,
) -> None:
    """Store groups, and open the session anew in between; tell of each group.

    Args:
        pages: How many pages the log has when it is written to the file.
    """
    tables = make_tables(path, step, durability)
    _open(tables, pages)
    for number, group in enumerate(made):
        if number == len(made) // 2:
            tables.close()
            _open(tables, pages)
        tables.write(group)
        tell()
        tables.clean()
    tables.close()


def _open(tables: SessionTables, pages: int) -> None:
    tables.open("me", WINDOW)
    connection = tables._file.connected()
    connection.execute(f"PRAGMA wal_autocheckpoint = {pages}")


def run_killed(path: Path, made: list[list[Change]], at: int) -> int:
    """Do this in a process that is killed at a step; return how many it told of."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            run(path, made, Killer(at), lambda: os.write(writer, b"."))
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        count = len(told.read())
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    return count


def run_on_full_disk(path: Path, made: list[list[Change]], limit: int) -> int:
    """Do this in a process whose files can have so many bytes; return the same.

    The process ends with 0 if all went well, and with 3 after a SessionStoreError.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            # Python ignores the signal, so writing fails with EFBIG.
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            with explained(str(path)):
                run(path, made, lambda name: None, lambda: os.write(writer, b"."))
            code = 0
        except SessionStoreError:
            code = 3
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        count = len(told.read())
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, 3)
    return count


# --- damage -------------------------------------------------------------------------


def write_files(directory: Path, made: list[list[Change]]) -> None:
    """Leave a file and its log as a process that was killed does."""
    source = directory / "source"
    source.mkdir()
    tables = make_tables(source / "session.db")
    tables.open("me", WINDOW)
    half = len(made) // 2
    for number, group in enumerate(made):
        if number == half:
            # What came before is in the file, the rest in its log.
            tables.close()
            tables.open("me", WINDOW)
        tables.write(group)
    for name in ("session.db", "session.db-wal"):
        shutil.copyfile(source / name, directory / name)
    tables.close()
    shutil.rmtree(source)


def truncated(contents: bytes, step: int) -> Iterator[bytes]:
    """Yield a file cut at each of these bytes, more often in its last page."""
    # What is missing in the last page alone is read as zeros.
    last = len(contents) - 4096
    for length in [*range(0, last, step), *range(last, len(contents), step // 9 + 1)]:
        yield contents[:length]


def flipped(contents: bytes, step: int, page: int = 4096) -> Iterator[bytes]:
    """Yield a file with each of these pages inverted."""
    for start in range(0, len(contents), page * step):
        damaged = bytes(255 - byte for byte in contents[start : start + page])
        yield contents[:start] + damaged + contents[start + page :]


def sweep(
    directory: Path,
    name: str,
    damaged: Iterator[bytes],
    states: list[SessionState],
    others: list[str],
) -> tuple[int, int]:
    """Check that each damaged file is read as one of the states, or is refused.

    Args:
        directory: Where `write_files` has written.
        name: The file that is damaged.
        damaged: Its contents.
        states: The states that it may have.
        others: The other files to put beside it.

    Returns:
        How many were read, and how many refused.
    """
    was_read = was_refused = 0
    place = directory / "damaged"
    for contents in damaged:
        place.mkdir()
        for other in others:
            shutil.copyfile(directory / other, place / other)
        (place / name).write_bytes(contents)
        try:
            state = read(place / "session.db")
        except SessionStoreError as error:
            was_refused += 1
            names_it = "session.db: " in str(error)
            is_same = (place / name).read_bytes() == contents
        else:
            names_it = is_same = True
            assert state in states, f"{name} of {len(contents)} bytes"
            was_read += 1
        assert names_it
        assert is_same or name == "session.db-wal"
        shutil.rmtree(place)
    return was_read, was_refused
