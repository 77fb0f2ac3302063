"""Publishing without a task for each message: receipts, and many in a window."""

import math
from collections.abc import Callable, Generator

from aiomqtt.exceptions import MqttCodeError, MqttError
from aiomqtt.properties import ReasonCode
from aiomqtt.protocol.delivery import DONE, LOST, Delivery
from aiomqtt.protocol.engine import NOT_CONNECTED
from aiomqtt.standard.names import FIRST_FAILURE

from .calls import OVERHEAD, Calls
from .calls_async import wait_for_answer, wait_for_room
from .window import Batch, ReceiptWaiters, refusal


class Receipt:
    """What `Client.publish_nowait` returns: await it to know that the message is done.

    It can be awaited any number of times, also at once from several tasks, or not at
    all. Cancelling that takes nothing back.

    Awaiting raises:
        MqttCodeError: The broker refused the message; or there is no connection.
        MqttError: The connection ended, or the session. Where `is_in_session` is
            ``True``, await again when the client is entered again; else the message is
            lost, unless it was on its way at that moment.
    """

    __slots__ = ("_current", "_delivery", "_waiters")

    def __init__(
        self,
        delivery: Delivery | None,
        waiters: ReceiptWaiters,
        current: Callable[[], Calls | None],
    ) -> None:
        """Stand for a message.

        Args:
            delivery: What the engine made of it; None at QoS 0, where there is nothing
                to wait for.
            waiters: Those who await it.
            current: Returns the connection that there is at the time, or None.
        """
        self._delivery = delivery
        self._waiters = waiters
        self._current = current

    def done(self) -> bool:
        """Whether nothing is left to wait for, be it well or badly."""
        return self._delivery is None or self._delivery.state >= DONE

    @property
    def reason_code(self) -> ReasonCode | None:
        """With what the broker has acknowledged it; ``None``: not yet, or at QoS 0."""
        if self._delivery is None or self._delivery.state != DONE:
            return None
        return self._delivery.reason_code

    def __await__(self) -> Generator[object, object, None]:
        """Wait until the flow is complete (MQTT 5.0 §4.3)."""
        return self._wait().__await__()

    async def _wait(self) -> None:
        delivery = self._delivery
        if delivery is None:
            return
        if delivery.state < DONE:
            await self._wait_for_settlement(delivery)
        if delivery.state == LOST:
            msg = "The session ended before the message was acknowledged"
            raise MqttError(msg)
        if delivery.reason_code >= FIRST_FAILURE:
            raise refusal(delivery)

    async def _wait_for_settlement(self, delivery: Delivery) -> None:
        calls = self._current()
        if calls is not None:
            calls.check_loop()
        if calls is None or calls.is_over:
            msg = "The client is not currently connected."
            why = None if calls is None else calls.error
            error = MqttCodeError(NOT_CONNECTED, msg)
            error.is_in_session = delivery.state < DONE
            raise error from why
        waiter = calls.waiter(math.inf)
        waiters = self._waiters.waiters
        waiters.append(waiter)
        try:
            await wait_for_answer(calls, waiter, "the message was not acknowledged")
        except MqttError as error:
            error.is_in_session = delivery.state < DONE
            raise
        finally:
            if waiter in waiters:
                waiters.remove(waiter)


async def publish_all(batch: Batch) -> int:
    """Publish all messages of a batch, and return their number when they are done.

    Raises:
        MqttError: One of them failed; whatever the iterator raised, too.
    """
    batch.calls.check_loop()
    what = f"no message of publish_many was done within {batch.timeout} seconds"
    try:
        while True:
            batch.fill()
            if batch.is_full:
                await wait_for_answer(batch.calls, batch.waiter(), what)
            elif batch.is_done:
                break
            else:
                await wait_for_room(batch.calls, OVERHEAD, batch.timeout)
    except MqttError as error:
        batch.end(error)
    finally:
        batch.withdraw()
    return batch.result()
