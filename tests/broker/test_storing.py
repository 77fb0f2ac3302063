"""A broker with a store: what it has outlives its process."""

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest

import aiomqtt
from aiomqtt.broker import Broker
from aiomqtt.stores.base import SessionStoreError
from aiomqtt.stores.broker import Record, RetainedChanged, StoredBroker
from aiomqtt.stores.sqlite.broker_store import SQLiteStore
from aiomqtt.stores.sqlite.session_store import SQLiteSessionStore
from tests.broker.scenarios.line import DISCONNECT, PUBLISH
from tests.broker.scenarios.talker import Talker, dial
from tests.raw_scripts import turns, within
from tests.until import until

Connect: TypeAlias = Callable[..., Awaitable[Talker]]


class GatedStore:
    """A store whose commits wait for the test, or fail."""

    def __init__(self, store: SQLiteStore) -> None:
        self.store = store
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.records: list[Record] = []

    async def open(self) -> StoredBroker:
        return await self.store.open()

    async def commit(self, records: Sequence[Record]) -> None:
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.records += records
        await self.store.commit(records)

    async def close(self) -> None:
        await self.store.close()

    def abandon(self) -> None:
        self.store.abandon()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "broker.db"


@pytest.fixture
def store(path: Path) -> SQLiteStore:
    return SQLiteStore(path)


@pytest.fixture
async def connect(anyio_backend: Any) -> AsyncIterator[Connect]:
    """Connects a client, as `Talker.hello` does; it is closed after the test."""
    talkers: list[Talker] = []

    async def connect(
        broker: Broker, name: str, version: int, **arguments: Any
    ) -> Talker:
        talker = await dial(broker.host, broker.port, version)
        talkers.append(talker)
        await talker.hello(name, **arguments)
        return talker

    yield connect
    for talker in talkers:
        await talker.close()


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_sessions_and_retained_messages_outlive_a_broker(
    connect, store, path, version, end
):
    broker = Broker(store=store)
    async with broker:
        subscriber = await connect(broker, "subscriber", version, session=True)
        await subscriber.subscribe("t", qos=2)
        await subscriber.close()
        publisher = await connect(broker, "publisher", version, session=True)
        for qos in (1, 2):
            await publisher.publish("t", b"%d" % qos, qos)
        await publisher.publish("r", b"kept", 1, retain=True)
        await publisher.publish("forgotten", b"x", 1, retain=True)
        await publisher.publish("forgotten", b"", 1, retain=True)
        await publisher.close()
        if end == "kill":
            broker.kill()
    # Another process has only the file.
    async with Broker(store=SQLiteStore(path)) as other:
        assert other.sessions == {"subscriber", "publisher"}
        assert {k: one.payload for k, one in other.retained.items()} == {"r": b"kept"}
        subscriber = await connect(other, "subscriber", version, session=True)
        assert subscriber.connack is not None
        assert subscriber.connack.session_present == (version != 3)
        for qos in (1, 2):
            await subscriber.take("t", b"%d" % qos, qos)
        await subscriber.close()


async def test_a_broker_begins_again_with_what_is_stored(store):
    broker = Broker(store=store)
    async with broker:
        broker.publish("t", "kept", retain=True)
    # Nothing of it can change now.
    with pytest.raises(RuntimeError, match="not running"):
        broker.clear()
    async with broker:
        assert set(broker.retained) == {"t"}
        broker.clear()
    async with broker:
        assert set(broker.retained) == set()


async def test_nothing_is_acknowledged_before_it_is_stored(connect, store, version):
    gated = GatedStore(store)
    async with Broker(store=gated) as broker:
        subscriber = await connect(broker, "subscriber", version, session=True)
        await subscriber.subscribe("t", qos=1)
        publisher = await connect(broker, "publisher", version, session=True)
        gated.gate.clear()
        sending = asyncio.create_task(publisher.publish("t", b"x", 1))
        receiving = asyncio.create_task(subscriber.take("t", b"x", 1))
        # All that it does meanwhile waits, too.
        await asyncio.sleep(0.1)
        assert not sending.done()
        assert not receiving.done()
        gated.gate.set()
        await within(sending)
        await within(receiving)


