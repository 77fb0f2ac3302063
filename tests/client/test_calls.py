"""The calls that wait: how they go on, and what they leave behind."""

import asyncio
import gc
import socket
import time
from typing import Any, cast

import pytest

from aiomqtt import MqttError
from tests.driving import calls_of, connect, driver_of, new_calls, record
from tests.peer import (
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBLISH,
    serve,
)
from tests.raw_scripts import (
    CEILING,
    accept,
    ack_bytes,
    answer,
    expect_publish,
    gone,
    goodbye,
    new_client,
    polite,
    publish_bytes,
    resume_reading,
    stop_reading,
    turns,
    within,
)

# --- nobody starves ------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 10_000])
async def test_a_tight_loop_of_publishes_starves_neither_the_reader_nor_the_pings(size):
    """Trap 8: outbound traffic does not keep a PINGREQ from leaving."""
    done = asyncio.Event()

    async def script(peer):
        await accept(peer)
        pings = 0
        while True:
            first, _ = await peer.read_packet()
            if first >> 4 == PINGREQ:
                pings += 1
                peer.packet(PINGRESP << 4)
                peer.send(publish_bytes("t", b"pong"))
            if first >> 4 == DISCONNECT:
                break
        assert pings >= 1
        await peer.expect_end()
        peer.close()

    # The peer reads more slowly than the client writes: little is to lie between them,
    # or the PINGREQ comes too late behind it.
    small = [(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 1024)]
    async with (
        serve(script) as server,
        new_client(server, keepalive=1, socket_options=small) as client,
    ):

        async def receive():
            await anext(client.messages)
            done.set()

        receiver = asyncio.create_task(receive())
        began = time.monotonic()
        while not done.is_set():
            await client.publish("a", bytes(size))
            assert time.monotonic() - began < CEILING
        await receiver


async def test_need_9_publishers_wait_for_a_peer_that_does_not_read():
    """Need 9: memory stays bounded, and what was accepted arrives in order."""
    go_on = asyncio.Event()
    count, size = 1000, 50_000

    async def script(peer):
        await accept(peer)
        stop_reading(peer)
        await within(go_on.wait())
        resume_reading(peer)
        for number in range(count):
            published = await expect_publish(peer)
            assert published.payload == number.to_bytes(2, "big") + bytes(size)
        await goodbye(peer)

    async with serve(script) as server, new_client(server) as client:
        transport: Any = driver_of(client).writer.transport

        async def publisher():
            for number in range(count):
                await client.publish("a", number.to_bytes(2, "big") + bytes(size))

        task = asyncio.create_task(publisher())
        await asyncio.wait([task], timeout=0.5)
        assert not task.done()
        assert transport.get_write_buffer_size() < 1_000_000
        go_on.set()
        async with asyncio.timeout(30):
            await task


async def test_blocked_publishers_go_on_in_order():
    go_on = asyncio.Event()
    count = 200

    async def script(peer):
        await accept(peer)
        stop_reading(peer)
        await within(go_on.wait())
        resume_reading(peer)
        for number in range(count):
            assert (await expect_publish(peer)).payload[0] == number
        await goodbye(peer)

    async with serve(script) as server, new_client(server) as client:
        tasks = [
            asyncio.create_task(client.publish("a", bytes([n]) + bytes(100_000)))
            for n in range(count)
        ]
        _, pending = await asyncio.wait(tasks, timeout=0.2)
        assert pending
        go_on.set()
        await within(asyncio.gather(*tasks))


async def test_blocked_publishers_do_not_all_write_at_once():
    go_on = asyncio.Event()
    count = 300

    async def script(peer):
        await accept(peer)
        stop_reading(peer)
        await within(go_on.wait())
        resume_reading(peer)
        for _ in range(count):
            await expect_publish(peer)
        await goodbye(peer)

    async with serve(script) as server, new_client(server) as client:
        record(client)
        transport: Any = driver_of(client).writer.transport
        tasks = [
            asyncio.create_task(client.publish("a", bytes(100_000)))
            for _ in range(count)
        ]
        _, pending = await asyncio.wait(tasks, timeout=0.2)
        assert len(pending) > count // 2
        assert transport.largest_buffer < 1_000_000
        go_on.set()
        await within(asyncio.gather(*tasks))
        assert transport.largest_buffer < 1_000_000


async def test_pings_leave_while_publishers_are_blocked():
    """Trap 8: and their deadline holds, so that a peer that hangs is noticed."""

    async def script(peer):
        await accept(peer)
        stop_reading(peer)
        await asyncio.sleep(3)
        resume_reading(peer)
        await gone(peer)

    async with serve(script) as server:
        client = new_client(server, keepalive=1)
        async with client:
            with pytest.raises(MqttError) as caught:
                async with asyncio.timeout(CEILING):
                    while True:
                        await client.publish("a", bytes(100_000))
        error = caught.value
        assert 0x8D in (error.reason_code, getattr(error.__cause__, "reason_code", 0))


