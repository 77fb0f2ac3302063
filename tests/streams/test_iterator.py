"""The iterator over a stream: waiting, waking, cancelling, fairness."""

import asyncio
import itertools
import logging

import pytest

from aiomqtt import Message, MqttError
from aiomqtt.log import SafeLogger
from aiomqtt.net.sink import Room
from aiomqtt.streams.custom_queue import CustomQueueStream
from aiomqtt.streams.iterator import MessagesIterator
from aiomqtt.streams.stream import (
    MAXIMUM_MESSAGES,
    PORTION,
    MessageStream,
)
from aiomqtt.streams.turns import TURN
from tests.raw_scripts import cancelled_after, turns, within

LOGGER = SafeLogger(logging.getLogger("mqtt"))


def message(number=0):
    return Message("t", bytes([number]), 0, False, number, None)


def deliver(stream, messages):
    return stream.deliver(messages, sum(len(each.payload) for each in messages))


def made(queue_type=None, step=TURN):
    """An stream whose clock goes on by so much with each look at it."""
    clock = itertools.count(0.0, step).__next__
    if queue_type is None:
        stream = MessageStream(clock)
    else:
        stream = CustomQueueStream(queue_type, 0, LOGGER, clock)
    stream.open(lambda: None)
    return stream


@pytest.fixture
def stream():
    return made()


@pytest.fixture(params=[None, asyncio.Queue], ids=["own", "asyncio.Queue"])
def any_stream(request):
    return made(request.param)


def numbers(stream):
    return [stream.pop().mid for _ in range(len(stream))]


async def test_trap_1_a_cancelled_waiter_eats_no_message(any_stream):
    """Trap 1: whatever the step at which it is cancelled, the message is there."""
    for steps in range(6):
        task = asyncio.create_task(anext(MessagesIterator(any_stream)))
        await turns()
        deliver(any_stream, [message(steps)])
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await within(asyncio.wait([task]))
        if task.cancelled():
            assert numbers(any_stream) == [steps]
        else:
            assert task.result().mid == steps
            assert len(any_stream) == 0


async def test_trap_1_a_cancelled_waiter_passes_its_wake_up_on(any_stream):
    """Trap 1: of two who wait, the one who was woken is cancelled."""
    first = asyncio.create_task(anext(MessagesIterator(any_stream)))
    second = asyncio.create_task(anext(MessagesIterator(any_stream)))
    await turns()
    deliver(any_stream, [message(1)])
    first.cancel()
    assert (await within(second)).mid == 1
    assert first.cancelled()


async def test_one_who_comes_first_may_take_it_from_the_one_who_was_woken(any_stream):
    iterator = MessagesIterator(any_stream)
    waiting = asyncio.create_task(anext(iterator))
    await turns()
    deliver(any_stream, [message(1)])
    assert (await anext(iterator)).mid == 1
    await turns()
    assert not waiting.done()
    deliver(any_stream, [message(2)])
    assert (await within(waiting)).mid == 2


async def test_cancelled_waiters_are_forgotten(any_stream):
    for _ in range(100):
        await cancelled_after(2, anext(MessagesIterator(any_stream)))
    assert not any_stream._waiters


async def test_cancelled_at_every_step_with_messages_there(any_stream):
    """The turn that fairness takes can be cancelled too: nothing is lost."""
    count = 5 * PORTION
    deliver(any_stream, [message(number % 256) for number in range(count)])
    got = 0

    async def consume():
        nonlocal got
        async for _ in MessagesIterator(any_stream):
            got += 1

    await cancelled_after(2, consume())
    assert 0 < got < count
    assert got + len(any_stream) == count


async def test_an_iterator_that_begins_has_a_whole_turn():
    """Or one read more would wait from then on."""
    stream = made(step=0.0)
    deliver(stream, [message(number % 256) for number in range(3 * PORTION)])
    others_ran = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(others_ran.set_result, None)
    iterator = MessagesIterator(stream)
    for _ in range(3 * PORTION):
        await anext(iterator)
    assert not others_ran.done()
    await others_ran


async def test_the_end_wakes_everybody_once(any_stream):
    iterator = MessagesIterator(any_stream)
    tasks = [asyncio.create_task(anext(iterator)) for _ in range(5)]
    await turns()
    cause = MqttError("why")
    deliver(any_stream, [message(1)])
    any_stream.close(cause)
    results = await within(asyncio.gather(*tasks, return_exceptions=True))
    errors = [result for result in results if isinstance(result, MqttError)]
    assert len(errors) == 4
    assert len(set(map(id, errors))) == 4  # tracebacks add up
    for error in errors:
        assert str(error) == "Disconnected during message iteration"
        assert error.__cause__ is not None
        assert str(error.__cause__) == "why"


async def test_open_again_an_iterator_waits(any_stream):
    any_stream.close(None)
    any_stream.open(lambda: None)
    task = asyncio.create_task(anext(MessagesIterator(any_stream)))
    await turns()
    assert not task.done()
    deliver(any_stream, [message(3)])
    assert (await within(task)).mid == 3


async def test_an_iterator_makes_room_on_its_fast_way(stream):
    resumed = []
    stream.open(lambda: resumed.append(len(stream)))
    assert deliver(stream, [message(1)] * (MAXIMUM_MESSAGES + 1)) is Room.LITTLE
    got = 0
    async for _ in MessagesIterator(stream):
        got += 1
        if resumed:
            break
    assert MAXIMUM_MESSAGES // 2 <= got <= MAXIMUM_MESSAGES // 2 + PORTION + 1
    assert got + len(stream) == MAXIMUM_MESSAGES + 1


@pytest.mark.parametrize("queue_type", [None, asyncio.Queue])
@pytest.mark.parametrize("portions", [1, 2, 4])
async def test_others_run_when_an_iterator_has_had_its_time(queue_type, portions):
    """An iterator that always finds a message starves nobody."""
    any_stream = made(queue_type, TURN / portions)
    count = 20 * PORTION
    deliver(any_stream, [message(1)] * count)
    got = 0
    seen = []

    async def consume():
        nonlocal got
        async for _ in MessagesIterator(any_stream):
            got += 1
            if got == count:
                return

    async def watch():
        while got < count:
            seen.append(got)
            await asyncio.sleep(0)

    await within(asyncio.gather(consume(), watch()))
    steps = [later - earlier for earlier, later in itertools.pairwise([*seen, count])]
    assert max(steps) == portions * PORTION


async def test_several_iterators_share_portions(stream):
    count = 5 * PORTION
    deliver(stream, [message(n % 256) for n in range(count)])
    taken: list[list[int]] = [[], []]

    async def consume(mine):
        async for each in MessagesIterator(stream):
            mine.append(each.mid)
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(consume(mine)) for mine in taken]
    while len(stream):  # noqa: ASYNC110
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await within(asyncio.wait(tasks))
    assert all(taken)
    assert sorted(taken[0] + taken[1]) == sorted(n % 256 for n in range(count))
