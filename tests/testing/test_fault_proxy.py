"""The network that breaks, between plain sockets and our own broker."""

import asyncio
import contextlib
import math
import socket
from typing import Any

import pytest

import aiomqtt
from aiomqtt.testing import (
    BROKER,
    CLIENT,
    CONNACK,
    CONNECT,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    FaultProxy,
)
from aiomqtt.testing.direction import packet_size
from tests.testing.through_proxy import (
    CONNECT_BYTES,
    SOON,
    Echo,
    publish,
    rest,
    through,
)
from tests.until import until

# --- forwarding -----------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_packets_are_counted_however_they_come(size):
    packets = CONNECT_BYTES + publish(b"a") + publish(b"b" * 100) + b"\xc0\x00"
    async with through() as (_, proxy, reader, writer):
        for start in range(0, len(packets), size):
            writer.write(packets[start : start + size])
            await writer.drain()
            await asyncio.sleep(0)
        writer.write_eof()
        assert await rest(reader) == packets
        expected = {"CONNECT": 1, "PUBLISH": 2, "PINGREQ": 1}
        for sender in (CLIENT, BROKER):
            found = {k.name: n for (s, k), n in proxy.packets.items() if s is sender}
            assert found == expected
            assert proxy.bytes[sender] == len(packets)
        assert proxy.connections == 1


@pytest.mark.parametrize("data", [b"\x16\x03\x01 TLS, say", b"\x00\x00", b"GET /"])
async def test_what_is_no_mqtt_passes_as_it_is(data):
    async with through() as (_, proxy, reader, writer):
        writer.write(data)
        assert await asyncio.wait_for(reader.readexactly(len(data)), SOON) == data
        writer.write(b"more")
        assert await asyncio.wait_for(reader.readexactly(4), SOON) == b"more"
        assert not proxy.packets


async def test_large_packets_pass_with_back_pressure():
    payload = bytes(5_000_000)
    packet = b"\x30\xc3\x96\xb1\x02\x00\x01t" + payload
    async with through() as (_, proxy, reader, writer):
        writer.write(CONNECT_BYTES)
        assert await reader.readexactly(len(CONNECT_BYTES)) == CONNECT_BYTES
        writer.write(packet)
        assert await asyncio.wait_for(reader.readexactly(len(packet)), SOON) == packet
        assert proxy.packets[CLIENT, PUBLISH] == 1


async def test_without_a_broker_the_connection_ends():
    async with Echo() as echo:
        port = echo.port
    async with FaultProxy("127.0.0.1", port) as proxy:
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        assert await rest(reader) in (b"", b"(reset)")
        writer.close()


def test_where_a_packet_ends():
    for data, size in (
        (b"\x30", 0),
        (b"\x30\x00", 2),
        (b"\x30\x7f", 129),
        (b"\x30\x80", 0),
        (b"\x30\x80\x01", 131),
        (b"\x30\xff\xff\xff\x7f", 5 + 268_435_455),
        (b"\x30\xff\xff\xff\xff\x01", -1),
        (b"\x00\x00", -1),
    ):
        assert packet_size(data) == size


# --- faults at a packet --------------------------------------------------------------


async def after_two(order: str, when: str = "after", *arguments: Any) -> Any:
    """Order a fault for the second PUBLISH; what comes back, and what the echo got."""
    async with through() as (echo, proxy, reader, writer):
        getattr(getattr(proxy, when)(CLIENT, PUBLISH, 2), order)(*arguments)
        writer.write(CONNECT_BYTES + publish(b"1") + publish(b"2") + publish(b"3"))
        came = await rest(reader)
        assert proxy.orders[0].triggered
        await until(lambda: echo.ends)
        return came, b"".join(echo.chunks), proxy


@pytest.mark.parametrize(("when", "last"), [("before", b"1"), ("after", b"2")])
async def test_cut_at_a_packet(when, last):
    _, got, _ = await after_two("cut", when)
    expected = CONNECT_BYTES + publish(b"1") + (publish(b"2") if last == b"2" else b"")
    assert got == expected


async def test_reset_at_a_packet():
    came, got, proxy = await after_two("reset", "before")
    assert came.endswith(b"(reset)")
    assert publish(b"2") not in got
    assert proxy.packets[CLIENT, PUBLISH] == 2


@pytest.mark.parametrize("size", [0, 1, 4])
async def test_truncate_a_packet(size):
    """The last bytes may be lost by the reset, as they may be on a real network."""
    _, got, _ = await after_two("truncate", "before", size)
    whole = CONNECT_BYTES + publish(b"1") + publish(b"2")[:size]
    assert whole.startswith(got)


