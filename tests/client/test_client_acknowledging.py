"""When the client acknowledges: at once, when a message is processed, or when told."""

import asyncio
from typing import Any

import pytest

from aiomqtt import Client, Message, MqttError, Properties
from tests.peer import PUBACK, PUBCOMP, PUBREC, PUBREL, RawPeer, serve
from tests.raw_scripts import (
    accept,
    ack_bytes,
    goodbye,
    lasting,
    new_client,
    publish_bytes,
    within,
)


def publishes(*packet_ids: int, qos: int = 1, version: int = 4, dup: bool = False):
    """PUBLISH packets, the packet identifier as the payload."""
    return b"".join(
        publish_bytes("t", str(number).encode(), qos, number, version, dup=dup)
        for number in packet_ids
    )


async def expect_acks(peer: RawPeer, *packet_ids: int, kind: int = PUBACK) -> None:
    for number in packet_ids:
        assert await peer.expect(kind) == (kind << 4, number.to_bytes(2, "big"))


async def take(client: Client, count: int) -> list[Message]:
    async with asyncio.timeout(10):
        return [await anext(client.messages) for _ in range(count)]


def payloads(messages: list[Message]) -> list[bytes]:
    return [message.payload for message in messages]


# --- manual --------------------------------------------------------------------


async def test_manual_acknowledgements_leave_in_the_order_of_the_messages(version):
    acknowledged = asyncio.Event()

    async def script(peer):
        await accept(peer, version)
        peer.send(publishes(1, 2, 3, version=version))
        await expect_acks(peer, 1, 2, 3)
        peer.send(publishes(4, 5, qos=2, version=version))
        await expect_acks(peer, 4, 5, kind=PUBREC)
        peer.send(ack_bytes(PUBREL, 4))
        await expect_acks(peer, 4, kind=PUBCOMP)
        acknowledged.set()
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version, ack="manual") as c:
        for count in (3, 2):
            for message in reversed(await take(c, count)):
                message.ack()
                # They leave by themselves.
                await asyncio.sleep(0)
        await within(acknowledged.wait())


async def test_a_message_is_refused_with_a_reason_code():
    refused = asyncio.Event()

    async def script(peer):
        await accept(peer, 5)
        peer.send(publishes(1, version=5) + publishes(2, qos=2, version=5))
        assert await peer.expect(PUBACK) == (0x40, b"\x00\x01\x83")
        assert await peer.expect(PUBREC) == (0x50, b"\x00\x02\x99")
        refused.set()
        await goodbye(peer)

    async with serve(script) as server, new_client(server, 5, ack="manual") as client:
        first, second = await take(client, 2)
        with pytest.raises(ValueError, match="reason_code must be one of 0x00"):
            first.ack(0x85)
        # Compiled code checks the type before our own check can name the argument.
        with pytest.raises(TypeError, match="must be int, not str|int object expected"):
            first.ack("0x83")  # type: ignore[arg-type]
        first.ack(0x83)
        second.ack(0x99)
        await within(refused.wait())


async def test_a_second_ack_says_so_without_harm():
    async def script(peer):
        await accept(peer)
        peer.send(publishes(1))
        await expect_acks(peer, 1)
        peer.send(publishes(1))
        await expect_acks(peer, 1)
        await goodbye(peer)

    async with serve(script) as server, new_client(server, ack="manual") as client:
        [first] = await take(client, 1)
        first.ack()
        [second] = await take(client, 1)
        with pytest.raises(MqttError, match="acknowledged already"):
            first.ack()
        second.ack()


async def test_below_5_a_message_can_not_be_refused():
    async def script(peer):
        await accept(peer)
        peer.send(publishes(1))
        await expect_acks(peer, 1)
        await goodbye(peer)

    async with serve(script) as server, new_client(server, ack="manual") as client:
        [message] = await take(client, 1)
        with pytest.raises(ValueError, match=r"can't be refused below MQTT 5\.0"):
            message.ack(0x80)
        message.ack()


@pytest.mark.parametrize(
    ("mode", "qos", "match"),
    [
        ("manual", 0, "QoS 0 has no acknowledgement"),
        ("receive", 1, 'did that, unless it is created with ack="manual"'),
    ],
)
async def test_a_message_without_acknowledgement_of_its_own(mode, qos, match):
    async def script(peer):
        await accept(peer)
        peer.send(publish_bytes("t", b"", qos, 1))
        if qos:
            await expect_acks(peer, 1)
        await goodbye(peer)

    async with serve(script) as server, new_client(server, ack=mode) as client:
        [message] = await take(client, 1)
        with pytest.raises(ValueError, match=match):
            message.ack()


