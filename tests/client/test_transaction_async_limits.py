"""How many messages transactions publish, how long, and by which ids."""

import contextlib
import math
from pathlib import Path
from typing import Any

import pytest

from aiomqtt import (
    Client,
    MqttCodeError,
    OfflineQueue,
    Properties,
    Reconnect,
    SQLiteSession,
)
from aiomqtt.testing import CONNACK, CONNECT, DISCONNECT, PUBLISH, Script
from tests.raw_scripts import turns, within
from tests.until import until


class UndoError(Exception):
    pass


NEVER = Reconnect(min_delay=1000, max_delay=1000)


@pytest.fixture
def session(tmp_path: Path) -> SQLiteSession:
    return SQLiteSession(tmp_path / "session.db")


def client_of(script: Script, session: SQLiteSession, **options: Any) -> Client:
    given = {"identifier": "me", "protocol": 5, **options}
    return Client(script.name, transport="memory", session=session, **given)


def without_connection() -> Script:
    return Script().expect(CONNECT).reply(CONNACK).expect(PUBLISH).drop_connection()


async def is_lost(client: Client) -> None:
    await client.publish("last")
    while client.is_connected():
        await turns(1)


async def publish(session: SQLiteSession, *payloads: str, **options: Any) -> None:
    async with session.transaction() as tx:
        for payload in payloads:
            tx.publish("readings", payload, **options)


async def state_of(session: SQLiteSession, receipt_id: str) -> str:
    receipt = await session.receipt(receipt_id)
    assert receipt is not None
    return receipt.state


@pytest.mark.parametrize(
    ("queue", "properties", "state"),
    [
        (OfflineQueue(max_age=0.1), None, "dropped"),
        (OfflineQueue(), Properties(message_expiry_interval=1), "expired"),
    ],
    ids=["max_age", "expiry"],
)
async def test_a_message_that_waits_too_long_is_dropped(
    session, queue, properties, state
):
    script = without_connection()
    client = client_of(script, session, reconnect=NEVER, offline=queue)
    async with script, client:
        await is_lost(client)
        await publish(session, "old", id="old", properties=properties)
        assert await state_of(session, "old") == "queued"
        await until(lambda: not client.statistics.unfinished_messages, 5)
        assert await state_of(session, "old") == state


@pytest.mark.parametrize("queue", [{"max_messages": 3}, {"max_bytes": 2000}])
async def test_without_a_connection_the_limits_of_the_queue_hold(session, queue):
    script = without_connection()
    limits = OfflineQueue(**queue)
    client = client_of(script, session, reconnect=NEVER, offline=limits)
    async with script, client:
        await is_lost(client)
        await publish(session, "1", "2")
        with pytest.raises(MqttCodeError, match="Could not queue message"):
            await publish(session, "3", "4")
        assert client.statistics.unfinished_messages == 2
        await publish(session, "3")
        with pytest.raises(MqttCodeError, match="Could not queue message"):
            await publish(session, "4")


async def test_the_oldest_make_way_for_those_of_a_transaction(session):
    script = without_connection()
    limits = OfflineQueue(max_messages=2, overflow="drop_oldest")
    client = client_of(script, session, reconnect=NEVER, offline=limits)
    async with script, client:
        await is_lost(client)
        await publish(session, "1", id="1")
        await publish(session, "2", "3")
        assert client.statistics.messages_dropped == 1
        assert await state_of(session, "1") == "dropped"
        with pytest.raises(MqttCodeError, match="as many as max_messages allows"):
            await publish(session, "4", "5", "6")


async def test_too_much_that_is_unfinished_is_refused(session):
    script = Script().expect(CONNECT).reply(CONNACK).expect(PUBLISH).expect(PUBLISH)
    script.expect(DISCONNECT)
    options = {"max_queued_outgoing_messages": 2, "timeout": 0.1}
    client = client_of(script, session, **options)
    async with script, client:
        with pytest.raises(MqttCodeError, match="2 are unfinished already"):
            await publish(session, "1", "2", "3")
        assert not client.statistics.unfinished_messages
        await publish(session, "1", "2")


@pytest.mark.parametrize("maximum", [None, 1000])
async def test_with_a_connection_what_the_queue_allows_is_allowed(session, maximum):
    """There may be many from the time without one."""
    script = Script().expect(CONNECT).reply(CONNACK).expect(DISCONNECT)
    limits = OfflineQueue(max_bytes=maximum)
    client = client_of(script, session, reconnect=NEVER, offline=limits)
    async with script, client:
        with contextlib.suppress(MqttCodeError, UndoError):
            async with session.transaction() as tx:
                # As much as `publish_nowait` lets wait.
                tx.publish("readings", bytes(64 * 1024 * 1024))
                try:
                    tx.publish("readings", "2")
                except MqttCodeError:
                    assert maximum is not None
                    raise
                assert maximum is None
                raise UndoError
        assert not client.statistics.unfinished_messages


async def test_an_id_is_used_once(session):
    script = Script().expect(CONNECT).reply(CONNACK).expect(PUBLISH).expect(DISCONNECT)
    client = client_of(script, session, timeout=0.1)
    async with script, client:
        with pytest.raises(ValueError, match="id '1' belongs to a message"):
            await publish(session, "1", "2", id="1")
        with pytest.raises(ValueError, match="id '1' belongs to a message"):
            async with session.transaction() as tx:
                tx.publish("readings", "1", id="1")
                # Another task publishes meanwhile.
                client.publish_nowait("readings", "2", 1, id="1")
        assert client.statistics.unfinished_messages == 1


@pytest.mark.parametrize(
    ("timeout", "kind"), [(math.nan, ValueError), ("1", TypeError), (True, TypeError)]
)
async def test_a_timeout_that_is_none_is_refused(session, timeout, kind):
    script = Script().expect(CONNECT).reply(CONNACK).expect(DISCONNECT)
    async with script, client_of(script, session):
        with pytest.raises(kind, match="timeout must be a number"):
            session.transaction(timeout=timeout)
        async with session.transaction(timeout=math.inf) as tx:
            assert await within(tx.execute("SELECT 1")) == [(1,)]
