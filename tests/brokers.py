"""Real brokers, as processes on loopback that a test run owns."""

import os
import pwd
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.certificates import Certificates
from tests.ports import free_port
from tests.server_process import ServerProcess, find


class Broker(ServerProcess):
    """One mosquitto process. It keeps its ports when it is started again.

    `port` takes anyone, or only `username` with `password` when `passwords` is
    set. With `certificates` there is TLS on `tls_port`, `wrong_name_port` (a
    certificate for another host) and `mutual_tls_port` (asks the client for a
    certificate).
    """

    program = "mosquitto"
    username = "u"
    password = "p"
    # How clients of the tests reach it.
    transport = "tcp"

    def __init__(
        self,
        directory: Path,
        *,
        passwords: bool = False,
        certificates: Certificates | None = None,
        persistence: bool = False,
        limits: dict[str, int] | None = None,
        rules: dict[str, str] | None = None,
        settings: str = "",
    ) -> None:
        super().__init__(directory)
        self.passwords = passwords
        self.certificates = certificates
        self.persistence = persistence
        # By the names of mosquitto.conf, such as max_packet_size.
        self.limits = limits or {}
        # "read" or "readwrite" by topic filter; with any, all others are denied.
        self.rules = rules or {}
        self.settings = settings  # further lines of mosquitto.conf

    def choose_ports(self) -> None:
        self.port = free_port()
        self.tls_port = free_port()
        self.wrong_name_port = free_port()
        self.mutual_tls_port = free_port()

    @property
    def address(self) -> str:
        """The address of the broker in a client's errors."""
        return f"{self.host}:{self.port}"

    @property
    def ca_file(self) -> Path:
        assert self.certificates is not None, "this broker has no TLS"
        return self.certificates.ca_file

    def command(self) -> list[str | Path]:
        config = self.directory / "mosquitto.conf"
        config.write_text(self._config())
        return [find(self.program), "-c", config]

    def answers(self) -> bool:
        return answers_connect(self.host, self.port)

    def kill(self) -> None:
        """End it as a crash does: SIGKILL.

        With persistence, what it acknowledged before this call is on the disk:
        mosquitto saves after the turn of its loop that sent the acknowledgement,
        so an answer in the next turn tells that this is done.
        """
        if self.persistence:
            answers_connect(self.host, self.port)
        super().kill()

    def restart(self) -> None:
        """Crash and start again on the same ports."""
        self.kill()
        self.start()

    def _config(self) -> str:
        # Listeners share their settings: with per_listener_settings, mosquitto
        # 2.0.21 delivers nothing to a persistent session that was offline.
        lines = [
            # Started as root it would otherwise become a user who can't read here.
            f"user {pwd.getpwuid(os.geteuid()).pw_name}",
            f"allow_anonymous {'false' if self.passwords else 'true'}",
            "log_dest stderr",
            "log_type all",
            "set_tcp_nodelay true",
            f"persistence {'true' if self.persistence else 'false'}",
        ]
        if self.persistence:
            # Saves after every change; see kill().
            lines += [
                f"persistence_location {self.directory}/",
                "autosave_on_changes true",
                "autosave_interval 1",
            ]
        if self.passwords:
            lines.append(f"password_file {self._password_file()}")
        lines.append(f"listener {self.port} {self.host}")
        if tls := self.certificates:
            for port, pair in (
                (self.tls_port, tls.server),
                (self.wrong_name_port, tls.wrong_name),
                (self.mutual_tls_port, tls.server),
            ):
                lines += [
                    f"listener {port} {self.host}",
                    f"certfile {pair.certificate}",
                    f"keyfile {pair.key}",
                ]
            lines += [f"cafile {tls.ca_file}", "require_certificate true"]
        # Unlimited: a test loses no message here.
        limits = {"max_queued_messages": 0, **self.limits}
        lines[2:2] = [f"{name} {value}" for name, value in limits.items()]
        if self.rules:
            file = self.directory / "rules"
            file.write_text(
                "".join(f"topic {how} {name}\n" for name, how in self.rules.items())
            )
            lines.insert(2, f"acl_file {file}")
        return "\n".join([*lines, self.settings, ""])

    def _password_file(self) -> Path:
        file = self.directory / "passwords"
        subprocess.run(
            ["mosquitto_passwd", "-b", "-c", file, self.username, self.password],
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
        return file


def start_on_ports(
    directory: Path, count: int, settings: Callable[[list[int]], str]
) -> tuple[Broker, list[int]]:
    """Start a mosquitto with further listeners; the broker and their ports.

    `settings` returns the lines of mosquitto.conf for so many ports. If another
    process takes one of them in between, it is called again with others.
    """
    for attempt in range(5):
        ports: list[int] = []
        while len(ports) < count:
            ports = list({*ports, free_port()})
        place = directory / f"attempt-{attempt}"
        place.mkdir()
        broker = Broker(place, settings=settings(ports))
        try:
            broker.start()
        except RuntimeError:
            if not any(
                text in broker.log for text in ("already in use", "Unable to create")
            ):
                raise
        else:
            return broker, ports
    raise RuntimeError(f"mosquitto did not get its ports:\n{broker.log}")


def answers_connect(host: str, port: int) -> bool:
    """Whether a CONNECT (3.1.1) gets a CONNACK, with whatever code."""
    name = b"probe"
    body = b"\x00\x04MQTT\x04\x02\x00\x0a" + len(name).to_bytes(2) + name
    try:
        with socket.create_connection((host, port), timeout=1) as connection:
            connection.sendall(b"\x10" + bytes([len(body)]) + body)
            return connection.recv(4)[:1] == b"\x20"
    except OSError:
        return False
