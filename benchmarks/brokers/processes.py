"""Read the CPU time and memory of a process and its children (Linux)."""

from __future__ import annotations

import os
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
MIB = 1024 * 1024


def cpu_seconds(pid: int) -> float:
    """User and system time, also of children that have ended."""
    ticks = 0
    for each in family(pid):
        # The name may contain anything; the fields follow its closing parenthesis.
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime
    return ticks / TICKS_PER_SECOND


def resident_mib(pid: int) -> float:
    """Resident memory; of several processes what they share counts for each."""
    pages = 0
    for each in family(pid):
        pages += int(Path(f"/proc/{each}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def family(pid: int) -> list[int]:
    """Return the process and its descendants."""
    found = [pid]
    for each in found:  # it grows
        for file in Path(f"/proc/{each}/task").glob("*/children"):
            found += map(int, file.read_text().split())
    return found
