"""Waiting for a condition that nobody announces."""

import asyncio
from collections.abc import Callable

# For what should be so at once, in seconds: a busy machine may take so long.
SOON = 10.0
# Between two looks, in seconds.
LONGEST_PAUSE = 0.05


async def until(
    condition: Callable[[], object],
    seconds: float = SOON,
    describe: Callable[[], str] = lambda: "it did not become so in time",
    pause: float = 0.002,
) -> None:
    """Wait until a condition holds, looking at it again after each pause.

    The longer it takes, the longer are the pauses.

    Raises:
        AssertionError: It did not in so many seconds. `describe` returns the message.
    """
    assert await becomes_so(condition, seconds, pause), describe()


async def becomes_so(
    condition: Callable[[], object], seconds: float, pause: float = 0.002
) -> bool:
    """Wait until a condition holds, or for so many seconds; return whether it holds."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    while not condition():
        passed = loop.time() - begin
        if passed > seconds:
            return False
        # When it takes long, some more of that does not matter.
        await asyncio.sleep(max(pause, min(passed / 20, LONGEST_PAUSE)))
    return True
