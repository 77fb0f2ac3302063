"""The turns of iterators: when others run, and when reading waits for an iterator."""

import asyncio
import itertools
from collections.abc import Callable

import pytest

from aiomqtt import Message
from aiomqtt.net.sink import Room
from aiomqtt.streams.iterator import MessagesIterator
from aiomqtt.streams.stream import PORTION, MessageStream
from aiomqtt.streams.turns import (
    CATCH_UP,
    CATCH_UP_BYTES,
    CATCH_UP_TURNS,
    TURN,
    Turns,
)
from tests.raw_scripts import turns, within

# So many messages are in one read.
READ = CATCH_UP * 3 // 4

# --- the time ----------------------------------------------------------------------


def test_a_turn_begins_with_the_first_look_and_is_over_in_time():
    now = 100.0
    one = Turns(lambda: now)
    assert not one.is_over()
    now += TURN / 2
    assert not one.is_over()
    now += TURN / 2
    assert one.is_over()
    one.begin()
    assert not one.is_over()
    now += TURN
    one.wait()
    # Others ran while it waited.
    assert not one.is_over()


# --- reading waits -----------------------------------------------------------------


class Reading:
    """A stream with an iterator, and the reads for it; it notes what is taken."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self.stream = MessageStream() if clock is None else MessageStream(clock)
        self.stream.expect()
        self.resumed = 0
        self.taken = 0
        self.stream.open(self.resume)
        # Set while the program waits for nothing but messages.
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.task = asyncio.create_task(self.iterate())

    def resume(self) -> None:
        self.resumed += 1

    async def iterate(self) -> None:
        async for _ in MessagesIterator(self.stream):
            self.taken += 1
            await self.goes_on.wait()

    def read(self, count: int = READ, size: int = 1) -> Room:
        messages = [Message("t", b"", 0, False, 0, None)] * count
        return self.stream.deliver(messages, count * size)


@pytest.fixture
async def reading():
    one = Reading()
    await turns(2)
    yield one
    one.task.cancel()


async def test_reading_waits_for_an_iterator_that_has_not_run_since_the_last_read(
    reading,
):
    assert reading.read() is Room.ENOUGH
    assert reading.read() is Room.LITTLE
    assert reading.stream.room() is Room.LITTLE
    async with asyncio.timeout(10):
        while reading.taken < 2 * READ:
            await turns(1)
    await turns(2)
    assert reading.resumed == 1
    assert reading.stream.room() is Room.ENOUGH
    assert reading.read() is Room.ENOUGH


@pytest.mark.parametrize("count", [1, CATCH_UP // 4])
async def test_a_few_messages_do_not_make_reading_wait(reading, count):
    assert reading.read(count) is Room.ENOUGH
    assert reading.read(count) is Room.ENOUGH


async def test_a_few_large_messages_make_reading_wait(reading):
    assert reading.read(3, CATCH_UP_BYTES) is Room.ENOUGH
    assert reading.read(3, CATCH_UP_BYTES) is Room.LITTLE
    await turns(3)
    assert reading.resumed == 1
    assert reading.taken == 6


async def test_single_messages_make_reading_wait_as_well(reading):
    message = Message("t", b"", 0, False, 0, None)
    rooms = [reading.stream.deliver_one(message, 1) for _ in range(CATCH_UP + 2)]
    assert {*rooms[:CATCH_UP]} == {Room.ENOUGH}
    assert rooms[-1] is Room.LITTLE


async def test_reading_does_not_wait_for_a_program_that_does_something_else(reading):
    reading.goes_on.clear()
    reading.read(1)
    await turns(2)
    for _ in range(4):
        assert reading.read() is Room.ENOUGH
    assert reading.taken == 1


async def test_reading_goes_on_when_the_program_begins_something_else(reading):
    """However much waits: it may take long."""
    reading.goes_on.clear()
    reading.read()
    assert reading.read() is Room.LITTLE
    await turns(3)
    assert reading.taken == 1
    assert reading.resumed == 1
    assert reading.read() is Room.ENOUGH


async def test_reading_goes_on_when_the_iterator_is_cancelled(reading):
    reading.read()
    assert reading.read() is Room.LITTLE
    reading.task.cancel()
    await turns(3)
    assert reading.taken == 0
    assert reading.resumed == 1
    assert reading.read() is Room.ENOUGH


async def test_reading_goes_on_when_it_is_cancelled_between_two_turns():
    reading = Reading(itertools.count(0.0, TURN).__next__)
    await turns(2)
    reading.read()
    assert reading.read() is Room.LITTLE
    # It is woken, and lets others run after two portions.
    await turns(1)
    assert 0 < reading.taken < READ
    reading.task.cancel()
    await turns(3)
    assert reading.resumed == 1


async def test_reading_waits_for_a_few_turns_only():
    """An iterator that does not keep up may leave all that there is room for."""
    reading = Reading(itertools.count(0.0, TURN).__next__)
    await turns(2)
    reading.read()
    assert reading.read() is Room.LITTLE
    taken = []
    async with asyncio.timeout(10):
        while not reading.resumed:
            await turns(1)
            taken.append(reading.taken)
    assert len(taken) <= CATCH_UP_TURNS + 1
    assert taken[-1] <= (CATCH_UP_TURNS + 1) * 2 * PORTION
    assert len(reading.stream) > CATCH_UP // 2
    reading.task.cancel()


async def test_another_connection_does_not_wait(reading):
    reading.read()
    assert reading.read() is Room.LITTLE
    reading.stream.close(None)
    reading.stream.open(reading.resume)
    assert reading.stream.room() is Room.ENOUGH
    with pytest.raises(Exception, match="Disconnected"):
        reading.stream.close(None)
        await within(reading.task)
    assert reading.taken == 2 * READ
