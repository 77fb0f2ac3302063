"""Clients that reconnect, for tests with real brokers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import aiomqtt
from aiomqtt import ConnectionState, Reconnect
from tests.brokers import Broker
from tests.integration.programs import SOON, client_of
from tests.own_broker import OwnBroker

QUICKLY = Reconnect(min_delay=0.01, max_delay=0.05)
VERSIONS = pytest.mark.parametrize("version", [4, 5])
# Whether the session of the client is in a file.
STORED = pytest.mark.parametrize("is_stored", [False, True], ids=["", "stored"])
# In memory there is no network to break.
OVER_TCP = pytest.mark.parametrize("broker_kind", ["mosquitto", "own"], indirect=True)


def new_client(
    broker: Broker | OwnBroker, version: int = 4, **options: Any
) -> aiomqtt.Client:
    """A client that reconnects, by `rules`; its calls outlast some connections."""
    options.setdefault("timeout", 3 * SOON)
    rules = options.pop("rules", QUICKLY)
    return client_of(broker, version, reconnect=rules, **options)


def lasting(directory: Path, name: str, is_stored: bool) -> dict[str, Any]:
    """The arguments of a client with a session that lasts, and is stored or not."""
    options: dict[str, Any] = {"identifier": name, "persistent": True}
    if is_stored:
        options["session"] = aiomqtt.SQLiteSession(directory / f"{name}.db")
    return options


@contextlib.asynccontextmanager
async def connected_again(client: aiomqtt.Client) -> AsyncIterator[None]:
    """After the block, wait until there has been another connection."""
    states = client.states()
    await anext(states)  # the state now
    yield
    async with asyncio.timeout(3 * SOON):
        while (await anext(states)).state is not ConnectionState.CONNECTED:
            pass
