"""The brokers of the campaign, each in a process of its own."""

import asyncio
import logging
import os
import random
import signal
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

import aiomqtt
from aiomqtt.broker import Limits
from tests.brokers import answers_connect
from tests.chaos.world import Mosquitto
from tests.ports import free_port
from tests.until import until

from . import processes


class OwnProcess:
    """The broker of the library; it keeps its sessions while its process lives."""

    name = "aiomqtt"

    def __init__(self, _: Path) -> None:
        self.address = "127.0.0.1", free_port()
        self._process: BaseProcess | None = None

    async def start(self) -> None:
        self._process = processes.start(serve, self.address[1])
        await until(lambda: answers_connect(*self.address))

    async def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        await asyncio.to_thread(self._process.join)

    async def restart(self, _: random.Random) -> str:
        assert self._process is not None
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGHUP)
        return "broker stopped and started"

    async def kill(self) -> None:
        """Let it forget all sessions, and start it again."""
        assert self._process is not None
        self._process.kill()
        await asyncio.to_thread(self._process.join)
        await self.start()


def serve(port: int) -> None:
    """Be a broker until SIGTERM comes."""
    asyncio.run(serve_until_terminated(port))


async def serve_until_terminated(port: int) -> None:
    limits = Limits(maximum_queued_messages=1_000_000, maximum_queued_bytes=1 << 40)
    logger = logging.getLogger("campaign.broker")
    logger.setLevel(logging.ERROR)
    terminated, restarted = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, terminated.set)
    loop.add_signal_handler(signal.SIGHUP, restarted.set)
    broker = aiomqtt.Broker(port=port, limits=limits, logger=logger)
    await broker.start()
    while not terminated.is_set():
        if restarted.is_set():
            restarted.clear()
            await broker.stop()
            await broker.start()
        await asyncio.sleep(0.02)
    await broker.stop()


BROKERS: Final[dict[str, type[Mosquitto | OwnProcess]]] = {
    "mosquitto": Mosquitto,
    "aiomqtt": OwnProcess,
}
