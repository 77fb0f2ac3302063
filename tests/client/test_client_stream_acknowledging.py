"""Streams whose messages the program acknowledges, and what overflows in them."""

import asyncio
from typing import Any

import pytest

from aiomqtt import Client, Message, MqttError
from tests.peer import PUBACK, SUBACK, SUBSCRIBE, UNSUBACK, UNSUBSCRIBE, RawPeer, serve
from tests.raw_scripts import accept, codes_of, goodbye, lasting, new_client
from tests.raw_scripts import publish_bytes as encode_publish


def publish(topic: str, packet_id: int, *, dup: bool = False) -> bytes:
    """A PUBLISH with QoS 1, its packet identifier as the payload."""
    return encode_publish(topic, b"%d" % packet_id, 1, packet_id, 5, dup=dup)


async def grant(peer: RawPeer) -> None:
    first, body = await peer.expect(SUBSCRIBE)
    peer.packet(SUBACK << 4, body[:2] + b"\x00" + codes_of(first, body, 5))


async def release(peer: RawPeer) -> None:
    first, body = await peer.expect(UNSUBSCRIBE)
    peer.packet(UNSUBACK << 4, body[:2] + b"\x00" + codes_of(first, body, 5))


async def expect_pubacks(peer: RawPeer, *packet_ids: int) -> None:
    for number in packet_ids:
        assert await peer.expect(PUBACK) == (0x40, number.to_bytes(2, "big"))


async def take(messages: Any, count: int) -> list[Message]:
    return [await anext(messages) for _ in range(count)]


def payloads(messages: list[Message]) -> list[bytes]:
    return [message.payload for message in messages]


async def until_waiting(messages: Any, count: int) -> None:
    while len(messages) < count:  # noqa: ASYNC110
        await asyncio.sleep(0)


async def test_a_manual_stream_beside_messages_that_are_acknowledged_on_receipt():
    async def script(peer):
        await accept(peer, 5)
        await grant(peer)
        peer.send(publish("other", 1) + publish("a/1", 2) + publish("other", 3))
        # The order of the messages holds for all of them.
        await expect_pubacks(peer, 1)
        acknowledge.set()
        await expect_pubacks(peer, 2, 3)
        await release(peer)
        # A client that has begun to wait for decisions goes on.
        peer.send(publish("other", 4))
        await expect_pubacks(peer, 4)
        await goodbye(peer)

    acknowledge = asyncio.Event()
    async with (
        serve(script) as server,
        asyncio.timeout(10),
        new_client(server, 5) as client,
    ):
        async with client.stream("a/+", qos=1, ack="manual") as stream:
            [message] = await take(stream, 1)
            assert message.payload == b"2"
            await acknowledge.wait()
            message.ack()
            others = await take(client.messages, 2)
            assert payloads(others) == [b"1", b"3"]
            with pytest.raises(ValueError, match="needs no acknowledgement"):
                others[0].ack()
        assert payloads(await take(client.messages, 1)) == [b"4"]


async def test_a_message_of_several_streams_is_acknowledged_by_all_of_them():
    async def script(peer):
        # Without Subscription Identifiers, which would be added.
        await accept(peer, 5, properties=b"\x29\x00")
        for _ in range(3):
            await grant(peer)
        peer.send(publish("a", 1) + publish("b", 2))
        await expect_pubacks(peer, 1, 2)
        await acknowledged.wait()
        for _ in range(3):
            await release(peer)
        await goodbye(peer)

    acknowledged = asyncio.Event()
    async with (
        serve(script) as server,
        asyncio.timeout(10),
        new_client(server, 5) as client,
        client.stream("+", qos=1, ack="manual") as all_of_them,
        client.stream("a", qos=1, ack="manual") as some,
        client.stream("#", qos=1, ack="receive") as receiving,
    ):
        first, second = await take(all_of_them, 2)
        [copy] = await take(some, 1)
        received = await take(receiving, 2)
        assert payloads(received) == [b"1", b"2"]
        with pytest.raises(ValueError, match="needs no acknowledgement"):
            received[0].ack()
        second.ack()
        first.ack()
        with pytest.raises(MqttError, match="acknowledged already"):
            first.ack()
        copy.ack()
        acknowledged.set()


async def test_a_processed_stream_leaves_what_was_not_finished():
    """If it is left by an exception; otherwise the program is done with all of it."""

    async def script(peer):
        await accept(peer, 5)
        await grant(peer)
        peer.send(publish("a", 1) + publish("a", 2) + publish("a", 3))
        await expect_pubacks(peer, 1)
        acknowledged.set()
        await release(peer)
        await goodbye(peer)

    acknowledged = asyncio.Event()
    async with serve(script) as server, asyncio.timeout(10):
        client = new_client(server, 5)
        with pytest.raises(ZeroDivisionError):
            async with client, client.stream("a", qos=1, ack="processed") as stream:
                await until_waiting(stream, 3)
                async for message in stream:
                    if message.payload == b"2":
                        await acknowledged.wait()
                        raise ZeroDivisionError


async def test_a_processed_stream_of_values_acknowledges_one_after_the_other():
    async def script(peer):
        await accept(peer, 5)
        await grant(peer)
        peer.send(publish("a", 1) + publish("a", 2))
        await expect_pubacks(peer, 1)
        acknowledged.set()
        await expect_pubacks(peer, 2)
        await release(peer)
        await goodbye(peer)

    acknowledged = asyncio.Event()
    values: list[int] = []
    async with (
        serve(script) as server,
        asyncio.timeout(10),
        new_client(server, 5, ack="processed") as client,
        client.stream("a", qos=1, parse=int) as stream,
    ):
        async for message in stream:
            values.append(message.value)
            if message.value == 2:
                await acknowledged.wait()
                message.ack()
                break
    assert values == [1, 2]


