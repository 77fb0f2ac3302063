"""The inbox by itself: order, bounds, the room that is left."""

import asyncio
import logging

import pytest

from aiomqtt import Message
from aiomqtt.inbox import (
    LAST_STRETCH,
    MAXIMUM_BYTES,
    MAXIMUM_MESSAGES,
    PORTION,
    STRETCH,
    Inbox,
    QueueInbox,
)
from aiomqtt.net.sink import Room
from aiomqtt.protocol.codec.size import MESSAGE_SIZE, message_size

LOGGER = logging.getLogger("mqtt")


def message(number=0, size=0):
    return Message("t", bytes([number]) + bytes(size), 0, False, number, None)


def deliver(inbox, messages):
    return inbox.deliver(messages, sum(map(message_size, messages)))


@pytest.fixture
def inbox():
    inbox = Inbox()
    inbox.open(lambda: None)
    return inbox


@pytest.fixture(params=[None, asyncio.Queue], ids=["own", "asyncio.Queue"])
def any_inbox(request):
    inbox = Inbox() if request.param is None else QueueInbox(request.param, 0, LOGGER)
    inbox.open(lambda: None)
    return inbox


def numbers(inbox):
    return [inbox.take().mid for _ in range(len(inbox))]


def test_first_in_first_out(any_inbox):
    deliver(any_inbox, [message(1), message(2)])
    deliver(any_inbox, [message(3)])
    assert len(any_inbox) == 3
    assert numbers(any_inbox) == [1, 2, 3]


MEGABYTE = 1024 * 1024


@pytest.mark.parametrize(
    ("bound", "size"),
    # With the topic and the first byte of the payload that makes a megabyte.
    [(MAXIMUM_MESSAGES, 0), (MAXIMUM_BYTES // MEGABYTE, MEGABYTE - MESSAGE_SIZE - 2)],
    ids=["messages", "bytes"],
)
@pytest.mark.parametrize("kind", ["own", "asyncio.Queue"])
def test_above_a_bound_there_is_no_room_and_at_half_there_is_again(kind, bound, size):
    """It is seen when a portion has been taken."""
    inbox = Inbox() if kind == "own" else QueueInbox(asyncio.Queue, 0, LOGGER)
    resumed = []
    inbox.open(lambda: resumed.append(len(inbox)))
    one = message(1, size)
    assert deliver(inbox, [one] * bound) is Room.ENOUGH
    assert deliver(inbox, [one]) is Room.LITTLE
    assert deliver(inbox, [one] * (STRETCH - 1) * bound) is Room.NONE
    assert inbox.room() is Room.NONE
    assert deliver(inbox, [one] * (LAST_STRETCH - STRETCH) * bound) is Room.USED_UP
    while not resumed:
        inbox.take()
    assert bound // 2 - PORTION <= resumed[0] <= bound // 2
    while inbox:
        inbox.take()
    assert len(resumed) == 1
    assert deliver(inbox, [one] * (bound + 1)) is Room.LITTLE


@pytest.mark.parametrize("count", [1, PORTION - 1, PORTION, PORTION + 1, 7 * PORTION])
def test_order_and_length_hold_across_portions(inbox, count):
    for start in range(3):
        deliver(inbox, [message(start, n) for n in range(count)])
    assert len(inbox) == 3 * count
    assert numbers(inbox) == [0] * count + [1] * count + [2] * count
    assert inbox.take() is None
    assert inbox._bytes == 0


def test_the_room_counts_again_after_a_connection():
    """Left full, opened again: the next connection is told when there is room."""
    calls = []
    inbox = Inbox()
    inbox.open(lambda: calls.append("first"))
    assert deliver(inbox, [message(1)] * 2 * MAXIMUM_MESSAGES) is Room.LITTLE
    inbox.close(None)
    inbox.open(lambda: calls.append("second"))
    assert deliver(inbox, []) is Room.LITTLE
    while inbox:
        inbox.take()
    assert calls == ["second"]


def test_a_bound_of_the_program_discards_and_counts(caplog):
    inbox = QueueInbox(asyncio.Queue, 2, LOGGER)
    inbox.open(lambda: None)
    assert deliver(inbox, [message(n) for n in range(5)]) is Room.ENOUGH
    assert inbox.discarded == 3
    assert numbers(inbox) == [0, 1]
    assert deliver(inbox, [message(n) for n in range(3)]) is Room.ENOUGH
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
    inbox = QueueInbox(Broken, 0, LOGGER)
    inbox.open(lambda: None)
    assert deliver(inbox, [message(1)]) is Room.ENOUGH
    assert inbox.discarded == 1
    assert "The message queue raised" in caplog.text


def test_memory_does_not_grow_with_what_was_taken(inbox):
    for _ in range(50):
        deliver(inbox, [message(n) for n in range(100)])
        assert numbers(inbox) == list(range(100))
    assert inbox.take() is None
    assert len(inbox) == 0
    assert inbox._bytes == 0
