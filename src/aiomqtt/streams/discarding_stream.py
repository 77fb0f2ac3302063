"""The stream that discards messages when too many wait, the oldest or the newest."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from logging import ERROR, WARNING
from time import monotonic

from aiomqtt.log import SafeLogger
from aiomqtt.message import Message
from aiomqtt.net.sink import Room
from aiomqtt.protocol.codec.size import message_size

from .stream import PORTION, MessageStream


class DiscardingStream(MessageStream):
    """A stream with exact bounds, `maximum_messages` and `maximum_bytes`.

    A single message always has room, however large it is. What is discarded counts as
    acknowledged: it would hold back the acknowledgements of all that come after it.

    Args:
        logger: The logger for warnings about discarded messages.
        drops_newest: Whether to discard messages that come when there is no room.
        drops_oldest: Whether to discard those that wait, to make room. If neither is
            true, reading from the broker pauses.
        clock: Returns the time in seconds, from any starting point.
    """

    def __init__(
        self,
        logger: SafeLogger,
        drops_newest: bool,
        drops_oldest: bool = False,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        super().__init__(clock)
        self._logger = logger
        self._drops_newest = drops_newest
        self._drops_oldest = drops_oldest
        self._messages: deque[Message] = deque()
        # The number of messages discarded since there was last room.
        self._discarding = 0
        # The number of messages taken since an iterator last let other tasks run.
        self._uninterrupted = 0

    def __len__(self) -> int:
        """Return the number of waiting messages."""
        return len(self._messages)

    def _append(self, message: Message) -> None:
        self._messages.append(message)

    def _take(self) -> Message:
        message: Message = self._messages.popleft()
        return message

    def _has_room(self, size: int) -> bool:
        """Return whether a message of this size has room besides those that wait."""
        count = len(self)
        return not count or (
            count < self.maximum_messages and self._bytes + size <= self.maximum_bytes
        )

    def deliver(self, messages: Sequence[Message], size: int) -> Room:
        """Queue messages, wake as many iterators, and return how much room is left."""
        for message in messages:
            self._put(message, message_size(message))
        self._wake(len(messages))
        if self._drops_newest or self._drops_oldest:
            return Room.ENOUGH
        return self.room()

    def _put(self, message: Message, size: int) -> None:
        if self._drops_newest:
            if not self._has_room(size):
                self._discard(message)
                return
        elif self._drops_oldest:
            while not self._has_room(size):
                oldest = self._take()
                self._bytes -= message_size(oldest)
                self._discard(oldest)
        try:
            self._append(message)
            self._bytes += size
        except asyncio.QueueFull:
            self._discard(message)
        except Exception:  # noqa: BLE001
            self._count(message)
            text = "The message queue raised. Discarding message."
            self._logger.event(ERROR, "queue_failed", {}, text, exc_info=True)

    def _discard(self, message: Message) -> None:
        self._count(message)
        # Log once each time the queue overflows, so as not to flood the log.
        if not self._discarding:
            text = "Message queue is full. Discarding message."
            self._logger.event(WARNING, "queue_full", {}, text)
        self._discarding += 1

    def _count(self, message: Message) -> None:
        self.discarded += 1
        if message.ticket is not None:
            message.ticket.finish()

    def is_turn_over(self) -> bool:
        """Return whether other tasks should run before the next message is taken."""
        self._uninterrupted += 1
        if self._uninterrupted < PORTION:
            return False
        self._uninterrupted = 0
        return self._turns.is_over()

    def waiter(self) -> asyncio.Future[None]:
        """Return a future for a message or the end; to give it up, call `forget`."""
        self._uninterrupted = 0
        return super().waiter()

    def pop(self) -> Message | None:
        """Remove and return the next message; None if there is none."""
        if not len(self):
            return None
        message = self._take()
        self._bytes -= message_size(message)
        if self._discarding:
            self._report()
        if self._is_full:
            self._check_room()
        return message

    def _report(self) -> None:
        count = self._discarding
        text = "%d messages were discarded."
        self._logger.event(WARNING, "messages_discarded", {"count": count}, text, count)
        self._discarding = 0

    def extract(self, is_wanted: Callable[[Message], bool]) -> list[Message]:
        """Remove and return the waiting messages that are wanted, the first first."""
        wanted: list[Message] = []
        self._bytes = 0
        for message in self._take_all():
            if is_wanted(message):
                wanted.append(message)
            else:
                self._append(message)
                self._bytes += message_size(message)
        if wanted and self._is_full:
            self._check_room()
        return wanted

    def _take_all(self) -> list[Message]:
        """Remove and return all messages, the first first."""
        return [self._take() for _ in range(len(self))]
