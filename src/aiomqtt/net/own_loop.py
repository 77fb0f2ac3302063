"""Refusing calls from another event loop than the one that the client is entered in."""

import asyncio
from asyncio import _get_running_loop


def check_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Refuse a call that does not run in a loop.

    Raises:
        RuntimeError: It runs in another one, or in a thread that has none.
    """
    if _get_running_loop() is not loop:
        msg = (
            "The client was entered in another event loop: from another thread call"
            " asyncio.run_coroutine_threadsafe(client.publish(...), loop).result()"
        )
        raise RuntimeError(msg)
