"""Transactions: rows of the program and its messages, together or not at all."""

import asyncio
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from aiomqtt import (
    Broker,
    Client,
    MqttError,
    Properties,
    SessionStoreError,
    SQLiteSession,
)
from aiomqtt.client.durable_async import Turn
from aiomqtt.stores.sqlite.file import take_no_step
from aiomqtt.testing import (
    CONNACK,
    CONNECT,
    DISCONNECT,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBSCRIBE,
    Script,
)
from tests.raw_scripts import turns, within

TABLE = "CREATE TABLE IF NOT EXISTS readings (value INTEGER NOT NULL CHECK (value > 0))"


@pytest.fixture
def session(tmp_path: Path) -> SQLiteSession:
    return SQLiteSession(tmp_path / "session.db")


def client_of(script: Script, session: SQLiteSession, **options: Any) -> Client:
    given = {"identifier": "me", "protocol": 5, "ack": "manual", **options}
    return Client(script.name, transport="memory", session=session, **given)


async def values(session: SQLiteSession) -> list[int]:
    async with session.transaction() as tx:
        await tx.execute(TABLE)
        rows = await tx.execute("SELECT value FROM readings")
        return [int(value or 0) for (value,) in rows]


def begins(present: bool = False) -> Script:
    script = Script()
    return script.expect(CONNECT).reply(CONNACK, session_present=present)


# --- messages that leave --------------------------------------------------------


async def test_rows_and_message_are_committed_together(session):
    came: list[str] = []
    script = begins().expect(PUBLISH, topic="readings", payload=b"5", qos=1)
    script.call(lambda: came.append("PUBLISH")).reply().expect(DISCONNECT)
    async with script, client_of(script, session):
        async with session.transaction() as tx:
            await tx.execute(TABLE)
            await tx.execute("INSERT INTO readings VALUES (?)", (5,))
            tx.publish("readings", 5, id="reading 5")
            await asyncio.sleep(0.02)
            assert not came
        assert await values(session) == [5]
        while (receipt := await session.receipt("reading 5")) is None or (
            receipt.state != "acknowledged"
        ):
            await turns(1)
        assert came == ["PUBLISH"]


class WrongError(Exception):
    pass


@pytest.mark.parametrize(
    "fail",
    [
        lambda tx: tx.execute("INSERT INTO readings VALUES (0)"),
        lambda tx: tx.execute("INSERT INTO nothing VALUES (0)"),
        lambda tx: tx.execute("COMMIT"),
        lambda tx: tx.publish("a", b"x" * 200),
        lambda tx: tx.publish("a/#", "x"),
        lambda tx: tx.publish("a", "x", qos=0),
    ],
    ids=["constraint", "no table", "COMMIT", "too large", "no topic", "QoS 0"],
)
async def test_an_error_undoes_everything_and_the_client_goes_on(session, fail):
    script = Script()
    limits = Properties(maximum_packet_size=150)
    script.expect(CONNECT).reply(CONNACK, properties=limits)
    script.expect(PUBLISH, payload=b"later").reply().expect(DISCONNECT)
    async with script, client_of(script, session) as client:
        assert await values(session) == []
        with pytest.raises((ValueError, sqlite3.Error)):
            async with session.transaction() as tx:
                await tx.execute("INSERT INTO readings VALUES (5)")
                tx.publish("readings", "never")
                result = fail(tx)
                if result is not None:
                    await result
        with pytest.raises(MqttError, match="not open"):
            tx.publish("a", "x")
        assert await values(session) == []
        await within(client.publish("a", "later", 1))


async def test_a_block_that_takes_too_long_is_undone(session):
    script = begins().expect(PUBLISH, payload=b"later").reply().expect(DISCONNECT)
    async with script, client_of(script, session) as client:
        assert await values(session) == []
        with pytest.raises(TimeoutError):
            async with session.transaction(timeout=0.05) as tx:
                await tx.execute("INSERT INTO readings VALUES (5)")
                tx.publish("readings", "never")
                await asyncio.sleep(5)
        assert await values(session) == []
        await within(client.publish("a", "later", 1))


