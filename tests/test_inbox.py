"""The inbox by itself: bounds, waking, cancelling."""

import asyncio
import logging

import pytest

import aiomqtt.inbox
from aiomqtt import Message, MqttError
from aiomqtt.inbox import Inbox, MessagesIterator
from aiomqtt.net.runner import Room
from tests.conversation import cancelled_after, turns, within

LOGGER = logging.getLogger("mqtt")


def message(number=0, size=0):
    return Message("t", bytes([number]) + bytes(size), 0, False, number, None)


@pytest.fixture
def inbox():
    inbox = Inbox(None, 0, LOGGER)
    inbox.open(lambda: None)
    return inbox


@pytest.fixture(params=[None, asyncio.Queue], ids=["own", "asyncio.Queue"])
def any_inbox(request):
    inbox = Inbox(request.param, 0, LOGGER)
    inbox.open(lambda: None)
    return inbox


def numbers(inbox):
    return [inbox.take().mid for _ in range(len(inbox))]


def test_first_in_first_out(any_inbox):
    any_inbox.deliver([message(1), message(2)])
    any_inbox.deliver([message(3)])
    assert len(any_inbox) == 3
    assert numbers(any_inbox) == [1, 2, 3]


async def test_trap_1_a_cancelled_waiter_eats_no_message(any_inbox):
    """Trap 1: whatever the step at which it is cancelled, the message is there."""
    for steps in range(6):
        task = asyncio.create_task(anext(MessagesIterator(any_inbox)))
        await turns()
        any_inbox.deliver([message(steps)])
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await within(asyncio.wait([task]))
        if task.cancelled():
            assert numbers(any_inbox) == [steps]
        else:
            assert task.result().mid == steps
            assert len(any_inbox) == 0


async def test_trap_1_a_cancelled_waiter_passes_its_wake_up_on(any_inbox):
    """Trap 1: of two who wait, the one who was woken is cancelled."""
    first = asyncio.create_task(anext(MessagesIterator(any_inbox)))
    second = asyncio.create_task(anext(MessagesIterator(any_inbox)))
    await turns()
    any_inbox.deliver([message(1)])
    first.cancel()
    assert (await within(second)).mid == 1
    assert first.cancelled()


async def test_one_who_comes_first_may_take_it_from_the_one_who_was_woken(any_inbox):
    iterator = MessagesIterator(any_inbox)
    waiting = asyncio.create_task(anext(iterator))
    await turns()
    any_inbox.deliver([message(1)])
    assert (await anext(iterator)).mid == 1
    await turns()
    assert not waiting.done()
    any_inbox.deliver([message(2)])
    assert (await within(waiting)).mid == 2


async def test_cancelled_waiters_are_forgotten(any_inbox):
    for _ in range(100):
        await cancelled_after(2, anext(MessagesIterator(any_inbox)))
    assert not any_inbox._waiters


async def test_cancelled_at_every_step_with_messages_there(any_inbox):
    """The turn that fairness takes can be cancelled too: nothing is lost."""
    count = 3 * aiomqtt.inbox.FAIRNESS
    any_inbox.deliver([message(number % 256) for number in range(count)])
    got = 0

    async def consume():
        nonlocal got
        async for _ in MessagesIterator(any_inbox):
            got += 1

    await cancelled_after(2, consume())
    assert 0 < got < count
    assert got + len(any_inbox) == count


async def test_the_end_wakes_everybody_once(any_inbox):
    iterator = MessagesIterator(any_inbox)
    tasks = [asyncio.create_task(anext(iterator)) for _ in range(5)]
    await turns()
    cause = MqttError("why")
    any_inbox.deliver([message(1)])
    any_inbox.close(cause)
    results = await within(asyncio.gather(*tasks, return_exceptions=True))
    errors = [result for result in results if isinstance(result, MqttError)]
    assert len(errors) == 4
    assert len(set(map(id, errors))) == 4  # tracebacks add up
    for error in errors:
        assert str(error) == "Disconnected during message iteration"
        assert error.__cause__ is not None
        assert str(error.__cause__) == "why"


async def test_open_again_an_iterator_waits(any_inbox):
    any_inbox.close(None)
    any_inbox.open(lambda: None)
    task = asyncio.create_task(anext(MessagesIterator(any_inbox)))
    await turns()
    assert not task.done()
    any_inbox.deliver([message(3)])
    assert (await within(task)).mid == 3


@pytest.mark.parametrize("what", ["messages", "bytes"])
def test_above_a_bound_there_is_no_room_and_at_half_there_is_again(monkeypatch, what):
    if what == "messages":
        monkeypatch.setattr(aiomqtt.inbox, "MAXIMUM_MESSAGES", 10)
    else:
        monkeypatch.setattr(aiomqtt.inbox, "MAXIMUM_BYTES", 10 * 1001)
    calls = []
    inbox = Inbox(None, 0, LOGGER)
    inbox.open(lambda: calls.append(len(inbox)))
    assert inbox.deliver([message(n, 1000) for n in range(10)]) is Room.ENOUGH
    assert inbox.deliver([message(10, 1000)]) is Room.LITTLE
    for _ in range(5):
        inbox.take()
    assert calls == []
    inbox.take()
    assert calls == [5]
    while inbox:
        inbox.take()
    assert calls == [5]  # just once
    assert inbox.deliver([message(n, 1000) for n in range(11)]) is Room.LITTLE


def test_the_room_counts_again_after_a_connection(monkeypatch):
    """Left full, opened again: the next connection is told when there is room."""
    monkeypatch.setattr(aiomqtt.inbox, "MAXIMUM_MESSAGES", 10)
    calls = []
    inbox = Inbox(None, 0, LOGGER)
    inbox.open(lambda: calls.append("first"))
    assert inbox.deliver([message(n) for n in range(20)]) is Room.LITTLE
    inbox.close(None)
    inbox.open(lambda: calls.append("second"))
    assert inbox.deliver([]) is Room.LITTLE
    while inbox:
        inbox.take()
    assert calls == ["second"]


def test_a_bound_of_the_program_discards_and_counts(caplog):
    inbox = Inbox(None, 2, LOGGER)
    inbox.open(lambda: None)
    assert inbox.deliver([message(n) for n in range(5)]) is Room.ENOUGH
    assert inbox.discarded == 3
    assert numbers(inbox) == [0, 1]
    assert inbox.deliver([message(n) for n in range(3)]) is Room.ENOUGH
    assert inbox.discarded == 4
    assert [record.getMessage() for record in caplog.records] == [
        "Message queue is full. Discarding message.",
        "3 messages were discarded.",
        "Message queue is full. Discarding message.",
    ]


class Broken(asyncio.Queue[Message]):
    def _put(self, item):
        raise ZeroDivisionError


def test_a_queue_that_raises_does_no_harm_to_others(caplog):
    inbox = Inbox(Broken, 0, LOGGER)
    inbox.open(lambda: None)
    assert inbox.deliver([message(1)]) is Room.ENOUGH
    assert inbox.discarded == 1
    assert "The message queue raised" in caplog.text


def test_memory_does_not_grow_with_what_was_taken(inbox):
    for _ in range(50):
        inbox.deliver([message(n) for n in range(100)])
        assert numbers(inbox) == list(range(100))
    assert len(inbox) == 0
    assert inbox._bytes == 0
