"""What a disk has of the files of a session when the power is lost.

`write_log.c` records what a process writes and what it synchronizes. From that follow
the states that the files may have afterwards: all that was synchronized, and of the
rest any part. A name that was given or taken is there when its directory was
synchronized, and before that perhaps.
"""

import random
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

# The kinds of records.
OPENED: Final = b"O"
WRITTEN: Final = b"W"
TRUNCATED: Final = b"T"
SYNCHRONIZED: Final = b"S"
RENAMED: Final = b"R"
UNLINKED: Final = b"U"
MARKED: Final = b"M"

# A disk writes so many bytes as a whole, or not at all.
SECTOR: Final = 512
_HEAD: Final = struct.Struct("<ciIQQ")


class Record(NamedTuple):
    """One call of a process, or a mark.

    Attributes:
        kind: One of the kinds above.
        descriptor: The file.
        path: Its name, if it has one here.
        offset: Where it is written; the size to which it is truncated.
        data: What is written; the new name.
    """

    kind: bytes
    descriptor: int
    path: str
    offset: int
    data: bytes


def read_log(path: Path) -> list[Record]:
    """Return the records of a log, if there is one, without one that was cut."""
    contents, at, records = path.read_bytes() if path.exists() else b"", 0, []
    while at + _HEAD.size <= len(contents):
        kind, descriptor, name_length, offset, length = _HEAD.unpack_from(contents, at)
        at += _HEAD.size
        end = at + name_length + length
        if end > len(contents):
            break
        name = contents[at : at + name_length].decode()
        data = contents[at + name_length : end]
        records.append(Record(kind, descriptor, name, offset, data))
        at = end
    return records


class Write(NamedTuple):
    """A change of a file that may be lost.

    Attributes:
        number: Its number, in the order of all changes.
        offset: Where it begins, in bytes; the size to which the file is truncated.
        data: What is written; None: the file is truncated.
    """

    number: int
    offset: int
    data: bytes | None


# Returns the parts of a write that reach the disk.
Keep: TypeAlias = Callable[[Write], Iterable[Write]]


class DiskFile:
    """One file, under whatever name.

    Attributes:
        synchronized: What it had when it was synchronized last.
        writes: What has changed since.
    """

    def __init__(self, contents: bytes = b"") -> None:
        self.synchronized: bytes = contents
        self.writes: list[Write] = []

    def synchronize(self) -> None:
        self.synchronized = apply(self.synchronized, self.writes)
        self.writes = []


def apply(contents: bytes, writes: Iterable[Write]) -> bytes:
    """Return what a file has after some writes; what lies between them is zeros."""
    changed = bytearray(contents)
    for _, offset, data in writes:
        if data is None:
            del changed[offset:]
        missing = offset + len(data or b"") - len(changed)
        changed += bytes(max(missing, 0))
        if data is not None:
            changed[offset : offset + len(data)] = data
    return bytes(changed)


class Disk:
    """A disk, and what is on its way to it.

    Args:
        directory: The directory of the session.
        files: What it has at first, by name.

    Attributes:
        marks: How many marks there were.
    """

    def __init__(self, directory: str, files: dict[str, bytes]) -> None:
        self._directory = directory
        # The names that are synchronized, and each later change: what they stand for.
        self._names: dict[str, DiskFile] = {
            name: DiskFile(contents) for name, contents in files.items()
        }
        self._changes: list[dict[str, DiskFile | None]] = []
        # The names as a process sees them.
        self._seen: dict[str, DiskFile] = {**self._names}
        # None: the directory.
        self._open: dict[int, DiskFile | None] = {}
        self._count = 0
        self.marks: int = 0

    def take(self, record: Record) -> None:
        """Take the next record."""
        kind, descriptor, path, offset, data = record
        name = path[len(self._directory) + 1 :]
        if kind == MARKED:
            self.marks += 1
        elif kind == OPENED:
            self._open[descriptor] = self._find(name)
        elif kind == RENAMED:
            new = data.decode()[len(self._directory) + 1 :]
            self._rename({new: self._seen[name], name: None})
        elif kind == UNLINKED:
            self._rename({name: None})
        else:
            self._change(self._open[descriptor], kind, offset, data)

    def _find(self, name: str) -> DiskFile | None:
        if not name:
            return None
        if name not in self._seen:
            self._rename({name: DiskFile()})
        return self._seen[name]

    def _rename(self, names: dict[str, DiskFile | None]) -> None:
        self._changes.append(names)
        self._seen = renamed(self._seen, names)

    def _change(
        self, file: DiskFile | None, kind: bytes, offset: int, data: bytes
    ) -> None:
        if file is None:
            assert kind == SYNCHRONIZED, "directories are not written"
            self._names, self._changes = {**self._seen}, []
        elif kind == SYNCHRONIZED:
            file.synchronize()
        else:
            self._count += 1
            change = data if kind == WRITTEN else None
            file.writes.append(Write(self._count, offset, change))

    def states(self, choose: random.Random) -> Iterator[dict[str, bytes]]:
        """Yield some of the states that the disk may have without power, by name.

        They are: nothing but what is synchronized, and everything, each with the names
        as they are and as they were; everything up to some write, which is torn; and
        sectors at random, half of them, few and nearly all.
        """
        last = len(self._changes)
        for names in {0, last}:
            yield self._state(names, keep_nothing)
            yield self._state(names, keep_all)
        keeps = [keep_up_to(choose.randint(0, self._count), choose)]
        keeps += [keep_sectors(part, choose) for part in (0.5, 0.03, 0.97)]
        for keep in keeps:
            yield self._state(choose.randint(0, last), keep)

    def _state(self, names: int, keep: Keep) -> dict[str, bytes]:
        """Return a state with the first changes of names, and parts of all writes."""
        files = self._names
        for change in self._changes[:names]:
            files = renamed(files, change)
        return {
            name: apply(
                file.synchronized,
                (part for write in file.writes for part in keep(write)),
            )
            for name, file in files.items()
        }


def renamed(
    names: dict[str, DiskFile], change: dict[str, DiskFile | None]
) -> dict[str, DiskFile]:
    """Return names after a change of some of them."""
    return {
        name: file for name, file in {**names, **change}.items() if file is not None
    }


def keep_nothing(_: Write) -> Iterable[Write]:
    return ()


def keep_all(write: Write) -> Iterable[Write]:
    return (write,)


def keep_up_to(number: int, choose: random.Random) -> Keep:
    """Keep all writes before one, and of that some sectors."""
    torn = keep_sectors(0.5, choose)

    def keep(write: Write) -> Iterable[Write]:
        if write.number == number:
            return torn(write)
        return (write,) if write.number < number else ()

    return keep


def keep_sectors(part: float, choose: random.Random) -> Keep:
    """Keep this part of all sectors, at random."""

    def keep(write: Write) -> Iterable[Write]:
        return [one for one in sectors(write) if choose.random() < part]

    return keep


def sectors(write: Write) -> Iterator[Write]:
    """Yield a write in the parts of which each reaches the disk as a whole or not."""
    if write.data is None:
        yield write
        return
    start = 0
    while start < len(write.data):
        end = start + SECTOR - (write.offset + start) % SECTOR
        yield write._replace(offset=write.offset + start, data=write.data[start:end])
        start = end


def replace_files(directory: Path, files: dict[str, bytes]) -> None:
    """Let a directory have these files of a session, and no others."""
    for path in directory.glob("session.db*"):
        path.unlink()
    for name, contents in files.items():
        (directory / name).write_bytes(contents)