async def test_stall_and_black_hole_until_they_are_resumed():
    for fault in ("stall", "black_hole"):
        async with through() as (_, proxy, reader, writer):
            getattr(proxy.before(CLIENT, PUBLISH, 2), fault)(CLIENT)
            sent = CONNECT_BYTES + publish(b"1")
            writer.write(sent + publish(b"2") + publish(b"3"))
            assert await asyncio.wait_for(reader.readexactly(len(sent)), SOON) == sent
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.02)
            proxy.resume()
            writer.write(publish(b"4"))
            late = publish(b"2") + publish(b"3") if fault == "stall" else b""
            late += publish(b"4")
            assert await asyncio.wait_for(reader.readexactly(len(late)), SOON) == late


async def test_a_stalled_sender_feels_it():
    async with through() as (_, proxy, reader, writer):
        proxy.stall(CLIENT)
        writer.write(CONNECT_BYTES)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                for _ in range(1000):
                    writer.write(publish(bytes(120)) * 1000)
                    await writer.drain()
        proxy.resume()
        assert await asyncio.wait_for(reader.readexactly(1000), SOON)
        writer.transport.abort()


async def test_delay_keeps_the_order():
    loop = asyncio.get_running_loop()
    async with through() as (_, proxy, reader, writer):
        proxy.after(CLIENT, CONNECT).delay(0.05)
        start = loop.time()
        sent = CONNECT_BYTES + publish(b"1") + publish(b"2")
        writer.write(sent)
        assert await asyncio.wait_for(reader.readexactly(len(sent)), SOON) == sent
        # Both directions.
        assert loop.time() - start > 0.09


@pytest.mark.parametrize("size", [1, 7, None])
async def test_fragments(size):
    async with through(seed=1) as (echo, proxy, reader, writer):
        proxy.fragment(size)
        sent = CONNECT_BYTES + publish(bytes(range(100)))
        writer.write(sent)
        assert await asyncio.wait_for(reader.readexactly(len(sent)), SOON) == sent
        assert len(echo.chunks) > len(sent) / 20


async def test_just_one_direction_is_delayed():
    async with through() as (_, proxy, reader, writer):
        proxy.delay(1000, BROKER)
        writer.write(CONNECT_BYTES)
        await until(lambda: proxy.packets[BROKER, CONNECT])
        assert proxy.bytes == {CLIENT: len(CONNECT_BYTES)}
        proxy.resume()
        sent = CONNECT_BYTES
        assert await asyncio.wait_for(reader.readexactly(len(sent)), SOON) == sent


async def test_resume_hurries_what_is_delayed():
    async with through() as (_, proxy, reader, writer):
        proxy.after(CLIENT, CONNECT).delay(1000)
        writer.write(CONNECT_BYTES + publish(b"1"))
        await until(lambda: proxy.packets[CLIENT, PUBLISH])
        assert not proxy.packets[BROKER, PUBLISH]
        # The echo of the CONNECT may have come before.
        proxy.resume()
        sent = CONNECT_BYTES + publish(b"1")
        assert await asyncio.wait_for(reader.readexactly(len(sent)), SOON) == sent


async def test_just_one_direction_is_fragmented():
    async with through() as (echo, proxy, reader, writer):
        proxy.after(CLIENT, CONNECT).fragment(1, BROKER)
        sent = CONNECT_BYTES + publish(bytes(60))
        writer.write(sent)
        assert await asyncio.wait_for(reader.readexactly(len(sent)), SOON) == sent
        assert len(echo.chunks) <= 2


@pytest.mark.parametrize(("when", "size"), [("before", 0), ("after", 1)])
async def test_a_fault_waits_for_what_was_sent_before_it(when, size):
    """Behind a delay, and in pieces, too."""
    async with through() as (echo, proxy, reader, writer):
        proxy.delay(0.02)
        proxy.fragment(1, CLIENT)
        getattr(proxy, when)(CLIENT, PUBLISH, 3).reset()
        writer.write(CONNECT_BYTES + b"".join(publish(b"%d" % n) for n in range(5)))
        await rest(reader)
        await until(lambda: echo.ends)
        got = CONNECT_BYTES + b"".join(publish(b"%d" % n) for n in range(2 + size))
        assert b"".join(echo.chunks) == got
        assert (proxy.packets[CLIENT, PUBLISH], proxy.triggered) == (3, 1)
        assert proxy.bytes[CLIENT] == len(got)


