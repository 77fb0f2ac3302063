"""The published checks of stores: ours pass, broken ones are found out."""

import itertools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from aiomqtt.protocol.changes import Change, ChangeKind, StoredDelivery
from aiomqtt.stores.base import FIRST_PLACE, OpenedSession, StoredReceipt
from aiomqtt.stores.memory import MemoryStore
from aiomqtt.stores.sqlite.session_store import SQLiteSessionStore
from aiomqtt.testing import check_store
from aiomqtt.testing.store_rules import RULES


def in_memory(kind: type[MemoryStore] = MemoryStore) -> Callable[[], Any]:
    def make_place() -> Callable[[], MemoryStore]:
        store = kind()
        return lambda: store

    return make_place


async def test_memory_passes():
    await check_store(in_memory())


def in_files(directory: Path, **options: Any) -> Callable[[], Any]:
    numbers = itertools.count()

    def make_place() -> Callable[[], SQLiteSessionStore]:
        path = directory / f"{next(numbers)}.db"
        return lambda: SQLiteSessionStore(path, **options)

    return make_place


async def test_sqlite_passes(tmp_path):
    await check_store(in_files(tmp_path))


@pytest.mark.parametrize("durability", ["normal", "full"])
@pytest.mark.parametrize(
    "rule",
    [
        "a commit that is cancelled is stored as a whole or not at all",
        "what is stored is read: any changes, 0",
        "a client goes on from what is stored as if it had not ended, 0",
    ],
)
async def test_sqlite_keeps_rules_at_each_durability(rule, durability, tmp_path):
    """It only says when SQLite has the disk write what it has."""
    await RULES[rule](in_files(tmp_path, durability=durability)())


# --- broken stores ------------------------------------------------------------------


class ForgetsReceived(MemoryStore):
    """It forgets which messages of QoS 2 it has received."""

    async def commit(self, changes: Sequence[Change]) -> None:
        kept = [one for one in changes if one.kind != ChangeKind.RECEIVED]
        await super().commit(kept)


class LosesTheLast(MemoryStore):
    """It loses the last group before it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self._last: Sequence[Change] = ()

    async def commit(self, changes: Sequence[Change]) -> None:
        await super().commit(self._last)
        self._last = changes

    async def close(self) -> None:
        self._last = ()
        await super().close()


class MixesUp(MemoryStore):
    """It returns deliveries in the order of their sequences."""

    async def open(self, client_id: str, window: int) -> OpenedSession:
        opened = await super().open(client_id, window)
        deliveries = opened.state.deliveries
        opened.state.deliveries = {key: deliveries[key] for key in sorted(deliveries)}
        return opened


class Shares(MemoryStore):
    """It returns what it keeps."""

    async def open(self, client_id: str, window: int) -> OpenedSession:
        opened = await super().open(client_id, window)
        assert self._state is not None
        return opened._replace(state=self._state)


class StoresHalf(MemoryStore):
    """It stores one change after the other, and may be cancelled in between."""

    async def commit(self, changes: Sequence[Change]) -> None:
        import asyncio

        for change in changes:
            await super().commit([change])
            await asyncio.sleep(0)


class HasNoWindow(MemoryStore):
    """It returns all deliveries that wait."""

    async def open(self, client_id: str, window: int) -> OpenedSession:
        return await super().open(client_id, 1 << 40)


class LoadsBySequence(MemoryStore):
    """Its places are the sequences, also of deliveries that were put before others."""

    async def load_queued(
        self, after: int, count: int
    ) -> list[tuple[int, StoredDelivery]]:
        loaded = await super().load_queued(FIRST_PLACE, 1 << 40)
        return [(one.sequence, one) for _, one in loaded if one.sequence > after][
            :count
        ]


class CountsNothing(MemoryStore):
    """Each opening is the first one."""

    async def open(self, client_id: str, window: int) -> OpenedSession:
        return (await super().open(client_id, window))._replace(generation=1)


class TakesAnybody(MemoryStore):
    """It gives the session to any client."""

    async def open(self, client_id: str, window: int) -> OpenedSession:
        return await super().open("me", window)


class IsNeverLocked(MemoryStore):
    """It may be opened twice."""

    async def open(self, client_id: str, window: int) -> OpenedSession:
        self._is_open = False
        return await super().open(client_id, window)


class IsAlwaysOpen(MemoryStore):
    """It takes calls when it is closed."""

    async def commit(self, changes: Sequence[Change]) -> None:
        if self._is_open:
            await super().commit(changes)


class ForgetsReceipts(MemoryStore):
    """It keeps no receipts of messages that have ended."""

    async def list_receipts(self) -> list[StoredReceipt]:
        found = await super().list_receipts()
        return [one for one in found if one.state in ("queued", "in flight")]


@pytest.mark.parametrize("kind", [ForgetsReceived, LosesTheLast])
async def test_a_client_does_not_go_on_from_less_than_there_was(kind):
    rule = "a client goes on from what is stored as if it had not ended, 0"
    with pytest.raises((AssertionError, KeyError)):
        await RULES[rule](in_memory(kind)())


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        (ForgetsReceived, "packet identifiers in use are kept"),
        (LosesTheLast, "deliveries keep their order"),
        (MixesUp, "deliveries keep their order"),
        (Shares, "values are not shared with the caller"),
        (StoresHalf, "a commit that is cancelled is stored as a whole or not at all"),
        (HasNoWindow, "no more deliveries that wait are read than the window allows"),
        (LoadsBySequence, "deliveries put before others are loaded first"),
        (CountsNothing, "each opening is a generation"),
        (TakesAnybody, "a session of another client identifier is refused"),
        (IsNeverLocked, "a session is open once at a time"),
        (IsAlwaysOpen, "calls need an open session, and closing twice is harmless"),
        (ForgetsReceipts, "receipts say how far messages have come"),
    ],
)
async def test_a_broken_store_is_found_out(kind, rule):
    with pytest.raises(AssertionError, match=re.escape(rule)):
        await check_store(in_memory(kind))
