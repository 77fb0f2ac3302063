"""Faults that happen more than once, at packets and at connections."""

import asyncio
import contextlib
import math

import pytest

import aiomqtt
from aiomqtt.testing import (
    BROKER,
    CLIENT,
    CONNECT,
    DISCONNECT,
    PUBLISH,
    PUBREC,
    FaultOrder,
    FaultProxy,
)
from tests.testing.through_proxy import (
    CONNECT_BYTES,
    SOON,
    publish,
    rest,
    through,
    until_triggered,
)
from tests.until import until


def occurrences(proxy: FaultProxy, order: FaultOrder, count: int = 12) -> list[int]:
    """Return the occurrences that an order chooses, without any connection."""
    assert order in proxy.orders
    return [number for number in range(1, count + 1) if order.is_due(number)]


@pytest.mark.parametrize(
    ("number", "conditions", "expected"),
    [
        (1, {}, [1]),
        (3, {}, [3]),
        (1, {"times": 3}, [1, 2, 3]),
        (4, {"times": 2}, [4, 5]),
        (1, {"every": 3}, [3, 6, 9, 12]),
        (3, {"every": 4}, [6, 10]),
        (2, {"every": 1}, [*range(2, 13)]),
        (1, {"every": 5, "times": 1}, [5]),
        (1, {"times": 2, "every": 5}, [5, 10]),
        (11, {"with_probability": 1}, [11, 12]),
        (1, {"with_probability": 1.0, "times": 4}, [1, 2, 3, 4]),
    ],
)
def test_the_occurrences_of_a_fault(number, conditions, expected):
    proxy = FaultProxy("127.0.0.1", 1883)
    order = proxy.before(CLIENT, PUBLISH, number)
    for name, value in conditions.items():
        assert getattr(order, name)(value) is order
    order.cut()
    assert occurrences(proxy, order) == expected


def test_an_occurrence_that_has_passed_does_not_come_again():
    proxy = FaultProxy("127.0.0.1", 1883)
    late = proxy.before(CLIENT, PUBLISH, 2)
    late.cut()
    assert not late.is_due(3)
    late = proxy.before(CLIENT, PUBLISH, 2).times(2)
    late.cut()
    assert [late.is_due(number) for number in (5, 6, 7)] == [True, True, False]


def test_chance_depends_on_the_seed_alone():
    def chosen(seed: int, probability: float, others: int = 0) -> list[int]:
        proxy = FaultProxy("127.0.0.1", 1883, seed=seed)
        order = proxy.after(BROKER).with_probability(probability)
        order.reset()
        # What else happens by chance changes nothing.
        for _ in range(others):
            proxy.after(BROKER).with_probability(0.5).reset()
        proxy.order_random_faults(others, 100)
        for other in proxy.orders[1 : 1 + others]:
            other.is_due(1)
        return occurrences(proxy, order, 10_000)

    assert chosen(1, 0.1) == chosen(1, 0.1, others=3)
    assert chosen(1, 0.1) != chosen(2, 0.1)
    # Five standard deviations of a binomial distribution: 150.
    assert 850 < len(chosen(1, 0.1)) < 1150


def test_orders_of_one_proxy_have_their_own_chances():
    proxy = FaultProxy("127.0.0.1", 1883)
    orders = [proxy.after(CLIENT).with_probability(0.5) for _ in range(2)]
    for order in orders:
        order.reset()
    first, second = (occurrences(proxy, order, 100) for order in orders)
    assert first != second


def test_a_seed_for_each_proxy():
    first, second = (FaultProxy("127.0.0.1", 1883, seed=None) for _ in range(2))
    assert first.seed != second.seed
    assert f"seed={first.seed}," in repr(first)


def test_orders_with_conditions_read_as_they_are_written():
    proxy = FaultProxy("127.0.0.1", 1883)
    proxy.after(BROKER, PUBREC, 3).times(2).reset()
    proxy.before(CLIENT).times(2).every(3).truncate(0)
    proxy.on_connection().every(2).cut()
    proxy.on_connection(4).with_probability(0.25).delay(1, CLIENT)
    assert [repr(order) for order in proxy.orders] == [
        "after(BROKER, PUBREC, 3).times(2).reset()",
        "before(CLIENT, None, 1).times(2).every(3).truncate(0)",
        "on_connection(1).every(2).cut()",
        "on_connection(4).with_probability(0.25).delay(1, CLIENT)",
    ]


def test_wrong_conditions():
    proxy = FaultProxy("127.0.0.1", 1883)
    order = proxy.after(CLIENT, PUBLISH)
    for name in ("times", "every"):
        for number in (0, -1):
            with pytest.raises(ValueError, match="number must be 1 or more"):
                getattr(order, name)(number)
        with pytest.raises(TypeError, match="number must be an int, not float"):
            getattr(order, name)(1.5)
    for probability in (0, -0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="probability must be above 0"):
            order.with_probability(probability)
    order.times(2)
    with pytest.raises(ValueError, match=r"already has times\(2\)"):
        order.times(3)
    order.every(3)
    with pytest.raises(ValueError, match="either every or with_probability"):
        order.with_probability(0.5)
    order.cut()
    with pytest.raises(ValueError, match=r"times\(1\) must come before the fault"):
        order.times(1)
    # None of these calls has changed anything.
    assert repr(order) == "after(CLIENT, PUBLISH, 1).times(2).every(3).cut()"
    with pytest.raises(ValueError, match="number"):
        proxy.on_connection(0)
    with pytest.raises(ValueError, match="before"):
        proxy.on_connection().truncate()
    with pytest.raises(TypeError, match="number must be an int, not str"):
        proxy.before(CLIENT, PUBLISH, "2")  # type: ignore[arg-type]


