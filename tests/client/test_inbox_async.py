"""Transactions in databases of the program, which record the messages it processed."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import aiomqtt
from aiomqtt import (
    Broker,
    Client,
    DurableSession,
    Message,
    MqttError,
    SessionStoreError,
    SQLiteSession,
)
from aiomqtt.client.databases_async import Database
from aiomqtt.protocol.acknowledgements import AckTicket
from aiomqtt.stores.memory import MemoryStore
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

TABLE = "CREATE TABLE readings (value INTEGER NOT NULL CHECK (value > 0))"


@pytest.fixture
def session(tmp_path: Path) -> SQLiteSession:
    return SQLiteSession(tmp_path / "session.db")


@pytest.fixture
def database(tmp_path: Path):
    """A connection to the database of a program."""
    connection = sqlite3.connect(tmp_path / "program.db", check_same_thread=False)
    connection.execute(aiomqtt.PROCESSED_TABLE)
    connection.execute(TABLE)
    connection.commit()
    yield connection
    connection.close()


def values(database: sqlite3.Connection) -> list[int]:
    return [value for (value,) in database.execute("SELECT value FROM readings")]


def client_of(script: Script, session: DurableSession | None, **options: Any) -> Client:
    given = {"identifier": "me", "protocol": 5, "ack": "manual", **options}
    return Client(script.name, transport="memory", session=session, **given)


def with_message(qos: int = 2, present: bool = False, **fields: Any) -> Script:
    script = Script().expect(CONNECT).reply(CONNACK, session_present=present)
    if not present:
        script.expect(SUBSCRIBE).reply()
    fields = {"topic": "t", "payload": b"5", "packet_id": 9, **fields}
    return script.send(PUBLISH, qos=qos, dup=present, **fields)


def is_acknowledged(script: Script, qos: int = 2) -> Script:
    """Then another message comes, see `end_of`."""
    script.expect(PUBACK if qos == 1 else PUBREC, packet_id=9)
    if qos == 2:
        script.reply().expect(PUBCOMP)
    return script.send(PUBLISH, topic="end")


async def process(message: Message, database: Any, **options: Any) -> bool:
    async with message.transaction(database, **options) as tx:
        if not tx.repeated:
            value = int(message.payload)
            await tx.execute("INSERT INTO readings VALUES (?)", (value,))
    return not tx.repeated


async def message_of(client: Client) -> Message:
    message: Message = await within(anext(client.messages))
    return message


async def end_of(client: Client) -> None:
    """Wait until the message is acknowledged."""
    assert (await message_of(client)).topic.value == "end"


# --- the order of things --------------------------------------------------------------


@pytest.mark.parametrize("qos", [1, 2])
async def test_the_acknowledgement_leaves_after_the_commit(session, database, qos):
    came: list[str] = []
    script = with_message(qos).expect(PUBACK if qos == 1 else PUBREC, packet_id=9)
    script.call(lambda: came.append("ack"))
    if qos == 2:
        script.reply().expect(PUBCOMP)
    script.send(PUBLISH, topic="end").expect(DISCONNECT)
    async with script, client_of(script, session) as client:
        await client.subscribe("t", qos)
        message = await message_of(client)
        async with message.transaction(database) as tx:
            assert not tx.repeated
            await tx.execute("INSERT INTO readings VALUES (5)")
            await asyncio.sleep(0.02)
            assert not came
        assert values(database) == [5]
        await end_of(client)
        assert came == ["ack"]
        with pytest.raises(MqttError, match="acknowledged already"):
            message.transaction(database)
        with pytest.raises(MqttError, match="not open"):
            await tx.execute("SELECT 1")


async def test_it_is_the_same_with_an_iterator_that_acknowledges(session, database):
    script = is_acknowledged(with_message()).expect(DISCONNECT)
    async with script, client_of(script, session, ack="processed") as client:
        await client.subscribe("t", 2)
        messages = aiter(client.messages)
        assert await process(await within(anext(messages)), database)
        assert (await within(anext(messages))).topic.value == "end"


async def test_qos_1_needs_no_session_and_is_never_repeated(database):
    script = with_message(1).wait(0.02).drop_connection().expect(CONNECT)
    script.reply(CONNACK, session_present=True)
    script.send(PUBLISH, topic="t", payload=b"5", qos=1, packet_id=9, dup=True)
    is_acknowledged(script, 1).expect(DISCONNECT)
    options = {"protocol": 4, "clean_session": False, "reconnect": True}
    async with script, client_of(script, None, **options) as client:
        await client.subscribe("t", 1)
        message = await message_of(client)
        assert message.ticket is not None
        while not message.ticket.is_void:
            await turns(1)
        with pytest.raises(MqttError, match="has ended"):
            message.transaction(database)
        message = await message_of(client)
        assert message.duplicate
        assert await process(message, database)
        await end_of(client)


# --- killed at each moment ------------------------------------------------------------


async def killed(
    script: Script, session: SQLiteSession, database: Any, moment: Any
) -> None:
    """Process the message of the script, and end at a moment."""
    async with script:
        client = client_of(script, session)
        await client.__aenter__()
        await client.subscribe("t", 2)
        message = await message_of(client)
        await moment(client, message, database)
        client._calls.driver.abort()  # type: ignore[union-attr]
        await client.__aexit__(None, None, None)


async def before_the_commit(client: Client, message: Message, database: Any) -> None:
    tx = message.transaction(database)
    await tx.__aenter__()
    await tx.execute("INSERT INTO readings VALUES (5)")
    # The database rolls back when the process is gone.
    await tx._database.end(False)


async def after_the_commit(client: Client, message: Message, database: Any) -> None:
    tx = message.transaction(database)
    await tx.__aenter__()
    assert not tx.repeated
    await tx.execute("INSERT INTO readings VALUES (5)")
    await tx._database.end(True)


async def after_pubrec(client: Client, message: Message, database: Any) -> None:
    assert await process(message, database)
    await end_of(client)


async def test_killed_before_the_commit(tmp_path, database):
    file = tmp_path / "session.db"
    script = with_message().expect_end()
    await killed(script, SQLiteSession(file), database, before_the_commit)
    assert values(database) == []
    script = is_acknowledged(with_message(present=True)).expect(DISCONNECT)
    async with script, client_of(script, SQLiteSession(file)) as client:
        assert await process(await message_of(client), database)
        await end_of(client)
    assert values(database) == [5]


async def test_killed_between_the_commit_and_pubrec(tmp_path, database):
    file = tmp_path / "session.db"
    script = with_message().expect_end()
    await killed(script, SQLiteSession(file), database, after_the_commit)
    assert values(database) == [5]
    script = is_acknowledged(with_message(present=True))
    # The flow is complete: a message with the same identifier is another one.
    script.send(PUBLISH, topic="t", payload=b"6", qos=2, packet_id=9, dup=True)
    is_acknowledged(script).expect(DISCONNECT)
    async with script, client_of(script, SQLiteSession(file)) as client:
        assert not await process(await message_of(client), database)
        await end_of(client)
        assert await process(await message_of(client), database)
        await end_of(client)
    assert values(database) == [5, 6]


async def test_killed_again_and_again_between_the_commit_and_pubrec(tmp_path, database):
    file = tmp_path / "session.db"
    script = with_message().expect_end()
    await killed(script, SQLiteSession(file), database, after_the_commit)
    for _ in range(3):
        script = with_message(present=True).expect_end()
        async with script:
            client = client_of(script, SQLiteSession(file))
            await client.__aenter__()
            tx = (await message_of(client)).transaction(database)
            await tx.__aenter__()
            assert tx.repeated
            await tx._database.end(True)
            client._calls.driver.abort()  # type: ignore[union-attr]
            await client.__aexit__(None, None, None)
    assert values(database) == [5]


async def test_killed_between_pubrec_and_pubrel(tmp_path, database):
    """The PUBREC may have come or not; what follows with its identifier is new."""
    file = tmp_path / "session.db"
    script = with_message().expect(PUBREC).send(PUBLISH, topic="end").expect_end()
    await killed(script, SQLiteSession(file), database, after_pubrec)
    script = Script().expect(CONNECT).reply(CONNACK, session_present=True)
    script.send(PUBREL, packet_id=9).expect(PUBCOMP)
    script.send(PUBLISH, topic="t", payload=b"6", qos=2, packet_id=9, dup=True)
    is_acknowledged(script).expect(DISCONNECT)
    async with script, client_of(script, SQLiteSession(file)) as client:
        assert await process(await message_of(client), database)
        await end_of(client)
    assert values(database) == [5, 6]


async def test_killed_after_pubcomp(tmp_path, database):
    """The next message with the identifier has come before, to nobody."""
    file = tmp_path / "session.db"
    script = is_acknowledged(with_message()).expect_end()
    await killed(script, SQLiteSession(file), database, after_pubrec)
    script = with_message(present=True, payload=b"6").expect_end()
    async with script:
        client = client_of(script, SQLiteSession(file))
        await client.__aenter__()
        await message_of(client)
        client._calls.driver.abort()  # type: ignore[union-attr]
        await client.__aexit__(None, None, None)
    script = is_acknowledged(with_message(present=True, payload=b"6"))
    script.expect(DISCONNECT)
    async with script, client_of(script, SQLiteSession(file)) as client:
        assert await process(await message_of(client), database)
        await end_of(client)
    assert values(database) == [5, 6]


async def test_the_broker_has_lost_the_session(tmp_path, database):
    """What it sends then are other messages, also with the same identifier."""
    file = tmp_path / "session.db"
    script = with_message().expect_end()
    await killed(script, SQLiteSession(file), database, after_the_commit)
    script = is_acknowledged(with_message(payload=b"6")).expect(DISCONNECT)
    async with script, client_of(script, SQLiteSession(file)) as client:
        assert await process(await message_of(client), database)
        await end_of(client)
    assert values(database) == [5, 6]


async def test_the_connection_is_lost_before_the_commit(session, database):
    """The repetition waits for the transaction, and finds that it is done."""
    script = with_message().expect(SUBSCRIBE).drop_connection()
    script.expect(CONNECT).reply(CONNACK, session_present=True)
    script.expect(SUBSCRIBE).reply()
    script.send(PUBLISH, topic="t", payload=b"5", qos=2, packet_id=9, dup=True)
    is_acknowledged(script).expect(DISCONNECT)
    async with script, client_of(script, session, reconnect=True) as client:
        await client.subscribe("t", 2)
        message = await message_of(client)
        async with message.transaction(database) as tx:
            await tx.execute("INSERT INTO readings VALUES (5)")
            await within(client.subscribe("u"))
            again = await message_of(client)
            other = sqlite3.connect(
                database.execute("PRAGMA database_list").fetchone()[2],
                check_same_thread=False,
            )
            repetition = asyncio.create_task(process(again, other))
            await asyncio.sleep(0.02)
            assert not repetition.done()
        assert await within(repetition) is False
        other.close()
        await end_of(client)
    assert values(database) == [5]


# --- errors ---------------------------------------------------------------------------


class WrongError(Exception):
    pass


async def test_an_error_undoes_everything_and_the_message_comes_again(
    tmp_path, database
):
    file = tmp_path / "session.db"
    script = with_message().expect(DISCONNECT)
    async with script, client_of(script, SQLiteSession(file)) as client:
        await client.subscribe("t", 2)
        message = await message_of(client)
        for wrong in ("INSERT INTO readings VALUES (0)", "INSERT INTO nothing"):
            with pytest.raises(sqlite3.Error):
                async with message.transaction(database) as tx:
                    await tx.execute("INSERT INTO readings VALUES (5)")
                    await tx.execute(wrong)
        with pytest.raises(WrongError):
            async with message.transaction(database) as tx:
                await tx.execute("INSERT INTO readings VALUES (5)")
                raise WrongError
        with pytest.raises(TimeoutError):
            async with message.transaction(database, timeout=0.05) as tx:
                await tx.execute("INSERT INTO readings VALUES (5)")
                await asyncio.sleep(5)
    assert values(database) == []
    script = is_acknowledged(with_message(present=True)).expect(DISCONNECT)
    async with script, client_of(script, SQLiteSession(file)) as client:
        assert await process(await message_of(client), database)
        await end_of(client)
    assert values(database) == [5]


async def test_a_transaction_that_can_not_begin_leaves_the_message(session, database):
    script = is_acknowledged(with_message()).expect(DISCONNECT)
    async with script, client_of(script, session) as client:
        await client.subscribe("t", 2)
        message = await message_of(client)
        database.execute("ALTER TABLE aiomqtt_processed RENAME TO away")
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            await process(message, database)
        assert not database.in_transaction
        database.execute("ALTER TABLE away RENAME TO aiomqtt_processed")
        database.execute("BEGIN")
        with pytest.raises(ValueError, match="in a transaction already"):
            await process(message, database)
        database.rollback()
        assert await process(message, database)
        await end_of(client)


async def test_a_commit_that_fails_does_not_acknowledge(session, database, monkeypatch):
    """It may have happened: another transaction with the message tells."""
    script = is_acknowledged(with_message()).expect(DISCONNECT)

    async def fail(tx: Database, commits: bool) -> None:
        await end(tx, commits)
        raise OSError("the connection was lost")

    end = Database.end
    async with script, client_of(script, session) as client:
        await client.subscribe("t", 2)
        message = await message_of(client)
        with monkeypatch.context() as patch:
            patch.setattr(Database, "end", fail)
            with pytest.raises(OSError, match="was lost"):
                await process(message, database)
        assert message.ticket is not None
        assert not message.ticket.is_decided
        assert not await process(message, database)
        await end_of(client)
    assert values(database) == [5]


async def test_cancelled_at_any_step_it_is_done_or_undone(tmp_path, database):
    steps = 40
    options: dict[str, Any] = {"identifier": "me", "ack": "manual"}
    processed: list[int] = []
    async with Broker(port=0) as broker:
        session = SQLiteSession(tmp_path / "session.db")
        async with (
            Client(broker.host, broker.port) as publisher,
            Client(broker.host, broker.port, session=session, **options) as client,
        ):
            await client.subscribe("t", 2)
            for step in range(1, steps):
                await publisher.publish("t", step, 2)
                message = await message_of(client)
                task = asyncio.create_task(process(message, database))
                if step < steps - 1:
                    # Up to some steps of the loop, or of the threads.
                    await (turns(step) if step % 2 else asyncio.sleep(step * 2e-4))
                    task.cancel()
                await asyncio.wait((task,))
                assert not database.in_transaction
                assert message.ticket is not None
                if message.ticket.is_decided:
                    processed.append(step)
                else:
                    message.ack()
    assert values(database) == processed
    assert 0 < len(processed) < steps - 1


async def test_a_session_that_can_not_be_stored_begins_no_transaction(
    session, database, monkeypatch
):
    script = with_message().expect_end()
    async with script:
        with pytest.raises(MqttError):
            async with client_of(script, session) as client:
                await client.subscribe("t", 2)
                message = await message_of(client)

                def fail(changes: object) -> None:
                    raise sqlite3.OperationalError("disk I/O error")

                monkeypatch.setattr(session.store._tables, "write", fail)
                with pytest.raises(SessionStoreError):
                    await process(message, database)
                await message_of(client)
    assert values(database) == []


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_message_that_was_acknowledged_by_the_client_is_refused(database, qos):
    async with Broker(port=0) as broker, Client(broker.host, broker.port) as client:
        await client.subscribe("t", qos)
        await client.publish("t", 5, qos)
        message = await message_of(client)
        reason = "QoS 0" if not qos else "needs no acknowledgement"
        with pytest.raises(ValueError, match=reason):
            message.transaction(database)
        with pytest.raises(ValueError, match="has no acknowledgement|needs no"):
            Message("t", b"", qos, False, 1, None).transaction(database)


async def test_what_can_not_be_exactly_once_is_refused(database):
    async with (
        Broker(port=0) as broker,
        Client(broker.host, broker.port, ack="manual") as client,
    ):
        await client.subscribe("t", 2)
        await client.publish("t", 5, 2)
        message = await message_of(client)
        with pytest.raises(TypeError, match="connection must be"):
            message.transaction("postgresql://localhost")
        with pytest.raises(ValueError, match="needs a client with session="):
            message.transaction(database)
        message.ack()


async def test_a_message_of_several_streams_is_refused(database):
    session = DurableSession(MemoryStore())
    options: dict[str, Any] = {"identifier": "me", "ack": "manual"}
    async with (
        Broker(port=0) as broker,
        Client(broker.host, broker.port, session=session, **options) as client,
        client.stream("t/#", qos=2) as first,
        client.stream("t/+", qos=2) as second,
    ):
        await client.publish("t/1", 5, 2)
        for stream in (first, second):
            message = await within(anext(stream))
            with pytest.raises(ValueError, match="several streams have it"):
                message.transaction(database)
            message.ack()


async def test_it_works_with_any_store(database):
    session = DurableSession(MemoryStore())
    script = is_acknowledged(with_message()).expect(DISCONNECT)
    async with script, client_of(script, session) as client:
        await client.subscribe("t", 2)
        message = await message_of(client)
        assert isinstance(message.ticket, AckTicket)
        assert await process(message, database)
        await end_of(client)
    assert values(database) == [5]
