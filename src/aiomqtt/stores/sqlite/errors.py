"""Errors of SQLite and of the system, in sentences that say what to do."""

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Final

from aiomqtt.stores.base import SessionStoreError

_QUARANTINE: Final = (
    "move it aside with `python -m aiomqtt session quarantine FILE`, or restore a copy"
)

# The primary error codes of SQLite; the texts continue the sentence "FILE: ".
_REASONS: Final[dict[int, str]] = {
    sqlite3.SQLITE_FULL: (
        "the disk is full, or the file has reached its limit: make room, then start"
        " again"
    ),
    sqlite3.SQLITE_IOERR: (
        "the system can't read or write it: check the disk, then start again"
    ),
    sqlite3.SQLITE_BUSY: (
        "another program has locked it: end the transaction of that program"
    ),
    sqlite3.SQLITE_LOCKED: (
        "another program has locked it: end the transaction of that program"
    ),
    sqlite3.SQLITE_CORRUPT: f"it is damaged: {_QUARANTINE}",
    sqlite3.SQLITE_NOTADB: (
        f"it is no SQLite database, or it is damaged: choose another file, or"
        f" {_QUARANTINE}"
    ),
    sqlite3.SQLITE_READONLY: (
        "it can't be written: give this user write access to it and its directory"
    ),
    sqlite3.SQLITE_PERM: (
        "it can't be opened: give this user access to it and its directory"
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "it can't be opened: give this user write access to it and its directory"
    ),
    sqlite3.SQLITE_PROTOCOL: "its file system does not lock: use a local disk",
    sqlite3.SQLITE_NOLFS: "its file system takes no files of this size",
}


def refusal(path: str, reason: str) -> SessionStoreError:
    """Return the error for a file.

    Args:
        path: The file.
        reason: What is the matter, and what to do.
    """
    return SessionStoreError(f"{path}: {reason}")


def explain(path: str, error: Exception) -> SessionStoreError:
    """Return the error that explains another one.

    Args:
        path: The file.
        error: An error of SQLite or of the system.
    """
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        return refusal(path, f"{reason}: check the path, its directory and the disk")
    if isinstance(error, UnicodeDecodeError):
        # SQLite's text of an error quotes what is damaged.
        return refusal(path, f"it is damaged: {_QUARANTINE} ({error})")
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    reason = _REASONS.get(code, "")
    if not reason:
        return refusal(path, f"SQLite reports: {error}")
    return refusal(path, f"{reason} ({error})")


@contextlib.contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn errors of SQLite and of the system into SessionStoreError.

    Args:
        path: The file that the sentences name.
    """
    try:
        yield
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
        raise explain(path, error) from error
