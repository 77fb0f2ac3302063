"""The stream of messages in a queue of the program's: its order, its bound."""

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic

from aiomqtt.log import Logger
from aiomqtt.message import Message
from aiomqtt.net.sink import Room
from aiomqtt.protocol.codec.size import message_size

from .stream import PORTION, MessageStream


class CustomQueueStream(MessageStream):
    """A stream whose order or bound is the program's.

    Args:
        queue_type: A class of asyncio.Queue's kind, which decides on the order.
        maximum: How many messages it holds; further ones are discarded. 0: all, and
            reading pauses instead.
        logger: Where to say that messages are discarded.
        clock: The time in seconds, from any beginning.
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
        # How many messages were discarded since there was room.
        self._discarding = 0
        # How many messages were taken since an iterator last let others run.
        self._uninterrupted = 0

    def __len__(self) -> int:
        """Return the number of messages that wait."""
        return self._queue.qsize()

    def deliver(self, messages: Sequence[Message], size: int) -> Room:
        """Take messages, wake as many iterators, and tell how much room is left."""
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
            # Once for each time that it overflows: a flood must not flood the log.
            if not self._discarding:
                self._logger.warning("Message queue is full. Discarding message.")
            self._discarding += 1
        except Exception:
            self.discarded += 1
            self._logger.exception("The message queue raised. Discarding message.")

    def is_turn_over(self) -> bool:
        """Whether other tasks should run before the next message is taken."""
        self._uninterrupted += 1
        if self._uninterrupted < PORTION:
            return False
        self._uninterrupted = 0
        return self._clock() >= self._turn_ends

    def waiter(self) -> asyncio.Future[None]:
        """Return a future for a message or the end; given up, it goes to `forget`."""
        self._uninterrupted = 0
        return super().waiter()

    def take(self) -> Message | None:
        """Take the next message; None when there is none."""
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
