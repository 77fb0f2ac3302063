"""Publishing without a task for each message: receipts, and many in a window."""

import math
from collections.abc import Callable, Generator, Iterator
from typing import Any, Final, NamedTuple

from .arguments import to_text
from .exceptions import MqttCodeError, MqttError
from .net.runner import OVERHEAD, Runner, Waiter, Watcher
from .paho import to_properties
from .payload import PayloadType, encode_payload
from .properties import Properties, ReasonCode
from .protocol.codec.encode import check_qos
from .protocol.engine import NOT_CONNECTED
from .protocol.outbound import DONE, LOST, Delivery

# What an iterator gives when it has no more.
_END: Final = object()


class Publication(NamedTuple):
    """A message to publish; a tuple of the arguments of `Client.publish` is as good.

    Args:
        topic: The topic name.
        payload: The payload; a str as UTF-8, a number as its decimal text, ``None``
            as nothing.
        qos: 0, 1 or 2.
        retain: Whether the broker retains the message.
        properties: The properties (5.0 only); ``None``: none.
    """

    topic: str
    payload: PayloadType = None
    qos: int = 0
    retain: bool = False
    # Any: paho-mqtt's Properties are taken by their shape.
    properties: Properties | Any | None = None


_DEFAULTS: Final[tuple[Any, ...]] = tuple(Publication(""))


