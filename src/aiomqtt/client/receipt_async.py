"""The receipt of a published message: how it has ended, for those that await it."""

import math
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from aiomqtt.exceptions import MqttError
from aiomqtt.properties import ReasonCode
from aiomqtt.protocol.delivery import DONE, Delivery
from aiomqtt.protocol.engine_calls import not_connected
from aiomqtt.standard.names import FIRST_FAILURE

from .calls import Calls
from .calls_async import wait_for_answer
from .window import ReceiptWaiters, refusal

if TYPE_CHECKING:
    from .outcomes import Outcome
else:  # so that annotations can be read without importing it
    Outcome = Any


class Receipt:
    """The result of `Client.publish_nowait`: await it until the message is done.

    It can be awaited any number of times, even by several tasks at once, or not at all.
    Cancelling the await does not withdraw the message.

    Awaiting raises:
        MqttCodeError: The broker refused the message; or there is no connection.
        MqttError: The connection ended, or the session. Where `is_in_session` is
            ``True``, await again when the client is entered again; otherwise the
            message is lost, unless it was on its way at that moment. Or the message
            expired, was dropped or was withdrawn: see `outcome`.
    """

    __slots__ = ("_current", "_delivery", "_waiters")

    def __init__(
        self,
        delivery: Delivery | None,
        waiters: ReceiptWaiters,
        current: Callable[[], Calls | None],
    ) -> None:
        """Represent a message.

        Args:
            delivery: Its delivery; None at QoS 0, where there is nothing to wait for.
            waiters: The callers that await it.
            current: Returns the calls of the client, or None if it is not entered.
        """
        self._delivery = delivery
        self._waiters = waiters
        self._current = current

    def done(self) -> bool:
        """Whether nothing is left to wait for, successful or not."""
        return self._delivery is None or self._delivery.state >= DONE

    @property
    def reason_code(self) -> ReasonCode | None:
        """The reason code of the acknowledgement; ``None``: not yet, or at QoS 0."""
        if self._delivery is None or self._delivery.state != DONE:
            return None
        return self._delivery.reason_code

    @property
    def outcome(self) -> "Outcome | None":
        """How the message has ended; ``None``: it has not yet.

        "delivered": its flow is complete, at QoS 0 it was sent. "refused": the broker
        refused it, see `reason_code`. "session lost": the session ended before that.
        "dropped": by `Client.drop`, or by the limits of an `OfflineQueue`. "expired":
        its Message Expiry Interval passed before it was sent.
        "withdrawn": it was taken back before it was sent.
        """
        if self._delivery is None:
            return "delivered"
        from .outcomes import to_outcome

        return to_outcome(self._delivery)

    def __await__(self) -> Generator[object, object, None]:
        """Wait until the flow is complete (MQTT 5.0 §4.3)."""
        return self._wait().__await__()

    async def _wait(self) -> None:
        delivery = self._delivery
        if delivery is None:
            return
        if delivery.state < DONE:
            await self._wait_for_settlement(delivery)
        if delivery.state > DONE or delivery.reason_code >= FIRST_FAILURE:
            raise refusal(delivery)

    async def _wait_for_settlement(self, delivery: Delivery) -> None:
        calls = self._current()
        if calls is not None:
            calls.check_loop()
        if calls is None or calls.has_ended:
            why = None if calls is None else calls.error
            error = not_connected()
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
