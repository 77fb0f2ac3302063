"""Durable sessions: nothing leaves before it is stored, and nothing stored is lost."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

import aiomqtt
from aiomqtt import Client, MqttError, Properties, Reconnect
from aiomqtt.client.durable_async import DurableSession
from aiomqtt.client.states import ConnectionState
from aiomqtt.protocol.changes import Change, ChangeKind
from aiomqtt.protocol.identifiers import RESERVED_AT_A_TIME
from aiomqtt.stores.base import SessionStoreError
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
    SUBACK,
    SUBSCRIBE,
    Script,
)
from tests.raw_scripts import turns, within


class GatedStore(MemoryStore):
    """A store that says when changes are stored, and may fail to."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.groups: list[list[str]] = []
        self.fails = False

    async def commit(self, changes: Sequence[Change]) -> None:
        self.groups.append([change.kind for change in changes])
        await self.gate.wait()
        if self.fails:
            msg = "the disk is full: make room"
            raise SessionStoreError(msg)
        await super().commit(changes)

    def kinds(self) -> list[str]:
        return [kind for group in self.groups for kind in group]


def killed(store: MemoryStore) -> MemoryStore:
    """What another process finds when the one that had the store was killed."""
    found = MemoryStore()
    assert store._state is not None
    found._state = store._read(store._state, 1 << 60).state
    found._receipts = {**store._receipts}
    found._changed_at = {**store._changed_at}
    return found


def expect_release(script: Script, first: int, last: int) -> None:
    """Have identifiers released that the process may have used before its end."""
    for packet_id in range(first, last + 1):
        script.expect(PUBREL, packet_id=packet_id).reply()


