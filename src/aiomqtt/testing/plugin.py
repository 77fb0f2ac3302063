"""Fixtures for pytest: a broker inside the test's process, and a client of it.

pytest loads this plugin wherever the package is installed; it does nothing until a test
uses `mqtt_broker` or `mqtt_client`. They run on the event loop of the test, which is
anyio's or pytest-asyncio's. These two treat asynchronous fixtures differently, so ours
are ordinary ones that run that loop. For a test that is not asynchronous, the broker
runs in a thread.
"""

from __future__ import annotations

import inspect
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar, cast

import pytest

# These are slow to import, and few tests need them.
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from aiomqtt import Client
    from aiomqtt.broker import Broker

    from .recording_broker import RecordingBroker

T = TypeVar("T")

# The arguments of the marker.
FOR_BROKER: Final = (
    "authenticate",
    "authorize",
    "credentials",
    "enhanced_authentication",
    "host",
    "limits",
    "name",
    "sys_interval",
)
FOR_CLIENT: Final = (
    "clean_session",
    "clean_start",
    "identifier",
    "password",
    "properties",
    "transport",
    "username",
    "version",
    "will",
)

# The scopes of pytest-asyncio's loops.
SCOPES: Final = ("function", "class", "module", "package", "session")

HOW: Final = (
    "needs an asynchronous test that anyio's plugin or pytest-asyncio runs:"
    " mark it with @pytest.mark.anyio or @pytest.mark.asyncio"
)
NO_TRIO: Final = (
    "runs on asyncio, not on {}: have a fixture `anyio_backend` that returns 'asyncio'"
)


# --- the fixtures -----------------------------------------------------------------


@pytest.fixture
def mqtt_broker(request: pytest.FixtureRequest) -> Iterator[RecordingBroker]:
    """A `RecordingBroker` that has started, on a free port of 127.0.0.1 and in memory.

    The marker `mqtt` passes it arguments, see `FOR_BROKER`. It is stopped after the
    test. In a test that is not asynchronous it is a `ThreadedBroker`, which has
    the same methods, without `await`.
    """
    from .recording_broker import RecordingBroker

    arguments = _arguments(request, FOR_BROKER)
    broker = _made(lambda: RecordingBroker(**arguments))
    if not _is_asynchronous(request):
        from .threaded import ThreadedBroker

        with ThreadedBroker(broker) as threaded:
            yield cast("RecordingBroker", threaded)
        return
    loop: asyncio.AbstractEventLoop = request.getfixturevalue("_mqtt_loop")
    loop.run_until_complete(broker.start())
    yield broker
    loop.run_until_complete(broker.stop())


@pytest.fixture
def mqtt_client(
    request: pytest.FixtureRequest,
    _mqtt_loop: asyncio.AbstractEventLoop,
    mqtt_broker: Broker,
) -> Iterator[Client]:
    """A `Client` that is connected to `mqtt_broker`, in memory.

    The marker `mqtt` passes it arguments, see `FOR_CLIENT`; `version` is the client's
    `protocol`, and with ``transport="tcp"`` it connects over a socket. Without a
    `username`, it uses the first of the broker's `credentials`. It disconnects after
    the test.
    """
    from aiomqtt import Client

    arguments = _arguments(request, FOR_CLIENT)
    arguments["protocol"] = arguments.pop("version", None)
    if "username" not in arguments:
        credentials = _arguments(request, ("credentials",)).get("credentials")
        for name, password in list((credentials or {}).items())[:1]:
            arguments |= {"username": name, "password": password}
    transport = arguments.pop("transport", "memory")
    address: dict[str, Any]
    if transport == "memory":
        address = {"hostname": mqtt_broker.name, "transport": "memory"}
    elif transport == "tcp":
        address = _made(
            lambda: {"hostname": mqtt_broker.host, "port": mqtt_broker.port}
        )
    else:
        _fail(f"transport must be 'memory' or 'tcp', not {transport!r}")
    client = _made(lambda: Client(**address, **arguments))
    _mqtt_loop.run_until_complete(client.__aenter__())
    yield client
    _mqtt_loop.run_until_complete(client.__aexit__(None, None, None))


# --- the loop of the test -----------------------------------------------------------


