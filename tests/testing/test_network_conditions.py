"""The conditions of a network, and a proxy, a client and a broker in them."""

import asyncio
import contextlib
import dataclasses
import itertools
import math

import pytest

import aiomqtt
from aiomqtt.testing import (
    BROKER,
    CLIENT,
    CONNECT,
    PUBACK,
    PUBLISH,
    FaultProxy,
    NetworkConditions,
)
from aiomqtt.testing.direction import Direction
from tests.testing.through_proxy import (
    CONNECT_BYTES,
    SOON,
    publish,
    rest,
    through,
)
from tests.until import until

PRESETS = ("lan", "wan", "mobile", "poor")

# --- values -----------------------------------------------------------------------


def test_the_presets_become_worse():
    presets = [getattr(NetworkConditions, name) for name in PRESETS]
    for better, worse in itertools.pairwise(presets):
        assert better.latency < worse.latency
        assert better.jitter < worse.jitter
        assert better.upload > worse.upload
        assert better.download > worse.download
        assert better.stall_duration <= worse.stall_duration


def test_a_preset_can_be_changed():
    mobile = NetworkConditions.mobile
    changed = dataclasses.replace(mobile, latency=1)
    assert (changed.latency, changed.upload) == (1, mobile.upload)
    assert NetworkConditions.mobile == mobile != changed
    with pytest.raises(dataclasses.FrozenInstanceError):
        changed.latency = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"latency": -0.1}, "latency must be a finite number, 0 or more, not -0.1"),
        ({"latency": math.inf}, "latency must be a finite number, 0 or more, not inf"),
        ({"jitter": math.nan}, "jitter must be a finite number, 0 or more, not nan"),
        ({"upload": 0}, "upload must be a finite number above 0, not 0"),
        ({"download": -1}, "download must be a finite number above 0, not -1"),
        ({"upload": math.inf}, "upload must be a finite number above 0, not inf"),
        (
            {"stall_interval": 0.01, "stall_duration": 1},
            "stall_interval must be a finite number, 0.1 or more, not 0.01",
        ),
        (
            {"stall_interval": 1, "stall_duration": -1},
            "stall_duration must be a finite number, 0 or more, not -1",
        ),
        ({"stall_interval": 1}, "stalls need both stall_interval and stall_duration"),
        ({"stall_duration": 1}, "stalls need both stall_interval and stall_duration"),
    ],
)
def test_values_out_of_range(values, text):
    with pytest.raises(ValueError, match=f"^{text}$"):
        NetworkConditions(**values)


@pytest.mark.parametrize("name", ["latency", "upload", "stall_interval"])
@pytest.mark.parametrize("value", ["1", True, b"", [1]])
def test_values_of_a_wrong_type(name, value):
    with pytest.raises(TypeError, match=f"^{name} must be a number, not "):
        NetworkConditions(**{name: value})


def test_what_is_no_network():
    text = "conditions must be a NetworkConditions or None, not str"
    with pytest.raises(TypeError, match=text):
        FaultProxy("127.0.0.1", 1883, conditions="mobile")  # type: ignore[arg-type]
    proxy = FaultProxy("127.0.0.1", 1883)
    with pytest.raises(TypeError, match=text):
        proxy.set_conditions("mobile")  # type: ignore[arg-type]
    assert proxy.conditions is None


# --- bytes through the proxy ------------------------------------------------------


def seconds_since(start: float) -> float:
    """Return the seconds since a time of the loop, whose clock may count milliseconds.

    Without the rounding, 0.1 seconds of such a clock can come out as 0.0999...
    """
    return round(asyncio.get_running_loop().time() - start, 3)


async def echo_all(reader, writer, sent: bytes) -> float:
    """Send bytes, check that they come back in order; return the seconds it took."""
    start = asyncio.get_running_loop().time()
    writer.write(sent)
    came = await asyncio.wait_for(reader.readexactly(len(sent)), 4 * SOON)
    assert came == sent
    return seconds_since(start)


async def test_latency_is_for_each_direction():
    async with through(conditions=NetworkConditions(latency=0.05)) as (*_, r, w):
        assert await echo_all(r, w, CONNECT_BYTES) >= 0.1
        # Bytes travel together: many packets take no longer than one.
        sent = b"".join(publish(b"%d" % n) for n in range(200))
        assert 0.1 <= await echo_all(r, w, sent) < 10


@pytest.mark.parametrize("start", [CONNECT_BYTES, b"\x16\x03\x01 TLS, say"])
async def test_bandwidth_in_both_directions(start):
    """Also of bytes that are no packets."""
    up = NetworkConditions(upload=200_000)
    down = NetworkConditions(download=200_000)
    sent = start + b"".join(publish(bytes(100)) for _ in range(400))
    for conditions in (up, down):
        async with through(conditions=conditions) as (*_, r, w):
            seconds = await echo_all(r, w, sent)
            assert len(sent) / 200_000 <= seconds < 10


