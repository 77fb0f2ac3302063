"""Where messages wait for the program: the client's queue and its iterators."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Self

from .exceptions import MqttError
from .message import Message
from .net.runner import Room

# Above either of these reading from the broker pauses, and it resumes at half of
# them: TCP then holds the broker back, and nothing is lost. A bound that the
# program gives (max_queued_incoming_messages) takes the place of these.
MAXIMUM_MESSAGES: Final = 65_536
MAXIMUM_BYTES: Final = 64 * 1024 * 1024
# While a call waits for the broker's answer, which comes behind messages, this many
# times as much.
STRETCH: Final = 4
# An iterator that always finds a message lets other tasks run this often.
FAIRNESS: Final = 256


class Inbox:
    """The queue of incoming messages; it outlives connections.

    Args:
        queue_type: A class of asyncio.Queue's kind that decides on the order; None:
            first in, first out.
        maximum: How many messages it holds; further ones are discarded. 0: all, and
            reading pauses instead.
        logger: Where to say that messages are discarded.
    """

    def __init__(
        self,
        queue_type: type[asyncio.Queue[Any]] | None,
        maximum: int,
        logger: logging.Logger,
    ) -> None:
        """Start empty, before the first connection."""
        self._fifo: deque[Message] = deque()
        self._queue: asyncio.Queue[Any] | None = None
        if queue_type is not None or maximum > 0:
            self._queue = (queue_type or asyncio.Queue)(maxsize=maximum)
        self._is_bounded = maximum > 0
        self._logger = logger
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._bytes = 0
        self._is_full = False
        self._resume: Callable[[], None] | None = None
        # How many messages were taken since an iterator last had to wait.
        self.uninterrupted = 0
        # Whether a connection has ended since the last one began, and why.
        self.is_closed = False
        self.error: MqttError | None = None
        # How many messages were discarded, ever; how many since there was room.
        self.discarded = 0
        self._discarding = 0

    def __len__(self) -> int:
        """Return the number of messages that wait."""
        return len(self._fifo) if self._queue is None else self._queue.qsize()

    def open(self, resume: Callable[[], None]) -> None:
        """Begin a connection.

        Args:
            resume: What to call when there is room again after `deliver` said no.
        """
        self.is_closed = False
        self.error = None
        self._resume = resume

    def close(self, error: MqttError | None) -> None:
        """End a connection: iterators that find no message raise."""
        self.is_closed = True
        self.error = error
        self._resume = None
        self._wake(len(self._waiters))

    def deliver(self, messages: Sequence[Message]) -> Room:
        """Take messages, wake as many iterators, and tell how much room is left."""
        if self._queue is None:
            self._fifo.extend(messages)
            for message in messages:
                self._bytes += len(message.payload)
        else:
            for message in messages:
                self._put(self._queue, message)
        self._wake(len(messages))
        if self._is_bounded:
            return Room.ENOUGH
        excess = max(len(self) / MAXIMUM_MESSAGES, self._bytes / MAXIMUM_BYTES)
        self._is_full = excess > 1
        if not self._is_full:
            return Room.ENOUGH
        return Room.LITTLE if excess <= STRETCH else Room.NONE

    def _put(self, queue: asyncio.Queue[Any], message: Message) -> None:
        try:
            queue.put_nowait(message)
            self._bytes += len(message.payload)
        except asyncio.QueueFull:
            self.discarded += 1
            # Once for each time that it overflows: a flood must not flood the log.
            if not self._discarding:
                self._logger.warning("Message queue is full. Discarding message.")
            self._discarding += 1
        except Exception:
            self.discarded += 1
            self._logger.exception("The message queue raised. Discarding message.")

    def take(self) -> Message | None:
        """Take the next message; None when there is none."""
        if self._queue is None:
            if not self._fifo:
                return None
            message = self._fifo.popleft()
        else:
            if not self._queue.qsize():
                return None
            message = self._queue.get_nowait()
            if self._discarding:
                self._logger.warning("%d messages were discarded.", self._discarding)
                self._discarding = 0
        self._bytes -= len(message.payload)
        if self._is_full:
            self._check_room()
        return message

    def _check_room(self) -> None:
        if len(self) <= MAXIMUM_MESSAGES // 2 and self._bytes <= MAXIMUM_BYTES // 2:
            self._is_full = False
            if self._resume is not None:
                self._resume()

    def _wake(self, count: int) -> None:
        while count > 0 and self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                count -= 1

    async def wait(self) -> None:
        """Wait until there may be a message or the connection ended."""
        self.uninterrupted = 0
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled():
                # It was woken for a message that it will not take: pass that on.
                self._wake(1)
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            raise


class MessagesIterator:
    """A view of the client's message queue.

    Several tasks may iterate at once and share the messages.
    """

    def __init__(self, inbox: Inbox) -> None:
        """Iterate over an inbox."""
        self._inbox = inbox

    def __aiter__(self) -> Self:
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> Message:
        """Return the next message, waiting for it if need be.

        Messages that were received before the connection ended are still returned.
        Cancelling takes no message.

        Raises:
            MqttError: The connection has ended and no message is left;
                `__cause__` says why, when it did not end by leaving the context.
        """
        inbox = self._inbox
        inbox.uninterrupted += 1
        if inbox.uninterrupted >= FAIRNESS:
            inbox.uninterrupted = 0
            await asyncio.sleep(0)
        while (message := inbox.take()) is None:
            if inbox.is_closed:
                msg = "Disconnected during message iteration"
                error = MqttError(msg)
                if inbox.error is not None:
                    error.reason_code = inbox.error.reason_code
                    error.reason_string = inbox.error.reason_string
                raise error from inbox.error
            await inbox.wait()
        return message

    def __len__(self) -> int:
        """Return the number of messages in the queue."""
        return len(self._inbox)

    @property
    def discarded(self) -> int:
        """How many messages were discarded because the queue was full."""
        return self._inbox.discarded
