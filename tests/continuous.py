"""A client whose waiting calls outlast its connections; the test connects it again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiomqtt import Client, MqttError, ReasonCode
from aiomqtt.client.attempts_async import connect_to_first
from aiomqtt.client.calls import Calls
from aiomqtt.client.watcher import ConnectionWatcher
from aiomqtt.protocol.packets import Connack
from tests.raw_scripts import within


class Watch(ConnectionWatcher):
    """Records what it is told."""

    def __init__(self) -> None:
        self.connacks: list[Connack] = []
        self.errors: list[MqttError | None] = []
        self.refused: list[tuple[str, ReasonCode]] = []
        self._is_lost = asyncio.Event()

    def connected(self, connack: Connack) -> None:
        self.connacks.append(connack)
        self._is_lost.clear()

    def lost(self, error: MqttError | None) -> None:
        self.errors.append(error)
        self._is_lost.set()

    def on_refused_filters(self, refused: list[tuple[str, ReasonCode]]) -> None:
        self.refused += refused

    async def wait_until_lost(self) -> MqttError | None:
        await within(self._is_lost.wait())
        return self.errors[-1]


def watch_of(client: Any) -> Watch:
    watch = client._calls.watcher
    assert isinstance(watch, Watch)
    return watch


def enter(client: Any) -> None:
    """Begin as `Client.__aenter__` does, without a connection."""
    client._belong_to(asyncio.get_running_loop())
    client._is_entered = True
    client._stream.expect()
    client._calls = Calls(
        client._engine,
        client._stream,
        client._logger,
        "the broker",
        client.timeout,
        is_continuous=True,
    )
    client._calls.watcher = Watch()
    client._prepare_offline(client._calls)


async def dial(client: Any) -> None:
    """Connect, as a supervisor does; an error leaves no connection."""
    calls = client._calls
    try:
        await connect_to_first(
            calls,
            client._engine,
            client._addresses,
            client.timeout,
            client._renewal,
            client._authenticator,
        )
    except BaseException:
        calls.driver.abort()
        raise


@asynccontextmanager
async def continuous(client: Client) -> AsyncIterator[Watch]:
    """Enter a client, connected, and leave it."""
    enter(client)
    watch = watch_of(client)
    try:
        await dial(client)
        yield watch
    finally:
        await client.__aexit__(None, None, None)
