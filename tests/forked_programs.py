"""Programs in processes of their own that need not be started.

Each is forked from an interpreter that has imported aiomqtt and what it needs, which
takes most of the time of a short program. It runs, and ends, as if it had been started
with `-X dev -W error -u`: with asyncio's debug mode, and warnings as errors.
"""

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import IO

FORKING = Path(__file__).with_name("forking_interpreter.py")
COMMAND = (sys.executable, "-X", "dev", "-W", "error", "-u", str(FORKING))
# Before any test: one that leaves a socket fails.
OURS, THEIRS = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
atexit.register(OURS.close)
atexit.register(THEIRS.close)


@cache
def start_interpreter() -> None:
    """Start what the programs are forked from; it ends with this process."""
    process = subprocess.Popen(
        [*COMMAND, str(THEIRS.fileno())],
        pass_fds=[THEIRS.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    THEIRS.close()
    atexit.register(process.wait)
    atexit.register(OURS.close)


class ForkedProgram:
    """A program that runs.

    Args:
        arguments: Those of the interpreter: "-c" and a text, "-m" and a module, or a
            file; and the program's own.
        stdout: A file for its output.
        stderr: A file for its errors.
        stdin: A file for its input; None: nothing.
        cwd: Its directory; None: this one.
        env: Its environment; None: this one.

    Attributes:
        pid: Its process identifier.
        returncode: Its exit code, negative for a signal; None: it was not seen to end.
    """

    def __init__(
        self,
        *arguments: object,
        stdout: IO[bytes],
        stderr: IO[bytes],
        stdin: IO[bytes] | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        start_interpreter()
        request = {
            "arguments": [*map(str, arguments)],
            "directory": str(cwd or Path.cwd()),
            "environment": {**(os.environ if env is None else env)},
        }
        self._told, told = os.pipe()
        with Path(os.devnull).open("rb") as nothing:
            files = [one.fileno() for one in (stdin or nothing, stdout, stderr)]
            socket.send_fds(OURS, [json.dumps(request).encode()], [*files, told])
        os.close(told)
        self.pid = self._next_number()
        self.returncode: int | None = None

    def _next_number(self) -> int:
        number = os.read(self._told, 4)
        # Otherwise the interpreter has ended: no number is that of a process then.
        assert len(number) == 4, "the program could not be forked"
        return int.from_bytes(number, signed=True)

    def poll(self) -> int | None:
        """Return its exit code if it has ended."""
        if self.returncode is None and select.select([self._told], [], [], 0)[0]:
            self.returncode = self._next_number()
            os.close(self._told)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Wait until it ends, at most so many seconds; return its exit code."""
        if self.returncode is None:
            select.select([self._told], [], [], timeout)
        if (code := self.poll()) is None:
            raise TimeoutError("the program has not ended")
        return code

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it, if it runs."""
        self.send_signal(signal.SIGKILL)
        self.wait(60)


def run(
    *arguments: object,
    text: str = "",
    env: Mapping[str, str] | None = None,
    timeout: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; return its output and its errors.

    Args:
        arguments: See `ForkedProgram`.
        text: Its input.
        env: See `ForkedProgram`.
        timeout: How many seconds it may take.
    """
    with (
        tempfile.TemporaryFile() as stdin,
        tempfile.TemporaryFile() as stdout,
        tempfile.TemporaryFile() as stderr,
    ):
        stdin.write(text.encode())
        stdin.seek(0)
        program = ForkedProgram(
            *arguments, stdin=stdin, stdout=stdout, stderr=stderr, env=env
        )
        try:
            code = program.wait(timeout)
        except TimeoutError:
            program.kill()
            raise
        said = []
        for file in (stdout, stderr):
            file.seek(0)
            said.append(file.read().decode())
    return subprocess.CompletedProcess([*map(str, arguments)], code, *said)
