"""The queue of what waits until it is stored."""

import asyncio
from functools import partial

import pytest

from aiomqtt.net.commits import CommitQueue
from aiomqtt.protocol.changes import Change, ChangeKind
from tests.raw_scripts import turns, within


class Store:
    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.groups: list[list[object]] = []
        self.error: Exception | None = None

    async def commit(self, changes: list[Change]) -> None:
        self.groups.append([change.key for change in changes])
        await self.gate.wait()
        if self.error is not None:
            raise self.error


class Queue:
    """A queue, and what it has released and reported."""

    def __init__(self) -> None:
        self.store = Store()
        self.released: list[tuple[bytes, bool]] = []
        self.failures: list[tuple[BaseException, list[object]]] = []
        self.queue = CommitQueue(self.store.commit, self.fail)

    def fail(self, error: BaseException, changes: list[Change]) -> None:
        self.failures.append((error, [change.key for change in changes]))

    def add(self, name: bytes, *keys: int) -> None:
        changes = [Change(ChangeKind.RECEIVED, key) for key in keys]
        self.queue.add(changes or None, partial(self.release, name))

    def release(self, name: bytes, is_stored: bool) -> None:
        self.released.append((name, is_stored))


async def test_only_what_needs_to_waits():
    one = Queue()
    assert not one.queue.holds(None)
    assert one.queue.holds([Change(ChangeKind.RECEIVED, 1)])
    assert await one.queue.stored()
    one.add(b"a", 1)
    # What comes after it must not overtake it.
    assert one.queue.holds(None)
    one.store.gate.set()
    await within(one.queue.settled())
    assert not one.queue.holds(None)


async def test_groups_are_stored_one_at_a_time_and_released_in_order():
    one = Queue()
    one.add(b"a", 1)
    one.add(b"b", 2, 3)
    await turns(3)
    one.add(b"c", 4)
    one.add(b"d")
    one.add(b"e", 5)
    stored = asyncio.create_task(one.queue.stored())
    await turns(3)
    assert one.store.groups == [[1, 2, 3]]
    assert not one.released
    one.store.gate.set()
    assert await within(stored)
    assert one.store.groups == [[1, 2, 3], [4, 5]]
    assert one.released == [(name, True) for name in (b"a", b"b", b"c", b"d", b"e")]


async def test_what_comes_when_a_group_is_released_is_stored_too():
    one = Queue()
    one.store.gate.set()

    def release(is_stored: bool) -> None:
        one.add(b"b", 2)

    one.queue.add([Change(ChangeKind.RECEIVED, 1)], release)
    await within(one.queue.settled())
    assert one.store.groups == [[1], [2]]
    assert one.released == [(b"b", True)]


async def test_a_failure_ends_it():
    one = Queue()
    one.add(b"a", 1)
    await turns(3)
    one.add(b"b", 2)
    stored = asyncio.create_task(one.queue.stored())
    await turns(1)
    one.store.error = OSError("full")
    one.store.gate.set()
    assert not await within(stored)
    assert one.released == [(b"a", False), (b"b", False)]
    assert one.failures == [(one.store.error, [1, 2])]
    # Nothing is stored any more.
    one.add(b"c", 3)
    assert one.released[-1] == (b"c", False)
    assert not await one.queue.stored()
    assert one.store.groups == [[1]]
    assert len(one.failures) == 1


async def test_a_cancelled_task_is_a_failure():
    one = Queue()
    one.add(b"a", 1)
    await turns(3)
    assert one.queue._task is not None
    one.queue._task.cancel()
    await within(one.queue.settled())
    await turns(2)
    assert one.released == [(b"a", False)]
    assert isinstance(one.failures[0][0], asyncio.CancelledError)


async def test_an_error_of_a_report_does_not_stop_the_others():
    one = Queue()
    one.store.gate.set()
    loop = asyncio.get_running_loop()
    contexts: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))

    def release(is_stored: bool) -> None:
        raise RuntimeError

    one.queue.add([Change(ChangeKind.RECEIVED, 1)], release)
    one.add(b"b", 2)
    await within(one.queue.settled())
    loop.set_exception_handler(None)
    assert one.released == [(b"b", True)]
    assert isinstance(contexts[0]["exception"], RuntimeError)


@pytest.mark.parametrize("count", [1, 1000])
async def test_a_turn_is_one_group(count):
    one = Queue()
    one.store.gate.set()
    for number in range(count):
        one.add(b"x", number)
    await within(one.queue.settled())
    assert one.store.groups == [[*range(count)]]


async def test_it_can_be_given_up():
    one = Queue()
    one.add(b"a", 1)
    await turns(3)
    one.add(b"b", 2)
    await within(one.queue.give_up())
    assert one.released == [(b"a", False), (b"b", False)]
    assert [keys for _, keys in one.failures] == [[1, 2]]
    await within(one.queue.give_up())
