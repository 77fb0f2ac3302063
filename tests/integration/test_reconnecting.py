"""Needs 1, 5, 12, 17, 19, 20 and 21 of a client that reconnects, on real brokers."""

import asyncio
import math

import pytest

import aiomqtt
from aiomqtt import ConnectionState, Reconnect
from aiomqtt.testing import BROKER, FaultProxy
from tests.integration.programs import (
    SOON,
    client_of,
    payloads,
    start,
    stop,
    unique,
)
from tests.integration.reconnecting import new_client
from tests.ports import free_port

CONNECTED, STOPPED = ConnectionState.CONNECTED, ConnectionState.STOPPED


async def reached(
    client: aiomqtt.Client, *states: ConnectionState
) -> aiomqtt.StateChange:
    """Wait for the next change to one of these states."""
    async with asyncio.timeout(3 * SOON):
        async for change in client.states():
            if change.state in states:
                return change
    pytest.fail("the client was left")


# --- need 1: one `async with` ---------------------------------------------------------


async def test_need_1_one_loop_outlives_three_deaths_of_the_broker(
    private_broker, version
):
    broker = private_broker
    client = new_client(broker, version, persistent=True, identifier="listener")
    received = []
    is_complete = asyncio.Event()

    async def listen():
        async for message in client.messages:
            received.append(message.payload)
            if message.payload == b"3":
                is_complete.set()

    async with client, new_client(broker, version) as publisher:
        await client.subscribe("numbers", 1)
        listening = asyncio.ensure_future(listen())
        for number in range(4):
            await publisher.publish("numbers", number, 1, timeout=3 * SOON)
            while str(number).encode() not in received:
                assert not listening.done()
                await asyncio.sleep(0.01)
            if number < 3:
                if number % 2:
                    await stop(broker)
                else:
                    broker.kill()
                await reached(client, ConnectionState.WAITING)
                await start(broker)
        await asyncio.wait_for(is_complete.wait(), SOON)
    # At least once: the broker may have died before it read an acknowledgement.
    assert list(dict.fromkeys(received)) == [b"0", b"1", b"2", b"3"]
    with pytest.raises(aiomqtt.MqttError, match="Disconnected during"):
        await listening


async def test_need_1_a_broker_that_has_forgotten_everything(start_broker, version):
    """Without a session, the client subscribes again before it sends anything."""
    broker = await start_broker()
    async with new_client(broker, version) as client:
        await client.subscribe([("some/topic", 1), ("other/+", 0)])
        for number in range(3):
            broker.kill()
            await reached(client, ConnectionState.WAITING)
            await start(broker)
            # It is published after the subscriptions, and so comes back.
            await client.publish("some/topic", number, 1, timeout=3 * SOON)
            assert await payloads(client, 1) == [str(number).encode()]


# --- need 5: entered again after any failure ------------------------------------------


async def test_need_5_entering_again_after_each_failure(start_broker):
    version = 5
    broker = await start_broker(passwords=True)
    host = broker.host
    failures = [
        # The DNS, a refused connection, no CONNACK, and a CONNACK that refuses.
        aiomqtt.Client("no-such-host.invalid", reconnect=True),
        aiomqtt.Client(host, free_port(), reconnect=True),
        new_client(broker, version, timeout=0.2, username="u", password="p"),
        new_client(broker, version, username="u", password="wrong"),
    ]
    for number, client in enumerate(failures):
        for _ in range(2):
            if number == 2:
                broker.pause()
            with pytest.raises(aiomqtt.MqttError) as caught:
                await asyncio.wait_for(client.__aenter__(), SOON)
            broker.resume()
            assert client.state == ConnectionState.LEFT
        if number == 3:
            assert caught.value.reason_code in (0x86, 0x87)
            client.set_credentials("u", "p")
        if number >= 2:
            client.timeout = 10
            async with client:
                await client.publish("t", b"", 1)


# --- need 12: half-open connections ---------------------------------------------------


async def test_need_12_a_half_open_connection_is_replaced(private_broker):
    """What comes from the broker is swallowed: the keep alive notices it."""
    broker = private_broker
    async with FaultProxy(broker.host, broker.port) as network:
        client = new_client(broker, 5, port=network.port, keepalive=1, timeout=60)
        async with client:
            await client.subscribe("t", 1)
            network.black_hole(BROKER)
            publishing = asyncio.ensure_future(client.publish("t", b"arrives", 1))
            change = await reached(client, ConnectionState.WAITING)
            assert change.cause is not None
            assert change.cause.reason_code == 0x8D
            network.resume()
            await asyncio.wait_for(publishing, 3 * SOON)
            assert await payloads(client, 1) == [b"arrives"]


# --- needs 17, 19 and 20: the reason, fresh credentials, no storm ---------------------


