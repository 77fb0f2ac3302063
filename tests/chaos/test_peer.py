"""The independent peer of the chaos, with real brokers."""

import asyncio
import contextlib
from functools import partial

import pytest

import aiomqtt
from tests.chaos.peer import Peer, drop_session
from tests.until import until


def is_ready(sender, arrived, number):
    return sender.ready.is_set() and len(arrived) >= number


VERSIONS = pytest.mark.parametrize("version", [4, 5])


@contextlib.asynccontextmanager
async def connected(broker, version, name, arrive, subscription=""):
    peer = Peer(broker.host, broker.port, name, version, arrive, subscription)
    task = asyncio.create_task(peer.run())
    try:
        await peer.ready.wait()
        yield peer
    finally:
        task.cancel()
        await asyncio.wait([task])


@VERSIONS
async def test_what_one_peer_publishes_another_receives(version):
    arrived = []
    async with (
        aiomqtt.Broker() as broker,
        connected(
            broker, version, "b", lambda *message: arrived.append(message), "t/#"
        ),
        connected(broker, version, "a", None) as sender,
    ):
        for qos in (1, 2):
            await sender.publish(f"t/{qos}", b"x" * 200, qos)
        await until(lambda: len(arrived) == 2)
    assert arrived == [("t/1", b"x" * 200), ("t/2", b"x" * 200)]


@VERSIONS
async def test_over_restarts_nothing_is_lost_or_doubled(version):
    arrived = []
    async with (
        aiomqtt.Broker() as broker,
        connected(broker, version, "b", lambda _, data: arrived.append(data), "t"),
        connected(broker, version, "a", None) as sender,
    ):
        calls = [
            asyncio.create_task(sender.publish("t", str(number).encode(), 2))
            for number in range(600)
        ]
        for number in (50, 200, 400):
            await until(partial(is_ready, sender, arrived, number))
            broker.kill()
            await broker.start()
        await asyncio.gather(*calls)
        await until(lambda: len(arrived) >= 600)
        assert sender.connections >= 2
        assert sender.lost_sessions == 0
    assert arrived == [str(number).encode() for number in range(600)]


@VERSIONS
async def test_a_session_is_dropped(version):
    async with aiomqtt.Broker() as broker:
        async with connected(broker, version, "a", None):
            assert broker.sessions == {"a"}
        await drop_session(broker.host, broker.port, "a", version)
        await until(lambda: not broker.sessions)
