"""The fixtures of the pytest plugin, in this suite and in suites of others."""

import asyncio
import os
import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import aiomqtt
from aiomqtt.broker import Broker
from aiomqtt.testing import plugin

pytest_plugins = ["pytester"]

HEAD = """
import asyncio

import pytest

import aiomqtt
from aiomqtt.broker import Limits

async def works(broker, client):
    assert client.is_connected()
    assert len(broker.clients) == 1
    await client.subscribe("t", 1)
    async with aiomqtt.Client(broker.host, broker.port) as other:
        await other.publish("t", "hello", 1)
    assert (await anext(client.messages)).payload == b"hello"
"""

ANYIO = ("anyio.pytest_plugin",)
ASYNCIO = ("pytest_asyncio.plugin",)


@pytest.fixture
def run(pytester, monkeypatch):
    """Run a suite with just some plugins; warnings are errors."""
    if os.environ.get("AIOMQTT_TEST_BUILD") == "compiled":
        pytest.skip("the same whichever build runs it")

    def run(source, plugins, *arguments, **settings):
        pytester.makepyfile(HEAD + source)
        if "pytest_asyncio.plugin" in plugins:
            settings.setdefault("asyncio_default_fixture_loop_scope", "function")
        lines = [f"{name} = {value}" for name, value in settings.items()]
        pytester.makeini("\n".join(["[pytest]", "filterwarnings = error", *lines]))
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        options = [
            word
            for name in (*plugins, "aiomqtt.testing.plugin")
            for word in ("-p", name)
        ]
        return pytester.runpytest_inprocess(
            *options, "--strict-markers", "-q", *arguments
        )

    return run


# --- who runs the test ----------------------------------------------------------


async def test_the_fixtures_in_this_suite(mqtt_broker, mqtt_client):
    assert isinstance(mqtt_broker, Broker)
    assert isinstance(mqtt_client, aiomqtt.Client)
    assert mqtt_client.is_connected()
    assert len(mqtt_broker.clients) == 1
    assert mqtt_broker.port
    await mqtt_client.subscribe("t", 1)
    await mqtt_client.publish("t", "hello", 1)
    message = await asyncio.wait_for(anext(mqtt_client.messages), 5)
    assert message.payload == b"hello"


def test_anyio_alone(run):
    result = run(
        """
@pytest.fixture
def anyio_backend():
    return "asyncio"

pytestmark = pytest.mark.anyio

async def test_both(mqtt_broker, mqtt_client):
    await works(mqtt_broker, mqtt_client)

@pytest.mark.usefixtures("mqtt_broker")
async def test_a_broker_for_each_test(mqtt_client, mqtt_broker):
    assert not mqtt_broker.retained
    await mqtt_client.publish("t", "x", 1, retain=True)
    assert list(mqtt_broker.retained) == ["t"]

test_again = test_a_broker_for_each_test

@pytest.fixture
async def subscribed(mqtt_client):
    await mqtt_client.subscribe("t")
    yield mqtt_client
    await mqtt_client.unsubscribe("t")

async def test_fixtures_on_top(subscribed):
    await subscribed.publish("t", "x")
    assert (await anext(subscribed.messages)).payload == b"x"

class TestMethods:
    @pytest.fixture
    def anyio_backend(self):
        return "asyncio", {"debug": True}

    async def test_in_a_class(self, mqtt_broker, mqtt_client):
        assert asyncio.get_running_loop().get_debug()
        await works(mqtt_broker, mqtt_client)
""",
        ANYIO,
    )
    result.assert_outcomes(passed=5)


def test_anyio_with_a_loop_for_the_session(run):
    result = run(
        """
loops = []

@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"

@pytest.fixture(scope="session", autouse=True)
async def loop(anyio_backend):
    return asyncio.get_running_loop()

@pytest.mark.parametrize("number", range(3))
async def test_both(mqtt_broker, mqtt_client, loop, number):
    assert asyncio.get_running_loop() is loop
    await works(mqtt_broker, mqtt_client)
""",
        ANYIO,
        anyio_mode="auto",
    )
    result.assert_outcomes(passed=3)


MARKED = """
@pytest.mark.asyncio
async def test_both(mqtt_broker, mqtt_client):
    await works(mqtt_broker, mqtt_client)

@pytest.mark.asyncio
async def test_again(mqtt_broker, mqtt_client):
    await works(mqtt_broker, mqtt_client)
"""

