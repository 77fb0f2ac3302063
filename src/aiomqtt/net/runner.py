"""The runner of one connection: an asyncio protocol that drives the engine.

It moves bytes between the transport and the engine, keeps the engine's one timer,
and settles the futures of those who wait for an answer.
"""

import asyncio
import logging
import math
from asyncio import _get_running_loop
from typing import TYPE_CHECKING, Final, cast

from aiomqtt.escaping import escape
from aiomqtt.exceptions import MqttCodeError, MqttError
from aiomqtt.log import SafeLogger
from aiomqtt.properties import Properties
from aiomqtt.protocol.engine import NOT_CONNECTED, QUEUE_FULL, Engine
from aiomqtt.protocol.events import Arrived, Closed, Connected, Happening, Request
from aiomqtt.protocol.outbound import Delivery
from aiomqtt.standard.names import FIRST_FAILURE, KEEP_ALIVE_TIMEOUT
from aiomqtt.standard.tables import Role

from .closing import LINGER, Closing
from .coalescing import GATHERING_LIMIT, Coalescer
from .deadlines import Deadlines
from .sink import Room, Sink
from .unread import ACKS_UNREAD, UnreadAcks
from .waiters import Waiter, Watcher, copy_error, expire, resolve
from .write_queue import WriteQueue
from .writing import write_pieces

if TYPE_CHECKING:
    from .trace import Trace

# What is said of a failure, and what is logged, is imported when there is need to: most
# programs never load `.explain`, `.refusals` and `.trace`.

DEBUG: Final = logging.DEBUG
INFO: Final = logging.INFO
# How long, in seconds, until a changed level of the logger counts.
LOOK: Final = 1.0
# What a packet has besides its payload, roughly, to tell when enough has gathered.
OVERHEAD: Final = 64
# What may be unfinished, in messages and bytes, before a publish that does not wait
# is refused.
MAXIMUM_UNFINISHED: Final = 65_536
MAXIMUM_UNSENT: Final = 64 * 1024 * 1024
# What a message takes as long as it is unfinished, besides its packet.
DELIVERY_SIZE: Final = 512


