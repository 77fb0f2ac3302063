"""The deliveries of a session as rows of their table.

sqlite3 takes exact int, float, str and bytearray as they are. For every other value,
even for None, it looks for an adapter first, which takes as long as the rest of a row.
"""

from binascii import crc32
from collections.abc import Callable
from typing import Any, Final

from aiomqtt.protocol.changes import StoredDelivery
from aiomqtt.protocol.delivery import RELEASED
from aiomqtt.stores.encoding import encode_properties

# How many rows a statement inserts, the most first.
_CHUNKS: Final = (256, 128, 64, 32, 16, 8, 4, 2, 1)
# Longer ones are not copied.
_LONGEST_COPY: Final = 4096

# The columns. A row may end after each of these parts: the others have their defaults.
_PLAIN: Final = (
    "place",
    "packet_id",
    "state",
    "qos",
    "retain",
    "topic",
    "payload",
    "checksum",
)
_PROPERTIES: Final = ("expires", "properties")
_RECEIPT: Final = ("receipt_id", "changed_at")
_SPECIAL: Final = ("sequence", "released", "reason_code", "identifiers", "share")
_ALL: Final = _PLAIN + _PROPERTIES + _RECEIPT + _SPECIAL
PLAIN_LENGTH: Final = len(_PLAIN)
PROPERTIES_LENGTH: Final = PLAIN_LENGTH + len(_PROPERTIES)
RECEIPT_LENGTH: Final = PROPERTIES_LENGTH + len(_RECEIPT)
ROW_LENGTH: Final = len(_ALL)
# The checksums of topics: they repeat.
_topic_checksums: Final[dict[str, int]] = {}
_MOST_TOPICS: Final = 1024

COLUMNS: Final = ", ".join(_ALL)
# The number of bytes of its topic and payload.
SIZE: Final = "length(CAST(topic AS BLOB)) + length(payload)"

# Positions in a row.
PLACE: Final = 0
STATE: Final = 2
TOPIC: Final = 5
PAYLOAD: Final = 6
CHANGED_AT: Final = 11
RELEASED_AS: Final = 13


def insert_statements(values: int) -> dict[int, list[tuple[int, str]]]:
    """Return how many rows a statement inserts, and it, by the length of the rows.

    The largest come first. Each execution releases the interpreter's lock and has to
    get it back, which takes far longer than a row.

    Args:
        values: How many values a statement can have.
    """
    statements: dict[int, list[tuple[int, str]]] = {}
    for length in (PLAIN_LENGTH, PROPERTIES_LENGTH, RECEIPT_LENGTH, ROW_LENGTH):
        columns = ", ".join(_ALL[:length])
        insert = f"INSERT INTO aiomqtt_deliveries ({columns})"
        statements[length] = chunk_statements(insert, length, values)
    return statements


def chunk_statements(insert: str, length: int, values: int) -> list[tuple[int, str]]:
    """Return how many rows a statement inserts, and it, the largest first.

    Args:
        insert: The statement up to its values.
        length: The number of values of a row.
        values: How many values a statement can have.
    """
    row = f"({', '.join('?' * length)})"
    return [
        (count, f"{insert} VALUES {', '.join([row] * count)}")
        for count in _CHUNKS
        if count * length <= values
    ]


def insert_rows(
    execute: Callable[[str, list[Any]], object],
    statements: list[tuple[int, str]],
    length: int,
    values: list[Any],
) -> None:
    """Insert rows with as few statements as possible.

    Args:
        execute: Executes a statement with its values.
        statements: Those of `chunk_statements`.
        length: The number of values of a row.
        values: The values of all rows, one after the other.
    """
    start = 0
    for count, statement in statements:
        end = start + count * length
        while end <= len(values):
            execute(statement, values[start:end])
            start, end = end, end + count * length


def to_blob(payload: bytes) -> bytes | bytearray:
    """Return a payload as sqlite3 takes it fastest."""
    return bytearray(payload) if len(payload) <= _LONGEST_COPY else payload


def to_row(delivery: StoredDelivery, place: int, now: float) -> list[Any]:
    """Return a delivery as a row, as short as it can be.

    Args:
        delivery: The delivery; if it is RELEASED, its RELEASED_AS is still to be set.
        place: Its place.
        now: The time, in seconds since the epoch.
    """
    topic, payload, receipt_id = delivery.topic, delivery.payload, delivery.receipt_id
    properties: bytes | None = None
    if delivery.properties is not None:
        properties = encode_properties(delivery.properties)
    row: list[Any] = [
        place,
        delivery.packet_id,
        delivery.state,
        delivery.qos,
        1 if delivery.retain else 0,
        topic,
        to_blob(payload),
        checksum(topic, properties, payload),
    ]
    is_special = (
        delivery.sequence != place
        or delivery.state == RELEASED
        or delivery.reason_code != 0
        or len(delivery.identifiers) > 0
        or delivery.share != ""
    )
    has_properties = properties is not None or delivery.expires is not None
    if is_special or receipt_id or has_properties:
        row += (delivery.expires, properties)
    if is_special or receipt_id:
        row += (receipt_id or None, now if receipt_id else None)
    if is_special:
        row += (
            None if delivery.sequence == place else delivery.sequence,
            None,
            delivery.reason_code,
            ",".join(map(str, delivery.identifiers)) or None,
            delivery.share or None,
        )
    return row


def checksum(topic: str, properties: bytes | None, payload: bytes) -> int:
    """Return the checksum of a message.

    Args:
        topic: The topic.
        properties: The properties, encoded; None: there are none.
        payload: The payload.
    """
    before = _topic_checksums.get(topic)
    if before is None:
        if len(_topic_checksums) >= _MOST_TOPICS:
            _topic_checksums.clear()
        before = _topic_checksums[topic] = crc32(topic.encode())
    if properties is not None:
        before = crc32(properties, before)
    return crc32(payload, before)
