"""Programs that a test kills again and again.

Each is forked from a process that has imported everything, and runs its file as the
interpreter would: to start the interpreter takes longer than a kill.
"""

import asyncio
import contextlib
import multiprocessing
import os
import random
import runpy
import signal
import sqlite3
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.brokers import Broker
from tests.campaign import processes
from tests.chaos.peer import Peer
from tests.chaos.running import running
from tests.until import becomes_so, until

KILLS = 50
# How many messages wait for the program at most, about.
BACKLOG = 50
# The most seconds until it has ended, or says that it is ready.
PATIENCE = 60.0
MANY = 1 << 16  # bytes


class Program:
    """A program that says when it is ready, is killed and started again.

    Args:
        file: Its file.
        arguments: Its own arguments.
        ready: The line that it prints first, when it is ready.
    """

    def __init__(self, file: Path, *arguments: object, ready: str = "ready") -> None:
        self._command = (str(file), *map(str, arguments))
        self._ready = f"{ready}\n".encode()
        self._random = random.Random(file.name)
        self._process: BaseProcess | None = None
        self._output: Connection | None = None

    async def start(self) -> None:
        self._output, output = multiprocessing.Pipe(duplex=False)
        self._process = processes.start(run, output, *self._command)
        output.close()
        said = b""
        while len(said) < len(self._ready):
            await until(self._output.poll, PATIENCE)
            part = os.read(self._output.fileno(), len(self._ready) - len(said))
            assert part, "it has ended"
            said += part
        assert said == self._ready

    async def end(self, how: signal.Signals) -> None:
        assert self._process is not None
        assert self._process.pid is not None
        with contextlib.suppress(ProcessLookupError):  # on a fast machine
            os.kill(self._process.pid, how)
        await self.finish()

    async def finish(self) -> list[str]:
        """Wait until it has ended; return the lines that it printed after the first."""
        assert self._process is not None
        assert self._output is not None
        await processes.ended(self._process, PATIENCE)
        with self._output:
            return os.read(self._output.fileno(), MANY).decode().split()

    async def kill_again_and_again(self, kills: int = KILLS) -> None:
        """Start and kill it so many times, and leave it started."""
        for _ in range(kills):
            await self.start()
            await asyncio.sleep(self._random.uniform(0, 0.05))
            await self.end(signal.SIGKILL)
        await self.start()


def run(output: Connection, file: str, *arguments: str) -> None:
    """Run a program in this process: what it prints goes to the output."""
    os.dup2(output.fileno(), sys.stdout.fileno())
    output.close()
    sys.argv = [file, *arguments]
    runpy.run_path(file, run_name="__main__")


def numbers_of(file: Path, table: str) -> list[int]:
    """The numbers in a table of a file of SQLite, which a program may be using."""
    with contextlib.closing(sqlite3.connect(file)) as connection:
        rows = connection.execute(f"SELECT number FROM {table} ORDER BY rowid")
        return [number for (number,) in rows]


async def check_that_each_is_processed_once(
    worker: Program,
    broker: Broker,
    processed: Callable[[], list[int]],
    kills: int = KILLS,
) -> None:
    """Kill a program that processes readings while they are published at QoS 2.

    Args:
        worker: The program; it subscribes to ``sensors/+/temperature``.
        broker: The broker, which keeps the order.
        processed: Returns the numbers of the readings that the program has processed.
        kills: How often it is killed.
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
            await worker.kill_again_and_again(kills)
        await becomes_so(lambda: len(processed()) >= sent, 60, 0.1)
        await worker.end(signal.SIGINT)
    numbers = processed()
    assert sent > kills
    # The last call may have been cancelled when its message was sent.
    assert numbers == [*range(1, len(numbers) + 1)]
    assert len(numbers) in (sent, sent + 1)