class Runner:
    """Drives an engine over one connection.

    It has the methods of an asyncio.Protocol and not its base, which would keep it
    from being compiled.

    Args:
        engine: The engine.
        sink: Where messages go.
        logger: Where to write what nobody waits for.
        target: Host and port, for messages.
        timeout: Seconds that the broker has to take what is written last, before the
            connection is cut.
    """

    def __init__(
        self,
        engine: Engine,
        sink: Sink,
        logger: SafeLogger,
        target: str,
        timeout: float,
    ) -> None:
        """Wait for `connection_made`."""
        self._engine = engine
        self._sink = sink
        self._logger = logger
        # Whether packets are logged, as found when it was last looked; and when to look
        # again, since asking for each chunk would cost more than to acknowledge it.
        self._is_traced = logger.isEnabledFor(DEBUG)
        self._look_again = 0.0
        self._trace: Trace | None = None
        self._target = target
        self.set_timeout(timeout)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        # The deadline of the engine that the timer is set to.
        self._deadline: float | None = None
        # Those who wait for an answer of the broker.
        self._waiters: set[Waiter] = set()
        self._deadlines = Deadlines(expire)
        # Those who wait for room to write.
        self._queue = WriteQueue(self._loop, GATHERING_LIMIT)
        # Of those deliveries that nobody needs to wait for, the unfinished ones.
        self._watched: set[Delivery] = set()
        # When packets leave; and the steps of the end, from the end on.
        self._coalescer = Coalescer(self._loop, self._end_turn)
        self._closing: Closing | None = None
        # How many bytes were written; where among them a PINGREQ ends that waits to
        # leave the transport (0: none does), and how many had left when it was seen to.
        self._written = 0
        self._unread = UnreadAcks()
        self._pingreq_end = 0
        self._left = 0
        self._reading_paused = False
        self._room = Room.ENOUGH
        # What is being handled, and what happened meanwhile.
        self._happenings: list[Happening] = []
        # Whether the broker has accepted the connection; whether it is over, and why.
        self._is_accepted = False
        self._over = False
        self.error: MqttError | None = None
        # Whether the program is leaving; resolves when it has nothing left to wait for.
        self._is_leaving = False
        self._idle: Waiter | None = None
        # Resolves when the CONNACK came.
        self.connected: Waiter = self._loop.create_future()
        # Whether the socket is closed, and those who wait for that.
        self._is_closed = False
        self._waiting_for_close: list[Waiter] = []

    # --- what the event loop calls ------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; `start` lets the CONNECT out."""
        # Not an assertion: the transports of other loops have a base of their own.
        self._transport = cast("asyncio.Transport", transport)

    def start(self) -> None:
        """Begin to write; socket options are set by now."""
        self._process()

    def data_received(self, data: bytes) -> None:
        """Handle a chunk of bytes and all that it causes."""
        # The engine may serve the next connection by now.
        if not self._over:
            self._coalescer.start_turn()
            now = self._loop.time()
            if now >= self._look_again:
                self._look_again = now + LOOK
                self._is_traced = self._logger.isEnabledFor(DEBUG)
            if self._is_traced:
                self._tracing().received(data, self._engine.is_inside_packet)
            self._engine.receive(data, now)
            self._process()

    def _tracing(self) -> "Trace":
        """Return what logs the packets of this connection."""
        if self._trace is None:
            from .trace import Trace

            self._trace = Trace(self._logger, Role.CLIENT, self._engine.version)
        return self._trace

    def eof_received(self) -> None:
        """The broker writes no more: the transport closes by itself."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody that the connection is over."""
        transport, self._transport = self._transport, None
        if not self._over:
            reason = "the broker closed it"
            if exc or not self._is_accepted:
                from .explain import explain_loss

                reason = explain_loss(exc, transport, self._is_accepted)
            error = MqttError(f"Connection to {self._target} lost: {escape(reason)}")
            error.__cause__ = exc
            self._lose(error)
        if self._timer is not None:
            self._timer.cancel()
        if self._closing is not None:
            self._closing.stop()
        self._is_closed = True
        self._deadlines.clear()
        for waiter in self._waiting_for_close:
            resolve(waiter, None)

    def pause_writing(self) -> None:
        """The transport's buffer is above its high-water mark."""
        self._queue.pause()

    def resume_writing(self) -> None:
        """The transport's buffer has drained: publishers go on."""
        self._queue.resume()
        if self._over:
            self._loop.call_soon(self._half_close)

    # --- what the client calls ----------------------------------------------------

    @property
    def waiting(self) -> int:
        """How many calls wait for an answer."""
        return len(self._waiters)

    @property
    def is_open(self) -> bool:
        """Whether there is a transport."""
        return self._transport is not None

    @property
    def is_connected(self) -> bool:
        """Whether the broker has accepted the connection, and it is not over."""
        return self._is_accepted and not self._over and not self._loop.is_closed()

    @property
    def is_over(self) -> bool:
        """Whether the connection has ended."""
        return self._over

    @property
    def is_congested(self) -> bool:
        """Whether publishers can't go on at once: they have to `queue`."""
        return (
            self._queue.is_paused
            or self._coalescer.is_turn_full
            or self._is_leaving
            or len(self._queue.waiters) > 0
        ) and not self._over

    def publish(
        self,
        topic: str,
        payload: bytes,
        qos: int,
        retain: bool,
        properties: Properties | None,
    ) -> Delivery | None:
        """Publish a message; see `Engine.publish`, whose errors it raises."""
        # Of those that follow in the same turn of the loop it is known.
        if not self._coalescer.is_gathering:
            self.check_loop()
        try:
            delivery = self._engine.publish(topic, payload, qos, retain, properties)
        except MqttCodeError as error:
            # `from` does nothing where it is compiled.
            error.__cause__ = self.error
            raise
        self.push(len(payload) + OVERHEAD)
        return delivery

    def check_loop(self) -> None:
        """Refuse a call from another event loop, or from another thread.

        Raises:
            RuntimeError: It is one.
        """
        if _get_running_loop() is not self._loop:
            if self._loop.is_closed():
                # There is no connection any more, as the caller will find.
                self.abandon()
                return
            msg = (
                "The client was entered in another event loop: from another thread call"
                " asyncio.run_coroutine_threadsafe(client.publish(...), loop).result()"
            )
            raise RuntimeError(msg)

    def publish_watched(
        self,
        topic: str,
        payload: bytes,
        qos: int,
        retain: bool,
        properties: Properties | None,
        watcher: Watcher,
    ) -> Delivery | None:
        """Publish a message at once, even where publishers have to wait.

        Raises:
            MqttCodeError: Too much is waiting to be sent, or the client is left.
        """
        if self._is_leaving:
            raise MqttCodeError(NOT_CONNECTED, "The client is being left.")
        transport = self._transport
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
            delivery.waiter = watcher
            self._watched.add(delivery)
        return delivery

    def withdraw(self, delivery: Delivery) -> None:
        """Take back a message that has not been sent.

        The end of the connection leaves it to the session.
        """
        if not self._over and self._engine.withdraw(delivery):
            self.hold()
        if self._idle is not None:
            self._report_idle()

    def push(self, size: int) -> None:
        """Let what the engine was given leave: at once when it is the first of this
        turn of the loop, else together with what follows.

        Args:
            size: About how many bytes it was given.
        """
        if self._coalescer.add(size):
            self._process()

    def hold(self) -> None:
        """Have what follows leave together, when this turn of the loop ends or at
        `flush`.
        """
        if not self._over:
            self._coalescer.hold()

    def flush(self) -> None:
        """Let what has gathered leave now."""
        self._coalescer.reset()
        self._process()

    def _end_turn(self) -> None:
        self._coalescer.end_turn()
        self._process()
        if self._queue.waiters:
            self._queue.admit()

    def waiter(self, timeout: float) -> Waiter:
        """Return a future for an answer of the broker, to be given to `forget`.

        Args:
            timeout: In so many seconds it resolves to an error.
        """
        waiter: Waiter = self._loop.create_future()
        self._waiters.add(waiter)
        self._limit(waiter, timeout)
        if self._reading_paused:
            # The answer has to be read.
            self._pause_or_resume_reading()
        return waiter

    def forget(self, waiter: Waiter) -> None:
        """Take back what `waiter` returned: nobody waits for it any more."""
        self._waiters.discard(waiter)
        if self._idle is not None:
            self._report_idle()

    def queue(self, size: int, timeout: float) -> Waiter:
        """Return a future for room to write, to be given to `leave_queue`.

        First come, first served.

        Args:
            size: About how many bytes the caller will write.
            timeout: In so many seconds it resolves to an error.

        Raises:
            MqttCodeError: The program is leaving the client: nothing more is accepted.
        """
        if self._is_leaving:
            raise MqttCodeError(NOT_CONNECTED, "The client is being left.")
        waiter = self._queue.add(size)
        self._limit(waiter, timeout)
        return waiter

    def leave_queue(self, waiter: Waiter) -> None:
        """Take back what `queue` returned: nobody waits for it any more."""
        self._queue.remove(waiter)

    def _limit(self, waiter: Waiter, timeout: float) -> None:
        """Have a waiter resolve to an error: in so many seconds, or now."""
        if self._over:
            resolve(waiter, copy_error(self.error or MqttError("Disconnected")))
        elif timeout != math.inf:
            self._deadlines.add(waiter, timeout)

    def resume_reading(self) -> None:
        """The program has taken messages: there is room for more."""
        self._room = Room.ENOUGH
        self._pause_or_resume_reading()

    def leave(self) -> None:
        """Accept nothing more: the program is leaving."""
        self._is_leaving = True

    def set_timeout(self, timeout: float) -> None:
        """Set how many seconds the broker has to take what is written last."""
        # Timers take no infinity; a day is as good.
        self.timeout: float = min(timeout, 86_400.0)

    def idle(self) -> Waiter:
        """Return a future for when nobody waits for an answer any more."""
        if self._idle is None:
            self._idle = self._loop.create_future()
        self._report_idle()
        return self._idle

    def disconnect(self, reason_code: int, properties: Properties | None) -> None:
        """Send the DISCONNECT, and close the connection when it is written."""
        if not self._over:
            self._engine.disconnect(reason_code, properties)
            self._process()

    def closed(self) -> Waiter:
        """Return a future for when the socket is closed, or the timeout is over."""
        waiter: Waiter = self._loop.create_future()
        if self._is_closed:
            resolve(waiter, None)
        else:
            self._waiting_for_close.append(waiter)
            self._deadlines.add(waiter, self.timeout)
        return waiter

    def abort(self) -> None:
        """Cut the connection, if it is still there; nothing more is written."""
        transport, self._transport = self._transport, None
        if not self._over:
            self._lose(MqttError("The connection was cut"))
        if transport is not None:
            transport.abort()

    def abandon(self) -> None:
        """Forget the connection: its event loop was closed while it was there."""
        transport, self._transport = self._transport, None
        if not self._over:
            self._over = True
            self.error = MqttError("The event loop was closed")
            self._engine.connection_lost(self.error)
            self._engine.take()
            # What goes on in the session is not to wake anybody of that loop.
            for delivery in self._engine.session.outbound.unfinished():
                watcher = delivery.waiter
                if isinstance(watcher, Watcher):
                    watcher.abandon()
                else:
                    delivery.waiter = None
        if transport is not None:
            from .abandon import abandon

            abandon(transport)

    def _lose(self, error: MqttError) -> None:
        self._engine.connection_lost(error)
        self._process()

    def _is_idle(self) -> bool:
        """Whether nobody waits for an answer and nothing waits to be sent."""
        return self._over or not (
            self._waiters or self._watched or self._engine.session.outbound.queued
        )

    def _report_idle(self) -> None:
        """Resolve `idle` if there is nothing left to wait for."""
        if self._idle is not None and self._is_idle():
            resolve(self._idle, None)

    # --- between the engine and the transport ---------------------------------------

    def _process(self) -> None:
        """Do what the engine hands over."""
        if self._over:
            return
        output = self._engine.take()
        transport = self._transport
        if output.data and transport is not None and not transport.is_closing():
            self._written += write_pieces(transport, output.data)
            # Not before: a handler that publishes would overtake them.
            if self._is_traced:
                self._tracing().sent(output.data)
            if self._queue.is_paused:
                left = self._written - transport.get_write_buffer_size()
                if self._unread.are_too_many(output.data, self._written, left):
                    self._engine.fail(*ACKS_UNREAD)
                    self._loop.call_soon(self._process)
        if output.happenings:
            self._handle_in_order(output.happenings)
        self._arm()
        if self._room is not Room.ENOUGH or self._reading_paused:
            self._pause_or_resume_reading()
        if self._idle is not None:
            self._report_idle()

    def _handle_in_order(self, happenings: list[Happening]) -> None:
        if self._happenings:
            # The program has called from its queue or from its log: that goes first.
            self._happenings.extend(happenings)
            return
        self._happenings = happenings
        try:
            # The list may grow meanwhile.
            for happening in happenings:
                self._handle(happening)
        finally:
            self._happenings = []

    def _handle(self, happening: Happening) -> None:
        if isinstance(happening, Arrived):
            self._room = self._sink.deliver(happening.messages, happening.size)
        elif isinstance(happening, Delivery):
            self._settle_delivery(happening)
        elif isinstance(happening, Request):
            self._settle_request(happening)
        elif isinstance(happening, Connected):
            self._begin()
        else:
            self._end(happening)

    def _begin(self) -> None:
        """Take note that the broker has accepted the connection."""
        self._is_accepted = True
        if not self._engine.session.client_id:
            self._report_no_identifier()
        self._sink.open(self.resume_reading)
        resolve(self.connected, None)
        if self._logger.isEnabledFor(INFO):
            from .trace import log_connected

            client_id = self._engine.session.client_id
            log_connected(self._logger, self._target, client_id)

    # Behind `Closed` only a Watcher is left to tell: `_end` has told the others.

    def _settle_request(self, request: Request) -> None:
        """Tell who waits for the answer, and log what was refused."""
        if request.waiter is not None:
            resolve(cast("Waiter", request.waiter), None)
        if request.reason_codes and max(request.reason_codes) >= FIRST_FAILURE:
            from .refusals import log_refused_filters

            log_refused_filters(self._logger, request)

    def _settle_delivery(self, delivery: Delivery) -> None:
        """Tell who waits for a delivery; log a refusal when nobody does."""
        watcher = delivery.waiter
        if isinstance(watcher, Watcher):
            if self._watched:
                self._watched.discard(delivery)
            if not watcher.settle(delivery):
                self._log_refusal(delivery)
            return
        waiter = cast("Waiter | None", watcher)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        else:
            self._log_refusal(delivery)

    def _log_refusal(self, delivery: Delivery) -> None:
        """Log that the broker refused a message when nobody is left to be told."""
        if delivery.reason_code >= FIRST_FAILURE:
            from .refusals import log_refused_message

            log_refused_message(self._logger, delivery)

    def _report_no_identifier(self) -> None:
        # An empty identifier is as good as any other without a session to resume.
        if self._engine.session.exists:
            self._logger.warning(
                "The broker assigned no client identifier: the session can't be resumed"
            )

    def _end(self, event: Closed) -> None:
        """Tell everybody, just once, and close the transport."""
        error = event.error
        if event.connack is not None and error is not None:
            from .refusals import refused_connection

            version = self._engine.version
            error = refused_connection(event.connack, version, self._target)
        elif self._room is Room.USED_UP and _is_keep_alive_timeout(error):
            # It is the program that has left no room to read the PINGRESP.
            error = self._sink.overflow()
        self._over = True
        self.error = error
        if error is None:
            error = MqttError("Disconnected")
        # Those who wait leave the sets themselves when they wake up.
        for waiter in [self.connected, *self._waiters, *self._queue.waiters]:
            if not waiter.done():
                waiter.set_result(copy_error(error))
        self._deadlines.clear()
        if self._is_accepted:
            self._sink.close(self.error)
            if self._logger.isEnabledFor(INFO):
                from .trace import log_ended

                log_ended(self._logger, self._target, self.error)
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._reading_paused:
            self._reading_paused = False
            transport.resume_reading()
        if self._timer is not None:
            self._timer.cancel()
        self._closing = Closing(transport)
        # Only a clean exit has to flush what was accepted.
        if not self._closing.flush(self.timeout if event.error is None else LINGER):
            self._closing.half_close()

    def _half_close(self) -> None:
        if self._closing is not None and self._transport is not None:
            self._closing.half_close()

    def _arm(self) -> None:
        """Set the timer to the engine's deadline, if that has moved."""
        deadline = self._engine.deadline()
        if deadline is self._deadline or self._over:
            return
        self._deadline = deadline
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            self._timer = self._loop.call_at(deadline, self._tick, deadline)

    def _tick(self, deadline: float) -> None:
        if self._over:
            return
        self._timer = self._deadline = None
        # The loop may be early by the resolution of its clock.
        now = max(deadline, self._loop.time())
        engine = self._engine
        if self._pingreq_end:
            self._watch_pingreq(now)
        was_awaited = engine.awaits_pingresp
        engine.tick(now)
        self._process()
        if engine.awaits_pingresp and not was_awaited:
            self._pingreq_end = self._written
            self._watch_pingreq(now)
        self._arm()

    def _watch_pingreq(self, now: float) -> None:
        """Tell the engine whether the PINGREQ, or something before it, has left."""
        transport = self._transport
        if transport is None:
            return
        left = self._written - transport.get_write_buffer_size()
        if left >= self._pingreq_end:
            self._pingreq_end = 0
            self._engine.pingreq_left(now)
        else:
            self._engine.pingreq_waits(left > self._left, now)
            self._left = left

    def _pause_or_resume_reading(self) -> None:
        """Read, unless the program is behind and nobody waits for the broker.

        While somebody waits for an answer, messages that come before it are taken
        over above the bound, within reason: the program may well wait for that answer
        before it takes the next message. A PINGRESP, which has a deadline, is read as
        long as there is any room at all.
        """
        transport = self._transport
        if transport is None or transport.is_closing() or self._over:
            return
        room = self._room
        if room is Room.NONE or room is Room.USED_UP:
            # The program may have taken some since.
            room = self._room = self._sink.room()
        if room is Room.USED_UP:
            pause = True
        elif self._engine.awaits_pingresp:
            pause = False
        else:
            pause = room is Room.NONE or (room is Room.LITTLE and not self._waiters)
        if pause and not self._reading_paused:
            self._reading_paused = True
            transport.pause_reading()
        elif not pause and self._reading_paused:
            self._reading_paused = False
            transport.resume_reading()


def _is_keep_alive_timeout(error: MqttError | None) -> bool:
    return error is not None and error.reason_code == KEEP_ALIVE_TIMEOUT
