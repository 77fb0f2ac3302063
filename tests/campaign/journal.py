"""What a program was told, in a file that outlives it.

Each line is on the disk before the program goes on, so it needs no store of ours to
tell what was promised.
"""

import os
from collections import defaultdict
from pathlib import Path


class Journal:
    """The file of one program, which appends to what earlier processes wrote."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, what: str, number: int) -> None:
        """Write a line; return when the disk has it."""
        os.write(self._file, f"{what} {number}\n".encode())
        os.fdatasync(self._file)


def read_journal(path: Path) -> dict[str, list[int]]:
    """Return the numbers of each kind of line, in order."""
    found: dict[str, list[int]] = defaultdict(list)
    if path.exists():
        # A line that was not written as a whole has no end.
        for line in path.read_text().rpartition("\n")[0].splitlines():
            what, number = line.split()
            found[what].append(int(number))
    return found