async def test_need_20_a_wrong_password_raises(password_broker, version):
    broker = password_broker
    # Also where it would wait for a broker that is not there.
    rules = Reconnect(min_delay=0.01, max_delay=0.05, initial=True)
    client = new_client(broker, version, rules=rules, username="u", password="wrong")
    with pytest.raises(aiomqtt.MqttConnectError) as caught:
        await asyncio.wait_for(client.__aenter__(), SOON)
    assert caught.value.reason_code in (0x86, 0x87)


@pytest.mark.parametrize("version", [4, 5])
async def test_need_19_and_20_credentials_are_asked_for_and_may_expire(
    start_broker, version
):
    """One call for each CONNECT; a wrong one ends the client with its reason."""
    broker = await start_broker(passwords=True)
    password, asked = "p", 0

    async def credentials():
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return "u", password

    async with new_client(broker, version, credentials=credentials) as client:
        await client.subscribe("t")
        broker.kill()
        await reached(client, ConnectionState.WAITING)
        await start(broker)
        await reached(client, CONNECTED)
        assert asked > 1
        password = "wrong"
        broker.kill()
        await reached(client, ConnectionState.WAITING)
        calls = [
            asyncio.ensure_future(call)
            for call in (
                anext(client.messages),
                client.publish("t", b"", 1),
                client.subscribe("other"),
            )
        ]
        await asyncio.sleep(0)
        await start(broker)
        for call in calls:
            with pytest.raises(aiomqtt.MqttError) as caught:
                await asyncio.wait_for(call, 3 * SOON)
            # Need 17: each of them says why.
            assert caught.value.reason_code in (0x86, 0x87)
        assert client.state == STOPPED


async def test_need_20_in_5_a_client_that_was_taken_over_stays_away(own_broker):
    name = unique("same")
    async with (
        new_client(own_broker, 5, identifier=name) as first,
        new_client(own_broker, 5, identifier=name) as second,
    ):
        change = await reached(first, STOPPED)
        assert change.cause is not None
        assert change.cause.reason_code == 0x8E
        await second.publish("t", b"", 1)
        assert second.state == CONNECTED


@pytest.mark.parametrize("version", [4, 5])
async def test_need_20_two_clients_with_one_identifier_make_no_storm(
    broker, version, monkeypatch
):
    """Below 5.0 nobody tells them: they take turns, at growing intervals."""
    # The delays are the bounds.
    monkeypatch.setattr("random.random", lambda: 1.0)
    name = unique("same")
    rules = Reconnect(min_delay=0.01, max_delay=0.16, takeover="retry")
    expected = [0.01, 0.02, 0.04, 0.08, 0.16, 0.16]

    async def delays(client):
        found = []
        async for change in client.states():
            if change.delay is not None:
                found.append(change.delay)
                if len(found) == len(expected):
                    break
        return found

    clients = [
        new_client(broker, version, rules=rules, identifier=name) for _ in range(2)
    ]
    async with clients[0], clients[1]:
        found = await asyncio.wait_for(asyncio.gather(*map(delays, clients)), 3 * SOON)
    assert found == [expected, expected]


# --- need 21: leaving -----------------------------------------------------------------


@pytest.mark.parametrize("version", [4, 5])
async def test_need_21_a_clean_exit_flushes_and_discards_the_will(broker, version):
    topic = unique("flushed")
    async with client_of(broker, version) as listener:
        await listener.subscribe([(f"{topic}/#", 1)])
        will = aiomqtt.Will(f"{topic}/will", b"gone", 1)
        async with new_client(broker, version, will=will) as client:
            for number in range(50):
                client.publish_nowait(f"{topic}/numbers", number, 1)
        assert await payloads(listener, 50) == [str(n).encode() for n in range(50)]
        # The broker publishes the will for each connection that is lost, and for no
        # other.
        async with FaultProxy(broker.host, broker.port) as network:
            async with new_client(broker, version, will=will, port=network.port) as one:
                network.reset()
                assert await payloads(listener, 1) == [b"gone"]
                await one.publish(f"{topic}/again", b"again", 1)
            await listener.publish(f"{topic}/end", b"end", 1)
            assert await payloads(listener, 2) == [b"again", b"end"]


async def test_need_21_leaving_while_the_broker_is_away_returns_at_once(
    private_broker,
):
    rules = Reconnect(min_delay=3600, max_delay=3600)
    client = new_client(private_broker, 5, rules=rules, timeout=math.inf)
    async with client:
        private_broker.kill()
        await reached(client, ConnectionState.WAITING)
        publishing = asyncio.ensure_future(client.publish("t", b"", 1))
        await asyncio.sleep(0)
    with pytest.raises(aiomqtt.MqttError):
        await asyncio.wait_for(publishing, SOON)
    await start(private_broker)
    async with client:
        await client.publish("t", b"", 1)
