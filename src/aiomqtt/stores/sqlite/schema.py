"""The tables of a session; reads its deliveries, and checks them."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

from aiomqtt.properties import Properties
from aiomqtt.protocol.changes import StoredDelivery
from aiomqtt.protocol.wire import PacketError
from aiomqtt.standard.tables import PacketType
from aiomqtt.stores.checks import check_delivery, check_kind
from aiomqtt.stores.encoding import decode_properties

from .file import Schema, damage
from .rows import PLACE, checksum

# How the names of all our tables begin; the others are those of the program.
PREFIX: Final = "aiomqtt_"

_CREATE: Final = (
    # One row. The counts are of the table `aiomqtt_deliveries`.
    """
    CREATE TABLE aiomqtt_session (
        client_id TEXT NOT NULL,
        is_existing INTEGER NOT NULL DEFAULT 0,
        connected_before INTEGER NOT NULL DEFAULT 0,
        last_packet_id INTEGER NOT NULL DEFAULT 0,
        last_sequence INTEGER NOT NULL DEFAULT 0,
        generation INTEGER NOT NULL DEFAULT 0,
        waiting INTEGER NOT NULL DEFAULT 0,
        waiting_size INTEGER NOT NULL DEFAULT 0,
        in_flight INTEGER NOT NULL DEFAULT 0
    )
    """,
    # `place`: the order in which they are sent, which is also that of the rows.
    # `sequence`: NULL if it is the same number, as it nearly always is.
    # `released`: the order in which the PUBRECs came; NULL: none has.
    # `changed_at`: when it was added, sent or queued again.
    # `checksum`: of topic, properties and payload, since SQLite has none of its own
    # outside its log; NULL once these are deleted.
    # What may be long comes last: SQLite then finds the rest without reading it.
    """
    CREATE TABLE aiomqtt_deliveries (
        place INTEGER PRIMARY KEY,
        packet_id INTEGER NOT NULL,
        state INTEGER NOT NULL,
        qos INTEGER NOT NULL,
        retain INTEGER NOT NULL,
        expires REAL,
        sequence INTEGER,
        released INTEGER,
        reason_code INTEGER NOT NULL DEFAULT 0,
        receipt_id TEXT,
        changed_at REAL,
        identifiers TEXT,
        share TEXT,
        topic TEXT NOT NULL,
        properties BLOB,
        payload BLOB NOT NULL,
        checksum INTEGER
    )
    """,
    """
    CREATE INDEX aiomqtt_deliveries_with_qos_0 ON aiomqtt_deliveries (place)
    WHERE qos = 0
    """,
    """
    CREATE INDEX aiomqtt_moved_deliveries ON aiomqtt_deliveries (sequence, place)
    WHERE sequence IS NOT NULL
    """,
    """
    CREATE INDEX aiomqtt_deliveries_with_receipt ON aiomqtt_deliveries (receipt_id)
    WHERE receipt_id IS NOT NULL
    """,
    "CREATE TABLE aiomqtt_blocked (packet_id INTEGER PRIMARY KEY)",
    "CREATE TABLE aiomqtt_received (packet_id INTEGER PRIMARY KEY)",
    """
    CREATE TABLE aiomqtt_subscriptions (
        filter TEXT NOT NULL UNIQUE,
        qos INTEGER NOT NULL,
        no_local INTEGER NOT NULL,
        retain_as_published INTEGER NOT NULL,
        retain_handling INTEGER NOT NULL,
        identifier INTEGER NOT NULL,
        is_confirmed INTEGER NOT NULL
    )
    """,
    # Of messages that have ended.
    """
    CREATE TABLE aiomqtt_receipts (
        id TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL,
        reason_code INTEGER,
        changed_at REAL NOT NULL
    )
    """,
    "CREATE INDEX aiomqtt_receipts_by_age ON aiomqtt_receipts (changed_at)",
    # What transactions of the program have stored; it becomes deliveries.
    """
    CREATE TABLE aiomqtt_staged (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        qos INTEGER NOT NULL,
        retain INTEGER NOT NULL,
        expires REAL,
        receipt_id TEXT,
        changed_at REAL,
        topic TEXT NOT NULL,
        properties BLOB,
        payload BLOB NOT NULL,
        checksum INTEGER NOT NULL
    )
    """,
)

_ADD_FLOWS: Final = (
    # The names by which databases of the program know messages of QoS 2.
    "CREATE TABLE aiomqtt_flows (packet_id INTEGER PRIMARY KEY, name TEXT NOT NULL)",
)

_ADD_RESERVED: Final = (
    # The packet identifiers that QoS 2 may use before the rest of the file knows it.
    """
    ALTER TABLE aiomqtt_session ADD COLUMN reserved_first INTEGER NOT NULL DEFAULT 0
    """,
    """
    ALTER TABLE aiomqtt_session ADD COLUMN reserved_last INTEGER NOT NULL DEFAULT 0
    """,
)

SESSION_SCHEMA: Final = Schema(
    0x4D515453, "the session of a client", (_CREATE, _ADD_FLOWS, _ADD_RESERVED)
)


def read_row(path: str, row: Sequence[Any]) -> StoredDelivery:
    """Return the delivery of a row of COLUMNS.

    Args:
        path: The file that it comes from.
        row: The row.

    Raises:
        SessionStoreError: It is damaged.
    """
    with reading(path, row[PLACE]):
        return _to_delivery(row)


@contextlib.contextmanager
def reading(path: str, number: int | None = None) -> Iterator[None]:
    """Turn the errors of values that can't be into SessionStoreError.

    Args:
        path: The file.
        number: The number of the row that they are in; None: not of one row.
    """
    try:
        yield
    except (PacketError, ValueError, TypeError) as error:
        what = str(error) if number is None else f"row {number}: {error}"
        raise damage(path, what) from error


def _to_delivery(row: Sequence[Any]) -> StoredDelivery:
    place, packet_id, state, qos, retain, topic, payload, expected = row[:8]
    expires, properties, receipt_id, _, sequence, _, *special = row[8:]
    reason_code, identifiers, share = special
    return to_delivery(
        (place if sequence is None else sequence, packet_id, state, reason_code),
        (topic, properties, payload, expected),
        (qos, retain, expires, identifiers, share, receipt_id),
    )


def to_delivery(
    flow: tuple[int, int, int, int],
    message: tuple[str, bytes | None, bytes, int | None],
    options: tuple[int, int, float | None, str | None, str | None, str | None],
) -> StoredDelivery:
    """Return the delivery of values that were stored.

    Args:
        flow: Its sequence, packet identifier, state and reason code.
        message: Topic, encoded properties, payload, checksum: see `check_message`.
        options: QoS, RETAIN, when it expires, the subscription identifiers separated by
            commas, the share and the id of the receipt; None: there is none.

    Raises:
        ValueError: The message is not what was stored.
        PacketError: Its properties are damaged.
    """
    sequence, packet_id, state, reason_code = flow
    topic, _, payload, _ = message
    qos, retain, expires, identifiers, share, receipt_id = options
    delivery = StoredDelivery(
        sequence,
        topic,
        payload,
        qos,
        bool(retain),
        check_message(*message),
        expires,
        tuple(map(int, identifiers.split(","))) if identifiers else (),
        share or "",
        packet_id,
        state,
        reason_code,
        receipt_id or "",
    )
    check_delivery(delivery)
    return delivery


def check_message(
    topic: str,
    properties: bytes | None,
    payload: bytes,
    expected: int | None,
    kind: PacketType = PacketType.PUBLISH,
) -> Properties | None:
    """Check that a message is what was stored; return its properties, None: none.

    Args:
        topic: The topic.
        properties: The properties, encoded; None: there are none.
        payload: The payload.
        expected: The checksum; None: there is none.
        kind: PUBLISH, or WILL for those of a will.

    Raises:
        ValueError: It is not.
        PacketError: The properties are damaged.
    """
    check_kind("a topic", topic, str)
    check_kind("a payload", payload, bytes)
    if expected not in (None, checksum(topic, properties, payload)):
        msg = "its message has changed"
        raise ValueError(msg)
    return None if properties is None else decode_properties(properties, kind)
