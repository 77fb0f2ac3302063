"""Real proxies, as processes on loopback that a test run owns."""

import contextlib
import getpass
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any, ClassVar

from aiomqtt import ProxySettings
from tests.ports import free_port
from tests.server_process import ServerProcess, find

MODULES = "/usr/lib/apache2/modules"


class RealProxy(ServerProcess):
    """One process; with `passwords` it takes only `username` with `password`.

    `refuses` is the port of a host that its rules forbid, where it has rules.
    """

    stop_timeout = 5.0
    username = "u"
    password = "p"
    # The values of `proxy_type` that it takes.
    types: ClassVar[tuple[int, ...]]

    def __init__(self, directory: Path, *, passwords: bool = False) -> None:
        super().__init__(directory)
        self.passwords = passwords

    def choose_ports(self) -> None:
        super().choose_ports()
        self.refuses = free_port()

    def settings(self, kind: int, **options: Any) -> ProxySettings:
        if self.passwords:
            options.setdefault("proxy_username", self.username)
            options.setdefault("proxy_password", self.password)
        options.setdefault("proxy_addr", self.host)
        return ProxySettings(proxy_type=kind, proxy_port=self.port, **options)

    def command(self) -> list[str | Path]:
        return [find(self.program), *self.arguments()]

    def options(self) -> dict[str, Any]:
        # It has processes of its own: they form a group.
        return {"start_new_session": True}

    def answers(self) -> bool:
        return listens(self.host, self.port)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for each in (how, signal.SIGKILL):
            # All of its processes may have ended.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, each)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(self.stop_timeout)

    def arguments(self) -> list[str]:
        raise NotImplementedError

    def write(self, name: str, *lines: str) -> str:
        file = self.directory / name
        file.write_text("\n".join([*lines, ""]))
        return str(file)


def listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


class Dante(RealProxy):
    """It passes on the end of one direction, as `check_transport` requires.

    It takes no names in SOCKS4 (4A).
    """

    program = "danted"
    types = (1, 2)

    def arguments(self) -> list[str]:
        assert not self.passwords, "its passwords are those of the system's users"
        user = getpass.getuser()
        config = self.write(
            "danted.conf",
            "logoutput: stderr",
            f"internal: {self.host} port = {self.port}",
            "external: 127.0.0.1",
            "external: ::1",
            "clientmethod: none",
            "socksmethod: none",
            f"user.privileged: {user}",
            f"user.unprivileged: {user}",
            "client pass { from: 0/0 to: 0/0 }",
            f"socks block {{ from: 0/0 to: 0/0 port = {self.refuses} }}",
            "socks pass { from: 0/0 to: 0/0 protocol: tcp }",
        )
        return ["-f", config, "-p", str(self.directory / "pid")]


class Microsocks(RealProxy):
    program = "microsocks"
    types = (2,)

    def arguments(self) -> list[str]:
        login = ["-u", self.username, "-P", self.password] if self.passwords else []
        return ["-i", self.host, "-p", str(self.port), *login]


class Tinyproxy(RealProxy):
    program = "tinyproxy"
    types = (3,)

    def arguments(self) -> list[str]:
        login = f"BasicAuth {self.username} {self.password}" if self.passwords else ""
        config = self.write(
            "tinyproxy.conf",
            f"Listen {self.host}",
            f"Port {self.port}",
            "Timeout 600",
            login,
        )
        return ["-d", "-c", config]


class Apache(RealProxy):
    """It passes on the end of one direction, as `check_transport` requires."""

    program = "apache2"
    types = (3,)

    def arguments(self) -> list[str]:
        assert not self.passwords, "tinyproxy has them"
        modules = ["mpm_event", "authz_core", "proxy", "proxy_connect"]
        config = self.write(
            "httpd.conf",
            f"ServerRoot {self.directory}",
            f"DefaultRuntimeDir {self.directory}",
            f"Listen {self.host}:{self.port}",
            "ServerName localhost",
            f"PidFile {self.directory}/pid",
            "ErrorLog /dev/stderr",
            *(
                ["User nobody", "Group nogroup", "LogLevel warn"]
                if os.geteuid() == 0
                else []
            ),
            *(f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in modules),
            "ProxyRequests On",
            f"AllowCONNECT 1-{self.refuses - 1} {self.refuses + 1}-65535",
        )
        return ["-X", "-f", config]