async def test_the_end_of_a_connection_waits_for_what_was_written_before(
    connect, store, version
):
    gated = GatedStore(store)
    async with Broker(store=gated) as broker:
        talker = await connect(broker, "me", version, session=True)
        gated.gate.clear()
        broker.publish("t", "x", retain=True)
        await turns(3)
        assert broker.disconnect("me")
        await asyncio.sleep(0.05)
        gated.gate.set()
        if version == 5:
            await talker.expect(DISCONNECT, reason_code=0x98)
        await talker.expect_end()


async def test_stopping_stores_what_is_left(store, path):
    gated = GatedStore(store)
    broker = Broker(store=gated)
    await broker.start()
    gated.gate.clear()
    broker.publish("t", "x", retain=True)
    stopping = asyncio.create_task(broker.stop())
    await asyncio.sleep(0.05)
    assert not stopping.done()
    gated.gate.set()
    await within(stopping)
    async with Broker(store=SQLiteStore(path)) as other:
        assert set(other.retained) == {"t"}


async def test_a_broker_that_is_killed_loses_what_is_not_stored(store):
    gated = GatedStore(store)
    broker = Broker(store=gated)
    async with broker:
        broker.publish("stored", "x", retain=True)
        await until(lambda: len(gated.records) > 0)
        gated.gate.clear()
        broker.publish("waits", "x", retain=True)
        await turns(3)
        broker.publish("waits for that", "x", retain=True)
        broker.kill()
        gated.gate.set()
        await broker.start()
        assert set(broker.retained) == {"stored"}


async def test_a_store_that_fails_ends_the_service(connect, store, version, caplog):
    caplog.set_level(logging.ERROR)
    gated = GatedStore(store)
    broker = Broker(store=gated)
    async with broker:
        talker = await connect(broker, "me", version, session=True)
        serving = asyncio.create_task(broker.serve_forever())
        gated.error = SessionStoreError("broker.db: the disk is full: make room")
        talker.send(talker.publish_packet("t", b"x", 1, retain=True))
        # It gets no PUBACK.
        await talker.expect_end()
        with pytest.raises(SessionStoreError, match="the disk is full"):
            await within(serving)
        (record,) = caplog.records
        assert record.getMessage() == (
            "No client is served any more: broker.db: the disk is full: make room"
        )
        with pytest.raises(SessionStoreError, match="the disk is full"):
            broker.publish("t", "y")
        other = await dial(broker.host, broker.port, version)
        await other.expect_end()
        await other.close()
    gated.error = None
    async with broker:
        # What was not stored has never been there.
        assert dict(broker.retained) == {}
        await connect(broker, "other", version)


async def test_an_unexpected_error_of_a_store_is_explained(store):
    gated = GatedStore(store)
    async with Broker(store=gated) as broker:
        gated.error = KeyError("x")
        broker.publish("t", "x", retain=True)
        with pytest.raises(SessionStoreError, match="not be stored: KeyError"):
            await within(broker.serve_forever())


async def test_serving_ends_with_the_broker():
    broker = Broker()
    with pytest.raises(RuntimeError, match="not running"):
        await broker.serve_forever()
    async with broker:
        serving = asyncio.create_task(broker.serve_forever())
        cancelled = asyncio.create_task(broker.serve_forever())
        await turns(1)
        cancelled.cancel()
        await turns(2)
        assert cancelled.cancelled()
        assert not serving.done()
    await within(serving)


async def test_a_store_that_is_refused_leaves_a_broker_that_can_start(store, path):
    one, other = Broker(store=store), Broker(store=SQLiteStore(path))
    async with one:
        with pytest.raises(SessionStoreError, match="in use by"):
            await other.start()
        assert other.sessions == set()
    async with other:
        assert other.url


async def test_a_broker_that_can_not_listen_gives_the_store_back(store):
    async with Broker() as one:
        with pytest.raises(OSError, match="in use"):
            await Broker(one.host, one.port, store=store).start()
    async with Broker(store=store):
        pass


