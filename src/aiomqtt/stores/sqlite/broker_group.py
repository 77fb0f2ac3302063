"""A group of records of a broker, written to its tables with few statements.

What is added and ended within a group is never written. The statements run for many
rows each, since the interpreter's lock is released and taken for each of them.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, Final, TypeAlias

from aiomqtt.protocol.changes import (
    ChangeKind,
    StoredDelivery,
    StoredSubscription,
)
from aiomqtt.protocol.delivery import QUEUED, RELEASED, SENT
from aiomqtt.standard.tables import PacketType
from aiomqtt.stores.broker import (
    Record,
    RetainedChanged,
    SessionAttributes,
    SessionChanged,
    SessionEnded,
    StoredMessage,
)
from aiomqtt.stores.encoding import encode_properties

from .broker_schema import OF_SESSION
from .file import Step
from .rows import checksum, chunk_statements, insert_rows, to_blob
from .runs import paired_runs, runs

# The columns of `aiomqtt_outgoing`. A row may end after the first part: the others have
# their defaults.
_PLAIN: Final = (
    "session",
    "sequence",
    "packet_id",
    "state",
    "qos",
    "retain",
    "reason_code",
    "topic",
    "payload",
    "checksum",
)
_SPECIAL: Final = ("expires", "properties", "identifiers", "share", "published")
# Positions in a row.
_PACKET_ID: Final = 2
_STATE: Final = 3

# The number of a session, and the sequence of a delivery or a packet identifier in its
# last bits: consecutive ones have consecutive keys.
_NUMBER_BITS: Final = 48
_NUMBER_MASK: Final = (1 << _NUMBER_BITS) - 1
# The number of a session and a topic filter.
_FilterKey: TypeAlias = tuple[int, str]

_PLAIN_COLUMNS: Final = f" ({', '.join(_PLAIN)})"
_ALL_COLUMNS: Final = f" ({', '.join(_PLAIN + _SPECIAL)})"
_WHICH: Final = "WHERE session = ? AND sequence BETWEEN ? AND ?"


class SessionNumbers:
    """The numbers of the sessions, by client identifier.

    Attributes:
        released: How many PUBRECs have been counted.
    """

    def __init__(self) -> None:
        self._by_client: dict[str, int] = {}
        self._last = 0
        self.released: int = 0

    def load(self, client_id: str, number: int) -> None:
        """Take over the number of a stored session."""
        self._by_client[client_id] = number
        self._last = max(self._last, number)

    def find(self, client_id: str) -> int:
        """Return the number of a session; 0: it is not stored."""
        return self._by_client.get(client_id, 0)

    def add(self, client_id: str) -> int:
        """Return the number of a new session."""
        self._last += 1
        self._by_client[client_id] = self._last
        return self._last

    def remove(self, client_id: str) -> int:
        """Return the number of a session that has ended; 0: it was not stored."""
        return self._by_client.pop(client_id, 0)


class Inserts:
    """The statements that insert rows.

    Args:
        values: How many values a statement can have.
    """

    def __init__(self, values: int) -> None:
        self._values = values
        self._found: dict[tuple[str, int], list[tuple[int, str]]] = {}

    def find(self, table: str, length: int) -> list[tuple[int, str]]:
        """Return the statements for a table: see `chunk_statements`.

        Args:
            table: The table, with columns in parentheses if a row has not all of them.
            length: The number of values of a row.
        """
        found = self._found.get((table, length))
        if found is None:
            insert = f"INSERT OR REPLACE INTO {table}"
            found = chunk_statements(insert, length, self._values)
            self._found[table, length] = found
        return found


class BrokerGroup:
    """Writes records within one transaction.

    Args:
        connection: The connection.
        numbers: The numbers of the sessions.
        inserts: The statements that insert rows.
        step: Called before each statement.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        numbers: SessionNumbers,
        inserts: Inserts,
        step: Step,
    ) -> None:
        self._connection = connection
        self._numbers = numbers
        self._inserts = inserts
        self._step = step
        # What is not written yet. The values of dictionaries: the rows; None: they are
        # deleted.
        self._sessions: dict[int, list[Any]] = {}
        self._added: dict[int, list[Any]] = {}
        self._sent: dict[int, int] = {}
        # By the reason code of the PUBREC: the number of the PUBREC.
        self._released: dict[int, dict[int, int]] = {}
        self._ended: list[int] = []
        self._blocked: dict[int, bool] = {}
        self._received: dict[int, bool] = {}
        self._subscriptions: dict[_FilterKey, tuple[int, ...] | None] = {}
        self._pending_retained: dict[_FilterKey, tuple[int, ...] | None] = {}
        self._retained: dict[str, StoredMessage | None] = {}

    def apply(self, records: Iterable[Record]) -> None:
        """Apply records, in order."""
        for record in records:
            if isinstance(record, SessionChanged):
                self._change_session(record)
            elif isinstance(record, SessionEnded):
                self._end_session(record.client_id)
            else:
                assert isinstance(record, RetainedChanged)
                self._retained[record.topic] = record.message

    def _change_session(self, record: SessionChanged) -> None:
        client_id, attributes, changes = record
        number = self._numbers.find(client_id) or self._numbers.add(client_id)
        if attributes is not None:
            self._sessions[number] = _session_row(number, client_id, attributes)
        for change in changes:
            self._APPLY[change.kind](self, number, change.key, change.value)

    def _end_session(self, client_id: str) -> None:
        number = self._numbers.remove(client_id)
        if not number:
            return
        self.write()
        self._step("end session")
        for table in OF_SESSION:
            self._connection.execute(
                f"DELETE FROM {table} WHERE session = ?", (number,)
            )
        self._connection.execute(
            "DELETE FROM aiomqtt_sessions WHERE number = ?", (number,)
        )

    # --- outgoing messages --------------------------------------------------------

    def _add(self, number: int, key: int, value: StoredDelivery) -> None:
        self._added[_key(number, key)] = _outgoing_row(number, value)

    def _send(self, number: int, key: int, value: int) -> None:
        row = self._added.get(_key(number, key))
        if row is None:
            self._sent[_key(number, key)] = value
        else:
            row[_STATE], row[_PACKET_ID] = SENT, value

    def _release(self, number: int, key: int, value: int) -> None:
        self._numbers.released += 1
        by_key = self._released.setdefault(value, {})
        by_key[_key(number, key)] = self._numbers.released

    def _end(self, number: int, sequence: int, value: object) -> None:
        key = _key(number, sequence)
        self._sent.pop(key, None)
        for by_key in self._released.values():
            by_key.pop(key, None)
        if self._added.pop(key, None) is None:
            self._ended.append(key)

    def _requeue(self, number: int, key: object, value: object) -> None:
        self._write_outgoing()
        self._write_ids("aiomqtt_blocked", self._blocked)
        self._step("requeue")
        self._connection.execute(
            "UPDATE aiomqtt_outgoing SET state = ?, packet_id = 0"
            " WHERE session = ? AND state = ?",
            (QUEUED, number, SENT),
        )
        self._clear("aiomqtt_blocked", number)

    def _clear_outbound(self, number: int, key: object, value: object) -> None:
        self._write_outgoing()
        self._write_ids("aiomqtt_blocked", self._blocked)
        self._clear("aiomqtt_outgoing", number)
        self._clear("aiomqtt_blocked", number)

    # --- the others ---------------------------------------------------------------

    def _block(self, number: int, key: int, value: object) -> None:
        self._blocked[_key(number, key)] = True

    def _unblock(self, number: int, key: int, value: object) -> None:
        self._blocked[_key(number, key)] = False

    def _receive(self, number: int, key: int, value: object) -> None:
        self._received[_key(number, key)] = True

    def _complete(self, number: int, key: int, value: object) -> None:
        self._received[_key(number, key)] = False

    def _clear_inbound(self, number: int, key: object, value: object) -> None:
        self._write_ids("aiomqtt_received", self._received)
        self._clear("aiomqtt_received", number)

    def _subscribe(self, number: int, key: str, value: StoredSubscription) -> None:
        options = value.options
        self._subscriptions[number, key] = (
            options.qos,
            options.no_local,
            options.retain_as_published,
            value.identifier,
        )

    def _unsubscribe(self, number: int, key: str, value: object) -> None:
        self._subscriptions[number, key] = None

    def _leave_retained(
        self, number: int, key: str, value: tuple[int, int] | None
    ) -> None:
        self._pending_retained[number, key] = value

    def _clear(self, table: str, number: int) -> None:
        self._step(f"clear {table}")
        self._connection.execute(f"DELETE FROM {table} WHERE session = ?", (number,))

    # A broker's session has none of the other kinds.
    _APPLY: ClassVar[dict[str, Callable[["BrokerGroup", int, Any, Any], None]]] = {
        ChangeKind.ADDED: _add,
        ChangeKind.SENT: _send,
        ChangeKind.RELEASED: _release,
        ChangeKind.ENDED: _end,
        ChangeKind.REQUEUED: _requeue,
        ChangeKind.OUTBOUND_CLEARED: _clear_outbound,
        ChangeKind.BLOCKED: _block,
        ChangeKind.UNBLOCKED: _unblock,
        ChangeKind.RECEIVED: _receive,
        ChangeKind.COMPLETED: _complete,
        ChangeKind.INBOUND_CLEARED: _clear_inbound,
        ChangeKind.SUBSCRIBED: _subscribe,
        ChangeKind.UNSUBSCRIBED: _unsubscribe,
        ChangeKind.RETAINED_PENDING: _leave_retained,
    }

    # --- writing ------------------------------------------------------------------

    def write(self) -> None:
        """Write what is collected."""
        self._insert("aiomqtt_sessions", [*self._sessions.values()])
        self._sessions = {}
        self._write_outgoing()
        self._write_ids("aiomqtt_blocked", self._blocked)
        self._write_ids("aiomqtt_received", self._received)
        self._write_filters("aiomqtt_subscriptions", self._subscriptions)
        self._write_filters("aiomqtt_pending_retained", self._pending_retained)
        self._write_retained()

    def _insert(
        self, table: str, rows: Sequence[Sequence[Any]], columns: str = ""
    ) -> None:
        if rows:
            length = len(rows[0])
            statements = self._inserts.find(f"{table}{columns}", length)
            values = [value for row in rows for value in row]
            insert_rows(self._execute, statements, length, values)

    def _execute(self, statement: str, values: Sequence[Any]) -> None:
        self._step(statement)
        self._connection.execute(statement, values)

    def _many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        self._step(statement)
        self._connection.executemany(statement, rows)

    def _write_outgoing(self) -> None:
        added, self._added = self._added.values(), {}
        plain = [row for row in added if len(row) == len(_PLAIN)]
        special = [row for row in added if len(row) > len(_PLAIN)]
        self._insert("aiomqtt_outgoing", plain, _PLAIN_COLUMNS)
        self._insert("aiomqtt_outgoing", special, _ALL_COLUMNS)
        if self._sent:
            self._many(
                f"UPDATE aiomqtt_outgoing SET state = {SENT},"
                f" packet_id = sequence + ? {_WHICH}",
                _paired_ranges(self._sent),
            )
            self._sent = {}
        for reason_code, by_key in self._released.items():
            self._many(
                f"UPDATE aiomqtt_outgoing SET state = {RELEASED},"
                f" reason_code = {reason_code:d}, released = sequence + ?, topic = '',"
                f" properties = NULL, payload = x'', checksum = NULL {_WHICH}",
                _paired_ranges(by_key),
            )
        self._released = {}
        if self._ended:
            self._many(f"DELETE FROM aiomqtt_outgoing {_WHICH}", _ranges(self._ended))
            self._ended = []

    def _write_ids(self, table: str, wanted: dict[int, bool]) -> None:
        added = [key for key, is_in in wanted.items() if is_in]
        self._insert(table, [(_session(key), _number(key)) for key in added])
        gone = [key for key, is_in in wanted.items() if not is_in]
        if gone:
            self._many(
                f"DELETE FROM {table} WHERE session = ? AND packet_id BETWEEN ? AND ?",
                _ranges(gone),
            )
        wanted.clear()

    def _write_filters(
        self, table: str, wanted: dict[_FilterKey, tuple[int, ...] | None]
    ) -> None:
        self._insert(
            table, [(*key, *values) for key, values in wanted.items() if values]
        )
        gone = [key for key, values in wanted.items() if not values]
        if gone:
            self._many(f"DELETE FROM {table} WHERE session = ? AND filter = ?", gone)
        wanted.clear()

    def _write_retained(self) -> None:
        retained, self._retained = self._retained, {}
        rows, gone = [], []
        for topic, message in retained.items():
            if message is None:
                gone.append((topic,))
            else:
                rows.append(_retained_row(message))
        self._insert("aiomqtt_retained", rows)
        if gone:
            self._many("DELETE FROM aiomqtt_retained WHERE topic = ?", gone)