@pytest.fixture
def _mqtt_loop(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoop:
    """The event loop that the test will run on; it is not running yet."""
    loop: asyncio.AbstractEventLoop
    scope = _asyncio_scope(request)
    if scope is not None:
        loop = request.getfixturevalue(f"_mqtt_asyncio_{scope}")
    elif "anyio_backend" in request.fixturenames:
        name = request.getfixturevalue("anyio_backend_name")
        if name != "asyncio":
            pytest.fail(f"mqtt_broker {NO_TRIO.format(name)}", pytrace=False)
        loop = request.getfixturevalue("_mqtt_anyio")
    else:
        pytest.fail(f"mqtt_client {HOW}", pytrace=False)
    return loop


def _is_asynchronous(request: pytest.FixtureRequest) -> bool:
    """Whether the test is a coroutine function, also inside a Hypothesis test."""
    function = request.function
    hypothesis = getattr(function, "hypothesis", None)
    return inspect.iscoroutinefunction(getattr(hypothesis, "inner_test", function)) or (
        _asyncio_scope(request) is not None
    )


@pytest.fixture
async def _mqtt_anyio(anyio_backend: object) -> asyncio.AbstractEventLoop:
    """The loop of anyio's runner, which exists as long as this fixture."""
    import asyncio

    return asyncio.get_running_loop()


def _asyncio_scope(request: pytest.FixtureRequest) -> str | None:
    """The scope of the loop if pytest-asyncio runs the test, or ``None``.

    If a test has both marks, pytest-asyncio runs it.
    """
    if not _has_pytest_asyncio(request.config):
        return None
    from pytest_asyncio import is_async_test

    if not is_async_test(request.node):
        return None
    marker = request.node.get_closest_marker("asyncio")
    named = marker.kwargs if marker is not None else {}
    scope: str = (
        named.get("loop_scope") or named.get("scope") or _default_scope(request.config)
    )
    return scope


def _default_scope(config: pytest.Config) -> str:
    try:
        scope: str = config.getini("asyncio_default_test_loop_scope")
    except (KeyError, ValueError):  # before pytest-asyncio 0.26
        return "function"
    return scope


def _has_pytest_asyncio(config: pytest.Config) -> bool:
    plugin = sys.modules.get("pytest_asyncio.plugin")
    return plugin is not None and config.pluginmanager.is_registered(plugin)


def _version_of(package: ModuleType) -> tuple[int, ...]:
    return tuple(int(part) for part in package.__version__.split(".")[:2])


def _asyncio_loops() -> ModuleType:
    """Make a plugin with a fixture for each scope of pytest-asyncio's loops.

    The fixtures are plain functions, which pytest-asyncio runs with its loop set as
    the current one; anyio would also run coroutines where a test has both marks.
    Before 1.1, pytest-asyncio runs coroutines only.
    """
    import pytest_asyncio

    def make() -> Callable[[], Any]:
        if _version_of(pytest_asyncio) < (1, 1):

            async def running() -> asyncio.AbstractEventLoop:
                import asyncio

                return asyncio.get_running_loop()

            return running

        def current() -> asyncio.AbstractEventLoop:
            import asyncio

            return asyncio.get_event_loop()

        return current

    plugin = ModuleType("aiomqtt_asyncio_loops")
    for scope in SCOPES:
        name = f"_mqtt_asyncio_{scope}"
        fixture: Any = pytest_asyncio.fixture(loop_scope=scope, name=name)
        setattr(plugin, name, fixture(make()))
    return plugin


# --- the marker ---------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and the fixtures for pytest-asyncio if it is there."""
    config.addinivalue_line(
        "markers",
        "mqtt(version, transport, limits, credentials, ...): arguments of the fixtures"
        " mqtt_broker and mqtt_client of aiomqtt",
    )
    if _has_pytest_asyncio(config):
        config.pluginmanager.register(_asyncio_loops())


def _arguments(
    request: pytest.FixtureRequest, names: tuple[str, ...]
) -> dict[str, Any]:
    """Return the markers' arguments with those names; the closest marker wins."""
    found: dict[str, Any] = {}
    for marker in request.node.iter_markers("mqtt"):
        if marker.args:
            _fail("it takes arguments by name only")
        unknown = sorted(marker.kwargs.keys() - set(FOR_BROKER + FOR_CLIENT))
        if unknown:
            known = ", ".join(sorted(FOR_BROKER + FOR_CLIENT))
            _fail(f"unknown: {', '.join(unknown)}; it takes {known}")
        found = marker.kwargs | found
    if "version" in found and found["version"] not in (3, 4, 5):
        _fail(
            f"version must be 3 (3.1), 4 (3.1.1) or 5 (5.0), not {found['version']!r}"
        )
    return {name: value for name, value in found.items() if name in names}


def _made(make: Callable[[], T]) -> T:
    """Call a function; fail the test if the marker's arguments are wrong."""
    try:
        return make()
    except (TypeError, ValueError, RuntimeError) as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    pytest.fail(f"@pytest.mark.mqtt: {message}", pytrace=False)
