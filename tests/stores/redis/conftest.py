"""A Redis server for each test, and stores on it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aiomqtt.stores.redis.session_store import RedisSessionStore
from tests.redis_servers import RedisServer


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Return a function that starts a server with some settings."""
    servers: list[RedisServer] = []

    def start(**settings: str) -> RedisServer:
        directory = tmp_path / f"redis-{len(servers)}"
        directory.mkdir()
        servers.append(RedisServer(directory, **settings))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def server(start_server: Callable[..., RedisServer]) -> RedisServer:
    return start_server()


@pytest.fixture
async def open_store(server: RedisServer):
    """Return a function that creates a store, which the test need not close."""
    stores: list[RedisSessionStore] = []

    def create(**arguments: Any) -> RedisSessionStore:
        arguments = {"url": server.url, "lease": 0.6, **arguments}
        stores.append(RedisSessionStore(**arguments))
        return stores[-1]

    yield create
    for store in stores:
        await store.close()
