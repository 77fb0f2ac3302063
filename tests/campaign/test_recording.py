"""What a process writes to the files of its session is recorded, and nothing else."""

import os
from pathlib import Path

from tests.campaign import processes, recording
from tests.campaign.disk import read_log

EXPECTED = """\
O session.db-new 0
W session.db-new 0 4: data
T session.db-new 2
S session.db-new 0
R session.db-new session.db
O  0
S  0
M
O session.db 0
W session.db 7 2: at
U session.db-wal
"""


def write_files(directory: Path) -> None:
    """Do each of the calls that are recorded."""
    (directory / "session.db-wal").write_bytes(b"before")
    recording.begin(directory)
    new = os.open(directory / "session.db-new", os.O_CREAT | os.O_RDWR)
    os.write(new, b"data")
    os.ftruncate(new, 2)
    os.fdatasync(new)
    os.close(new)
    (directory / "session.db-new").rename(directory / "session.db")
    inside = os.open(directory, os.O_RDONLY)
    os.fsync(inside)
    os.close(inside)
    recording.mark()
    # None of these has to survive.
    for name in ("session.db-lease", "session.db-shm", "journal"):
        (directory / name).write_bytes(b"other")
    file = os.open(directory / "session.db", os.O_RDWR)
    os.pwrite(file, b"at", 7)
    os.close(file)
    (directory / "session.db-wal").unlink()


async def test_calls_are_recorded_in_order(tmp_path):
    process = processes.start(write_files, tmp_path)
    assert await processes.ended(process) == 0
    lines, names = [], {}
    for kind, descriptor, path, offset, data in read_log(recording.log_of(tmp_path)):
        name = path[len(str(tmp_path)) + 1 :]
        letter = kind.decode()
        if letter == "O":
            names[descriptor] = name
        if letter in "UM":
            lines.append(f"{letter} {name}".rstrip())
        elif letter == "R":
            lines.append(f"R {name} {Path(data.decode()).name}")
        else:
            said = f" {len(data)}: {data.decode()}" if letter == "W" else ""
            lines.append(f"{letter} {names[descriptor]} {offset}{said}")
    assert "\n".join(lines) + "\n" == EXPECTED


async def test_a_record_that_was_cut_is_not_read(tmp_path):
    assert read_log(tmp_path / "none") == []
    process = processes.start(write_files, tmp_path)
    assert await processes.ended(process) == 0
    log = recording.log_of(tmp_path)
    records = read_log(log)
    log.write_bytes(log.read_bytes()[:-1])
    assert read_log(log) == records[:-1]
