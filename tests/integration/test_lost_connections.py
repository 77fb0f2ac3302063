"""Connections that break: the broker dies, stops, or prefers another client."""

import asyncio
import contextlib
import time

import pytest

import aiomqtt
from aiomqtt.testing import BROKER, CLIENT, FaultProxy
from tests.integration.programs import (
    SOON,
    client_of,
    nothing_more,
    payloads,
    start,
    stop,
    take,
    unique,
)


async def error_of(task: asyncio.Task[object]) -> aiomqtt.MqttError:
    """The error that a waiting task was told."""
    with pytest.raises(aiomqtt.MqttError) as caught:
        await asyncio.wait_for(task, SOON)
    return caught.value


# --- the broker dies -----------------------------------------------------------------


async def test_everybody_is_told_at_once(private_broker, version):
    broker = private_broker
    client = client_of(broker, version, timeout=300)
    async with client:
        await client.subscribe("some/topic")
        broker.pause()  # so that nobody gets an answer
        calls = [
            asyncio.create_task(call)
            for call in (
                client.publish("some/topic", b"", 1),
                client.publish("some/topic", b"", 2),
                *(client.publish("some/topic", b"", 1) for _ in range(50)),
                client.subscribe("another/topic"),
                client.unsubscribe("some/topic"),
            )
        ]
        iterators = [asyncio.ensure_future(anext(client.messages)) for _ in range(5)]
        await asyncio.sleep(0.01)
        broker.kill()
        for call in calls:
            assert "lost" in str(await error_of(call))
        for iterator in iterators:
            error = await error_of(iterator)
            assert str(error) == "Disconnected during message iteration"
            assert "lost" in str(error.__cause__)
        assert not client.is_connected()
        # And so is who comes later.
        with pytest.raises(aiomqtt.MqttError, match="not currently connected"):
            await client.publish("some/topic")
        with pytest.raises(aiomqtt.MqttError, match="not currently connected"):
            await client.subscribe("some/topic")
        with pytest.raises(aiomqtt.MqttError, match="Disconnected during"):
            await anext(client.messages)
    await start(broker)
    async with client:
        await client.subscribe("some/topic")
        await client.publish("some/topic", b"again", 1)
        (message,) = await take(client, 1)
        assert message.payload == b"again"


async def test_what_had_come_before_can_still_be_read(private_broker, version):
    async with client_of(private_broker, version) as client:
        await client.subscribe("some/topic")
        for number in range(3):
            await client.publish("some/topic", number)
        await client.publish("other/topic", b"", 2)  # all of them are here by now
        private_broker.kill()
        assert await payloads(client, 3) == [b"0", b"1", b"2"]
        with pytest.raises(aiomqtt.MqttError, match="Disconnected during"):
            await asyncio.wait_for(anext(client.messages), SOON)


async def test_leaving_just_after_the_broker_died(private_broker, version):
    """The loop has had no turn in which it could have noticed."""
    client = client_of(private_broker, version)
    async with client:
        private_broker.kill()
    await start(private_broker)
    async with client:
        await client.publish("some/topic", b"", 1)


async def test_publishing_just_after_the_broker_died(private_broker, version):
    client = client_of(private_broker, version)
    async with client:
        private_broker.kill()
        await client.publish("some/topic", b"nobody knows yet", 0)
        with pytest.raises(aiomqtt.MqttError):
            await client.publish("some/topic", b"", 1)


async def test_a_broker_that_is_not_there(private_broker, version):
    client = client_of(private_broker, version)
    await stop(private_broker)
    for _ in range(2):
        with pytest.raises(aiomqtt.MqttError) as caught:
            await client.__aenter__()
        assert private_broker.address in str(caught.value)
        if private_broker.transport == "tcp":
            assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    await start(private_broker)
    async with client:
        await client.publish("some/topic", b"", 1)


async def test_a_broker_that_is_shut_down(private_broker, version):
    async with client_of(private_broker, version) as client:
        await stop(private_broker)
        with pytest.raises(aiomqtt.MqttError, match="Disconnected during") as caught:
            await asyncio.wait_for(anext(client.messages), SOON)
        if caught.value.reason_code is not None:  # later ones say so, in 5.0
            assert caught.value.reason_code == 0x8B
            assert "Server shutting down" in str(caught.value.__cause__)
    await start(private_broker)


