"""A disk keeps what was synchronized, and of the rest any part."""

import random
from pathlib import Path

import pytest

from tests.campaign.disk import (
    MARKED,
    OPENED,
    RENAMED,
    SECTOR,
    SYNCHRONIZED,
    TRUNCATED,
    UNLINKED,
    WRITTEN,
    Disk,
    Record,
    Write,
    apply,
    keep_sectors,
    keep_up_to,
    replace_files,
    sectors,
)

DIRECTORY = "/sessions"
MANY = 200


def opened(name: str, descriptor: int = 3) -> Record:
    path = f"{DIRECTORY}/{name}" if name else DIRECTORY
    return Record(OPENED, descriptor, path, 0, b"")


def written(data: bytes, offset: int = 0) -> Record:
    return Record(WRITTEN, 3, "", offset, data)


def synchronized(descriptor: int = 3) -> Record:
    return Record(SYNCHRONIZED, descriptor, "", 0, b"")


def states(*records: Record, **files: bytes) -> list[dict[str, bytes]]:
    """Return the states that were found of a disk."""
    found: list[dict[str, bytes]] = []
    for seed in range(MANY):
        disk = Disk(DIRECTORY, files)
        for record in records:
            disk.take(record)
        for one in disk.states(random.Random(seed)):
            if one not in found:
                found.append(one)
    return found


def test_what_is_synchronized_stays():
    record = written(b"new"), synchronized()
    assert states(opened("f"), *record, f=b"old") == [{"f": b"new"}]


def test_what_is_not_synchronized_may_be_there():
    found = states(opened("f"), written(b"1"), written(b"2", 1), f=b"--")
    values = sorted(one["f"] for one in found)
    assert values == [b"--", b"-2", b"1-", b"12"]


def test_what_lies_before_is_zero():
    found = states(opened("f"), written(b"1"), written(b"2", 3), f=b"")
    assert {"f": b"\0\0\0" + b"2"} in found


def test_a_size_may_be_the_old_one():
    truncated = Record(TRUNCATED, 3, "", 1, b"")
    assert states(opened("f"), truncated, f=b"123") == [{"f": b"123"}, {"f": b"1"}]


def test_sectors_are_written_as_a_whole_or_not():
    found = states(opened("f"), written(b"1" * 1000, 100), f=b"")
    values = {one["f"] for one in found}
    assert len(values) == 2**3
    one = Write(1, 100, b"1" * 1000)
    assert [(part.offset, len(part.data or b"")) for part in sectors(one)] == [
        (100, SECTOR - 100),
        (SECTOR, SECTOR),
        (2 * SECTOR, 1100 - 2 * SECTOR),
    ]


def test_a_new_name_is_there_when_its_directory_is_synchronized():
    new = opened("f"), written(b"1"), synchronized()
    assert states(*new) == [{}, {"f": b"1"}]
    assert states(*new, opened("", 4), synchronized(4)) == [{"f": b"1"}]


def test_a_file_has_its_old_name_or_its_new_one():
    renamed = Record(RENAMED, -1, f"{DIRECTORY}/f", 0, f"{DIRECTORY}/g".encode())
    assert states(renamed, f=b"1", g=b"2") == [{"f": b"1", "g": b"2"}, {"g": b"1"}]


def test_a_file_that_was_removed_may_be_there_again():
    removed = Record(UNLINKED, -1, f"{DIRECTORY}/f", 0, b"")
    assert states(removed, f=b"1") == [{"f": b"1"}, {}]
    found = states(removed, opened("f"), written(b"2"), f=b"1")
    assert {"f": b"1"} in found
    assert {"f": b"2"} in found


def test_marks_are_counted():
    disk = Disk(DIRECTORY, {})
    disk.take(Record(MARKED, -1, "", 0, b""))
    assert disk.marks == 1


def test_writes_are_kept_up_to_one():
    writes = [Write(number, number, b"%d" % number) for number in range(4)]
    for seed in range(9):
        keep = keep_up_to(2, random.Random(seed))
        kept = [part for write in writes for part in keep(write)]
        assert kept in (writes[:2], writes[:3])
    assert apply(b"", keep_sectors(1.0, random.Random(1))(writes[1])) == b"\x001"


@pytest.mark.parametrize("files", [{}, {"session.db": b"1", "session.db-wal": b"2"}])
def test_files_are_replaced(tmp_path: Path, files: dict[str, bytes]):
    (tmp_path / "session.db-shm").write_bytes(b"")
    (tmp_path / "journal").write_bytes(b"3")
    replace_files(tmp_path, files)
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert found == {"journal": b"3", **files}
