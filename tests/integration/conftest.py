"""Brokers for the tests. A broker that is missing is a failure, not a skip."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import Broker
from tests.certificates import Certificates, make_certificates

StartBroker = Callable[..., Broker]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def broker(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[Broker]:
    """A broker without passwords, plain and TLS, that all tests share."""
    broker = Broker(tmp_path_factory.mktemp("broker"), certificates=certificates)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def password_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that takes only `username` with `password`; shared."""
    broker = Broker(tmp_path_factory.mktemp("password-broker"), passwords=True)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def start_broker(tmp_path: Path) -> Iterator[StartBroker]:
    """Starts brokers of the test's own: `start_broker(persistence=True)`.

    It takes the keyword arguments of `Broker`.
    """
    brokers: list[Broker] = []

    def start(**options: Any) -> Broker:
        directory = tmp_path / f"broker-{len(brokers)}"
        directory.mkdir()
        broker = Broker(directory, **options)
        brokers.append(broker)
        broker.start()
        return broker

    yield start
    for broker in brokers:
        broker.stop()


@pytest.fixture
def private_broker(start_broker: StartBroker) -> Broker:
    """A broker of the test's own, which remembers sessions across a crash."""
    return start_broker(persistence=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any) -> Any:
    """Show the end of the brokers' logs with a test that failed."""
    report = yield
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, Broker):
                report.sections.append((f"log of {name}", value.log[-4000:]))
    return report
