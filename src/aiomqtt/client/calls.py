"""The waiting calls of a client: for an answer, for room to write, for the end.

They live from entering to leaving the client; connections come and go beneath them.
"""

import asyncio
import logging
from asyncio import _get_running_loop
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from aiomqtt.escaping import escape
from aiomqtt.exceptions import MqttCodeError, MqttError
from aiomqtt.log import SafeLogger
from aiomqtt.net.driver import Driver
from aiomqtt.net.sink import Room, Sink
from aiomqtt.protocol.changes import Change
from aiomqtt.protocol.delivery import DELIVERY_SIZE, Delivery, Origin
from aiomqtt.protocol.engine import Engine
from aiomqtt.protocol.engine_calls import QUEUE_FULL, not_connected
from aiomqtt.protocol.output import (
    Arrived,
    Challenge,
    Closed,
    Connected,
    Happening,
)
from aiomqtt.protocol.packets import Connack
from aiomqtt.protocol.requests import Request
from aiomqtt.standard.names import KEEP_ALIVE_TIMEOUT

from .publication import to_publication
from .receipt import Receipt, ReceiptClient, ReceiptWaiters
from .waiters import DeliveryObserver, Waiter, copy_error, resolve
from .waiting import WaitingCalls

if TYPE_CHECKING:
    from aiomqtt.protocol.acknowledgements import AckTicket

    from .inbox_async import Inbox, MessageTransaction

# Modules that explain and log failures are imported on demand: most programs never
# need them.

INFO: Final = logging.INFO
WARNING: Final = logging.WARNING
# The unfinished messages and bytes at which `publish_nowait` refuses another message.
MAXIMUM_UNFINISHED: Final = 65_536
MAXIMUM_UNSENT: Final = 64 * 1024 * 1024
# Stands for a message that was not published, since publishers have to wait.
CONGESTED: Final = Delivery("", b"", 0, False, None, 0)


