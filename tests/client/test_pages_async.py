"""Which of the messages that wait in a store are read, and when."""

import pytest

from aiomqtt.client.pages_async import FIRST_PAGE, PAGE, PAGE_SIZE, Pages
from aiomqtt.protocol.changes import Change, ChangeKind
from aiomqtt.protocol.delivery import DELIVERY_SIZE
from aiomqtt.protocol.outbound import Outbound
from aiomqtt.stores.base import SessionStoreError
from aiomqtt.stores.memory import MemoryStore
from aiomqtt.testing.session_changes import added, delivery


async def opened(
    count: int, payload: bytes = b"1"
) -> tuple[MemoryStore, Outbound, Pages]:
    """A session of so many messages, of which the first ones were read."""
    store = MemoryStore()
    await store.open("me", 0)
    await store.commit([added(one, payload=payload) for one in range(1, count + 1)])
    await store.close()
    found = await store.open("me", FIRST_PAGE)
    outbound = Outbound()
    outbound.load(found.state)
    outbound.leave_behind(found.remaining, found.remaining_size, 0)
    pages = Pages(store, outbound)
    pages.restart(found)
    return store, outbound, pages


async def test_a_session_that_fits_is_read_as_a_whole():
    _, outbound, pages = await opened(FIRST_PAGE)
    assert (outbound.behind, pages.wanted()) == (0, 0)
    assert await pages.read() == []


async def test_they_are_read_when_few_are_left():
    _, outbound, pages = await opened(FIRST_PAGE + 2 * PAGE + 5)
    read: list[int] = []
    sizes = []
    while page := await pages.read():
        read += [one.sequence for one in page]
        sizes.append(len(page))
        outbound.load_behind(page)
        assert pages.wanted() == 0
        for one in outbound.unreceived()[: PAGE // 2 + FIRST_PAGE]:
            outbound.withdraw(one)
        while outbound.next_queued > PAGE // 2:
            outbound.withdraw(outbound.unreceived()[0])
    assert read == [*range(FIRST_PAGE + 1, FIRST_PAGE + 2 * PAGE + 6)]
    assert sizes == [PAGE, PAGE, 5]
    assert outbound.behind == 0


@pytest.mark.parametrize(
    ("size", "count"),
    [
        (1, PAGE),
        (PAGE_SIZE // 8 - DELIVERY_SIZE, 7),
        (PAGE_SIZE // 2, 1),
        (2 * PAGE_SIZE, 1),
    ],
)
async def test_a_page_is_so_small_that_it_fits(size, count):
    _, outbound, pages = await opened(FIRST_PAGE + PAGE, bytes(size))
    for one in outbound.unreceived():
        outbound.withdraw(one)
    assert len(await pages.read()) == count


async def test_a_message_that_was_put_first_since_is_not_read():
    store, outbound, pages = await opened(FIRST_PAGE + 1)
    ended = [Change(ChangeKind.ENDED, one) for one in range(1, FIRST_PAGE + 1)]
    birth = FIRST_PAGE + 2
    first = Change(ChangeKind.ADDED_FIRST, birth, delivery(birth))
    await store.commit([*ended, first, added(birth + 1)])
    for one in outbound.unreceived():
        outbound.withdraw(one)
    assert [one.sequence for one in await pages.read()] == [FIRST_PAGE + 1]


async def test_messages_that_are_missing_are_an_error():
    store, outbound, pages = await opened(FIRST_PAGE + 2)
    await store.commit([Change(ChangeKind.OUTBOUND_CLEARED)])
    for one in outbound.unreceived():
        outbound.withdraw(one)
    with pytest.raises(SessionStoreError, match="2 messages that wait are missing"):
        await pages.read()
