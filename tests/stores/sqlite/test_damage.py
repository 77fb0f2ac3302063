"""After a kill, or with a damaged file, a session is whole, or it is refused."""

import shutil
import sqlite3

import pytest

pytest.importorskip("resource", reason="it needs fork and limits")

from .damage import (
    Killer,
    flipped,
    groups,
    read,
    run,
    run_killed,
    run_on_full_disk,
    sweep,
    truncated,
    write_files,
)


def test_at_each_step_a_kill_loses_nothing_that_was_told(tmp_path):
    made, states = groups(seed=3, count=4)
    steps = Killer(0)
    run(tmp_path / "session.db", made, steps, lambda: None)
    assert {"migrate", "insert deliveries", "requeue", "commit", "close"} <= {
        *steps.names
    }
    for at, name in enumerate(steps.names, 1):
        directory = tmp_path / str(at)
        directory.mkdir()
        told = run_killed(directory / "session.db", made, at)
        state = read(directory / "session.db")
        assert state in states[told : told + 2], f"killed at step {at}, {name}"
        left = {one.name for one in directory.iterdir()}
        assert left == {"session.db"}, f"killed at step {at}, {name}"


def test_a_disk_that_is_full_at_any_write_loses_nothing_that_was_told(tmp_path):
    made, states = groups(seed=3, count=6)
    # A log is written by frames of a page and 24 bytes.
    limits = range(0, 160_000, 4120)
    counts = []
    for limit in limits:
        directory = tmp_path / str(limit)
        directory.mkdir()
        told = run_on_full_disk(directory / "session.db", made, limit)
        # There is room again.
        state = read(directory / "session.db")
        assert state in states[told : told + 2], f"at most {limit} bytes"
        counts.append(told)
    assert (counts[0], counts[-1]) == (0, len(made))
    assert len({*counts}) > 3


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The files of a process that was killed, and the states that it had."""
    directory = tmp_path_factory.mktemp("written")
    made, states = groups(seed=5, count=12)
    write_files(directory, made)
    return directory, states


@pytest.mark.parametrize("damage", [truncated, flipped])
@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("session.db", []),
        ("session.db", ["session.db-wal"]),
        ("session.db-wal", ["session.db"]),
    ],
)
def test_a_damaged_file_is_refused_or_read_as_it_was(written, damage, name, others):
    directory, states = written
    contents = (directory / name).read_bytes()
    step = 1 if damage is flipped else max(1, len(contents) // 150)
    was_read, was_refused = sweep(
        directory, name, damage(contents, step), states, others
    )
    assert was_read + was_refused > 10
    if name == "session.db-wal":
        # What is lost are the last transactions.
        assert not was_refused
    else:
        assert was_refused


def test_a_last_page_that_is_cut_is_read_only_if_the_log_has_it(tmp_path):
    made, states = groups(seed=17, count=4)
    write_files(tmp_path, made)
    contents = (tmp_path / "session.db").read_bytes()
    cuts = [contents[:-length] for length in (1, 2, 3, 7, 8, 9, 100, 2000, 4095)]
    log = ["session.db-wal"]
    # The last table was created last, and nothing was written to it since.
    assert sweep(tmp_path, "session.db", iter(cuts), states, []) == (0, len(cuts))
    assert sweep(tmp_path, "session.db", iter(cuts), states, log) == (0, len(cuts))
    # This is what a checkpoint may leave that was killed.
    with sqlite3.connect(tmp_path / "session.db") as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("INSERT INTO aiomqtt_flows VALUES (999, 'x')")
        connection.commit()
        shutil.copyfile(tmp_path / log[0], tmp_path / "log")
    connection.close()
    shutil.copyfile(tmp_path / "log", tmp_path / log[0])
    states = [read(tmp_path / "session.db")]
    assert 999 in states[0].flows
    shutil.copyfile(tmp_path / "log", tmp_path / log[0])
    assert sweep(tmp_path, "session.db", iter(cuts), states, log) == (len(cuts), 0)
