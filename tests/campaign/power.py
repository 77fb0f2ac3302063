"""The power is lost after each write of a store; nothing that was told may be lost."""

import json
import os
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final, cast

from aiomqtt.protocol.changes import Change, SessionState
from aiomqtt.stores.base import SessionStoreError
from aiomqtt.stores.sqlite.file import Durability, take_no_step
from tests.stores.sqlite.damage import groups, read, run

from . import recording
from .disk import Disk, read_log, replace_files

DURABILITIES: Final[tuple[Durability, ...]] = ("normal", "full")
GROUPS: Final = 8
# The one of them that reserves packet identifiers. It is small: after much, SQLite
# synchronizes, and so does closing the file, after the fourth and the last.
RESERVING: Final = 7
# The log is written to the file when it has so many pages, instead of a thousand.
PAGES: Final = 25


def lose_power(seed: int, step: int, result: Path) -> None:
    """Lose the power at each moment, and write down how often, and what was undone.

    The process must have been started with the library of `recording`.

    Args:
        seed: The seed of what is stored, and of what remains of it.
        step: Each how many writes to lose it.
        result: The file for the figures.

    Raises:
        AssertionError: A file was refused, or it was none of its states, or something
            was lost that must not be.
    """
    counts: Counter[str] = Counter()
    for durability in DURABILITIES:
        counts += lose_power_at_each(seed, step, durability)
    result.write_text(json.dumps(counts))


def lose_power_at_each(seed: int, step: int, durability: str) -> Counter[str]:
    """Do this with one durability; "off": the store synchronizes nothing."""
    counts: Counter[str] = Counter()
    made, states = groups(seed, GROUPS, RESERVING)
    choose = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="campaign-") as name:
        directory = Path(name).resolve()
        record(directory, made, durability)
        disk, place = Disk(str(directory), {}), directory / "after"
        place.mkdir()
        for number, one in enumerate(read_log(recording.log_of(directory))):
            if not number % step:
                for files in disk.states(choose):
                    replace_files(place, files)
                    undone = count_undone(place, states, disk.marks)
                    # What is reserved is kept, and so is all that came before.
                    least = RESERVING if disk.marks >= RESERVING else 0
                    assert disk.marks - undone >= least, "a reservation was undone"
                    what = f"{durability}, write {number}: {undone} groups undone"
                    assert not undone or durability != "full", what
                    counts[f"losses of power with {durability}"] += 1
                    counts[f"undone with {durability}"] += undone > 0
            disk.take(one)
    assert disk.marks == GROUPS
    return counts


def record(directory: Path, made: list[list[Change]], durability: str) -> None:
    """Store groups in a process whose writes are recorded."""
    child = os.fork()
    if not child:
        code = 1
        try:
            recording.begin(directory)
            path = directory / "session.db"
            how = cast(Durability, durability)
            run(path, made, take_no_step, recording.mark, how, PAGES)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert not status, "the store has failed"


def count_undone(directory: Path, states: list[SessionState], told: int) -> int:
    """Return how many of the groups were undone that were told to be stored.

    Raises:
        AssertionError: The file is refused, or has none of the states.
    """
    try:
        found = read(directory / "session.db")
    except SessionStoreError as error:
        reason = str(error).partition(": ")[2]
        raise AssertionError(f"it was refused: {reason}") from error
    possible = [number for number, one in enumerate(states) if one == found]
    assert possible, "it is none of the states"
    assert possible[0] <= told + 1, "it is from the future"
    return max(0, told - possible[-1])