async def test_truncated_bytes_come_in_their_order():
    async with through() as (echo, proxy, reader, writer):
        proxy.fragment(2, CLIENT)
        proxy.before(CLIENT, PUBLISH, 2).truncate(3)
        sent = CONNECT_BYTES + publish(bytes(100))
        writer.write(sent + publish(b"2") + publish(b"3"))
        await rest(reader)
        await until(lambda: echo.ends)
        assert b"".join(echo.chunks) == sent + publish(b"2")[:3]


async def test_a_fault_at_once_leaves_those_that_were_ordered():
    async with through() as (_, proxy, reader, writer):
        proxy.after(CLIENT, CONNECT).stall(CLIENT)
        writer.write(CONNECT_BYTES + publish(b"1"))
        sent = CONNECT_BYTES
        assert await asyncio.wait_for(reader.readexactly(len(sent)), SOON) == sent
        proxy.delay(0.001)
        proxy.fragment()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.02)
        proxy.resume()
        assert await asyncio.wait_for(reader.readexactly(6), SOON) == publish(b"1")


async def test_faults_at_once_hold_for_connections_to_come():
    async with through() as (_, proxy, _, _):
        proxy.black_hole(BROKER)
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(CONNECT_BYTES)
        await until(lambda: proxy.packets[BROKER, CONNECT])
        assert proxy.bytes == {CLIENT: len(CONNECT_BYTES)}
        proxy.resume()
        writer.write(publish(b"1"))
        assert await asyncio.wait_for(reader.readexactly(6), SOON) == publish(b"1")
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("fault", ["cut", "reset"])
async def test_all_connections_end_at_once(fault):
    async with through() as (echo, proxy, reader, writer):
        writer.write(CONNECT_BYTES)
        await asyncio.wait_for(reader.readexactly(len(CONNECT_BYTES)), SOON)
        getattr(proxy, fault)()
        assert await rest(reader) == (b"" if fault == "cut" else b"(reset)")
        await until(lambda: echo.ends)
        assert echo.ends == ["closed" if fault == "cut" else "reset"]


async def test_half_a_packet_at_the_end_passes():
    async with through() as (echo, _, reader, writer):
        writer.write(CONNECT_BYTES + publish(b"1")[:4])
        writer.write_eof()
        assert await rest(reader) == CONNECT_BYTES + publish(b"1")[:4]
        assert echo.ends == ["closed"]


async def test_leaving_before_a_client_is_accepted():
    async with Echo() as echo:
        with socket.socket() as client:
            async with FaultProxy("127.0.0.1", echo.port) as proxy:
                client.connect((proxy.host, proxy.port))


@pytest.mark.parametrize("turns", range(10))
async def test_leaving_while_a_client_is_accepted(turns):
    """At every step, also of the connection to the broker."""
    async with Echo() as echo:
        with socket.socket() as client:
            async with FaultProxy("127.0.0.1", echo.port) as proxy:
                client.connect((proxy.host, proxy.port))
                await until(lambda: proxy.connections)
                for _ in range(turns):
                    await asyncio.sleep(0)


# --- orders ---------------------------------------------------------------------


def test_orders_read_as_they_are_written():
    proxy = FaultProxy("127.0.0.1", 1883, seed=5)
    proxy.after(BROKER, PUBREC, 3).reset()
    proxy.before(CLIENT).truncate(2)
    proxy.after(CLIENT, None, 7).delay(0.5)
    assert repr(proxy) == (
        "FaultProxy(seed=5, orders=[after(BROKER, PUBREC, 3).reset(),"
        " before(CLIENT, None, 1).truncate(2), after(CLIENT, None, 7).delay(0.5)])"
    )
    order = proxy.after(BROKER, PUBLISH)
    order.fragment(None)
    assert repr(order) == "after(BROKER, PUBLISH, 1).fragment(None)"
    order = proxy.after(BROKER, PUBLISH)
    order.delay(1, CLIENT)
    assert repr(order) == "after(BROKER, PUBLISH, 1).delay(1, CLIENT)"
    order = proxy.after(BROKER, PUBLISH)
    order.stall()
    assert repr(order) == "after(BROKER, PUBLISH, 1).stall()"


def test_wrong_orders():
    proxy = FaultProxy("127.0.0.1", 1883)
    with pytest.raises(ValueError, match="number"):
        proxy.after(CLIENT, PUBLISH, 0)
    with pytest.raises(ValueError, match="before"):
        proxy.after(CLIENT, PUBLISH).truncate(1)
    with pytest.raises(ValueError, match="size"):
        proxy.before(CLIENT, PUBLISH).truncate(-1)
    for each in (proxy, proxy.after(CLIENT, PUBLISH)):
        for size in (0, -1):
            with pytest.raises(ValueError, match="size must be 1 or more"):
                each.fragment(size)
        for seconds in (-0.1, math.inf, math.nan):
            with pytest.raises(ValueError, match="seconds"):
                each.delay(seconds)
    order = proxy.after(CLIENT, PUBLISH)
    order.cut()
    with pytest.raises(ValueError, match="already"):
        order.reset()


