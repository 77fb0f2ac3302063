"""Deliveries as rows of their table."""

import sqlite3
from collections.abc import Iterator

import pytest

from aiomqtt.properties import Properties
from aiomqtt.protocol.changes import StoredDelivery, changed
from aiomqtt.protocol.delivery import QUEUED, RELEASED, SENT
from aiomqtt.stores.sqlite.rows import (
    CHANGED_AT,
    COLUMNS,
    PAYLOAD,
    PLAIN_LENGTH,
    PROPERTIES_LENGTH,
    RECEIPT_LENGTH,
    ROW_LENGTH,
    insert_statements,
    to_row,
)
from aiomqtt.stores.sqlite.schema import SESSION_SCHEMA, read_row

EXPIRING = Properties(message_expiry_interval=9)
PLAIN = StoredDelivery(7, "t/ü", b"x", 1, True, None, None, (), "", 9, SENT, 0)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    for statements in SESSION_SCHEMA.migrations:
        for statement in statements:
            connection.execute(statement)
    yield connection
    connection.close()


@pytest.mark.parametrize(
    ("delivery", "place", "length"),
    [
        (PLAIN, 7, PLAIN_LENGTH),
        (changed(PLAIN, payload=bytes(100_000)), 7, PLAIN_LENGTH),
        (changed(PLAIN, state=QUEUED, packet_id=0), 7, PLAIN_LENGTH),
        (changed(PLAIN, expires=0.0, properties=EXPIRING), 7, PROPERTIES_LENGTH),
        (changed(PLAIN, properties=Properties(content_type="c")), 7, PROPERTIES_LENGTH),
        (changed(PLAIN, receipt_id="reading 7"), 7, RECEIPT_LENGTH),
        (PLAIN, -3, ROW_LENGTH),
        (changed(PLAIN, state=RELEASED, topic="", payload=b""), 7, ROW_LENGTH),
        (changed(PLAIN, reason_code=16), 7, ROW_LENGTH),
        (changed(PLAIN, identifiers=(1, 20)), 7, ROW_LENGTH),
        (changed(PLAIN, share="$share/s/t"), 7, ROW_LENGTH),
    ],
)
def test_a_row_is_as_short_as_it_can_be_and_gives_the_delivery_back(
    connection, delivery, place, length
):
    row = to_row(delivery, place, 1000.0)
    assert len(row) == length
    *_, (count, statement) = insert_statements(ROW_LENGTH)[length]
    assert count == 1
    connection.execute(statement, row)
    [found] = connection.execute(f"SELECT {COLUMNS} FROM aiomqtt_deliveries")
    assert read_row("file", found) == delivery
    assert found[CHANGED_AT] == (1000.0 if delivery.receipt_id else None)
    assert found[:length] == tuple(row)


def test_a_plain_row_has_only_values_that_sqlite3_does_not_look_up_adapters_for():
    row = to_row(PLAIN, 7, 1000.0)
    assert {type(value) for value in row} == {int, str, bytearray}
    long = changed(PLAIN, payload=bytes(100_000))
    assert to_row(long, 7, 1000.0)[PAYLOAD] is long.payload


@pytest.mark.parametrize("values", [ROW_LENGTH, 999, 32_766])
def test_statements_have_no_more_values_than_sqlite_takes(connection, values):
    connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, values)
    sequence = 0
    for length, statements in insert_statements(values).items():
        counts = [count for count, _ in statements]
        assert counts == sorted(counts, reverse=True)
        assert counts[-1] == 1
        assert 2 * counts[0] * length > values or counts[0] == 256
        for count, statement in statements:
            rows = []
            for _ in range(count):
                sequence += 1
                row = to_row(changed(PLAIN, share="s"), sequence, 0.0)
                rows += row[:length]
            connection.execute(statement, rows)
    [(found,)] = connection.execute("SELECT count(*) FROM aiomqtt_deliveries")
    assert found == sequence
