"""The examples with durable sessions, each killed 50 times at any moment."""

import json
import signal
from pathlib import Path

import pytest

from tests.brokers import Broker
from tests.chaos.peer import Peer
from tests.chaos.running import running
from tests.killed.program import (
    KILLS,
    Program,
    check_that_each_is_processed_once,
    numbers_of,
)
from tests.until import becomes_so

pytestmark = [pytest.mark.once("pure"), pytest.mark.timeout(600)]

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str, *arguments: object) -> Program:
    return Program(EXAMPLES / name, *arguments)


async def test_each_reading_of_the_sensor_is_stored_and_arrives_once(
    quiet_broker: Broker, tmp_path: Path
):
    came: list[int] = []
    address = quiet_broker.host, quiet_broker.port
    watch = Peer(
        *(*address, "watch", 4),
        lambda topic, payload: came.append(json.loads(payload)[0]),
        "sensors/#",
    )
    file = tmp_path / "sensor.db"
    sensor = example("sensor.py", *address, file, 0)
    async with running(watch.run()):
        await watch.ready.wait()
        await sensor.kill_again_and_again()
        await sensor.end(signal.SIGKILL)
        left = len(numbers_of(file, "readings"))
        # This one sends what is left, with one reading of its own.
        slow_sensor = example("sensor.py", *address, file, 60)
        await slow_sensor.start()
        await becomes_so(
            lambda: left < len(numbers_of(file, "readings")) <= len(came), 10
        )
        await slow_sensor.end(signal.SIGINT)
    stored = numbers_of(file, "readings")
    assert len(stored) > KILLS
    assert came == stored == list(range(1, len(stored) + 1))


async def test_each_message_of_the_worker_is_processed_once(
    quiet_broker: Broker, tmp_path: Path
):
    file = tmp_path / "worker.db"
    worker = example("worker.py", quiet_broker.host, quiet_broker.port, file)
    await check_that_each_is_processed_once(
        worker, quiet_broker, lambda: numbers_of(file, "processed")
    )