async def test_one_large_packet_arrives_little_by_little():
    conditions = NetworkConditions(upload=500_000)
    async with through(conditions=conditions) as (echo, proxy, r, w):
        packet = b"\x30\x83\xf1\x04\x00\x01t" + bytes(80_000)
        assert await echo_all(r, w, CONNECT_BYTES + packet) >= 80_000 / 500_000
        assert proxy.packets[CLIENT, PUBLISH] == 1
        assert len(echo.chunks) >= 3


@pytest.mark.parametrize("seed", range(3))
async def test_jitter_and_stalls_keep_the_order(seed):
    conditions = NetworkConditions(
        latency=0.001,
        jitter=0.02,
        upload=400_000,
        stall_interval=0.1,
        stall_duration=0.02,
    )
    async with through(conditions=conditions, seed=seed) as (_, proxy, r, w):
        proxy.fragment(None, CLIENT)
        packets = [publish(b"%d" % n * (n % 40)) for n in range(300)]
        loop = asyncio.get_running_loop()
        reading = loop.create_task(
            r.readexactly(len(CONNECT_BYTES) + sum(map(len, packets)))
        )
        w.write(CONNECT_BYTES)
        for start in range(0, len(packets), 20):
            w.write(b"".join(packets[start : start + 20]))
            await w.drain()
            await asyncio.sleep(0)
        came = await asyncio.wait_for(reading, 4 * SOON)
        assert came == CONNECT_BYTES + b"".join(packets)
        assert proxy.packets[CLIENT, PUBLISH] == 300


async def test_a_large_window_is_on_its_way():
    """Latency does not limit the rate, as long as the window is large enough."""
    conditions = NetworkConditions(latency=0.3, upload=8e6, download=8e6)
    async with through(conditions=conditions) as (*_, r, w):
        packet = b"\x30\x83\x89\x7a\x00\x01t" + bytes(2_000_000)
        # 0.6 s there and back, 0.25 s for the bytes. With 64 KiB on their way it would
        # take 9 s.
        assert 0.85 <= await echo_all(r, w, CONNECT_BYTES + packet) < 6


async def test_a_sender_feels_a_slow_network():
    """What waits for the network is bounded."""
    async with through(conditions=NetworkConditions(upload=1000)) as (_, proxy, _, w):
        w.write(CONNECT_BYTES)
        received = 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                while True:
                    w.write(publish(bytes(120)) * 1000)
                    received += 126_000
                    await w.drain()
        # A read of asyncio is up to 256 KiB.
        assert proxy.packets[CLIENT, PUBLISH] * 125 < 64 * 1024 + 256 * 1024
        w.transport.abort()


async def test_the_loop_does_not_spin(monkeypatch):
    """It wakes up once for each piece at most, not for each byte."""
    runs = 0
    run = Direction._run

    def counted(direction: Direction) -> None:
        nonlocal runs
        runs += 1
        run(direction)

    monkeypatch.setattr(Direction, "_run", counted)
    conditions = NetworkConditions(latency=0.05, upload=100_000)
    async with through(conditions=conditions) as (*_, r, w):
        packet = b"\x30\xa3\x9c\x01\x00\x01t" + bytes(20_000)
        await echo_all(r, w, CONNECT_BYTES + packet)
    pieces = 20_000 / 1460
    # The echo sends back each as it comes.
    assert runs < 3 * pieces + 10


async def test_the_end_travels_like_bytes():
    conditions = NetworkConditions(latency=0.05)
    async with through(conditions=conditions) as (echo, _, r, w):
        loop = asyncio.get_running_loop()
        assert await echo_all(r, w, CONNECT_BYTES) >= 0.1
        start = loop.time()
        w.write_eof()
        assert await rest(r) == b""
        assert seconds_since(start) >= 0.1
        assert echo.ends == ["closed"]


async def test_all_bytes_arrive_before_the_end():
    conditions = NetworkConditions(latency=0.02, jitter=0.02, upload=100_000)
    async with through(conditions=conditions) as (echo, _, r, w):
        sent = CONNECT_BYTES + publish(bytes(100)) * 50 + publish(b"half")[:4]
        w.write(sent)
        w.write_eof()
        assert await rest(r) == sent
        assert echo.ends == ["closed"]


