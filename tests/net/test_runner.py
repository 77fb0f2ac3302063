"""The runner of a connection: how packets leave, and that nobody starves."""

import asyncio
import gc
import socket
import time
from typing import Any

import pytest

from aiomqtt import MqttError
from aiomqtt.client.window import Waiters
from aiomqtt.protocol.outbound import LOST
from tests.conversation import (
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
from tests.peer import (
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBLISH,
    PUBREC,
    serve,
)


class Recorder:
    """A transport that notes what is written to it."""

    def __init__(self, transport):
        self._transport = transport
        self.writes = []
        self.largest_buffer = 0

    def write(self, data):
        self.writes.append(bytes(data))
        self._transport.write(data)
        size = self._transport.get_write_buffer_size()
        self.largest_buffer = max(self.largest_buffer, size)

    def writelines(self, parts):
        self.write(b"".join(parts))

    def __getattr__(self, name):
        return getattr(self._transport, name)


def record(client: Any) -> list[bytes]:
    runner = client._runner
    recorder = Recorder(runner._transport)
    runner._transport = recorder
    return recorder.writes


def runner_of(client: Any) -> Any:
    return client._runner


# --- coalescing ----------------------------------------------------------------


@pytest.mark.parametrize("qos", [0, 1])
async def test_a_lone_packet_leaves_at_once(version, qos):
    """In the call's own first step; what follows closely: within a turn of the loop."""
    async with serve(polite(version)) as server, new_client(server, version) as client:
        await asyncio.sleep(0.1)
        writes = record(client)
        for number in (1, 2, 3):
            call = asyncio.ensure_future(client.publish("a", bytes([number]), qos))
            await turns(1 if number == 1 else 2)
            assert len(writes) == number
            assert writes[-1][-1] == number
            await within(call)


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_need_15_a_burst_leaves_in_few_writes_and_begins_at_once(version, qos):
    """Need 15: the first byte of a burst of 100 leaves before the last call."""
    count = 100

    async def script(peer):
        await accept(peer, version)
        for number in range(count):
            published = await expect_publish(peer, version)
            assert published.payload == bytes([number])
            if qos:
                peer.send(ack_bytes(PUBACK if qos == 1 else PUBREC, number + 1))
        if qos == 2:
            for _ in range(count):
                answer(peer, version, *await peer.read_packet())
        await goodbye(peer)

    async with serve(script) as server:
        client = new_client(server, version, max_inflight_messages=count)
        async with client:
            writes = record(client)
            if qos:
                tasks = [
                    asyncio.create_task(client.publish("a", bytes([n]), qos))
                    for n in range(count)
                ]
                await turns(2)
                assert writes[0][-1] == 0
                sent = b"".join(writes)
                assert len(writes) <= 3
                await within(asyncio.gather(*tasks))
            else:
                for number in range(count):
                    await client.publish("a", bytes([number]))
                    assert writes  # the first has left
                await turns()
                sent = b"".join(writes)
                assert len(writes) <= 3
            size = 5 + 2 * bool(qos) + (version == 5) + 1
            assert len(sent) == count * size


async def test_a_big_burst_leaves_in_parts(version):
    """Packets do not gather without a bound."""
    async with serve(polite(version)) as server, new_client(server, version) as client:
        writes = record(client)
        for _ in range(300):
            await client.publish("a", bytes(1000))
        assert len(b"".join(writes)) > 200_000
        assert max(map(len, writes)) < 200_000


async def test_the_acks_of_a_chunk_leave_in_one_write(version):
    async def script(peer):
        await accept(peer, version)
        for number in range(1, 51):
            assert await peer.expect(PUBACK) == (0x40, bytes([0, number]))
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version) as client:
        writes = record(client)
        chunk = [publish_bytes("t", b"", 1, n, version) for n in range(1, 51)]
        assert client._runner is not None
        client._runner.data_received(b"".join(chunk))
        assert len(writes) == 1
        assert writes[0] == b"".join(ack_bytes(PUBACK, n) for n in range(1, 51))


@pytest.mark.conformance("5.0", "MQTT-4.6.0-2", "MQTT-4.6.0-3", "MQTT-4.6.0-4")
@pytest.mark.conformance("3.1.1", "MQTT-4.6.0-2", "MQTT-4.6.0-3", "MQTT-4.6.0-4")
async def test_acks_leave_in_the_order_of_what_they_answer(version):
    async def script(peer):
        await accept(peer, version)
        ids = [3, 1, 2, 9, 8]
        for packet_id in ids:
            peer.send(publish_bytes("t", b"", 1, packet_id, version))
            peer.send(publish_bytes("t", b"", 2, packet_id + 100, version))
        for packet_id in ids:
            assert await peer.expect(PUBACK) == (0x40, bytes([0, packet_id]))
            assert await peer.read_packet() == (0x50, bytes([0, packet_id + 100]))
        # PUBREL in the order of the PUBRECs.
        came = [await expect_publish(peer, version) for _ in range(3)]
        for number in (2, 0, 1):
            peer.packet(0x50, came[number].packet_id.to_bytes(2, "big"))
        for number in (2, 0, 1):
            expected = came[number].packet_id.to_bytes(2, "big")
            assert await peer.read_packet() == (0x62, expected)
            peer.packet(0x70, expected)
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version) as client:
        for _ in range(10):
            await within(anext(client.messages))
        await within(asyncio.gather(*(client.publish("a", b"", 2) for _ in range(3))))


# --- nobody starves ------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 100, 10_000])
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
        new_client(server, keepalive=2, socket_options=small) as client,
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
        transport: Any = runner_of(client)._transport

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
        transport: Any = runner_of(client)._transport
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


# --- the timer -------------------------------------------------------------------


async def test_the_timer_stands_at_the_deadline_of_the_engine(version):
    """After each call: what comes from the broker moves it too."""
    go_on = asyncio.Event()

    async def script(peer):
        await accept(peer, version)
        await peer.expect(PINGREQ)
        await within(go_on.wait())
        peer.packet(PINGRESP << 4)
        await goodbye(peer)

    async with (
        serve(script) as server,
        new_client(server, version, keepalive=600) as client,
    ):
        runner = runner_of(client)
        engine: Any = client._engine
        entered_at = engine.deadline()
        assert runner._timer.when() == pytest.approx(entered_at, abs=1)
        # As if it were that late.
        runner._timer.cancel()
        runner._tick(entered_at)
        assert engine.awaits_pingresp
        assert entered_at < engine.deadline()
        assert runner._timer.when() == pytest.approx(engine.deadline(), abs=1)
        go_on.set()
        async with asyncio.timeout(CEILING):
            while engine.awaits_pingresp:
                await turns(1)
        assert engine.deadline() == pytest.approx(entered_at + 540, abs=1)
        assert runner._timer.when() == pytest.approx(engine.deadline(), abs=1)


async def test_without_a_keep_alive_there_is_no_timer(version):
    async with (
        serve(polite(version)) as server,
        new_client(server, version, keepalive=0) as client,
    ):
        await client.publish("a", b"", 2)
        assert runner_of(client)._timer is None


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
        watchers = Waiters()
        delivery = runner_of(client).publish_watched(
            "t", b"", qos, False, None, watchers
        )
        told = asyncio.get_running_loop().create_future()
        watchers.waiters.append(told)
        await turns(20)
        await end(client, peers[0])
        await within(told)
        assert delivery.state == LOST


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