async def test_a_block_that_is_cancelled_at_any_step_is_undone_or_done(session):
    sent: list[int] = []
    steps = 30
    async with Broker(port=0) as broker:
        options: dict[str, Any] = {"identifier": "me", "session": session}
        async with (
            Client(broker.host, broker.port) as watch,
            Client(broker.host, broker.port, **options),
        ):
            await watch.subscribe("readings", 1)
            assert await values(session) == []
            for step in range(1, steps):

                async def insert(number: int) -> None:
                    async with session.transaction() as tx:
                        await tx.execute("INSERT INTO readings VALUES (?)", (number,))
                        tx.publish("readings", number)

                task = asyncio.create_task(insert(step))
                # Up to some steps of the loop, or of the thread.
                await (turns(step) if step % 2 else asyncio.sleep(step * 2e-4))
                task.cancel()
                await asyncio.wait((task,))
            # The file still takes transactions, and rows and messages agree.
            async with session.transaction() as tx:
                tx.publish("readings", 1000)
            stored = await values(session)
            async for message in watch.messages:
                number = int(message.payload)
                if number == 1000:
                    break
                sent.append(number)
            assert sent == stored
            assert 0 < len(stored) < steps - 1


async def test_a_transaction_waits_for_its_turn_and_not_for_itself(session):
    script = begins().expect(DISCONNECT)
    with pytest.raises(SessionStoreError, match="not open"):
        session.transaction()
    async with script, client_of(script, session) as client:
        async with session.transaction():
            with pytest.raises(MqttError, match="in a transaction"):
                await session.transaction().__aenter__()
            with pytest.raises(MqttError, match="in a transaction"):
                await session.receipts()
            with pytest.raises(MqttError, match="in a transaction"):
                await client.disconnect()
            other = asyncio.create_task(values(session))
            await asyncio.sleep(0.02)
            assert not other.done()
        assert await within(other) == []


async def test_a_message_that_was_committed_is_sent_by_the_next_process(tmp_path):
    path = tmp_path / "session.db"
    first = SQLiteSession(path)
    script = begins().wait(0.02).drop_connection()
    async with script:
        client = client_of(script, first, reconnect=True)
        async with client:
            while client.is_connected():
                await turns(1)
            async with first.transaction() as tx:
                tx.publish("readings", "kept", qos=2)
    second = SQLiteSession(path)
    script = begins(present=True).expect(PUBLISH, payload=b"kept", qos=2).reply()
    script.expect(PUBREL).reply().expect(DISCONNECT)
    async with script, client_of(script, second):
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("is_back", [False, True], ids=["left", "entered again"])
async def test_a_client_that_is_left_meanwhile_undoes_it(session, is_back):
    """It does not end the turn of a transaction that began since."""
    async with Broker(port=0) as broker:
        client = Client(broker.host, broker.port, identifier="me", session=session)
        async with client:
            assert await values(session) == []
            tx = session.transaction()
            await tx.__aenter__()
            await tx.execute("INSERT INTO readings VALUES (5)")
            tx.publish("readings", 5)
        async with client:
            if is_back:
                async with session.transaction() as other:
                    with pytest.raises(SessionStoreError, match="has undone"):
                        await tx.__aexit__(None, None, None)
                    await other.execute("INSERT INTO readings VALUES (6)")
            else:
                with pytest.raises(SessionStoreError, match="has undone"):
                    await tx.__aexit__(None, None, None)
            assert await values(session) == ([6] if is_back else [])
            assert not client.statistics.unfinished_messages


async def test_a_client_that_is_left_during_the_commit_sends_it_later(session):
    async with Broker(port=0) as broker:
        options: dict[str, Any] = {"identifier": "me", "session": session}
        client = Client(broker.host, broker.port, **options)

        async def publish() -> None:
            async with session.transaction() as tx:
                tx.publish("readings", 5, id="reading 5")

        async with Client(broker.host, broker.port) as watch:
            await watch.subscribe("readings", 1)
            async with client:
                session._file.on_step(
                    lambda name: time.sleep(0.2) if name == "commit" else None
                )
                committing = asyncio.create_task(publish())
                await asyncio.sleep(0.1)
            await within(committing)
            session._file.on_step(take_no_step)
            async with client:
                message = await within(anext(watch.messages))
                assert message.payload == b"5"
                while client.statistics.unfinished_messages:
                    await turns(1)
                (receipt,) = await session.receipts()
                assert receipt.state == "acknowledged"
                assert not len(watch.messages)


# --- messages that come ---------------------------------------------------------


def with_message(qos: int = 2, present: bool = False) -> Script:
    script = begins(present)
    if not present:
        script.expect(SUBSCRIBE).reply()
    return script.send(PUBLISH, topic="t", payload=b"5", qos=qos, packet_id=9)


async def process(session: SQLiteSession, message: Any) -> bool:
    async with session.transaction() as tx:
        await tx.execute(TABLE)
        is_new = tx.acknowledge(message)
        if is_new:
            number = int(message.payload)
            await tx.execute("INSERT INTO readings VALUES (?)", (number,))
    return is_new


