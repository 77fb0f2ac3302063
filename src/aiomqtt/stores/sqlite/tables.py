"""The session in an open file: reads it, and writes groups of changes.

All methods block: call them in the thread of the file.
"""

import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from aiomqtt.properties import SubscribeOptions
from aiomqtt.protocol.changes import (
    Change,
    SessionState,
    StoredDelivery,
    StoredSubscription,
)
from aiomqtt.protocol.delivery import QUEUED
from aiomqtt.stores.base import FIRST_PLACE, OpenedSession, StoredReceipt
from aiomqtt.stores.checks import check_number, check_receipt, check_state
from aiomqtt.stores.receipts import word_of_unfinished

from .errors import refusal
from .file import DatabaseFile, damage
from .group import Group, reserves
from .guard import Guard
from .index import Index
from .rows import (
    COLUMNS,
    PAYLOAD,
    PLACE,
    RELEASED_AS,
    SIZE,
    STATE,
    TOPIC,
    insert_statements,
)
from .schema import read_row, reading

# How many changes are collected without a chance for the event loop to run.
_STRETCH: Final = 1024
# How many seconds to keep receipts that are too old, at most, beyond their time.
_FORGET_EVERY: Final = 60.0
_UNFINISHED: Final = (
    "SELECT receipt_id, state, changed_at FROM aiomqtt_deliveries WHERE receipt_id {}"
    " UNION ALL"
    " SELECT receipt_id, 0, changed_at FROM aiomqtt_staged WHERE receipt_id {}"
)
_FINISHED: Final = (
    "SELECT id, state, reason_code, changed_at FROM aiomqtt_receipts"
    " WHERE changed_at > ? AND id {}"
)