# --- connection after connection ----------------------------------------------------


async def test_calls_outlive_a_connection(version):
    """Waiting calls learn of its end, and the next connection serves new calls."""
    calls, engine = new_calls(version)
    connect(calls, engine, version)
    waits = calls.waiter(10)
    queues = calls.queue(1, 10)
    calls.driver.pause_writing()
    calls.driver.connection_lost(None)
    for waiter in (waits, queues):
        error = await within(waiter)
        assert "the broker closed it" in str(error)
    calls.forget(waits)
    calls.leave_queue(queues)
    assert calls.error is not None
    # Between the connections too.
    assert str(await within(calls.waiter(10))) == str(calls.error)
    calls.begin_connection()
    assert calls.error is None
    transport = connect(calls, engine, version)
    assert await calls.connected is None
    assert not calls.is_congested
    waits = calls.waiter(10)
    delivery = calls.publish("t", b"x", 1, False, None)
    assert delivery is not None
    delivery.observer = waits
    assert b"".join(transport.written) == publish_bytes("t", b"x", 1, 1, version)
    calls.driver.data_received(ack_bytes(PUBACK, 1))
    assert await within(waits) is None
    calls.driver.connection_lost(None)


async def test_what_leaves_accepts_nothing_on_the_next_connection_either(version):
    calls, engine = new_calls(version)
    connect(calls, engine, version)
    calls.leave()
    calls.driver.connection_lost(None)
    calls.begin_connection()
    connect(calls, engine, version)
    with pytest.raises(MqttError, match="being left"):
        calls.queue(1, 10)
    with pytest.raises(MqttError, match="being left"):
        calls.publish_nowait("t", b"", 1, False, None, "wait", None, cast("Any", None))
    calls.driver.connection_lost(None)


async def test_an_end_that_nobody_has_waited_for_leaves_nothing_behind(version):
    calls, engine = new_calls(version)
    connect(calls, engine, version)
    calls.driver.connection_lost(None)
    assert calls.waiting == 0
    assert await within(calls.idle()) is None


async def test_the_calls_of_a_client_live_from_entering_to_leaving(version):
    async def script(peer):
        await accept(peer, version)
        peer.close()

    async with serve(script) as server:
        client = new_client(server, version)
        assert client._calls is None
        async with client:
            calls = calls_of(client)
            with pytest.raises(MqttError):
                await within(anext(client.messages))
            # The connection is over, and the client is still entered.
            assert calls_of(client) is calls
            assert calls.is_over
        assert client._calls is None


# --- how a delivery ends ---------------------------------------------------------


async def lose_the_connection(client: Any, peer: Any) -> None:
    peer.close()


async def break_a_rule(client: Any, peer: Any) -> None:
    peer.send(b"\xf0\x00\x36")


async def leave(client: Any, peer: Any) -> None:
    await client.__aexit__(RuntimeError, RuntimeError(), None)


@pytest.mark.parametrize("end", [lose_the_connection, break_a_rule, leave])
@pytest.mark.parametrize("qos", [1, 2])
async def test_who_watches_a_delivery_is_told_that_its_session_has_ended(end, qos):
    """Also who waits for no connection."""
    peers = []

    async def script(peer):
        await accept(peer)
        peers.append(peer)
        await expect_publish(peer)
        await gone(peer)

    async with serve(script) as server, new_client(server) as client:
        receipt = client.publish_nowait("t", b"", qos)
        told = asyncio.get_running_loop().create_future()
        receipt._waiters.waiters.append(told)
        await turns(20)
        await end(client, peers[0])
        await within(told)
        assert receipt.outcome == "session lost"


# --- what stays behind ---------------------------------------------------------


def futures():
    gc.collect()
    return sum(isinstance(thing, asyncio.Future) for thing in gc.get_objects())


@pytest.mark.parametrize("qos", [1, 2])
async def test_a_pending_call_keeps_no_finished_ones(qos):
    """Nothing grows with the number of calls that are done."""

    async def script(peer):
        await accept(peer)
        await peer.expect(PUBLISH)
        while True:
            first, body = await peer.read_packet()
            if first >> 4 == DISCONNECT:
                break
            answer(peer, 4, first, body)
        peer.close()

    async with serve(script) as server, new_client(server, timeout=60) as client:
        pending = asyncio.create_task(client.publish("a", b"never answered", qos))
        await turns()
        before = futures()
        for _ in range(500):
            await client.publish("a", b"", qos)
        assert futures() - before < 150
        pending.cancel()


async def test_no_add_reader_and_no_add_writer(version, monkeypatch, anyio_backend):
    """Need 6: not every loop has them."""
    if not anyio_backend[1]["use_uvloop"]:
        loop = asyncio.get_running_loop()
        for name in ("add_reader", "add_writer"):
            monkeypatch.setattr(loop, name, None, raising=False)
    async with serve(polite(version)) as server, new_client(server, version) as client:
        await client.publish("a", b"", 2)
        await client.subscribe("a")
