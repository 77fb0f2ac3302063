"""The replies to requests: each goes to the call that waits for it (MQTT 5.0 §4.10)."""

import asyncio
from collections.abc import Sequence
from typing import Final

from aiomqtt.exceptions import MqttError
from aiomqtt.message import Message
from aiomqtt.net.sink import Room

from .stream import MessageStream

ENOUGH: Final = Room.ENOUGH


class PendingReply:
    """The reply that a request waits for.

    Attributes:
        topic: The response topic of the request; "": it has none yet, so no reply.
        correlation: Its correlation data.
        waiter: Resolves to None when the reply has come, or to an error.
        reply: The reply; None: it has not come.
    """

    __slots__ = ("correlation", "reply", "topic", "waiter")

    def __init__(
        self,
        correlation: bytes,
        waiter: "asyncio.Future[MqttError | None]",
        topic: str = "",
    ) -> None:
        self.topic: str = topic
        self.correlation: bytes = correlation
        self.waiter: asyncio.Future[MqttError | None] = waiter
        self.reply: Message | None = None


class PendingReplies:
    """All replies that requests of a client wait for.

    Attributes:
        ignored: The number of messages on response topics that no request waited for.
    """

    def __init__(self) -> None:
        # Valid as long as the client.
        self.ignored: int = 0
        # By correlation data; each until its call ends.
        self._pending: dict[bytes, PendingReply] = {}

    def __len__(self) -> int:
        """Return the number of requests that wait."""
        return len(self._pending)

    def has(self, correlation: bytes) -> bool:
        """Whether a request with this correlation data waits."""
        return correlation in self._pending

    def add(self, pending: PendingReply) -> None:
        """Begin to wait; its correlation data must be new."""
        self._pending[pending.correlation] = pending

    def remove(self, pending: PendingReply) -> None:
        """Wait no longer."""
        self._pending.pop(pending.correlation, None)

    def take(self, message: Message) -> None:
        """Give a message to the request that it answers; ignore all others.

        It must have the topic and the correlation data of the request: who only knows
        one of them is not who was asked.
        """
        properties = message.properties
        pending: PendingReply | None = None
        if properties is not None and properties.correlation_data is not None:
            pending = self._pending.get(properties.correlation_data)
        if (
            pending is None
            or pending.topic != message.topic.value
            or pending.waiter.done()
        ):
            self.ignored += 1
            return
        pending.reply = message
        pending.waiter.set_result(None)


class ReplyStream(MessageStream):
    """Where the messages on response topics go: none of them waits here.

    Args:
        pending: The replies that requests wait for.
    """

    def __init__(self, pending: PendingReplies) -> None:
        super().__init__()
        self._pending = pending

    def deliver(self, messages: Sequence[Message], size: int) -> Room:
        """Give each message to the request that it answers."""
        for message in messages:
            self._pending.take(message)
        return ENOUGH
