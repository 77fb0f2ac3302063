"""The traps of docs/needs.md with a client that reconnects: the bytes on the wire."""

import asyncio

import pytest

from aiomqtt import Properties, Reconnect
from tests.peer import DISCONNECT, PUBACK, PUBCOMP, PUBREC, PUBREL, SUBSCRIBE, serve
from tests.raw_scripts import (
    accept,
    ack_bytes,
    answer,
    expect_publish,
    goodbye,
    lasting,
    publish_bytes,
    turns,
    within,
)

AT_ONCE = Reconnect(min_delay=0, max_delay=0)


@pytest.fixture(params=[4, 5], ids=["3.1.1", "5.0"])
def level(request):
    return request.param


def new_client(server, level, **options):
    """A client whose session lasts, and which reconnects without a delay."""
    return lasting(server, level, reconnect=AT_ONCE, **options)


async def taken(messages, count):
    return [(await within(anext(messages))).payload for _ in range(count)]


async def test_trap_1_the_answer_to_a_cancelled_call_comes_on_the_next_connection(
    level,
):
    has_come, is_cancelled = asyncio.Event(), asyncio.Event()

    async def first(peer):
        await accept(peer, level)
        assert (await expect_publish(peer, level)).packet_id == 1
        has_come.set()
        await is_cancelled.wait()
        peer.close()

    async def second(peer):
        await accept(peer, level, session_present=1)
        published = await expect_publish(peer, level)
        assert (published.packet_id, published.dup) == (1, True)
        peer.send(ack_bytes(PUBACK, 1) + publish_bytes("t", b"kept", version=level))
        assert (await expect_publish(peer, level)).payload == b"next"
        peer.send(ack_bytes(PUBACK, 2))
        await goodbye(peer)

    async with serve(first, second) as server, new_client(server, level) as client:
        publishing = asyncio.create_task(client.publish("a", b"cancelled", 1))
        waiting = asyncio.create_task(anext(client.messages))
        await within(has_come.wait())
        publishing.cancel()
        waiting.cancel()
        await asyncio.wait([publishing, waiting])
        is_cancelled.set()
        assert await taken(client.messages, 1) == [b"kept"]
        await within(client.publish("a", b"next", 1))


async def test_trap_2_what_was_withdrawn_holds_no_quota_of_the_next_connection(level):
    has_come, is_cancelled = asyncio.Event(), asyncio.Event()

    async def first(peer):
        await accept(peer, level)
        assert (await expect_publish(peer, level)).payload == b"in flight"
        has_come.set()
        await is_cancelled.wait()
        peer.close()

    async def second(peer):
        await accept(peer, level, session_present=1)
        published = await expect_publish(peer, level)
        assert (published.payload, published.packet_id) == (b"in flight", 1)
        peer.send(ack_bytes(PUBACK, 1))
        published = await expect_publish(peer, level)
        assert published.payload == b"next"
        peer.send(ack_bytes(PUBACK, published.packet_id))
        await goodbye(peer)

    async with (
        serve(first, second) as server,
        new_client(server, level, max_inflight_messages=1) as client,
    ):
        publishing = asyncio.create_task(client.publish("a", b"in flight", 1))
        await within(has_come.wait())
        withdrawn = asyncio.create_task(client.publish("a", b"withdrawn", 1))
        await turns()
        withdrawn.cancel()
        await asyncio.wait([withdrawn])
        is_cancelled.set()
        await within(publishing)
        await within(client.publish("a", b"next", 1))


async def test_trap_3_a_stream_gets_what_follows_the_connack(level):
    async def first(peer):
        await accept(peer, level)
        packet = await peer.expect(SUBSCRIBE)
        answer(peer, level, *packet)
        peer.close()

    async def second(peer):
        await accept(peer, level, session_present=1)
        # At once, before anybody could have subscribed again.
        peer.send(
            publish_bytes("t", b"replayed", 1, 1, level)
            + publish_bytes("u", b"other", 1, 2, level)
        )
        for packet_id in (b"\x00\x01", b"\x00\x02"):
            assert (await peer.expect(PUBACK))[1][:2] == packet_id
        _ = await peer.read_packet()  # UNSUBSCRIBE
        answer(peer, level, *_)
        await goodbye(peer)

    async with serve(first, second) as server, new_client(server, level) as client:
        async with client.stream("t", qos=1) as stream:
            assert await taken(stream, 1) == [b"replayed"]
        assert await taken(client.messages, 1) == [b"other"]


async def test_trap_4_no_qos_2_flow_goes_on_in_a_new_session(level):
    async def first(peer):
        await accept(peer, level)
        for packet_id in (1, 2):
            assert (await expect_publish(peer, level)).packet_id == packet_id
        peer.send(ack_bytes(PUBREC, 2))
        await peer.expect(PUBREL)
        peer.close()

    async def second(peer):
        await accept(peer, level)
        # As a new message; what the broker had released, it has.
        published = await expect_publish(peer, level)
        assert (published.payload, published.dup) == (b"sent", False)
        peer.send(ack_bytes(PUBREC, published.packet_id))
        await peer.expect(PUBREL)
        peer.send(ack_bytes(PUBCOMP, published.packet_id))
        await goodbye(peer)

    async with serve(first, second) as server, new_client(server, level) as client:
        calls = (client.publish("a", payload, 2) for payload in (b"sent", b"released"))
        await within(asyncio.gather(*calls))