SCOPED = """
import pytest_asyncio

loops = {scope: set() for scope in ["module", "class", "session", "package"]}

@pytest_asyncio.fixture
async def subscribed(mqtt_client):
    await mqtt_client.subscribe("t")
    yield mqtt_client
    await mqtt_client.unsubscribe("t")

@pytest.mark.asyncio
async def test_a_fixture_on_top(subscribed):
    await subscribed.publish("t", "x")
    assert (await anext(subscribed.messages)).payload == b"x"

@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("number", range(2))
async def test_module(mqtt_broker, mqtt_client, number):
    loops["module"].add(asyncio.get_running_loop())
    await works(mqtt_broker, mqtt_client)

@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("number", range(2))
async def test_session(mqtt_broker, mqtt_client, number):
    loops["session"].add(asyncio.get_running_loop())
    await works(mqtt_broker, mqtt_client)

@pytest.mark.asyncio(loop_scope="package")
@pytest.mark.parametrize("number", range(2))
async def test_package(mqtt_broker, mqtt_client, number):
    loops["package"].add(asyncio.get_running_loop())
    await works(mqtt_broker, mqtt_client)

@pytest.mark.asyncio(loop_scope="class")
class TestClass:
    @pytest.mark.parametrize("number", range(2))
    async def test_class(self, mqtt_broker, mqtt_client, number):
        loops["class"].add(asyncio.get_running_loop())
        await works(mqtt_broker, mqtt_client)

def test_the_loops():
    assert [len(found) for found in loops.values()] == [1] * 4
"""


@pytest.mark.parametrize("plugins", [ASYNCIO, ANYIO + ASYNCIO, ASYNCIO + ANYIO])
def test_pytest_asyncio_in_strict_mode(run, plugins):
    result = run(MARKED + SCOPED, plugins, asyncio_mode="strict")
    result.assert_outcomes(passed=12)


def test_pytest_asyncio_in_auto_mode(run):
    source = MARKED.replace("@pytest.mark.asyncio\n", "")
    result = run(
        source
        + """
@pytest.fixture
async def subscribed(mqtt_client):
    await mqtt_client.subscribe("t")
    return mqtt_client

async def test_a_fixture_on_top(subscribed):
    await subscribed.publish("t", "x")
    assert (await anext(subscribed.messages)).payload == b"x"
""",
        ASYNCIO,
        asyncio_mode="auto",
    )
    result.assert_outcomes(passed=3)


@pytest.mark.parametrize("scope", ["module", "session"])
def test_pytest_asyncio_with_another_default(run, scope):
    result = run(
        MARKED,
        ASYNCIO,
        asyncio_default_fixture_loop_scope=scope,
        asyncio_default_test_loop_scope=scope,
    )
    result.assert_outcomes(passed=2)


MIXED = """
@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.mark.anyio
async def test_anyio(mqtt_broker, mqtt_client):
    await works(mqtt_broker, mqtt_client)

@pytest.mark.asyncio
async def test_asyncio(mqtt_broker, mqtt_client):
    await works(mqtt_broker, mqtt_client)

@pytest.mark.anyio
@pytest.mark.asyncio
async def test_with_both_marks(mqtt_broker, mqtt_client):
    await works(mqtt_broker, mqtt_client)
"""


@pytest.mark.parametrize("mode", ["strict", "auto"])
@pytest.mark.parametrize("plugins", [ANYIO + ASYNCIO, ASYNCIO + ANYIO])
def test_both_plugins(run, plugins, mode):
    result = run(MIXED, plugins, asyncio_mode=mode)
    result.assert_outcomes(passed=3)


def test_as_it_is_installed(pytester):
    """Without a word of pytest's, by the entry point, and with all there is."""
    pytester.makepyfile(HEAD + MIXED)
    result = pytester.runpytest_subprocess(timeout=60)
    result.assert_outcomes(passed=3)


def test_the_entry_point():
    [found] = [
        point for point in entry_points(group="pytest11") if point.name == "aiomqtt"
    ]
    assert found.load() is plugin


# --- the documentation --------------------------------------------------------------

PAGE = Path(__file__).parents[2] / "docs" / "testing-fixtures.md"


