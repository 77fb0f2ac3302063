"""The driver of a connection: how packets leave, its timer, its end."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from aiomqtt import MqttError
from aiomqtt.net.coalescing import COALESCING_WINDOW
from aiomqtt.net.owner import DriverState
from aiomqtt.protocol.dispatch import State
from tests.driving import Transport, accepting, connect, driver_of, new_calls, record
from tests.peer import (
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBREC,
    serve,
)
from tests.raw_scripts import (
    CEILING,
    accept,
    ack_bytes,
    answer,
    expect_publish,
    goodbye,
    new_client,
    polite,
    publish_bytes,
    turns,
    within,
)

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
        # Not before: the answers to PUBRECs would be writes, too.
        for number in range(count if qos else 0):
            peer.send(ack_bytes(PUBACK if qos == 1 else PUBREC, number + 1))
        if qos == 2:
            for _ in range(count):
                answer(peer, version, *await peer.read_packet())
        await goodbye(peer)

    async with serve(script) as server:
        client = new_client(server, version, max_inflight_messages=count)
        async with client:
            writes = record(client)
            start = time.monotonic()

            def are_few() -> bool:
                # The machine may have stopped this process meanwhile.
                elapsed = time.monotonic() - start
                return len(writes) <= 3 + elapsed / COALESCING_WINDOW

            if qos:
                tasks = [
                    asyncio.create_task(client.publish("a", bytes([n]), qos))
                    for n in range(count)
                ]
                await turns(2)
                assert writes[0][-1] == 0
                sent = b"".join(writes)
                assert are_few()
                await within(asyncio.gather(*tasks))
            else:
                for number in range(count):
                    await client.publish("a", bytes([number]))
                    assert writes  # the first has left
                await turns()
                sent = b"".join(writes)
            assert are_few()
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
        driver_of(client).data_received(b"".join(chunk))
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
        driver = driver_of(client)
        engine: Any = client._engine
        entered_at = engine.deadline()
        assert driver._timer.deadline == pytest.approx(entered_at, abs=1)
        # As if it were that late.
        driver._timer.stop()
        driver._timer._fire(entered_at)
        assert engine.keep_alive.is_awaited
        assert entered_at < engine.deadline()
        assert driver._timer.deadline == pytest.approx(engine.deadline(), abs=1)
        go_on.set()
        async with asyncio.timeout(CEILING):
            while engine.keep_alive.is_awaited:
                await turns(1)
        assert engine.deadline() == pytest.approx(entered_at + 540, abs=1)
        assert driver._timer.deadline == pytest.approx(engine.deadline(), abs=1)


async def test_without_a_keep_alive_there_is_no_timer(version):
    async with (
        serve(polite(version)) as server,
        new_client(server, version, keepalive=0) as client,
    ):
        await client.publish("a", b"", 2)
        assert driver_of(client)._timer.deadline is None


# --- a connection without a transport yet ------------------------------------------


async def test_the_connect_waits_for_the_transport(version):
    """Whatever is called meanwhile: subscribe, a stream, acknowledgements."""
    calls, engine = new_calls(version)
    transport = Transport()
    engine.connect()
    calls.driver.hold()
    calls.driver.flush()
    calls.push()
    await turns(2)
    calls.driver.connection_made(cast("Any", transport))
    calls.driver.process()
    assert b"".join(transport.written)[0] == 0x10
    calls.driver.abort()


async def test_an_attempt_that_is_cut_is_over(version):
    calls, engine = new_calls(version)
    engine.connect()
    calls.driver.abort()
    assert calls.driver.state is DriverState.CLOSED
    assert engine.is_closed
    assert calls.connected.done()


# --- a connection that is over -----------------------------------------------------


LATE: dict[str, Callable[[Any], None]] = {
    "bytes": lambda driver: driver.data_received(b"\xf0\x00"),
    "the end of the bytes": lambda driver: driver.eof_received(),
    "its loss": lambda driver: driver.connection_lost(OSError()),
    "a full buffer": lambda driver: driver.pause_writing(),
    "a drained buffer": lambda driver: driver.resume_writing(),
    "the timer": lambda driver: driver._tick(0.0),
    "the end of a turn": lambda driver: driver._end_turn(),
    "a look at the room": lambda driver: driver.pause_or_resume_reading(),
    "a packet": lambda driver: driver.push(1_000_000),
    "packets that gather": lambda driver: driver.hold(),
    "a flush": lambda driver: driver.flush(),
    "a disconnect": lambda driver: driver.disconnect(0, None),
    "an abort": lambda driver: driver.abort(),
    "its abandoning": lambda driver: driver.abandon(MqttError("late")),
}


@pytest.mark.parametrize("has_closed", [True, False])
async def test_a_connection_that_is_over_leaves_the_next_one_alone(version, has_closed):
    for late in LATE:
        await check_late(version, late, has_closed)


async def check_late(version, late, has_closed):
    calls, engine = new_calls(version)
    old = calls.driver
    first = connect(calls, engine, version)
    if has_closed:
        old.connection_lost(None)
    else:
        # The broker breaks a rule: what was written last leaves first.
        first.unsent = 1
        old.data_received(b"\xf0\x00")
    assert old.is_over
    was_written = [*first.written]
    calls.begin_connection()
    new = calls.driver
    second = connect(calls, engine, version)
    # What the engine has to hand over now is for the new connection.
    engine.publish("t", b"x", 0, False, None, 0.0)
    deadline = engine.deadline()
    LATE[late](old)
    await turns()
    assert engine.state is State.CONNECTED
    assert engine.deadline() == deadline
    assert first.written == was_written
    assert new.state is DriverState.CONNECTED
    assert calls.is_connected
    assert not calls.is_congested
    new.process()
    assert b"".join(second.written) == publish_bytes("t", b"x", 0, 0, version)
    new.connection_lost(None)
    old.connection_lost(None)


async def test_the_states_of_a_connection(version):
    calls, engine = new_calls(version)
    driver, transport = calls.driver, cast("Any", Transport())
    states = [driver.state]
    engine.connect()
    driver.connection_made(transport)
    driver.process()
    assert driver.state is DriverState.OPENING
    driver.data_received(accepting(version))
    states.append(driver.state)
    transport.unsent = 1
    driver.disconnect(0, None)
    states.append(driver.state)
    assert "write_eof" not in transport.calls
    transport.unsent = 0
    driver.resume_writing()
    await turns()
    states.append(driver.state)
    assert "write_eof" in transport.calls
    driver.connection_lost(None)
    states.append(driver.state)
    assert states == list(DriverState)
    assert driver.closed.done()


async def test_with_nothing_left_to_write_our_side_closes_at_once(version):
    calls, engine = new_calls(version)
    transport = connect(calls, engine, version)
    calls.driver.disconnect(0, None)
    assert calls.driver.state is DriverState.CLOSING
    assert transport.calls == ["write_eof"]
    calls.driver.connection_lost(None)


async def test_a_connection_that_is_never_accepted_only_closes(version):
    calls, engine = new_calls(version)
    engine.connect()
    driver = calls.driver
    driver.connection_made(cast("Any", Transport()))
    driver.process()
    driver.connection_lost(None)
    assert driver.state is DriverState.CLOSED
    error = await calls.connected
    assert str(error).startswith("Connection to here:1883 lost: ")
