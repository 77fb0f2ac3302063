"""The waiting calls of a client: for an answer, for room to write, for the end.

They live from entering to leaving the client; connections come and go beneath them.
"""

import asyncio
import logging
import math
from asyncio import _get_running_loop
from typing import Final, cast

from aiomqtt.exceptions import MqttCodeError, MqttError
from aiomqtt.log import SafeLogger
from aiomqtt.net.coalescing import GATHERING_LIMIT
from aiomqtt.net.driver import Driver
from aiomqtt.net.owner import CONNECTED, Owner
from aiomqtt.net.sink import Room, Sink
from aiomqtt.properties import Properties
from aiomqtt.protocol.delivery import Delivery
from aiomqtt.protocol.engine import NOT_CONNECTED, QUEUE_FULL, Engine
from aiomqtt.protocol.output import Arrived, Closed, Connected, Happening
from aiomqtt.protocol.requests import Request
from aiomqtt.standard.names import FIRST_FAILURE, KEEP_ALIVE_TIMEOUT

from .deadlines import Deadlines
from .waiters import DeliveryObserver, Waiter, copy_error, expire, resolve
from .write_queue import WriteQueue

# Modules that explain and log failures are imported on demand: most programs never
# need them.

INFO: Final = logging.INFO
# The unfinished messages and bytes at which `publish_nowait` refuses another message.
MAXIMUM_UNFINISHED: Final = 65_536
MAXIMUM_UNSENT: Final = 64 * 1024 * 1024
# The memory that an unfinished message takes besides its packet, in bytes.
DELIVERY_SIZE: Final = 512
# Timers do not accept infinity; a day, in seconds, serves as well.
LONGEST_TIMEOUT: Final = 86_400.0