class SessionTables:
    """The tables of one session.

    Args:
        file: The file, not open yet.
        keep_receipts: How many seconds the receipts of finished messages are kept.
        clock: Returns the seconds since the epoch.

    Attributes:
        index: What is kept in memory of the rows; valid while the file is open.
    """

    def __init__(
        self,
        file: DatabaseFile,
        keep_receipts: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._file = file
        self._keep_receipts = keep_receipts
        self._clock = clock
        # Valid while the file is open.
        self.index: Index = Index()
        self._inserts: dict[int, list[tuple[int, str]]] = {}
        self._forget_at = 0.0
        # None: there was no transaction yet. Each statement that is compiled asks it.
        self._guard: Guard | None = None

    # --- opening ----------------------------------------------------------------

    def open(self, client_id: str, window: int) -> OpenedSession:
        """Open the session: see `SessionStore.open`."""
        self._file.open(lambda connection: self._check_client(connection, client_id))
        try:
            with self._file.transaction() as connection, reading(self._file.path):
                generation = self._begin(connection, client_id)
                in_flight = self._read_index(connection)
                self.index.generation = generation
                self._move_staged(connection)
                rows = self._first_rows(connection, window, in_flight)
                state = self._read_state(connection)
                return self._opened(state, rows, generation)
        except BaseException:
            self._file.close()
            raise

    def _check_client(self, connection: sqlite3.Connection, client_id: str) -> None:
        found = connection.execute("SELECT client_id FROM aiomqtt_session").fetchone()
        if found is not None and found[0] != client_id:
            reason = (
                f"it belongs to the client identifier {found[0]!r}, not to"
                f" {client_id!r}: use another file for each client"
            )
            raise refusal(self._file.path, reason)

    def _begin(self, connection: sqlite3.Connection, client_id: str) -> int:
        """Count that it is opened; create it if there is none."""
        self._file.step("count generation")
        found = connection.execute("SELECT generation FROM aiomqtt_session").fetchone()
        if found is None:
            connection.execute(
                "INSERT INTO aiomqtt_session (client_id) VALUES (?)", (client_id,)
            )
        last = found[0] if found else 0
        check_number("a generation", last, sys.maxsize)
        generation: int = last + 1
        connection.execute("UPDATE aiomqtt_session SET generation = ?", (generation,))
        return generation

    def _read_index(self, connection: sqlite3.Connection) -> int:
        """Read the values of the session; return how many deliveries are in flight."""
        self._file.step("read session")
        index = Index()
        self.index = index
        self._inserts = insert_statements(
            connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
        )
        self._guard = None
        (
            index.client_id,
            is_existing,
            connected_before,
            index.last_packet_id,
            index.reserved_first,
            index.reserved_last,
            index.last_sequence,
            index.waiting,
            index.waiting_size,
            in_flight,
        ) = connection.execute(
            "SELECT client_id, is_existing, connected_before, last_packet_id,"
            " reserved_first, reserved_last, last_sequence, waiting, waiting_size,"
            " in_flight FROM aiomqtt_session"
        ).fetchone()
        check_number("a count", index.waiting, sys.maxsize)
        check_number("a size", index.waiting_size, sys.maxsize)
        index.is_existing = bool(is_existing)
        index.connected_before = bool(connected_before)
        index.moved = dict(
            connection.execute(
                "SELECT sequence, place FROM aiomqtt_deliveries"
                " WHERE sequence IS NOT NULL"
            )
        )
        index.blocked = _read_numbers(connection, "aiomqtt_blocked")
        index.received = _read_numbers(connection, "aiomqtt_received")
        (last,) = connection.execute(
            "SELECT max(place) FROM aiomqtt_deliveries"
        ).fetchone()
        index.last_place = max(last or 0, index.last_sequence)
        return int(in_flight)

    def _move_staged(self, connection: sqlite3.Connection) -> None:
        """Turn what transactions of the program have stored into deliveries."""
        index = self.index
        numbers = connection.execute(
            "SELECT number FROM aiomqtt_staged ORDER BY number"
        )
        moves = []
        for (number,) in numbers:
            index.last_sequence = max(index.last_sequence, index.last_place) + 1
            index.last_place = index.last_sequence
            moves.append((index.last_place, number))
        if not moves:
            return
        self._file.step("move staged")
        connection.executemany(
            "INSERT INTO aiomqtt_deliveries (place, packet_id, state, qos, retain,"
            " expires, receipt_id, changed_at, topic, properties, payload, checksum)"
            " SELECT ?, 0, 0, qos, retain, expires, receipt_id, changed_at, topic,"
            " properties, payload, checksum FROM aiomqtt_staged WHERE number = ?",
            moves,
        )
        (size,) = connection.execute(
            f"SELECT sum({SIZE}) FROM aiomqtt_staged"
        ).fetchone()
        index.waiting += len(moves)
        index.waiting_size += size
        self._file.step("delete staged")
        connection.execute("DELETE FROM aiomqtt_staged")
        connection.execute(
            "UPDATE aiomqtt_session"
            " SET last_sequence = ?, waiting = ?, waiting_size = ?",
            (index.last_sequence, index.waiting, index.waiting_size),
        )

    def _read_state(self, connection: sqlite3.Connection) -> SessionState:
        """Read the state, but for the deliveries."""
        self._file.step("read state")
        index = self.index
        state = SessionState(index.client_id)
        state.exists = index.is_existing
        state.connected_before = index.connected_before
        state.last_packet_id = index.last_packet_id
        state.reserved_first = index.reserved_first
        state.reserved_last = index.reserved_last
        state.last_sequence = index.last_sequence
        state.blocked.update(index.blocked)
        state.received.update(index.received)
        state.flows.update(
            connection.execute("SELECT packet_id, name FROM aiomqtt_flows").fetchall()
        )
        index.flows = {*state.flows}
        for name, *options, identifier, is_confirmed in connection.execute(
            "SELECT filter, qos, no_local, retain_as_published, retain_handling,"
            " identifier, is_confirmed FROM aiomqtt_subscriptions ORDER BY rowid"
        ):
            state.subscriptions[name] = StoredSubscription(
                _to_options(*options), identifier, bool(is_confirmed)
            )
        check_state(state)
        return state

    def _opened(
        self, state: SessionState, rows: Iterable[Sequence[Any]], generation: int
    ) -> OpenedSession:
        """Return the session with the deliveries of these rows."""
        index = self.index
        place, count, size = FIRST_PLACE, index.waiting, index.waiting_size
        released: list[tuple[int, StoredDelivery]] = []
        unreceived: list[StoredDelivery] = []
        for row in rows:
            delivery = read_row(self._file.path, row)
            if row[STATE] == QUEUED:
                place = row[PLACE]
                count -= 1
                size -= len(row[TOPIC].encode()) + len(row[PAYLOAD])
            else:
                index.in_flight[delivery.sequence] = delivery.receipt_id
            if row[RELEASED_AS] is not None:
                check_number("a count", row[RELEASED_AS], sys.maxsize)
                released.append((row[RELEASED_AS], delivery))
            else:
                unreceived.append(delivery)
        released.sort(key=lambda one: one[0])
        index.last_released = released[-1][0] if released else 0
        ordered = [delivery for _, delivery in released] + unreceived
        state.deliveries = {one.sequence: one for one in ordered}
        (qos0,) = (
            self._file.connected()
            .execute(
                "SELECT count(*) FROM aiomqtt_deliveries"
                " WHERE qos = 0 AND state = ? AND place > ?",
                (QUEUED, place),
            )
            .fetchone()
        )
        return OpenedSession(state, place, count, size, qos0, generation)

    def _first_rows(
        self, connection: sqlite3.Connection, window: int, in_flight: int
    ) -> Iterator[Sequence[Any]]:
        """Yield the rows in flight, and the first ones that wait.

        Those in flight come first, unless the changes were stranger than those of a
        client: reading ends as soon as there can be no more.
        """
        self._file.step("read deliveries")
        last = -(1 << 63)
        for row in connection.execute(
            f"SELECT {COLUMNS} FROM aiomqtt_deliveries ORDER BY place"
        ):
            if row[STATE] != QUEUED:
                in_flight -= 1
            elif window:
                window -= 1
            else:
                break
            last = row[0]
            yield row
        if in_flight:
            for row in connection.execute(
                f"SELECT {COLUMNS} FROM aiomqtt_deliveries"
                " WHERE place > ? AND state <> ? ORDER BY place",
                (last, QUEUED),
            ):
                in_flight -= 1
                yield row
        if in_flight:
            raise damage(self._file.path, "its counts do not fit its deliveries")

    # --- while it is open -------------------------------------------------------

    def write(self, changes: Sequence[Change]) -> None:
        """Store a group of changes: see `SessionStore.commit`."""
        listed = [*changes]
        with self._file.group(is_synchronized=reserves(listed)) as connection:
            now, step = self._clock(), self._file.step
            group = Group(connection, self.index, self._inserts, now, step)
            for start in range(0, len(listed), _STRETCH):
                group.apply(listed[start : start + _STRETCH])
            if not group.write():
                raise self._opened_again()

    def begin(self) -> Guard:
        """Begin a transaction; return what executes the statements of the program."""
        connection = self._file.connected()
        if self._guard is None:
            self._guard = Guard(connection)
        self._file.step("begin")
        connection.execute("BEGIN IMMEDIATE")
        found = connection.execute("SELECT generation FROM aiomqtt_session").fetchone()
        if found != (self.index.generation,):
            raise self._opened_again()
        return self._guard

    def _opened_again(self) -> Exception:
        reason = (
            "another client has opened it since, because somebody has deleted the file"
            " of the lease: end one of both"
        )
        return refusal(self._file.path, reason)

    def load_queued(self, after: int, count: int) -> list[tuple[int, StoredDelivery]]:
        """Return deliveries that wait: see `SessionStore.load_queued`."""
        self._file.step("load deliveries")
        rows = self._file.connected().execute(
            f"SELECT {COLUMNS} FROM aiomqtt_deliveries"
            " WHERE place > ? AND state = ? ORDER BY place LIMIT ?",
            (after, QUEUED, count),
        )
        return [(row[PLACE], read_row(self._file.path, row)) for row in rows]

    def clean(self) -> bool:
        """Do a part of what has time; True: there is more."""
        if self._file.connected().in_transaction:
            return False
        now = self._clock()
        # If the clock was set back, that time is far away.
        if not 0 < self._forget_at - now <= _FORGET_EVERY:
            self._forget_at = now + _FORGET_EVERY
            self._file.step("forget receipts")
            self._file.connected().execute(
                "DELETE FROM aiomqtt_receipts WHERE changed_at <= ?",
                (now - self._keep_receipts,),
            )
        return self._file.shrink()

    def close(self) -> None:
        """Close the file: see `SessionStore.close`."""
        self._file.close()

    # --- receipts ---------------------------------------------------------------

    def find_receipt(self, receipt_id: str) -> StoredReceipt | None:
        """Return how far a message has come: see `SessionStore.find_receipt`."""
        found = self._receipts("= ?", (receipt_id,))
        # A message that has not ended is newer than one with the same id that has.
        return found[-1] if found else None

    def list_receipts(self) -> list[StoredReceipt]:
        """Return all receipts: see `SessionStore.list_receipts`."""
        found = self._receipts("IS NOT NULL", ())
        return sorted(found, key=lambda one: one.changed_at)

    def _receipts(self, which: str, values: tuple[str, ...]) -> list[StoredReceipt]:
        self._file.step("read receipts")
        connection = self._file.connected()
        oldest = self._clock() - self._keep_receipts
        finished = connection.execute(_FINISHED.format(which), (oldest, *values))
        found = [StoredReceipt(*row) for row in finished]
        unfinished = connection.execute(_UNFINISHED.format(which, which), values * 2)
        found += [
            StoredReceipt(receipt_id, word_of_unfinished(state), None, changed_at)
            for receipt_id, state, changed_at in unfinished
        ]
        with reading(self._file.path):
            for receipt in found:
                check_receipt(receipt)
        return found


def _read_numbers(connection: sqlite3.Connection, table: str) -> set[int]:
    return {
        number for (number,) in connection.execute(f"SELECT packet_id FROM {table}")
    }


def _to_options(
    qos: int, no_local: int, retain_as_published: int, retain_handling: int
) -> SubscribeOptions:
    return SubscribeOptions(
        qos, bool(no_local), bool(retain_as_published), retain_handling
    )
