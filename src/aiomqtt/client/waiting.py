"""The calls that wait: for an answer of the broker, for room to write, for the end."""

import asyncio
import logging
import math
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from aiomqtt.exceptions import MqttError
from aiomqtt.log import SafeLogger
from aiomqtt.net.coalescing import GATHERING_LIMIT
from aiomqtt.net.driver import Driver
from aiomqtt.net.owner import CONNECTED, Owner
from aiomqtt.protocol.changes import Change
from aiomqtt.protocol.delivery import Delivery
from aiomqtt.protocol.engine import Engine
from aiomqtt.protocol.engine_calls import not_connected
from aiomqtt.protocol.output import Happening, Output
from aiomqtt.protocol.requests import Request
from aiomqtt.standard.names import FIRST_FAILURE

from .deadlines import Deadlines
from .waiters import DeliveryObserver, Waiter, copy_error, expire, resolve
from .write_queue import WriteQueue

if TYPE_CHECKING:
    from aiomqtt.net.commits import CommitQueue

    from .offline_calls import OfflineCalls
    from .watcher import ConnectionWatcher

# Modules that log failures are imported on demand: most programs never need them.

WARNING: Final = logging.WARNING
# Timers do not accept infinity; a day, in seconds, serves as well.
LONGEST_TIMEOUT: Final = 86_400.0


