"""The store in memory."""

import pytest

from aiomqtt.protocol.changes import Change, ChangeKind, StoredDelivery
from aiomqtt.protocol.delivery import DONE, EXPIRED, QUEUED, SENT
from aiomqtt.stores.base import OpenedSession, SessionStore, SessionStoreError
from aiomqtt.stores.memory import MemoryStore


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def added(sequence: int, receipt_id: str = "", packet_id: int = 0) -> Change:
    state = SENT if packet_id else QUEUED
    stored = StoredDelivery(
        sequence, "t", b"%d" % sequence, 1, False, None, None, (), "", packet_id, state,
        0, receipt_id,
    )  # fmt: skip
    return Change(ChangeKind.ADDED, sequence, stored)


async def test_the_session_is_there_when_it_is_opened_again():
    store = MemoryStore()
    assert isinstance(store, SessionStore)
    assert (await store.open("me", 10)).generation == 1
    await store.commit(
        [Change(ChangeKind.IDENTIFIED, None, ("me", True, True)), added(1, "", 7)]
    )
    await store.commit([added(number) for number in range(2, 6)])
    await store.close()
    state, place, remaining, size, qos0, generation = await store.open("me", 2)
    assert state.exists
    assert state.connected_before
    assert state.last_packet_id == 7
    assert [*state.deliveries] == [1, 2, 3]
    assert (remaining, size, qos0, generation) == (2, 4, 0, 2)
    assert [one.sequence for _, one in await store.load_queued(place, 10)] == [4, 5]


async def test_what_is_read_is_not_what_is_kept():
    store = MemoryStore()
    await store.open("me", 10)
    await store.commit([added(1)])
    await store.close()
    opened: OpenedSession = await store.open("me", 10)
    opened.state.received.add(1)
    opened.state.deliveries.clear()
    await store.close()
    state = (await store.open("me", 10)).state
    assert not state.received
    assert [*state.deliveries] == [1]


async def test_a_store_is_for_one_client_at_a_time():
    store = MemoryStore()
    with pytest.raises(SessionStoreError, match="not open"):
        await store.commit([])
    await store.open("me", 10)
    with pytest.raises(SessionStoreError, match="in use already"):
        await store.open("me", 10)
    await store.close()
    with pytest.raises(SessionStoreError, match="'me', not to 'you'"):
        await store.open("you", 10)


async def test_receipts_say_how_far_messages_have_come():
    clock = Clock()
    store = MemoryStore(keep_receipts=60.0, clock=clock)
    await store.open("me", 10)
    ids = ["done", "refused", "expired", "waits", "flies"]
    await store.commit([added(n, name) for n, name in enumerate(ids, 1)])
    await store.commit([added(6)])
    assert {one.state for one in await store.list_receipts()} == {"queued"}
    clock.now += 1
    await store.commit(
        [
            Change(ChangeKind.SENT, 5, 1),
            Change(ChangeKind.ENDED, 1, (DONE, 0x10)),
            Change(ChangeKind.ENDED, 2, (DONE, 0x87)),
            Change(ChangeKind.ENDED, 3, (EXPIRED, 0x80)),
            Change(ChangeKind.ENDED, 6),
        ]
    )
    found = await store.list_receipts()
    assert {(one.id, one.state, one.reason_code, one.changed_at) for one in found} == {
        ("waits", "queued", None, 1000.0),
        ("flies", "in flight", None, 1001.0),
        ("done", "acknowledged", 0x10, 1001.0),
        ("refused", "refused", 0x87, 1001.0),
        ("expired", "expired", None, 1001.0),
    }
    assert found[0].id == "waits"
    assert await store.find_receipt("done") in found
    assert await store.find_receipt("unknown") is None
    # Those of finished messages are kept for a time.
    clock.now += 60
    assert {one.id for one in await store.list_receipts()} == {"waits", "flies"}
    # What was lost with the session has a receipt, too.
    await store.commit([Change(ChangeKind.OUTBOUND_CLEARED)])
    assert [one.state for one in await store.list_receipts()] == ["session lost"] * 2


async def test_a_new_message_takes_the_id_of_a_finished_one():
    store = MemoryStore()
    await store.open("me", 10)
    await store.commit([added(1, "a"), Change(ChangeKind.ENDED, 1, (DONE, 0))])
    await store.commit([added(2, "a")])
    assert [one.state for one in await store.list_receipts()] == ["queued"]