async def test_a_broker_that_does_not_answer_the_connect(private_broker, version):
    client = client_of(private_broker, version, timeout=0.2)
    private_broker.pause()
    for _ in range(2):
        with pytest.raises(aiomqtt.MqttError, match="Operation timed out"):
            await client.__aenter__()
    private_broker.resume()
    client.timeout = SOON
    async with client:
        await client.publish("some/topic", b"", 1)


@pytest.mark.parametrize("qos", [1, 2])
async def test_no_publish_is_lost_when_the_broker_dies_again_and_again(
    private_broker, version, qos
):
    """The network goes first, so that the broker acknowledges nothing unsaved."""
    broker = private_broker
    listener = client_of(broker, version, persistent=True, identifier="listener")
    async with listener:
        await listener.subscribe("numbers", 2)
    async with FaultProxy(broker.host, broker.port) as network:
        client = client_of(
            broker, version, persistent=True, identifier="numberer", port=network.port
        )
        client.pending_calls_threshold = 10_000
        published = 0
        for kill in range(3):
            async with client, client_of(broker, version) as saver:
                calls = []
                for _ in range(60):
                    calls.append(
                        asyncio.create_task(client.publish("numbers", published, qos))
                    )
                    published += 1
                    if len(calls) == 20 + 10 * kill:
                        await calls[0]
                        # What goes on is lost, one way or both.
                        if kill != 1:
                            network.black_hole(CLIENT)
                        if kill != 2:
                            network.black_hole(BROKER)
                        await asyncio.sleep(0)
                # mosquitto does not save for what is between PUBLISH and PUBREL at
                # QoS 2; for a retained message it saves everything. It reads a packet
                # of each client in turn, and up to two for each message in flight may
                # have been let through.
                for _ in range(2 * 20 + 2):
                    await saver.publish("saved", kill, 1, retain=True)
                broker.kill()
                network.reset()
                results = await asyncio.gather(*calls, return_exceptions=True)
                assert all(
                    result is None or isinstance(result, aiomqtt.MqttError)
                    for result in results
                )
                assert any(results), "there was nothing left to lose"
            network.resume()
            await start(broker)
        async with client:
            # These queue behind what is sent again.
            await client.publish("numbers", published, qos)
            published += 1
    expected = [str(number).encode() for number in range(published)]
    async with listener:
        received: list[bytes] = []
        while not received or received[-1] != expected[-1]:
            received += await payloads(listener, 1)
        await nothing_more(listener)
    if qos == 1:
        assert set(received) == set(expected)
        # In the order of the first time each of them came.
        assert list(dict.fromkeys(received)) == expected
    else:
        assert received == expected


@pytest.mark.parametrize("qos", [1, 2])
async def test_no_message_is_lost_on_the_way_here(private_broker, version, qos):
    """The receiving side: the connection breaks again and again, in the middle."""
    broker = private_broker
    count = 160
    async with FaultProxy(broker.host, broker.port) as network:
        client = client_of(
            broker, version, persistent=True, identifier="here", port=network.port
        )
        async with client:
            await client.subscribe("numbers", qos)
        async with client_of(broker, version) as publisher:
            publisher.pending_calls_threshold = 10_000
            async with asyncio.TaskGroup() as tasks:
                for number in range(count):
                    tasks.create_task(publisher.publish("numbers", number, qos))
        received: list[bytes] = []
        expected = [str(number).encode() for number in range(count)]
        for cut in range(100):
            with contextlib.suppress(aiomqtt.MqttError):
                async with client, asyncio.timeout(SOON):
                    enough = len(received) + 7
                    async for message in client.messages:
                        received.append(message.payload)
                        if received[-1] == expected[-1]:
                            break
                        if len(received) == enough and cut < 15:
                            if cut % 3:
                                network.black_hole(CLIENT)
                            if cut % 3 == 2:
                                network.black_hole(BROKER)
                            await asyncio.sleep(0)
                            network.reset()
            network.resume()
            if received and received[-1] == expected[-1]:
                break
        if qos == 2:
            assert received == expected
        else:
            assert list(dict.fromkeys(received)) == expected


