"""Who has a session open, as its lease says."""

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import NamedTuple


class Holder(NamedTuple):
    """Who holds a lease, as it wrote it down.

    Attributes:
        pid: The process.
        host: The name of its host.
        program: The name of its program.
        since: Since when, in seconds since the epoch.
    """

    pid: int
    host: str
    program: str
    since: float

    def __str__(self) -> str:
        """Return it in words."""
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.since))
        if self.pid == os.getpid() and self.host == socket.gethostname():
            return f"another client of this process, since {since}"
        return f"process {self.pid} ({self.program}) on host {self.host}, since {since}"

    def to_text(self) -> str:
        """Return what to write down."""
        return json.dumps(self._asdict())


def this_process() -> Holder:
    """Return this process as one that takes a lease now."""
    # Without the arguments: they may have passwords.
    program = Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python"
    return Holder(os.getpid(), socket.gethostname(), program, time.time())


def parse_holder(text: str | bytes) -> Holder | None:
    """Return the holder that was written down; None: the text is something else."""
    try:
        values = json.loads(text)
        return Holder(
            int(values["pid"]),
            str(values["host"]),
            str(values["program"]),
            float(values["since"]),
        )
    except (ValueError, KeyError, TypeError):
        return None
