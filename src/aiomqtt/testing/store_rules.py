"""The rules that every store of sessions has to keep, each with its check."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeAlias

from aiomqtt.protocol.changes import Change, ChangeKind, SessionState
from aiomqtt.protocol.delivery import DONE, EXPIRED
from aiomqtt.stores.base import (
    FIRST_PLACE,
    OpenedSession,
    SessionStore,
    SessionStoreError,
)

from .engine_conversation import EngineConversation
from .recorder import require
from .session_changes import Conversation, added, delivery

# Returns a store for one place, in which there was no session at first.
Make: TypeAlias = Callable[[], SessionStore]

# More deliveries than any client has.
ALL: Final = 1 << 31
SEEDS: Final = 5
GROUPS: Final = 12
GROUP: Final = 30
MANY: Final = 3000
# After how many turns of the loop a commit is cancelled.
TURNS_TO_CANCEL: Final = 8


@contextlib.asynccontextmanager
async def _opened(
    make: Make, window: int = ALL
) -> AsyncIterator[tuple[SessionStore, OpenedSession]]:
    """Open the session, as a process does, and close it."""
    store = make()
    opened = await store.open("me", window)
    try:
        yield store, opened
    finally:
        await store.close()


async def _store(make: Make, *changes: Change) -> None:
    async with _opened(make) as (store, _):
        await store.commit(changes)


async def _read(make: Make) -> SessionState:
    async with _opened(make) as (_, opened):
        return opened.state


async def _refuses(call: Awaitable[object], why: str) -> None:
    try:
        await call
    except SessionStoreError:
        return
    msg = f"{why} has to raise SessionStoreError"
    raise AssertionError(msg)


# --- what is stored ---------------------------------------------------------------


async def _check_empty(make: Make) -> None:
    async with _opened(make) as (_, opened):
        expected = OpenedSession(SessionState("me"), opened.place, 0, 0, 0, 1)
        require(opened == expected, f"a new session is {opened}, not {expected}")
    require(await _read(make) == SessionState("me"), "it has to stay empty")


async def _check_conversation(make: Make, seed: int, is_strange: bool) -> None:
    conversation = Conversation(seed, is_strange=is_strange)
    for _ in range(GROUPS):
        async with _opened(make) as (store, _):
            for _ in range(3):
                await store.commit(conversation.go_on(GROUP))
        found = await _read(make)
        # The states compare the order of the deliveries, too.
        require(
            found == conversation.state,
            f"seed {seed}: {found} was read, and {conversation.state} stored",
        )


def _conversation(seed: int, is_strange: bool) -> Callable[[Make], Awaitable[None]]:
    return lambda make: _check_conversation(make, seed, is_strange)


async def _check_engine(make: Make, seed: int) -> None:
    """Compare a client that goes on with one that ends and continues from the store."""
    same, other = EngineConversation(seed), EngineConversation(seed)
    for number in range(GROUPS):
        async with _opened(make) as (store, _):
            for is_last in (False, False, True):
                groups = [one.go_on(GROUP, is_last) for one in (same, other)]
                await store.commit(groups[1])
        found = await _read(make)
        for name in SessionState.FIELDS:
            was_read, expected = getattr(found, name), getattr(same.state, name)
            require(
                was_read == expected,
                f"seed {seed}: {name} is {was_read}, and {expected} was stored",
            )
        other.restart(found)
        require(
            other.written == same.written,
            f"seed {seed}: it wrote other packets in process {number}",
        )


def _engine(seed: int) -> Callable[[Make], Awaitable[None]]:
    return lambda make: _check_engine(make, seed)


async def _check_order(make: Make) -> None:
    first = delivery(4)
    await _store(
        make,
        *(added(number, number) for number in (1, 2)),
        added(3),
        Change(ChangeKind.ADDED_FIRST, 4, first),
        added(5),
        *(Change(ChangeKind.RELEASED, number, 0) for number in (2, 1)),
    )
    released, unreceived = (await _read(make)).in_order
    found = [one.sequence for one in (*released, *unreceived)]
    require(found == [2, 1, 4, 3, 5], f"the order is {found}")


async def _check_identifiers(make: Make) -> None:
    changes = [Change(ChangeKind.RECEIVED, number) for number in (1, 2, 3)]
    changes += [Change(ChangeKind.NAMED, number, f"flow {number}") for number in (1, 2)]
    changes.append(Change(ChangeKind.NAMED, 4, "flow 4"))
    changes.append(Change(ChangeKind.COMPLETED, 2))
    changes += [Change(ChangeKind.BLOCKED, number) for number in (7, 8)]
    changes.append(Change(ChangeKind.UNBLOCKED, 8))
    changes += [added(1, 9), Change(ChangeKind.ENDED, 1)]
    changes.append(Change(ChangeKind.RESERVED, 12, 9))
    await _store(make, *changes)
    state = await _read(make)
    require(state.received == {1, 3}, f"received are {state.received}")
    require(state.flows == {1: "flow 1", 4: "flow 4"}, f"flows are {state.flows}")
    require(state.blocked == {7}, f"blocked are {state.blocked}")
    require(state.last_packet_id == 9, f"the last one is {state.last_packet_id}")
    reserved = state.reserved_first, state.reserved_last
    require(reserved == (9, 12), f"reserved are {reserved}")


async def _check_sizes(make: Make) -> None:
    await _store(
        make,
        added(1, payload=bytes(range(256)) * 4096),
        added(2, topic="ä/€/𝄞", payload=b""),
        *(added(number) for number in range(3, MANY)),
    )
    state = await _read(make)
    require(len(state.deliveries) == MANY - 1, f"{len(state.deliveries)} were read")
    require(state.deliveries[1].payload == bytes(range(256)) * 4096, "a large payload")
    require(state.deliveries[2].topic == "ä/€/𝄞", "the topic has to be the same")


async def _check_copies(make: Make) -> None:
    kept = added(1)
    async with _opened(make) as (store, _):
        await store.commit([kept, Change(ChangeKind.RECEIVED, 5)])
        kept.value.payload = b"other"  # type: ignore[attr-defined]
        [(_, found)] = await store.load_queued(FIRST_PLACE, 10)
        found.payload = b"other"
    async with _opened(make) as (_, opened):
        opened.state.received.clear()
        opened.state.deliveries.clear()
    state = await _read(make)
    require(state.received == {5}, "a state that was read is not the store's own")
    require(
        [one.payload for one in state.deliveries.values()] == [b"1"],
        "neither are the deliveries",
    )


async def _check_cancelling(make: Make) -> None:
    for turns in range(TURNS_TO_CANCEL):
        sequence = 2 * turns + 1
        async with _opened(make) as (store, _):
            group = [added(sequence), added(sequence + 1)]
            task = asyncio.ensure_future(store.commit(group))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait((task,))
        found = {sequence, sequence + 1} & {*(await _read(make)).deliveries}
        require(
            len(found) != 1, f"a commit that was cancelled is stored by half: {found}"
        )


# --- the window -------------------------------------------------------------------


async def _check_window(make: Make) -> None:
    await _store(
        make,
        *(added(number, number) for number in (1, 2)),
        *(added(number, qos=int(number != 9)) for number in range(3, 13)),
    )
    async with _opened(make, 4) as (store, opened):
        found = [*opened.state.deliveries]
        require(found == [1, 2, 3, 4, 5, 6], f"with a window of 4, {found} were read")
        require(opened.remaining == 6, f"{opened.remaining} remain, not 6")
        # Topics of one byte, and payloads of one or two digits.
        size = opened.remaining_size
        require(size == 15, f"they have {size} bytes, not 15")
        most = opened.remaining_qos0
        require(1 <= most <= 6, f"1 of them has QoS 0, of 6, and not {most}")
        places: dict[int, int] = {}
        for after, count, expected in (
            (opened.place, 3, [7, 8, 9]),
            (None, 10, [10, 11, 12]),
            (None, 10, []),
        ):
            last = max(places) if after is None else after
            loaded = await store.load_queued(last, count)
            places.update({place: one.sequence for place, one in loaded})
            sequences = [one.sequence for _, one in loaded]
            require(sequences == expected, f"after place {last} come {sequences}")
        await store.commit([Change(ChangeKind.SENT, 7, 3), Change(ChangeKind.ENDED, 8)])
        loaded = await store.load_queued(opened.place, 10)
        waiting = {place: one.sequence for place, one in loaded}
        kept = {place: number for place, number in places.items() if number > 8}
        require(waiting == kept, f"then, {waiting} wait, and not {kept}")


async def _check_loading_first(make: Make) -> None:
    async with _opened(make) as (store, _):
        await store.commit([added(number) for number in range(1, 5)])
        await store.commit([Change(ChangeKind.SENT, 1, 1)])
        for number in (5, 6):
            first = Change(ChangeKind.ADDED_FIRST, number, delivery(number))
            await store.commit([first])
        await store.commit([Change(ChangeKind.REQUEUED), added(7)])
    async with _opened(make, 0) as (store, opened):
        place = opened.place
        require(opened.remaining == 7, f"{opened.remaining} remain, not 7")
        for expected in ([1, 6], [5, 2], [3, 4], [7], []):
            loaded = await store.load_queued(place, 2)
            sequences = [one.sequence for _, one in loaded]
            require(
                sequences == expected,
                f"after place {place} come {sequences}, not {expected}",
            )
            if loaded:
                place = loaded[-1][0]


# --- who may open it --------------------------------------------------------------


async def _check_generations(make: Make) -> None:
    for expected in (1, 2, 3):
        async with _opened(make) as (_, opened):
            found = opened.generation
            require(found == expected, f"it is generation {found}, not {expected}")


async def _check_other_client(make: Make) -> None:
    await _store(
        make, Change(ChangeKind.IDENTIFIED, None, ("me", True, True)), added(1)
    )
    store = make()
    await _refuses(store.open("you", ALL), "opening it for another client identifier")
    await store.close()
    state = await _read(make)
    require(state.exists and [*state.deliveries] == [1], "nothing may have changed")


async def _check_second(make: Make) -> None:
    async with _opened(make) as (store, _):
        await _refuses(make().open("me", ALL), "opening it a second time")
        # The first one goes on.
        await store.commit([added(1)])
    require([*(await _read(make)).deliveries] == [1], "the first one has to go on")


async def _check_closed(make: Make) -> None:
    store = make()
    await store.close()
    for _ in range(2):
        await _refuses(store.commit([added(1)]), "a commit without a session")
        await _refuses(store.load_queued(0, 1), "reading without a session")
        await _refuses(store.list_receipts(), "listing without a session")
        await store.open("me", ALL)
        await store.close()
        await store.close()


# --- receipts ---------------------------------------------------------------------


async def _check_receipts(make: Make) -> None:
    await _store(
        make,
        *(added(number, 0, f"r{number}") for number in range(1, 6)),
        added(6),
        Change(ChangeKind.SENT, 2, 1),
        Change(ChangeKind.ENDED, 3, (DONE, 0)),
        Change(ChangeKind.ENDED, 4, (DONE, 0x97)),
        Change(ChangeKind.ENDED, 5, (EXPIRED, 0x80)),
        Change(ChangeKind.ENDED, 6),
    )
    expected = {
        "r1": ("queued", None),
        "r2": ("in flight", None),
        "r3": ("acknowledged", 0),
        "r4": ("refused", 0x97),
        "r5": ("expired", None),
    }
    async with _opened(make) as (store, _):
        found = {
            one.id: (one.state, one.reason_code) for one in await store.list_receipts()
        }
        require(found == expected, f"the receipts are {found}")
        one = await store.find_receipt("r4")
        require(one is not None and one.state == "refused", f"r4 is {one}")
        require(await store.find_receipt("r6") is None, "r6 has no receipt")
        # A new message with the same id takes its place.
        await store.commit([added(7, 0, "r3")])
        one = await store.find_receipt("r3")
        require(one is not None and one.state == "queued", f"r3 is {one}")
        await store.commit([Change(ChangeKind.OUTBOUND_CLEARED)])
        one = await store.find_receipt("r1")
        require(one is not None and one.state == "session lost", f"r1 is {one}")


RULES: Final[dict[str, Callable[[Make], Awaitable[None]]]] = {
    "a session that is opened for the first time is empty": _check_empty,
    "deliveries keep their order": _check_order,
    "packet identifiers in use are kept": _check_identifiers,
    "sizes and numbers have no limit of the store": _check_sizes,
    "values are not shared with the caller": _check_copies,
    "a commit that is cancelled is stored as a whole or not at all": _check_cancelling,
    "no more deliveries that wait are read than the window allows": _check_window,
    "deliveries put before others are loaded first": _check_loading_first,
    "each opening is a generation": _check_generations,
    "a session of another client identifier is refused": _check_other_client,
    "a session is open once at a time": _check_second,
    "calls need an open session, and closing twice is harmless": _check_closed,
    "receipts say how far messages have come": _check_receipts,
    # Last, as they take longest.
    **{
        f"what is stored is read: changes of a client, {seed}": _conversation(
            seed, False
        )
        for seed in range(SEEDS)
    },
    **{
        f"what is stored is read: any changes, {seed}": _conversation(seed, True)
        for seed in range(SEEDS)
    },
    **{
        f"a client goes on from what is stored as if it had not ended, {seed}": _engine(
            seed
        )
        # One for each version of MQTT.
        for seed in range(2)
    },
}
