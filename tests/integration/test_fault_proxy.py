"""A client and a broker over a network that breaks at each packet in turn.

Messages go out and come in again with QoS 2, in a session that outlives the
connections: each of them has to arrive, in its order, and just once.
"""

import asyncio
import contextlib
from collections.abc import Iterator

import pytest

import aiomqtt
from aiomqtt.testing import (
    BROKER,
    CLIENT,
    CONNACK,
    CONNECT,
    DISCONNECT,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    FaultProxy,
    NetworkConditions,
)
from tests.integration.conftest import AnyBroker
from tests.integration.programs import SOON, client_of, unique

# Enough for an order, and for something to go on after the first flow.
MESSAGES = 2

# What goes each way when nothing breaks.
FLOW = {
    CLIENT: {CONNECT: 1, SUBSCRIBE: 1, PUBLISH: MESSAGES, PUBREL: MESSAGES},
    BROKER: {CONNACK: 1, SUBACK: 1, PUBLISH: MESSAGES, PUBREL: MESSAGES},
}
for packets in FLOW.values():
    packets |= {PUBREC: MESSAGES, PUBCOMP: MESSAGES}
FLOW[CLIENT][DISCONNECT] = 1


@pytest.fixture(params=["mosquitto", "own"])
def broker_kind(request: pytest.FixtureRequest) -> str:
    """Without memory, where there is no network."""
    kind: str = request.param
    return kind


def boundaries() -> Iterator[tuple[str, object, int]]:
    """Return the points where the connection breaks: before and after each packet."""
    for sender, counts in FLOW.items():
        for number in range(1, sum(counts.values()) + 1):
            yield "before", sender, number
            yield "after", sender, number


async def converse(broker: AnyBroker, proxy: FaultProxy, version: int) -> list[bytes]:
    """Send numbers to itself, and come back until all are there; what arrived."""
    client = client_of(
        broker,
        version,
        persistent=True,
        identifier=unique("itself"),
        port=proxy.port,
    )
    topic = unique("numbers")
    received: list[bytes] = []
    is_subscribed = False
    sent = 0
    async with asyncio.timeout(SOON):
        while len(received) < MESSAGES:
            with contextlib.suppress(aiomqtt.MqttError):
                async with client:
                    if not is_subscribed:
                        await client.subscribe(topic, 2)
                        is_subscribed = True
                    while sent < MESSAGES:
                        sent += 1
                        try:
                            await client.publish(topic, sent, 2)
                        except aiomqtt.MqttCodeError:
                            # There was no connection any more to send it to.
                            sent -= 1
                            raise
                    async for message in client.messages:
                        received.append(message.payload)
                        if len(received) == MESSAGES:
                            break
        # Nothing is left, or comes twice.
        while True:
            with contextlib.suppress(aiomqtt.MqttError):
                async with client:
                    await client.publish(topic, b"last", 2)
                    while b"last" not in received:
                        received.append((await anext(client.messages)).payload)
                    break
    return received


EXPECTED = [b"%d" % number for number in range(1, MESSAGES + 1)] + [b"last"]


async def test_the_flow_when_nothing_breaks(broker, version):
    async with FaultProxy(broker.host, broker.port) as proxy:
        client = client_of(broker, version, port=proxy.port)
        topic = unique("numbers")
        async with client:
            await client.subscribe(topic, 2)
            for number in range(MESSAGES):
                await client.publish(topic, number, 2)
            async with asyncio.timeout(SOON):
                for _ in range(MESSAGES):
                    await anext(client.messages)
                # The end of the last flow.
                while proxy.packets[CLIENT, PUBCOMP] < MESSAGES:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
        for sender, counts in FLOW.items():
            found = {
                kind: n for (who, kind), n in proxy.packets.items() if who is sender
            }
            assert found == counts
        assert (proxy.connections, proxy.triggered) == (1, 0)


# How a connection breaks has nothing to do with the version.
@pytest.mark.parametrize(
    ("version", "fault"),
    [(3, "cut"), (4, "cut"), (5, "cut"), (5, "reset"), (5, "truncate")],
)
async def test_exactly_once_wherever_the_connection_breaks(broker, version, fault):
    for when, sender, number in boundaries():
        if fault == "truncate" and when == "after":
            continue
        async with FaultProxy(broker.host, broker.port) as proxy:
            order = getattr(proxy, when)(sender, None, number)
            getattr(order, fault)()
            assert await converse(broker, proxy, version) == EXPECTED, proxy
            assert proxy.triggered == 1, proxy


async def test_exactly_once_when_it_breaks_again_and_again(broker, version):
    # Others for each version, with which they have nothing to do.
    for seed in range(5 * (version - 3), 5 * (version - 2)):
        async with FaultProxy(broker.host, broker.port, seed=seed) as proxy:
            proxy.order_random_faults(faults=6, packets=40)
            assert await converse(broker, proxy, version) == EXPECTED, proxy


@pytest.mark.parametrize("size", [1, None])
async def test_bytes_come_in_pieces(broker, version, size):
    async with FaultProxy(broker.host, broker.port) as proxy:
        proxy.fragment(size)
        assert await converse(broker, proxy, version) == EXPECTED
        assert proxy.connections == 2


async def test_a_stalled_broker_is_waited_for(broker, version):
    async with FaultProxy(broker.host, broker.port) as proxy:
        order = proxy.before(BROKER, PUBREC, 2)
        order.stall(BROKER)
        conversation = asyncio.create_task(converse(broker, proxy, version))
        async with asyncio.timeout(SOON):
            while not order.triggered:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        assert not proxy.packets[CLIENT, PUBREL] > 1
        proxy.resume()
        assert await conversation == EXPECTED


@pytest.mark.parametrize("seed", range(3))
async def test_exactly_once_over_a_bad_network(broker, version, seed):
    conditions = NetworkConditions(
        latency=0.002,
        jitter=0.004,
        upload=20_000,
        download=20_000,
        stall_interval=0.2,
        stall_duration=0.05,
    )
    async with FaultProxy(
        broker.host, broker.port, seed=seed, conditions=conditions
    ) as proxy:
        proxy.after(BROKER).with_probability(0.1).reset()
        assert await converse(broker, proxy, version) == EXPECTED
