"""The client's queue of messages that wait for the program."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final

from aiomqtt.exceptions import MqttCodeError, MqttError
from aiomqtt.message import Message
from aiomqtt.net.sink import Room
from aiomqtt.properties import ReasonCode
from aiomqtt.protocol.codec.size import message_size
from aiomqtt.standard.names import QUOTA_EXCEEDED

from .turns import Turns

# Looking up a member of an enumeration is slow.
ENOUGH: Final = Room.ENOUGH
# Above either bound, reading from the broker pauses, and it resumes at half of it. TCP
# then makes the broker wait, and nothing is lost. A program may set other bounds.
MAXIMUM_MESSAGES: Final = 65_536
MAXIMUM_BYTES: Final = 64 * 1024 * 1024
# The bound is multiplied by this while a call waits for the broker's answer, which
# arrives after messages ...
ANSWER_FACTOR: Final = 4
# ... and by this while a PINGRESP is due, without which the connection ends.
PING_FACTOR: Final = 5
# With a small bound, that would be less than what a network and a broker hold on the
# way. So much memory may be used above any bound then, in bytes.
ANSWER_SPARE: Final = 8 * 1024 * 1024
PING_SPARE: Final = 10 * 1024 * 1024
# Iterators take messages in portions of about this many messages or bytes. Between two
# portions, the room and the turn are checked.
PORTION: Final = 256
PORTION_BYTES: Final = 1024 * 1024


class MessageStream:
    """The queue of incoming messages, first in, first out. It outlives connections."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        """Create an empty queue, before the first connection.

        Args:
            clock: Returns the time in seconds, from any starting point.
        """
        self._turns = Turns(clock)
        self.maximum_messages = MAXIMUM_MESSAGES
        self.maximum_bytes = MAXIMUM_BYTES
        # Whether the program acknowledges the messages; whether by coming back for the
        # next one.
        self.is_late = False
        self.is_processed = False
        # The messages that may be taken directly, the next one last; it is always the
        # same object.
        self.ready: list[Message] = []
        # The messages that came after these, with the memory that they use.
        self._backlog: deque[tuple[Sequence[Message], int]] = deque()
        self._backlog_length = 0
        # The size of all queued messages. Messages that were taken from `ready` are
        # subtracted when it is empty.
        self._bytes = 0
        self._ready_bytes = 0
        self._is_full = False
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._resume: Callable[[], None] | None = None
        # Whether the last connection has ended, and the reason.
        self.is_closed: bool = True
        self.error: MqttError | None = None
        self._was_expected = False
        # Why no message comes any more, whatever happens to the connection, or "".
        self._refusal: str = ""
        # The event loop that the client was entered in last.
        self._loop: asyncio.AbstractEventLoop | None = None
        # The total number of discarded messages.
        self.discarded = 0

    def __len__(self) -> int:
        """Return the number of waiting messages."""
        return len(self.ready) + self._backlog_length

    @property
    def size(self) -> int:
        """An estimate of the memory of the waiting messages, in bytes.

        It includes those of the current portion that have been taken already.
        """
        return self._bytes

    def expect(self) -> None:
        """Let iterators wait: a connection is being made."""
        self._was_expected = True
        self.is_closed = False
        self.error = None
        self._loop = asyncio.get_running_loop()
        self._turns.expect(self._loop)

    def abandon(self) -> None:
        """End the connection, and forget all waiters, whose event loop is closed."""
        self._waiters.clear()
        if not self.is_closed:
            self.close(MqttError("The event loop was closed"))

    def open(self, resume: Callable[[], None]) -> None:
        """Begin a connection.

        Args:
            resume: Called when there is room again after `deliver` reported too little.
        """
        self._resume = resume
        self._turns.reset()
        if not self._refusal:
            self.is_closed = False
            self.error = None

    def close(self, error: MqttError | None) -> None:
        """End a connection: iterators that find no message raise."""
        self._was_expected = True
        self.is_closed = True
        if not self._refusal:
            self.error = error
        self._resume = None
        self._wake(len(self._waiters))

    def refuse(self, error: MqttError) -> None:
        """End it for good: the broker did not restore its subscription."""
        if not self._refusal:
            self.is_closed = True
            self.error = error
            self._refusal = f"The stream has ended: {error}"
            self._wake(len(self._waiters))

    # --- incoming messages --------------------------------------------------------

    def deliver(self, messages: Sequence[Message], size: int) -> Room:
        """Queue messages, wake as many iterators, and return how much room is left.

        Args:
            messages: The messages, in order.
            size: An estimate of the memory that they use, in bytes.
        """
        is_due = self._turns.is_due
        count = len(messages)
        if count <= PORTION:
            self._backlog.append((messages, size))
        else:
            # Assume that all are of the same size.
            for start in range(0, count, PORTION):
                stop = min(start + PORTION, count)
                part = size * stop // count - size * start // count
                self._backlog.append((messages[start:stop], part))
        self._backlog_length += count
        self._bytes += size
        if not self.ready:
            self._refill()
        self._wake(count)
        if is_due:
            self._turns.let_catch_up(len(self), self._bytes)
        return self.room()

    def deliver_one(self, message: Message, size: int) -> Room:
        """Queue one message, as `deliver` does, but faster."""
        if self.ready or self._backlog:
            self._backlog.append(((message,), size))
            self._backlog_length += 1
            self._bytes += size
        else:
            self.ready.append(message)
            # Those that were ready before have been taken.
            self._bytes += size - self._ready_bytes
            self._ready_bytes = size
        if self._waiters:
            self._wake(1)
        length = len(self.ready) + self._backlog_length
        if length > self.maximum_messages or self._bytes > self.maximum_bytes:
            return self.room()
        turns = self._turns
        if turns.is_due:
            turns.let_catch_up(length, self._bytes)
        # If it is full, it says so until there is much more room.
        return self.room() if self._is_full or turns.must_catch_up else ENOUGH

    def _refill(self) -> None:
        """Make the next portion ready; the last one has been taken completely."""
        self._bytes -= self._ready_bytes
        self._ready_bytes = 0
        ready = self.ready
        while self._backlog and len(ready) < PORTION:
            if self._ready_bytes >= PORTION_BYTES:
                break
            messages, size = self._backlog.popleft()
            ready.extend(messages)
            self._backlog_length -= len(messages)
            self._ready_bytes += size
        ready.reverse()

    def room(self) -> Room:
        """Return how much room there is for more messages."""
        excess = max(
            len(self) / self.maximum_messages, self._bytes / self.maximum_bytes
        )
        if excess > 1:
            self._is_full = True
        # Once it is full, it stays so until `_check_room` resets it.
        if not self._is_full:
            return Room.LITTLE if self._turns.must_catch_up else Room.ENOUGH
        # The memory above the bound, if all messages are of the same size.
        above = self._bytes * (1 - 1 / excess) if excess > 1 else 0.0
        if excess <= ANSWER_FACTOR or above <= ANSWER_SPARE:
            return Room.LITTLE
        if excess <= PING_FACTOR or above <= PING_SPARE:
            return Room.NONE
        return Room.USED_UP

    def overflow(self) -> MqttError:
        """Return the error for a connection that ends because there is no room."""
        return MqttCodeError(
            ReasonCode(QUOTA_EXCEEDED),
            f"Disconnected: the program takes no messages: {len(self)} wait"
            f" ({self._bytes // 1024} KiB), and no PINGRESP can be read behind them",
        )

    def _wake(self, count: int) -> None:
        while count > 0 and self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                self._turns.is_due = True
                count -= 1

    # --- taking messages ----------------------------------------------------------

    def is_turn_over(self) -> bool:
        """Return whether other tasks should run before the next message is taken.

        Call it between portions, when nothing is ready. If they should, call
        `end_turn`, and `begin_turn` after they have run.
        """
        # If there are none, the iterator waits in any case.
        return len(self) > 0 and self._turns.is_over()

    def end_turn(self) -> None:
        """Note that an iterator lets other tasks run."""
        self._turns.end()

    def begin_turn(self) -> None:
        """Let an iterator take messages for a while; other tasks have just run."""
        self._turns.begin()
        self.go_on()

    def go_on(self) -> None:
        """Note that an iterator goes on that was due."""
        self._turns.is_due = False
        if self._turns.must_catch_up:
            self._turns.catch_up(len(self), self._bytes, self._read_on)

    def pop(self) -> Message | None:
        """Remove and return the next message; None if there is none."""
        if not self.ready:
            self._refill()
            if self._is_full:
                self._check_room()
        return self.ready.pop() if self.ready else None

    def extract(self, is_wanted: Callable[[Message], bool]) -> list[Message]:
        """Remove and return the waiting messages that are wanted, in order."""
        waiting = self.ready[::-1]
        for messages, _ in self._backlog:
            waiting += messages
        wanted: list[Message] = []
        kept: list[Message] = []
        for message in waiting:
            (wanted if is_wanted(message) else kept).append(message)
        if not wanted:
            return wanted
        self.ready.clear()
        self._backlog.clear()
        self._backlog_length = len(kept)
        self._bytes = self._ready_bytes = 0
        for start in range(0, len(kept), PORTION):
            portion = kept[start : start + PORTION]
            size = sum([message_size(message) for message in portion])
            self._backlog.append((portion, size))
            self._bytes += size
        self._refill()
        if self._is_full:
            self._check_room()
        return wanted

    def forget_repeated(self) -> None:
        """Remove what waits unacknowledged from a connection that has ended.

        The broker has kept the session, and sends it again.
        """
        self.extract(_is_void)

    def finish(self) -> None:
        """Acknowledge what waits: nobody will take it."""
        for message in self.extract(_is_any):
            if message.ticket is not None:
                message.ticket.finish()

    def _check_room(self) -> None:
        if (
            len(self) <= self.maximum_messages // 2
            and self._bytes <= self.maximum_bytes // 2
        ):
            self._is_full = False
            self._turns.reset()
            self._read_on()

    def _read_on(self) -> None:
        if not self._is_full and self._resume is not None:
            self._resume()

    def end(self) -> MqttError:
        """Return the error that an iterator raises when no message will come."""
        text = self._refusal or "Disconnected during message iteration"
        if not self._was_expected:
            text = "The client is not entered: iterate within `async with client:`"
        error = MqttError(text)
        error.__cause__ = self.error
        if self.error is not None:
            error.reason_code = self.error.reason_code
            error.reason_string = self.error.reason_string
            error.properties = self.error.properties
        return error

    def waiter(self) -> asyncio.Future[None]:
        """Return a future for a message or the end; to give it up, call `forget`.

        Raises:
            MqttError: The loop in which the client was entered is closed.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop and self._loop is not None and self._loop.is_closed():
            self.abandon()
            raise self.end()
        self._turns.wait()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiters.append(waiter)
        return waiter

    def forget(self, waiter: asyncio.Future[None]) -> None:
        """Give up a future that `waiter` returned."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        elif not waiter.cancelled():
            # It was woken for a message that it will not take: wake another.
            self.go_on()
            self._wake(1)


def _is_void(message: Message) -> bool:
    return message.ticket is not None and message.ticket.is_void


def _is_any(message: Message) -> bool:
    return True