async def test_another_thread_is_told_what_to_do():
    async def script(peer):
        await accept(peer)
        peer.send(publishes(1))
        await expect_acks(peer, 1)
        await goodbye(peer)

    async with serve(script) as server, new_client(server, ack="manual") as client:
        [message] = await take(client, 1)
        with pytest.raises(RuntimeError, match="another event loop"):
            await asyncio.to_thread(message.ack)
        message.ack()


# --- the connection ends -------------------------------------------------------


@pytest.mark.parametrize("qos", [1, 2])
async def test_a_late_ack_does_not_reach_the_next_connection(version, qos):
    kind = PUBACK if qos == 1 else PUBREC

    async def first(peer):
        await accept(peer, version)
        peer.send(publishes(1, qos=qos, version=version))
        await left.wait()
        peer.close()

    async def second(peer):
        await accept(peer, version, session_present=int(version > 3))
        peer.send(publishes(1, qos=qos, version=version, dup=True))
        await tried.wait()
        peer.send(publishes(2, qos=qos, version=version))
        await expect_acks(peer, 1, 2, kind=kind)
        await goodbye(peer)

    left, tried = asyncio.Event(), asyncio.Event()
    async with serve(first, second) as server:
        client = lasting(server, version, ack="manual")
        with pytest.raises(MqttError):
            async with client:
                [late] = await take(client, 1)
                left.set()
                await take(client, 1)
        with pytest.raises(MqttError, match="connection on which it came has ended"):
            late.ack()
        async with client:
            [again] = await take(client, 1)
            with pytest.raises(MqttError, match="on which it came has ended"):
                late.ack()
            tried.set()
            [new] = await take(client, 1)
            new.ack()
            again.ack()


@pytest.mark.parametrize("is_kept", [True, False])
@pytest.mark.parametrize("queue_type", [None, asyncio.LifoQueue])
async def test_what_waits_when_the_connection_ends_is_delivered_once(
    is_kept, queue_type
):
    """If the broker sends it again, the queue forgets it; otherwise it is kept."""

    async def first(peer):
        await accept(peer, 5)
        peer.send(publishes(1, 2, version=5) + publish_bytes("t", b"0", version=5))
        peer.send(publishes(3, qos=2, version=5))
        await waiting.wait()
        peer.close()

    async def second(peer):
        await accept(peer, 5, session_present=int(is_kept))
        if is_kept:
            peer.send(publishes(1, 2, version=5, dup=True))
            peer.send(publishes(3, qos=2, version=5, dup=True))
        peer.send(publishes(4, version=5))
        await goodbye(peer)

    waiting = asyncio.Event()
    async with serve(first, second) as server, asyncio.timeout(10):
        client = lasting(server, 5, ack="manual", queue_type=queue_type)
        async with client:
            while len(client.messages) < 4:  # noqa: ASYNC110
                await asyncio.sleep(0)
            waiting.set()
            while client.is_connected():  # noqa: ASYNC110
                await asyncio.sleep(0)
        # One of them was taken before.
        [taken] = await take(client, 1)
        async with client:
            expected = [b"0", b"1", b"2", b"3", b"4"]
            if not is_kept:
                expected.remove(taken.payload)
            while len(client.messages) < len(expected):  # noqa: ASYNC110
                await asyncio.sleep(0)
            messages = await take(client, len(client.messages))
            assert sorted(payloads(messages)) == sorted(expected)


async def test_an_ack_just_before_leaving_leaves_before_the_disconnect(version):
    async def script(peer):
        await accept(peer, version)
        peer.send(publishes(1, version=version))
        await expect_acks(peer, 1)
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version, ack="manual") as c:
        [message] = await take(c, 1)
        message.ack()


# --- processed -----------------------------------------------------------------


async def test_processed_means_that_the_iterator_came_back(version):
    processing: list[bytes] = []
    acknowledged: list[int] = []

    async def script(peer):
        await accept(peer, version)
        peer.send(
            publishes(1, 2, version=version) + publishes(3, qos=2, version=version)
        )
        for kind in (PUBACK, PUBACK, PUBREC):
            _, body = await peer.expect(kind)
            # The one that it is processing now comes after it.
            assert len(processing) > len(acknowledged)
            acknowledged.append(body[1])
        peer.send(publish_bytes("t", b"last", version=version))
        await goodbye(peer)

    async with serve(script) as server:
        client = new_client(server, version, ack="processed")
        async with client, asyncio.timeout(10):
            async for message in client.messages:
                processing.append(message.payload)
                if message.payload == b"last":
                    break
                # It is not acknowledged while it is processed.
                await asyncio.sleep(0.01)
                assert len(acknowledged) < len(processing)
    assert processing == [b"1", b"2", b"3", b"last"]
    assert acknowledged == [1, 2, 3]


