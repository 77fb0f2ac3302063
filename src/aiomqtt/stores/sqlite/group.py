"""A group of changes, written with as few statements as possible.

What was added and ended in one group is not written at all.
"""

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any, Final

from aiomqtt.protocol.changes import (
    Change,
    ChangeKind,
    StoredDelivery,
    StoredSubscription,
    changed,
    released,
)
from aiomqtt.protocol.delivery import LOST, QUEUED, RELEASED, SENT
from aiomqtt.stores.base import StoredReceipt
from aiomqtt.stores.receipts import ended

from .file import Step
from .index import Index
from .rows import RELEASED_AS, SIZE, insert_rows, to_row
from .runs import paired_runs, runs

# How many values of rows gather before they are inserted: compiled code lets the event
# loop run only while a statement is executed.
_MOST_VALUES: Final = 2048
_REPLACE_RECEIPT: Final = "INSERT OR REPLACE INTO aiomqtt_receipts VALUES (?, ?, ?, ?)"


def reserves(changes: list[Change]) -> bool:
    """Return whether there are changes that reserve packet identifiers."""
    return any(change.kind == ChangeKind.RESERVED and change.key for change in changes)


class Group:
    """Collects the changes of one group; `write` writes what is left of them.

    Args:
        connection: The connection, in a transaction.
        index: What is known of the rows; it is changed with them.
        inserts: The statements of `insert_statements`.
        now: The time, in seconds since the epoch.
        step: Called before each statement.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        index: Index,
        inserts: dict[int, list[tuple[int, str]]],
        now: float,
        step: Step,
    ) -> None:
        self._connection: sqlite3.Connection = connection
        self._index: Index = index
        self._inserts: dict[int, list[tuple[int, str]]] = inserts
        self._now: float = now
        self._step: Step = step
        # What is not written yet. Deliveries to insert, by sequence, and the numbers of
        # their PUBRECs.
        self._added: dict[int, StoredDelivery] = {}
        self._added_released: dict[int, int] = {}
        # What happened to rows that are in the table, by their places.
        self._sent: dict[int, int] = {}
        # By the reason code of the PUBREC: the number of the PUBREC, by place.
        self._released: dict[int, dict[int, int]] = {}
        self._ended: list[int] = []
        self._ended_waiting: list[int] = []
        # None: it is to be deleted.
        self._receipts: dict[str, StoredReceipt | None] = {}
        self._blocked: dict[int, bool] = {}
        self._received: dict[int, bool] = {}
        # None: it is to be deleted.
        self._flows: dict[int, str | None] = {}
        self._subscriptions: dict[str, StoredSubscription | None] = {}
        self._unstaged: list[int] = []

    def apply(self, changes: list[Change]) -> None:
        """Collect changes, and write those that others depend on."""
        for change in changes:
            key: Any = change.key
            value: Any = change.value
            # Each message has these two: do not look for what handles them.
            if change.kind == ChangeKind.ADDED:
                self._add(key, value)
            elif change.kind == ChangeKind.ENDED:
                self._end(key, value)
            else:
                _APPLY[change.kind](self, key, value)

    def write(self) -> bool:
        """Write what is collected, and the values of the session.

        Returns:
            Whether the session was not opened again since.
        """
        self.write_rows()
        self._step("write session")
        written = self._connection.execute(
            "UPDATE aiomqtt_session SET client_id = ?, is_existing = ?,"
            " connected_before = ?, last_packet_id = ?, reserved_first = ?,"
            " reserved_last = ?, last_sequence = ?, waiting = ?, waiting_size = ?,"
            " in_flight = ? WHERE generation = ?",
            (*self._index.values(), self._index.generation),
        )
        return written.rowcount == 1

    # --- deliveries -------------------------------------------------------------

    def _add(self, key: int, value: StoredDelivery) -> None:
        index = self._index
        self._insert(key, value, index.next_place(key))

    def _insert(self, key: int, value: StoredDelivery, place: int) -> None:
        index = self._index
        if value.state == RELEASED:
            self._added_released[key] = index.next_released()
        if value.receipt_id:
            self._receipts[value.receipt_id] = None
        if place != key:
            index.moved[key] = place
        self._added[key] = value
        index.last_sequence = key
        if value.packet_id:
            index.last_packet_id = value.packet_id

    def _add_first(self, key: int, value: StoredDelivery) -> None:
        self.write_rows()
        self._step("find first")
        found = self._connection.execute(
            "SELECT place FROM aiomqtt_deliveries WHERE state = ?"
            " ORDER BY place LIMIT 1",
            (QUEUED,),
        ).fetchone()
        if found is None:
            self._add(key, value)
            return
        first: int = found[0]
        places = sorted(self._index.place(one) for one in self._index.in_flight)
        if places and places[-1] >= first - 1:
            self._move_in_flight(min(first, places[0]) - len(places) - 1)
        self._insert(key, value, first - 1)

    def _move_in_flight(self, place: int) -> None:
        """Give those in flight other places, from this one on, in the same order."""
        index = self._index
        moves: list[tuple[int, int, int]] = []
        for sequence in sorted(index.in_flight, key=index.place):
            moves.append((place, sequence, index.place(sequence)))
            index.moved[sequence] = place
            place += 1
        self._step("move deliveries")
        self._connection.executemany(
            "UPDATE aiomqtt_deliveries SET place = ?, sequence = ? WHERE place = ?",
            moves,
        )

    def _send(self, key: int, value: int) -> None:
        self._index.last_packet_id = value
        added = self._added.get(key)
        if added is None:
            self._sent[self._index.place(key)] = value
        else:
            self._added[key] = changed(added, state=SENT, packet_id=value)

    def _release(self, key: int, value: int) -> None:
        number = self._index.next_released()
        added = self._added.get(key)
        if added is None:
            self._released.setdefault(value, {})[self._index.place(key)] = number
        else:
            self._added[key] = released(added, value)
            self._added_released[key] = number

    def _end(self, key: int, value: object) -> None:
        index = self._index
        if key in self._added:
            added = self._added.pop(key)
            self._added_released.pop(key, None)
            if isinstance(value, tuple):
                self._finish(added.receipt_id, *value)
            index.moved.pop(key, None)
            return
        place = index.place(key)
        receipt_id = index.in_flight.pop(key, None)
        if receipt_id is not None:
            self._ended.append(place)
        else:
            self._ended_waiting.append(place)
            if isinstance(value, tuple):
                receipt_id = self._find_receipt_id(place)
        if isinstance(value, tuple) and receipt_id:
            self._finish(receipt_id, *value)
        if self._sent:
            self._sent.pop(place, None)
        for numbers in self._released.values():
            numbers.pop(place, None)
        if index.moved:
            index.moved.pop(key, None)

    def _find_receipt_id(self, place: int) -> str:
        self._step("find receipt")
        found = self._connection.execute(
            "SELECT receipt_id FROM aiomqtt_deliveries WHERE place = ?", (place,)
        ).fetchone()
        return (found and found[0]) or ""

    def _finish(self, receipt_id: str, state: int, reason_code: int) -> None:
        if receipt_id:
            receipt = ended(receipt_id, state, reason_code, self._now)
            self._receipts.pop(receipt_id, None)
            self._receipts[receipt_id] = receipt

    def _requeue(self, key: object, value: object) -> None:
        self.write_rows()
        index = self._index
        places = [index.place(sequence) for sequence in index.in_flight]
        for first, last in runs(places):
            self._count_waiting(first, last, SENT, 1)
            self._step("requeue")
            self._connection.execute(
                "UPDATE aiomqtt_deliveries SET state = ?, packet_id = 0, changed_at = ?"
                " WHERE place BETWEEN ? AND ? AND state = ?",
                (QUEUED, self._now, first, last, SENT),
            )
        index.in_flight = {
            sequence: receipt_id
            for sequence, receipt_id in index.in_flight.items()
            if self._has_state(index.place(sequence), RELEASED)
        }
        self._clear("aiomqtt_blocked")
        index.forget_packet_ids()

    def _has_state(self, place: int, state: int) -> bool:
        found = self._connection.execute(
            "SELECT 1 FROM aiomqtt_deliveries WHERE place = ? AND state = ?",
            (place, state),
        ).fetchone()
        return found is not None

    def _clear_outbound(self, key: object, value: object) -> None:
        self.write_rows()
        self._step("lose receipts")
        lost = ended("", LOST, 0, self._now)
        self._connection.execute(
            "INSERT OR REPLACE INTO aiomqtt_receipts SELECT receipt_id, ?, ?, ?"
            " FROM aiomqtt_deliveries WHERE receipt_id IS NOT NULL ORDER BY place",
            lost[1:],
        )
        self._clear("aiomqtt_deliveries")
        self._clear("aiomqtt_blocked")
        self._index.clear()

    # --- the others -------------------------------------------------------------

    def _identify(self, key: object, value: tuple[str, bool, bool]) -> None:
        index = self._index
        index.client_id, index.is_existing, index.connected_before = value

    def _count(self, key: int, value: object) -> None:
        self._index.last_packet_id = key

    def _reserve(self, key: int, value: int) -> None:
        self._index.reserved_first, self._index.reserved_last = value, key

    def _block(self, key: int, value: object) -> None:
        self._blocked[key] = True

    def _unblock(self, key: int, value: object) -> None:
        self._blocked[key] = False

    def _receive(self, key: int, value: object) -> None:
        self._received[key] = True

    def _complete(self, key: int, value: object) -> None:
        self._received[key] = False
        if key in self._flows or key in self._index.flows:
            self._flows[key] = None

    def _name(self, key: int, value: str) -> None:
        self._flows[key] = value

    def _clear_inbound(self, key: object, value: object) -> None:
        self._received.clear()
        self._index.received.clear()
        self._clear("aiomqtt_received")
        self._flows.clear()
        self._index.flows.clear()
        self._clear("aiomqtt_flows")

    def _subscribe(self, key: str, value: StoredSubscription) -> None:
        self._subscriptions[key] = value

    def _unsubscribe(self, key: str, value: object) -> None:
        self._subscriptions[key] = None

    def _unstage(self, key: int, value: object) -> None:
        self._unstaged.append(key)

    def _clear(self, table: str) -> None:
        self._step(f"clear {table}")
        self._connection.execute(f"DELETE FROM {table}")

    # --- writing ----------------------------------------------------------------

    def write_rows(self) -> None:
        """Write what is collected."""
        self._insert_added()
        self._update()
        if self._receipts:
            self._write_receipts()
        if self._ended or self._ended_waiting:
            self._delete_ended()
        if self._blocked:
            self._write_ids("aiomqtt_blocked", self._blocked, self._index.blocked)
            self._blocked = {}
        if self._received:
            self._write_ids("aiomqtt_received", self._received, self._index.received)
            self._received = {}
        if self._flows:
            self._write_flows()
        if self._subscriptions:
            self._write_subscriptions()
        if self._unstaged:
            self._delete("aiomqtt_staged", "number", self._unstaged)
            self._unstaged = []

    def _insert_added(self) -> None:
        if not self._added:
            return
        index = self._index
        # The values of all rows of a length, one after the other.
        by_length: dict[int, list[Any]] = {length: [] for length in self._inserts}
        for sequence, added in self._added.items():
            row = to_row(added, index.place(sequence), self._now)
            if self._added_released and sequence in self._added_released:
                row[RELEASED_AS] = self._added_released[sequence]
            values = by_length[len(row)]
            values.extend(row)
            if len(values) >= _MOST_VALUES:
                self._insert_rows(len(row), values)
                values.clear()
            if added.state != QUEUED:
                index.in_flight[sequence] = added.receipt_id
            else:
                index.waiting += 1
                index.waiting_size += len(added.topic.encode()) + len(added.payload)
        self._added = {}
        self._added_released = {}
        for length, values in by_length.items():
            self._insert_rows(length, values)

    def _insert_rows(self, length: int, values: list[Any]) -> None:
        insert_rows(self._execute_insert, self._inserts[length], length, values)

    def _execute_insert(self, statement: str, values: list[Any]) -> None:
        self._step("insert deliveries")
        self._connection.execute(statement, values)

    def _update(self) -> None:
        sent, self._sent = self._sent, {}
        for first, last, offset in paired_runs(sent.items()):
            self._count_waiting(first, last, QUEUED, -1)
            self._take_in_flight(first, last)
            self._step("send deliveries")
            self._connection.execute(
                "UPDATE aiomqtt_deliveries SET state = ?, packet_id = place + ?,"
                " changed_at = ? WHERE place BETWEEN ? AND ?",
                (SENT, offset, self._now, first, last),
            )
        by_code, self._released = self._released, {}
        for reason_code, numbers in by_code.items():
            for first, last, offset in paired_runs(numbers.items()):
                self._step("release deliveries")
                self._connection.execute(
                    "UPDATE aiomqtt_deliveries SET state = ?, reason_code = ?,"
                    " released = place + ?, topic = '', properties = NULL,"
                    " payload = x'', checksum = NULL WHERE place BETWEEN ? AND ?",
                    (RELEASED, reason_code, offset, first, last),
                )

    def _count_waiting(self, first: int, last: int, state: int, sign: int) -> None:
        """Count the deliveries of a run that begin to wait, or that do so no more."""
        self._step("count deliveries")
        count, size = self._connection.execute(
            f"SELECT count(*), coalesce(sum({SIZE}), 0) FROM aiomqtt_deliveries"
            " WHERE place BETWEEN ? AND ? AND state = ?",
            (first, last, state),
        ).fetchone()
        self._index.waiting += sign * count
        self._index.waiting_size += sign * size

    def _take_in_flight(self, first: int, last: int) -> None:
        index = self._index
        by_place: dict[int, int] = {}
        if index.moved:
            by_place = {place: sequence for sequence, place in index.moved.items()}
        for place in range(first, last + 1):
            index.in_flight[by_place.get(place, place)] = ""
        self._step("find receipts")
        for place, receipt_id in self._connection.execute(
            "SELECT place, receipt_id FROM aiomqtt_deliveries"
            " WHERE place BETWEEN ? AND ? AND receipt_id IS NOT NULL",
            (first, last),
        ).fetchall():
            index.in_flight[by_place.get(place, place)] = receipt_id

    def _delete_ended(self) -> None:
        self._delete("aiomqtt_deliveries", "place", self._ended)
        self._ended = []
        for first, last in runs(self._ended_waiting):
            self._count_waiting(first, last, QUEUED, -1)
        self._delete("aiomqtt_deliveries", "place", self._ended_waiting)
        self._ended_waiting = []

    def _delete(self, table: str, column: str, numbers: Iterable[int]) -> None:
        for first, last in runs(numbers):
            self._step(f"delete from {table}")
            self._connection.execute(
                f"DELETE FROM {table} WHERE {column} BETWEEN ? AND ?", (first, last)
            )

    def _write_receipts(self) -> None:
        self._step("write receipts")
        self._connection.executemany(
            "DELETE FROM aiomqtt_receipts WHERE id = ?",
            [(name,) for name, receipt in self._receipts.items() if receipt is None],
        )
        self._connection.executemany(
            _REPLACE_RECEIPT,
            [receipt for receipt in self._receipts.values() if receipt is not None],
        )
        self._receipts = {}

    def _write_ids(self, table: str, wanted: dict[int, bool], known: set[int]) -> None:
        added = [(key,) for key, is_in in wanted.items() if is_in and key not in known]
        gone = [key for key, is_in in wanted.items() if not is_in and key in known]
        if added:
            self._step(f"insert into {table}")
            self._connection.executemany(f"INSERT INTO {table} VALUES (?)", added)
            known.update(key for (key,) in added)
        self._delete(table, "packet_id", gone)
        known.difference_update(gone)

    def _write_flows(self) -> None:
        known = self._index.flows
        gone = [key for key, name in self._flows.items() if name is None]
        self._delete(
            "aiomqtt_flows", "packet_id", [key for key in gone if key in known]
        )
        known.difference_update(gone)
        named = [(key, name) for key, name in self._flows.items() if name is not None]
        if named:
            self._step("insert into aiomqtt_flows")
            self._connection.executemany(
                "INSERT OR REPLACE INTO aiomqtt_flows VALUES (?, ?)", named
            )
            known.update(key for key, _ in named)
        self._flows = {}

    def _write_subscriptions(self) -> None:
        for name, subscription in self._subscriptions.items():
            self._step("write subscription")
            if subscription is None:
                self._connection.execute(
                    "DELETE FROM aiomqtt_subscriptions WHERE filter = ?", (name,)
                )
                continue
            options = subscription.options
            self._connection.execute(
                "INSERT INTO aiomqtt_subscriptions VALUES (?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (filter) DO UPDATE SET qos = excluded.qos,"
                " no_local = excluded.no_local,"
                " retain_as_published = excluded.retain_as_published,"
                " retain_handling = excluded.retain_handling,"
                " identifier = excluded.identifier,"
                " is_confirmed = excluded.is_confirmed",
                (
                    name,
                    options.qos,
                    options.no_local,
                    options.retain_as_published,
                    options.retain_handling,
                    subscription.identifier,
                    subscription.is_confirmed,
                ),
            )
        self._subscriptions = {}


_APPLY: Final[dict[str, Callable[[Group, Any, Any], None]]] = {
    ChangeKind.IDENTIFIED: Group._identify,
    ChangeKind.ADDED: Group._add,
    ChangeKind.ADDED_FIRST: Group._add_first,
    ChangeKind.SENT: Group._send,
    ChangeKind.RELEASED: Group._release,
    ChangeKind.ENDED: Group._end,
    ChangeKind.REQUEUED: Group._requeue,
    ChangeKind.OUTBOUND_CLEARED: Group._clear_outbound,
    ChangeKind.COUNTED: Group._count,
    ChangeKind.RESERVED: Group._reserve,
    ChangeKind.BLOCKED: Group._block,
    ChangeKind.UNBLOCKED: Group._unblock,
    ChangeKind.RECEIVED: Group._receive,
    ChangeKind.NAMED: Group._name,
    ChangeKind.COMPLETED: Group._complete,
    ChangeKind.INBOUND_CLEARED: Group._clear_inbound,
    ChangeKind.SUBSCRIBED: Group._subscribe,
    ChangeKind.UNSUBSCRIBED: Group._unsubscribe,
    ChangeKind.UNSTAGED: Group._unstage,
}
