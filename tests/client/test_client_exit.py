"""Leaving: what is still written, who still gets an answer, and for how long."""

import asyncio
import time

import pytest

from aiomqtt import MqttCodeError, MqttError
from tests.peer import (
    DISCONNECT,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    serve,
)
from tests.raw_scripts import (
    CEILING,
    accept,
    ack_bytes,
    cancelled_after,
    expect_publish,
    gone,
    goodbye,
    new_client,
    polite,
    resume_reading,
    serve_politely,
    stop_reading,
    turns,
    within,
)


@pytest.mark.conformance("5.0", "MQTT-3.14.4-1", "MQTT-3.14.4-2")
@pytest.mark.conformance("3.1.1", "MQTT-3.14.1-1", "MQTT-3.14.4-1", "MQTT-3.14.4-2")
async def test_a_clean_exit_says_so_and_closes(version):
    async def script(peer):
        await accept(peer, version)
        assert await peer.expect(DISCONNECT) == (0xE0, b"")
        await peer.expect_end()
        peer.close()

    async with serve(script) as server, new_client(server, version):
        pass


async def test_need_21_what_was_published_is_written_before(version):
    """Need 21: a clean exit flushes, also what is more than buffers hold."""
    count, size = 300, 50_000

    async def script(peer):
        await accept(peer, version)
        for number in range(count):
            published = await expect_publish(peer, version)
            assert published.payload == number.to_bytes(2, "big") + bytes(size)
            if number == 0:
                await asyncio.sleep(0.05)
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version) as client:
        for number in range(count):
            await client.publish("a", number.to_bytes(2, "big") + bytes(size))


async def test_one_big_message_is_written_before(version):
    async def script(peer):
        await accept(peer, version)
        published = await expect_publish(peer, version)
        assert len(published.payload) == 20_000_000
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version) as client:
        await client.publish("a", bytes(20_000_000))


async def test_a_task_that_goes_on_publishing_does_not_hold_the_exit(version):
    async def publish(client):
        while True:
            await client.publish("a", b"", 1)

    async with serve(polite(version)) as server:
        async with new_client(server, version, timeout=3600) as client:
            task = asyncio.create_task(publish(client))
            await turns(20)
        with pytest.raises(MqttCodeError) as caught:
            await within(task)
        assert caught.value.rc == 4


async def test_the_exit_does_not_wait_for_what_was_withdrawn_meanwhile(version):
    """More than may be in flight: the rest is queued until its publisher is gone."""

    async def script(peer):
        await accept(peer, version)
        for _ in range(20):
            await peer.expect(PUBLISH)
        leaving.set()
        await goodbye(peer)

    async def leave(server):
        async with new_client(
            server, version, timeout=3600, max_inflight_messages=20
        ) as client:
            messages = [("a", b"", 1)] * 100
            task = asyncio.create_task(client.publish_many(messages, window=100))
            await within(leaving.wait())
            asyncio.get_running_loop().call_later(0.05, task.cancel)
        assert task.cancelled()

    leaving = asyncio.Event()
    async with serve(script) as server:
        await within(leave(server))


async def test_calls_that_are_pending_in_other_tasks_finish(version):
    none = b"\x00" if version == 5 else b""
    leaving = asyncio.Event()

    async def script(peer):
        await accept(peer, version)
        await peer.expect(PUBLISH)
        await peer.expect(PUBLISH)
        await peer.expect(SUBSCRIBE)
        await within(leaving.wait())
        await asyncio.sleep(0.05)
        peer.send(ack_bytes(PUBACK, 1))
        peer.packet(SUBACK << 4, b"\x00\x03" + none + b"\x00")
        peer.send(ack_bytes(PUBREC, 2))
        assert await peer.expect(PUBREL) == (0x62, b"\x00\x02")
        peer.send(ack_bytes(PUBCOMP, 2))
        await goodbye(peer)

    async with serve(script) as server:
        async with new_client(server, version) as client:
            tasks = [
                asyncio.create_task(client.publish("a", b"", 1)),
                asyncio.create_task(client.publish("a", b"", 2)),
                asyncio.create_task(client.subscribe("a")),
            ]
            await turns()
            leaving.set()
        results = await within(asyncio.gather(*tasks))
        assert results[:2] == [None, None]
        assert list(results[2]) == [0]


async def test_what_waits_for_the_quota_is_sent_before(version):
    async def script(peer):
        await accept(peer, version)
        came = await serve_politely(peer, version)
        assert [first >> 4 for first, _ in came] == [PUBLISH] * 10

    async with serve(script) as server:
        async with new_client(server, version, max_inflight_messages=1) as client:
            tasks = [
                asyncio.create_task(client.publish("a", bytes([n]), 1))
                for n in range(10)
            ]
            await turns()
        await within(asyncio.gather(*tasks))


async def test_calls_that_are_never_answered_end_at_the_timeout():
    async with asyncio.TaskGroup() as tasks:
        for version in (3, 4, 5):
            tasks.create_task(check_that_calls_end_at_the_timeout(version))


async def check_that_calls_end_at_the_timeout(version):
    async def script(peer):
        await accept(peer, version)
        await peer.expect(PUBLISH)
        await goodbye(peer)

    async with serve(script) as server:
        # Enough to enter on a busy machine, too.
        async with new_client(server, version, timeout=1) as client:
            task = asyncio.create_task(client.publish("a", b"", 1, timeout=100))
            await turns()
        with pytest.raises(MqttError):
            await within(task)


