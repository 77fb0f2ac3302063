"""Records what a process writes to the files of its session: see `write_log.c`."""

import contextlib
import ctypes
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_SOURCE: Final = Path(__file__).with_name("write_log.c")
# It is needed as long as processes are started.
_DIRECTORY: Final = tempfile.TemporaryDirectory(prefix="campaign-")


@contextlib.contextmanager
def loaded() -> Iterator[None]:
    """Let the processes that are started meanwhile have the library."""
    before = os.environ.get("LD_PRELOAD", "")
    library = Path(_DIRECTORY.name) / "write_log.so"
    command = ["cc", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC"]
    subprocess.run([*command, "-o", library, _SOURCE, "-ldl"], check=True)
    os.environ["LD_PRELOAD"] = f"{library} {before}"
    try:
        yield
    finally:
        os.environ["LD_PRELOAD"] = before


def log_of(directory: Path) -> Path:
    """Return the log of the session in a directory."""
    return directory / "writes"


def begin(directory: Path) -> None:
    """Record from now on; the process must have been started with the library."""
    names = str(directory.resolve()).encode(), str(log_of(directory)).encode()
    code = ctypes.CDLL(None).write_log_begin(*names)
    assert not code, "the log can't be written"


def mark() -> None:
    """Put a mark between two records."""
    ctypes.CDLL(None).write_log_mark()
