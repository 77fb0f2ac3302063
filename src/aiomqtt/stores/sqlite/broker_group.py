"""A group of records of a broker, written to its tables with few statements.

What is added and ended within a group is never written. The statements run for many
rows each, since the interpreter's lock is released and taken for each of them.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Final

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
from .rows import checksum

# Positions in a row of `aiomqtt_outgoing`.
_PACKET_ID: Final = 2
_STATE: Final = 3
# A session and the sequence, packet identifier or topic filter of something in it.
_Key = tuple[int, Any]

_WHICH: Final = "WHERE session = ? AND sequence = ?"


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


class BrokerGroup:
    """Writes records within one transaction.

    Args:
        connection: The connection.
        numbers: The numbers of the sessions.
        step: Called before each statement.
    """

    def __init__(
        self, connection: sqlite3.Connection, numbers: SessionNumbers, step: Step
    ) -> None:
        self._connection = connection
        self._numbers = numbers
        self._step = step
        # What is not written yet. The values of dictionaries: the rows; None: they are
        # deleted.
        self._sessions: dict[int, list[Any]] = {}
        self._added: dict[_Key, list[Any]] = {}
        self._sent: dict[_Key, int] = {}
        self._released: dict[_Key, tuple[int, int]] = {}
        self._ended: list[_Key] = []
        self._blocked: dict[_Key, bool] = {}
        self._received: dict[_Key, bool] = {}
        self._subscriptions: dict[_Key, tuple[int, ...] | None] = {}
        self._pending_retained: dict[_Key, tuple[int, ...] | None] = {}
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
        self._added[number, key] = _outgoing_row(number, value)

    def _send(self, number: int, key: int, value: int) -> None:
        row = self._added.get((number, key))
        if row is None:
            self._sent[number, key] = value
        else:
            row[_STATE], row[_PACKET_ID] = SENT, value

    def _release(self, number: int, key: int, value: int) -> None:
        self._numbers.released += 1
        self._released[number, key] = (value, self._numbers.released)

    def _end(self, number: int, key: int, value: object) -> None:
        self._sent.pop((number, key), None)
        self._released.pop((number, key), None)
        if self._added.pop((number, key), None) is None:
            self._ended.append((number, key))

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
        self._blocked[number, key] = True

    def _unblock(self, number: int, key: int, value: object) -> None:
        self._blocked[number, key] = False

    def _receive(self, number: int, key: int, value: object) -> None:
        self._received[number, key] = True

    def _complete(self, number: int, key: int, value: object) -> None:
        self._received[number, key] = False

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

    def _insert(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        if rows:
            places = ", ".join("?" * len(rows[0]))
            self._many(f"INSERT OR REPLACE INTO {table} VALUES ({places})", rows)

    def _many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        self._step(statement)
        self._connection.executemany(statement, rows)

    def _write_outgoing(self) -> None:
        self._insert("aiomqtt_outgoing", [*self._added.values()])
        self._added = {}
        if self._sent:
            self._many(
                f"UPDATE aiomqtt_outgoing SET state = {SENT}, packet_id = ? {_WHICH}",
                [(packet_id, *key) for key, packet_id in self._sent.items()],
            )
            self._sent = {}
        if self._released:
            self._many(
                f"UPDATE aiomqtt_outgoing SET state = {RELEASED}, reason_code = ?,"
                " released = ?, topic = '', properties = NULL, payload = x'',"
                f" checksum = NULL {_WHICH}",
                [(*values, *key) for key, values in self._released.items()],
            )
            self._released = {}
        if self._ended:
            self._many(f"DELETE FROM aiomqtt_outgoing {_WHICH}", self._ended)
            self._ended = []

    def _write_ids(self, table: str, wanted: dict[_Key, bool]) -> None:
        self._insert(table, [key for key, is_in in wanted.items() if is_in])
        gone = [key for key, is_in in wanted.items() if not is_in]
        if gone:
            self._many(f"DELETE FROM {table} WHERE session = ? AND packet_id = ?", gone)
        wanted.clear()

    def _write_filters(
        self, table: str, wanted: dict[_Key, tuple[int, ...] | None]
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
    topic, payload = delivery.topic, delivery.payload
    properties = None
    if delivery.properties is not None:
        properties = encode_properties(delivery.properties)
    return [
        number,
        delivery.sequence,
        delivery.packet_id,
        delivery.state,
        delivery.qos,
        delivery.retain,
        delivery.expires,
        None,
        delivery.reason_code,
        ",".join(map(str, delivery.identifiers)) or None,
        delivery.share or None,
        topic,
        properties,
        payload,
        checksum(topic, properties, payload),
        delivery.published,
    ]


def _retained_row(message: StoredMessage) -> list[Any]:
    topic, payload, qos, given, expires, number = message
    properties = None if given is None else encode_properties(given)
    sum_ = checksum(topic, properties, payload)
    return [number, topic, qos, expires, properties, payload, sum_]