async def test_a_fault_at_each_second_packet():
    async with through() as (_, proxy, reader, writer):
        proxy.before(CLIENT, PUBLISH).every(2).black_hole(CLIENT)
        sent = CONNECT_BYTES
        writer.write(sent)
        assert await asyncio.wait_for(reader.readexactly(len(sent)), SOON) == sent
        for number in range(1, 4):
            kept = publish(b"%d" % number)
            writer.write(kept + publish(b"lost"))
            assert await asyncio.wait_for(reader.readexactly(len(kept)), SOON) == kept
            await until_triggered(proxy, number)
            proxy.resume()
        assert proxy.orders[0].count == 3


@pytest.mark.parametrize("fault", ["cut", "reset"])
async def test_the_first_connections_fail(fault):
    async with (
        aiomqtt.Broker() as broker,
        FaultProxy(broker.host, broker.port) as proxy,
    ):
        getattr(proxy.on_connection().times(2), fault)()
        for _ in range(2):
            with pytest.raises(aiomqtt.MqttError):
                await aiomqtt.Client(proxy.host, proxy.port).__aenter__()
        assert not broker.statistics.messages_received
        assert not proxy.bytes
        async with aiomqtt.Client(proxy.host, proxy.port) as client:
            await client.publish("t", b"x", 1)
        assert (proxy.connections, proxy.triggered) == (3, 2)


async def test_a_fault_at_a_connection_that_is_no_mqtt():
    """Each second one is delayed, from its first byte on."""
    async with through() as (_, proxy, _, _):
        proxy.on_connection(2).delay(1000)
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(b"GET /")
        await until(lambda: proxy.triggered)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.02)
        proxy.resume()
        assert await asyncio.wait_for(reader.readexactly(5), SOON) == b"GET /"
        writer.close()
        await writer.wait_closed()


async def test_an_error_has_a_note_of_the_seed_and_the_faults():
    with pytest.raises(ZeroDivisionError) as failed:
        async with through(seed=7) as (_, proxy, reader, writer):
            proxy.before(CLIENT, PUBLISH).times(3).fragment(2)
            proxy.after(CLIENT, PUBLISH, 2).cut()
            proxy.after(CLIENT, PUBLISH, 9).reset()
            writer.write(CONNECT_BYTES + publish(b"1") + publish(b"2"))
            await rest(reader)
            raise ZeroDivisionError
    [note] = failed.value.__notes__
    assert note.splitlines() == [
        "FaultProxy(seed=7): ordered faults that happened",
        "  before(CLIENT, PUBLISH, 1).times(3).fragment(2) happened 2 times",
        "  after(CLIENT, PUBLISH, 2).cut() happened once",
    ]


async def test_a_note_names_a_few_faults_only():
    with pytest.raises(ZeroDivisionError) as failed:
        async with through() as (_, proxy, reader, writer):
            for _ in range(30):
                proxy.after(CLIENT, CONNECT).fragment(100)
            writer.write(CONNECT_BYTES)
            await reader.readexactly(len(CONNECT_BYTES))
            raise ZeroDivisionError
    lines = failed.value.__notes__[0].splitlines()
    assert len(lines) == 22
    assert lines[-1] == "  (10 more orders happened)"


async def test_a_note_says_that_nothing_happened():
    with pytest.raises(ZeroDivisionError) as failed:
        async with FaultProxy("127.0.0.1", 1883, seed=3) as proxy:
            proxy.after(CLIENT, CONNECT).cut()
            raise ZeroDivisionError
    assert failed.value.__notes__ == ["FaultProxy(seed=3): no ordered fault happened"]


@pytest.mark.parametrize("seed", range(3))
async def test_each_packet_may_be_the_last(seed):
    """A connection of which each packet ends it, by chance or by number."""
    async with (
        aiomqtt.Broker() as broker,
        FaultProxy(broker.host, broker.port, seed=seed) as proxy,
        aiomqtt.Client(broker.host, broker.port) as listener,
    ):
        await listener.subscribe("numbers", 2)
        proxy.after(BROKER).with_probability(0.1).reset()
        proxy.before(CLIENT).every(15).truncate(3)
        client = aiomqtt.Client(
            proxy.host, proxy.port, identifier="me", clean_session=False
        )
        published = 0
        async with asyncio.timeout(4 * SOON):
            while published < 40 or not proxy.packets[CLIENT, DISCONNECT]:
                with contextlib.suppress(aiomqtt.MqttError):
                    async with client:
                        while published < 40:
                            published += 1
                            await client.publish("numbers", published, 2)
                        await client.publish("last", b"", 1)
        broker.publish("numbers", b"last", 2)
        received: list[bytes] = []
        async with asyncio.timeout(SOON):
            while not received or received[-1] != b"last":
                received.append((await anext(listener.messages)).payload)
        assert received[:-1] == [str(n + 1).encode() for n in range(40)], proxy
        assert proxy.triggered > 5
        assert proxy.connections > proxy.triggered / 2
