"""Every statement of "Connecting to the broker", the page this project grew from.

Each docstring quotes the statement that its test holds.
"""

import asyncio
import inspect
import re

import pytest

import aiomqtt
from aiomqtt.testing import BROKER, CLIENT, FaultProxy
from tests.integration.programs import (
    client_of,
    nothing_more,
    payloads,
    take,
    unique,
    until_logged,
)
from tests.peer import RawPeer


@pytest.fixture(params=[3, 4], ids=["3.1", "3.1.1"])
def version(request: pytest.FixtureRequest) -> int:
    """The versions that have a clean session flag; 5.0 is in test_versions.py."""
    level: int = request.param
    return level


# --- connecting ----------------------------------------------------------------


async def test_publish_and_subscribe_need_a_connection(broker):
    """ "To publish messages and subscribe to topics, we first need to connect" """
    client = client_of(broker)
    with pytest.raises(aiomqtt.MqttError, match="not currently connected"):
        await client.publish("temperature/outside", payload=28.4)
    with pytest.raises(aiomqtt.MqttError, match="not currently connected"):
        await client.subscribe("temperature/#")
    async with client:
        await client.subscribe("temperature/#")
        await client.publish("temperature/outside", payload=28.4)
        assert await payloads(client, 1) == [b"28.4"]


async def test_the_minimal_working_example(broker):
    """ "connects to a broker and then publishes a message" """
    async with client_of(broker) as listener:
        await listener.subscribe("temperature/outside")
        async with aiomqtt.Client(broker.host, broker.port) as client:
            await client.publish("temperature/outside", payload=28.4)
        (message,) = await take(listener, 1)
    assert message.topic.matches("temperature/outside")
    assert message.payload == b"28.4"
    assert (message.qos, message.retain) == (0, False)


async def test_the_context_manager_connects_and_disconnects(broker):
    """ "connects to the broker when we enter ... disconnects when we exit it" """
    name = unique("managed")
    client = client_of(broker, identifier=name)
    assert not client.is_connected()
    assert f"as {name} " not in broker.log
    async with client as entered:
        assert entered is client
        assert client.is_connected()
        assert f"as {name} " in broker.log
    assert not client.is_connected()
    await until_logged(broker, f"Received DISCONNECT from {name}")


async def test_the_context_manager_disconnects_on_an_exception(broker):
    """ "teardown logic is always executed -- even in case of an exception" """
    name = unique("exception")
    client = client_of(broker, identifier=name)
    with pytest.raises(ZeroDivisionError):
        async with client:
            _ = 1 / 0
    assert not client.is_connected()
    await until_logged(broker, f"Received DISCONNECT from {name}")


async def test_the_context_manager_disconnects_on_cancellation(broker):
    """ "teardown logic is always executed -- even in case of an exception" """
    name = unique("cancelled")
    client = client_of(broker, identifier=name)
    inside = asyncio.Event()

    async def program() -> None:
        async with client:
            inside.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(program())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not client.is_connected()
    await until_logged(broker, f"Received DISCONNECT from {name}")


async def test_entering_and_leaving_by_hand(broker):
    """ "use the client's `__aenter__` and `__aexit__` methods manually" """
    name = unique("by-hand")
    client = client_of(broker, identifier=name)
    assert await client.__aenter__() is client
    try:
        await client.publish("temperature/outside", payload=28.4)
    finally:
        await client.__aexit__(None, None, None)
    assert not client.is_connected()
    await until_logged(broker, f"Received DISCONNECT from {name}")


async def test_leaving_by_hand_after_an_exception(broker):
    """ "ensure that `___aexit___` is also called in case of an exception" """
    name = unique("by-hand")
    client = client_of(broker, identifier=name)
    await client.__aenter__()
    try:
        _ = 1 / 0
    except ZeroDivisionError as error:
        await client.__aexit__(type(error), error, error.__traceback__)
    assert not client.is_connected()
    await until_logged(broker, f"Received DISCONNECT from {name}")
    async with client:  # nothing is left that would be in the way
        await client.publish("temperature/outside", payload=28.4)