class Receipt(Watcher):
    """What `Client.publish_nowait` returns: await it to know that the message is done.

    It can be awaited any number of times, also at once from several tasks, or not at
    all. Cancelling that takes nothing back.

    Awaiting raises:
        MqttCodeError: The broker refused the message; or there is no connection. The
            message may still be in a session that lasts: await again when the client
            is entered again.
        MqttError: The connection ended, or the session, and the message is lost.
    """

    __slots__ = ("_current", "_delivery", "_waiters")

    def __init__(self, current: Callable[[], Runner | None]) -> None:
        """Stand for a message that is about to be published.

        Args:
            current: Returns the connection that there is at the time, or None.
        """
        self._current = current
        # None: at QoS 0 there is nothing to wait for.
        self._delivery: Delivery | None = None
        self._waiters: list[Waiter] = []

    def begin(self, delivery: Delivery | None) -> None:
        """Take what the engine made of the message."""
        self._delivery = delivery

    def done(self) -> bool:
        """Whether nothing is left to wait for, be it well or badly."""
        return self._delivery is None or self._delivery.state >= DONE

    @property
    def reason_code(self) -> ReasonCode | None:
        """With what the broker has acknowledged it; ``None``: not yet, or at QoS 0."""
        if self._delivery is None or self._delivery.state != DONE:
            return None
        return self._delivery.reason_code

    def __await__(self) -> Generator[Any, Any, None]:
        """Wait until the flow is complete (MQTT 5.0 §4.3)."""
        return self._wait().__await__()

    async def _wait(self) -> None:
        delivery = self._delivery
        if delivery is None:
            return
        if delivery.state < DONE:
            await self._wait_for_settlement()
        if delivery.state == LOST:
            msg = "The session ended before the message was acknowledged"
            raise MqttError(msg)
        if delivery.reason_code >= 0x80:
            raise refusal(delivery)

    async def _wait_for_settlement(self) -> None:
        runner = self._current()
        if runner is None or runner.is_over:
            error = MqttCodeError(
                NOT_CONNECTED, "The client is not currently connected."
            )
            # `from` does nothing where it is compiled.
            error.__cause__ = None if runner is None else runner.error
            raise error
        waiter = runner.waiter(math.inf)
        self._waiters.append(waiter)
        try:
            failure = await waiter
        finally:
            runner.forget(waiter)
            if waiter in self._waiters:
                self._waiters.remove(waiter)
        if failure is not None:
            raise failure

    def settle(self, delivery: Delivery) -> bool:
        """Wake those who await it."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        return len(waiters) > 0


class Batch(Watcher):
    """Publishes messages one after the other, a number of them at a time.

    Args:
        runner: The connection.
        messages: The messages.
        window: How many may be unfinished.
        timeout: How many seconds may pass without any progress.
    """

    def __init__(
        self,
        runner: Runner,
        messages: Iterator[object],
        window: int,
        timeout: float,
    ) -> None:
        """Begin; `run` does it."""
        self._runner = runner
        self._messages = messages
        self._window = window
        self._timeout = timeout
        # How many messages were taken; the unfinished ones with their positions.
        self._count = 0
        self._pending: dict[Delivery, int] = {}
        self._is_exhausted = False
        self._waiter: Waiter | None = None
        # What went wrong first, by position, not by time.
        self._failure: Exception | None = None
        self._failed_at = 0

    async def run(self) -> int:
        """Publish all of them, and return their number when they are done."""
        try:
            while True:
                self._fill()
                if self._pending and (
                    self._is_exhausted or len(self._pending) >= self._window
                ):
                    await self._wait_for_progress()
                elif self._is_exhausted:
                    break
                else:
                    await self._runner.wait_for_room(OVERHEAD, self._timeout)
        except MqttError as error:
            self._fail(error, next(iter(self._pending.values()), self._count))
        finally:
            self._withdraw()
        if self._failure is not None:
            self._failure.add_note(f"at message {self._failed_at} of publish_many")
            raise self._failure
        return self._count

    def _fill(self) -> None:
        """Publish while there is room in the window and on the way out."""
        runner, pending = self._runner, self._pending
        runner.hold()
        while (
            not self._is_exhausted
            and len(pending) < self._window
            and not runner.is_congested
        ):
            try:
                message = next(self._messages, _END)
                if message is _END:
                    self._is_exhausted = True
                    break
                delivery = self._publish(message)
            # What the iterator raises is no less a failure: those before it finish.
            except Exception as error:  # noqa: BLE001
                self._fail(error, self._count)
                break
            if delivery is not None:
                pending[delivery] = self._count
            self._count += 1
        runner.flush()

    def _publish(self, message: object) -> Delivery | None:
        if not isinstance(message, tuple) or not 1 <= len(message) <= len(_DEFAULTS):
            msg = f"must be a Publication or such a tuple, not {message!r:.80}"
            raise TypeError(msg)
        if len(message) < len(_DEFAULTS):
            message += _DEFAULTS[len(message) :]
        topic, payload, qos, retain, properties = message
        if type(topic) is not str:
            topic = to_text("topic", topic)
        if type(payload) is not bytes:
            payload = encode_payload(payload)
        if type(qos) is not int or not 0 <= qos <= 2:
            check_qos(qos)
        if properties is not None:
            properties = to_properties("properties", properties)
        delivery = self._runner.publish(topic, payload, qos, bool(retain), properties)
        if delivery is not None:
            delivery.waiter = self
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
        position = self._pending.pop(delivery)
        if delivery.reason_code and delivery.reason_code >= 0x80:
            self._fail(refusal(delivery), position)
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        return True

    async def _wait_for_progress(self) -> None:
        waiter = self._waiter = self._runner.waiter(self._timeout)
        try:
            error = await waiter
        finally:
            self._waiter = None
            self._runner.forget(waiter)
        if error is not None:
            raise error

    def _withdraw(self) -> None:
        """Take back what has not been sent, and leave the rest to the session."""
        for delivery in self._pending:
            delivery.waiter = None
            self._runner.withdraw(delivery)


def refusal(delivery: Delivery) -> MqttCodeError:
    """Make the error of a publish that the broker refused."""
    said = f": {delivery.reason_string}" if delivery.reason_string else ""
    code = delivery.reason_code
    error = MqttCodeError(code, f"Could not publish message: {code!s}{said}")
    error.reason_string = delivery.reason_string
    return error
