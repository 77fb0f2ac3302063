"""A store in memory: the session outlives the client, but not the process."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from aiomqtt.protocol.changes import (
    Change,
    ChangeKind,
    SessionState,
    StoredDelivery,
    changed,
)
from aiomqtt.protocol.delivery import LOST, QUEUED, SENT

from .base import FIRST_PLACE, OpenedSession, SessionStoreError, StoredReceipt
from .receipts import ended, unfinished

DAY: Final = 86_400.0  # seconds


class MemoryStore:
    """Keeps a session in this object, for tests: see `SessionStore`.

    Args:
        keep_receipts: How many seconds the receipts of finished messages are kept.
        clock: Returns the seconds since the epoch.
    """

    def __init__(
        self,
        *,
        keep_receipts: float = DAY,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keep_receipts = keep_receipts
        self._clock = clock
        # Valid as long as this object.
        self._state: SessionState | None = None
        self._generation = 0
        # The receipts of finished messages, and when the others have last changed.
        self._receipts: dict[str, StoredReceipt] = {}
        self._changed_at: dict[int, float] = {}
        # The places of the deliveries for which they are not the sequences.
        self._moved: dict[int, int] = {}
        self._last_place = 0
        # Valid from `open` to `close`.
        self._is_open = False

    async def open(self, client_id: str, window: int) -> OpenedSession:
        """See `SessionStore.open`."""
        if self._is_open:
            msg = "The session is in use already: close the other client first"
            raise SessionStoreError(msg)
        state = self._state or SessionState(client_id)
        if state.client_id != client_id:
            msg = (
                f"The session belongs to the client identifier {state.client_id!r},"
                f" not to {client_id!r}: use another store for each client"
            )
            raise SessionStoreError(msg)
        self._state = state
        self._is_open = True
        self._generation += 1
        return self._read(state, window)

    def _read(self, state: SessionState, window: int) -> OpenedSession:
        read = state.without_deliveries()
        waiting = [one for one in state.deliveries.values() if one.state == QUEUED]
        left = {one.sequence for one in waiting[window:]}
        for sequence, delivery in state.deliveries.items():
            if sequence not in left:
                read.deliveries[sequence] = changed(delivery)
        size = sum(
            len(one.topic.encode()) + len(one.payload) for one in waiting[window:]
        )
        first = waiting[:window]
        place = self._place(first[-1].sequence) if first else FIRST_PLACE
        qos0 = sum(not one.qos for one in waiting[window:])
        return OpenedSession(read, place, len(left), size, qos0, self._generation)

    def _place(self, sequence: int) -> int:
        return self._moved.get(sequence, sequence)

    def _move(self, state: SessionState, change: Change) -> None:
        """Note the places that are not the sequences of their deliveries."""
        key = change.key
        if change.kind == ChangeKind.ADDED_FIRST:
            self._move_first(state)
        elif change.kind == ChangeKind.ADDED and isinstance(key, int):
            if key <= self._last_place:
                self._moved[key] = self._last_place + 1
            self._last_place = self._place(key)
        elif change.kind == ChangeKind.ENDED and isinstance(key, int):
            self._moved.pop(key, None)

    def _move_first(self, state: SessionState) -> None:
        """Give a place to a delivery that was put before others, behind those sent."""
        sequences = [*state.deliveries]
        before = sequences[: sequences.index(state.last_sequence) + 1]
        first = min([1, *self._moved.values()]) - len(before)
        for place, sequence in enumerate(before, first):
            self._moved[sequence] = place

    async def commit(self, changes: Sequence[Change]) -> None:
        """See `SessionStore.commit`."""
        state = self._opened()
        now = self._clock()
        for change in changes:
            self._note(state, change, now)
            state.apply(change)
            self._move(state, change)
        self._forget_old(now)

    def _note(self, state: SessionState, change: Change, now: float) -> None:
        """Keep what receipts have to tell of a change, before it is applied."""
        kind, key, value = change.kind, change.key, change.value
        if kind == ChangeKind.OUTBOUND_CLEARED:
            for delivery in state.deliveries.values():
                self._end(delivery, (LOST, 0), now)
            self._changed_at.clear()
        elif kind == ChangeKind.REQUEUED:
            for sequence in self._changed_at:
                if state.deliveries[sequence].state == SENT:
                    self._changed_at[sequence] = now
        elif isinstance(value, StoredDelivery):
            if value.receipt_id:
                self._receipts.pop(value.receipt_id, None)
                self._changed_at[value.sequence] = now
        elif isinstance(key, int) and key in self._changed_at:
            if kind == ChangeKind.ENDED and isinstance(value, tuple):
                self._end(state.deliveries[key], value, now)
                del self._changed_at[key]
            elif kind == ChangeKind.SENT:
                self._changed_at[key] = now

    def _end(self, delivery: StoredDelivery, end: tuple[int, int], now: float) -> None:
        if delivery.receipt_id:
            receipt = ended(delivery.receipt_id, *end, now)
            self._receipts[receipt.id] = receipt

    def _forget_old(self, now: float) -> None:
        """Forget the receipts that were kept long enough; the oldest come first."""
        for receipt_id, receipt in [*self._receipts.items()]:
            if receipt.changed_at > now - self._keep_receipts:
                break
            del self._receipts[receipt_id]

    async def load_queued(
        self, after: int, count: int
    ) -> list[tuple[int, StoredDelivery]]:
        """See `SessionStore.load_queued`."""
        waiting = [
            (place, changed(delivery))
            for sequence, delivery in self._opened().deliveries.items()
            if delivery.state == QUEUED and (place := self._place(sequence)) > after
        ]
        return waiting[:count]

    async def find_receipt(self, receipt_id: str) -> StoredReceipt | None:
        """See `SessionStore.find_receipt`."""
        return next(
            (one for one in await self.list_receipts() if one.id == receipt_id), None
        )

    async def list_receipts(self) -> list[StoredReceipt]:
        """See `SessionStore.list_receipts`."""
        state = self._opened()
        self._forget_old(self._clock())
        found = [
            unfinished(state.deliveries[sequence], changed_at)
            for sequence, changed_at in self._changed_at.items()
        ]
        return sorted(
            [*self._receipts.values(), *found], key=lambda one: one.changed_at
        )

    async def close(self) -> None:
        """See `SessionStore.close`."""
        self._is_open = False

    def _opened(self) -> SessionState:
        if not self._is_open or self._state is None:
            msg = "The session is not open: enter the client first"
            raise SessionStoreError(msg)
        return self._state