async def test_what_has_expired_meanwhile_is_gone(connect, store, path, version):
    async with Broker(store=store) as broker:
        properties = aiomqtt.Properties(message_expiry_interval=1)
        broker.publish("short", "x", retain=True, properties=properties)
        broker.publish("long", "x", retain=True)
        if version == 5:
            talker = await connect(broker, "me", 5, session_expiry_interval=1)
            await talker.close()
        # A client that is connected as the broker is killed.
        clean = await connect(broker, "clean", version)
        broker.kill()
        await clean.close()
    await asyncio.sleep(1.1)
    async with Broker(store=SQLiteStore(path)) as other:
        assert set(other.retained) == {"long"}
        await until(lambda: other.sessions == set())


async def test_a_will_is_published_after_a_crash(connect, store, path, version):
    async with Broker(store=store) as broker:
        watcher = await connect(broker, "watcher", version, session=True)
        await watcher.subscribe("gone", qos=1)
        await watcher.close()
        will = aiomqtt.Will("gone", b"x", 1)
        client = aiomqtt.Client(broker.host, broker.port, will=will)
        async with client:
            broker.kill()
            async with Broker(store=SQLiteStore(path)) as other:
                again = await connect(other, "watcher", version, session=True)
                await again.take("gone", b"x", 1)
                await again.close()


async def test_while_the_store_is_stuck_nothing_more_is_read(connect, store, version):
    gated = GatedStore(store)
    async with Broker(store=gated) as broker:
        publisher = await connect(broker, "publisher", version)
        gated.gate.clear()
        topics = {f"t/{number}" for number in range(50)}
        for topic in topics:
            publisher.send(
                publisher.publish_packet(topic, b"x" * 100_000, 0, retain=True)
            )
        connection_set = broker._running()
        await until(lambda: connection_set.is_paused)
        await asyncio.sleep(0.05)
        assert len(broker.retained) < 25
        # Who does not get its turn is not silent, and the program may pause, too.
        broker.pause()
        gated.gate.set()
        await asyncio.sleep(0.05)
        assert connection_set.is_paused
        broker.resume()
        await until(lambda: set(broker.retained) == topics)
        await until(lambda: not connection_set.is_paused)
        await publisher.close()


async def test_records_have_times_since_the_epoch(store):
    gated = GatedStore(store)
    async with Broker(store=gated) as broker:
        properties = aiomqtt.Properties(message_expiry_interval=1000)
        broker.publish("t", "x", retain=True, properties=properties)
        await until(lambda: len(gated.records) > 0)
        (record,) = gated.records
        assert isinstance(record, RetainedChanged)
        assert record.message is not None
        assert record.message.expires == pytest.approx(time.time() + 1000, abs=10)


@pytest.mark.parametrize(
    "store",
    [
        "broker.db",
        aiomqtt.SQLiteStore,
        aiomqtt.SQLiteSession("session.db"),
        SQLiteSessionStore("session.db"),
    ],
)
def test_what_is_no_store_of_a_broker_is_refused(store):
    with pytest.raises(TypeError, match="such as aiomqtt.SQLiteStore"):
        Broker(store=store)


async def test_a_broker_whose_stopping_was_cancelled_stores_nothing_more(
    connect, store, path
):
    broker = Broker(store=store)
    await broker.start()
    one = await connect(broker, "me", 5, session_expiry_interval=1)
    await one.goodbye()
    # It does not close its side.
    await connect(broker, "lingers", 5)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await broker.stop()
    async with broker:
        again = await connect(broker, "me", 5, session=True)
        await asyncio.sleep(1.2)
        assert broker.sessions == {"me"}
        await again.publish("t", b"x", 1)
        broker.kill()
    async with Broker(store=SQLiteStore(path)) as other:
        assert other.sessions == {"me"}


async def test_stopping_a_broker_that_starts_does_no_harm(connect, store, version):
    broker = Broker(store=store)
    starting = asyncio.create_task(broker.start())
    await asyncio.sleep(0)
    await broker.stop()
    await starting
    client = await connect(broker, "me", version, session=True)
    await client.publish("t", b"x", 1, retain=True)
    await broker.stop()