class WaitingCalls(Owner):
    """Keeps the waiting calls, and resolves them.

    Args:
        engine: The engine.
        logger: Receives the failures of which no caller learns.
        timeout: How many seconds leaving waits for unfinished calls.
        is_continuous: See below.

    Attributes:
        is_continuous: Whether what waits goes on when a connection ends: it waits for
            the next one. False once the program leaves, or there is no next one.
        watcher: Is told of the connections, or None.
        offline: What becomes of messages without a connection; None: they fail.
        commits: Stores the changes of the session; None: it is not stored.
        driver: The driver of the connection; `Calls` makes it.
        error: Why the connection is over, or None.
    """

    commits: "CommitQueue[Change] | None"
    driver: Driver
    error: MqttError | None

    def __init__(
        self, engine: Engine, logger: SafeLogger, timeout: float, is_continuous: bool
    ) -> None:
        # Valid from entering to leaving.
        self._loop = asyncio.get_running_loop()
        self._engine = engine
        self.logger: SafeLogger = logger
        # The calls that wait for an answer of the broker, in their order, which a set
        # would not keep, and those that wait for room.
        self._waiters: dict[Waiter, None] = {}
        self._queue = WriteQueue(self._loop, GATHERING_LIMIT)
        self._deadlines = Deadlines(expire)
        # The number of pending calls at which the next warning is due, and of those
        # that belong to requests, which are meant to be many.
        self._warn_at = 0
        self.uncounted: int = 0
        # The unfinished deliveries that no call has to wait for.
        self._observed: set[Delivery] = set()
        # Whether the program is leaving; resolves when nothing is left to wait for.
        self._is_leaving = False
        self._idle: Waiter | None = None
        self.timeout: float = min(timeout, LONGEST_TIMEOUT)
        self.follows_progress: bool = False
        self.is_continuous: bool = is_continuous
        self.watcher: ConnectionWatcher | None = None
        # What becomes of messages without a connection; None: it is not continuous.
        self.offline: OfflineCalls | None = None
        # The waiters of calls that do not wait for the next connection, and whether it
        # is a failure for them if there is none.
        self._hasty: dict[Waiter, bool] = {}
        # Whether there is no next connection, and what was kept for it has ended.
        self._has_given_up = False
        if is_continuous:
            engine.is_continuous = True
            self._queue.pause()

    def set_timeout(self, timeout: float) -> None:
        """Set how many seconds leaving waits: for calls, and again for the broker."""
        self.timeout = min(timeout, LONGEST_TIMEOUT)
        self.driver.timeout = self.timeout

    def _expect_no_connection(self) -> None:
        """Let nothing wait for another connection from now on."""
        self.is_continuous = False

    # --- reports of the driver ----------------------------------------------------

    def on_progress(self) -> None:
        """Resolve `idle` if there is nothing left to wait for."""
        if self._idle is not None and self._is_idle():
            resolve(self._idle, None)

    def on_pause_writing(self) -> None:
        """Make publishers wait."""
        self._queue.pause()

    def on_resume_writing(self) -> None:
        """Let publishers go on."""
        # The transport of a connection that the broker has not accepted does not count.
        if self.is_connected or not self.is_continuous:
            self._queue.resume()

    def on_turn_end(self) -> None:
        """Let publishers go on that waited for the end of this turn."""
        if self._queue.waiters:
            self._queue.admit()

    # --- what has ended -----------------------------------------------------------

    def _settle_request(self, request: Request) -> None:
        """Resolve the waiter of a request, and log the refused filters."""
        if request.observer is not None:
            resolve(cast("Waiter", request.observer), None)
        if request.reason_codes and max(request.reason_codes) >= FIRST_FAILURE:
            from aiomqtt.net.refusals import log_refused_filters, refused_filters

            log_refused_filters(self.logger, request)
            if request.is_restoration and self.watcher is not None:
                self.watcher.on_refused_filters(refused_filters(request))

    def _settle_delivery(self, delivery: Delivery) -> None:
        """Resolve the waiter of a delivery; log a refusal if no caller learns of it."""
        observer = delivery.observer
        if isinstance(observer, DeliveryObserver):
            if self._observed:
                self._observed.discard(delivery)
            if not observer.settle(delivery):
                self._log_refusal(delivery)
            return
        waiter = cast("Waiter | None", observer)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        else:
            self._log_refusal(delivery)

    def _log_refusal(self, delivery: Delivery) -> None:
        """Log that the broker refused a message."""
        if delivery.reason_code >= FIRST_FAILURE:
            from aiomqtt.net.refusals import log_refused_message

            log_refused_message(self.logger, delivery)

    def settle(self) -> None:
        """Handle what calls without a connection have caused."""
        if self.commits is not None:
            self._settle_stored(self.commits)
            return
        happenings: list[Happening] = self._engine.take_happenings()
        for happening in happenings:
            self.handle(happening)

    def _settle_stored(self, commits: "CommitQueue[Change]") -> None:
        output = self._engine.take_without_connection()
        if commits.holds(output.changes):
            commits.add(output.changes, partial(self._release, output))
        else:
            self._release(output, True)

    def _release(self, output: Output, is_stored: bool) -> None:
        for happening in output.happenings:
            self.handle(happening)
        self.on_progress()

    def _fail_waiting(self, error: MqttError) -> None:
        """Resolve every waiting call with an error."""
        # The callers remove their waiters themselves when they run.
        for waiter in [*self._waiters, *self._queue.all()]:
            if not waiter.done():
                waiter.set_result(copy_error(error))
        self._deadlines.clear()

    # --- the state ----------------------------------------------------------------

    @property
    def is_leaving(self) -> bool:
        """Whether the program is leaving the client."""
        return self._is_leaving

    @property
    def is_connected(self) -> bool:
        """Whether the broker has accepted the connection, and it is not over."""
        return self.driver.state is CONNECTED and not self._loop.is_closed()

    def time(self) -> float:
        """Return the time by the clock of the event loop."""
        return self._loop.time()

    @property
    def is_waiting_for_connection(self) -> bool:
        """Whether the calls wait until the broker accepts the next connection."""
        return self.is_continuous and self.driver.state is not CONNECTED

    @property
    def has_ended(self) -> bool:
        """Whether no call that waits can go on any more."""
        return self._has_given_up or (self.driver.is_over and not self.is_continuous)

    @property
    def is_congested(self) -> bool:
        """Whether publishers have to wait in the `queue`."""
        return (
            self._queue.is_paused
            or self.driver.coalescer.is_turn_full
            or self._is_leaving
            or len(self._queue.waiters) > 0
        ) and not self.has_ended

    @property
    def waiting(self) -> int:
        """The number of calls that wait for an answer."""
        return len(self._waiters)

    @property
    def waiting_for_room(self) -> int:
        """The number of calls that wait until they may write."""
        return len(self._queue)

    def warn_if_many(self, threshold: int) -> None:
        """Log that many calls are pending: once, and again each time they double."""
        pending = len(self._waiters) - self.uncounted
        if pending <= threshold:
            self._warn_at = 0
        elif pending >= self._warn_at:
            self._warn_at = 2 * pending
            text = "There are %d pending publish calls."
            fields = {"count": pending}
            self.logger.event(WARNING, "calls_pending", fields, text, pending)

    # --- calls of the client ------------------------------------------------------

    def waiter(self, timeout: float) -> Waiter:
        """Return a future for an answer of the broker; `forget` gives it up.

        Args:
            timeout: Seconds until it resolves to a timeout error.
        """
        waiter: Waiter = self._loop.create_future()
        self._waiters[waiter] = None
        self._limit(waiter, timeout)
        if self.driver.reading.is_paused:
            # The answer has to be read first.
            self.driver.pause_or_resume_reading()
        return waiter

    def forget(self, waiter: Waiter) -> None:
        """Remove a future that `waiter` returned: its caller no longer waits."""
        if waiter in self._waiters:
            del self._waiters[waiter]
        if self._hasty:
            self._hasty.pop(waiter, None)
        if self._idle is not None:
            self.on_progress()

    def queue(self, size: int, timeout: float, is_back: bool = False) -> Waiter:
        """Return a future for room to write; `leave_queue` gives it up.

        First come, first served.

        Args:
            size: About how many bytes the caller will write.
            timeout: Seconds until it resolves to a timeout error.
            is_back: Whether it had room, and the connection ended before it wrote.

        Raises:
            MqttCodeError: The program is leaving the client: nothing more is accepted.
        """
        if self._is_leaving:
            raise not_connected("The client is being left.")
        waiter = self._queue.add(size, is_back)
        self._limit(waiter, timeout)
        return waiter

    def leave_queue(self, waiter: Waiter) -> None:
        """Remove a future that `queue` returned: its caller no longer waits."""
        self._queue.remove(waiter)
        if self._hasty:
            self._hasty.pop(waiter, None)

    def hurry(self, waiter: Waiter, fails: bool) -> None:
        """Resolve a waiter when the connection ends, and not with a later one.

        Args:
            waiter: A future of `waiter` or `queue`.
            fails: Whether it resolves to the error; otherwise to None.
        """
        self._hasty[waiter] = fails

    def _resolve_hasty(self, error: MqttError) -> None:
        hasty, self._hasty = self._hasty, {}
        for waiter, fails in hasty.items():
            resolve(waiter, copy_error(error) if fails else None)

    def observe(self, delivery: Delivery, observer: DeliveryObserver) -> None:
        """Tell an observer how a delivery ends; leaving waits for that."""
        delivery.observer = observer
        self._observed.add(delivery)

    def _limit(self, waiter: Waiter, timeout: float) -> None:
        """Give a waiter its timeout; if it can't go on, resolve it now."""
        if self.has_ended:
            resolve(waiter, copy_error(self.error or MqttError("Disconnected")))
        elif timeout != math.inf:
            self._deadlines.add(waiter, timeout)

    def withdraw(self, delivery: Delivery) -> None:
        """Withdraw a message that has not been sent.

        Once the last connection is over, the session keeps it.
        """
        if not self.has_ended and self._engine.withdraw(delivery, self.time()):
            if self.driver.state is CONNECTED:
                self.driver.hold()
            else:
                self.settle()
        self.on_progress()

    def abandon_request(self, request: Request) -> bool:
        """Note that no caller waits for a request: see `Engine.abandon`."""
        has_ended = self._engine.abandon(request)
        if self.driver.state is not CONNECTED:
            self.settle()
        return has_ended

    def idle(self) -> Waiter:
        """Return a future that resolves when no call waits for an answer."""
        if self._idle is None:
            self._idle = self._loop.create_future()
            self.follows_progress = True
        self.on_progress()
        return self._idle

    def _is_idle(self) -> bool:
        """Whether no call waits for an answer and no message waits to be sent."""
        return self.has_ended or not (
            self._waiters or self._observed or self._engine.session.outbound.queued
        )
