"""What the command line does with the file of a session.

All functions block. They raise SessionStoreError, which says what to do.
"""

import base64
import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from aiomqtt.properties import Properties
from aiomqtt.protocol.delivery import QUEUED, RELEASED, SENT

from .errors import explained, refusal
from .file import (
    DatabaseFile,
    check_identity,
    check_integrity,
    check_size,
    connect_read_only,
)
from .lease import Lease, is_held, read_holder
from .rows import COLUMNS
from .schema import (
    PREFIX,
    SESSION_SCHEMA,
    check_message,
    read_row,
    reading,
)

# The files of SQLite beside a database.
_SUFFIXES: Final = ("-wal", "-shm", "-journal")
_WORDS: Final = {QUEUED: "waiting", SENT: "sent", RELEASED: "received by the broker"}
_TABLES: Final = (
    "session",
    "deliveries",
    "blocked",
    "received",
    "flows",
    "subscriptions",
    "receipts",
    "staged",
)


def inspect(path: str) -> dict[str, Any]:
    """Return what a file has, after all of it was checked.

    Args:
        path: The file; a client may be using it.
    """
    with _opened(path) as connection:
        check_integrity(path, connection)
        return {
            "file": path,
            "size": sum(one.stat().st_size for one in _files(path)),
            "version": _number(connection, "PRAGMA user_version"),
            "in_use_by": _describe_holder(path),
            **_describe_session(connection),
            "waiting": _count(connection, f"WHERE state = {QUEUED}"),
            "sent": _count(connection, f"WHERE state = {SENT}"),
            "received_by_broker": _count(connection, f"WHERE state = {RELEASED}"),
            "staged": _count(connection, "", "staged"),
            "incoming_qos2": _count(connection, "", "received"),
            "subscriptions": [
                name
                for (name,) in connection.execute(
                    "SELECT filter FROM aiomqtt_subscriptions ORDER BY filter"
                )
            ],
            "receipts": dict(
                connection.execute(
                    "SELECT state, count(*) FROM aiomqtt_receipts GROUP BY state"
                )
            ),
            "tables_of_program": [
                name
                for (name,) in connection.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'table'"
                )
                if not name.startswith((PREFIX, "sqlite_"))
            ],
        }


def export(path: str) -> Iterator[dict[str, Any]]:
    """Yield the messages of a file, in the order in which they are sent.

    Those before a place that is damaged are yielded, then SessionStoreError is raised.

    Args:
        path: The file; a client may be using it.

    Yields:
        The fields of a message; the payload and properties of bytes as base64.
    """
    with _opened(path) as connection:
        for row in connection.execute(
            f"SELECT {COLUMNS} FROM aiomqtt_deliveries ORDER BY place"
        ):
            one = read_row(path, row)
            yield {
                "state": _WORDS[one.state],
                "sequence": one.sequence,
                "packet_id": one.packet_id or None,
                **_describe_message(one.topic, one.payload, one.qos, one.retain),
                "expires": one.expires,
                "properties": _describe_properties(one.properties),
                "id": one.receipt_id or None,
            }
        for number, *row in connection.execute(
            "SELECT number, topic, payload, qos, retain, expires, properties,"
            " receipt_id, checksum FROM aiomqtt_staged ORDER BY number"
        ):
            topic, payload, qos, retain, expires, properties, receipt_id, expected = row
            with reading(path, number):
                found = check_message(topic, properties, payload, expected)
            yield {
                "state": "staged",
                "sequence": number,
                "packet_id": None,
                **_describe_message(topic, payload, qos, bool(retain)),
                "expires": expires,
                "properties": _describe_properties(found),
                "id": receipt_id,
            }


def quarantine(path: str) -> Path:
    """Move a file and what belongs to it aside; return where it is then.

    Args:
        path: The file; no client may be using it.
    """
    path = os.path.realpath(path)
    if not Path(path).is_file():
        raise refusal(path, "there is no such file")
    with explained(path):
        lease = Lease(path)
        lease.take()
        try:
            return _move(path)
        finally:
            lease.release()


def clear(path: str) -> None:
    """Delete all that a session has, but nothing of the program's own tables.

    Args:
        path: The file; no client may be using it.
    """
    if not Path(path).exists():
        raise refusal(path, "there is no such file")
    file = DatabaseFile(path, SESSION_SCHEMA)
    with explained(file.path):
        try:
            file.open()
            with file.transaction() as connection:
                for table in _TABLES:
                    connection.execute(f"DELETE FROM {PREFIX}{table}")
            while file.shrink():
                pass
        finally:
            file.close()


def _move(path: str) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    target = Path(f"{path}.quarantined-{stamp}")
    number = 1
    while target.exists():
        number += 1
        target = Path(f"{path}.quarantined-{stamp}-{number}")
    # The log last: without it, the file would look complete.
    Path(path).rename(target)
    for suffix in _SUFFIXES:
        with contextlib.suppress(FileNotFoundError):
            Path(path + suffix).rename(f"{target}{suffix}")
    return target


@contextlib.contextmanager
def _opened(path: str) -> Iterator[sqlite3.Connection]:
    with explained(path):
        if not Path(path).exists():
            raise refusal(path, "there is no such file")
        connection = connect_read_only(path, is_shared=is_held(os.path.realpath(path)))
        try:
            check_size(path, connection)
            check_identity(path, connection, SESSION_SCHEMA)
            # All that is read belongs to one moment.
            connection.execute("BEGIN")
            yield connection
        finally:
            connection.close()


def _files(path: str) -> list[Path]:
    named = [Path(path), *(Path(path + suffix) for suffix in _SUFFIXES)]
    return [one for one in named if one.exists()]


def _number(connection: sqlite3.Connection, statement: str) -> int:
    (number,) = connection.execute(statement).fetchone()
    return int(number)


def _count(
    connection: sqlite3.Connection, which: str, table: str = "deliveries"
) -> int:
    return _number(connection, f"SELECT count(*) FROM {PREFIX}{table} {which}")


def _describe_holder(path: str) -> dict[str, Any] | None:
    path = os.path.realpath(path)
    if not is_held(path):
        return None
    holder = read_holder(path)
    return {} if holder is None else holder._asdict()


def _describe_session(connection: sqlite3.Connection) -> dict[str, Any]:
    found = connection.execute(
        "SELECT client_id, is_existing, generation, waiting_size FROM aiomqtt_session"
    ).fetchone()
    client_id, is_existing, generation, size = found or (None, 0, 0, 0)
    return {
        "client_id": client_id,
        "has_session": bool(is_existing),
        "opened": generation,
        "waiting_bytes": size,
    }


def _describe_message(
    topic: str, payload: bytes, qos: int, retain: bool
) -> dict[str, Any]:
    text = base64.b64encode(payload).decode()
    return {"topic": topic, "payload": text, "qos": qos, "retain": retain}


def _describe_properties(properties: Properties | None) -> dict[str, Any]:
    if properties is None:
        return {}
    return {
        name: base64.b64encode(value).decode() if isinstance(value, bytes) else value
        for name, value in properties.present.items()
    }