@pytest.mark.parametrize("end", ["exception", "break", "cancellation"])
async def test_a_body_that_did_not_finish_leaves_its_message_unacknowledged(end):
    async def first(peer):
        await accept(peer, 5)
        peer.send(publishes(1, 2, version=5))
        await expect_acks(peer, 1)
        await goodbye(peer)

    async def second(peer):
        await accept(peer, 5, session_present=1)
        peer.send(publishes(2, version=5, dup=True))
        await expect_acks(peer, 2)
        await goodbye(peer)

    async def consume(client: Client) -> None:
        async with client:
            async for message in client.messages:
                if message.payload == b"2":
                    if end == "break":
                        break
                    if end == "exception":
                        raise ZeroDivisionError
                    started.set()
                    await asyncio.sleep(60)

    started = asyncio.Event()
    async with serve(first, second) as server, asyncio.timeout(10):
        client = lasting(server, 5, ack="processed")
        consumer = asyncio.create_task(consume(client))
        if end == "cancellation":
            await started.wait()
            consumer.cancel()
        await asyncio.wait([consumer])
        if end == "exception":
            assert isinstance(consumer.exception(), ZeroDivisionError)
        async with client:
            messages = client.messages
            assert (await anext(messages)).payload == b"2"
            # The program acknowledges by coming back, or by itself.
            waiting = asyncio.create_task(anext(messages))
            await asyncio.sleep(0)
            waiting.cancel()


async def test_a_program_may_acknowledge_before_it_comes_back():
    async def script(peer):
        await accept(peer)
        peer.send(publishes(1, 2))
        await expect_acks(peer, 1, 2)
        await goodbye(peer)

    async with (
        serve(script) as server,
        asyncio.timeout(10),
        new_client(server, ack="processed") as client,
    ):
        async for message in client.messages:
            message.ack()
            if message.payload == b"2":
                break


async def test_several_tasks_process_at_once_each_its_own_message():
    """Also if they share the iterator."""
    finished = {b"1": asyncio.Event(), b"2": asyncio.Event()}
    counts: list[bytes] = []

    async def script(peer):
        await accept(peer)
        peer.send(publishes(1, 2))
        await asyncio.sleep(0.01)
        peer.send(publishes(3))
        finished[b"2"].set()
        peer.send(publishes(4))
        await came.wait()
        # Nothing leaves before the first is done.
        finished[b"1"].set()
        await expect_acks(peer, 1, 2, 3)
        peer.close()

    async def work(messages: Any) -> None:
        async for message in messages:
            counts.append(message.payload)
            if message.payload in finished:
                await finished[message.payload].wait()
            if message.payload == b"4":
                came.set()
                await asyncio.sleep(60)

    came = asyncio.Event()
    async with (
        serve(script) as server,
        asyncio.timeout(10),
        new_client(server, ack="processed") as client,
    ):
        messages = client.messages
        workers = [asyncio.create_task(work(messages)) for _ in range(2)]
        done, _ = await asyncio.wait(workers, return_when="FIRST_COMPLETED")
        assert isinstance(done.pop().exception(), MqttError)
        for worker in workers:
            worker.cancel()
        await asyncio.wait(workers)
    assert counts == [b"1", b"2", b"3", b"4"]


async def test_a_discarded_message_is_acknowledged(version):
    """Otherwise it would hold back the acknowledgements of all that come after it."""

    async def script(peer):
        await accept(peer, version)
        peer.send(publishes(1, 2, 3, version=version))
        await expect_acks(peer, 1, 2, 3)
        await goodbye(peer)

    async with serve(script) as server:
        client = new_client(
            server,
            version,
            ack="manual",
            max_queued_incoming_messages=1,
            overflow="drop_newest",
            properties=Properties(receive_maximum=10) if version == 5 else None,
        )
        async with client, asyncio.timeout(10):
            [message] = await take(client, 1)
            while client.messages.discarded < 2:  # noqa: ASYNC110
                await asyncio.sleep(0)
            message.ack()


# --- the Receive Maximum -------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "announced"),
    [
        ({"ack": "manual"}, b""),
        ({"ack": "manual", "max_queued_incoming_messages": 258}, b"\x21\x01\x02"),
        ({"ack": "processed", "max_queued_incoming_messages": 1}, b"\x21\x00\x01"),
        ({"ack": "manual", "max_queued_incoming_messages": 65_535}, b""),
        ({"max_queued_incoming_messages": 258}, b""),
        (
            {
                "ack": "manual",
                "max_queued_incoming_messages": 258,
                "properties": Properties(receive_maximum=3),
            },
            b"\x21\x00\x03",
        ),
    ],
)
async def test_the_receive_maximum_follows_the_bound(arguments, announced):
    async def script(peer):
        body = await accept(peer, 5)
        # Behind protocol name, version, flags and keep alive.
        assert body[10] == len(announced)
        assert body[11 : 11 + len(announced)] == announced
        await goodbye(peer)

    async with serve(script) as server, new_client(server, 5, **arguments):
        pass
