"""A server as a process on loopback that a test run owns."""

import codecs
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, ClassVar

from tests.ports import free_port

# Before the PATH, which has no /usr/sbin for everybody.
PLACES = "/usr/sbin:/usr/bin:/usr/local/sbin"


class GrowingText:
    """A file that others append to: what was read of it is kept.

    A test may look at the log of a server that ran for a thousand others, very often.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = 0
        self._text = ""
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode

    def read(self) -> str:
        """The whole text; nothing if there is no file."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._size)
                if new := file.read():
                    self._size += len(new)
                    self._text += self._decode(new)
        return self._text


class ServerProcess:
    """One process of a server. It keeps its ports when it is started again.

    A class of it has the name of the program, its command, and how it shows that it
    is ready.
    """

    host = "127.0.0.1"
    program: ClassVar[str]
    start_timeout = 10.0  # seconds
    stop_timeout = 20.0  # seconds
    # With which it ends as an administrator ends it.
    stop_signal = signal.SIGTERM

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log_file = directory / f"{self.program}.log"
        self._log = GrowingText(self.log_file)
        self._process: subprocess.Popen[bytes] | None = None
        self.choose_ports()

    def choose_ports(self) -> None:
        self.port = free_port()

    def command(self) -> list[str | Path]:
        """Write its configuration; return the program and its arguments."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether it is ready."""
        raise NotImplementedError

    def options(self) -> dict[str, Any]:
        """Further options of the process."""
        return {}

    @property
    def log(self) -> str:
        """The whole log, including earlier runs."""
        return self._log.read()

    def start(self) -> None:
        """Start it and return when it answers."""
        first_start = not self.log_file.exists()
        for _ in range(5):
            if self._start_once():
                return
            # Another process may have taken a port in between; a server that
            # comes back has to come back to its own.
            if not first_start or "Address already in use" not in self.log:
                break
            self.choose_ports()
        raise RuntimeError(f"{self.program} did not start:\n{self.log}")

    def _start_once(self) -> bool:
        assert self._process is None, "it is running"
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                **self.options(),
            )
        deadline = time.monotonic() + self.start_timeout
        while time.monotonic() < deadline and self._process.poll() is None:
            if self.answers():
                return True
            time.sleep(0.02)
        self._end(signal.SIGKILL)
        return False

    def stop(self) -> None:
        """End it as an administrator does, which saves and disconnects."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """End it as a crash does: SIGKILL."""
        self._end(signal.SIGKILL)

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
            process.wait(self.stop_timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def find(program: str) -> str:
    """The path of a program of the system."""
    found = shutil.which(program, path=PLACES) or shutil.which(program)
    if found is None:
        raise RuntimeError(f"{program} is missing: scripts/test installs it")
    return found
