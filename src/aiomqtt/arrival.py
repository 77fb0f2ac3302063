"""Waiting for the next message, when none is ready."""

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any

from .inbox import Inbox
from .message import Message


class Arrival(Generator[Any, Any, Message]):
    """The next message of an inbox, for compiled code to await.

    Compiled code throws type, value and traceback, which Python 3.12 and newer warn of:
    here it becomes the value alone.
    """

    __slots__ = ("_steps",)

    def __init__(self, inbox: Inbox) -> None:
        """Wait when it is awaited."""
        self._steps: Coroutine[Any, Any, Message] = _next(inbox)

    def __await__(self) -> Generator[Any, Any, Message]:
        """Return itself."""
        return self

    def __next__(self) -> Any:
        """Go on: the quick way."""
        return self._steps.send(None)

    def send(self, value: Any) -> Any:
        """Go on."""
        return self._steps.send(value)

    def throw(self, *exception: Any) -> Any:
        """Go on with an exception."""
        error = exception[0] if len(exception) == 1 else exception[1]
        return self._steps.throw(error)

    def close(self) -> None:
        """End it."""
        self._steps.close()


async def _next(inbox: Inbox) -> Message:
    if inbox.is_turn_over():
        await asyncio.sleep(0)
        inbox.begin_turn()
    while (message := inbox.take()) is None:
        if inbox.is_closed:
            raise inbox.end()
        waiter = inbox.waiter()
        try:
            await waiter
        except BaseException:
            inbox.forget(waiter)
            raise
    return message
