"""A broker in a process of its own, for one run."""

from __future__ import annotations

import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from other_ends import find_mosquitto, mosquitto_version

HOST = "127.0.0.1"
# The seconds in which a broker must begin to listen.
START_SECONDS = 20.0

# As many messages in flight to a client as the load allows; others are queued.
MOSQUITTO_CONFIGURATION = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence {persistence}
persistence_location {folder}/
max_inflight_messages {in_flight}
max_queued_messages 0
set_tcp_nodelay true
log_dest stderr
log_type error
"""


class ServingError(Exception):
    """The broker doesn't listen; the text contains its output."""


@dataclass(frozen=True, slots=True)
class Serving:
    pid: int
    port: int
    version: str


@contextmanager
def serve_program(command: list[str], durability: str = "") -> Iterator[Serving]:
    """Start one of the `run_*` programs; it is killed at the end.

    Args:
        command: The program.
        durability: That of its store; "": it has none.
    """
    with tempfile.TemporaryDirectory() as folder:
        if durability:
            command = [*command, str(Path(folder) / "broker.db"), durability]
        with _serve(command) as serving:
            yield serving


@contextmanager
def _serve(command: list[str]) -> Iterator[Serving]:
    with _process(command, stdout=subprocess.PIPE) as (process, log):
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise ServingError(_last_line(log))
        about = json.loads(line)
        yield Serving(process.pid, about["port"], about["version"])


@contextmanager
def serve_mosquitto(in_flight: int = 100, durability: str = "") -> Iterator[Serving]:
    """Run mosquitto.

    Args:
        in_flight: How many messages may be in flight to a client; 0: any.
        durability: "": it keeps nothing; otherwise it saves all in its own time.
    """
    with socket.create_server((HOST, 0)) as server:
        port: int = server.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mosquitto.conf"
        values = {
            "port": port,
            "in_flight": in_flight,
            "persistence": "true" if durability else "false",
            "folder": folder,
        }
        file.write_text(MOSQUITTO_CONFIGURATION.format(**values))
        command = [find_mosquitto(), "-c", str(file)]
        with _process(command, stdout=subprocess.DEVNULL) as (process, log):
            _wait_until_it_listens(process, port, log)
            yield Serving(process.pid, port, mosquitto_version().split()[1])


@contextmanager
def _process(
    command: list[str], stdout: int
) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=log,
            text=True,
            # Ctrl-C is for the runner.
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process, log
        finally:
            process.kill()


def _wait_until_it_listens(
    process: subprocess.Popen[str], port: int, log: IO[str]
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection((HOST, port)).close()
        except ConnectionRefusedError:
            time.sleep(0.01)
        else:
            return
    raise ServingError(_last_line(log))


def _last_line(log: IO[str]) -> str:
    log.seek(0)
    lines = log.read().strip().splitlines()
    return lines[-1] if lines else "it ended without a word"
