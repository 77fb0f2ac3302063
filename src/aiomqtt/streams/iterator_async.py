"""Waiting for the next message if none is ready."""

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any

from aiomqtt.message import Message

from .stream import MessageStream


class Arrival(Generator[Any, Any, Message]):
    """The next message of a stream, for compiled code to await.

    Compiled code calls `throw` with type, value and traceback, which Python 3.12
    deprecates. `throw` here passes on only the value.
    """

    __slots__ = ("_steps",)

    def __init__(self, stream: MessageStream) -> None:
        self._steps: Coroutine[Any, Any, Message] = _next(stream)

    def __await__(self) -> Generator[Any, Any, Message]:
        """Return itself."""
        return self

    def __next__(self) -> Any:
        """Go on; the fast path."""
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


async def _next(stream: MessageStream) -> Message:
    if stream.is_turn_over():
        stream.end_turn()
        try:
            await asyncio.sleep(0)
        finally:
            stream.begin_turn()
    while (message := stream.pop()) is None:
        if stream.is_closed:
            raise stream.end()
        waiter = stream.waiter()
        try:
            await waiter
        except BaseException:
            stream.forget(waiter)
            raise
        stream.go_on()
    return message
