"""Publishing: the methods of the client, and many messages in a window."""

from collections.abc import Coroutine, Iterable
from typing import TYPE_CHECKING, Any

from aiomqtt.argument_checks import check_range, check_type
from aiomqtt.exceptions import MqttError
from aiomqtt.payload import PayloadType
from aiomqtt.protocol.delivery import DONE, Delivery, Origin
from aiomqtt.protocol.engine_calls import not_connected
from aiomqtt.topic import TopicLike
from aiomqtt.types import PropertiesLike, PublicationLike

from .arguments import check_timeout
from .calls import CONGESTED, Calls
from .calls_async import wait_for_answer, wait_for_room
from .fields import ClientFields
from .publication import to_publication
from .receipt import Receipt, ReceiptWaiters
from .receipt_async import wait_until_done
from .window import Batch, give_up, refusal

if TYPE_CHECKING:
    from .offline import OfflineMode
    from .pending import PendingMessage
else:  # so that annotations can be read without importing these
    OfflineMode = PendingMessage = Any

# A batch takes its next message when there is room, and has no size to wait for until
# then: this stands for it, in bytes.
NEXT_SIZE = 64


async def publish_all(batch: Batch) -> int:
    """Publish all messages of a batch, and return their number when they are done.

    Raises:
        MqttError: One of them failed.
        Exception: The error that the iterator raised.
    """
    batch.calls.check_loop()
    what = f"no message of publish_many was done within {batch.timeout} seconds"
    try:
        while True:
            batch.fill()
            if batch.mode != "wait" and batch.calls.is_waiting_for_connection:
                from .offline_async import go_offline

                await go_offline(batch)
                if batch.is_done:
                    break
            elif batch.is_full:
                await wait_for_answer(batch.calls, batch.waiter(), what)
            elif batch.is_done:
                break
            else:
                await wait_for_room(batch.calls, NEXT_SIZE, batch.timeout, batch.mode)
    except MqttError as error:
        batch.end(error)
    finally:
        batch.withdraw()
    return batch.result()