async def test_a_message_of_many_sessions_takes_memory_once(connect, store, path):
    async with Broker(store=store) as broker:
        for number in range(20):
            client = await connect(broker, f"{number}", 5, session=True)
            await client.subscribe("t", qos=1)
            await client.goodbye()
        broker.publish("t", b"x" * 100_000, 1)
        before = broker._running().state.memory.used
    async with Broker(store=SQLiteStore(path)) as other:
        assert other._running().state.memory.used < before + 10_000
        client = await connect(other, "7", 5, session=True)
        await client.take("t", b"x" * 100_000, 1)


async def test_what_a_closed_connection_sends_is_not_kept(connect, store):
    gated = GatedStore(store)
    async with Broker(store=gated) as broker:
        talker = await connect(broker, "me", 5)
        connection_set = broker._running()
        (protocol,) = connection_set.protocols
        gated.gate.clear()
        broker.publish("t", "x" * 2_000_000, retain=True)
        assert connection_set.is_paused
        broker.disconnect("me")
        talker.send_bytes(b"x" * 1_000_000)
        await asyncio.sleep(0.1)
        assert protocol._early == []
        gated.gate.set()
        await talker.expect(DISCONNECT)


async def test_a_broker_that_was_killed_reports_no_error(store, caplog):
    caplog.set_level(logging.ERROR)
    gated = GatedStore(store)
    broker = Broker(store=gated)
    await broker.start()
    gated.gate.clear()
    broker.publish("t", "x", retain=True)
    await turns(3)
    broker.kill()
    gated.error = OSError("closed")
    gated.gate.set()
    await turns(5)
    await broker.stop()
    assert not caplog.records


# Below 5.0 only the window is another one.
@pytest.mark.parametrize(
    ("version", "qos", "end"),
    [
        *itertools.product([5], [1, 2], ["stop", "kill"]),
        (4, 1, "stop"),
        (3, 2, "kill"),
    ],
)
async def test_the_rest_of_the_retained_messages_comes_after_a_restart(
    connect, store, path, version, qos, end
):
    """MQTT 5.0 §3.3.1.3, §4.1: they are messages of the session that are pending."""
    window = {"receive_maximum": 5} if version == 5 else {}
    # More than may be in flight: without a Receive Maximum, 100.
    payloads = [b"%d" % number for number in range(30 if version == 5 else 130)]
    broker = Broker(store=store)
    async with broker:
        for payload in payloads:
            topic = f"r/{payload.decode()}"
            broker.publish(topic, payload, qos, retain=True)
        # Its number is larger than those of the messages that are stored later.
        broker.publish("r/removed", b"x", qos, retain=True)
        one = await connect(broker, "me", version, session=True, **window)
        await one.subscribe("r/#", qos=2, identifier=7)
        received = [
            await one.take(f"r/{payload.decode()}", payload, qos, retain=True)
            for payload in payloads[:7]
        ]
        assert len(received) == 7
        await one.publish("r/removed", b"", 1, retain=True)
        if end == "kill":
            broker.kill()
        else:
            await one.close()
    again = Broker(store=SQLiteStore(path))
    async with again:
        # It reaches the session when it is published, not as one that was retained.
        again.publish("r/0", b"new", qos, retain=True)
        two = await connect(again, "me", version, session=True, **window)
        # What was on the way comes again, the others come once.
        expected = [*payloads[7:], b"", b"new"]
        found = []
        for _ in expected:
            packet = await two.expect(PUBLISH)
            found.append(packet.payload)
            assert packet.retain == (packet.payload not in (b"", b"new"))
            if version == 5:
                assert packet.properties.subscription_identifier == [7]
            await two.take_over(packet)
        assert sorted(found) == sorted(expected)
        await two.nothing()
        again.kill()
    async with Broker(store=SQLiteStore(path)) as last:
        three = await connect(last, "me", version, session=True, **window)
        await three.nothing()