async def test_no_credentials_are_needed_where_the_broker_wants_none(broker):
    """ "You can connect to this broker without any credentials." """
    name = unique("anonymous")
    async with client_of(broker, identifier=name):
        # mosquitto adds `u'NAME'` for who has a user name.
        assert re.search(rf"as {name} \(p2, c1, k60\)\.", broker.log)


def test_the_reference_lists_every_argument_of_the_client():
    """ "For a list of all available arguments to the client, see the API reference" """
    documented = inspect.getdoc(aiomqtt.Client) or ""
    arguments = set(inspect.signature(aiomqtt.Client).parameters)
    assert arguments == set(re.findall(r"^    (\w+): ", documented, re.MULTILINE)) - {
        # Its attributes and errors are listed in the same way.
        *("pending_calls_threshold", "ValueError", "TypeError", "NotImplementedError"),
    }


# --- sharing the connection ----------------------------------------------------------


async def test_one_connection_serves_several_parts_of_a_program(broker):
    """ "send and receive messages in multiple different locations in our code" """
    name = unique("shared")

    async def publish_temperature(client: aiomqtt.Client) -> None:
        await client.publish("temperature/outside", payload=28.4)

    async def publish_humidity(client: aiomqtt.Client) -> None:
        await client.publish("humidity/inside", payload=0.38)

    async def listen(client: aiomqtt.Client) -> set[bytes]:
        return set(await payloads(client, 2))

    async with client_of(broker, identifier=name) as client:
        await client.subscribe([("temperature/outside", 0), ("humidity/inside", 0)])
        listener = asyncio.create_task(listen(client))
        await publish_temperature(client)
        await publish_humidity(client)
        assert await listener == {b"28.4", b"0.38"}
    assert broker.log.count(f"as {name} ") == 1


async def test_sharing_takes_less_of_the_network(broker):
    """ "We could create a new client each time, but ... more network bandwidth" """
    async with (
        FaultProxy(broker.host, broker.port) as each,
        FaultProxy(broker.host, broker.port) as shared,
    ):
        for _ in range(3):
            async with client_of(broker, port=each.port) as client:
                await client.publish("temperature/outside", 28.4, qos=1)
        async with client_of(broker, port=shared.port) as client:
            for _ in range(3):
                await client.publish("temperature/outside", 28.4, qos=1)
        assert (each.connections, shared.connections) == (3, 1)
        assert shared.bytes[CLIENT] < each.bytes[CLIENT]
        assert shared.bytes[BROKER] < each.bytes[BROKER]


# --- persistent sessions ------------------------------------------------------------


async def test_a_persistent_session_keeps_subscriptions(broker, version):
    """ "the broker stores the client's subscriptions" """
    name, topic = unique("keeps"), unique("kept")
    client = client_of(broker, version, persistent=True, identifier=name)
    async with client:
        await client.subscribe(topic, qos=1)
    async with client:
        await client.publish(topic, b"no second subscribe")
        assert await payloads(client, 1) == [b"no second subscribe"]


async def test_a_persistent_session_queues_what_the_client_misses(broker, version):
    """ "queues any messages of QoS 1 and 2 that the client misses" """
    name, topic = unique("misses"), unique("missed")
    client = client_of(broker, version, persistent=True, identifier=name)
    async with client:
        await client.subscribe(topic, qos=2)
    async with client_of(broker, version) as publisher:
        for number in range(30):
            await publisher.publish(topic, number, qos=number % 3)
    async with client:
        messages = await take(client, 20)
        await nothing_more(client)
    expected = [(str(number).encode(), number % 3) for number in range(30)]
    assert [(message.payload, message.qos) for message in messages] == [
        (payload, qos) for payload, qos in expected if qos
    ]


async def test_a_persistent_session_outlives_the_program(broker, version):
    """ "kept alive when the client goes offline": also for its next process"""
    name, topic = unique("outlives"), unique("outlived")
    async with client_of(broker, version, persistent=True, identifier=name) as first:
        await first.subscribe(topic, qos=1)
    async with client_of(broker, version) as publisher:
        await publisher.publish(topic, b"meanwhile", qos=1)
    async with client_of(broker, version, persistent=True, identifier=name) as second:
        assert await payloads(second, 1) == [b"meanwhile"]
        await second.publish(topic, b"still subscribed")
        assert await payloads(second, 1) == [b"still subscribed"]


