"""Programs that a test kills again and again."""

import asyncio
import contextlib
import random
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

from tests.brokers import Broker
from tests.chaos.peer import Peer
from tests.chaos.running import running
from tests.until import becomes_so

KILLS = 50
# How many messages wait for the program at most, about.
BACKLOG = 50


class Program:
    """A program that prints "ready", is killed and started again.

    Args:
        arguments: Those of the interpreter: its file or module, and its own.
    """

    def __init__(self, *arguments: object) -> None:
        self._command = (sys.executable, *map(str, arguments))
        self._random = random.Random(str(arguments[0]))
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
    """The numbers in a table of a file of SQLite, which a program may be using."""
    with contextlib.closing(sqlite3.connect(file)) as connection:
        rows = connection.execute(f"SELECT number FROM {table} ORDER BY rowid")
        return [number for (number,) in rows]


async def check_that_each_is_processed_once(
    worker: Program, broker: Broker, processed: Callable[[], list[int]]
) -> None:
    """Kill a program that processes readings while they are published at QoS 2.

    Args:
        worker: The program; it subscribes to ``sensors/+/temperature``.
        broker: The broker, which keeps the order.
        processed: Returns the numbers of the readings that the program has processed.
    """
    send = Peer(broker.host, broker.port, "send", 4, lambda topic, payload: None)
    sent = 0

    def is_near() -> bool:
        return sent - len(processed()) < BACKLOG

    async def publish() -> None:
        nonlocal sent
        while True:
            payload = b"[%d, 20.5]" % (sent + 1)
            await send.publish("sensors/1/temperature", payload, 2)
            sent += 1
            # The program commits each message on its own.
            await asyncio.sleep(0.005)
            if sent % BACKLOG == 0:
                await becomes_so(is_near, 60, 0.1)

    async with running(send.run()):
        await worker.start()  # it subscribes
        await worker.end(signal.SIGKILL)
        async with running(publish()):
            await worker.kill_again_and_again()
        await becomes_so(lambda: len(processed()) >= sent, 60, 0.1)
        await worker.end(signal.SIGINT)
    numbers = processed()
    assert sent > KILLS
    # The last call may have been cancelled when its message was sent.
    assert numbers == [*range(1, len(numbers) + 1)]
    assert len(numbers) in (sent, sent + 1)
