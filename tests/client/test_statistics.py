"""The statistics of a client agree with what happened."""

import asyncio
import dataclasses
from typing import Any

import pytest

from aiomqtt import Broker, Client, ClientStatistics, MqttError, Reconnect
from tests.peer import PINGREQ, PUBLISH, serve
from tests.raw_scripts import (
    CEILING,
    accept,
    ack_bytes,
    all_done,
    fails,
    gone,
    goodbye,
    lasting,
    new_client,
    polite,
    publish_bytes,
    within,
)

ZERO: dict[str, Any] = {
    field.name: None if "None" in str(field.type) else 0
    for field in dataclasses.fields(ClientStatistics)
}
NOTHING = ClientStatistics(**ZERO)


# What the machine decides.
VARIES = {"seconds_connected", "bytes_received", "bytes_sent", "unsent_bytes"}


def now_of(client: Client) -> dict[str, object]:
    """What is not 0, without what the machine decides."""
    found = dataclasses.asdict(client.statistics)
    return {name: found[name] for name in found if found[name] and name not in VARIES}


def test_a_new_client_has_counted_nothing():
    assert Client("localhost").statistics == NOTHING
    with pytest.raises(dataclasses.FrozenInstanceError):
        NOTHING.connections = 1  # type: ignore[misc]


@pytest.mark.parametrize("level", [4, 5])
async def test_messages_in_both_directions(level):
    async with Broker(None) as broker:
        client = Client(broker.name, transport="memory", protocol=level)
        async with asyncio.timeout(CEILING), client:
            await client.subscribe([("a/#", 2), ("b", 0)])
            for qos in (0, 1, 2):
                await client.publish("a/b", b"12345", qos)
            client.publish_nowait("a/c", b"12345", 1)
            await client.publish_many([("a/d", b"12345", 0)] * 3)
            await all_done(client)
            while client.statistics.messages_received < 7:  # noqa: ASYNC110
                await asyncio.sleep(0)
            assert now_of(client) == {
                "connections": 1,
                "messages_received": 7,
                "messages_published": 7,
                "incoming_messages": 7,
                "incoming_bytes": client.statistics.incoming_bytes,
                "subscriptions": 2,
            }
            assert client.statistics.incoming_bytes > 7 * 5
            for _ in range(7):
                await anext(client.messages)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await anext(client.messages)
            assert client.statistics.incoming_messages == 0
            assert client.statistics.incoming_bytes == 0
            seconds = client.statistics.seconds_connected
            assert seconds is not None
            assert seconds >= 0
        assert now_of(client) == {
            "connections": 1,
            "messages_received": 7,
            "messages_published": 7,
        }
        assert client.statistics.seconds_connected is None


async def test_bytes_are_those_of_the_packets():
    packet = publish_bytes("t", b"x" * 300, 1, 7)

    async def script(peer):
        await accept(peer)
        peer.send(packet)
        await peer.expect(4)
        await goodbye(peer)

    async with serve(script) as server:
        client = new_client(server, identifier="me")
        async with client:
            await within(anext(client.messages))
    # CONNACK; CONNECT, PUBACK and DISCONNECT.
    assert client.statistics.bytes_received == 4 + len(packet)
    assert client.statistics.bytes_sent == 16 + 4 + 2


async def test_a_repetition_at_qos_2_is_not_counted():
    packet = publish_bytes("t", b"x", 2, 7)
    again = publish_bytes("t", b"x", 2, 7, dup=True)

    async def script(peer):
        await accept(peer)
        peer.send(packet + again + publish_bytes("t", b"end"))
        await gone(peer)

    async with serve(script) as server, new_client(server) as client:
        for _ in range(2):
            await within(anext(client.messages))
        assert client.statistics.messages_received == 2


async def test_what_is_unfinished_in_flight_and_queued():
    acknowledge = asyncio.Event()

    async def script(peer):
        await accept(peer)
        for _ in range(2):
            await peer.expect(PUBLISH)
        await acknowledge.wait()
        peer.send(ack_bytes(4, 1) + ack_bytes(4, 2))
        for packet_id in (3, 4, 5):
            await peer.expect(PUBLISH)
            peer.send(ack_bytes(4, packet_id))
        await goodbye(peer)

    async with serve(script) as server:
        client = new_client(server, max_inflight_messages=2)
        async with asyncio.timeout(CEILING), client:
            for _ in range(4):
                client.publish_nowait("t", b"12345", 1)
            task = asyncio.get_running_loop().create_task(client.publish("t", b"", 1))
            while not client.statistics.waiting_calls:  # noqa: ASYNC110
                await asyncio.sleep(0)
            assert now_of(client) == {
                "connections": 1,
                "messages_published": 5,
                "unfinished_messages": 5,
                "unfinished_bytes": 4 * 12 + 7,
                "in_flight_messages": 2,
                "queued_messages": 3,
                "waiting_calls": 1,
            }
            acknowledge.set()
            await task
    assert now_of(client) == {"connections": 1, "messages_published": 5}


