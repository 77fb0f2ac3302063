"""Unix sockets, against mosquitto."""

import tempfile

import pytest

import aiomqtt
from tests.brokers import Broker
from tests.integration.programs import payloads


@pytest.fixture
def path(tmp_path):
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        path = f"{directory}/broker.sock"
        broker = Broker(tmp_path, settings=f"listener 0 {path}")
        broker.start()
        yield path
        broker.stop()


async def test_a_round_trip(path, version):
    client = aiomqtt.Client(path, transport="unix", protocol=version)
    for _ in range(2):
        async with client:
            await client.subscribe("topic", 2)
            for qos in (0, 1, 2):
                await client.publish("topic", bytes(1_000_000), qos)
            assert await payloads(client, 3) == [bytes(1_000_000)] * 3
