"""The stream by itself: order, bounds, the room that is left."""

import asyncio
import logging

import pytest

from aiomqtt import Message
from aiomqtt.net.sink import Room
from aiomqtt.protocol.codec.size import MESSAGE_SIZE, message_size
from aiomqtt.streams.custom_queue import CustomQueueStream
from aiomqtt.streams.stream import (
    ANSWER_FACTOR,
    MAXIMUM_BYTES,
    MAXIMUM_MESSAGES,
    PING_FACTOR,
    PORTION,
    MessageStream,
)

LOGGER = logging.getLogger("mqtt")


def message(number=0, size=0):
    return Message("t", bytes([number]) + bytes(size), 0, False, number, None)


def deliver(stream, messages):
    return stream.deliver(messages, sum(map(message_size, messages)))


@pytest.fixture
def stream():
    stream = MessageStream()
    stream.open(lambda: None)
    return stream


@pytest.fixture(params=[None, asyncio.Queue], ids=["own", "asyncio.Queue"])
def any_inbox(request):
    stream = (
        MessageStream()
        if request.param is None
        else CustomQueueStream(request.param, 0, LOGGER)
    )
    stream.open(lambda: None)
    return stream


def numbers(stream):
    return [stream.pop().mid for _ in range(len(stream))]


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
    stream = (
        MessageStream()
        if kind == "own"
        else CustomQueueStream(asyncio.Queue, 0, LOGGER)
    )
    resumed = []
    stream.open(lambda: resumed.append(len(stream)))
    one = message(1, size)
    assert deliver(stream, [one] * bound) is Room.ENOUGH
    assert deliver(stream, [one]) is Room.LITTLE
    assert deliver(stream, [one] * (ANSWER_FACTOR - 1) * bound) is Room.NONE
    assert stream.room() is Room.NONE
    assert (
        deliver(stream, [one] * (PING_FACTOR - ANSWER_FACTOR) * bound) is Room.USED_UP
    )
    while not resumed:
        stream.pop()
    assert bound // 2 - PORTION <= resumed[0] <= bound // 2
    while stream:
        stream.pop()
    assert len(resumed) == 1
    assert deliver(stream, [one] * (bound + 1)) is Room.LITTLE


@pytest.mark.parametrize("count", [1, PORTION - 1, PORTION, PORTION + 1, 7 * PORTION])
def test_order_and_length_hold_across_portions(stream, count):
    for start in range(3):
        deliver(stream, [message(start, n) for n in range(count)])
    assert len(stream) == 3 * count
    assert numbers(stream) == [0] * count + [1] * count + [2] * count
    assert stream.pop() is None
    assert stream._bytes == 0


def test_the_room_counts_again_after_a_connection():
    """Left full, opened again: the next connection is told when there is room."""
    calls = []
    stream = MessageStream()
    stream.open(lambda: calls.append("first"))
    assert deliver(stream, [message(1)] * 2 * MAXIMUM_MESSAGES) is Room.LITTLE
    stream.close(None)
    stream.open(lambda: calls.append("second"))
    assert deliver(stream, []) is Room.LITTLE
    while stream:
        stream.pop()
    assert calls == ["second"]


def test_a_bound_of_the_program_discards_and_counts(caplog):
    stream = CustomQueueStream(asyncio.Queue, 2, LOGGER)
    stream.open(lambda: None)
    assert deliver(stream, [message(n) for n in range(5)]) is Room.ENOUGH
    assert stream.discarded == 3
    assert numbers(stream) == [0, 1]
    assert deliver(stream, [message(n) for n in range(3)]) is Room.ENOUGH
    assert stream.discarded == 4
    assert [record.getMessage() for record in caplog.records] == [
        "Message queue is full. Discarding message.",
        "3 messages were discarded.",
        "Message queue is full. Discarding message.",
    ]


class Broken(asyncio.Queue[Message]):
    def _put(self, item):
        raise ZeroDivisionError


def test_a_queue_that_raises_does_no_harm_to_others(caplog):
    stream = CustomQueueStream(Broken, 0, LOGGER)
    stream.open(lambda: None)
    assert deliver(stream, [message(1)]) is Room.ENOUGH
    assert stream.discarded == 1
    assert "The message queue raised" in caplog.text


def test_memory_does_not_grow_with_what_was_taken(stream):
    for _ in range(50):
        deliver(stream, [message(n) for n in range(100)])
        assert numbers(stream) == list(range(100))
    assert stream.pop() is None
    assert len(stream) == 0
    assert stream._bytes == 0