def _key(session: int, number: int) -> int:
    return session << _NUMBER_BITS | number


def _session(key: int) -> int:
    return key >> _NUMBER_BITS


def _number(key: int) -> int:
    return key & _NUMBER_MASK


def _ranges(keys: Iterable[int]) -> Iterator[tuple[int, int, int]]:
    """Yield session, first and last number of each run of keys."""
    for first, last in runs(keys):
        yield _session(first), _number(first), _number(last)


def _paired_ranges(values: dict[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Yield the same, and before it what to add to each number for its value."""
    for first, last, offset in paired_runs(values.items()):
        number = _number(first)
        yield first + offset - number, _session(first), number, _number(last)


def _session_row(
    number: int, client_id: str, attributes: SessionAttributes
) -> list[Any]:
    is_v5, expiry, ends, will, will_due = attributes
    row = [number, client_id, is_v5, expiry, ends, will_due]
    if will is None:
        return row + [None] * 6
    properties = None
    if will.properties is not None:
        properties = encode_properties(will.properties, PacketType.WILL)
    return [
        *row,
        will.qos,
        will.retain,
        will.topic,
        properties,
        will.payload,
        checksum(will.topic, properties, will.payload),
    ]


def _outgoing_row(number: int, delivery: StoredDelivery) -> list[Any]:
    """Return a delivery as a row, as short as it can be."""
    topic, payload = delivery.topic, delivery.payload
    properties = None
    if delivery.properties is not None:
        properties = encode_properties(delivery.properties)
    row: list[Any] = [
        number,
        delivery.sequence,
        delivery.packet_id,
        delivery.state,
        delivery.qos,
        1 if delivery.retain else 0,
        delivery.reason_code,
        topic,
        to_blob(payload),
        checksum(topic, properties, payload),
    ]
    expires, identifiers = delivery.expires, delivery.identifiers
    if properties is not None or expires is not None or identifiers or delivery.share:
        row += (
            expires,
            properties,
            ",".join(map(str, identifiers)) or None,
            delivery.share or None,
            delivery.published,
        )
    return row


def _retained_row(message: StoredMessage) -> list[Any]:
    topic, payload, qos, given, expires, number = message
    properties = None if given is None else encode_properties(given)
    sum_ = checksum(topic, properties, payload)
    return [number, topic, qos, expires, properties, payload, sum_]