@pytest.mark.parametrize("qos", [1, 2])
async def test_what_a_client_has_not_acknowledged_comes_again(broker, version, qos):
    """ "has not yet acknowledged. The broker will then retransmit the messages" """
    name, topic = unique("unacknowledged"), unique("again")
    # A process that ends before it acknowledges, so it can't be a client of ours.
    reader, writer = await asyncio.open_connection(broker.host, broker.port)
    peer = RawPeer(reader, writer)
    protocol = b"\x00\x06MQIsdp\x03" if version == 3 else b"\x00\x04MQTT\x04"
    peer.packet(0x10, protocol + b"\x00\x00\x3c" + text(name))
    await peer.expect(2)
    peer.packet(0x82, b"\x00\x01" + text(topic) + bytes([qos]))
    await peer.expect(9)
    async with client_of(broker, version) as publisher:
        await publisher.publish(topic, b"unacknowledged", qos=qos)
    await peer.expect(3)
    writer.close()
    await writer.wait_closed()

    async with client_of(broker, version, persistent=True, identifier=name) as client:
        (message,) = await take(client, 1)
        assert (message.payload, message.qos) == (b"unacknowledged", qos)
        await nothing_more(client)


def text(value: str) -> bytes:
    return len(value).to_bytes(2) + value.encode()


@pytest.mark.parametrize("qos", [1, 2])
async def test_what_was_received_but_not_acknowledged_in_time(broker, version, qos):
    """ "has not yet acknowledged ... will then retransmit": at QoS 2 only once"""
    name, topic = unique("cut"), unique("once")
    async with FaultProxy(broker.host, broker.port) as network:
        client = client_of(
            broker, version, persistent=True, identifier=name, port=network.port
        )
        async with client, client_of(broker, version) as publisher:
            await client.subscribe(topic, qos=2)
            network.black_hole(CLIENT)  # the acknowledgement is lost
            await publisher.publish(topic, b"first", qos=qos)
            assert await payloads(client, 1) == [b"first"]
            network.reset()
            with pytest.raises(aiomqtt.MqttError, match="Disconnected during"):
                await anext(client.messages)
        network.resume()
        async with client:
            if qos == 1:
                assert await payloads(client, 1) == [b"first"]
            await nothing_more(client)


async def test_clean_session_true_makes_a_session_that_does_not_persist(
    broker, version
):
    """ "For a non-persistent session, set `clean_session` to `True`." """
    name, topic = unique("clean"), unique("forgotten")
    client = client_of(broker, version, identifier=name, clean_session=True)
    async with client:
        await client.subscribe(topic, qos=1)
    async with client_of(broker, version) as publisher:
        await publisher.publish(topic, b"missed", qos=1)
    async with client:
        await client.publish(topic, b"no longer subscribed", qos=1)
        await nothing_more(client)


async def test_clean_session_true_ends_a_persistent_session(broker, version):
    """ "Connections to the MQTT broker can be persistent or non-persistent." """
    name, topic = unique("ends"), unique("ended")
    async with client_of(broker, version, persistent=True, identifier=name) as client:
        await client.subscribe(topic, qos=1)
    async with client_of(broker, version, identifier=name, clean_session=True):
        pass
    async with client_of(broker, version) as publisher:
        await publisher.publish(topic, b"for nobody", qos=1)
    async with client_of(broker, version, persistent=True, identifier=name) as client:
        await nothing_more(client)


async def test_a_broker_that_runs_out_of_room_discards(start_broker, version):
    """ "the broker will eventually run out of memory and start discarding" """
    broker = await start_broker(
        limits={"max_queued_messages": 5, "max_inflight_messages": 1}
    )
    name, topic = unique("long-away"), unique("many")
    client = client_of(broker, version, persistent=True, identifier=name)
    async with client:
        await client.subscribe(topic, qos=1)
    async with client_of(broker, version) as publisher:
        for number in range(50):
            await publisher.publish(topic, number, qos=1)
    async with client:
        kept = [await payloads(client, 1) for _ in range(5)]
        # What is left comes in order, and the session goes on.
        assert kept == [[str(number).encode()] for number in range(5)]
        await client.publish(topic, b"afterwards", qos=1)
        while await payloads(client, 1) != [b"afterwards"]:
            pass
