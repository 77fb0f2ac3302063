"""The result of publishing without waiting."""

from collections.abc import Coroutine, Generator
from typing import TYPE_CHECKING, Any, Protocol

from aiomqtt.properties import ReasonCode
from aiomqtt.protocol.delivery import DONE, Delivery

from .waiters import DeliveryObserver, Waiter

if TYPE_CHECKING:
    from .outcomes import Outcome


class ReceiptWaiters(DeliveryObserver):
    """The callers that await one delivery."""

    def __init__(self) -> None:
        self.waiters: list[Waiter] = []

    def settle(self, delivery: Delivery) -> bool:
        """Wake all waiters; return whether there were any."""
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        return len(waiters) > 0

    def abandon(self) -> None:
        """Forget all waiters."""
        self.waiters = []


class ReceiptClient(Protocol):
    """The client that a message was published with."""

    def _wait_until_done(
        self, delivery: Delivery | None, waiters: ReceiptWaiters
    ) -> Coroutine[Any, Any, None]:
        """Wait until a delivery is done; raise if it failed. None: it is done."""


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

    __slots__ = ("_client", "_delivery", "_waiters")

    def __init__(
        self, delivery: Delivery | None, waiters: ReceiptWaiters, client: ReceiptClient
    ) -> None:
        """Represent a message.

        Args:
            delivery: Its delivery; None at QoS 0, where there is nothing to wait for.
            waiters: The callers that await it.
            client: The client.
        """
        self._delivery: Delivery | None = delivery
        self._waiters: ReceiptWaiters = waiters
        self._client: ReceiptClient = client

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
        # Coroutines that wait are not compiled: see CONTRIBUTING.md.
        waiting = self._client._wait_until_done(  # noqa: SLF001
            self._delivery, self._waiters
        )
        return waiting.__await__()
