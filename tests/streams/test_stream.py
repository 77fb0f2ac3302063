"""The stream by itself: order, bounds, the room that is left."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from aiomqtt import Message, MqttError, ProtocolVersion
from aiomqtt.log import SafeLogger
from aiomqtt.net.sink import Room
from aiomqtt.protocol.acknowledgements import Acknowledgements
from aiomqtt.protocol.codec.size import MESSAGE_SIZE, message_size
from aiomqtt.streams.custom_queue import CustomQueueStream
from aiomqtt.streams.discarding_stream import DiscardingStream
from aiomqtt.streams.stream import (
    ANSWER_FACTOR,
    ANSWER_SPARE,
    MAXIMUM_BYTES,
    MAXIMUM_MESSAGES,
    PING_FACTOR,
    PING_SPARE,
    PORTION,
    MessageStream,
)
from aiomqtt.testing.virtual_loop import VirtualLoop

LOGGER = SafeLogger(logging.getLogger("mqtt"))


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
FEW = 16 * PORTION


@pytest.mark.parametrize(
    ("bound", "size"),
    # With the topic and the first byte of the payload that makes a megabyte. Four times
    # the first bound takes more than the memory that may be used above any.
    [(FEW, 1000), (MAXIMUM_BYTES // MEGABYTE, MEGABYTE - MESSAGE_SIZE - 2)],
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
    assert stream.maximum_messages == MAXIMUM_MESSAGES
    stream.maximum_messages = FEW
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


@pytest.mark.parametrize(
    ("drops_oldest", "bound", "kept"),
    [
        # In messages and in bytes, for messages of 514, 515, ... bytes of memory.
        (False, (2, MAXIMUM_BYTES), [0, 1]),
        (True, (2, MAXIMUM_BYTES), [3, 4]),
        (False, (MAXIMUM_MESSAGES, 514 + 515 + 516), [0, 1, 2]),
        (False, (MAXIMUM_MESSAGES, 514 + 515 + 515), [0, 1]),
        (True, (MAXIMUM_MESSAGES, 517 + 518), [3, 4]),
        (True, (MAXIMUM_MESSAGES, 517 + 517), [4]),
        # One has room in any case.
        (False, (MAXIMUM_MESSAGES, 1), [0]),
        (True, (MAXIMUM_MESSAGES, 1), [4]),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_the_oldest_or_the_newest_are_discarded(drops_oldest, bound, kept, at_once):
    stream = DiscardingStream(LOGGER, not drops_oldest, drops_oldest)
    stream.maximum_messages, stream.maximum_bytes = bound
    stream.open(lambda: None)
    messages = [message(number, number) for number in range(5)]
    for part in [messages] if at_once else [[one] for one in messages]:
        assert deliver(stream, part) is Room.ENOUGH
    assert stream.discarded == 5 - len(kept)
    assert numbers(stream) == kept
    # With the room that there is again, the same happens again.
    deliver(stream, messages)
    assert numbers(stream) == kept
    assert stream.discarded == 2 * (5 - len(kept))


def test_the_number_of_the_oldest_that_were_discarded_is_logged(caplog):
    stream = DiscardingStream(LOGGER, False, True)
    stream.maximum_messages = 2
    stream.open(lambda: None)
    deliver(stream, [message(n) for n in range(4)])
    deliver(stream, [message(4)])
    assert numbers(stream) == [3, 4]
    assert [record.getMessage() for record in caplog.records] == [
        "Message queue is full. Discarding message.",
        "3 messages were discarded.",
    ]


@pytest.mark.parametrize("queue_type", [None, asyncio.Queue])
def test_what_is_discarded_is_acknowledged(queue_type):
    acknowledgements = Acknowledgements(ProtocolVersion.V5)
    stream = (
        DiscardingStream(LOGGER, True)
        if queue_type is None
        else CustomQueueStream(queue_type, 1, LOGGER)
    )
    stream.maximum_messages = 1
    stream.open(lambda: None)
    waiting, discarded = message(1), message(2)
    for one in (waiting, discarded):
        one.ticket = acknowledgements.expect(one.packet_id, 1)
    deliver(stream, [waiting, discarded])
    assert not waiting.ticket.is_decided
    assert discarded.ticket.reason_code == 0


@pytest.mark.parametrize("kind", ["own", "discarding", "asyncio.Queue", "LifoQueue"])
def test_what_will_be_repeated_is_forgotten_and_nothing_else(kind):
    made: dict[str, Callable[[], MessageStream]] = {
        "own": MessageStream,
        "discarding": lambda: DiscardingStream(LOGGER, True),
        "asyncio.Queue": lambda: CustomQueueStream(asyncio.Queue, 0, LOGGER),
        "LifoQueue": lambda: CustomQueueStream(asyncio.LifoQueue, 0, LOGGER),
    }
    stream = made[kind]()
    stream.open(lambda: None)
    ended, going_on = (Acknowledgements(ProtocolVersion.V5) for _ in range(2))
    messages = [message(number) for number in range(6)]
    for number, acknowledgements in ((1, ended), (2, ended), (4, going_on), (5, ended)):
        messages[number].ticket = acknowledgements.expect(number, 1)
    messages[2].ack()
    ended.end()
    deliver(stream, messages)
    stream.forget_repeated()
    kept = [0, 2, 3, 4]
    assert numbers(stream) == (kept[::-1] if kind == "LifoQueue" else kept)
    assert stream.pop() is None
    assert stream._bytes == 0
    deliver(stream, messages)
    stream.finish()
    assert len(stream) == 0
    assert messages[4].ticket is not None
    assert messages[4].ticket.is_decided


def test_a_queue_that_discards_by_itself_needs_no_bound_of_ours():
    class Latest(asyncio.Queue[Message]):
        """Keeps the newest, as programs for aiomqtt 2 do."""

        def put_nowait(self, item):
            if self.full():
                self.get_nowait()
            super().put_nowait(item)

    stream = CustomQueueStream(Latest, 2, LOGGER)
    stream.maximum_bytes = 3 * message_size(message())
    stream.open(lambda: None)
    for _ in range(3):
        # What the queue discards is forgotten when it is empty.
        deliver(stream, [message(n) for n in range(3)])
        assert numbers(stream) == [1, 2]
    assert stream.discarded == 0


def test_above_a_small_bound_there_is_room_for_answers_and_pings():
    """As much as a network and a broker hold on the way."""
    stream = MessageStream()
    stream.maximum_messages = 1
    stream.open(lambda: None)
    one = message(1, 100_000)
    size = message_size(one)
    assert deliver(stream, [one]) is Room.ENOUGH
    assert deliver(stream, [one]) is Room.LITTLE
    while (len(stream) - 1) * size <= ANSWER_SPARE - size:
        assert deliver(stream, [one]) is Room.LITTLE
    assert deliver(stream, [one]) is Room.NONE
    while (len(stream) - 1) * size <= PING_SPARE - size:
        assert deliver(stream, [one]) is Room.NONE
    assert deliver(stream, [one]) is Room.USED_UP


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


@pytest.mark.parametrize("kind", ["own", "asyncio.Queue"])
def test_the_turns_of_a_simulation_have_its_time(kind):
    now = 0.0

    def real_time():
        return now

    stream = (
        MessageStream(real_time)
        if kind == "own"
        else CustomQueueStream(asyncio.Queue, 0, LOGGER, real_time)
    )

    def is_over():
        """Whether a turn is over after a day of real time, and a portion."""
        nonlocal now
        stream.begin_turn()
        now += 86_400
        for _ in range(PORTION - 1):
            stream.is_turn_over()
        return stream.is_turn_over()

    async def main():
        stream.expect()
        deliver(stream, [message(1)])
        return is_over()

    with asyncio.Runner(loop_factory=lambda: VirtualLoop(0)) as runner:
        assert not runner.run(main())
    # The client is entered in a real loop again.
    assert asyncio.run(main())


async def test_a_refused_stream_stays_ended():
    """Neither another connection nor its end changes the reason."""
    queue = MessageStream()
    queue.expect()
    queue.open(lambda: None)
    deliver(queue, [message(1)])
    waiter = queue.waiter()
    queue.refuse(MqttError("not restored"))
    queue.refuse(MqttError("another reason"))
    assert waiter.done()
    queue.close(MqttError("the connection was lost"))
    queue.open(lambda: None)
    assert numbers(queue) == [1]
    assert queue.is_closed
    assert str(queue.end()) == "The stream has ended: not restored"