async def test_after_a_timeout_there_is_nothing_to_wait_for(version):
    """A publish that timed out does not hold the exit."""

    async def script(peer):
        await accept(peer, version)
        await peer.expect(PUBLISH)
        await goodbye(peer)

    async with serve(script) as server:
        client = new_client(server, version, timeout=60)
        async with client:
            with pytest.raises(MqttError, match="timed out"):
                await client.publish("a", b"", 1, timeout=0.01)
            began = time.monotonic()
        assert time.monotonic() - began < CEILING


# --- by an exception, by cancellation ------------------------------------------


async def test_an_exception_goes_through_and_disconnects(version):
    async def script(peer):
        await accept(peer, version)
        assert (await expect_publish(peer, version)).payload == b"last words"
        await goodbye(peer)

    async with serve(script, polite(version)) as server:
        client = new_client(server, version)
        with pytest.raises(ZeroDivisionError):
            async with client:
                await client.publish("a", b"last words")
                raise ZeroDivisionError
        async with client:
            await client.publish("a", b"", 1)


async def test_an_exception_waits_for_no_answers(version):
    async def script(peer):
        await accept(peer, version)
        await peer.expect(PUBLISH)
        await goodbye(peer)

    async with serve(script) as server:
        began = time.monotonic()
        with pytest.raises(ZeroDivisionError):
            async with new_client(server, version, timeout=60) as client:
                task = asyncio.create_task(client.publish("a", b"", 1))
                await turns()
                raise ZeroDivisionError
        with pytest.raises(MqttError):
            await within(task)
        assert time.monotonic() - began < CEILING


async def test_cancellation_disconnects(version):
    entered = asyncio.Event()

    async def script(peer):
        await accept(peer, version)
        await goodbye(peer)

    async def program(client):
        async with client:
            entered.set()
            async for _ in client.messages:
                pass

    async with serve(script, polite(version)) as server:
        client = new_client(server, version)
        task = asyncio.create_task(program(client))
        await within(entered.wait())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with client:
            await client.publish("a", b"", 1)


async def test_an_exit_that_is_cancelled_cuts_the_connection(version):
    async def script(peer):
        await accept(peer, version)
        await gone(peer)

    async with serve(script, polite(version)) as server:
        client = new_client(server, version, timeout=60)
        await client.__aenter__()
        pending = asyncio.create_task(client.publish("a", b"", 1))
        await turns()
        task = await cancelled_after(3, client.__aexit__(None, None, None))
        assert task.cancelled()
        with pytest.raises(MqttError):
            await within(pending)
        async with client:
            await client.publish("a", b"", 1)


# --- peers that hold it --------------------------------------------------------


async def deaf(peer):
    """Accept, read no more, and close nothing until the client has gone."""
    await accept(peer)
    stop_reading(peer)
    await within(let_go.wait())
    resume_reading(peer)
    await gone(peer)


let_go: asyncio.Event


@pytest.fixture
async def letting_go():
    global let_go
    let_go = asyncio.Event()
    return let_go


@pytest.mark.parametrize("how", ["clean", "an exception"])
async def test_a_peer_that_never_reads_holds_the_exit_for_the_timeout_at_most(
    letting_go, how
):
    async with serve(deaf) as server:
        client = new_client(server, timeout=1)
        began = 0.0
        try:
            async with asyncio.timeout(CEILING), client:
                tasks = [
                    asyncio.create_task(client.publish("a", bytes(1_000_000)))
                    for _ in range(40)
                ]
                await turns(10)
                began = time.monotonic()
                if how != "clean":
                    raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        assert time.monotonic() - began < 5
        results = await within(asyncio.gather(*tasks, return_exceptions=True))
        assert all(
            result is None or isinstance(result, MqttError) for result in results
        )
        assert not client.is_connected()
        letting_go.set()


async def test_a_peer_that_never_closes_does_not_hold_the_exit():
    async with asyncio.TaskGroup() as tasks:
        for version in (3, 4, 5):
            tasks.create_task(check_a_peer_that_never_closes(version))


async def check_a_peer_that_never_closes(version):
    done = asyncio.Event()

    async def script(peer):
        await accept(peer, version)
        await peer.expect(DISCONNECT)
        await within(done.wait())
        peer.close()

    async with serve(script) as server:
        async with asyncio.timeout(CEILING), new_client(server, version, timeout=60):
            pass
        done.set()


async def test_a_peer_that_sends_for_ever_does_not_hold_the_exit():
    async def script(peer):
        await accept(peer)
        try:
            while True:
                peer.send(b"\x30\x03\x00\x01t" * 1000)
                await peer.drain()
                # There is always something to read; more of it would only take time.
                await asyncio.sleep(0.005)
        except ConnectionError:
            peer.close()

    async with (
        serve(script) as server,
        asyncio.timeout(CEILING),
        new_client(server) as client,
    ):
        await anext(client.messages)


async def test_leaving_after_the_broker_has_gone(version):
    async def script(peer):
        await accept(peer, version)
        peer.abort()

    async with (
        serve(script) as server,
        asyncio.timeout(CEILING),
        new_client(server, version) as client,
    ):
        with pytest.raises(MqttError):
            await anext(client.messages)
