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
    """The broker of the library, with a store: it keeps its sessions when killed."""

    name = "aiomqtt"
    forgets = False

    def __init__(self, directory: Path) -> None:
        self.address = "127.0.0.1", free_port()
        self._file = directory / "broker.db"
        # A control has a wrong one.
        self.store: type[aiomqtt.SQLiteStore] = aiomqtt.SQLiteStore
        self._process: BaseProcess | None = None

    async def start(self) -> None:
        self._process = processes.start(serve, self.address[1], self.store, self._file)
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
        """Kill it, and start it again."""
        assert self._process is not None
        self._process.kill()
        await asyncio.to_thread(self._process.join)
        await self.start()


def serve(port: int, store: type[aiomqtt.SQLiteStore], file: Path) -> None:
    """Be a broker until SIGTERM comes."""
    asyncio.run(serve_until_terminated(port, store(file)))


async def serve_until_terminated(port: int, store: aiomqtt.SQLiteStore) -> None:
    limits = Limits(maximum_queued_messages=1_000_000, maximum_queued_bytes=1 << 40)
    logger = logging.getLogger("campaign.broker")
    logger.setLevel(logging.ERROR)
    terminated, restarted = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, terminated.set)
    loop.add_signal_handler(signal.SIGHUP, restarted.set)
    broker = aiomqtt.Broker(port=port, limits=limits, logger=logger, store=store)
    await broker.start()
    while not terminated.is_set():
        if restarted.is_set():
            restarted.clear()
            await broker.stop()
            await broker.start()
        await asyncio.sleep(0.02)
    await broker.stop()


class ForgetfulMosquitto(Mosquitto):
    """A mosquitto that has saved nothing since it was started, when it is killed."""

    forgets = True


BROKERS: Final[dict[str, type[ForgetfulMosquitto | OwnProcess]]] = {
    "mosquitto": ForgetfulMosquitto,
    "aiomqtt": OwnProcess,
}