@pytest.mark.parametrize("mode", ["processed", "manual"])
async def test_leaving_a_stream_acknowledges_what_waits(mode):
    """It would hold back the acknowledgements of all that come after it."""

    async def script(peer):
        await accept(peer, 5)
        await grant(peer)
        peer.send(publish("a", 1) + publish("a", 2) + publish("a", 3))
        came: list[int] = []
        for _ in range(4):
            first, body = await peer.read_packet()
            if first >> 4 == UNSUBSCRIBE:
                # One more that the broker had sent before.
                peer.send(publish("a", 4))
                answer = body[:2] + b"\x00" + codes_of(first, body, 5)
                peer.packet(UNSUBACK << 4, answer)
            else:
                assert first >> 4 == PUBACK
                came.append(body[1])
        assert came == [1, 2, 3]
        await expect_pubacks(peer, 4)
        await goodbye(peer)

    async with (
        serve(script) as server,
        asyncio.timeout(10),
        new_client(server, 5) as client,
        client.stream("a", qos=1, ack=mode) as stream,
    ):
        await until_waiting(stream, 3)
        async for message in stream:
            if mode == "manual":
                message.ack()
            break


async def test_the_mode_of_a_stream_is_that_of_the_client():
    async def script(peer):
        await accept(peer, 5)
        await grant(peer)
        peer.send(publish("a", 1) + publish("b", 2))
        await expect_pubacks(peer, 1, 2)
        await release(peer)
        await goodbye(peer)

    async with (
        serve(script) as server,
        asyncio.timeout(10),
        new_client(server, 5, ack="manual") as client,
        client.stream("a", qos=1) as stream,
    ):
        [other] = await take(client.messages, 1)
        other.ack()
        [message] = await take(stream, 1)
        message.ack()


async def test_messages_that_moved_to_a_manual_stream_can_be_acknowledged():
    """They had been acknowledged on receipt, before the stream was opened."""

    async def script(peer):
        await accept(peer, 5, session_present=1)
        peer.send(publish("a", 1))
        await expect_pubacks(peer, 1)
        await grant(peer)
        peer.send(publish("a", 2))
        await expect_pubacks(peer, 2)
        await release(peer)
        await goodbye(peer)

    async with (
        serve(script) as server,
        asyncio.timeout(10),
        lasting(server, 5, clean_start=False) as client,
    ):
        await until_waiting(client.messages, 1)
        async with client.stream("a", qos=1, ack="manual") as stream:
            for message in await take(stream, 2):
                message.ack()


async def test_what_waits_in_a_stream_comes_again_once():
    async def first(peer):
        await accept(peer, 5)
        await grant(peer)
        peer.send(publish("a", 1) + publish("a", 2))
        await waiting.wait()
        peer.close()

    async def second(peer):
        await accept(peer, 5, session_present=1)
        peer.send(publish("a", 1, dup=True) + publish("a", 2, dup=True))
        await expect_pubacks(peer, 1, 2)
        await release(peer)
        await goodbye(peer)

    waiting = asyncio.Event()
    async with serve(first, second) as server, asyncio.timeout(10):
        client = lasting(server, 5, ack="manual", reconnect=True)
        async with client, client.stream("a", qos=1) as stream:
            [early] = await take(stream, 1)
            await until_waiting(stream, 1)
            waiting.set()
            # The one that it had in hand, and the one that waited.
            await until_waiting(stream, 2)
            messages = await take(stream, 2)
            assert payloads(messages) == [b"1", b"2"]
            assert not len(stream)
            with pytest.raises(MqttError, match="on which it came has ended"):
                early.ack()
            for message in messages:
                message.ack()


@pytest.mark.parametrize(
    ("overflow", "kept"),
    [
        ("drop_oldest", [b"4", b"5"]),
        ("drop_newest", [b"1", b"2"]),
        (None, [b"1", b"2", b"3", b"4", b"5"]),
    ],
)
async def test_a_stream_has_bounds_of_its_own(overflow, kept):
    async def script(peer):
        await accept(peer, 5)
        await grant(peer)
        peer.send(b"".join(publish("a", number) for number in range(1, 6)))
        peer.send(publish("b", 6))
        await expect_pubacks(peer, 1, 2, 3, 4, 5, 6)
        await release(peer)
        await goodbye(peer)

    async with (
        serve(script) as server,
        asyncio.timeout(10),
        new_client(server, 5) as client,
        client.stream("a", qos=1, max_messages=2, overflow=overflow) as stream,
    ):
        assert payloads(await take(client.messages, 1)) == [b"6"]
        assert stream.discarded == 5 - len(kept)
        assert payloads(await take(stream, len(kept))) == kept


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"ack": "manual"}, ValueError, 'ack="manual" needs a QoS of 1 or 2'),
        ({"ack": "processed"}, ValueError, 'ack="processed" needs a QoS of 1 or 2'),
        ({"ack": "late", "qos": 1}, ValueError, 'ack must be "receive", "processed"'),
        ({"ack": 1, "qos": 1}, TypeError, "ack must be str, not int"),
        ({"overflow": "drop"}, ValueError, 'overflow must be "pause"'),
        ({"max_messages": 0}, ValueError, "max_messages must be at least 1"),
    ],
)
def test_wrong_arguments(arguments, error, match):
    with pytest.raises(error, match=match):
        Client("a").stream("t", **arguments)
