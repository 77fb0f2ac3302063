"""Publishing without a connection, between entering and leaving a client."""

import asyncio
from logging import WARNING
from typing import TYPE_CHECKING

from aiomqtt.exceptions import MqttCodeError
from aiomqtt.properties import Properties
from aiomqtt.protocol.delivery import Delivery, Origin
from aiomqtt.protocol.engine import Engine
from aiomqtt.protocol.engine_calls import not_connected

from .queued_messages import QueuedMessages
from .waiters import DeliveryObserver

if TYPE_CHECKING:
    from .calls import Calls


class OfflineCalls:
    """Queues messages without a connection, and drops those that wait too long.

    Args:
        calls: The calls of the client.
        engine: The engine.
        messages: The messages that wait.
    """

    def __init__(
        self, calls: "Calls", engine: Engine, messages: QueuedMessages
    ) -> None:
        # Valid from entering to leaving.
        self._loop = asyncio.get_running_loop()
        self._calls = calls
        self._engine = engine
        self._messages = messages
        # The timer, and when it is due.
        self._timer: asyncio.TimerHandle | None = None
        self._due: float | None = None
        # The number of connections at the last warning.
        self._warned_at = -1
        self._arm()

    def publish(
        self,
        topic: str,
        payload: bytes,
        qos: int,
        retain: bool,
        properties: Properties | None,
        observer: DeliveryObserver,
        origin: Origin | None = None,
    ) -> Delivery:
        """Check a message, and queue or drop it.

        Raises:
            MqttCodeError: As `enqueue`.
            ValueError: An argument violates the standard.
        """
        delivery = self._engine.prepare(topic, payload, qos, retain, properties)
        delivery.origin = origin
        self.enqueue(delivery, observer)
        return delivery

    def enqueue(self, delivery: Delivery, observer: DeliveryObserver) -> None:
        """Queue a message, or drop it, as the program said; see `QueuedMessages`.

        Args:
            delivery: The message, as `Engine.prepare` returned it.
            observer: Learns how it ends, unless it is dropped at once.

        Raises:
            MqttCodeError: There is no room for it, or the program leaves the client.
            ValueError: It has a topic alias and no topic.
        """
        calls, outbound = self._calls, self._engine.session.outbound
        if calls.is_leaving:
            raise not_connected("The client is being left.")
        dropped = outbound.dropped
        try:
            if self._messages.accept(delivery, self._loop.time()):
                calls.observe(delivery, observer)
                if outbound.dropped > dropped:
                    self._warn()
        finally:
            self._report()
            self._arm()

    def _warn(self) -> None:
        """Log that messages are dropped, once for each time without a connection."""
        connections = self._engine.counts.connections
        if connections == self._warned_at:
            return
        self._warned_at = connections
        self._calls.logger.event(
            WARNING,
            "offline_queue_full",
            {"queued_messages": self._engine.session.outbound.queued},
            "The queue of messages without a connection is full: the oldest are"
            " dropped.",
        )

    def check_room(self, count: int, size: int) -> None:
        """Check that there is room for messages that are about to be queued.

        Args:
            count: How many.
            size: The sum of the sizes of their packets, in bytes.

        Raises:
            MqttCodeError: There is none.
        """
        self._messages.expire(self._loop.time())
        self._report()
        self._messages.check_room(count, size)

    def on_enqueued(self, deliveries: list[Delivery]) -> None:
        """Keep the limits for messages that were queued without asking."""
        dropped = self._engine.session.outbound.dropped
        self._messages.on_enqueued(deliveries, self._loop.time())
        if self._engine.session.outbound.dropped > dropped:
            self._warn()
        self._arm()

    def take_over(self, deliveries: list[Delivery]) -> None:
        """Keep the limits for messages that were read from the store meanwhile."""
        self._messages.take_over(deliveries, self._loop.time())
        self._arm()

    def refuse(self) -> MqttCodeError:
        """Return the error of a call that fails without a connection."""
        error = not_connected(
            "The client is not currently connected. It connects again by itself: await"
            ' client.connected(), or pass offline="queue".'
        )
        error.__cause__ = self._calls.error
        return error

    def stop(self) -> None:
        """Drop no more messages: the program leaves the client."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = self._due = None

    # --- messages that wait too long ------------------------------------------------

    def _arm(self) -> None:
        """Set the timer to when the next message is dropped."""
        due = self._messages.deadline()
        if due == self._due:
            return
        self.stop()
        if due is not None and not self._calls.has_ended:
            self._due = due
            self._timer = self._loop.call_at(due, self._expire, due)

    def _expire(self, due: float) -> None:
        self._timer = self._due = None
        if self._calls.has_ended:
            return
        # The loop may be early by the resolution of its clock.
        self._messages.expire(max(due, self._loop.time()))
        self._report()
        self._arm()

    def _report(self) -> None:
        """Tell callers what has ended, and send what waited for it."""
        if self._calls.is_connected:
            self._calls.driver.flush()
        else:
            self._calls.settle()