class Calls(Owner):
    """Resolves the waiting calls, and decides when publishers may write.

    It outlives connections; there is one at a time.

    Args:
        engine: The engine.
        sink: Where messages go.
        logger: Receives the failures of which no caller learns.
        target: Host and port, for messages.
        timeout: How many seconds leaving waits for unfinished calls.
    """

    def __init__(
        self,
        engine: Engine,
        sink: Sink,
        logger: SafeLogger,
        target: str,
        timeout: float,
    ) -> None:
        # Valid from entering to leaving.
        self._loop = asyncio.get_running_loop()
        self._engine = engine
        self._sink = sink
        self._logger = logger
        self._target = target
        # The calls that wait for an answer of the broker, and those that wait for room.
        self._waiters: set[Waiter] = set()
        self._queue = WriteQueue(self._loop, GATHERING_LIMIT)
        self._deadlines = Deadlines(expire)
        # The number of pending calls at which the next warning is due.
        self._warn_at = 0
        # The unfinished deliveries that no call has to wait for.
        self._observed: set[Delivery] = set()
        # Whether the program is leaving; resolves when nothing is left to wait for.
        self._is_leaving = False
        self._idle: Waiter | None = None
        self.timeout: float = min(timeout, LONGEST_TIMEOUT)
        self.follows_progress: bool = False
        self.begin_connection()

    def begin_connection(self) -> None:
        """Create a driver for the next connection; the last one is over."""
        # Valid for the connection.
        self.driver: Driver = Driver(
            self._engine, self, self._logger, self._target, self.timeout
        )
        # Resolves when the broker has accepted the connection, or it is over.
        self.connected: Waiter = self._loop.create_future()
        self._is_accepted = False
        # Why the connection is over.
        self.error: MqttError | None = None
        self.room: Room = Room.ENOUGH
        self._queue.resume()

    # --- reports of the driver ----------------------------------------------------

    def handle(self, happening: Happening) -> None:
        """Handle the happenings, in order."""
        if isinstance(happening, Arrived):
            self.room = self._sink.deliver(happening.messages, happening.size)
        elif isinstance(happening, Delivery):
            self._settle_delivery(happening)
        elif isinstance(happening, Request):
            self._settle_request(happening)
        elif isinstance(happening, Connected):
            self._begin()
        else:
            self._end(happening)

    def check_room(self) -> Room:
        """Return how much room there is for messages.

        While a call waits for an answer, messages that come before the answer are
        accepted above the bound, up to a limit: the program may need that answer
        before it takes the next message.
        """
        room = self.room
        if room is Room.NONE or room is Room.USED_UP:
            # The program may have taken some in the meantime.
            room = self.room = self._sink.room()
        if room is Room.LITTLE and self._waiters:
            return Room.ENOUGH
        return room

    def on_progress(self) -> None:
        """Resolve `idle` if there is nothing left to wait for."""
        if self._idle is not None and self._is_idle():
            resolve(self._idle, None)

    def on_pause_writing(self) -> None:
        """Make publishers wait."""
        self._queue.pause()

    def on_resume_writing(self) -> None:
        """Let publishers go on."""
        self._queue.resume()

    def on_turn_end(self) -> None:
        """Let publishers go on that waited for the end of this turn."""
        if self._queue.waiters:
            self._queue.admit()

    def _begin(self) -> None:
        """Open the sink: the broker has accepted the connection."""
        self._is_accepted = True
        if not self._engine.session.client_id:
            self._report_no_identifier()
        self._sink.open(self.resume_reading)
        resolve(self.connected, None)
        if self._logger.isEnabledFor(INFO):
            from aiomqtt.net.trace import log_connected

            client_id = self._engine.session.client_id
            log_connected(self._logger, self._target, client_id)

    def _report_no_identifier(self) -> None:
        # Without a session to resume, an empty identifier is no problem.
        if self._engine.session.exists:
            self._logger.warning(
                "The broker assigned no client identifier: the session can't be resumed"
            )

    def _end(self, event: Closed) -> None:
        """Resolve everything that waits: the connection is over."""
        error = event.error
        if event.connack is not None and error is not None:
            from aiomqtt.net.refusals import refused_connection

            version = self._engine.version
            error = refused_connection(event.connack, version, self._target)
        elif self.room is Room.USED_UP and _is_keep_alive_timeout(error):
            # The program left no room to read the PINGRESP.
            error = self._sink.overflow()
        self.error = error
        if error is None:
            error = MqttError("Disconnected")
        # The callers remove their waiters themselves when they run.
        for waiter in [self.connected, *self._waiters, *self._queue.waiters]:
            if not waiter.done():
                waiter.set_result(copy_error(error))
        self._deadlines.clear()
        if self._is_accepted:
            self._sink.close(self.error)
            if self._logger.isEnabledFor(INFO):
                from aiomqtt.net.trace import log_ended

                log_ended(self._logger, self._target, self.error)

    # After `Closed` only observers of deliveries are left; `_end` has resolved the rest

    def _settle_request(self, request: Request) -> None:
        """Resolve the waiter of a request, and log the refused filters."""
        if request.observer is not None:
            resolve(cast("Waiter", request.observer), None)
        if request.reason_codes and max(request.reason_codes) >= FIRST_FAILURE:
            from aiomqtt.net.refusals import log_refused_filters

            log_refused_filters(self._logger, request)

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

            log_refused_message(self._logger, delivery)

    # --- calls of the client ------------------------------------------------------

    @property
    def waiting(self) -> int:
        """The number of calls that wait for an answer."""
        return len(self._waiters)

    def warn_if_many(self, threshold: int) -> None:
        """Log that many calls are pending: once, and again each time they double."""
        pending = len(self._waiters)
        if pending <= threshold:
            self._warn_at = 0
        elif pending >= self._warn_at:
            self._warn_at = 2 * pending
            self._logger.warning("There are %d pending publish calls.", pending)

    @property
    def is_connected(self) -> bool:
        """Whether the broker has accepted the connection, and it is not over."""
        return self.driver.state is CONNECTED and not self._loop.is_closed()

    @property
    def is_over(self) -> bool:
        """Whether the connection has ended."""
        return self.driver.is_over

    @property
    def is_congested(self) -> bool:
        """Whether publishers have to wait in the `queue`."""
        return (
            self._queue.is_paused
            or self.driver.coalescer.is_turn_full
            or self._is_leaving
            or len(self._queue.waiters) > 0
        ) and not self.driver.is_over

    def publish(
        self,
        topic: str,
        payload: bytes,
        qos: int,
        retain: bool,
        properties: Properties | None,
    ) -> Delivery | None:
        """Publish a message; see `Engine.publish`, whose errors it raises."""
        # Packets that follow in the same turn of the loop need no check.
        if not self.driver.coalescer.is_gathering:
            self.check_loop()
        # Only properties depend on the time.
        now = 0.0 if properties is None else self._loop.time()
        try:
            delivery = self._engine.publish(
                topic, payload, qos, retain, properties, now
            )
        except MqttCodeError as error:
            # Compiled code ignores `from`.
            error.__cause__ = self.error
            raise
        self.push()
        return delivery

    def send(self, delivery: Delivery) -> Delivery | None:
        """Publish a prepared message; see `Engine.send`, whose errors it raises."""
        try:
            sent = self._engine.send(delivery, self._loop.time())
        except MqttCodeError as error:
            error.__cause__ = self.error
            raise
        self.push()
        return sent

    def check_loop(self) -> None:
        """Check that the caller runs in the event loop of the client.

        Raises:
            RuntimeError: It runs in another loop or thread.
        """
        if _get_running_loop() is not self._loop:
            if self._loop.is_closed():
                # The connection is gone, and the caller will get that error.
                self.abandon()
                return
            msg = (
                "The client was entered in another event loop: from another thread call"
                " asyncio.run_coroutine_threadsafe(client.publish(...), loop).result()"
            )
            raise RuntimeError(msg)

    def publish_observed(
        self,
        topic: str,
        payload: bytes,
        qos: int,
        retain: bool,
        properties: Properties | None,
        observer: DeliveryObserver,
    ) -> Delivery | None:
        """Publish a message at once, even if publishers have to wait.

        Raises:
            MqttCodeError: Too much is waiting to be sent, or the client is left.
        """
        if self._is_leaving:
            raise MqttCodeError(NOT_CONNECTED, "The client is being left.")
        transport = self.driver.transport
        outbound = self._engine.session.outbound
        waiting = outbound.size + DELIVERY_SIZE * len(outbound)
        if self._queue.is_paused and transport is not None:
            waiting = max(waiting, transport.get_write_buffer_size())
        unfinished = len(self._engine.session.outbound)
        if unfinished >= MAXIMUM_UNFINISHED or waiting >= MAXIMUM_UNSENT:
            raise MqttCodeError(
                QUEUE_FULL,
                f"Could not publish message: {unfinished} messages are unfinished and"
                f" {waiting} bytes wait already",
            )
        delivery = self.publish(topic, payload, qos, retain, properties)
        if delivery is not None:
            delivery.observer = observer
            self._observed.add(delivery)
        return delivery

    def withdraw(self, delivery: Delivery) -> None:
        """Withdraw a message that has not been sent.

        Once the connection is over, the session keeps it.
        """
        if not self.driver.is_over and self._engine.withdraw(delivery):
            self.driver.hold()
        self.on_progress()

    def push(self) -> None:
        """Let what the last call has added to the engine leave: see `Driver.push`."""
        self.driver.push(self._engine.added_size)

    def waiter(self, timeout: float) -> Waiter:
        """Return a future for an answer of the broker; `forget` gives it up.

        Args:
            timeout: Seconds until it resolves to a timeout error.
        """
        waiter: Waiter = self._loop.create_future()
        self._waiters.add(waiter)
        self._limit(waiter, timeout)
        if self.driver.is_reading_paused:
            # The answer has to be read first.
            self.driver.pause_or_resume_reading()
        return waiter

    def forget(self, waiter: Waiter) -> None:
        """Remove a future that `waiter` returned: its caller no longer waits."""
        self._waiters.discard(waiter)
        if self._idle is not None:
            self.on_progress()

    def queue(self, size: int, timeout: float) -> Waiter:
        """Return a future for room to write; `leave_queue` gives it up.

        First come, first served.

        Args:
            size: About how many bytes the caller will write.
            timeout: Seconds until it resolves to a timeout error.

        Raises:
            MqttCodeError: The program is leaving the client: nothing more is accepted.
        """
        if self._is_leaving:
            raise MqttCodeError(NOT_CONNECTED, "The client is being left.")
        waiter = self._queue.add(size)
        self._limit(waiter, timeout)
        return waiter

    def leave_queue(self, waiter: Waiter) -> None:
        """Remove a future that `queue` returned: its caller no longer waits."""
        self._queue.remove(waiter)

    def _limit(self, waiter: Waiter, timeout: float) -> None:
        """Give a waiter its timeout; if the connection is over, resolve it now."""
        if self.driver.is_over:
            resolve(waiter, copy_error(self.error or MqttError("Disconnected")))
        elif timeout != math.inf:
            self._deadlines.add(waiter, timeout)

    def resume_reading(self) -> None:
        """Read on: the program has taken messages."""
        self.room = Room.ENOUGH
        self.driver.pause_or_resume_reading()

    def leave(self) -> None:
        """Accept no more publishing: the program is leaving."""
        self._is_leaving = True

    def set_timeout(self, timeout: float) -> None:
        """Set how many seconds leaving waits: for calls, and again for the broker."""
        self.timeout = min(timeout, LONGEST_TIMEOUT)
        self.driver.timeout = self.timeout

    def idle(self) -> Waiter:
        """Return a future that resolves when no call waits for an answer."""
        if self._idle is None:
            self._idle = self._loop.create_future()
            self.follows_progress = True
        self.on_progress()
        return self._idle

    def _is_idle(self) -> bool:
        """Whether no call waits for an answer and no message waits to be sent."""
        return self.driver.is_over or not (
            self._waiters or self._observed or self._engine.session.outbound.queued
        )

    def abandon(self) -> None:
        """Forget the waiting calls: their event loop was closed."""
        was_over = self.driver.is_over
        error = MqttError("The event loop was closed")
        self.driver.abandon(error)
        if not was_over:
            self.error = error
            # Messages that the session keeps must not wake callers of that loop.
            for delivery in self._engine.session.outbound.unfinished():
                observer = delivery.observer
                if isinstance(observer, DeliveryObserver):
                    observer.abandon()
                else:
                    delivery.observer = None


def _is_keep_alive_timeout(error: MqttError | None) -> bool:
    return error is not None and error.reason_code == KEEP_ALIVE_TIMEOUT
