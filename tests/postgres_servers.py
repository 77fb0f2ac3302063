"""A PostgreSQL server, as processes on loopback that a test run owns."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.ports import free_port

START_TIMEOUT = 20.0  # seconds
# Debian does not have it on the PATH.
PLACES = "/usr/lib/postgresql"


class PostgresServer:
    """One PostgreSQL server with an empty database, in a directory of its own."""

    host = "127.0.0.1"

    def __init__(self) -> None:
        self.port = free_port()
        self._directory = Path(tempfile.mkdtemp(prefix="aiomqtt-postgres-"))
        self._log = self._directory / "log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://program@{self.host}:{self.port}/postgres"

    def start(self) -> None:
        """Start it and return when it accepts connections."""
        user = self._unprivileged()
        data = self._directory / "data"
        subprocess.run(
            [
                _program("initdb"),
                *("-D", data, "-U", "program", "-A", "trust", "-E", "UTF8"),
                *("--locale=C", "--no-sync"),
            ],
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=self._directory,
            **user,
        )
        for _ in range(5):
            settings = {
                "listen_addresses": self.host,
                "port": self.port,
                "unix_socket_directories": "",
                # The system is not killed here.
                "fsync": "off",
            }
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    [
                        *(_program("postgres"), "-D", data),
                        *(f"--{name}={value}" for name, value in settings.items()),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self._directory,
                    **user,
                )
            deadline = time.monotonic() + START_TIMEOUT
            while time.monotonic() < deadline and self._process.poll() is None:
                if self._answers():
                    return
                time.sleep(0.05)
            self._end()
            # Another process may have taken the port in between.
            if "Address already in use" not in self._log.read_text():
                break
            self.port = free_port()
        raise RuntimeError(f"PostgreSQL did not start:\n{self._log.read_text()}")

    def _unprivileged(self) -> dict[str, Any]:
        """The user to run as: PostgreSQL refuses root."""
        if os.geteuid():
            return {}
        shutil.chown(self._directory, "postgres", "postgres")
        return {"user": "postgres", "group": "postgres", "extra_groups": []}

    def _answers(self) -> bool:
        # The first message of the protocol: is there TLS? There is not.
        try:
            with socket.create_connection((self.host, self.port), 5.0) as sock:
                sock.sendall((8).to_bytes(4) + (80877103).to_bytes(4))
                if sock.recv(1) != b"N":
                    return False
        except OSError:
            return False
        return "ready to accept connections" in self._log.read_text()

    def stop(self) -> None:
        """End it and its connections, and delete what it had."""
        self._end()
        shutil.rmtree(self._directory)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGINT)
            process.wait(START_TIMEOUT)


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        places = sorted(Path(PLACES).glob(f"*/bin/{name}"))
        if not places:
            raise RuntimeError("PostgreSQL is missing: scripts/test installs it")
        found = str(places[-1])
    return found