def test_chance_is_made_of_the_seed():
    def orders(seed: int) -> str:
        proxy = FaultProxy("127.0.0.1", 1883, seed=seed)
        assert len(proxy.order_random_faults(faults=20, packets=100)) == 20
        return repr(proxy.orders)

    assert orders(1) == orders(1)
    assert orders(1) != orders(2)


# --- with a client and a broker -------------------------------------------------------


FLOW = [
    (CLIENT, PUBLISH),
    (BROKER, PUBREC),
    (CLIENT, PUBREL),
    (BROKER, PUBCOMP),
]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("sender", "kind"), FLOW)
@pytest.mark.parametrize("number", [1, 3])
async def test_a_publish_is_delivered_once_wherever_it_breaks(
    version, when, sender, kind, number
):
    async with (
        aiomqtt.Broker() as broker,
        FaultProxy(broker.host, broker.port) as proxy,
        aiomqtt.Client(broker.host, broker.port) as listener,
    ):
        await listener.subscribe("numbers", 2)
        getattr(proxy, when)(sender, kind, number).reset()
        options: dict[str, Any] = {"identifier": "me", "protocol": version}
        if version == 5:
            expiry = aiomqtt.Properties(session_expiry_interval=60)
            options |= {"properties": expiry}
        else:
            options |= {"clean_session": False}
        client = aiomqtt.Client(proxy.host, proxy.port, **options)
        published = 0
        while published < 5:
            with contextlib.suppress(aiomqtt.MqttError):
                async with client:
                    while published < 5:
                        published += 1
                        await client.publish("numbers", published, 2)
        async with client:
            await client.publish("numbers", b"last", 2)
        received: list[bytes] = []
        async with asyncio.timeout(SOON):
            while not received or received[-1] != b"last":
                received.append((await anext(listener.messages)).payload)
        assert received == [b"1", b"2", b"3", b"4", b"5", b"last"]
        assert proxy.triggered == 1, proxy
        assert proxy.connections >= 2


@pytest.mark.parametrize("seed", range(5))
async def test_faults_by_chance_lose_nothing(seed):
    async with (
        aiomqtt.Broker() as broker,
        FaultProxy(broker.host, broker.port, seed=seed) as proxy,
        aiomqtt.Client(broker.host, broker.port) as listener,
    ):
        await listener.subscribe("numbers", 2)
        proxy.order_random_faults(faults=8, packets=60)
        client = aiomqtt.Client(
            proxy.host, proxy.port, identifier="me", clean_session=False, timeout=SOON
        )
        published = 0
        async with asyncio.timeout(4 * SOON):
            while published < 40:
                with contextlib.suppress(aiomqtt.MqttError):
                    async with client:
                        while published < 40:
                            published += 1
                            await client.publish("numbers", published, 2)
            while True:
                with contextlib.suppress(aiomqtt.MqttError):
                    async with client:
                        await client.publish("last", b"", 1)
                        break
        broker.publish("numbers", b"last", 2)
        received: list[bytes] = []
        async with asyncio.timeout(SOON):
            while not received or received[-1] != b"last":
                received.append((await anext(listener.messages)).payload)
        assert received[:-1] == [str(n + 1).encode() for n in range(40)], proxy


async def test_counts_tell_what_went_over_the_wire():
    async with (
        aiomqtt.Broker() as broker,
        FaultProxy(broker.host, broker.port) as proxy,
        aiomqtt.Client(proxy.host, proxy.port) as client,
    ):
        for _ in range(3):
            await client.publish("t", qos=1)
        assert proxy.packets[CLIENT, CONNECT] == 1
        assert proxy.packets[BROKER, CONNACK] == 1
        assert proxy.packets[CLIENT, PUBLISH] == 3
        assert proxy.packets[BROKER, PUBACK] == 3
        assert proxy.packets[CLIENT, PUBREL] == 0


async def test_the_beginning_of_a_packet_is_forwarded_at_the_end():
    async with through() as (echo, _, reader, writer):
        sent = CONNECT_BYTES + publish(b"1")[:4]
        writer.write(sent)
        writer.write_eof()
        assert await rest(reader) == sent
        assert b"".join(echo.chunks) == sent
