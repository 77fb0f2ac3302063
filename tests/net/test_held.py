"""What waits until it is stored: the count of its bytes, and a driver's outputs."""

import asyncio
from typing import Any

import pytest

from aiomqtt.net.commits import CommitQueue
from aiomqtt.net.held import HELD_LIMIT, HeldBytes, HeldOutputs
from aiomqtt.protocol.changes import Change, ChangeKind
from aiomqtt.protocol.output import Arrived, Challenge, Output
from tests.raw_scripts import turns

# --- bytes -------------------------------------------------------------------------


def test_too_many_are_told_once_until_half_of_them_have_gone():
    held = HeldBytes()
    assert not held.add(HELD_LIMIT)
    assert not held.are_too_many
    assert held.add(1)
    assert held.are_too_many
    assert not held.add(1)  # It is known already.
    assert not held.remove(HELD_LIMIT // 2 + 1)
    assert held.are_too_many
    assert held.remove(1)
    assert not held.are_too_many
    assert held.size == HELD_LIMIT // 2
    assert not held.remove(HELD_LIMIT // 2)
    assert held.size == 0


# --- outputs -----------------------------------------------------------------------


class Store:
    """Commits when it is told to, or fails."""

    def __init__(self) -> None:
        self.groups: list[list[Change]] = []
        self.goes_on = asyncio.Event()
        self.error: Exception | None = None

    async def commit(self, changes: list[Change]) -> None:
        self.groups.append(changes)
        await self.goes_on.wait()
        if self.error is not None:
            raise self.error


class Held:
    """Outputs that wait for a store, and what was released."""

    def __init__(self) -> None:
        self.store = Store()
        self.failures: list[BaseException] = []
        self.released: list[tuple[Output, bool]] = []
        commits: CommitQueue[Change] = CommitQueue(
            self.store.commit, lambda error, _: self.failures.append(error)
        )
        self.outputs = HeldOutputs(
            commits, lambda output, goes_on: self.released.append((output, goes_on))
        )


def output(size: int = 1, happenings: list[Any] | None = None) -> Output:
    change = Change(ChangeKind.RECEIVED, 1)
    return Output([change], [bytes(size)], happenings or [])


async def test_an_output_without_changes_waits_only_behind_others():
    held = Held()
    without = Output(None, [b"x"], [])
    assert not held.outputs.holds(without)
    first = output()
    assert held.outputs.holds(first)
    held.outputs.add(first)
    assert held.outputs.holds(without)
    held.outputs.add(without)
    await turns(2)
    assert held.released == []
    held.store.goes_on.set()
    await turns(2)
    assert [one for one, _ in held.released] == [first, without]
    assert not held.outputs.holds(without)
    assert held.outputs.bytes.size == 0


async def test_too_many_bytes_pause_once_and_go_on_once():
    held = Held()
    paused = [held.outputs.add(output(HELD_LIMIT // 2)) for _ in range(4)]
    assert paused == [False, False, True, False]
    held.store.goes_on.set()
    await turns(3)
    assert [goes_on for _, goes_on in held.released] == [False, False, True, False]


async def test_messages_that_arrived_count():
    held = Held()
    assert held.outputs.add(output(0, [Arrived([], HELD_LIMIT + 1)]))
    held.store.goes_on.set()
    await turns(4)
    assert held.outputs.bytes.size == 0


@pytest.mark.parametrize("is_known", [False, True])
async def test_nothing_leaves_whose_changes_are_not_stored(is_known):
    """No byte and no message; other happenings do: callers wait for them."""
    held = Held()
    held.store.error = OSError("full")
    held.store.goes_on.set()
    if is_known:
        held.outputs.add(output())
        await turns(4)
        assert held.failures == [held.store.error]
        held.released.clear()
    other = Challenge(None, False)
    must_pause = held.outputs.add(output(HELD_LIMIT + 1, [Arrived([], 1), other]))
    # What was released at once does not have to go on later.
    assert must_pause is not is_known
    await turns(4)
    [(released, goes_on)] = held.released
    assert released.data == []
    assert released.happenings == [other]
    assert goes_on
    assert held.outputs.bytes.size == 0
