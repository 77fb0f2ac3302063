"""Brokers for the tests. A broker that is missing is a failure, not a skip.

A test that takes `broker`, `password_broker`, `private_broker` or `start_broker` runs
on mosquitto, on the library's own broker over sockets, and on it in memory. One that
takes `mosquitto` or `private_mosquitto` is about that one.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.brokers import Broker
from tests.certificates import Certificates
from tests.integration.programs import start, stop
from tests.own_broker import OwnBroker
from tests.postgres_servers import PostgresServer

AnyBroker: TypeAlias = Broker | OwnBroker
StartBroker: TypeAlias = Callable[..., Awaitable[AnyBroker]]

# The own one by its transport.
KINDS = {"mosquitto": "", "own": "tcp", "memory": "memory"}


@pytest.fixture(params=KINDS)
def broker_kind(request: pytest.FixtureRequest) -> str:
    """Choose the broker of a test."""
    kind: str = request.param
    return kind


@pytest.fixture
def broker(request: pytest.FixtureRequest, broker_kind: str) -> AnyBroker:
    """A broker without passwords; others may use it too."""
    name = "mosquitto" if broker_kind == "mosquitto" else "own_broker"
    found: AnyBroker = request.getfixturevalue(name)
    return found


@pytest.fixture
def password_broker(request: pytest.FixtureRequest, broker_kind: str) -> AnyBroker:
    """A broker that takes only `username` with `password`; others may use it too."""
    name = "password_mosquitto" if broker_kind == "mosquitto" else "own_password_broker"
    found: AnyBroker = request.getfixturevalue(name)
    return found


@pytest.fixture
async def start_broker(broker_kind: str, tmp_path: Path) -> AsyncIterator[StartBroker]:
    """Starts brokers of the test's own: `await start_broker(persistence=True)`.

    It takes the keyword arguments that both kinds have in common.
    """
    brokers: list[AnyBroker] = []

    async def start_one(**options: Any) -> AnyBroker:
        one: AnyBroker
        if broker_kind == "mosquitto":
            directory = tmp_path / f"broker-{len(brokers)}"
            directory.mkdir()
            one = Broker(directory, **options)
        else:
            one = OwnBroker(KINDS[broker_kind], **options)
        brokers.append(one)
        await start(one)
        return one

    yield start_one
    for one in brokers:
        await stop(one)


@pytest.fixture
async def private_broker(start_broker: StartBroker) -> AnyBroker:
    """A broker of the test's own, which remembers sessions across a crash."""
    return await start_broker(persistence=True)


# --- mosquitto -------------------------------------------------------------------


@pytest.fixture(scope="session")
def mosquitto(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[Broker]:
    """A mosquitto without passwords, plain and TLS, that all tests share."""
    broker = Broker(tmp_path_factory.mktemp("broker"), certificates=certificates)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def password_mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A mosquitto that takes only `username` with `password`; shared."""
    broker = Broker(tmp_path_factory.mktemp("password-broker"), passwords=True)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def private_mosquitto(tmp_path: Path) -> Iterator[Broker]:
    """A mosquitto of the test's own, which remembers sessions across a crash."""
    broker = Broker(tmp_path, persistence=True)
    broker.start()
    yield broker
    broker.stop()


# --- the library's own ---------------------------------------------------------------


@pytest.fixture
def own_certificates() -> Certificates | None:
    """The certificates for TLS; None: no test of the module needs it."""
    return None


@pytest.fixture
async def own_broker(
    broker_kind: str, own_certificates: Certificates | None
) -> AsyncIterator[OwnBroker]:
    broker = OwnBroker(KINDS[broker_kind], certificates=own_certificates)
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture
async def own_password_broker(broker_kind: str) -> AsyncIterator[OwnBroker]:
    broker = OwnBroker(KINDS[broker_kind], passwords=True)
    await broker.start()
    yield broker
    await broker.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any) -> Any:
    """Show the end of the brokers' logs with a test that failed."""
    report = yield
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, Broker | OwnBroker):
                report.sections.append((f"log of {name}", value.log[-4000:]))
    return report


# With a window, mosquitto mixes up QoS 1 and 2 on the way to a subscriber.
WITHOUT_WINDOW = """
max_inflight_messages 0
max_queued_messages 0
log_type none
log_type error
"""


@pytest.fixture
def quiet_broker(tmp_path: Path) -> Iterator[Broker]:
    """A mosquitto that keeps the order, any number of messages, and no log."""
    directory = tmp_path / "broker"
    directory.mkdir()
    one = Broker(directory, settings=WITHOUT_WINDOW)
    one.start()
    yield one
    one.stop()


# --- databases -----------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server that all tests share."""
    server = PostgresServer()
    server.start()
    yield server
    server.stop()
