"""The states of a connection, as the program sees them."""

import asyncio
import contextlib
import gc

import pytest

from aiomqtt import MqttCodeError, MqttError
from aiomqtt.client.states import (
    MAXIMUM_WAITING,
    ConnectionState,
    StateChange,
    StateIterator,
    StateJournal,
)

CONNECTING = StateChange(ConnectionState.CONNECTING, attempt=1)
CONNECTED = StateChange(ConnectionState.CONNECTED, attempt=1, session_present=False)
CAUSE = MqttError("the broker closed it")
WAITING = StateChange(ConnectionState.WAITING, CAUSE, 0, 0.5)
STOPPED = StateChange(ConnectionState.STOPPED, CAUSE)
LEFT = StateChange(ConnectionState.LEFT)


async def settle():
    """Let the other tasks run until they wait."""
    for _ in range(5):
        await asyncio.sleep(0)


def reported(*changes):
    journal = StateJournal()
    for change in changes:
        journal.report(change)
    return journal


async def to_list(iterator):
    return [change async for change in iterator]


def test_a_state_is_its_text():
    assert [str(state) for state in ConnectionState] == [
        "connecting",
        "connected",
        "waiting",
        "stopped",
        "left",
    ]
    assert isinstance(ConnectionState.CONNECTED, str)


async def test_it_begins_with_the_current_state_and_ends_when_the_client_is_left():
    journal = reported(CONNECTING, CONNECTED)
    iterator = StateIterator(journal)
    for change in (WAITING, CONNECTING, CONNECTED, LEFT, CONNECTING):
        journal.report(change)
    expected = [CONNECTED, WAITING, CONNECTING, CONNECTED, LEFT]
    assert await to_list(iterator) == expected
    assert await to_list(iterator) == []


async def test_before_the_client_is_entered_it_waits_for_that():
    journal = StateJournal()
    iterator = StateIterator(journal)
    task = asyncio.ensure_future(to_list(iterator))
    await settle()
    for change in (CONNECTING, LEFT):
        journal.report(change)
    assert await task == [CONNECTING, LEFT]


async def test_each_iterator_gets_each_change():
    journal = reported(CONNECTED)
    tasks = [asyncio.ensure_future(to_list(StateIterator(journal))) for _ in range(3)]
    await settle()
    journal.report(WAITING)
    journal.report(LEFT)
    assert [await task for task in tasks] == [[CONNECTED, WAITING, LEFT]] * 3


async def test_a_cancelled_wait_loses_no_change():
    journal = reported(CONNECTED)
    iterator = StateIterator(journal)
    assert await anext(iterator) is CONNECTED
    task = asyncio.ensure_future(anext(iterator))
    await settle()
    journal.report(WAITING)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await anext(iterator) is WAITING


async def test_one_iterator_is_for_one_task():
    iterator = StateIterator(StateJournal())
    task = asyncio.ensure_future(anext(iterator))
    await settle()
    with pytest.raises(RuntimeError, match="call states\\(\\) for each task"):
        await anext(iterator)
    task.cancel()


async def test_a_slow_program_gets_the_newest_changes():
    journal = reported(CONNECTED)
    iterator = StateIterator(journal)
    for attempt in range(MAXIMUM_WAITING + 5):
        journal.report(StateChange(ConnectionState.CONNECTING, attempt=attempt))
    journal.report(LEFT)
    changes = await to_list(iterator)
    assert len(changes) == MAXIMUM_WAITING
    assert changes[0].attempt == 6
    assert changes[-1] is LEFT


def test_an_iterator_that_was_dropped_gets_nothing():
    journal = reported(CONNECTED)
    iterator = StateIterator(journal)
    del iterator
    gc.collect()
    assert not journal._iterators


async def test_connected_returns_at_once_if_there_is_a_connection():
    await reported(CONNECTED).connected()


async def test_connected_waits_on_if_the_connection_was_lost_in_the_same_moment():
    """That it is over is known before it is reported."""
    lost = [True]
    journal = reported(CONNECTING)
    journal.is_lost = lambda: lost[0]
    task = asyncio.ensure_future(journal.connected())
    await settle()
    journal.report(CONNECTED)
    await settle()
    assert not task.done()
    journal.report(WAITING)
    lost[0] = False
    journal.report(CONNECTED)
    await task


async def test_connected_waits_for_a_connection():
    journal = reported(CONNECTING)
    task = asyncio.ensure_future(journal.connected())
    for change in (WAITING, CONNECTING):
        journal.report(change)
        await settle()
        assert not task.done()
    # One that is lost in the same moment is none.
    journal.report(CONNECTED)
    journal.report(WAITING)
    await settle()
    assert not task.done()
    journal.report(CONNECTED)
    await task


@pytest.mark.parametrize("late", [False, True])
async def test_connected_raises_the_cause_if_there_will_be_none(late):
    journal = reported(CONNECTING)
    task = asyncio.ensure_future(journal.connected())
    if late:
        await settle()
    journal.report(STOPPED)
    with pytest.raises(MqttError, match="no attempt to connect will come") as caught:
        await task
    assert caught.value.__cause__ is CAUSE


async def test_connected_raises_if_the_client_is_left():
    journal = StateJournal()
    with pytest.raises(MqttCodeError, match="The client is not entered"):
        await journal.connected()
    journal.report(CONNECTING)
    task = asyncio.ensure_future(journal.connected())
    await settle()
    journal.report(LEFT)
    with pytest.raises(MqttCodeError, match="The client was left"):
        await task


def test_iterators_of_a_closed_loop_get_nothing():
    journal = reported(CONNECTED)
    iterators = []

    async def wait():
        iterators.append(StateIterator(journal))
        await anext(iterators[0])
        await anext(iterators[0])

    with asyncio.Runner() as runner, contextlib.suppress(TimeoutError):
        runner.run(asyncio.wait_for(wait(), 0.01))
    journal.abandon()
    assert journal.current == LEFT
    journal.report(CONNECTING)
    assert not iterators[0]._changes
