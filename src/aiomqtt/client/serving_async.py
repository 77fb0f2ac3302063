"""Serving requests: a handler answers each message of some topic filters."""

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiomqtt.escaping import escape
from aiomqtt.exceptions import MqttError
from aiomqtt.message import Message
from aiomqtt.net.cancellation import tell_cancellations_apart
from aiomqtt.types import RequestHandler

if TYPE_CHECKING:
    from aiomqtt.streams.subscription import Stream

    from .request_async import Requester


class RequestServer:
    """The requests that a handler answers; `Client.serve` returns it.

    Attributes:
        handled: The number of requests whose handler has returned.
        failed: The number of requests whose handler has raised an exception, or whose
            response could not be published.
        running: The number of handlers that run now.
    """

    def __init__(
        self,
        client: "Requester",
        stream: "Stream[Message]",
        handler: RequestHandler,
        concurrency: int,
    ) -> None:
        """Begin to answer the requests of a stream."""
        self._client = client
        self._stream = stream
        self._handler = handler
        self._error: MqttError | None = None
        self.handled: int = 0
        self.failed: int = 0
        self.running: int = 0
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._work()) for _ in range(concurrency)]

    async def serve_forever(self) -> None:
        """Wait until the connection ends; requests are answered without it, too.

        Cancelling it changes nothing.

        Raises:
            MqttError: The connection has ended, and the client does not reconnect.
        """
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        error = MqttError("Disconnected while serving requests")
        if self._error is not None:
            error.__cause__ = self._error.__cause__
            error.reason_code = self._error.reason_code
            error.reason_string = self._error.reason_string
        raise error

    async def _work(self) -> None:
        """Answer one request after the other, until there are no more."""
        try:
            async for message in self._stream:
                self.running += 1
                try:
                    await self._answer(message)
                finally:
                    self.running -= 1
        except MqttError as error:
            self._error = error

    async def _answer(self, message: Message) -> None:
        """Call the handler, and publish the response."""
        try:
            with tell_cancellations_apart():
                result: Any = self._handler(message)
                if inspect.isawaitable(result):
                    result = await result
        except Exception:  # noqa: BLE001
            self.failed += 1
            self._log(
                logging.ERROR,
                "handler_failed",
                message,
                "The handler raised: a request on %s is not answered",
            )
            return
        self.handled += 1
        if result is None:
            return
        try:
            await self._client.respond(message, result)
        except (MqttError, ValueError, TypeError):
            self.failed += 1
            self._log(
                logging.WARNING,
                "response_failed",
                message,
                "The response to a request on %s was not published",
            )

    def _log(self, level: int, event: str, message: Message, text: str) -> None:
        topic = escape(message.topic.value)
        logger = self._client._logger  # noqa: SLF001
        logger.event(level, event, {"topic": topic}, text, topic, exc_info=True)

    async def finish(self) -> None:
        """Wait until all requests that have come are answered."""
        await asyncio.wait(self._tasks)

    async def cancel(self) -> None:
        """Cancel the running handlers."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)


@asynccontextmanager
async def serve(
    client: "Requester",
    stream: "AbstractAsyncContextManager[Stream[Message]]",
    handler: RequestHandler,
    concurrency: int,
) -> AsyncIterator[RequestServer]:
    """Answer the requests of a stream; see `Client.serve`."""
    server: RequestServer | None = None
    try:
        async with stream as requests:
            server = RequestServer(client, requests, handler, concurrency)
            yield server
        await server.finish()
    finally:
        if server is not None:
            await server.cancel()
