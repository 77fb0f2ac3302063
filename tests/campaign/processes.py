"""Processes that are forked from one that has imported everything: it takes 10 ms."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any, Final

from tests.until import becomes_so

# A process that hangs is a finding, after so many seconds.
PATIENCE: Final = 60.0

_CONTEXT: Final = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.campaign.campaign"])


def start(function: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Call a function in a process of its own."""
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
