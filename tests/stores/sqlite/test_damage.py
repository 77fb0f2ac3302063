"""After a kill, or with a damaged file, a session is whole, or it is refused."""

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
    made, states = groups(seed=3, count=8)
    steps = Killer(0)
    run(tmp_path / "session.db", made, steps, lambda: None)
    assert {"migrate", "insert deliveries", "commit", "close"} <= {*steps.names}
    for at, name in enumerate(steps.names, 1):
        directory = tmp_path / str(at)
        directory.mkdir()
        told = run_killed(directory / "session.db", made, at)
        state = read(directory / "session.db")
        assert state in states[told : told + 2], f"killed at step {at}, {name}"
        left = {one.name for one in directory.iterdir()}
        assert left == {"session.db"}, f"killed at step {at}, {name}"


def test_a_disk_that_is_full_at_any_write_loses_nothing_that_was_told(tmp_path):
    made, states = groups(seed=3, count=8)
    limits = range(0, 150_000, 2000)
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
