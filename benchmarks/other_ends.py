"""The other end of a client's connection: the benchmark's peer, or a real broker."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Self

import frames
from workloads import Workload

HERE = Path(__file__).resolve().parent
HOST = "127.0.0.1"

# The seconds in which a broker must listen, and in which it must report its counts.
START_SECONDS = 10.0
COUNT_SECONDS = 5.0

MOSQUITTO_CONFIGURATION = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_inflight_messages {window}
max_queued_messages 0
set_tcp_nodelay {nodelay}
sys_interval 1
log_dest stderr
log_timestamp false
log_type error
log_type subscribe
"""
# The files for clients in the directory of the peer.
FILES = {"unix": "socket", "tls": "certificate", "wss": "certificate"}
# Payload bytes. Its count of messages leaves out QoS 2 (mosquitto 2.0.11).
RECEIVED = "$SYS/broker/publish/bytes/received"


class OtherEndError(Exception):
    """The other end could not be started, or it ended."""


class OtherEnd(ABC):
    """A context manager: it listens on `port` while it is open."""

    port: int
    # The path of its certificate or its Unix socket; None: it has none.
    file: str = ""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with self._stack:
            self._open()
            # Whatever is open now is closed at the end, or at once after an error.
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @abstractmethod
    def _open(self) -> None: ...

    @abstractmethod
    def counts(self) -> dict[str, int]:
        """Return the counts of both directions, once, after the client has ended.

        A name that is missing is something that this end doesn't count.
        """

    def _start(
        self,
        command: list[str],
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> subprocess.Popen[str]:
        process = self._stack.enter_context(
            subprocess.Popen(
                command,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                text=True,
                # Ctrl-C is for the runner.
                start_new_session=True,
            )
        )
        self._stack.callback(process.kill)
        return process


class Peer(OtherEnd):
    """`peer.py`: it replays encoded packets and counts everything."""

    def __init__(self, plan: list[str], transport: str = "tcp") -> None:
        super().__init__()
        self._transport = transport
        self._plan = plan

    def _open(self) -> None:
        directory = self._stack.enter_context(tempfile.TemporaryDirectory())
        self.file = f"{directory}/{FILES.get(self._transport, '')}"
        where = [f"--transport={self._transport}", f"--directory={directory}"]
        self._process = self._start(
            [sys.executable, str(HERE / "peer.py"), *self._plan, *where],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.port = json.loads(_line(self._process.stdout))["port"]

    def counts(self) -> dict[str, int]:
        assert self._process.stdin is not None
        self._process.stdin.close()
        counts: dict[str, int] = json.loads(_line(self._process.stdout))
        return counts


class Mosquitto(OtherEnd):
    """A mosquitto of its own for each run, and `feeder.py` where it has to send.

    The feeder starts to publish when mosquitto's log tells of the subscription.
    """

    def __init__(
        self,
        workload: Workload,
        messages: int,
        size: int,
        plan: list[str],
        window: int,
    ) -> None:
        super().__init__()
        self._workload = workload
        self._messages = messages
        self._size = size
        self._plan = plan
        self._window = window
        self._feeder: subprocess.Popen[str] | None = None
        self._log: list[str] = []

    def _open(self) -> None:
        self.port = _free_port()
        folder = self._stack.enter_context(tempfile.TemporaryDirectory())
        file = Path(folder) / "mosquitto.conf"
        # Without it, the last acknowledgements of a group of publishes wait 40 ms for
        # one of TCP; with it, each message to a client is a TCP segment of its own.
        nodelay = str(self._workload.peer_receives).lower()
        file.write_text(
            MOSQUITTO_CONFIGURATION.format(
                port=self.port, window=self._window, nodelay=nodelay
            )
        )
        self._process = self._start(
            [find_mosquitto(), "-c", str(file)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        self._stack.callback(self._end_of_log)
        self._wait_until_it_listens()
        if self._workload.peer_sends:
            self._feeder = self._start(
                [sys.executable, str(HERE / "feeder.py"), str(self.port), *self._plan],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            _line(self._feeder.stdout)  # it is ready

    def counts(self) -> dict[str, int]:
        if self._feeder is not None:
            assert self._feeder.stdin is not None
            if not self._feeder.stdin.closed:
                self._feeder.stdin.close()  # nobody subscribed
            return {"sent": json.loads(_line(self._feeder.stdout))["sent"]}
        if self._workload.peer_receives:
            return {"received": self._received()}
        return {}

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            # CLIENT QOS FILTER
            if line.endswith(" bench/#\n") and self._feeder is not None:
                assert self._feeder.stdin is not None
                self._feeder.stdin.write("go\n")
                self._feeder.stdin.close()
            else:
                self._log.append(line)

    def _end_of_log(self) -> None:
        self._process.kill()
        self._reader.join()

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection((HOST, self.port)).close()
            except ConnectionRefusedError:
                time.sleep(0.01)
            else:
                return
        raise OtherEndError(f"mosquitto doesn't listen: {''.join(self._log)}")

    def _received(self) -> int:
        """Return the messages that mosquitto received, by its own count of their bytes.

        It publishes the count every second or two, and only when it has changed.
        """
        expected = self._messages * self._size
        count = 0
        deadline = time.monotonic() + COUNT_SECONDS
        with socket.create_connection((HOST, self.port)) as sock:
            sock.sendall(frames.encode_connect("counter"))
            sock.sendall(frames.encode_subscribe(1, RECEIVED, 0))
            while count < expected and (left := deadline - time.monotonic()) > 0:
                sock.settimeout(left)
                try:
                    data = sock.recv(4096)
                except TimeoutError:
                    break
                # The packets are few and small: each arrives whole.
                for run in frames.split_runs(data):
                    if run.head >> 4 == frames.PUBLISH:
                        body = data[run.start + run.body : run.end]
                        count = int(body[2 + len(RECEIVED) :])
        return self._messages if count == expected else count // self._size


def find_mosquitto() -> str:
    # Debian has it where only root's PATH leads to.
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    found = shutil.which("mosquitto", path=path)
    if found is None:
        raise OtherEndError("no mosquitto; on Debian: apt-get install mosquitto")
    return found


def mosquitto_version() -> str:
    """Return the version, such as "mosquitto 2.0.11"."""
    # It has no option for the version alone, and exits with 3 after the help.
    done = subprocess.run([find_mosquitto(), "-h"], capture_output=True, text=True)
    name, _, version = done.stdout.partition("\n")[0].split()[:3]
    return f"{name} {version}"


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _line(stream: IO[str] | None) -> str:
    assert stream is not None
    line = stream.readline()
    if not line:
        raise OtherEndError("the other end ended")
    return line