def test_all_arguments_are_in_the_documentation():
    table = PAGE.read_text().partition("| argument |")[2].partition("\n\n")[0]
    first = [line.split("|")[1] for line in table.splitlines()[2:]]
    named = re.findall("`([a-z_]+)`", "".join(first))
    assert sorted(named) == sorted(plugin.FOR_BROKER + plugin.FOR_CLIENT)


# --- tests that are not asynchronous ------------------------------------------------

WITHOUT_A_LOOP = """
import subprocess
import sys
import threading

from paho.mqtt import publish, subscribe

def test_the_program_under_test_is_another_process(mqtt_broker):
    program = (
        "import sys, paho.mqtt.publish as p;"
        "p.single(*sys.argv[1:3], 1, True, port=int(sys.argv[3]))"
    )
    command = [sys.executable, "-c", program, "lamp", "on", str(mqtt_broker.port)]
    subprocess.run(command, check=True)
    assert list(mqtt_broker.retained) == ["lamp"]

@pytest.mark.mqtt(credentials={"ann": "secret"})
def test_a_client_with_a_thread_of_its_own(mqtt_broker):
    mqtt_broker.publish("lamp", "off", retain=True)
    auth = {"username": "ann", "password": "secret"}
    host, port = mqtt_broker.host, mqtt_broker.port
    message = subscribe.simple("lamp", hostname=host, port=port, auth=auth)
    assert message.payload == b"off"

def test_it_stops_and_starts(mqtt_broker):
    host, port = mqtt_broker.host, mqtt_broker.port
    mqtt_broker.stop()
    with pytest.raises(OSError):
        publish.single("a", hostname=host, port=port)
    mqtt_broker.start()
    publish.single("a", hostname=mqtt_broker.host, port=mqtt_broker.port)
    with pytest.raises(AttributeError):
        mqtt_broker.nothing
    with pytest.raises(ValueError):
        mqtt_broker.publish("a/#", "x")

def test_no_thread_is_left(mqtt_broker):
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("aiomqtt broker") == 1
"""


@pytest.mark.parametrize("plugins", [(), ANYIO, ASYNCIO])
def test_the_broker_for_tests_that_are_not_asynchronous(run, plugins):
    run(WITHOUT_A_LOOP, plugins).assert_outcomes(passed=4)


def test_a_broker_that_cannot_listen_fails_its_test(run):
    result = run(
        """
@pytest.mark.mqtt(host="192.0.2.1")
def test_it(mqtt_broker): ...
""",
        (),
    )
    result.assert_outcomes(errors=1)


# --- the marker -------------------------------------------------------------------


def test_the_marker(run):
    result = run(
        """
@pytest.fixture
def anyio_backend():
    return "asyncio"

def info(broker):
    [found] = broker.clients.values()
    return found

@pytest.mark.mqtt(version=5)
async def test_version(mqtt_broker, mqtt_client):
    assert info(mqtt_broker).version == 5
    assert info(mqtt_broker).address == "memory"

@pytest.mark.mqtt(transport="tcp", version=aiomqtt.ProtocolVersion.V31)
async def test_transport(mqtt_broker, mqtt_client):
    assert info(mqtt_broker).version == 3
    assert info(mqtt_broker).address.startswith("127.0.0.1:")
    await works(mqtt_broker, mqtt_client)

@pytest.mark.mqtt(limits=Limits(maximum_qos=1), version=5)
async def test_limits(mqtt_client):
    assert await mqtt_client.subscribe("a", 2) == [1]

@pytest.mark.mqtt(credentials={"ann": "secret", "ben": "hidden"})
async def test_credentials(mqtt_broker, mqtt_client):
    assert info(mqtt_broker).username == "ann"
    with pytest.raises(aiomqtt.MqttConnectError):
        await aiomqtt.Client(mqtt_broker.host, mqtt_broker.port).__aenter__()

@pytest.mark.mqtt(
    credentials={"ann": "secret", "ben": "hidden"}, username="ben", password="hidden"
)
async def test_who(mqtt_broker, mqtt_client):
    assert info(mqtt_broker).username == "ben"

@pytest.mark.mqtt(name="mine", host=None, identifier="me")
async def test_names(mqtt_broker, mqtt_client):
    assert mqtt_broker.name == "mine"
    assert list(mqtt_broker.clients) == ["me"]
    with pytest.raises(RuntimeError):
        mqtt_broker.port

async def authorize(client, action, topic):
    return topic != "no"

@pytest.mark.mqtt(authorize=authorize)
async def test_authorize(mqtt_client):
    assert await mqtt_client.subscribe([("no", 0), ("yes", 0)]) == (128, 0)

@pytest.mark.mqtt(version=5, identifier="outer")
class TestClass:
    @pytest.mark.mqtt(identifier="inner")
    async def test_the_closest_wins(self, mqtt_broker, mqtt_client):
        assert info(mqtt_broker).version == 5
        assert info(mqtt_broker).client_id == "inner"

    async def test_the_other(self, mqtt_broker, mqtt_client):
        assert info(mqtt_broker).client_id == "outer"
""",
        ANYIO,
        anyio_mode="auto",
    )
    result.assert_outcomes(passed=9)