@pytest.fixture(params=[4, 5], ids=["3.1.1", "5.0"])
def level(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


@pytest.fixture(params=[False, True], ids=["once", "reconnects"])
def reconnects(request: pytest.FixtureRequest) -> bool:
    value: bool = request.param
    return value


def durable(
    script: Script, store: MemoryStore, level: int = 5, **options: Any
) -> Client:
    return Client(
        script.name,
        transport="memory",
        identifier="me",
        protocol=level,
        **{"session": DurableSession(store), **options},
    )


# --- what the broker sees ------------------------------------------


async def test_a_session_goes_on_in_another_process(level, reconnects):
    store = MemoryStore()
    script = Script()
    script.expect(CONNECT, client_id="me", clean_start=level == 5).reply(CONNACK)
    script.expect(SUBSCRIBE).reply()
    script.expect(PUBLISH, payload=b"1", qos=1, packet_id=2)
    script.expect(PUBLISH, payload=b"2", qos=2, packet_id=3).reply(PUBREC)
    script.expect(PUBREL, packet_id=3)
    script.expect(PUBLISH, payload=b"3", qos=2, packet_id=4)
    script.send(PUBLISH, topic="t", payload=b"in", qos=2, packet_id=9)
    script.expect(PUBREC, packet_id=9)
    script.call(lambda: saved.append(killed(store)))
    script.drop_connection()
    saved: list[MemoryStore] = []
    async with script:
        client = durable(script, store, level)
        with pytest.raises(MqttError):
            async with client:
                await client.subscribe("t", qos=2)
                for number, qos in ((1, 1), (2, 2), (3, 2)):
                    client.publish_nowait("a", str(number), qos)
                    await turns(20)
                assert (await within(anext(client.messages))).payload == b"in"
                await within(anext(client.messages))
    again = Script()
    again.expect(CONNECT, client_id="me", clean_start=False)
    again.reply(CONNACK, session_present=True)
    last = 2 + RESERVED_AT_A_TIME
    expect_release(again, 5, last)
    again.expect(PUBREL, packet_id=3).reply()
    again.expect(PUBLISH, payload=b"1", packet_id=2, dup=True).reply()
    again.expect(PUBLISH, payload=b"3", packet_id=4, dup=True).reply()
    again.expect(PUBREL, packet_id=4).reply()
    # It came, and was delivered, before the process was killed.
    again.send(PUBLISH, topic="t", payload=b"in", qos=2, packet_id=9, dup=True)
    again.expect(PUBREC, packet_id=9).reply()
    again.expect(PUBCOMP, packet_id=9)
    again.send(PUBLISH, topic="t", payload=b"new", qos=0)
    # No identifier is used again before its time.
    again.expect(PUBLISH, payload=b"4", packet_id=last + 1).reply()
    again.expect(DISCONNECT)
    async with again:
        client = durable(again, saved[0], level, reconnect=reconnects)
        async with client:
            assert (await within(anext(client.messages))).payload == b"new"
            await within(client.publish("a", "4", 1))
        state = saved[0]._state
        assert state is not None
        assert not state.deliveries
        assert not state.received
        assert [*state.subscriptions] == ["t"]


async def test_nothing_leaves_before_it_is_stored(level):
    store, goes_on = GatedStore(), asyncio.Event()
    script = Script()
    script.expect(CONNECT).reply(CONNACK)
    script.expect(PUBLISH, payload=b"1").call(lambda: came.append("PUBLISH")).reply()
    script.call(goes_on.wait)
    script.send(PUBLISH, topic="t", payload=b"in", qos=2, packet_id=9)
    script.expect(PUBREC).call(lambda: came.append("PUBREC"))
    script.expect(DISCONNECT)
    came: list[str] = []
    async with script, durable(script, store, level) as client:
        await turns(10)
        store.gate.clear()
        publishing = asyncio.create_task(client.publish("a", "1", 1))
        await asyncio.sleep(0.05)
        assert not came
        store.gate.set()
        await within(publishing)
        assert came == ["PUBLISH"]
        store.gate.clear()
        goes_on.set()
        message = asyncio.create_task(anext(client.messages))
        await asyncio.sleep(0.05)
        assert came == ["PUBLISH"]
        assert not message.done()
        store.gate.set()
        assert (await within(message)).payload == b"in"
        await turns(10)
        assert came == ["PUBLISH", "PUBREC"]


async def test_what_comes_while_changes_are_stored_is_one_group():
    store = GatedStore()
    script = Script()
    script.expect(CONNECT).reply(CONNACK)
    for _ in range(5):
        script.expect(PUBLISH)
    script.expect(DISCONNECT)
    async with script, durable(script, store) as client:
        await turns(10)
        before = len(store.groups)
        store.gate.clear()
        for number in range(5):
            client.publish_nowait("a", number, 1)
            await turns(3)
        store.gate.set()
        await turns(20)
        groups = store.groups[before:]
        assert groups == [["added"], ["added"] * 4]
        client._calls.set_timeout(0.1)  # type: ignore[union-attr]


async def test_a_disk_that_is_stuck_does_not_fill_the_memory(level):
    """Publishers wait, and reading pauses, until it goes on."""
    store = GatedStore()
    payload = bytes(10_000)
    count = 1000
    arrived = 0
    async with aiomqtt.Broker(port=0) as broker:
        host, port = broker.host, broker.port
        options: dict[str, Any] = {"identifier": "me", "protocol": level}
        client = Client(host, port, session=DurableSession(store), **options)
        async with Client(host, port) as other, client:
            await other.subscribe("out")
            await client.subscribe("in")
            store.gate.clear()
            waiting = asyncio.create_task(client.publish("x", "1", 1))
            await turns(5)

            async def publish(publisher: Client, topic: str) -> None:
                for _ in range(count):
                    await publisher.publish(topic, payload, timeout=60)

            async def receive(receiver: Client) -> None:
                nonlocal arrived
                for _ in range(count):
                    await anext(receiver.messages)
                    arrived += 1

            ours = asyncio.create_task(publish(client, "out"))
            theirs = asyncio.create_task(publish(other, "in"))
            receiving = [asyncio.create_task(receive(one)) for one in (client, other)]
            await asyncio.sleep(0.3)
            driver = client._calls.driver  # type: ignore[union-attr]
            held = driver._held
            assert held is not None
            assert held.bytes.size < 3 * 1024 * 1024
            assert not ours.done()
            assert driver.reading.is_paused
            assert not arrived
            store.gate.set()
            await within(asyncio.gather(waiting, ours, theirs, *receiving))
            assert held.bytes.size == 0


async def test_leaving_stores_everything_first():
    store = GatedStore()
    script = Script()
    script.expect(CONNECT).reply(CONNACK)
    script.expect(PUBLISH).reply()
    script.expect(DISCONNECT)
    async with script:
        async with durable(script, store) as client:
            client.publish_nowait("a", "1", 1)
        assert store.kinds()[-2:] == ["added", "ended"]
        assert not store._is_open


# --- a store that fails ------------------------------------------


async def test_a_store_that_fails_ends_the_client(level, reconnects):
    store = GatedStore()
    script = Script()
    script.expect(CONNECT).reply(CONNACK)
    script.expect(PUBLISH, payload=b"kept")
    # No second PUBLISH, and no DISCONNECT.
    script.expect_end()
    script.expect(CONNECT, clean_start=False).reply(CONNACK, session_present=True)
    script.expect(PUBLISH, payload=b"kept", dup=True).reply()
    script.expect(DISCONNECT)
    async with script:
        client = durable(script, store, level, reconnect=reconnects)
        async with client:
            receipt = client.publish_nowait("a", "kept", 1)
            waiting = asyncio.create_task(anext(client.messages))
            await turns(20)
            store.fails = True
            with pytest.raises(SessionStoreError, match="full: make room") as caught:
                await within(client.publish("a", "lost", 1))
            assert not caught.value.is_in_session
            with pytest.raises(MqttError) as ended:
                await within(waiting)
            assert isinstance(ended.value.__cause__, SessionStoreError)
            with pytest.raises(MqttError):
                await within(client.publish("a", "refused", 1))
            with pytest.raises(MqttError):
                await within(receipt)
            if reconnects:
                assert client.state is ConnectionState.STOPPED
        store.fails = False
        async with client:
            await turns(20)
        assert store._state is not None
        assert not store._state.deliveries


async def test_a_connection_that_can_not_be_stored_is_not_accepted(reconnects):
    store = GatedStore()
    store.fails = True
    script = Script()
    script.expect(CONNECT).reply(CONNACK).expect_end()
    script.expect(CONNECT, clean_start=True).reply(CONNACK).expect(DISCONNECT)
    async with script:
        client = durable(script, store, reconnect=reconnects)
        with pytest.raises(SessionStoreError, match="full"):
            await within(client.__aenter__())
        assert not store._is_open
        store.fails = False
        async with client:
            pass


async def test_a_message_that_waits_for_a_connection_is_stored_or_refused():
    store = GatedStore()
    script = Script()
    script.expect(CONNECT).reply(CONNACK).wait(0.05).drop_connection()
    async with script:
        reconnect = aiomqtt.Reconnect(min_delay=60)
        client = durable(script, store, reconnect=reconnect, offline="queue")
        async with client:
            states = client.states()
            while (await within(anext(states))).state is not ConnectionState.WAITING:
                pass
            await within(client.publish("a", "kept", 1))
            store.fails = True
            with pytest.raises(SessionStoreError, match="full"):
                await within(client.publish("a", "lost", 1))
            assert client.state is ConnectionState.STOPPED
    again = Script()
    again.expect(CONNECT).reply(CONNACK)
    again.expect(PUBLISH, payload=b"kept", dup=False).reply().expect(DISCONNECT)
    async with again, durable(again, killed(store)):
        await turns(20)


async def test_the_limits_of_the_queue_hold_after_a_restart(level):
    store = MemoryStore()
    rules = {"reconnect": aiomqtt.Reconnect(min_delay=60), "offline": "queue"}
    script = Script()
    script.expect(CONNECT).reply(CONNACK).wait(0.05).drop_connection()
    async with script, durable(script, store, level, **rules) as client:
        states = client.states()
        while (await within(anext(states))).state is not ConnectionState.WAITING:
            pass
        for number in range(5):
            await within(client.publish("a", str(number), 1, id=str(number)))
    queue = aiomqtt.OfflineQueue(max_messages=3, max_age=0.1, overflow="drop_oldest")
    script = Script()
    goes_on = asyncio.Event()
    script.expect(CONNECT).call(goes_on.wait).reply(CONNACK).expect(DISCONNECT)
    store = killed(store)
    session = DurableSession(store)
    async with script:
        client = durable(
            script, store, level, session=session, reconnect=True, offline=queue
        )
        entering = asyncio.create_task(client.__aenter__())
        await asyncio.sleep(0.3)
        goes_on.set()
        await within(entering)
        states_of = {one.id: one.state for one in await session.receipts()}
        assert states_of == {str(number): "dropped" for number in range(5)}
        await client.__aexit__(None, None, None)


# --- who may use it ------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"identifier": None}, "needs an identifier"),
        ({"clean_start": True}, "clean_start=True"),
        ({"properties": Properties(session_expiry_interval=0)}, "above 0"),
        ({"protocol": 4, "clean_session": True}, "clean_session=True"),
    ],
)
def test_a_session_that_would_not_last_is_refused(options, words):
    given = {"identifier": "me", "protocol": 5, **options}
    with pytest.raises(ValueError, match=words):
        Client("host", session=DurableSession(MemoryStore()), **given)


