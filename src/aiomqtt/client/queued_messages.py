"""The messages that wait for a connection: their limits, and when they are dropped."""

from heapq import heapify, heappop, heappush
from math import inf
from typing import Final, TypeAlias

from aiomqtt.exceptions import MqttCodeError
from aiomqtt.protocol.delivery import (
    DELIVERY_SIZE,
    DISPLACED,
    EXPIRED,
    OMITTED,
    OUTDATED,
    QUEUED,
    Delivery,
)
from aiomqtt.protocol.engine import Engine
from aiomqtt.protocol.engine_calls import QUEUE_FULL

from .offline import OfflineQueue

# How many more times are kept than messages wait, before the others are removed.
SPARE: Final = 1000

# When a message is dropped, its sequence, the message, and the state in which it ends.
Due: TypeAlias = tuple[float, int, Delivery, int]


class QueuedMessages:
    """Accepts messages without a connection, and drops those that wait too long.

    A message that ends here becomes a happening of the engine, as every other.

    Args:
        engine: The engine, whose session keeps the messages.
        limits: How many may wait, and how long.
    """

    def __init__(self, engine: Engine, limits: OfflineQueue) -> None:
        # Valid as long as the client.
        self._engine = engine
        self._limits = limits
        # The times of the messages that are not kept for ever, as a heap. A message may
        # have been sent meanwhile.
        self._due: list[Due] = []
        # When the session was read from a store.
        self._resumed_at = 0.0

    def accept(self, delivery: Delivery, now: float) -> bool:
        """Accept a message; False: it is dropped at once, since it has QoS 0.

        Args:
            delivery: The message, as `Engine.prepare` returned it.
            now: The time.

        Raises:
            MqttCodeError: There is no room for it.
            ValueError: It has a topic alias and no topic. Nothing has changed.
        """
        engine, limits = self._engine, self._limits
        outbound = engine.session.outbound
        if not delivery.qos and limits.qos0 == "drop":
            delivery.state = OMITTED
            outbound.count_end(OMITTED)
            return False
        self.expire(now)
        self.check_room(1, delivery.size)
        engine.enqueue(delivery, now)
        self._make_room(now)
        self._remember(delivery, now)
        return True

    def check_room(self, count: int, size: int) -> None:
        """Raise MqttCodeError unless there can be room for messages.

        Args:
            count: How many.
            size: The sum of the sizes of their packets, in bytes.
        """
        size += DELIVERY_SIZE * count
        limits, outbound = self._limits, self._engine.session.outbound
        kept, kept_bytes = self._kept()
        if limits.overflow == "drop_oldest":
            # All that was never sent may be dropped.
            kept -= outbound.queued
            kept_bytes -= outbound.queued_size + outbound.behind_size
            kept_bytes -= DELIVERY_SIZE * outbound.queued
        kept += count
        if limits.max_messages is not None and kept > limits.max_messages:
            raise _full(f"{kept - 1} messages wait, as many as max_messages allows")
        if limits.max_bytes is not None and kept_bytes + size > limits.max_bytes:
            raise _full(
                f"it takes {size} bytes, and {kept_bytes} of the {limits.max_bytes}"
                " bytes that max_bytes allows are in use"
            )

    def _make_room(self, now: float) -> None:
        """Drop the messages that have waited longest, until the limits are kept.

        Those that only the store has are dropped when they have been read.
        """
        limits, outbound = self._limits, self._engine.session.outbound
        most = inf if limits.max_messages is None else limits.max_messages
        most_bytes = inf if limits.max_bytes is None else limits.max_bytes
        while (oldest := outbound.oldest_queued) is not None:
            kept, kept_bytes = self._kept()
            if kept <= most and kept_bytes <= most_bytes:
                break
            self._engine.withdraw(oldest, now, DISPLACED)

    def _kept(self) -> tuple[int, int]:
        """Return how many messages are not acknowledged, and the bytes that they take.

        Those that only the store has count as well.
        """
        outbound = self._engine.session.outbound
        count = len(outbound) + outbound.behind
        return count, outbound.size + outbound.behind_size + DELIVERY_SIZE * count

    def resume(self, now: float) -> None:
        """Take over the messages that wait in a session which was read from a store.

        Their age counts from now.
        """
        self._resumed_at = now
        self._due.clear()
        self.take_over(self._engine.session.outbound.unreceived(), now)

    def take_over(self, deliveries: list[Delivery], now: float) -> None:
        """Take over messages of that session; `resume` has been called."""
        self._remember_all(deliveries, self._resumed_at)
        self._make_room(now)

    def on_enqueued(self, deliveries: list[Delivery], now: float) -> None:
        """Take over messages that were queued now, without `accept`."""
        self._remember_all(deliveries, now)
        self._make_room(now)

    # --- time -----------------------------------------------------------------------

    def _remember_all(self, deliveries: list[Delivery], since: float) -> None:
        for delivery in deliveries:
            if delivery.state == QUEUED:
                self._remember(delivery, since)

    def _remember(self, delivery: Delivery, now: float) -> None:
        """Remember when to drop a message, if ever."""
        due, state = delivery.expires, EXPIRED
        max_age = self._limits.max_age
        if max_age is not None and (due is None or now + max_age < due):
            due, state = now + max_age, OUTDATED
        if due is None:
            return
        outbound = self._engine.session.outbound
        if len(self._due) > 2 * (outbound.queued - outbound.behind) + SPARE:
            self._due = [entry for entry in self._due if entry[2].state == QUEUED]
            heapify(self._due)
        heappush(self._due, (due, delivery.sequence, delivery, state))

    def deadline(self) -> float | None:
        """Return when to call `expire`, at the latest; None: there is no need to.

        It may change with every call.
        """
        while self._due and self._due[0][2].state != QUEUED:
            heappop(self._due)
        return self._due[0][0] if self._due else None

    def expire(self, now: float) -> None:
        """Drop the messages that have waited too long."""
        while self._due and self._due[0][0] <= now:
            _, _, delivery, state = heappop(self._due)
            if delivery.state == QUEUED:
                self._engine.withdraw(delivery, now, state)


def _full(why: str) -> MqttCodeError:
    return MqttCodeError(
        QUEUE_FULL,
        f"Could not queue message: {why}; there is no connection. Publish less, raise"
        ' the limit in OfflineQueue, or pass overflow="drop_oldest".',
    )