@pytest.mark.parametrize("qos", [1, 2])
async def test_the_acknowledgement_leaves_after_the_commit(session, qos):
    came: list[str] = []
    script = with_message(qos).expect(PUBACK if qos == 1 else PUBREC, packet_id=9)
    script.call(lambda: came.append("ack"))
    if qos == 2:
        script.reply().expect(PUBCOMP)
    script.expect(DISCONNECT)
    async with script, client_of(script, session) as client:
        await client.subscribe("t", qos)
        message = await within(anext(client.messages))
        async with session.transaction() as tx:
            assert tx.acknowledge(message)
            assert not tx.acknowledge(message)
            await asyncio.sleep(0.02)
            assert not came
        await asyncio.sleep(0.02)
        assert came == ["ack"]
        async with session.transaction() as tx:
            assert not tx.acknowledge(message)


async def test_a_commit_that_violates_a_constraint_leaves_the_connection(session):
    """Nothing is acknowledged, and the client goes on."""
    script = with_message().expect(PUBLISH, payload=b"later").reply()
    script.expect(PUBREC).reply().expect(PUBCOMP).expect(DISCONNECT)
    async with script, client_of(script, session) as client:
        await client.subscribe("t", 2)
        message = await within(anext(client.messages))
        async with session.transaction() as tx:
            await tx.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
            await tx.execute(
                "CREATE TABLE child (id INTEGER REFERENCES parent (id)"
                " DEFERRABLE INITIALLY DEFERRED)"
            )
        connection = session._file._file.connected()
        pragma = "PRAGMA foreign_keys = ON"
        await session._file._worker.call(lambda: connection.execute(pragma).fetchall())
        with pytest.raises(sqlite3.IntegrityError):
            async with session.transaction() as tx:
                assert tx.acknowledge(message)
                await tx.execute("INSERT INTO child VALUES (1)")
        await within(client.publish("a", "later", 1))
        async with session.transaction() as tx:
            assert tx.acknowledge(message)
        await turns(20)


async def test_a_message_comes_again_if_its_transaction_was_undone(tmp_path):
    path = tmp_path / "session.db"
    script = with_message().expect(DISCONNECT)
    session = SQLiteSession(path)
    async with script, client_of(script, session) as client:
        await client.subscribe("t", 2)
        message = await within(anext(client.messages))
        with pytest.raises(WrongError):
            async with session.transaction() as tx:
                assert tx.acknowledge(message)
                raise WrongError
    script = with_message(present=True).expect(PUBREC).reply().expect(PUBCOMP)
    script.expect(DISCONNECT)
    session = SQLiteSession(path)
    async with script, client_of(script, session) as client:
        assert await process(session, await within(anext(client.messages)))
        assert await values(session) == [5]


async def test_a_message_that_was_processed_is_not_delivered_again(
    tmp_path, monkeypatch
):
    """The process ends between the commit and PUBREC."""
    path = tmp_path / "session.db"
    script = with_message().expect_end()
    session = SQLiteSession(path)
    async with script:
        client = client_of(script, session)
        await client.__aenter__()
        await client.subscribe("t", 2)
        message = await within(anext(client.messages))
        with monkeypatch.context() as patch:
            patch.setattr(Turn, "follow", lambda *_: None)
            assert await process(session, message)
        client._calls.driver.abort()  # type: ignore[union-attr]
        await client.__aexit__(None, None, None)
    script = with_message(present=True).expect(PUBREC).reply().expect(PUBCOMP)
    script.send(PUBLISH, topic="t", payload=b"next").expect(DISCONNECT)
    session = SQLiteSession(path)
    async with script, client_of(script, session) as client:
        assert (await within(anext(client.messages))).payload == b"next"
        assert await values(session) == [5]


@pytest.mark.parametrize("keeps", [True, False])
async def test_a_connection_that_is_lost_before_the_commit(session, keeps):
    """The message comes again, and was processed; or the broker has forgotten it."""
    script = with_message().expect(SUBSCRIBE).drop_connection()
    script.expect(CONNECT).reply(CONNACK, session_present=keeps)
    if not keeps:
        script.expect(SUBSCRIBE).reply().expect(SUBSCRIBE).reply()
    else:
        script.expect(SUBSCRIBE).reply()
    # With another session, it is another message.
    script.send(PUBLISH, topic="t", payload=b"6", qos=2, packet_id=9, dup=keeps)
    script.expect(PUBREC).reply().expect(PUBCOMP).expect(DISCONNECT)
    async with script, client_of(script, session, reconnect=True) as client:
        await client.subscribe("t", 2)
        message = await within(anext(client.messages))
        await within(client.subscribe("u"))
        assert await process(session, message)
        again = await within(anext(client.messages))
        assert again.payload == b"6"
        assert await process(session, again) is not keeps
        assert await values(session) == ([5] if keeps else [5, 6])
        await turns(20)


