"""The command `broker`, as a program that others talk to."""

import asyncio
import contextlib
import io
import os
import queue
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import aiomqtt
from aiomqtt.broker import Limits
from aiomqtt.cli import broker as command
from aiomqtt.cli.main import main
from tests.forked_programs import ForkedProgram

SECRET = "swordfish"


class Program:
    """A broker in a process of its own."""

    def __init__(self, *arguments: str | Path, **environment: str) -> None:
        reader, writer = os.pipe()
        self._output = os.fdopen(reader)
        with os.fdopen(writer, "wb") as output:
            self._process = ForkedProgram(
                *("-m", "aiomqtt", "broker", *arguments),
                stdout=output,
                stderr=output,
                env={**os.environ, **environment},
            )
        self.log = ""
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _read(self) -> None:
        for line in self._output:
            self._lines.put(line)

    async def until(self, text: str) -> str:
        """Wait for a line with this; the line."""
        async with asyncio.timeout(20):
            while True:
                while self._lines.empty():
                    assert self._process.poll() is None, self.log
                    await asyncio.sleep(0.01)
                line = self._lines.get()
                self.log += line
                if text in line:
                    return line.rstrip()

    async def port(self) -> int:
        """Wait until it listens; the port."""
        return int((await self.until("Listening on ")).rpartition(":")[2])

    async def end(self, number: signal.Signals | None = None) -> int:
        """Wait until it ends, after a signal; its exit code."""
        if number is not None:
            self._process.send_signal(number)
        return await asyncio.to_thread(self.wait)

    def wait(self, timeout: float = 20) -> int:
        code = self._process.wait(timeout)
        self._reader.join()
        self._output.close()
        while not self._lines.empty():
            self.log += self._lines.get()
        return code

    def kill(self) -> None:
        self._process.kill()
        self.wait()


@pytest.fixture
def anyio_backend():
    """One loop for the test is enough: the program has its own."""
    return "asyncio", {"debug": True}


@pytest.fixture
def run():
    """Start brokers, which end with the test."""
    with contextlib.ExitStack() as stack:

        def run(*arguments: Any, **environment: str) -> Program:
            program = Program(*arguments, **environment)
            stack.callback(program.kill)
            return program

        yield run


@pytest.fixture
def credentials(tmp_path):
    file = tmp_path / "credentials"
    file.write_text(f"# who may come\n\nann:{SECRET}\nben:a:b\n")
    return file