def test_a_session_is_a_session():
    with pytest.raises(TypeError, match="session must be DurableSession or None"):
        Client("host", identifier="me", session="file")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="store must be a SessionStore, not str"):
        DurableSession("file")  # type: ignore[arg-type]


async def test_a_session_has_one_client_at_a_time():
    session = DurableSession(MemoryStore())
    with pytest.raises(SessionStoreError, match="not open"):
        await session.receipts()
    script = Script()
    script.expect(CONNECT, session_expiry_interval=0xFFFFFFFF).reply(CONNACK)
    script.expect(DISCONNECT)
    options: dict[str, Any] = {"identifier": "me", "protocol": 5, "session": session}
    async with script, Client(script.name, transport="memory", **options):
        assert await session.receipts() == []
        other = Client(script.name, transport="memory", **options)
        with pytest.raises(SessionStoreError, match="another client"):
            await other.__aenter__()
        # Nothing of it is left.
        assert other.state is ConnectionState.LEFT


async def test_what_is_known_of_a_session_is_read_again_if_another_one_had_it():
    store = MemoryStore()
    first, second = Script(), Script()
    for script in (first, second):
        script.expect(CONNECT).reply(CONNACK, session_present=script is second)
        script.expect(SUBSCRIBE).reply(SUBACK).expect(DISCONNECT)
    third = Script()
    third.expect(CONNECT).reply(CONNACK, session_present=True).expect(DISCONNECT)
    one, other = (Client("x", transport="memory") for _ in range(2))
    async with first:
        one = durable(first, store)
        async with one:
            await one.subscribe("a", 1)
    async with second:
        other = durable(second, store)
        async with other:
            await other.subscribe("b", 1)
    async with third:
        one._addresses = durable(third, store)._addresses
        async with one:
            assert [*one._engine.session.subscriptions] == ["a", "b"]