async def test_conditions_change_while_a_connection_is_open():
    async with through() as (_, proxy, r, w):
        await echo_all(r, w, CONNECT_BYTES)
        proxy.set_conditions(NetworkConditions(latency=0.05))
        assert await echo_all(r, w, publish(b"1")) >= 0.1
        # `resume` ends faults only.
        proxy.resume()
        assert await echo_all(r, w, publish(b"2")) >= 0.1
        proxy.set_conditions(NetworkConditions(latency=1000))
        w.write(publish(b"3"))
        await until(lambda: proxy.packets[CLIENT, PUBLISH] == 3)
        proxy.set_conditions(None)
        w.write(publish(b"4"))
        # Bytes never overtake those that are on their way.
        await until(lambda: proxy.packets[CLIENT, PUBLISH] == 4)
        assert not proxy.packets[BROKER, PUBLISH] > 2
        proxy.reset()
        assert (await rest(r)).endswith(b"(reset)")


async def test_a_delay_is_added_to_the_network():
    async with through(conditions=NetworkConditions(latency=0.02)) as (_, proxy, r, w):
        proxy.delay(1000, CLIENT)
        w.write(CONNECT_BYTES)
        await until(lambda: proxy.packets[CLIENT, CONNECT])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(r.read(1), 0.06)
        proxy.resume()
        came = await asyncio.wait_for(r.readexactly(len(CONNECT_BYTES)), SOON)
        assert came == CONNECT_BYTES


async def test_a_fault_waits_for_the_network():
    conditions = NetworkConditions(latency=0.02, jitter=0.01, upload=10_000)
    async with through(conditions=conditions) as (echo, proxy, r, w):
        proxy.before(CLIENT, PUBLISH, 3).truncate(2)
        w.write(CONNECT_BYTES + b"".join(publish(b"%d" % n) for n in range(5)))
        await rest(r)
        await until(lambda: echo.ends)
        whole = CONNECT_BYTES + publish(b"0") + publish(b"1") + publish(b"2")[:2]
        assert whole.startswith(b"".join(echo.chunks))
        assert proxy.bytes[CLIENT] == len(whole)


async def test_the_conditions_are_in_the_notes_of_an_error():
    conditions = NetworkConditions(latency=0.01)
    with pytest.raises(ZeroDivisionError) as failed:
        async with FaultProxy("127.0.0.1", 1, seed=4, conditions=conditions) as proxy:
            assert repr(proxy).endswith(f"conditions={conditions})")
            raise ZeroDivisionError
    assert failed.value.__notes__ == [
        f"FaultProxy(seed=4): no ordered fault happened\n  in {conditions}"
    ]


# --- a client and a broker --------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
async def test_a_client_in_each_network(name):
    conditions: NetworkConditions = getattr(NetworkConditions, name)
    loop = asyncio.get_running_loop()
    async with (
        aiomqtt.Broker() as broker,
        FaultProxy(broker.host, broker.port, conditions=conditions) as proxy,
        aiomqtt.Client(proxy.host, proxy.port) as client,
    ):
        await client.subscribe("t", 1)
        start = loop.time()
        await client.publish("t", b"x", 1)
        assert seconds_since(start) >= 2 * conditions.latency
        message = await asyncio.wait_for(anext(client.messages), 4 * SOON)
        assert message.payload == b"x"
        assert proxy.packets[BROKER, PUBACK] == 1


async def test_faults_in_a_network():
    """Nothing is lost that the client was told to publish, at QoS 2 just once."""
    conditions = NetworkConditions(
        latency=0.002,
        jitter=0.004,
        upload=50_000,
        download=50_000,
        stall_interval=0.2,
        stall_duration=0.05,
    )
    async with (
        aiomqtt.Broker() as broker,
        FaultProxy(broker.host, broker.port, seed=1, conditions=conditions) as proxy,
        aiomqtt.Client(broker.host, broker.port) as listener,
    ):
        await listener.subscribe("numbers", 2)
        proxy.after(BROKER).with_probability(0.05).reset()
        client = aiomqtt.Client(
            proxy.host, proxy.port, identifier="me", clean_session=False
        )
        published, is_done = 0, False
        async with asyncio.timeout(6 * SOON):
            while not is_done:
                with contextlib.suppress(aiomqtt.MqttError):
                    async with client:
                        while published < 30:
                            published += 1
                            await client.publish("numbers", published, 2)
                        await client.publish("last", b"", 1)
                        is_done = True
        broker.publish("numbers", b"last", 2)
        received: list[bytes] = []
        async with asyncio.timeout(SOON):
            while not received or received[-1] != b"last":
                received.append((await anext(listener.messages)).payload)
        assert received[:-1] == [str(n + 1).encode() for n in range(30)], proxy
        assert proxy.triggered, proxy
