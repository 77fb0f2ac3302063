"""The broker of the scenarios, on the loop of the test, and who talks to it."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from aiomqtt import SQLiteStore
from aiomqtt.broker import Broker
from tests.broker.scenarios.talker import Talker, dial

StartBroker: TypeAlias = Callable[..., Awaitable[Broker]]
Call: TypeAlias = Callable[[Broker, int], Awaitable[Talker]]
Join: TypeAlias = Callable[..., Awaitable[Talker]]


# A store may not change what clients see: the scenarios of these run with one, too.
STORED = ("test_sessions", "test_messages", "test_retained", "test_wills")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "has_store" in metafunc.fixturenames:
        is_stored = metafunc.module.__name__.endswith(STORED)
        metafunc.parametrize(
            "has_store",
            [False, True] if is_stored else [False],
            ids=["memory", "store"] if is_stored else [pytest.HIDDEN_PARAM],
        )


@pytest.fixture
async def start_broker(
    anyio_backend: Any, has_store: bool, tmp_path: Path
) -> AsyncIterator[StartBroker]:
    """Starts brokers: `await start_broker(limits=...)`, as `Broker` takes it."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(**arguments: Any) -> Broker:
            if has_store:
                arguments["store"] = SQLiteStore(tmp_path / "broker.db")
            return await stack.enter_async_context(Broker(**arguments))

        yield start


@pytest.fixture
async def broker(start_broker: StartBroker) -> Broker:
    """A broker as it is without arguments."""
    return await start_broker()


@pytest.fixture
async def connections(anyio_backend: Any) -> AsyncIterator[list[Talker]]:
    """The connections of the test, which are closed after it."""
    talkers: list[Talker] = []
    yield talkers
    for talker in talkers:
        await talker.close()


@pytest.fixture
def call(connections: list[Talker]) -> Call:
    """Opens a connection and says nothing: `await call(broker, version)`."""

    async def call(broker: Broker, version: int) -> Talker:
        talker = await dial(broker.host, broker.port, version)
        connections.append(talker)
        return talker

    return call


@pytest.fixture
def join(call: Call) -> Join:
    """Connects a client: `await join(broker, version, "name")`.

    Further arguments are those of `Talker.hello`; the CONNACK is in `connack`.
    """

    async def join(
        broker: Broker, version: int, client_id: str, **arguments: Any
    ) -> Talker:
        talker = await call(broker, version)
        await talker.hello(client_id, **arguments)
        return talker

    return join