async def test_subscriptions_and_acknowledgements_are_stored(level):
    store = GatedStore()
    script = Script()
    script.expect(CONNECT).reply(CONNACK)
    script.expect(SUBSCRIBE).reply()
    script.send(PUBLISH, topic="t", qos=1, packet_id=8)
    script.send(PUBLISH, topic="t", qos=2, packet_id=9)
    script.expect(PUBACK).expect(PUBREC).reply().expect(PUBCOMP).expect(DISCONNECT)
    async with script, durable(script, store, level, ack="manual") as client:
        await client.subscribe("t", 2)
        messages = [await within(anext(client.messages)) for _ in range(2)]
        assert ChangeKind.RECEIVED not in store.kinds()
        for message in messages:
            message.ack()
        await turns(30)
        kinds = store.kinds()
        assert kinds.index("received") < kinds.index("completed")
        assert "subscribed" in kinds


@pytest.mark.parametrize("is_interrupted", [False, True])
async def test_subscriptions_that_the_broker_lost_are_restored(
    level, reconnects, is_interrupted
):
    """Also if the process is killed before the broker has answered."""
    store = MemoryStore()
    script = Script()
    script.expect(CONNECT).reply(CONNACK).expect(SUBSCRIBE).reply().expect(DISCONNECT)
    async with script, durable(script, store, level) as client:
        await client.subscribe("t", 1)
    script = Script()
    script.expect(CONNECT, clean_start=False).reply(CONNACK).expect(SUBSCRIBE)
    saved: list[MemoryStore] = []
    script.call(lambda: saved.append(killed(store)))
    script.reply().expect(DISCONNECT)
    async with script, durable(script, store, level, reconnect=reconnects):
        await asyncio.sleep(0.05)
    script = Script()
    script.expect(CONNECT).reply(CONNACK, session_present=True)
    if is_interrupted:
        script.expect(SUBSCRIBE, filters=["t"]).reply()
    script.expect(DISCONNECT)
    store = saved[0] if is_interrupted else store
    async with script, durable(script, store, level, reconnect=reconnects):
        await asyncio.sleep(0.05)


