"""The examples with durable sessions, each killed 50 times at any moment."""

import asyncio
import contextlib
import json
import random
import signal
import sqlite3
import sys
from pathlib import Path

import pytest

from tests.brokers import Broker
from tests.chaos.peer import Peer
from tests.chaos.running import running
from tests.until import becomes_so

pytestmark = [pytest.mark.once("pure"), pytest.mark.timeout(180)]

EXAMPLES = Path(__file__).parents[2] / "examples"
KILLS = 50
TOPIC = "sensors/1/temperature"


class Example:
    """One of the examples, which is killed and started again.

    Args:
        name: Its file.
        arguments: Those of its command line.
    """

    def __init__(self, name: str, *arguments: object) -> None:
        self._command = (sys.executable, str(EXAMPLES / name), *map(str, arguments))
        self._random = random.Random(name)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdout=asyncio.subprocess.PIPE
        )
        assert self._process.stdout is not None
        assert await self._process.stdout.readline() == b"ready\n"

    async def end(self, how: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(how)
        await self._process.communicate()

    async def kill_again_and_again(self) -> None:
        for _ in range(KILLS):
            await self.start()
            await asyncio.sleep(self._random.uniform(0, 0.05))
            await self.end(signal.SIGKILL)
        await self.start()


def numbers_of(file: Path, table: str) -> list[int]:
    """The numbers in the table of an example, which may be running."""
    with contextlib.closing(sqlite3.connect(file)) as connection:
        rows = connection.execute(f"SELECT number FROM {table} ORDER BY rowid")
        return [number for (number,) in rows]


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
    sensor = Example("sensor.py", *address, file, 0)
    async with running(watch.run()):
        await watch.ready.wait()
        await sensor.kill_again_and_again()
        await sensor.end(signal.SIGKILL)
        left = len(numbers_of(file, "readings"))
        # This one sends what is left, with one reading of its own.
        slow_sensor = Example("sensor.py", *address, file, 60)
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
    address = quiet_broker.host, quiet_broker.port
    send = Peer(*(*address, "send", 4), lambda topic, payload: None)
    file = tmp_path / "worker.db"
    worker = Example("worker.py", *address, file)
    sent = 0

    async def publish() -> None:
        nonlocal sent
        await worker_subscribed.wait()
        while True:
            await send.publish(TOPIC, b"[%d, 20.5]" % (sent + 1), 2)
            sent += 1
            # The worker commits each message on its own.
            await asyncio.sleep(0.005)

    worker_subscribed = asyncio.Event()
    async with running(send.run()):
        await worker.start()
        worker_subscribed.set()
        await worker.end(signal.SIGKILL)
        async with running(publish()):
            await worker.kill_again_and_again()
        await becomes_so(lambda: len(numbers_of(file, "processed")) >= sent, 20)
        await worker.end(signal.SIGINT)
    processed = numbers_of(file, "processed")
    assert sent > KILLS
    # The last call may have been cancelled when its message was sent.
    assert processed == [*range(1, len(processed) + 1)]
    assert len(processed) in (sent, sent + 1)