class Calls(WaitingCalls):
    """Resolves the waiting calls, and decides when publishers may write.

    It outlives connections; there is one at a time.

    Args:
        engine: The engine.
        sink: Where messages go.
        logger: Receives the failures of which no caller learns.
        target: Host and port, for messages.
        timeout: How many seconds leaving waits for unfinished calls.
        is_continuous: Whether what waits outlasts a connection.
        commit: Stores changes of the session; None: it is not stored.
    """

    def __init__(
        self,
        engine: Engine,
        sink: Sink,
        logger: SafeLogger,
        target: str,
        timeout: float,
        is_continuous: bool = False,
        commit: Callable[[list[Change]], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(engine, logger, timeout, is_continuous)
        # Valid from entering to leaving.
        self.sink: Sink = sink
        self.target: str = target
        # Whether the broker has accepted a connection.
        self._has_connected = False
        self.commits = None
        # None: there was no transaction with a message yet.
        self._inbox: Inbox | None = None
        if commit is not None:
            from aiomqtt.net.commits import CommitQueue

            self.commits = CommitQueue(commit, self._on_not_stored)
        self.begin_connection()

    def begin_connection(self, target: str | None = None) -> None:
        """Create a driver for the next connection; the last one is over.

        Args:
            target: Host and port of the next connection; None: those of the last one.
        """
        if target is not None:
            self.target = target
        # Every record says what it is about.
        self.logger.context = {
            "mqtt_broker": self.target,
            "mqtt_client_id": escape(self._engine.session.client_id),
        }
        # Valid for the connection.
        self.driver: Driver = Driver(
            self._engine,
            self,
            self.logger,
            self.target,
            self.timeout,
            self.commits,
        )
        # Resolves when the broker has accepted the connection, or it is over.
        self.connected: Waiter = self._loop.create_future()
        self._is_accepted = False
        # The time of that.
        self._connected_at = 0.0
        # Resolves to the broker's next step of an authentication, or to None: it is
        # over. And whether the authenticator still has to accept the broker.
        self.challenge: asyncio.Future[Challenge | None] = self._loop.create_future()
        self._is_verifying = False
        # Whether it failed in code of the program: its authenticator or a callable.
        self.has_program_failed: bool = False
        # Why the connection is over.
        self.error: MqttError | None = None
        self.room: Room = Room.ENOUGH
        if not self.is_continuous:
            self._queue.resume()

    # --- reports of the driver ----------------------------------------------------

    def handle(self, happening: Happening) -> None:
        """Handle the happenings, in order."""
        if isinstance(happening, Arrived):
            self._engine.counts.messages_received += len(happening.messages)
            self.room = self.sink.deliver(happening.messages, happening.size)
        elif isinstance(happening, Delivery):
            self._settle_delivery(happening)
        elif isinstance(happening, Request):
            self._settle_request(happening)
        elif isinstance(happening, Connected):
            self._begin(happening.connack)
        elif isinstance(happening, Challenge):
            self._challenge(happening)
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
            if self._is_verifying:
                return Room.USED_UP
            # The program may have taken some in the meantime.
            room = self.room = self.sink.room()
        if room is Room.LITTLE and self._waiters:
            return Room.ENOUGH
        return room

    def _begin(self, connack: Connack) -> None:
        """Open the sink: the broker has accepted the connection."""
        self._is_accepted = True
        self._connected_at = self._loop.time()
        counts = self._engine.counts
        counts.connections += 1
        if self._has_connected:
            counts.reconnections += 1
        self._has_connected = True
        client_id = self._engine.session.client_id
        self.logger.context["mqtt_client_id"] = escape(client_id)
        if not client_id:
            self._report_no_identifier()
        self.sink.open(self.resume_reading)
        if self._engine.session.inbound.is_manual:
            self._expect_decisions()
            if connack.session_present:
                self.sink.forget_repeated()
        resolve(self.connected, None)
        if self.is_continuous and not self.driver.writer.is_paused:
            self._queue.resume()
        if self.logger.isEnabledFor(INFO):
            from aiomqtt.net.trace import log_connected

            is_resumed = connack.session_present
            log_connected(self.logger, self.target, client_id, is_resumed)
        if self.watcher is not None:
            self.watcher.connected(connack)

    def let_program_acknowledge(self) -> None:
        """Leave it to the program to acknowledge messages, from now on."""
        self._engine.session.inbound.set_manual(self.is_connected)
        self._expect_decisions()

    def _expect_decisions(self) -> None:
        """Learn when the program acknowledges messages, if that is up to it."""
        acknowledgements = self._engine.session.inbound.acknowledgements
        if acknowledgements is not None:
            acknowledgements.on_due = self._hold_acknowledgements
            acknowledgements.begin_transaction = self._begin_transaction

    def _hold_acknowledgements(self) -> None:
        """Let acknowledgements gather until this turn of the loop ends."""
        self.check_loop()
        self.driver.hold()

    def _begin_transaction(
        self, ticket: "AckTicket", connection: object, timeout: float | None
    ) -> "MessageTransaction":
        """Return a transaction with a message in a database of the program."""
        if self._inbox is None:
            from .inbox_async import Inbox

            self._inbox = Inbox(self, self._engine)
        return self._inbox.begin(ticket, connection, timeout)

    def flush(self) -> None:
        """Let what the session has to store or to send leave now."""
        if self.is_connected:
            self.driver.flush()
        else:
            self.settle()

    def _challenge(self, challenge: Challenge) -> None:
        """Pass the broker's step to the authenticator, and read nothing after it."""
        if challenge.is_last and not self._is_accepted:
            self._is_verifying = True
            self.room = Room.USED_UP
        if not self.challenge.done():
            self.challenge.set_result(challenge)

    def _report_no_identifier(self) -> None:
        # Without a session to resume, an empty identifier is no problem.
        if self._engine.session.exists:
            text = (
                "The broker assigned no client identifier: the session can't be resumed"
            )
            self.logger.event(WARNING, "identifier_missing", {}, text)

    def _end(self, event: Closed) -> None:
        """Resolve what waits, unless it waits for the next connection."""
        error = event.error
        if event.connack is not None and error is not None:
            from aiomqtt.net.refusals import refused_connection

            version = self._engine.version
            error = refused_connection(event.connack, version, self.target)
        elif self.room is Room.USED_UP and _is_keep_alive_timeout(error):
            # The program left no room to read the PINGRESP.
            error = self.sink.overflow()
        elif error is not None and self.target not in str(error):
            error.add_note(f"The connection was to {self.target}.")
        self.error = error
        if error is None:
            error = MqttError("Disconnected")
        if not self.challenge.done():
            self.challenge.set_result(None)
        resolve(self.connected, copy_error(error))
        if self.is_continuous:
            self._queue.pause()
            self._resolve_hasty(error)
        else:
            self._fail_waiting(error)
        if self._is_accepted:
            if self.error is not None:
                self._engine.counts.connections_lost += 1
            if not self.is_continuous:
                self.sink.close(self.error)
            if self.logger.isEnabledFor(INFO):
                from aiomqtt.net.trace import log_ended

                log_ended(self.logger, self.target, self.error)
            if self.is_continuous and self.watcher is not None:
                self.watcher.lost(self.error)

    def _on_not_stored(self, error: BaseException, changes: list[Change]) -> None:
        """End everything: the session could not be stored."""
        from aiomqtt.stores.base import to_store_error

        failure = to_store_error(error, "session")
        self._engine.session.forget_unstored(changes)
        self._engine.connection_lost(failure)
        self.driver.process()
        self.driver.abort()
        if self.watcher is not None:
            self.watcher.not_stored(failure)

    # --- calls of the client ------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether the connection has ended."""
        return self.driver.is_over

    @property
    def seconds_connected(self) -> float | None:
        """The duration of the connection in seconds; None: there is none."""
        if not self.is_connected:
            return None
        return self._loop.time() - self._connected_at

    def publish(
        self,
        topic: Any,
        payload: Any,
        qos: Any,
        retain: Any,
        properties: Any,
        may_wait: bool = False,
    ) -> Delivery | None:
        """Publish a message; the first arguments are those of `Client.publish`.

        If publishers have to wait and `may_wait`, it is not published, and CONGESTED is
        returned. Otherwise it returns and raises as `Engine.publish`, and as
        `to_publication`.
        """
        if may_wait and self.is_congested:
            return CONGESTED
        name, data, level, given = to_publication(topic, payload, qos, properties)
        # Packets that follow in the same turn of the loop need no check.
        if not self.driver.coalescer.is_gathering:
            self.check_loop()
        # Only properties depend on the time.
        now = 0.0 if given is None else self._loop.time()
        if retain is not False:
            # Uncompiled, a call for nothing would cost 1 %.
            retain = bool(retain)
        try:
            delivery = self._engine.publish(name, data, level, retain, given, now)
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

    def expect_challenge(self) -> None:
        """Begin to wait for the broker's next step of an authentication."""
        self.challenge = self._loop.create_future()

    def accept_broker(self) -> None:
        """Accept the broker after its last step: the connection goes on."""
        self._is_verifying = False
        self.room = Room.ENOUGH
        self._engine.accept_broker(self._loop.time())
        self.driver.process()
        self.driver.pause_or_resume_reading()

    def fail(self, reason_code: int, text: str, cause: BaseException | None) -> None:
        """End the connection; see `Engine.fail`."""
        self._engine.fail(reason_code, text, cause)
        self.driver.process()

    def publish_nowait(
        self,
        topic: Any,
        payload: Any,
        qos: Any,
        retain: Any,
        properties: Any,
        mode: str,
        origin: Origin | None,
        client: ReceiptClient,
    ) -> Receipt:
        """Publish a message at once, even if publishers have to wait.

        Args:
            topic: As for `Client.publish_nowait`, like the following ones.
            payload: See there.
            qos: See there.
            retain: See there.
            properties: See there.
            mode: What to do while the client waits for a connection: "queue" it, or
                raise.
            origin: What the store has to know of it besides the message, or None.
            client: The client, for the receipt.

        Raises:
            MqttCodeError: Too much is waiting to be sent, there is no connection, or
                the client is left.
            Exception: As `publish`.
        """
        waiters = ReceiptWaiters()
        delivery: Delivery | None
        if self.is_waiting_for_connection and self.offline is not None:
            name, data, level, given = to_publication(topic, payload, qos, properties)
            self.check_loop()
            if mode != "queue":
                raise self.offline.refuse()
            delivery = self.offline.publish(
                name, data, level, bool(retain), given, waiters, origin
            )
            return Receipt(delivery, waiters, client)
        if self._is_leaving:
            raise not_connected("The client is being left.")
        self.check_unsent()
        if origin is None:
            delivery = self.publish(topic, payload, qos, retain, properties)
        else:
            name, data, level, given = to_publication(topic, payload, qos, properties)
            prepared = self._engine.prepare(name, data, level, bool(retain), given)
            prepared.origin = origin
            delivery = self.send(prepared)
        if delivery is not None:
            self.observe(delivery, waiters)
        return Receipt(delivery, waiters, client)

    def check_unsent(self, count: int = 0, size: int = 0) -> None:
        """Check that not too much waits to be sent.

        Args:
            count: How many other messages will be sent, too.
            size: The sum of their sizes.

        Raises:
            MqttCodeError: It is too much.
        """
        transport = self.driver.writer.transport
        outbound = self._engine.session.outbound
        unfinished = len(outbound) + count
        waiting = outbound.size + size + DELIVERY_SIZE * unfinished
        if self._queue.is_paused and transport is not None:
            waiting = max(waiting, transport.get_write_buffer_size())
        if unfinished >= MAXIMUM_UNFINISHED or waiting >= MAXIMUM_UNSENT:
            raise MqttCodeError(
                QUEUE_FULL,
                f"Could not publish message: {unfinished} messages are unfinished and"
                f" {waiting} bytes wait already",
            )

    def push(self) -> None:
        """Let what the last call has added to the engine leave: see `Driver.push`."""
        self.driver.push(self._engine.added_size)

    def resume_reading(self) -> None:
        """Read on: the program has taken messages."""
        self.room = Room.ENOUGH
        self.driver.pause_or_resume_reading()

    def leave(self) -> None:
        """Accept no more publishing: the program is leaving.

        If there is no connection, what waits for one ends now.
        """
        self._is_leaving = True
        if self.offline is not None:
            self.offline.stop()
        if self.is_waiting_for_connection:
            self.give_up(None)
        elif self.is_continuous:
            # This connection is the last.
            self._expect_no_connection()
            self._engine.give_up()

    def give_up(self, error: MqttError | None) -> None:
        """End what waits for the next connection: there is none.

        If there is a connection, nothing happens.

        Args:
            error: Why there is none, for the calls and iterators that wait; None: the
                program is leaving.
        """
        if not self.is_waiting_for_connection:
            return
        if not self.driver.is_over:
            # It was an attempt.
            self.driver.abort()
        self._expect_no_connection()
        self._has_given_up = True
        if self.offline is not None:
            self.offline.stop()
        self.error = error
        self._fail_waiting(error or MqttError("Disconnected"))
        self.sink.close(error)
        self._engine.give_up()
        self.settle()
        self.on_progress()

    def abandon(self) -> None:
        """Forget the waiting calls: their event loop was closed."""
        was_over = self.has_ended
        error = MqttError("The event loop was closed")
        if self.is_continuous:
            self._expect_no_connection()
            self._has_given_up = True
            self._engine.give_up()
            self._engine.take_happenings()
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
