"""The calls of the program that an engine writes: publishing and subscribing."""

from typing import TYPE_CHECKING, Final

from aiomqtt.exceptions import MqttCodeError, MqttError
from aiomqtt.properties import (
    PlainCode,
    Properties,
    ReasonCode,
    SubscribeOptions,
)
from aiomqtt.standard.tables import ProtocolVersion, Role

from .codec.fast import encode_publish
from .counts import Counts
from .delivery import WITHDRAWN, Delivery, copied_properties, packet_size
from .negotiated import Negotiated
from .output import PendingOutput
from .requests import Request, Requests, to_subscribe, to_unsubscribe
from .session import Session
from .settings import Settings

if TYPE_CHECKING:
    from .continuation import Continuation

# A member of an enumeration that every message needs: looking one up is slow.
CLIENT: Final = Role.CLIENT
# The codes of aiomqtt 2 for a call without a connection and for a full queue.
NOT_CONNECTED: Final = PlainCode(4, "Not connected")
QUEUE_FULL: Final = PlainCode(15, "Queue full")


def not_connected(
    text: str = "The client is not currently connected.",
) -> MqttCodeError:
    """Return the error of a call that needs a connection, or an entered client."""
    return MqttCodeError(NOT_CONNECTED, text)


class EngineCalls:
    """Checks, encodes and writes what the program sends.

    It only declares the fields: `Engine` sets them, and says how long they are valid.
    """

    settings: Settings
    version: ProtocolVersion
    counts: Counts
    session: Session
    is_continuous: bool
    added_size: int
    _continuation: "Continuation | None"
    _is_connected: bool
    _negotiated: Negotiated
    _pending: PendingOutput
    _requests: Requests

    def publish(
        self,
        topic: str,
        payload: bytes,
        qos: int,
        retain: bool,
        properties: Properties | None,
        now: float,
    ) -> Delivery | None:
        """Publish a message at once: `prepare` and `send` in one.

        Returns and raises like `send`, and raises ValueError like `prepare`.
        """
        is_kept = qos or self.session.outbound.queued_qos0
        if is_kept or (properties is not None and properties.topic_alias is not None):
            delivery = self.prepare(topic, payload, qos, retain, properties)
            return self.send(delivery, now)
        # The same for QoS 0, which needs no Delivery unless it has to wait.
        head, tail = encode_publish(
            topic, payload, 0, retain, properties, self.version, CLIENT
        )
        size = len(head) + len(tail)
        self._check_connected()
        if not self._negotiated.limits.allow_any_publish:
            self._negotiated.limits.check(head[0], size)
        self.added_size = size
        self.counts.messages_published += 1
        self._pending.data.append(head)
        self._pending.data.append(tail)
        return None

    def prepare(
        self,
        topic: str,
        payload: bytes,
        qos: int,
        retain: bool,
        properties: Properties | None,
    ) -> Delivery:
        """Check and encode a message, so that its size is known before `send`.

        Raises:
            MqttLimitError: The broker does not accept such a message.
            ValueError: An argument violates the standard.
        """
        head, tail = encode_publish(
            topic, payload, qos, retain, properties, self.version, CLIENT
        )
        size = packet_size(qos, head, tail)
        if self._is_connected and not self._negotiated.limits.allow_any_publish:
            self._negotiated.limits.check(head[0], size)
        delivery = Delivery(topic, payload, qos, retain, None, size, head, tail)
        if properties is not None:
            delivery.alias = properties.topic_alias or 0
            delivery.properties = copied_properties(properties)
        return delivery

    def send(self, delivery: Delivery, now: float) -> Delivery | None:
        """Publish a message that `prepare` returned (§3.3).

        Args:
            delivery: The message; it can be sent once.
            now: The time, at which the Message Expiry Interval begins, unless the
                caller has begun it.

        Returns:
            None at QoS 0: the message is written. At QoS 1 and 2, and at QoS 0 while
            others with QoS 0 wait, the Delivery, which becomes a happening when its
            flow is complete or its session ends; `withdraw` takes it back as long as it
            has not been written.

        Raises:
            MqttCodeError: There is no connection, or too many are unfinished.
            MqttLimitError: The broker does not accept such a message.
            ValueError: Its topic alias has no topic, or exceeds the broker's maximum.
        """
        self._check_connected()
        negotiated, qos, first = self._negotiated, delivery.qos, delivery.head[0]
        if delivery.alias:
            negotiated.resolve_alias(delivery, now)
        if not negotiated.limits.allow_any_publish:
            negotiated.limits.check(first, delivery.size)
        self.check_unfinished(qos)
        if delivery.expires is None:
            delivery.start_expiry(now)
        else:
            delivery.head, delivery.tail = negotiated.encode(delivery, now)
        if delivery.alias:
            negotiated.keep_alias(delivery)
        self.added_size = delivery.size
        self.counts.messages_published += 1
        outbound = self.session.outbound
        if qos or outbound.queued_qos0:
            outbound.send(delivery, self._pending.data, now)
            return delivery
        if delivery.alias:
            delivery.head, delivery.tail = negotiated.encode(delivery, now)
        self._pending.data.append(delivery.head)
        self._pending.data.append(delivery.tail)
        return None

    def enqueue(self, delivery: Delivery, now: float) -> None:
        """Accept a message without a connection: see `Session.enqueue`.

        Raises:
            MqttCodeError: Too many are unfinished.
            ValueError: It has a topic alias and no topic. Nothing has changed.
        """
        self.check_unfinished(delivery.qos)
        self.session.enqueue(delivery, now)
        self.counts.messages_published += 1

    def accept(self, delivery: Delivery, now: float) -> None:
        """Publish a message that the program has stored: it can't be refused any more.

        It becomes a happening when it ends, also if that is because the broker does not
        accept it.

        Args:
            delivery: The message, as `prepare` returned it, with QoS 1 or 2.
            now: The time.
        """
        self.counts.messages_published += 1
        if not self._is_connected:
            self.session.enqueue(delivery, now)
            return
        # What was encoded may be of an earlier connection.
        delivery.alias = 0
        delivery.head = delivery.tail = b""
        outbound = self.session.outbound
        code = self._negotiated.refusal(delivery, now)
        if code:
            self._pending.add(outbound.refuse(delivery, ReasonCode(code)))
        else:
            outbound.send(delivery, self._pending.data, now)

    def check_unfinished(self, qos: int, others: int = 0) -> None:
        """Raise MqttCodeError if too many messages of QoS 1 and 2 are unfinished.

        Args:
            qos: The QoS of the next one.
            others: How many others come before it.
        """
        maximum = self.settings.maximum_queued
        if not qos or maximum is None:
            return
        outbound = self.session.outbound
        unfinished = len(outbound) + outbound.behind - outbound.queued_qos0 + others
        if unfinished >= maximum:
            msg = f"Could not publish message: {maximum} are unfinished already"
            raise MqttCodeError(QUEUE_FULL, msg)

    def withdraw(self, delivery: Delivery, now: float, state: int = WITHDRAWN) -> bool:
        """Withdraw a publish; False: its bytes may have left, so its flow continues.

        It ends in the given state: see `Outbound.withdraw`. What waited behind it may
        leave, with what the time `now` leaves of its expiry.
        """
        if not self.session.outbound.withdraw(delivery, state):
            return False
        self._pending.add(delivery)
        self._pump(now)
        return True

    def drop(self, delivery: Delivery, now: float) -> bool:
        """Forget an unfinished publish; False: it is done, or not of this session.

        Its bytes may have left: see `Outbound.drop`. Others may leave: see `withdraw`.
        """
        if not self.session.outbound.drop(delivery):
            return False
        self._pending.add(delivery)
        # A packet identifier may be free again.
        self._pump(now)
        return True

    def drop_all(self, now: float) -> int:
        """Forget all unfinished publishes, see `drop`; return their number.

        Those that only the store has end when they have been read.
        """
        outbound = self.session.outbound
        outbound.drops_behind = outbound.behind > 0
        unfinished = outbound.unfinished()
        return outbound.behind + sum(self.drop(one, now) for one in unfinished)

    def _pump(self, now: float) -> None:
        """Write what waits, as far as it may leave; report what has ended with that."""
        outbound = self.session.outbound
        outbound.pump(self._pending.data, now)
        if outbound.ended:
            self._pending.add_all(outbound.take_ended())

    def subscribe(
        self,
        subscriptions: list[tuple[str, SubscribeOptions]],
        properties: Properties | None,
    ) -> Request:
        """Subscribe to topic filters with one SUBSCRIBE (§3.8).

        Returns:
            The Request, which becomes a happening when the SUBACK comes or the
            connection ends. A continuous engine keeps it for the next connection.

        Raises:
            MqttCodeError: There is no connection, and the engine is not continuous.
            MqttLimitError: The broker does not support such a subscription.
            ValueError: An argument violates the standard. Nothing has changed.
        """
        return self._request(to_subscribe(subscriptions, properties, self.version))

    def unsubscribe(self, filters: list[str], properties: Properties | None) -> Request:
        """Unsubscribe from topic filters with one UNSUBSCRIBE (§3.10).

        Returns and raises like `subscribe`.
        """
        return self._request(to_unsubscribe(filters, properties, self.version))

    def _request(self, request: Request) -> Request:
        self.added_size = 0
        if self.is_continuous and not self._is_connected:
            self._continued().keep(request)
            return request
        self._check_connected()
        self._negotiated.limits.check_request(request)
        outbound = self.session.outbound
        if not self._requests.write(request, outbound, self._pending.data):
            msg = "All 65535 packet identifiers are in use"
            raise MqttError(msg)
        self.added_size = len(request.packet)
        return request

    def abandon(self, request: Request) -> bool:
        """Note that no caller waits for a request: no later connection repeats it.

        Returns:
            True: it was kept for a connection, and has ended. False: it is written on
            this connection, or done.
        """
        request.is_abandoned = True
        if self._continuation is None or not self._continuation.abandon(request):
            return False
        self._pending.add(request)
        return True

    def _continued(self) -> "Continuation":
        if self._continuation is None:
            from .continuation import Continuation

            self._continuation = Continuation(
                self.session, self._requests, self.version
            )
        return self._continuation

    def _check_connected(self) -> None:
        if not self._is_connected:
            raise not_connected()