class Publisher(ClientFields):
    """Publishes the messages of a client."""

    async def publish(
        self,
        topic: TopicLike,
        payload: PayloadType = None,
        qos: int = 0,
        retain: bool = False,
        properties: PropertiesLike | None = None,
        *,
        timeout: float | None = None,
        offline: "OfflineMode | None" = None,
        id: str | None = None,  # noqa: A002 - the word that programs use
    ) -> None:
        """Publish a message (MQTT 5.0 §3.3).

        Returns when the message is on its way at QoS 0, and when its flow is
        complete at QoS 1 and 2. It waits first if the network is slower than the
        program.

        When the connection ends, the session keeps a message with QoS 1 or 2 that it
        has accepted, if the session lasts, see `Client`; one that still waited for the
        network is not accepted. After a timeout the message is withdrawn unless its
        bytes may have left; then its flow goes on, and it may arrive. The error says
        which of both (`MqttError.is_in_session`). Cancellation has the same effect as a
        timeout; to learn the outcome in any case, call `publish_nowait`.

        Args:
            topic: The topic name.
            payload: The payload; a str as UTF-8, a number as its decimal text,
                ``None`` as an empty payload.
            qos: 0, 1 or 2.
            retain: Whether the broker retains the message.
            properties: The properties (5.0 only); ``None``: none.
            timeout: How many seconds to wait; ``None``: the client's timeout;
                ``math.inf``: forever.
            offline: What to do without a connection, if the client reconnects: "wait"
                for the next one, within the timeout; "queue" the message, and return;
                or "fail", also if the connection ends meanwhile. ``None``: as the
                client's `offline` says.
            id: A name of the message that is kept with it in a session that is stored:
                `DurableSession.receipt` tells by it how far the message has come, also
                in a later process. At QoS 1 and 2. ``None``: none.

        Raises:
            ValueError: An argument violates a rule; nothing was sent.
            TypeError: An argument has a wrong type; nothing was sent.
            MqttCodeError: The broker refused the message; there is no connection; or
                `max_queued_outgoing_messages` are unfinished; or the queue is full.
            MqttError: The connection ended, the call timed out, or the message expired
                before it was sent. Its `is_in_session` says whether the message is in
                the session.
        """
        mode = self._offline if offline is None else self._to_mode(offline)
        if timeout is not None:
            timeout = check_timeout(timeout)
        slots = self._call_slots
        if slots is not None:
            arguments = to_publication(topic, payload, qos, properties)
            topic, payload, qos, properties = arguments
            await slots.acquire()
        try:
            calls = self._calls
            if calls is None:
                self._prepare(topic, payload, qos, retain, properties)
                raise not_connected()
            delivery: Delivery | None = CONGESTED
            if id is None:
                # A single call of compiled code: each costs 3 %.
                delivery = calls.publish(topic, payload, qos, retain, properties, True)
            if delivery is CONGESTED:
                prepared = self._prepare(topic, payload, qos, retain, properties, id)
                delivery = await self._send_later(calls, prepared, mode, timeout)
            if delivery is None:
                return
            seconds = self.timeout if timeout is None else timeout
            delivery.observer = waiter = calls.waiter(seconds)
            if mode != "wait":
                calls.hurry(waiter, mode == "fail")
            calls.warn_if_many(self.pending_calls_threshold)
            # The same as `wait_for_answer`, whose coroutine would cost 2 %.
            try:
                failure = await waiter
            except BaseException:
                calls.withdraw(delivery)
                raise
            finally:
                calls.forget(waiter)
            if failure is not None:
                give_up(calls, delivery, failure)
            if delivery.reason_code >= 0x80:
                raise refusal(delivery)
            if mode != "wait" and delivery.state < DONE:
                from .offline_async import leave_in_queue

                await leave_in_queue(calls, delivery)
        finally:
            if slots is not None:
                slots.release()

    def _prepare(
        self,
        topic: TopicLike,
        payload: PayloadType,
        qos: int,
        retain: bool,
        properties: PropertiesLike | None,
        id: str | None = None,  # noqa: A002 - the word that programs use
    ) -> Delivery:
        """Check and encode a message, for `_send_later`."""
        name, data, qos, given = to_publication(topic, payload, qos, properties)
        prepared = self._engine.prepare(name, data, qos, bool(retain), given)
        if id is not None:
            prepared.origin = self._to_origin(id, qos)
        return prepared

    async def _send_later(
        self,
        calls: Calls,
        prepared: Delivery,
        mode: "OfflineMode",
        timeout: float | None,
    ) -> Delivery | None:
        """Send a message when it may leave; None: it has, or it waits in the queue."""
        if calls.is_congested:
            seconds = self.timeout if timeout is None else timeout
            if calls.offline is None:
                await wait_for_room(calls, prepared.size, seconds)
            else:
                # Most programs never need it.
                from .offline_async import wait_to_send

                if not await wait_to_send(calls, self._engine, prepared, mode, seconds):
                    return None
            if prepared.origin is not None:
                # Another call may have used the id meanwhile.
                self._to_origin(prepared.origin.receipt_id, prepared.qos)
        return calls.send(prepared)

    def _to_origin(self, receipt_id: str, qos: int) -> Origin:
        """Return what the store keeps of a message that has an ``id``; see there."""
        # Most programs never need it.
        from .receipt_ids import to_origin

        outbound = self._engine.session.outbound
        return to_origin(receipt_id, qos, outbound, self._keeper is not None)

    def _to_mode(self, offline: "OfflineMode | None") -> "OfflineMode":
        """Return what to do without a connection.

        Raises:
            ValueError: It is no mode, or the client does not reconnect.
            TypeError: It is no string.
        """
        if offline is None:
            return self._offline
        from .offline import NEEDS_RECONNECT, to_mode

        mode = to_mode(offline)
        if self._queued_messages is None:
            raise ValueError(NEEDS_RECONNECT)
        return mode

    def publish_nowait(
        self,
        topic: TopicLike,
        payload: PayloadType = None,
        qos: int = 0,
        retain: bool = False,
        properties: PropertiesLike | None = None,
        *,
        offline: "OfflineMode | None" = None,
        id: str | None = None,  # noqa: A002 - the word that programs use
    ) -> Receipt:
        """Publish a message without waiting for anything (MQTT 5.0 §3.3).

        The message is on its way, or waits for earlier ones. Leaving the client
        without an exception waits until it is done, within the timeout.

        Args:
            topic: The topic name.
            payload: As for `publish`.
            qos: 0, 1 or 2.
            retain: Whether the broker retains the message.
            properties: The properties (5.0 only); ``None``: none.
            offline: What to do without a connection, if the client reconnects: "queue"
                the message; "fail" and "wait" raise. ``None``: as the client's
                `offline` says.
            id: As for `publish`.

        Returns:
            A receipt: await it until the flow is complete, or ignore it.

        Raises:
            ValueError: An argument violates a rule; nothing was sent.
            TypeError: An argument has a wrong type; nothing was sent.
            MqttCodeError: There is no connection; or too much is unfinished:
                `max_queued_outgoing_messages`, or 65,536 messages or 64 MiB, or without
                a connection the limits of the queue.
        """
        mode = self._offline if offline is None else self._to_mode(offline)
        calls, origin = self._calls, None
        if calls is None or id is not None:
            # Wrong arguments come first.
            arguments = to_publication(topic, payload, qos, properties)
            topic, payload, qos, properties = arguments
            calls = self._entered_calls()
            if id is not None:
                origin = self._to_origin(id, qos)
        return calls.publish_nowait(
            topic, payload, qos, retain, properties, mode, origin, self
        )

    def _wait_until_done(
        self, delivery: Delivery | None, waiters: ReceiptWaiters
    ) -> Coroutine[Any, Any, None]:
        """Return a coroutine that waits for a delivery, for a `Receipt`."""
        return wait_until_done(delivery, waiters, self._calls)

    async def publish_many(
        self,
        messages: Iterable[PublicationLike],
        *,
        window: int = 100,
        timeout: float | None = None,
        offline: "OfflineMode | None" = None,
    ) -> int:
        """Publish messages in order, several at a time (MQTT 5.0 §4.4).

        Messages are taken from the iterable as there is room for them. Returns when
        the flows of all are complete, those with QoS 0 on their way.

        After a failure no more are taken, and those in flight finish; then the first
        failure, by position, is raised. An exception of the iterable itself counts
        as one. After a cancellation, messages that were not sent are withdrawn, and the
        other flows go on.

        Args:
            messages: The messages, as `Publication` or as tuples of the arguments of
                `publish`: topic, payload, qos, retain, properties.
            window: How many may be unfinished at a time.
            timeout: How many seconds may pass without any of them finishing;
                ``None``: the client's timeout; ``math.inf``: forever.
            offline: What to do without a connection, if the client reconnects: "wait"
                for the next one, within the timeout; "queue" the messages, and return;
                or "fail". ``None``: as the client's `offline` says.

        Returns:
            The number of messages.

        Raises:
            ValueError: An argument, or one of a message, violates a rule.
            TypeError: An argument, or one of a message, has a wrong type.
            MqttCodeError: The broker refused a message, or there is no connection.
            MqttError: The connection ended, or the call timed out. Its `position`, as
                that of a refusal, is that of the first message that failed, from 0, and
                `is_in_session` says whether that one is in the session. Messages from
                `accepted` on are to be published again. Other errors have the position
                in a note.
        """
        check_type("messages", messages, Iterable)
        check_range("window", window, 1)
        mode = self._to_mode(offline)
        seconds = self.timeout if timeout is None else check_timeout(timeout)
        bound = self._engine.settings.maximum_queued
        slots = self._call_slots
        if slots is not None:
            await slots.acquire()
        try:
            batch = Batch(
                self._entered_calls(),
                iter(messages),
                window if bound is None else min(window, bound),
                seconds,
                mode,
            )
            return await publish_all(batch)
        finally:
            if slots is not None:
                slots.release()

    # --- unfinished messages --------------------------------------------------------

    def pending_messages(self) -> "tuple[PendingMessage, ...]":
        """Return the messages that are not acknowledged, and with QoS 0 not sent.

        This also works between leaving and entering again: the messages are sent again
        if the session lasts. First come those that the broker has received, then those
        that were sent, then the others, each group in order. Of many messages that wait
        in a stored session, these are the next ones: `statistics` counts all of them.
        """
        from .pending import to_pending

        return to_pending(self._engine.session.outbound.unfinished())

    def drop(self, message: "PendingMessage") -> bool:
        """Drop a message from the session: it is not sent again.

        Use it for a message that the broker never accepts, such as one at which it
        closes the connection. If it was sent already, it may still arrive. A call that
        waits for it raises MqttError. Its packet identifier stays out of use as long as
        the broker may know it: at QoS 1 until the connection ends, at QoS 2 until the
        flow is complete or the session ends (MQTT 5.0 §4.3).

        Args:
            message: One of `pending_messages`.

        Returns:
            Whether it was dropped; ``False``: it was done meanwhile, or belongs to
            another client.

        Raises:
            TypeError: It is no PendingMessage.
        """
        from .pending import to_delivery

        is_dropped = self._engine.drop(to_delivery(message), self._time())
        self._settle_dropped()
        return is_dropped

    def drop_pending(self) -> int:
        """Drop all unfinished messages, see `drop`; return their number.

        These are all `pending_messages`, and with a stored session those that only the
        store has: they are dropped as soon as they have been read.
        """
        count = self._engine.drop_all(self._time())
        self._settle_dropped()
        return count

    def _time(self) -> float:
        # Without a connection nothing leaves, whatever the time is.
        return 0.0 if self._calls is None else self._calls.time()

    def _settle_dropped(self) -> None:
        calls = self._calls
        if calls is None or calls.has_ended:
            # Nobody waits any more: the end of the connection resolved all calls. What
            # has changed is stored when the client is entered again.
            self._engine.take_happenings()
        elif calls.is_connected:
            calls.driver.flush()
        else:
            calls.settle()

    def _entered_calls(self) -> Calls:
        """Return the calls of the client.

        Raises:
            MqttCodeError: The client is not entered.
        """
        if self._calls is None:
            raise not_connected()
        return self._calls
