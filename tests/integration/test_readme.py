"""The first command of the README, and each of its examples."""

import asyncio
import re
import shutil
import ssl
import subprocess
import sys

import pytest

import aiomqtt
from aiomqtt.broker import Broker
from tests.certificates import Certificates
from tests.documentation import ROOT, blocks
from tests.integration.page_examples import (
    CONNECT,
    CONNECTED,
    PUBLISH,
    listening,
    received,
    running,
    subscribed,
    to_program,
)
from tests.integration.programs import SOON, until_logged
from tests.own_broker import server_context
from tests.ports import free_port
from tests.proxies import Microsocks

# In CI. tests/everywhere.txt lists the program that is to run everywhere.
pytestmark = pytest.mark.once("pure")

PROGRAM = ROOT / "examples" / "temperature.py"

FIRST, RECONNECT, LOGGING, CREDENTIALS, TLS, WAYS, MANY = range(7)
VERSION_5, BROKER, PYTEST = range(7, 10)


def program(number: int, *, within: str = "", then: str = "") -> str:
    """Return the text of an example, as a program."""
    return to_program(blocks("README.md")[number], within=within, then=then)


@pytest.fixture
def anyio_backend():
    """One loop for the test is enough: the examples choose their own."""
    return "asyncio", {"debug": True}


# --- the first command ------------------------------------------------------------


def check_temperatures(lines: list[str]) -> None:
    published = [line for line in lines if line.startswith("publishing ")]
    arrived = [line for line in lines if line.startswith("received ")]
    assert "publishing temperature/outside: 28.4" in published
    assert len(lines) == len(published) + len(arrived)
    assert arrived == [line.replace("publishing", "received", 1) for line in published]


