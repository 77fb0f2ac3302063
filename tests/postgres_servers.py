"""A PostgreSQL server, as processes on loopback that a test run owns."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.server_process import ServerProcess

# Debian does not have it on the PATH.
PLACES = "/usr/lib/postgresql"


class PostgresServer(ServerProcess):
    """One PostgreSQL server with an empty database, in a directory of its own."""

    program = "postgres"
    start_timeout = stop_timeout = 20.0
    # Which ends its connections, too.
    stop_signal = signal.SIGINT

    def __init__(self) -> None:
        super().__init__(Path(tempfile.mkdtemp(prefix="aiomqtt-postgres-")))

    @property
    def url(self) -> str:
        return f"postgresql://program@{self.host}:{self.port}/postgres"

    def start(self) -> None:
        """Make its database, start it and return when it accepts connections."""
        self._user = self._unprivileged()
        subprocess.run(
            [
                _program("initdb"),
                *("-D", self._data, "-U", "program", "-A", "trust", "-E", "UTF8"),
                *("--locale=C", "--no-sync"),
            ],
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=self.directory,
            **self._user,
        )
        super().start()

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def command(self) -> list[str | Path]:
        settings = {
            "listen_addresses": self.host,
            "port": self.port,
            "unix_socket_directories": "",
            # The system is not killed here.
            "fsync": "off",
        }
        return [
            *(_program(self.program), "-D", self._data),
            *(f"--{name}={value}" for name, value in settings.items()),
        ]

    def options(self) -> dict[str, Any]:
        return self._user

    def _unprivileged(self) -> dict[str, Any]:
        """The user to run as: PostgreSQL refuses root."""
        if os.geteuid():
            return {}
        shutil.chown(self.directory, "postgres", "postgres")
        return {"user": "postgres", "group": "postgres", "extra_groups": []}

    def answers(self) -> bool:
        # The first message of the protocol: is there TLS? There is not.
        try:
            with socket.create_connection((self.host, self.port), 5.0) as sock:
                sock.sendall((8).to_bytes(4) + (80877103).to_bytes(4))
                if sock.recv(1) != b"N":
                    return False
        except OSError:
            return False
        return "ready to accept connections" in self.log

    def stop(self) -> None:
        """End it and its connections, and delete what it had."""
        super().stop()
        shutil.rmtree(self.directory)


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        places = sorted(Path(PLACES).glob(f"*/bin/{name}"))
        if not places:
            raise RuntimeError("PostgreSQL is missing: scripts/test installs it")
        found = str(places[-1])
    return found
