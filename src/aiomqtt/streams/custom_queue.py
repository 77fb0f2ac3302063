"""The stream of messages in a queue whose order or bound the program chooses."""

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic

from aiomqtt.log import Logger
from aiomqtt.message import Message
from aiomqtt.net.sink import Room
from aiomqtt.protocol.codec.size import message_size

from .stream import PORTION, MessageStream


class CustomQueueStream(MessageStream):
    """A stream whose order or bound the program chooses.

    Args:
        queue_type: A class like asyncio.Queue, which decides the order.
        maximum: The maximum number of messages it holds; further ones are discarded. 0:
            no message is discarded, and reading pauses instead.
        logger: The logger for warnings about discarded messages.
        clock: Returns the time in seconds, from any starting point.
    """

    def __init__(
        self,
        queue_type: type[asyncio.Queue[Message]],
        maximum: int,
        logger: Logger,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        super().__init__(clock)
        self._queue = queue_type(maxsize=maximum)
        self._is_bounded = maximum > 0
        self._logger = logger
        # The number of messages discarded since there was last room.
        self._discarding = 0
        # The number of messages taken since an iterator last let other tasks run.
        self._uninterrupted = 0

    def __len__(self) -> int:
        """Return the number of waiting messages."""
        return self._queue.qsize()

    def deliver(self, messages: Sequence[Message], size: int) -> Room:
        """Queue messages, wake as many iterators, and return how much room is left."""
        for message in messages:
            self._put(message)
        self._wake(len(messages))
        return Room.ENOUGH if self._is_bounded else self.room()

    def _put(self, message: Message) -> None:
        try:
            self._queue.put_nowait(message)
            self._bytes += message_size(message)
        except asyncio.QueueFull:
            self.discarded += 1
            # Log once each time the queue overflows, so as not to flood the log.
            if not self._discarding:
                self._logger.warning("Message queue is full. Discarding message.")
            self._discarding += 1
        except Exception:
            self.discarded += 1
            self._logger.exception("The message queue raised. Discarding message.")

    def is_turn_over(self) -> bool:
        """Return whether other tasks should run before the next message is taken."""
        self._uninterrupted += 1
        if self._uninterrupted < PORTION:
            return False
        self._uninterrupted = 0
        return self._clock() >= self._turn_ends

    def waiter(self) -> asyncio.Future[None]:
        """Return a future for a message or the end; to give it up, call `forget`."""
        self._uninterrupted = 0
        return super().waiter()

    def pop(self) -> Message | None:
        """Remove and return the next message; None if there is none."""
        if not self._queue.qsize():
            return None
        message: Message = self._queue.get_nowait()
        self._bytes -= message_size(message)
        if self._discarding:
            self._logger.warning("%d messages were discarded.", self._discarding)
            self._discarding = 0
        if self._is_full:
            self._check_room()
        return message