async def test_what_can_not_be_acknowledged_is_refused(session):
    script = begins().expect(SUBSCRIBE).reply()
    script.send(PUBLISH, topic="t", qos=0).expect(DISCONNECT)
    async with script, client_of(script, session) as client:
        await client.subscribe("t")
        message = await within(anext(client.messages))
        async with session.transaction() as tx:
            with pytest.raises(ValueError, match="QoS 1 or 2"):
                tx.acknowledge(message)
            with pytest.raises(TypeError, match="message must be Message"):
                tx.acknowledge("t")  # type: ignore[arg-type]


async def test_an_old_copy_of_a_message_does_not_touch_the_next_one(session):
    """It was processed as a repetition, and its packet identifier is another's."""
    script = with_message().expect(SUBSCRIBE).drop_connection()
    script.expect(CONNECT).reply(CONNACK, session_present=True)
    script.expect(SUBSCRIBE).reply()
    script.send(PUBLISH, topic="t", payload=b"5", qos=2, packet_id=9, dup=True)
    script.expect(PUBREC).reply().expect(PUBCOMP)
    script.send(PUBLISH, topic="t", payload=b"6", qos=2, packet_id=9)
    script.expect(PUBREC).reply().expect(PUBCOMP)
    script.send(PUBLISH, topic="end").expect(DISCONNECT)
    async with script, client_of(script, session, reconnect=True) as client:
        await client.subscribe("t", 2)
        old = await within(anext(client.messages))
        await within(client.subscribe("u"))
        assert await process(session, await within(anext(client.messages)))
        following = await within(anext(client.messages))
        assert not await process(session, old)
        assert await process(session, following)
        assert (await within(anext(client.messages))).topic.value == "end"
        assert await values(session) == [5, 6]


async def test_a_message_that_came_twice_is_processed_once(session):
    """The program had not acknowledged it when the connection was lost."""
    script = with_message().expect(SUBSCRIBE).drop_connection()
    script.expect(CONNECT).reply(CONNACK, session_present=True)
    script.expect(SUBSCRIBE).reply()
    script.send(PUBLISH, topic="t", payload=b"5", qos=2, packet_id=9, dup=True)
    script.expect(PUBREC).reply().expect(PUBCOMP)
    script.send(PUBLISH, topic="end").expect(DISCONNECT)
    async with script, client_of(script, session, reconnect=True) as client:
        await client.subscribe("t", 2)
        came = [await within(anext(client.messages))]
        await within(client.subscribe("u"))
        came.append(await within(anext(client.messages)))
        async with session.transaction() as tx:
            assert [tx.acknowledge(message) for message in came] == [True, False]
        assert (await within(anext(client.messages))).topic.value == "end"


async def test_a_message_from_before_the_session_was_read_again_comes_again(session):
    """As after an error of the store: its repetition is processed instead."""
    async with Broker(port=0) as broker:
        options: dict[str, Any] = {"identifier": "me", "session": session}
        client = Client(broker.host, broker.port, ack="manual", **options)
        async with client:
            await client.subscribe("t", 2)
            await client.publish("t", "5", 2)
            old = await within(anext(client.messages))
        # Somebody else has it in between.
        async with Client(broker.host, broker.port, ack="manual", **options):
            pass
        async with client:
            assert not await process(session, old)
            assert await process(session, await within(anext(client.messages)))
            assert await values(session) == [5]


@pytest.mark.parametrize("qos", [1, 2])
async def test_a_message_of_another_client_is_refused(session, tmp_path, qos):
    """Its packet identifier may be that of a message which is still to come."""
    script, theirs = begins().expect(DISCONNECT), with_message(qos).expect(DISCONNECT)
    other = SQLiteSession(tmp_path / "other.db")
    async with (
        script,
        theirs,
        client_of(script, session),
        client_of(theirs, other, identifier="you") as client,
    ):
        await client.subscribe("t", qos)
        message = await within(anext(client.messages))
        async with session.transaction() as tx:
            with pytest.raises(ValueError, match="another client's"):
                tx.acknowledge(message)
