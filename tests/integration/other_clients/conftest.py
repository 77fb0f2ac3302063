"""The in-process broker over a socket, and the clients of others."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from aiomqtt.broker import Broker
from tests.integration.other_clients.drivers import CLIENTS, Driver, Programs

NAMES = {3: "3.1", 4: "3.1.1", 5: "5.0"}
SPOKEN = [
    (name, version)
    for version in (3, 4, 5)
    for name in CLIENTS
    if (name, version) != ("gmqtt", 3)  # which it does not speak
]


@pytest.fixture
def anyio_backend() -> Any:
    """One loop is enough: the scenarios of the broker's own tests run on both."""
    return "asyncio", {"debug": True}


@pytest.fixture
async def broker(anyio_backend: Any) -> AsyncIterator[Broker]:
    """The broker, on the loop of the test."""
    async with Broker() as broker:
        yield broker


@pytest.fixture(
    params=SPOKEN, ids=[f"{name}-{NAMES[version]}" for name, version in SPOKEN]
)
def spoken(request: pytest.FixtureRequest) -> tuple[str, int]:
    """A client by name, and the version of MQTT that it speaks."""
    found: tuple[str, int] = request.param
    return found


@pytest.fixture(scope="module")
def programs() -> Iterator[Programs]:
    """The processes that the tests share."""
    programs = Programs()
    yield programs
    programs.end()


@pytest.fixture
async def client(
    broker: Broker, spoken: tuple[str, int], programs: Programs
) -> AsyncIterator[Callable[[], Driver]]:
    """Makes clients, all of one kind and version: `client()`."""
    drivers: list[Driver] = []

    def make() -> Driver:
        name, version = spoken
        drivers.append(CLIENTS[name](broker, version, programs))
        return drivers[-1]

    yield make
    for driver in drivers:
        await driver.leave()
