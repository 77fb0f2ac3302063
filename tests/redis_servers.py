"""A Redis server, as a process on loopback that a test run owns."""

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.ports import free_port

START_TIMEOUT = 10.0  # seconds


class RedisServer:
    """One redis-server process. It keeps its port when it is started again.

    `settings` are those of redis.conf; they are written over those for which a test
    does not care.
    """

    host = "127.0.0.1"

    def __init__(self, directory: Path, **settings: str) -> None:
        self.directory = directory
        self.port = free_port()
        self.log_file = directory / "redis.log"
        self.settings = {
            "appendonly": "yes",
            "appendfsync": "always",
            "save": '""',
            **{name.replace("_", "-"): value for name, value in settings.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}/0"

    def start(self) -> None:
        """Start it and return when it answers."""
        program = shutil.which("redis-server")
        if program is None:
            raise RuntimeError("redis-server is missing: scripts/test installs it")
        for _ in range(5):
            config = self.directory / "redis.conf"
            lines = [f"bind {self.host}", f"port {self.port}", f"dir {self.directory}"]
            lines += [f"{name} {value}" for name, value in self.settings.items()]
            config.write_text("\n".join(lines) + "\n")
            with self.log_file.open("ab") as log:
                self._process = subprocess.Popen(
                    [program, str(config)],
                    cwd=self.directory,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            deadline = time.monotonic() + START_TIMEOUT
            while time.monotonic() < deadline and self._process.poll() is None:
                if self._answers():
                    return
                time.sleep(0.02)
            self.kill()
            # Another process may have taken the port in between.
            if "Address already in use" not in self.log_file.read_text():
                break
            self.port = free_port()
        raise RuntimeError(f"redis-server did not start:\n{self.log_file.read_text()}")

    def send(self, *words: str) -> bytes:
        """Send one command; return the beginning of the reply."""
        with socket.create_connection((self.host, self.port), 5.0) as sock:
            command = f"*{len(words)}\r\n"
            command += "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
            sock.sendall(command.encode())
            return sock.recv(65_536)

    def _answers(self) -> bool:
        try:
            return self.send("PING").startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def kill(self) -> None:
        """End it as a crash does: SIGKILL."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()

    def pause(self) -> None:
        """Stop it from running, with its connections open, until `resume`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
