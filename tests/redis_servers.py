"""A Redis server, as a process on loopback that a test run owns."""

import socket
from pathlib import Path

from tests.server_process import ServerProcess, find


class RedisServer(ServerProcess):
    """One redis-server process.

    `settings` are those of redis.conf; they are written over those for which a test
    does not care.
    """

    program = "redis-server"

    def __init__(self, directory: Path, **settings: str) -> None:
        super().__init__(directory)
        self.settings = {
            "appendonly": "yes",
            "appendfsync": "always",
            "save": '""',
            **{name.replace("_", "-"): value for name, value in settings.items()},
        }

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}/0"

    def command(self) -> list[str | Path]:
        config = self.directory / "redis.conf"
        lines = [f"bind {self.host}", f"port {self.port}", f"dir {self.directory}"]
        lines += [f"{name} {value}" for name, value in self.settings.items()]
        config.write_text("\n".join(lines) + "\n")
        return [find(self.program), config]

    def send(self, *words: str) -> bytes:
        """Send one command; return the beginning of the reply."""
        with socket.create_connection((self.host, self.port), 5.0) as sock:
            command = f"*{len(words)}\r\n"
            command += "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
            sock.sendall(command.encode())
            return sock.recv(65_536)

    def answers(self) -> bool:
        try:
            return self.send("PING").startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False
