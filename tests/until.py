"""Waiting for a condition that nobody announces."""

import asyncio
from collections.abc import Callable

# For what should be so at once, in seconds: a busy machine may take so long.
SOON = 10.0


async def until(
    condition: Callable[[], object],
    seconds: float = SOON,
    describe: Callable[[], str] = lambda: "it did not become so in time",
    pause: float = 0.002,
) -> None:
    """Wait until a condition holds, looking at it again after each pause.

    Raises:
        AssertionError: It did not in so many seconds. `describe` returns the message.
    """
    assert await becomes_so(condition, seconds, pause), describe()


async def becomes_so(
    condition: Callable[[], object], seconds: float, pause: float = 0.002
) -> bool:
    """Wait until a condition holds, or for so many seconds; return whether it holds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not condition():
        if loop.time() > deadline:
            return False
        await asyncio.sleep(pause)
    return True