async def test_trap_5_a_subscribe_that_is_repeated_takes_no_identifier_of_a_publish(
    level,
):
    async def first(peer):
        await accept(peer, level)
        await peer.expect(SUBSCRIBE)
        assert (await expect_publish(peer, level)).packet_id == 2
        peer.close()

    async def second(peer):
        await accept(peer, level, session_present=1)
        identifiers = set()
        for _ in range(2):
            first, body = await peer.read_packet()
            at = 3 if first >> 4 == 3 else 0  # after the topic
            identifiers.add(int.from_bytes(body[at : at + 2], "big"))
            answer(peer, level, first, body)
        assert len(identifiers) == 2
        assert 2 in identifiers
        await goodbye(peer)

    async with serve(first, second) as server, new_client(server, level) as client:
        subscribing = asyncio.create_task(client.subscribe("t", 1))
        await turns()
        await within(client.publish("a", b"", 1))
        assert [*await within(subscribing)] == [1]


async def test_trap_6_a_message_of_qos_2_comes_once_over_two_connections(level):
    async def first(peer):
        await accept(peer, level)
        peer.send(publish_bytes("t", b"once", 2, 7, level))
        await peer.expect(PUBREC)
        peer.close()

    async def second(peer):
        await accept(peer, level, session_present=1)
        peer.send(publish_bytes("t", b"once", 2, 7, level, dup=True))
        assert (await peer.expect(PUBREC))[1][:2] == b"\x00\x07"
        peer.send(ack_bytes(PUBREL, 7))
        assert (await peer.expect(PUBCOMP))[1][:2] == b"\x00\x07"
        peer.send(publish_bytes("t", b"next", 0, 0, level))
        await goodbye(peer)

    async with serve(first, second) as server, new_client(server, level) as client:
        assert await taken(client.messages, 2) == [b"once", b"next"]


async def test_trap_7_what_is_sent_again_obeys_the_new_receive_maximum():
    level, count = 5, 3

    async def first(peer):
        await accept(peer, level)
        for _ in range(count):
            await expect_publish(peer, level)
        peer.close()

    async def second(peer):
        # Receive Maximum 1.
        await accept(peer, level, session_present=1, properties=b"\x21\x00\x01")
        for packet_id in range(1, count + 1):
            assert (await expect_publish(peer, level)).packet_id == packet_id
            # Were there a second one, it would come before this answer.
            peer.send(publish_bytes("t", b"", 1, packet_id, level))
            await peer.expect(PUBACK)
            peer.send(ack_bytes(PUBACK, packet_id))
        await goodbye(peer)

    async with serve(first, second) as server, new_client(server, level) as client:
        await within(
            asyncio.gather(*(client.publish("a", qos=1) for _ in range(count)))
        )


async def test_trap_9_an_answer_is_read_though_messages_wait(level):
    """The body of the loop waits for an answer that comes after them, elsewhere."""

    async def first(peer):
        await accept(peer, level)
        peer.send(publish_bytes("t", b"0", 1, 1, level))
        await peer.expect(PUBACK)
        await expect_publish(peer, level)
        peer.close()

    async def second(peer):
        await accept(peer, level, session_present=1)
        published = await expect_publish(peer, level)
        for number in range(1, 10):
            peer.send(publish_bytes("t", b"%d" % number, 1, number, level))
        peer.send(ack_bytes(PUBACK, published.packet_id))
        for _ in range(1, 10):
            await peer.expect(PUBACK)
        await goodbye(peer)

    async with serve(first, second) as server, new_client(server, level) as client:
        received = []
        async for message in client.messages:
            received.append(int(message.payload))
            if message.payload == b"0":
                await within(client.publish("a", b"", 1))
            if len(received) == 10:
                break
        assert received == [*range(10)]


async def test_trap_10_topic_aliases_end_with_their_connection():
    level = 5
    alias = b"\x23\x00\x01"
    options = Properties(session_expiry_interval=60, topic_alias_maximum=5)

    async def first(peer):
        # Topic Alias Maximum 5.
        await accept(peer, level, properties=b"\x22\x00\x05")
        published = await expect_publish(peer, level)
        assert (published.topic, published.properties) == ("a", alias)
        peer.send(publish_bytes("t", b"1", version=level, properties=alias))
        peer.close()

    async def second(peer):
        await accept(peer, level, session_present=1)
        # The broker allows none now.
        published = await expect_publish(peer, level)
        assert (published.topic, published.properties) == ("a", b"")
        peer.send(ack_bytes(PUBACK, published.packet_id))
        # An alias of the last connection means nothing in this one.
        peer.send(publish_bytes("", b"2", version=level, properties=alias))
        assert (await peer.expect(DISCONNECT))[1][0] in (0x82, 0x94)
        peer.close()

    async def third(peer):
        await accept(peer, level, session_present=1)
        peer.send(publish_bytes("t", b"3", version=level))
        await goodbye(peer)

    async with (
        serve(first, second, third) as server,
        new_client(server, level, properties=options) as client,
    ):
        properties = Properties(topic_alias=1)
        await within(client.publish("a", b"", 1, properties=properties))
        assert await taken(client.messages, 2) == [b"1", b"3"]