@pytest.mark.parametrize("broker_of_its_own", [True, False])
def test_the_first_command_prints_what_arrived(mosquitto, broker_of_its_own):
    address = [] if broker_of_its_own else [mosquitto.host, str(mosquitto.port)]
    result = subprocess.run(
        [sys.executable, "-W", "error", PROGRAM, *address],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    if broker_of_its_own:
        assert lines.pop(0).startswith("a broker listens on mqtt://127.0.0.1:")
    check_temperatures(lines)


def test_the_first_command_needs_a_python_and_no_network(tmp_path):
    """No pip, no virtual environment, nothing that has to be built."""
    for name in ("bash", "dirname"):
        found = shutil.which(name)
        assert found is not None
        (tmp_path / name).symlink_to(found)
    # Without the packages that are installed for it.
    python = tmp_path / "bare-python"
    python.write_text(f'#!{tmp_path}/bash\nexec "{sys.executable}" -S "$@"\n')
    python.chmod(0o755)
    result = subprocess.run(
        [tmp_path / "bash", ROOT / "scripts" / "demo"],
        env={"PATH": str(tmp_path), "PYTHON": str(python)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    check_temperatures(result.stdout.splitlines()[1:])


# --- the examples -----------------------------------------------------------------


async def test_the_first_program(tmp_path):
    async with Broker() as broker, listening(broker) as client:
        text, ports = program(FIRST), {1883: broker.port}
        async with running(text, tmp_path, ports) as example:
            assert await example.line() == "temperature/outside 28.4"
            assert await received(client, 1) == [("temperature/outside", "28.4")]
            await example.interrupt()


async def test_staying_connected(tmp_path):
    async with Broker(port=free_port()) as broker:
        text, ports = program(RECONNECT), {1883: broker.port}
        async with running(text, tmp_path, ports) as example:
            await subscribed(broker)
            broker.publish("temperature/outside", "28.4", qos=1)
            assert await example.line() == "temperature/outside 28.4"
            # A restart: it has forgotten everything.
            await broker.stop()
            broker.clear()
            await broker.start()
            await subscribed(broker)
            broker.publish("temperature/outside", "28.5", qos=1)
            assert await example.line() == "temperature/outside 28.5"
            await example.interrupt()


async def test_staying_connected_with_mosquitto(tmp_path, private_mosquitto):
    broker = private_mosquitto
    text = program(RECONNECT)
    assert len(text.splitlines()) == 12
    async with running(text, tmp_path, {1883: broker.port}) as example:
        for payload in ("28.4", "28.5", "28.6"):
            # Each of them subscribes: for the first time, or again.
            await until_logged(broker, "Received SUBSCRIBE", int(payload[-1]) - 3)
            async with aiomqtt.Client(broker.host, broker.port) as client:
                await client.publish("temperature/outside", payload, qos=1)
            assert await example.line() == f"temperature/outside {payload}"
            broker.stop()
            broker.start()
        await example.interrupt()


async def test_logging(tmp_path):
    text = program(LOGGING, then=f"{CONNECTED}\n    {PUBLISH}")
    async with Broker() as broker, listening(broker) as client:
        async with running(text, tmp_path, {1883: broker.port}) as example:
            assert await example.end() == 0
        assert await received(client, 1) == [("example/ran", "yes")]


@pytest.mark.parametrize("password", ["secret", "wrong"])
async def test_user_name_and_password(tmp_path, password):
    text = program(CREDENTIALS, then=CONNECT)
    async with Broker(credentials={"thermostat": "secret"}) as broker:
        ports = {1883: broker.port}
        async with running(text, tmp_path, ports, MQTT_PASSWORD=password) as example:
            code = await example.end()
    if password == "secret":
        assert (code, example.errors) == (0, "")
    else:
        assert code == 1
        error = (
            "aiomqtt.exceptions.MqttConnectError: [code:134] Bad user name or password"
        )
        assert error in example.errors


async def test_tls(tmp_path, certificates: Certificates):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server.certificate, certificates.server.key)
    shutil.copy(certificates.ca_file, tmp_path / "ca.crt")
    async with Broker(ssl_context=context) as broker, listening(broker) as client:
        text, ports = program(TLS, then=CONNECT), {8883: broker.port}
        async with running(text, tmp_path, ports) as example:
            assert await received(client, 1) == [("example/ran", "yes")]
            assert (await example.end(), example.errors) == (0, "")


async def test_the_ways_to_the_broker(tmp_path, certificates: Certificates):
    shutil.copy(certificates.ca_file, tmp_path / "ca.crt")
    context = server_context(certificates.server)
    proxy = Microsocks(tmp_path)
    proxy.start()
    try:
        async with Broker() as broker, listening(broker) as client:
            await broker.listen_unix(str(tmp_path / "mosquitto.sock"))
            with_tls = await broker.listen(ssl_context=context)
            websocket = await broker.listen(ssl_context=context, websocket=True)
            ports = {1080: proxy.port, 8081: websocket.port, 8883: with_tls.port}
            ways = blocks("README.md")[WAYS].split("\n\n")
            assert len(ways) == 5
            for way in ways:
                # The first of the several brokers refuses. The proxy resolves the
                # broker's port itself.
                text = way.replace("1883", str(broker.port))
                text = to_program(text, then=CONNECT)
                ports |= {1883: free_port(), 1884: broker.port}
                async with running(text, tmp_path, ports) as example:
                    assert await received(client, 1) == [("example/ran", "yes")]
                    assert (await example.end(), example.errors) == (0, "")
    finally:
        proxy.stop()


async def test_many_messages(tmp_path):
    text = program(MANY, within=CONNECTED)
    async with Broker() as broker, listening(broker) as client:
        async with running(text, tmp_path, {1883: broker.port}) as example:
            assert (await example.end(), example.errors) == (0, "")
        assert await received(client, 4) == [
            ("temperature/outside", "28.4"),
            ("temperature/0", "28.4"),
            ("temperature/1", "28.5"),
            ("temperature/2", "28.7"),
        ]


async def test_version_5(tmp_path):
    async with Broker() as broker, listening(broker) as client:
        ports = {1883: broker.port}
        async with running(program(VERSION_5), tmp_path, ports) as example:
            assert (await example.end(), example.errors) == (0, "")
        assert await received(client, 1) == [("temperature/outside", "28.4")]


async def test_the_broker_in_the_program(tmp_path):
    # Its port is a free one, which leads to itself.
    result = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "dev", "-W", "error", "-c", program(BROKER)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    async with asyncio.timeout(2 * SOON):
        output, _ = await result.communicate()
    assert (result.returncode, output.decode()) == (0, "b'28.4'\n")


def test_the_example_for_pytest_is_run_with_those_of_the_fixtures():
    """In `tests/testing/test_fixtures_page.py`."""
    assert "mqtt_client" in blocks("README.md")[PYTEST]


def test_no_example_is_left_out():
    assert len(blocks("README.md")) == 10


def test_the_version_to_ask_pip_for():
    wanted = re.findall(
        r"pip install aiomqtt==([^`]*)", (ROOT / "README.md").read_text()
    )
    assert wanted == ([aiomqtt.__version__] if "rc" in aiomqtt.__version__ else [])