def test_a_wrong_marker(run):
    result = run(
        """
@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.mark.mqtt(verison=5, colour="red")
async def test_unknown(mqtt_client): ...

@pytest.mark.mqtt(5)
async def test_position(mqtt_broker): ...

@pytest.mark.mqtt(version=6)
async def test_version(mqtt_client): ...

@pytest.mark.mqtt(transport="udp")
async def test_transport(mqtt_client): ...

@pytest.mark.mqtt(transport="tcp", host=None)
async def test_nowhere(mqtt_client): ...

@pytest.mark.mqtt(clean_session=False)
async def test_client(mqtt_client): ...
""",
        ANYIO,
        anyio_mode="auto",
    )
    result.assert_outcomes(errors=6)
    known = ", ".join(sorted(plugin.FOR_BROKER + plugin.FOR_CLIENT))
    for line in (
        f"@pytest.mark.mqtt: unknown: colour, verison; it takes {known}",
        "@pytest.mark.mqtt: it takes arguments by name only",
        "@pytest.mark.mqtt: version must be 3 (3.1), 4 (3.1.1) or 5 (5.0), not 6",
        "@pytest.mark.mqtt: transport must be 'memory' or 'tcp', not 'udp'",
        "@pytest.mark.mqtt: clean_session=False needs an identifier*",
    ):
        result.stdout.fnmatch_lines([line.replace("[", "[[]")])


def test_the_marker_is_listed(run):
    result = run("", (), "--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.mqtt(version, transport, *aiomqtt"])


# --- where it can't work ------------------------------------------------------------


def test_a_test_without_a_loop(run):
    result = run("def test_of_no_loop(mqtt_client): ...", ANYIO + ASYNCIO)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"mqtt_client {plugin.HOW}"])


def test_an_asynchronous_test_that_nobody_runs(run):
    result = run("async def test_it(mqtt_broker): ...", ANYIO + ASYNCIO)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"mqtt_* {plugin.HOW}"])


def test_trio(run):
    result = run(
        """
@pytest.fixture
def anyio_backend():
    return "trio"

@pytest.mark.anyio
async def test_trio(mqtt_client): ...
""",
        ANYIO,
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["mqtt_broker runs on asyncio, not on trio: *"])


# --- who does not use it --------------------------------------------------------------


@pytest.mark.once("pure")
def test_a_suite_without_the_fixtures_is_untouched(pytester):
    """Its own fixtures and markers of these names included."""
    pytester.makeconftest(
        """
import pytest

def pytest_configure(config):
    config.addinivalue_line("markers", "mqtt: mine")

@pytest.fixture
def mqtt_broker():
    return "mine"
"""
    )
    pytester.makepyfile(
        """
import sys
import unittest

import pytest

def test_nothing_is_imported():
    for name in ("aiomqtt.broker", "aiomqtt.net.memory"):
        assert name not in sys.modules

@pytest.mark.mqtt("anything", colour="red")
def test_marker():
    pass

def test_fixture(mqtt_broker):
    assert mqtt_broker == "mine"

class TestUnittest(unittest.IsolatedAsyncioTestCase):
    async def test_it(self):
        pass
"""
    )
    # Of that option pytest-asyncio warns when it is not set.
    options = ("-W", "error", "-o", "asyncio_default_fixture_loop_scope=function")
    result = pytester.runpytest_subprocess(*options, "--strict-markers", timeout=60)
    result.assert_outcomes(passed=4)
    result = pytester.runpytest_subprocess(*options, "-p", "no:aiomqtt", timeout=60)
    result.assert_outcomes(passed=4)
