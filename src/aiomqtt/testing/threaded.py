"""A broker in its own thread, for tests that are not asynchronous."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from aiomqtt.broker import Broker


class ThreadedBroker:
    """A `Broker` that runs in its own thread, on its own event loop.

    It has the broker's attributes and methods, for use from any other thread: they are
    read and called in the broker's thread. A call of a coroutine method returns when
    the coroutine is done.

    Args:
        broker: A broker that has not started.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="aiomqtt broker")

    def __enter__(self) -> Self:
        """Start it; returns when it listens.

        Raises:
            OSError: The broker can't listen.
        """
        self._thread.start()
        try:
            self._started.result()
        except BaseException:
            self._thread.join()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it, and end the thread."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def __getattr__(self, name: str) -> object:
        """Read an attribute, or call a method, in the broker's thread."""
        if name.startswith("_"):
            msg = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(msg)
        found = self._call(lambda: getattr(self._broker, name))
        if not inspect.ismethod(found):
            return found

        @functools.wraps(found)
        def method(*arguments: object, **options: object) -> object:
            return self._call(lambda: found(*arguments, **options))

        return method

    def _call(self, function: Callable[[], object]) -> object:
        async def call() -> object:
            result = function()
            return await result if inspect.isawaitable(result) else result

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised by __enter__
            self._started.set_exception(error)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        await self._broker.start()
        self._started.set_result(None)
        await self._ended.wait()
        await self._broker.stop()
