"""The stream of messages in a queue whose order the program chooses."""

import asyncio
from collections.abc import Callable
from time import monotonic

from aiomqtt.log import SafeLogger
from aiomqtt.message import Message
from aiomqtt.protocol.codec.size import message_size

from .discarding_stream import DiscardingStream


class CustomQueueStream(DiscardingStream):
    """A stream whose order the program chooses.

    Args:
        queue_type: A class like asyncio.Queue, which decides the order.
        maximum: The maximum number of messages that the queue holds, which it checks
            itself; further ones are discarded. 0: no message is discarded, and reading
            pauses instead.
        logger: The logger for warnings about discarded messages.
        clock: Returns the time in seconds, from any starting point.
    """

    def __init__(
        self,
        queue_type: type[asyncio.Queue[Message]],
        maximum: int,
        logger: SafeLogger,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        super().__init__(logger, maximum > 0, False, clock)
        self._queue = queue_type(maxsize=maximum)

    def __len__(self) -> int:
        """Return the number of waiting messages."""
        return self._queue.qsize()

    def _append(self, message: Message) -> None:
        self._queue.put_nowait(message)

    def _take(self) -> Message:
        message: Message = self._queue.get_nowait()
        if not self._queue.qsize():
            # The queue may have discarded some by itself.
            self._bytes = message_size(message)
        return message

    def _has_room(self, size: int) -> bool:
        """Return whether a message has room by its size: the queue counts itself."""
        return self._bytes + size <= self.maximum_bytes or not self._queue.qsize()

    def _take_all(self) -> list[Message]:
        messages = super()._take_all()
        if isinstance(self._queue, asyncio.LifoQueue):
            messages.reverse()
        return messages