# --- another client takes over --------------------------------------------------------


async def test_a_second_client_with_the_same_identifier_takes_over(broker, version):
    name = unique("same")
    async with client_of(broker, version, identifier=name) as first:
        waiting = asyncio.ensure_future(anext(first.messages))
        async with client_of(broker, version, identifier=name) as second:
            error = await error_of(waiting)
            assert str(error) == "Disconnected during message iteration"
            if error.reason_code is not None:  # later brokers say so, in 5.0
                assert error.reason_code == 0x8E
            assert not first.is_connected()
            with pytest.raises(aiomqtt.MqttError, match="not currently connected"):
                await first.publish("some/topic", b"", 1)
            topic = unique("taken")
            await second.subscribe(topic)
            await second.publish(topic, b"mine now")
            assert await payloads(second, 1) == [b"mine now"]


# --- the broker stops without a word --------------------------------------------------

KEEP_ALIVE = 1  # seconds
VERSIONS = (3, 4, 5)


async def test_a_silent_broker_is_noticed(private_broker):
    """Within 1.5 times the keep alive, whatever is being sent meanwhile.

    All of it in all versions at once, as it takes a while.
    """

    async def publish(client: aiomqtt.Client, busy: str) -> None:
        while True:
            await client.publish("some/topic", bytes(1000), 0, timeout=60)
            if busy != "flooding":
                await asyncio.sleep(0.05)

    async def notice(client: aiomqtt.Client, busy: str) -> None:
        publishing = None
        if busy != "idle":
            publishing = asyncio.create_task(publish(client, busy))
        error = await error_of(asyncio.ensure_future(anext(client.messages)))
        took = time.monotonic() - paused
        assert str(error) == "Disconnected during message iteration"
        assert error.reason_code == 0x8D
        if publishing is not None:
            await error_of(publishing)
        assert not client.is_connected()
        # The bound is 1.5 s; the rest is for a machine that is busy otherwise.
        assert took < 1.5 * KEEP_ALIVE + 5

    clients = {
        client_of(private_broker, version, keepalive=KEEP_ALIVE, timeout=60): busy
        for version in VERSIONS
        for busy in ("idle", "publishing now and then", "flooding")
    }
    async with contextlib.AsyncExitStack() as stack:
        for client in clients:
            await stack.enter_async_context(client)
            await client.publish("some/topic", b"", 1)
        private_broker.pause()
        paused = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for client, busy in clients.items():
                tasks.create_task(notice(client, busy))
    private_broker.resume()
    for client in clients:
        async with client:
            await client.publish("some/topic", b"", 1)


async def test_a_network_that_swallows_the_answers_is_noticed(broker):
    """Half open: what is sent arrives, and the broker sends, but nothing comes."""

    async def notice(version: int) -> None:
        async with FaultProxy(broker.host, broker.port) as network:
            client = client_of(
                broker, version, keepalive=KEEP_ALIVE, port=network.port, timeout=60
            )
            async with client:
                network.black_hole(BROKER)
                error = await error_of(asyncio.ensure_future(anext(client.messages)))
                assert error.reason_code == 0x8D
            network.resume()
            async with client:
                await client.publish("some/topic", b"", 1)

    async with asyncio.TaskGroup() as tasks:
        for version in VERSIONS:
            tasks.create_task(notice(version))


async def test_an_answering_broker_is_kept(broker):
    """Longer than the deadline, with nothing but pings."""

    async def stay(version: int) -> None:
        topic = unique("kept")
        async with client_of(broker, version, keepalive=KEEP_ALIVE) as client:
            await client.subscribe(topic)
            await asyncio.sleep(1.6)  # the ping at 0.9 s, its deadline at 1.4 s
            assert client.is_connected()
            await client.publish(topic, b"still here")
            assert await payloads(client, 1) == [b"still here"]

    async with asyncio.TaskGroup() as tasks:
        for version in VERSIONS:
            tasks.create_task(stay(version))
