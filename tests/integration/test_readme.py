"""The first command of the README, and each of its examples."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import aiomqtt
from aiomqtt.broker import Broker
from tests.certificates import Certificates
from tests.documentation import ROOT, blocks
from tests.integration.programs import SOON

PROGRAM = ROOT / "examples" / "temperature.py"
RUNNER = Path(__file__).with_name("example.py")

FIRST, RECONNECT, LOGGING, CREDENTIALS, TLS, WEBSOCKET, UNIX, MANY = range(8)
VERSION_5, BROKER, PYTEST = range(8, 11)

# Around an example that is no program of its own, and what makes a connected client.
AROUND = """
import asyncio, logging, os, ssl
import aiomqtt
async def main():
{body}
asyncio.run(main())
"""
CONNECTED = 'async with aiomqtt.Client("localhost") as client:'
PUBLISH = 'await client.publish("example/ran", "yes", qos=1)'
CONNECT = f"async with client:\n    {PUBLISH}"


@pytest.fixture
def anyio_backend():
    """One loop for the test is enough: the examples choose their own."""
    return "asyncio", {"debug": True}


def program(number: int, *, within: str = "", then: str = "") -> str:
    """The text of an example, and what it takes to run it."""
    text = blocks("README.md")[number]
    if "asyncio.run(" in text:
        return text
    body = f"{text}\n{then}\n"
    if within:
        body = f"{within}\n{textwrap.indent(body, '    ')}"
    return AROUND.format(body=textwrap.indent(body, "    "))


class Program:
    """An example that runs, as its user sees it."""

    def __init__(self, process: asyncio.subprocess.Process, errors: Path) -> None:
        self.process = process
        self._errors = errors

    @property
    def errors(self) -> str:
        return self._errors.read_text()

    async def line(self) -> str:
        """The next line that it prints; empty when it has ended."""
        assert self.process.stdout is not None
        async with asyncio.timeout(2 * SOON):
            return (await self.process.stdout.readline()).decode().rstrip()

    async def interrupt(self) -> None:
        """Press Ctrl-C, and wait for its end."""
        self.process.send_signal(signal.SIGINT)
        await self.end()
        assert self.errors.splitlines()[-1] == "KeyboardInterrupt"

    async def end(self) -> int:
        async with asyncio.timeout(2 * SOON):
            return await self.process.wait()


@contextlib.asynccontextmanager
async def running(
    text: str, directory: Path, ports: dict[int, int], **environment: str
) -> AsyncIterator[Program]:
    """Run a program whose broker is at these ports."""
    file = directory / "example.py"
    file.write_text(text)
    errors = directory / "errors"
    leads_to = ",".join(f"{port}={target}" for port, target in ports.items())
    options = ("-X", "dev", "-W", "error", "-u")
    with errors.open("wb") as writing:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *options, str(RUNNER), leads_to, str(file)),
            cwd=directory,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=writing,
        )
    try:
        yield Program(process, errors)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def listening(broker: Broker) -> AsyncIterator[aiomqtt.Client]:
    """A client that gets all that is published."""
    async with aiomqtt.Client(broker.name, transport="memory") as client:
        await client.subscribe("#", qos=1)
        yield client


async def received(client: aiomqtt.Client, count: int) -> list[tuple[str, str]]:
    messages: list[tuple[str, str]] = []
    async with asyncio.timeout(2 * SOON):
        while len(messages) < count:
            message = await anext(client.messages)
            messages.append((str(message.topic), message.payload.decode()))
    return messages


async def subscribed(broker: Broker) -> None:
    """Wait until somebody has subscribed."""
    deadline = time.monotonic() + 2 * SOON
    while not broker.statistics.subscriptions:
        assert time.monotonic() < deadline, "nobody has subscribed"
        await asyncio.sleep(0.02)


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
    async with Broker() as broker:
        text, ports = program(RECONNECT), {1883: broker.port}
        async with running(text, tmp_path, ports) as example:
            await subscribed(broker)
            broker.publish("temperature/outside", "28.4", qos=1)
            assert await example.line() == "temperature/outside 28.4"
            broker.abort()
            assert (await example.line()).endswith("; reconnecting in 3 seconds")
            # It is not there, and gets this all the same.
            broker.publish("temperature/outside", "28.5", qos=1)
            assert await example.line() == "temperature/outside 28.5"
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


async def test_websocket(tmp_path):
    async with Broker() as broker, listening(broker) as client:
        listener = await broker.listen(websocket=True)
        text, ports = program(WEBSOCKET, then=CONNECT), {9001: listener.port}
        async with running(text, tmp_path, ports) as example:
            assert await received(client, 1) == [("example/ran", "yes")]
            assert (await example.end(), example.errors) == (0, "")


async def test_a_unix_socket(tmp_path):
    async with Broker() as broker, listening(broker) as client:
        await broker.listen_unix(str(tmp_path / "mosquitto.sock"))
        text, ports = program(UNIX, then=CONNECT), {1883: broker.port}
        async with running(text, tmp_path, ports) as example:
            assert await received(client, 1) == [("example/ran", "yes")]
            assert (await example.end(), example.errors) == (0, "")


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
    assert len(blocks("README.md")) == 11


def test_the_version_to_ask_pip_for():
    wanted = re.findall(
        r"pip install aiomqtt==([^`]*)", (ROOT / "README.md").read_text()
    )
    assert wanted == ([aiomqtt.__version__] if "rc" in aiomqtt.__version__ else [])
