"""Subscribing: the methods of the client that request something of the broker."""

from collections.abc import Callable

from aiomqtt.paho import to_properties
from aiomqtt.properties import ReasonCode, SubscribeOptions
from aiomqtt.protocol.requests import Request
from aiomqtt.standard.names import FIRST_FAILURE
from aiomqtt.standard.tables import ProtocolVersion
from aiomqtt.topic import to_text
from aiomqtt.types import (
    PropertiesLike,
    SubscribeOptionsLike,
    SubscribeTopic,
    UnsubscribeTopic,
)

from .arguments import check_timeout, to_subscriptions
from .calls_async import request
from .fields import ClientFields


class Subscriber(ClientFields):
    """Subscribes a client to topic filters, and unsubscribes it."""

    async def subscribe(
        self,
        topic: SubscribeTopic,
        qos: int = 0,
        options: SubscribeOptionsLike | None = None,
        properties: PropertiesLike | None = None,
        *,
        timeout: float | None = None,
    ) -> tuple[int, ...] | list[ReasonCode]:
        """Subscribe to one or several topic filters (MQTT 5.0 §3.8).

        Returns when the broker has answered. After a cancellation or a timeout the
        subscription may still come into effect. Filters that the broker refuses are
        logged as a warning, and are no error.

        With `reconnect`, a call that finds no connection, or loses it before the answer
        came, goes on with the next one, within the timeout; what that one does not
        offer is refused with a reason code. After a timeout or a cancellation the call
        is not repeated on a later connection. If the broker loses the session, the
        client subscribes again to what it was granted.

        Args:
            topic: A topic filter; a tuple of a filter and its QoS or its
                SubscribeOptions; or a list of either.
            qos: The maximum QoS for filters that come without one.
            options: The options (5.0 only) for filters that come without; ``None``:
                the defaults, with `qos`.
            properties: The properties (5.0 only); ``None``: none.
            timeout: How many seconds to wait; ``None``: the client's timeout;
                ``math.inf``: forever.

        Returns:
            One answer for each filter, in their order: a tuple of granted QoS below
            5.0, a list of reason codes in 5.0. 0x80 and above is a refusal.

        Raises:
            ValueError: An argument violates a rule; nothing was sent.
            TypeError: An argument has a wrong type; nothing was sent.
            MqttCodeError: There is no connection (without `reconnect`), or the broker
                does not offer it.
            MqttError: The connection ended, or the call timed out.
        """
        subscriptions = to_subscriptions(topic, qos, options)
        properties = to_properties("properties", properties)

        made: list[Request] = []
        added: dict[str, tuple[SubscribeOptions, int]] = {}

        def make() -> Request:
            # The first stream may have been opened while this call waited for its turn.
            known = self._subscriptions
            if known is None or self._calls is None:
                request = self._engine.subscribe(subscriptions, properties)
            else:
                known.begin(self._calls)
                request = known.subscribe(subscriptions, properties)
            for name, options in zip(request.filters, request.options, strict=True):
                wanted = (options, request.identifier)
                if name not in self._plain:
                    added[name] = wanted
                self._plain[name] = wanted
            made.append(request)
            return request

        try:
            codes = await self._request(make, timeout)
        except BaseException:
            if made and not made[0].was_written:
                # The broker can't have them, unless another call has asked for them.
                plain = self._plain
                self._forget_plain([n for n in added if plain.get(n) is added[n]])
            raise
        answers = zip(made[0].filters, codes, strict=True)
        refused = [name for name, code in answers if code >= FIRST_FAILURE]
        self._forget_plain(refused)
        if self._engine.version >= ProtocolVersion.V5:
            return codes
        return tuple(codes)

    async def unsubscribe(
        self,
        topic: UnsubscribeTopic,
        properties: PropertiesLike | None = None,
        *,
        timeout: float | None = None,
    ) -> list[ReasonCode] | None:
        """Unsubscribe from one or several topic filters (MQTT 5.0 §3.10).

        Returns when the broker has answered. After a cancellation or a timeout the
        subscription may still end. Filters that the broker refuses are logged as a
        warning. A filter that an open stream has subscribed to stays subscribed until
        the stream is left; its code is 0.

        With `reconnect` it goes on with the next connection, as `subscribe` does.

        Args:
            topic: A topic filter, or a list of them.
            properties: The properties (5.0 only); ``None``: none.
            timeout: How many seconds to wait; ``None``: the client's timeout;
                ``math.inf``: forever.

        Returns:
            In 5.0 the reason codes, one for each filter, in their order; 0x80 and above
            is a refusal. ``None`` below 5.0, where the broker can't refuse.

        Raises:
            ValueError: An argument violates a rule; nothing was sent.
            TypeError: An argument has a wrong type; nothing was sent.
            MqttCodeError: There is no connection.
            MqttError: The connection ended, or the call timed out.
        """
        topics = topic if isinstance(topic, list | tuple) else [topic]
        filters = [to_text("topic", item) for item in topics]
        properties = to_properties("properties", properties)

        unneeded: list[str] = []

        def make() -> Request | None:
            # Streams may have been opened while this call waited for its turn.
            known = self._subscriptions
            unneeded[:] = [
                name for name in filters if known is None or not known.needs(name)
            ]
            request = None
            if unneeded or not filters:
                request = self._engine.unsubscribe(unneeded, properties)
            self._forget_plain(filters)
            return request

        codes = await self._request(make, timeout)
        if self._engine.version < ProtocolVersion.V5:
            return None
        if len(unneeded) < len(filters):
            rest = iter(codes)
            codes = [
                next(rest) if name in unneeded else ReasonCode(0) for name in filters
            ]
        return codes

    def _forget_plain(self, filters: list[str]) -> None:
        """Note that the program no longer needs these filters outside of streams."""
        for name in filters:
            self._plain.pop(name, None)
        if self._subscriptions is not None:
            self._subscriptions.unsubscribe(filters)

    async def _request(
        self, make: Callable[[], Request | None], timeout: float | None
    ) -> list[ReasonCode]:
        """Send a request, and return the reason codes of its answer."""
        seconds = self.timeout if timeout is None else check_timeout(timeout)
        slots = self._call_slots
        if slots is not None:
            await slots.acquire()
        try:
            return await request(
                self._calls, make, seconds, self.pending_calls_threshold
            )
        finally:
            if slots is not None:
                slots.release()
