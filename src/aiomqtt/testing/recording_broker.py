"""A broker that keeps the messages that were published, for tests."""

import asyncio
from collections.abc import Callable
from functools import cached_property
from types import EllipsisType
from typing import TYPE_CHECKING, TypeAlias

from aiomqtt.argument_checks import check_finite
from aiomqtt.broker import Broker
from aiomqtt.message import Message
from aiomqtt.payload import PayloadType
from aiomqtt.topic import Topic, WildcardLike

from .published_messages import ExpectedMessage, PublishedMessages

if TYPE_CHECKING:
    from aiomqtt.broker.core.message import ApplicationMessage

Condition: TypeAlias = Callable[[Message], bool]


class RecordingBroker(Broker):
    """A `Broker` that keeps the messages that were published; it takes its arguments.

    Each message is there once, whoever published it: a client, a will, or `publish`.
    The messages of ``$SYS`` are not kept, nor those that the broker refused. The latest
    10,000 messages are kept, up to about 64 MiB.
    """

    @cached_property
    def _messages(self) -> PublishedMessages:
        """The messages that are kept."""
        return PublishedMessages()

    @cached_property
    def _waiting(self) -> list[tuple[Condition, asyncio.Future[Message]]]:
        """What each waiting call expects, and its future."""
        return []

    @property
    def _observer(self) -> "Callable[[ApplicationMessage], None]":
        return self._record

    def published(self, topic: WildcardLike = "#") -> list[Message]:
        """Return the messages that were published so far, in their order.

        Args:
            topic: The topic, or a topic filter.

        Returns:
            The messages; `Message.qos` is that of the publisher.

        Raises:
            ValueError: This is not a topic filter.
            TypeError: The topic has a wrong type.
        """
        return self._messages.find(ExpectedMessage(topic).is_met_by)

    async def assert_published(
        self,
        topic: WildcardLike,
        payload: PayloadType | EllipsisType = ...,
        *,
        qos: int | None = None,
        retain: bool | None = None,
        within: float = 5.0,
    ) -> Message:
        """Wait until a message is published; return at once if it was already.

        A cancelled call leaves nothing behind.

        Args:
            topic: The topic, or a topic filter.
            payload: The payload: a str is compared as UTF-8, a number as its decimal
                text, ``None`` as an empty payload; ``...``: any payload.
            qos: The QoS at which it was published; ``None``: any.
            retain: Whether it has the RETAIN flag; ``None``: either.
            within: The seconds to wait at most; 0: it must be there now.

        Returns:
            The first such message.

        Raises:
            AssertionError: It was not published in time; the error says what was
                published instead.
            ValueError: An argument is out of range.
            TypeError: An argument has a wrong type.
        """
        check_finite("within", within)
        expected = ExpectedMessage(topic, payload, qos, retain)
        found = self._messages.find(expected.is_met_by)
        if found:
            return found[0]
        message = await self._next(expected, within) if within else None
        if message is None:
            time = f" within {within:g} seconds" if within else ""
            explanation = self._messages.explain(expected)
            msg = f"no such message was published{time}: {expected}\n{explanation}"
            raise AssertionError(msg)
        return message

    def clear_published(self) -> None:
        """Forget the messages that were published so far."""
        self._messages.clear()

    async def _next(self, expected: ExpectedMessage, seconds: float) -> Message | None:
        """Wait for the next message as expected; None: it did not come in time."""
        future = asyncio.get_running_loop().create_future()
        waiting = (expected.is_met_by, future)
        self._waiting.append(waiting)
        try:
            await asyncio.wait([future], timeout=seconds)
            return future.result() if future.done() else None
        finally:
            self._waiting.remove(waiting)

    def _record(self, published: "ApplicationMessage") -> None:
        """Keep a message, and pass it to those who wait for it."""
        if published.topic.startswith("$SYS/"):
            return
        message = Message(
            Topic(published.topic),
            published.payload,
            published.qos,
            published.retain,
            0,
            published.properties,
        )
        self._messages.add(message, published.size)
        for is_expected, future in self._waiting:
            if not future.done() and is_expected(message):
                future.set_result(message)