def test_an_event_loop_that_is_closed_meanwhile(tmp_path):
    """The client, and its file, can be used in the next one."""
    session = aiomqtt.SQLiteSession(tmp_path / "session.db")

    async def use(leave: bool) -> list[str]:
        async with aiomqtt.Broker(port=0) as broker:
            client._addresses = Client(broker.host, broker.port)._addresses
            await client.__aenter__()
            await client.publish("a", "1", 1, id="one")
            receipts = [receipt.id for receipt in await session.receipts()]
            if leave:
                await client.__aexit__(None, None, None)
            return receipts

    client = Client("x", identifier="me", session=session)
    for leave in (False, True):
        assert asyncio.run(use(leave)) == ["one"]


# --- receipts ---------------------------------------------------------------------


async def test_receipts_outlive_the_process():
    store = MemoryStore()
    saved: list[MemoryStore] = []
    script = Script()
    script.expect(CONNECT).reply(CONNACK)
    script.expect(PUBLISH, payload=b"1").reply()
    script.expect(PUBLISH, payload=b"2").reply(PUBACK, reason_code=0x97)
    script.expect(PUBLISH, payload=b"3").call(lambda: saved.append(killed(store)))
    script.drop_connection()
    async with script:
        session = DurableSession(store)
        client = durable(script, store, session=session)
        with pytest.raises(MqttError):
            async with client:
                await within(client.publish("a", "1", 1, id="one"))
                with pytest.raises(aiomqtt.MqttCodeError):
                    await within(client.publish("a", "2", 1, id="two"))
                client.publish_nowait("a", "3", 2, id="three")
                with pytest.raises(ValueError, match="'three' belongs to a message"):
                    await client.publish("a", "3", 2, id="three")
                receipts = await session.receipts()
                assert [one.id for one in receipts] == ["one", "two", "three"]
                await within(anext(client.messages))
    again = Script()
    again.expect(CONNECT).reply(CONNACK, session_present=True)
    expect_release(again, 4, 2 + RESERVED_AT_A_TIME)
    goes_on = asyncio.Event()
    again.expect(PUBLISH, payload=b"3", dup=True).call(goes_on.wait).reply().expect(
        PUBREL
    ).reply()
    again.expect(PUBLISH, payload=b"4").reply()
    again.expect(DISCONNECT)
    async with again:
        session = DurableSession(saved[0])
        async with durable(again, saved[0], session=session) as client:
            found = {one.id: one for one in await session.receipts()}
            assert found["one"].state == "acknowledged"
            assert (found["two"].state, found["two"].reason_code) == ("refused", 0x97)
            assert found["three"].state == "in flight"
            assert await session.receipt("four") is None
            goes_on.set()
            while (three := await session.receipt("three")) is not None:
                if three.state == "acknowledged":
                    break
                await turns(1)
            await within(client.publish("a", "4", 1, id="four"))


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"id": "x"}, ValueError, "QoS 1 or 2"),
        ({"id": "", "qos": 1}, ValueError, "must not be empty"),
        ({"id": 5, "qos": 1}, TypeError, "id must be str"),
    ],
)
async def test_an_id_that_makes_no_sense_is_refused(options, kind, words):
    script = Script()
    script.expect(CONNECT).reply(CONNACK).expect(DISCONNECT)
    async with script, durable(script, MemoryStore()) as client:
        with pytest.raises(kind, match=words):
            await client.publish("a", "1", **options)
        with pytest.raises(kind, match=words):
            client.publish_nowait("a", "1", **options)


async def test_an_id_needs_a_store():
    script = Script()
    script.expect(CONNECT).reply(CONNACK).expect(DISCONNECT)
    async with script, Client(script.name, transport="memory") as client:
        with pytest.raises(ValueError, match="pass session="):
            await client.publish("a", "1", 1, id="x")


async def test_of_two_calls_that_wait_with_one_id_the_second_is_refused():
    script = Script().expect(CONNECT).reply(CONNACK).expect(PUBLISH).drop_connection()
    script.expect(CONNECT).reply(CONNACK).expect(PUBLISH, payload=b"1").reply()
    script.expect(DISCONNECT)
    rules = Reconnect(min_delay=0.05, max_delay=0.05)
    async with script, durable(script, MemoryStore(), reconnect=rules) as client:
        await client.publish("last")
        while client.is_connected():
            await turns(1)
        calls = [client.publish("a", str(one), 1, id="x") for one in (1, 2)]
        results = await within(asyncio.gather(*calls, return_exceptions=True))
        assert results[0] is None
        assert isinstance(results[1], ValueError)
