"""Requests of clients that reconnect, and servers that do (MQTT 5.0 §4.10)."""

import asyncio
import math
from typing import Any

import pytest

from aiomqtt import Broker, Client, ConnectionState, MqttError, Properties, Reconnect
from aiomqtt.testing import FaultProxy
from tests.client.test_request_async import in_background, response
from tests.peer import PUBACK, PUBLISH, SUBSCRIBE, UNSUBSCRIBE, serve
from tests.raw_scripts import (
    CEILING,
    accept,
    ack_bytes,
    answer,
    expect_publish,
    goodbye,
    new_client,
    take_apart,
)

QUICKLY = Reconnect(min_delay=0.001, max_delay=0.01)
KEEP = Properties(session_expiry_interval=60)


def grant(peer, body: bytes) -> None:
    """Grant a SUBSCRIBE for one topic filter."""
    peer.packet(0x90, body[:2] + b"\x00\x01")


@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "lost"])
async def test_a_request_that_waits_goes_on_across_connections(is_kept):
    asked: list[Any] = []

    async def first(peer):
        await accept(peer, 5)
        _, body = await peer.expect(SUBSCRIBE)
        grant(peer, body)
        asked.append((body[5:-1], await expect_publish(peer, 5)))
        peer.send(ack_bytes(PUBACK, asked[0][1].packet_id))
        peer.close()

    async def second(peer):
        await accept(peer, 5, session_present=int(is_kept))
        if not is_kept:
            # The subscription is restored before anything else.
            _, body = await peer.expect(SUBSCRIBE)
            assert body[5:-1] == asked[0][0]
            grant(peer, body)
        peer.send(response(asked[0][1], b"!"))
        # The next request needs no subscription.
        published = await expect_publish(peer, 5)
        peer.send(ack_bytes(PUBACK, published.packet_id) + response(published, b"2"))
        await peer.expect(UNSUBSCRIBE)
        await goodbye(peer)

    async with (
        asyncio.timeout(CEILING),
        serve(first, second) as server,
        new_client(
            server, 5, identifier="me", reconnect=QUICKLY, properties=KEEP
        ) as client,
    ):
        assert (await client.request("service")).payload == b"!"
        assert (await client.request("service")).payload == b"2"
        assert client.statistics.connections == 2


async def test_a_request_waits_for_the_next_connection():
    closed = asyncio.Event()

    async def first(peer):
        await accept(peer, 5)
        peer.close()

    async def second(peer):
        await closed.wait()
        await accept(peer, 5)
        last = 0
        while True:
            first_byte, body = await peer.read_packet()
            if first_byte >> 4 == PUBLISH:
                break
            # That of the first request was given up.
            last = first_byte >> 4
            answer(peer, 5, first_byte, body)
        assert last == SUBSCRIBE
        published = take_apart(first_byte, body, 5)
        peer.send(ack_bytes(PUBACK, published.packet_id) + response(published, b"!"))
        await goodbye(peer)

    async with (
        asyncio.timeout(CEILING),
        serve(first, second) as server,
        new_client(server, 5, reconnect=QUICKLY) as client,
    ):
        async for change in client.states():
            if change.state is ConnectionState.WAITING:
                break
        # In its time, or not at all.
        with pytest.raises(MqttError, match="Operation timed out"):
            await client.request("service", timeout=0.02)
        request = in_background(client.request("service"))
        await asyncio.sleep(0)
        closed.set()
        assert (await request).payload == b"!"


async def test_the_response_topic_is_that_of_the_connection_that_is_waited_for():
    """Another broker may allow only what it names itself."""
    is_waiting = asyncio.Event()

    async def first(peer):
        await accept(peer, 5, properties=b"\x1a\x00\x05first")
        peer.close()

    async def second(peer):
        await is_waiting.wait()
        await accept(peer, 5, properties=b"\x1a\x00\x06second")
        for name in (b"second/", b"mine"):
            _, body = await peer.expect(SUBSCRIBE)
            assert body[5:].startswith(name)
            grant(peer, body)
            published = await expect_publish(peer, 5)
            acknowledged = ack_bytes(PUBACK, published.packet_id)
            peer.send(acknowledged + response(published, b"!"))
        await goodbye(peer)

    asked = Properties(request_response_information=1)
    async with (
        asyncio.timeout(CEILING),
        serve(first, second) as server,
        new_client(server, 5, reconnect=QUICKLY, properties=asked) as client,
    ):
        async for change in client.states():
            if change.state is ConnectionState.WAITING:
                break
        request = in_background(client.request("service"))
        await asyncio.sleep(0)
        assert client.statistics.waiting_calls == 1
        is_waiting.set()
        assert (await request).payload == b"!"
        own = Properties(response_topic="mine")
        assert (await client.request("service", properties=own)).payload == b"!"
        assert client.statistics.waiting_calls == 0


async def test_a_client_that_gives_up_ends_its_requests():
    async def first(peer):
        await accept(peer, 5)
        _, body = await peer.expect(SUBSCRIBE)
        grant(peer, body)
        published = await expect_publish(peer, 5)
        peer.send(ack_bytes(PUBACK, published.packet_id))
        peer.close()

    async def refuses(peer):
        await accept(peer, 5, code=0x86)
        peer.close()

    async with (
        asyncio.timeout(CEILING),
        serve(first, refuses) as server,
        new_client(server, 5, reconnect=QUICKLY) as client,
    ):
        with pytest.raises(MqttError) as caught:
            await client.request("service", timeout=math.inf)
        assert caught.value.reason_code == 0x86
        assert client.statistics.waiting_calls == 0


async def test_requests_and_answers_while_networks_break():
    """Both sides lose their connections again and again; no reply is a wrong one."""
    wrong = 0
    async with asyncio.timeout(3 * CEILING), Broker() as broker:
        proxies = [FaultProxy(broker.host, broker.port) for _ in range(2)]
        async with proxies[0], proxies[1]:
            server, client = (
                Client(
                    proxy.host,
                    proxy.port,
                    protocol=5,
                    identifier=name,
                    properties=KEEP,
                    reconnect=QUICKLY,
                )
                for proxy, name in zip(proxies, ("server", "client"), strict=True)
            )

            async def ask(number: int) -> None:
                nonlocal wrong
                payload = str(number).encode()
                reply = await client.request("service", payload, timeout=CEILING)
                wrong += reply.payload != b"re: " + payload

            async with (
                server,
                client,
                server.serve("service", lambda message: b"re: " + message.payload),
            ):
                for round_ in range(5):
                    asks = [ask(100 * round_ + number) for number in range(20)]
                    gathered = asyncio.gather(*asks)
                    await asyncio.sleep(0.01)
                    proxies[round_ % 2].cut()
                    await gathered
        assert wrong == 0
