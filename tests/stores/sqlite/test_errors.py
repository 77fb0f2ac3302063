"""What errors of SQLite and of the system say."""

import errno
import sqlite3

import pytest

from aiomqtt.stores.base import SessionStoreError
from aiomqtt.stores.sqlite.errors import explained


def failing(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("its text")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (failing(sqlite3.SQLITE_FULL), "f.db: the disk is full, .*make room.*its text"),
        (
            failing(sqlite3.SQLITE_IOERR_WRITE),
            "f.db: the system can't .*check the disk",
        ),
        (failing(sqlite3.SQLITE_CORRUPT), "f.db: it is damaged: .*quarantine"),
        # From a text of SQLite that quotes what is damaged.
        (
            UnicodeDecodeError("utf-8", b"\xcf", 0, 1, "invalid"),
            "f.db: it is damaged: .*quarantine",
        ),
        (failing(sqlite3.SQLITE_READONLY), "f.db: it can't be written: give this user"),
        (failing(sqlite3.SQLITE_ERROR), "f.db: SQLite reports: its text"),
        (sqlite3.ProgrammingError("closed"), "f.db: SQLite reports: closed"),
        (
            OSError(errno.EROFS, "Read-only file system"),
            "f.db: Read-only file system: c",
        ),
    ],
)
def test_an_error_names_the_file_the_reason_and_what_to_do(error, text):
    with pytest.raises(SessionStoreError, match=text) as caught, explained("f.db"):
        raise error
    assert caught.value.__cause__ is error


def test_other_errors_stay_as_they_are():
    with pytest.raises(KeyError), explained("f.db"):
        raise KeyError
