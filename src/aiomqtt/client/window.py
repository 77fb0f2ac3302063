"""Publishing many messages, with a limited number unfinished at a time."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from aiomqtt.exceptions import MqttError
from aiomqtt.protocol.delivery import DONE, LOST, WITHDRAWN, Delivery
from aiomqtt.standard.names import FIRST_FAILURE
from aiomqtt.types import Publication

from .calls import Calls
from .publication import to_publication
from .waiters import UNWATCHED, DeliveryObserver, Waiter, explain_timeout

if TYPE_CHECKING:
    from .offline_calls import OfflineCalls

# Marks the end of an iterator.
_END: Final = object()


_DEFAULTS: Final[tuple[Any, ...]] = tuple(Publication(""))


class Batch(DeliveryObserver):
    """Publishes messages in order, with a limited number unfinished at a time.

    Args:
        calls: The calls of the client.
        messages: The messages.
        window: How many may be unfinished.
        timeout: How many seconds may pass without any progress.
        mode: What to do without a connection: "wait", "queue" or "fail".
    """

    def __init__(
        self,
        calls: Calls,
        messages: Iterator[object],
        window: int,
        timeout: float,
        mode: str = "wait",
    ) -> None:
        self.calls = calls
        self.mode: str = mode
        self._messages = messages
        self._window = window
        self.timeout = timeout
        # The number of messages taken; the unfinished ones with their positions.
        self._count = 0
        self._pending: dict[Delivery, int] = {}
        self._is_exhausted = False
        self._waiter: Waiter | None = None
        # The first failure by position, not by time.
        self._failure: Exception | None = None
        self._failed_at = 0

    @property
    def is_done(self) -> bool:
        """Whether all messages are taken, and none is unfinished."""
        return self._is_exhausted and not self._pending

    @property
    def is_full(self) -> bool:
        """Whether a message has to finish before the next one can be published."""
        return bool(self._pending) and (
            self._is_exhausted or len(self._pending) >= self._window
        )

    def result(self) -> int:
        """Return the number of messages, or raise the first failure."""
        if self._failure is not None:
            self._failure.add_note(f"at message {self._failed_at} of publish_many")
            if isinstance(self._failure, MqttError):
                self._describe(self._failure)
            raise self._failure
        return self._count

    def fill(self) -> None:
        """Publish while the window and the transport have room."""
        calls, pending = self.calls, self._pending
        calls.driver.hold()
        while (
            not self._is_exhausted
            and len(pending) < self._window
            and not calls.is_congested
        ):
            self._publish_next(None)
        calls.driver.flush()

    def enqueue(self, count: int, offline: "OfflineCalls") -> None:
        """Queue so many messages, or all, without a connection."""
        for _ in range(count):
            if self._is_exhausted:
                break
            self._publish_next(offline)

    def _publish_next(self, offline: "OfflineCalls | None") -> None:
        """Take a message, and publish it; note a failure."""
        try:
            message = next(self._messages, _END)
            if message is _END:
                self._is_exhausted = True
                return
            delivery = self._publish(message, offline)
        # An error of the iterator is a failure too: earlier messages still finish.
        except Exception as error:  # noqa: BLE001
            self._fail(error, self._count)
            return
        if delivery is not None:
            self._pending[delivery] = self._count
        self._count += 1

    def _publish(
        self, message: object, offline: "OfflineCalls | None"
    ) -> Delivery | None:
        """Publish a message, and return the delivery to wait for, if any."""
        if not isinstance(message, tuple) or not 1 <= len(message) <= len(_DEFAULTS):
            msg = f"must be a Publication or such a tuple, not {message!r:.80}"
            raise TypeError(msg)
        if len(message) < len(_DEFAULTS):
            message += _DEFAULTS[len(message) :]
        topic, payload, qos, retain, properties = message
        if offline is not None:
            name, data, qos, given = to_publication(topic, payload, qos, properties)
            offline.publish(name, data, qos, bool(retain), given, UNWATCHED)
            return None
        delivery = self.calls.publish(topic, payload, qos, retain, properties)
        if delivery is not None:
            delivery.observer = self
        return delivery

    def _fail(self, error: Exception, position: int) -> None:
        """Keep the failure if it is the first; take no more messages."""
        self._is_exhausted = True
        if self._failure is not None and position >= self._failed_at:
            return
        self._failure = error
        self._failed_at = position
        if isinstance(error, MqttError):
            error.position = position

    def settle(self, delivery: Delivery) -> bool:
        """Make room in the window."""
        if delivery.state == LOST:
            # It still counts as unfinished when `end` gets the reason.
            return True
        position = self._pending.pop(delivery)
        if delivery.reason_code and delivery.reason_code >= FIRST_FAILURE:
            self._fail(refusal(delivery), position)
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        return True

    def abandon(self) -> None:
        """Forget the waiter: its event loop is closed."""
        self._waiter = None

    def waiter(self) -> Waiter:
        """Return a future that resolves when the next message finishes."""
        self._waiter = self.calls.waiter(self.timeout)
        if self.mode != "wait":
            self.calls.hurry(self._waiter, self.mode == "fail")
        return self._waiter

    def end(self, error: MqttError) -> None:
        """Record the end of the connection, or a timeout, as a failure."""
        self._fail(error, next(iter(self._pending.values()), self._count))

    def _describe(self, error: MqttError) -> None:
        """Add to the error which unfinished messages the session keeps."""
        error.accepted = self._count
        for delivery, position in self._pending.items():
            if delivery.state < DONE:
                if position == self._failed_at:
                    error.is_in_session = True
            elif position < error.accepted:
                error.accepted = position

    def release(self) -> None:
        """Wait no longer for the messages that are unfinished: they are kept."""
        for delivery in self._pending:
            self.calls.observe(delivery, UNWATCHED)
        self._pending.clear()

    def withdraw(self) -> None:
        """Withdraw the messages that have not been sent; the session keeps the rest."""
        for delivery in self._pending:
            delivery.observer = None
            self.calls.withdraw(delivery)


def give_up(calls: Calls, delivery: Delivery, failure: MqttError) -> None:
    """Withdraw a message and raise the failure, which says whether it is still sent.

    Returns normally if the message ended for another reason before its caller ran.
    """
    if delivery.state >= DONE and delivery.state not in (LOST, WITHDRAWN):
        return
    calls.withdraw(delivery)
    failure.is_in_session = delivery.state < DONE
    explain_timeout(
        failure,
        f"the broker did not acknowledge a message with QoS {delivery.qos} in time",
    )
    raise failure


def refusal(delivery: Delivery) -> MqttError:
    """Return the error for a message that has ended otherwise than delivered."""
    # Most programs never need it.
    from .outcomes import to_failure

    return to_failure(delivery)