async def test_what_is_discarded_dropped_and_lost():
    async def script(peer):
        await accept(peer)
        peer.send(publish_bytes("t", b"x") * 5)
        await gone(peer)

    async with serve(script) as server:
        client = new_client(server, max_queued_incoming_messages=2)
        with pytest.raises(ZeroDivisionError):
            async with asyncio.timeout(CEILING), client:
                while client.statistics.messages_received < 5:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
                assert client.statistics.messages_discarded == 3
                assert client.statistics.incoming_messages == 2
                for _ in range(4):
                    client.publish_nowait("t", b"", 1)
                assert client.drop(client.pending_messages()[0])
                assert client.statistics.messages_dropped == 1
                assert client.statistics.messages_lost == 0
                raise ZeroDivisionError
        # The session was that of the connection.
        assert client.statistics.messages_lost == 3
        assert client.statistics.unfinished_messages == 0


async def test_what_the_session_keeps_is_not_in_flight_without_a_connection():
    async def silent(peer):
        await accept(peer)
        await peer.expect(PUBLISH)
        peer.close()

    async with serve(silent) as server:
        client = lasting(server, 4)
        with pytest.raises(MqttError):
            async with asyncio.timeout(CEILING), client:
                await client.publish("t", b"", 1)
        assert client.statistics.unfinished_messages == 1
        assert client.statistics.in_flight_messages == 0
        assert client.statistics.messages_lost == 0
        assert client.drop_pending() == 1
        assert client.statistics.messages_dropped == 1


async def test_connections_that_were_accepted_and_that_were_lost():
    async def cuts(peer):
        await accept(peer)
        peer.close()

    async def refuses(peer):
        await accept(peer, code=5)
        peer.close()

    async with serve(cuts, refuses, polite()) as server:
        client = new_client(server)
        with pytest.raises(MqttError):
            async with asyncio.timeout(CEILING), client:
                await anext(client.messages)
        await fails(client)
        async with client:
            assert client.statistics.connections == 2
            assert client.statistics.connections_lost == 1
        assert client.statistics.connections_lost == 1


async def test_connections_that_the_client_makes_by_itself():
    async def cuts(peer):
        await accept(peer)
        peer.close()

    quickly = Reconnect(min_delay=0.001, max_delay=0.01)
    async with serve(cuts, cuts, polite(), polite()) as server:
        client = new_client(server, reconnect=quickly)
        async with asyncio.timeout(CEILING), client:
            while client.statistics.connections < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            assert client.statistics.reconnections == 2
            assert client.statistics.connections_lost == 2
        # Entering again is not the client's doing.
        async with asyncio.timeout(CEILING), client:
            assert client.statistics.connections == 4
            assert client.statistics.reconnections == 2


async def test_the_round_trip_of_a_ping():
    pinged = asyncio.Event()

    async def script(peer):
        await accept(peer)
        await peer.expect(PINGREQ)
        await asyncio.sleep(0.1)
        peer.packet(0xD0)
        pinged.set()
        await gone(peer)

    async with serve(script) as server, new_client(server, keepalive=1) as client:
        assert client.statistics.ping_round_trip is None
        await within(pinged.wait())
        async with asyncio.timeout(CEILING):
            while client.statistics.ping_round_trip is None:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        # The clock of uvloop counts milliseconds.
        assert client.statistics.ping_round_trip >= 0.095


async def test_publishers_that_wait_for_room():
    read_on = asyncio.Event()

    async def script(peer):
        await accept(peer)
        await read_on.wait()
        await gone(peer)

    async with serve(script) as server, new_client(server) as client:
        transport: Any = client._calls.driver.writer.transport  # type: ignore[union-attr]
        transport.set_write_buffer_limits(0)
        large = b"x" * 1024 * 1024
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(client.publish("t", large)) for _ in range(40)]
        async with asyncio.timeout(CEILING):
            # Some may wait for the turn to end, before the network is full.
            while not (  # noqa: ASYNC110
                client.statistics.waiting_publishers and client.statistics.unsent_bytes
            ):
                await asyncio.sleep(0)
            assert client.statistics.messages_published < 40
            read_on.set()
            await asyncio.gather(*tasks)
        assert client.statistics.messages_published == 40
        assert client.statistics.waiting_publishers == 0


async def test_the_queues_of_streams_count_too():
    async with Broker(None) as broker:
        client = Client(broker.name, transport="memory")
        async with asyncio.timeout(CEILING), client:
            async with client.stream("a/b"), client.stream("a/+"):
                await client.subscribe("a/d/#")
                for topic in ("a/b", "a/c", "a/d/e"):
                    await client.publish(topic, b"x")
                while client.statistics.messages_received < 3:  # noqa: ASYNC110
                    await asyncio.sleep(0)
                # One goes to both streams, one to one of them, and one to neither.
                assert client.statistics.incoming_messages == 4
                assert client.statistics.incoming_bytes > 4
            assert client.statistics.incoming_messages == 1
