"""The session on a Redis server, as programs create it."""

import asyncio
import builtins
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import aiomqtt
from aiomqtt import Client, RedisSession
from aiomqtt.testing import CONNACK, CONNECT, DISCONNECT, PUBLISH, Script
from tests.raw_scripts import within
from tests.redis_servers import RedisServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.mark.parametrize("durability", ["normal", "full"])
async def test_the_session_is_on_the_server(durability, server):
    first, second = Script(), Script()
    first.expect(CONNECT).reply(CONNACK)
    first.expect(PUBLISH, packet_id=1).reply().expect(PUBLISH).expect(DISCONNECT)
    second.expect(CONNECT, clean_start=False).reply(CONNACK, session_present=True)
    second.expect(PUBLISH, packet_id=2, dup=True).reply().expect(DISCONNECT)
    options: dict[str, Any] = {"transport": "memory", "identifier": "me", "protocol": 5}
    async with first:
        session = RedisSession(server.url, durability=durability)
        async with Client(first.name, session=session, timeout=0.5, **options) as one:
            await within(one.publish("a", "1", 1, id="one"))
            one.publish_nowait("a", "2", 1, id="two")
    async with second:
        session = RedisSession(server.url, durability=durability, lease=0.6)
        async with Client(second.name, session=session, **options):
            states = {one.id: one.state for one in await session.receipts()}
            assert states["one"] == "acknowledged"
            with pytest.raises(aiomqtt.SessionStoreError, match="in use"):
                other = RedisSession(server.url)
                await Client("x", session=other, **options).__aenter__()


async def test_a_server_that_is_killed_ends_the_client(server):
    # The server that comes back still has the lease.
    session = RedisSession(server.url, lease=2)
    async with aiomqtt.Broker() as broker:
        options: dict[str, Any] = {"identifier": "me", "session": session}
        client = Client("localhost", broker.port, **options)
        with pytest.raises(aiomqtt.SessionStoreError, match="can't be reached"):
            async with client:
                await client.publish("a", "1", 1, id="one")
                server.kill()
                await client.publish("a", "2", 1, id="two")
        server.start()
        async with client:
            states = {one.id: one.state for one in await session.receipts()}
            assert states["one"] == "acknowledged"
            await client.publish("a", "3", 1, id="three")


PROGRAM = """
import asyncio, sys
import aiomqtt

async def main():
    url, port, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    session = aiomqtt.RedisSession(url, durability="full", lease=0.5)
    client = aiomqtt.Client("127.0.0.1", port, identifier="me", session=session)
    async with client:
        print("entered", flush=True)
        number = len(await session.receipts())
        while last < 0 or number < last:
            await client.publish("n", number, qos=2, id=f"{number}")
            number += 1

asyncio.run(main())
"""


def start(url: str, port: int, last: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, url, str(port), str(last)],
        stdout=subprocess.PIPE,
    )


async def test_a_publisher_that_is_killed_loses_and_doubles_nothing(server):
    numbers: list[int] = []
    async with aiomqtt.Broker() as broker:
        client = Client("127.0.0.1", broker.port)
        async with asyncio.timeout(60), client:
            await client.subscribe("n", qos=2)
            for run in range(3):
                with start(server.url, broker.port, -1) as process:
                    assert process.stdout is not None
                    line = await asyncio.to_thread(process.stdout.readline)
                    assert line == b"entered\n"
                    await asyncio.sleep(0.05 + run * 0.06)
                    process.send_signal(signal.SIGKILL)
                    await asyncio.to_thread(process.wait)
            last = len(client.messages) + 200
            with start(server.url, broker.port, last) as process:
                assert await asyncio.to_thread(process.wait) == 0
            while len(numbers) < last:
                message = await anext(client.messages)
                numbers.append(int(message.payload))
            assert len(client.messages) == 0
    assert numbers == [*range(last)]
    assert last > 200


def test_it_needs_a_package(monkeypatch):
    real = builtins.__import__

    def refuse(name: str, *arguments: Any) -> Any:
        if name.partition(".")[0] == "redis":
            raise ImportError(name)
        return real(name, *arguments)

    for name in [*sys.modules]:
        if name.partition(".")[0] == "redis" or name.startswith("aiomqtt.stores.redis"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r'pip install "aiomqtt\[redis\]"'):
        RedisSession("redis://localhost")


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="durability must be"):
        RedisSession("redis://x", durability="high")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="keep_receipts must be"):
        RedisSession("redis://x", keep_receipts=-1)