def wrong(*arguments: str | Path, **environment: str) -> str:
    """Run the command, which refuses its arguments; what it says at the end."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        for name, value in environment.items():
            patch.setenv(name, value)
        main(["broker", *map(str, arguments)], program="python -m aiomqtt")
    assert ended.value.code == 2
    assert out.getvalue() == ""
    return refusal_in(err.getvalue())


def refusal_in(said: str) -> str:
    """Return the error in what the command said; it has a hint and no secret."""
    assert SECRET not in said
    line, hint = said.splitlines()
    assert hint == "Try 'python -m aiomqtt broker --help'."
    return line


@pytest.mark.parametrize(
    ("number", "version"), [(signal.SIGINT, 3), (signal.SIGINT, 4), (signal.SIGTERM, 5)]
)
async def test_it_serves_until_a_signal(run, version, number):
    program = run("--port", "0")
    port = await program.port()
    client = aiomqtt.Client("127.0.0.1", port, protocol=version, identifier="me")
    with pytest.raises(aiomqtt.MqttError):
        async with client:
            await program.until("New client connected from 127.0.0.1:")
            await client.subscribe("t", 2)
            await client.publish("t", "hello", 2)
            message = await asyncio.wait_for(anext(client.messages), 10)
            assert message.payload == b"hello"
            ending = asyncio.ensure_future(program.end(number))
            await asyncio.wait_for(anext(client.messages), 10)
    assert await ending == 0
    assert "as me (" in program.log
    assert "Client me disconnected" in program.log
    assert "Traceback" not in program.log
    assert "PUBLISH" not in program.log


async def test_verbose_logs_packets_and_no_password(run, credentials):
    program = run("--port", "0", "--verbose", "--credentials", credentials)
    port = await program.port()
    async with aiomqtt.Client(
        "127.0.0.1", port, username="ann", password=SECRET, protocol=5
    ) as client:
        await client.publish("t", "hello", 1)
        await program.until("Received PUBLISH from")
    assert await program.end(signal.SIGTERM) == 0
    assert SECRET not in program.log
    assert "asyncio" not in program.log


async def connects(port: int, username: str | None, password: str | None) -> bool:
    client = aiomqtt.Client("127.0.0.1", port, username=username, password=password)
    try:
        async with client:
            return True
    except aiomqtt.MqttConnectError:
        return False


async def test_credentials(run, credentials):
    program = run(
        *("--port", "0", "--credentials", credentials, "--username", "eve"),
        AIOMQTT_PASSWORD="evening",
    )
    port = await program.port()
    assert await connects(port, "ann", SECRET)
    assert await connects(port, "ben", "a:b")
    assert await connects(port, "eve", "evening")
    assert not await connects(port, "ann", "a:b")
    assert not await connects(port, "# who may come", "")
    assert not await connects(port, None, None)
    assert await program.end(signal.SIGTERM) == 0
    assert SECRET not in program.log
    assert "evening" not in program.log


@pytest.mark.parametrize("content", [f"{SECRET}\n", f"{SECRET}\r\nmore", SECRET])
async def test_a_password_file(run, tmp_path, content):
    file = tmp_path / "password"
    file.write_bytes(content.encode())
    program = run(
        *("--port", "0", "--username", "ann", "--password-file", file),
        AIOMQTT_PASSWORD="of another",
    )
    port = await program.port()
    assert await connects(port, "ann", SECRET)
    assert not await connects(port, "ann", "of another")


async def test_tls(run, certificates):
    pair = certificates.server
    program = run(
        *("--port", "0", "--tls-certificate", pair.certificate, "--tls-key", pair.key)
    )
    line = await program.until("Listening on ")
    assert "mqtts://127.0.0.1:" in line
    port = int(line.rpartition(":")[2])
    context = ssl.create_default_context(cafile=certificates.ca_file)
    async with aiomqtt.Client("127.0.0.1", port, tls_context=context) as client:
        await client.publish("t", "hello", 1)
    assert await program.end(signal.SIGTERM) == 0


async def test_websocket_and_a_unix_socket(run):
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        path = f"{directory}/broker.sock"
        program = run("--port", "0", "--websocket-port", "0", "--unix-socket", path)
        line = await program.until("Listening on ws://127.0.0.1:")
        port = int(line.rpartition(":")[2].removesuffix("/mqtt"))
        await program.until(f"Listening on unix://{path}")
        for client in (
            aiomqtt.Client("127.0.0.1", port, transport="websockets"),
            aiomqtt.Client(path, transport="unix"),
        ):
            async with client:
                await client.publish("t", "hello", 1)
        assert await program.end(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--websocket-port", "65536", "127.0.0.1:65536: "),
        ("--unix-socket", "/no/such", "/no/such: No such file or directory"),
    ],
)
async def test_another_way_that_is_not_to_be_had(run, option, value, says):
    program = run("--port", "0", option, value)
    assert await program.end() == 1
    assert f"can't listen on {says}" in program.log
    assert "Traceback" not in program.log


async def test_a_key_in_the_same_file(run, certificates, tmp_path):
    pair = certificates.server
    both = tmp_path / "both.pem"
    both.write_text(pair.certificate.read_text() + pair.key.read_text())
    program = run("--port", "0", "--tls-certificate", both)
    assert "mqtts://" in await program.until("Listening on ")


async def test_limits(run):
    program = run("--port", "0", "--maximum-qos", "1", "--maximum-topic-levels", "2")
    port = await program.port()
    async with aiomqtt.Client("127.0.0.1", port, protocol=5) as client:
        assert await client.subscribe("a", 2) == [1]
        assert (await client.subscribe("a/b/c"))[0] >= 0x80


async def publish_retained(port: int) -> None:
    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.publish("t", b"kept" * 1000, 1, retain=True)


async def retained(port: int) -> bytes:
    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe("t")
        async with asyncio.timeout(10):
            return (await anext(client.messages)).payload


@pytest.mark.parametrize("durability", ["normal", "full"])
async def test_a_store_outlives_a_kill(run, tmp_path, durability):
    file = tmp_path / "broker.db"
    options = ("--port=0", "--store", file, "--durability", durability)
    program = run(*options)
    await publish_retained(await program.port())
    program.kill()
    other = run(*options)
    assert await retained(await other.port()) == b"kept" * 1000
    # As long as it lives, no other process gets the file.
    third = run(*options)
    assert await third.end() == 1
    assert f"{file}: it is in use by process" in third.log
    assert await other.end(signal.SIGTERM) == 0
    # Closed as it should be, all is in one file.
    assert [one.name for one in tmp_path.iterdir()] == ["broker.db"]


async def test_a_store_that_is_not_for_it(run, tmp_path):
    file = tmp_path / "session.db"
    client = aiomqtt.Client(
        "127.0.0.1",
        1,
        identifier="me",
        clean_session=False,
        session=aiomqtt.SQLiteSession(file),
    )
    with pytest.raises(aiomqtt.MqttError):
        await client.__aenter__()
    before = file.read_bytes()
    program = run("--port=0", "--store", file)
    assert await program.end() == 1
    assert "does not have the sessions of a broker" in program.log
    assert file.read_bytes() == before


async def test_a_store_that_fails(run, tmp_path):
    resource = pytest.importorskip("resource")
    file = tmp_path / "broker.db"
    program = run("--port=0", "--store", file)
    port = await program.port()
    await publish_retained(port)
    size = os.stat(f"{file}-wal").st_size  # noqa: PTH116
    resource.prlimit(program.pid, resource.RLIMIT_FSIZE, (size, size))
    with pytest.raises(aiomqtt.MqttError):
        await publish_retained(port)
    assert await program.end() == 1
    assert "No client is served any more" in program.log
    other = run("--port=0", "--store", file)
    assert await retained(await other.port()) == b"kept" * 1000


async def test_the_port_is_taken(run):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        program = run("--port", str(port))
        assert await program.end() == 1
    assert program.log == (
        f"python -m aiomqtt broker: can't listen on 127.0.0.1:{port}:"
        " Address already in use\n"
    )


async def test_no_such_address(run):
    program = run("--host", "192.0.2.1", "--port", "0")
    assert await program.end() == 1
    [line] = program.log.splitlines()
    assert line.startswith("python -m aiomqtt broker: can't listen on 192.0.2.1:0: ")


WRONG = [
    (["--port", "x"], "invalid int value: 'x'"),
    (["--port", "65536"], "port must be 0 to 65535, not 65536"),
    (["--maximum-qos", "3"], "--maximum-qos must be 0 to 2, not 3"),
    (["--username", "u"], "--username needs --password-file, or AIOMQTT_PASSWORD"),
    (["--password-file", "x"], "--password-file needs --username"),
    (["--username", "u", "--password-file", SECRET], "No such file or directory"),
    (["--username", "u", "--password-file", os.devnull], "its first line is empty"),
    (["--password", SECRET], "a password does not belong on the command line"),
    ([f"--password={SECRET}"], "a password does not belong on the command line"),
    (["--password"], "a password does not belong on the command line"),
    (["--credentials", SECRET], "--credentials: No such file or directory"),
    (["--tls-key", "x"], "--tls-key needs --tls-certificate"),
    (["--tls-certificate", "x"], "--tls-certificate: No such file or directory"),
    (["--tls-certificate", os.devnull], "--tls-certificate: "),
    (["--tls-certificate", os.devnull, "--tls-key", "x"], "--tls-key: No such file"),
    (["--verb"], "unknown option: --verb"),
    (["--pass", SECRET], "unknown option: --pass"),
    ([f"--pass={SECRET}"], "unknown option: --pass"),
    ([f"-p{SECRET}"], "unknown option: -p"),
    (["-P", SECRET], "unknown option: -P"),
    ([SECRET], "too many arguments"),
    (["--", SECRET], "too many arguments"),
]


@pytest.mark.parametrize(
    ("arguments", "says"), WRONG, ids=[" ".join(case[0]) for case in WRONG]
)
def test_wrong_arguments(arguments, says):
    line = wrong(*arguments, AIOMQTT_PASSWORD="")
    assert says in line
    assert line.startswith("python -m aiomqtt")


def test_a_process_ends_with_the_code_for_wrong_arguments():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "aiomqtt", "broker", "--pass", SECRET],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown option: --pass" in refusal_in(done.stderr)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"ann:x\n{SECRET}\n", "--credentials, line 2: expected user:password"),
        (f":{SECRET}\n", "--credentials, line 1: expected user:password"),
        (f"{SECRET}:\n", "--credentials, line 1: expected user:password"),
        (
            f"ann:x\n\nann:{SECRET}",
            "--credentials, line 3: this user already has",
        ),
        (f"ben:{SECRET}\n", "--username: this user has a password in --credentials"),
        (f"{SECRET}\xff", "--credentials: the file is not UTF-8"),
    ],
)
def test_wrong_credentials(tmp_path, text, says):
    file = tmp_path / "credentials"
    file.write_bytes(text.encode("latin-1"))
    line = wrong("--credentials", file, "--username", "ben", AIOMQTT_PASSWORD=SECRET)
    assert says in line


def test_an_encrypted_key(certificates):
    """It does not ask for the password."""
    pair = certificates.client
    line = wrong("--tls-certificate", pair.certificate, "--tls-key", pair.key)
    assert "--tls-key: the key is encrypted" in line


def test_a_key_of_another_certificate(certificates):
    line = wrong(
        *("--tls-certificate", certificates.server.certificate),
        *("--tls-key", certificates.wrong_name.key),
    )
    assert "--tls-certificate, --tls-key: " in line
    assert "MISMATCH" in line


def test_a_command_that_there_is_not(capsys):
    with pytest.raises(SystemExit):
        main([SECRET])
    assert SECRET not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "arguments", "warns"),
    [
        ("127.0.0.1", [], False),
        ("localhost", [], False),
        ("0.0.0.0", [], True),
        ("0.0.0.0", ["--username", "u"], False),
    ],
)
async def test_a_warning_when_anybody_may_connect(run, host, arguments, warns):
    program = run("--host", host, "--port", "0", *arguments, AIOMQTT_PASSWORD=SECRET)
    await program.port()
    assert await program.end(signal.SIGTERM) == 0
    assert ("Anybody who can reach 0.0.0.0 may connect" in program.log) is warns


def test_all_limits_can_be_set():
    maxima = {field.name for field in fields(Limits) if "maximum_" in field.name[:8]}
    assert set(command.LIMITS) == maxima


def test_help(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["broker", "--help"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    assert "--maximum-connections N" in said
    assert "--password FILE" not in said
