"""Real brokers, as processes on loopback that a test run owns."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.certificates import Certificates
from tests.ports import free_port

START_TIMEOUT = 10.0  # seconds
STOP_TIMEOUT = 20.0  # seconds


class Broker:
    """One mosquitto process. It keeps its ports when it is started again.

    `port` takes anyone, or only `username` with `password` when `passwords` is
    set. With `certificates` there is TLS on `tls_port`, `wrong_name_port` (a
    certificate for another host) and `mutual_tls_port` (asks the client for a
    certificate).
    """

    host = "127.0.0.1"
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
        self.directory = directory
        self.passwords = passwords
        self.certificates = certificates
        self.persistence = persistence
        # By the names of mosquitto.conf, such as max_packet_size.
        self.limits = limits or {}
        # "read" or "readwrite" by topic filter; with any, all others are denied.
        self.rules = rules or {}
        self.settings = settings  # further lines of mosquitto.conf
        self.log_file = directory / "mosquitto.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._choose_ports()

    def _choose_ports(self) -> None:
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

    @property
    def log(self) -> str:
        """The whole log of the broker, including earlier runs."""
        if not self.log_file.exists():
            return ""
        return self.log_file.read_text(errors="replace")

    def start(self) -> None:
        """Start it and return when it answers a CONNECT."""
        first_start = not self.log_file.exists()
        for _ in range(5):
            if self._start_once():
                return
            # Another process may have taken a port in between; a broker that
            # comes back has to come back to its own.
            if not first_start or "Address already in use" not in self.log:
                break
            self._choose_ports()
        raise RuntimeError(f"mosquitto did not start:\n{self.log}")

    def _start_once(self) -> bool:
        assert self._process is None, "it is running"
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
        program = program or shutil.which("mosquitto")
        if program is None:
            raise RuntimeError("mosquitto is missing: scripts/test installs it")
        config = self.directory / "mosquitto.conf"
        config.write_text(self._config())
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [program, "-c", str(config)],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and self._process.poll() is None:
            if answers_connect(self.host, self.port):
                return True
            time.sleep(0.05)
        self.kill()
        return False

    def stop(self) -> None:
        """End it as an administrator does: SIGTERM, which saves and disconnects."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash does: SIGKILL.

        With persistence, what it acknowledged before this call is on the disk:
        mosquitto saves after the turn of its loop that sent the acknowledgement,
        so an answer in the next turn tells that this is done.
        """
        if self.persistence:
            answers_connect(self.host, self.port)
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Crash and start again on the same ports."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Stop it from running, with its connections open, until `resume`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        if how is not signal.SIGKILL:  # that one needs no help
            process.send_signal(signal.SIGCONT)  # in case it is paused
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

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
