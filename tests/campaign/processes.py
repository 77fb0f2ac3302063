"""Processes that are forked from one that has imported everything: it takes 10 ms."""

import multiprocessing
from collections.abc import Callable
from functools import cache
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from typing import Any, Final

from tests.until import becomes_so

from . import recording

# A process that hangs is a finding, after so many seconds.
PATIENCE: Final = 60.0

_CONTEXT: Final = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.campaign.campaign", "psycopg", "asyncpg"])


@cache
def start_server() -> None:
    """Start the process from which the others are forked; they can record writes."""
    with recording.loaded():
        forkserver.ensure_running()


def start(function: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Call a function in a process of its own."""
    start_server()
    process = _CONTEXT.Process(target=function, args=arguments, daemon=True)
    process.start()
    return process


async def ended(process: BaseProcess, seconds: float = PATIENCE) -> int:
    """Return the exit code of a process when it has ended.

    Args:
        process: The process.
        seconds: How long that may take.

    Raises:
        TimeoutError: It hangs.
    """
    if not await becomes_so(lambda: process.exitcode is not None, seconds):
        process.kill()
        raise TimeoutError("a program hangs")
    code = process.exitcode
    process.close()
    assert code is not None
    return code
