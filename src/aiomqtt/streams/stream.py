"""Where messages wait for the program: the client's queue."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final

from aiomqtt.exceptions import MqttCodeError, MqttError
from aiomqtt.message import Message
from aiomqtt.net.sink import Room
from aiomqtt.properties import ReasonCode
from aiomqtt.standard.names import QUOTA_EXCEEDED

# Above either of these reading from the broker pauses, and it resumes at half of
# them: TCP then holds the broker back, and nothing is lost. A bound that the
# program gives (max_queued_incoming_messages) takes the place of these.
MAXIMUM_MESSAGES: Final = 65_536
MAXIMUM_BYTES: Final = 64 * 1024 * 1024
# While a call waits for the broker's answer, which comes behind messages, this many
# times as much.
STRETCH: Final = 4
# For a PINGRESP, without which the connection ends, so many times in all.
LAST_STRETCH: Final = 5
# About so many messages or bytes are taken at one go. In between it is seen how much
# room there is, and whether an iterator that always finds a message has gone on for as
# long as it may, in seconds: then other tasks run. By time and not by number, as who
# takes fewer than one read brings leaves a queue that only grows.
PORTION: Final = 256
PORTION_BYTES: Final = 1024 * 1024
TURN: Final = 0.002


class MessageStream:
    """The queue of incoming messages, first in, first out; it outlives connections."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        """Start empty, before the first connection.

        Args:
            clock: The time in seconds, from any beginning.
        """
        self._clock = clock
        self._turn_ends = 0.0
        self.maximum_messages = MAXIMUM_MESSAGES
        self.maximum_bytes = MAXIMUM_BYTES
        # What may be taken without asking; it is always the same object.
        self.ready: deque[Message] = deque()
        # What came after that, with what it takes of memory.
        self._backlog: deque[tuple[Sequence[Message], int]] = deque()
        self._backlog_length = 0
        # The size of all that was delivered, less what is known to be taken: that is
        # seen when nothing is ready any more.
        self._bytes = 0
        self._ready_bytes = 0
        self._is_full = False
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._resume: Callable[[], None] | None = None
        # Whether a connection has ended since the last one began, and why.
        self.is_closed: bool = True
        self.error: MqttError | None = None
        self._was_expected = False
        # The event loop that the client was entered in last.
        self._loop: asyncio.AbstractEventLoop | None = None
        # How many messages were discarded, ever.
        self.discarded = 0

    def __len__(self) -> int:
        """Return the number of messages that wait."""
        return len(self.ready) + self._backlog_length

    def expect(self) -> None:
        """Let iterators wait: a connection is being made."""
        self._was_expected = True
        self.is_closed = False
        self.error = None
        self._loop = asyncio.get_running_loop()

    def abandon(self) -> None:
        """End the connection, and forget those who wait: their loop is closed."""
        self._waiters.clear()
        if not self.is_closed:
            self.close(MqttError("The event loop was closed"))

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
        self._was_expected = True
        self.is_closed = True
        self.error = error
        self._resume = None
        self._wake(len(self._waiters))

    # --- what comes in ------------------------------------------------------------

    def deliver(self, messages: Sequence[Message], size: int) -> Room:
        """Take messages, wake as many iterators, and tell how much room is left.

        Args:
            messages: The messages, in order.
            size: What they take of memory, about, in bytes.
        """
        count = len(messages)
        if count <= PORTION:
            self._backlog.append((messages, size))
        else:
            # As if all were of the same size.
            for start in range(0, count, PORTION):
                stop = min(start + PORTION, count)
                part = size * stop // count - size * start // count
                self._backlog.append((messages[start:stop], part))
        self._backlog_length += count
        self._bytes += size
        if not self.ready:
            self._refill()
        self._wake(count)
        return self.room()

    def _refill(self) -> None:
        """Make a portion ready, now that all of the last one was taken."""
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

    def room(self) -> Room:
        """Return how much room there is for more."""
        excess = max(
            len(self) / self.maximum_messages, self._bytes / self.maximum_bytes
        )
        if excess > 1:
            self._is_full = True
        # Once it is full, that is over when `_check_room` says so.
        if not self._is_full:
            return Room.ENOUGH
        if excess <= STRETCH:
            return Room.LITTLE
        return Room.NONE if excess <= LAST_STRETCH else Room.USED_UP

    def overflow(self) -> MqttError:
        """Return the error of a connection that ends as there is no room."""
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
                count -= 1

    # --- what is taken ------------------------------------------------------------

    def is_turn_over(self) -> bool:
        """Whether other tasks should run before the next message is taken.

        It is asked when nothing is ready: between portions. Once they have run,
        `begin_turn` says so.
        """
        # Otherwise it will wait in any case.
        return len(self) > 0 and self._clock() >= self._turn_ends

    def begin_turn(self) -> None:
        """Let an iterator take messages for a while: others have just run."""
        self._turn_ends = self._clock() + TURN

    def take(self) -> Message | None:
        """Take the next message; None when there is none."""
        if not self.ready:
            self._refill()
            if self._is_full:
                self._check_room()
        return self.ready.popleft() if self.ready else None

    def _check_room(self) -> None:
        if (
            len(self) <= self.maximum_messages // 2
            and self._bytes <= self.maximum_bytes // 2
        ):
            self._is_full = False
            if self._resume is not None:
                self._resume()

    def end(self) -> MqttError:
        """Return the error of an iterator for which there is nothing any more."""
        text = "Disconnected during message iteration"
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
        """Return a future for a message or the end; given up, it goes to `forget`.

        Raises:
            MqttError: The loop in which the client was entered is closed.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop and self._loop is not None and self._loop.is_closed():
            self.abandon()
            raise self.end()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiters.append(waiter)
        return waiter

    def forget(self, waiter: asyncio.Future[None]) -> None:
        """Take back what `waiter` returned: nobody waits for it any more."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        elif not waiter.cancelled():
            # It was woken for a message that it will not take: pass that on.
            self._wake(1)
