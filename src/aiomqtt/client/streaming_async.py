"""Streams: the messages of some topic filters, for one part of the program."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, overload

from aiomqtt.argument_checks import check_type
from aiomqtt.exceptions import MqttError
from aiomqtt.message import Message, PendingAck
from aiomqtt.paho import to_properties
from aiomqtt.properties import Properties, SubscribeOptions
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.protocol.engine_calls import not_connected
from aiomqtt.protocol.packets import Subscribe
from aiomqtt.standard.tables import Role
from aiomqtt.streams.stream import MessageStream
from aiomqtt.types import PropertiesLike, SubscribeOptionsLike, Subscription

from .arguments import check_timeout, to_subscriptions
from .calls import Calls
from .calls_async import wait_for_answer
from .fields import ClientFields
from .incoming_arguments import (
    PAUSE,
    RECEIVE,
    check_ack,
    check_overflow,
    make_stream,
    set_mode,
)

if TYPE_CHECKING:
    from aiomqtt.streams.parsing import ParsedMessage, Parser
    from aiomqtt.streams.subscription import Stream

    from .open_stream import OpenStream
    from .subscriptions import Subscriptions

T = TypeVar("T")
CLIENT: Final = Role.CLIENT


class Streaming(ClientFields):
    """Opens streams of a client."""

    @overload
    def stream(
        self,
        *filters: Subscription,
        qos: int = 0,
        options: SubscribeOptionsLike | None = None,
        properties: PropertiesLike | None = None,
        parse: None = None,
        max_messages: int | None = None,
        max_bytes: int | None = None,
        ack: Literal["receive", "processed", "manual"] | None = None,
        overflow: Literal["pause", "drop_oldest", "drop_newest"] | None = None,
        timeout: float | None = None,
    ) -> "AbstractAsyncContextManager[Stream[Message]]": ...

    @overload
    def stream(
        self,
        *filters: Subscription,
        qos: int = 0,
        options: SubscribeOptionsLike | None = None,
        properties: PropertiesLike | None = None,
        parse: "Parser[T]",
        max_messages: int | None = None,
        max_bytes: int | None = None,
        ack: Literal["receive", "processed", "manual"] | None = None,
        overflow: Literal["pause", "drop_oldest", "drop_newest"] | None = None,
        timeout: float | None = None,
    ) -> "AbstractAsyncContextManager[Stream[ParsedMessage[T]]]": ...

    def stream(
        self,
        *filters: Subscription,
        qos: int = 0,
        options: SubscribeOptionsLike | None = None,
        properties: PropertiesLike | None = None,
        parse: "Parser[T] | None" = None,
        max_messages: int | None = None,
        max_bytes: int | None = None,
        ack: Literal["receive", "processed", "manual"] | None = None,
        overflow: Literal["pause", "drop_oldest", "drop_newest"] | None = None,
        timeout: float | None = None,
    ) -> "AbstractAsyncContextManager[Stream[Any]]":
        """Subscribe for a stream of messages, within ``async with`` (MQTT 5.0 §3.8).

        Entering subscribes, and returns the `Stream` when the broker has answered. It
        has the messages whose topic matches one of the filters, each once, and each
        stream has its own. `messages` has those that calls of `subscribe` asked for,
        and those that nobody did; of the latter, those that wait there and match move
        to the stream. Leaving unsubscribes from the filters that no other stream and no
        call of `subscribe` needs, and returns when the broker has answered.

        Streams that are opened in the same turn of the event loop share SUBSCRIBE
        packets. If the connection ends, the stream ends as `messages` does.

        Entering raises MqttCodeError if the broker refuses a filter, or if there is no
        connection, and MqttError if that ends or after the timeout. After an error or a
        cancellation the stream is not open, and its messages are in `messages`.

        Args:
            *filters: The topic filters; each may be a tuple of a filter and its QoS or
                its SubscribeOptions. ``$share/<group>/<filter>`` is a shared
                subscription (MQTT 5.0 §4.8.2).
            qos: The maximum QoS for filters that come without one.
            options: The options (5.0 only) for filters that come without; ``None``:
                the defaults, with `qos`.
            properties: The properties of the SUBSCRIBE (5.0 only), without a
                subscription identifier; ``None``: none.
            parse: Makes the `value` of each message of its payload: a callable; a class
                with a constructor that takes bytes, such as ``int``; ``str``, for
                UTF-8; or, from JSON, a model or TypeAdapter of pydantic, a Struct of
                msgspec, or a dataclass if msgspec or pydantic is installed. ``None``:
                messages have no value.
            max_messages: How many messages may wait in the stream; ``None``: 65,536.
            max_bytes: The same in bytes of memory, about; ``None``: 64 MiB.
            ack: When its messages with QoS 1 and 2 are acknowledged: "receive",
                "processed" or "manual", as for `Client`; ``None``: as by the client.
                A message of several streams is acknowledged when all have done so.
                Leaving the stream without an exception acknowledges what waits in it,
                and with "processed" what it returned last.
            overflow: What happens above these bounds: "pause", reading from the broker
                pauses, for all streams; "drop_oldest" or "drop_newest", as for
                `Client`. ``None``: "pause".
            timeout: How many seconds entering may wait, and leaving again; ``None``:
                the client's timeout; ``math.inf``: forever.

        Raises:
            ValueError: An argument violates a rule; nothing was sent.
            TypeError: An argument has a wrong type; nothing was sent.
        """
        if not filters:
            msg = 'stream needs at least one topic filter, as in stream("a/#")'
            raise ValueError(msg)
        # Each filter once, as the broker has one subscription for it.
        subscriptions = [*dict(to_subscriptions([*filters], qos, options)).items()]
        properties = to_properties("properties", properties)
        if properties is not None and properties.subscription_identifier:
            msg = "stream does without subscription_identifier: it has the messages"
            raise ValueError(msg)
        encode(Subscribe(1, subscriptions, properties), self._engine.version, CLIENT)
        parser = None
        if parse is not None:
            from aiomqtt.streams.parsing import to_parser

            parser = to_parser(parse)
        if (
            ack is not None
            and check_ack(ack) != RECEIVE
            and not _has_acks(subscriptions)
        ):
            msg = f'ack="{ack}" needs a QoS of 1 or 2: QoS 0 has no acknowledgement'
            raise ValueError(msg)
        queue = make_stream(
            _to_maximum("max_messages", max_messages),
            _to_maximum("max_bytes", max_bytes),
            check_overflow(overflow) or PAUSE,
            self._logger,
        )
        queue.is_late = self._stream.is_late
        queue.is_processed = self._stream.is_processed
        if ack is not None:
            set_mode(queue, ack)
        if timeout is not None:
            check_timeout(timeout)
        return self._stream_of(queue, parser, subscriptions, properties, timeout)

    @asynccontextmanager
    async def _stream_of(
        self,
        queue: MessageStream,
        parser: "Callable[[bytes], Any] | None",
        subscriptions: list[tuple[str, SubscribeOptions]],
        properties: Properties | None,
        timeout: float | None,
    ) -> "AsyncIterator[Stream[Any]]":
        from aiomqtt.streams.subscription import Stream

        calls = self._calls
        if calls is None:
            raise not_connected()
        calls.check_loop()
        known = self._to_subscriptions(calls)
        seconds = self.timeout if timeout is None else timeout
        opened = await self._open(
            calls, known, queue, subscriptions, properties, seconds
        )
        in_hand: set[PendingAck] | None = set() if queue.is_processed else None
        stream: Stream[Any] = Stream(queue, in_hand)
        if parser is not None:
            from aiomqtt.streams.parsing import ParsedStream

            stream = ParsedStream(queue, parser, in_hand)
        try:
            yield stream
        except BaseException:
            known.close(opened, None)
            raise
        seconds = self.timeout if timeout is None else timeout
        waiter = calls.waiter(seconds)
        known.close(opened, waiter)
        # The program is done with it. Otherwise these would hold back others.
        for ticket in in_hand or ():
            ticket.finish()
        if queue.is_late:
            queue.finish()
        try:
            await wait_for_answer(
                calls, waiter, f"no UNSUBACK came in {seconds} seconds"
            )
        except MqttError as error:
            # The program has what it wanted; if the connection is over, it learns that
            # from what it does next.
            self._logger.debug("A stream was left, but not unsubscribed: %s", error)

    def _to_subscriptions(self, calls: Calls) -> "Subscriptions":
        """Return the subscriptions of streams; the first stream creates them."""
        known = self._subscriptions
        if known is None:
            # Programs without streams don't load it.
            from .subscriptions import Subscriptions

            known = Subscriptions(self._engine, self._stream, self._plain)
            self._subscriptions = known
            self._router = known.router
        known.begin(calls)
        return known

    async def _open(
        self,
        calls: Calls,
        known: "Subscriptions",
        queue: MessageStream,
        subscriptions: list[tuple[str, SubscribeOptions]],
        properties: Properties | None,
        seconds: float,
    ) -> "OpenStream":
        slots = self._call_slots
        if slots is not None:
            await slots.acquire()
        try:
            waiter = calls.waiter(seconds)
            opened = known.open(queue, subscriptions, properties, waiter)
            try:
                what = f"no SUBACK came within {seconds} seconds"
                await wait_for_answer(calls, waiter, what)
                if opened.refused:
                    from .open_stream import to_error

                    raise to_error(opened.refused)
            except BaseException:
                known.give_up(opened)
                raise
        finally:
            if slots is not None:
                slots.release()
        return opened


def _has_acks(subscriptions: list[tuple[str, SubscribeOptions]]) -> bool:
    return any(options.qos for _, options in subscriptions)


def _to_maximum(name: str, value: int | None) -> int | None:
    check_type(name, value, int, type(None))
    if value is not None and value < 1:
        msg = f"{name} must be at least 1, or None for the default, not {value}"
        raise ValueError(msg)
    return value
