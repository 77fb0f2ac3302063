"""The subscriptions of a client's streams, and what is sent to the broker for them.

Streams that are opened in the same turn of the event loop share SUBSCRIBE packets.
"""

import asyncio
from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from typing import TypeVar

from aiomqtt.exceptions import MqttError
from aiomqtt.properties import Properties, ReasonCode, SubscribeOptions
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.protocol.engine import Engine
from aiomqtt.protocol.negotiated import ServerLimits
from aiomqtt.protocol.packets import Subscribe
from aiomqtt.protocol.requests import (
    Request,
    head_size,
    most_in_suback,
    to_portions,
)
from aiomqtt.standard.names import V5
from aiomqtt.standard.tables import Role
from aiomqtt.streams.identifiers import to_common_identifier
from aiomqtt.streams.routed import RoutedFilter
from aiomqtt.streams.router import Router
from aiomqtt.streams.stream import MessageStream

from .calls import Calls
from .open_stream import (
    OpenStream,
    SubscribeEntry,
    Subscription,
    merged,
    settle,
    to_error,
)
from .waiters import Waiter, copy_error, resolve

Item = TypeVar("Item")


class Subscriptions:
    """Subscribes when streams are opened, and unsubscribes when none needs a filter.

    Args:
        engine: The engine.
        default: The queue of messages that no stream wants.
        plain: The filters that `Client.subscribe` has subscribed to, or may have, with
            their options and Subscription Identifiers (0: none).
    """

    def __init__(
        self,
        engine: Engine,
        default: MessageStream,
        plain: dict[str, tuple[SubscribeOptions, int]],
    ) -> None:
        # Valid as long as the client.
        self._engine = engine
        self._plain = plain
        self.router: Router = Router(default)
        # Valid from entering to leaving.
        self._calls: Calls | None = None
        # Valid until the end of this turn of the loop: the streams to open, and the
        # filters that no stream wants any more, with the stream that was left.
        self._opened: list[OpenStream] = []
        self._unwanted: list[tuple[RoutedFilter, OpenStream]] = []
        self._flush: asyncio.Handle | None = None

    def begin(self, calls: Calls) -> None:
        """Begin to use the calls of a client that was entered."""
        if self._calls is calls:
            return
        self._calls = calls
        self._opened = []
        self._unwanted = []
        self._flush = None
        for routed in self.router.route_default(self._plain):
            options, identifier = self._plain[routed.name]
            routed.options = options
            routed.on_subscribe()
            routed.is_granted = routed.name in self._engine.session.subscriptions
            self.router.set_identifier(routed, identifier)
        calls.sink = self.router
        if calls.is_connected:
            self.router.open(calls.resume_reading)

    # --- streams --------------------------------------------------------------------

    def open(
        self,
        stream: MessageStream,
        subscriptions: list[Subscription],
        properties: Properties | None,
        waiter: Waiter,
    ) -> OpenStream:
        """Open a stream: its SUBSCRIBE leaves at the end of this turn of the loop."""
        queue = self.router.add(stream)
        if stream.is_late:
            assert self._calls is not None
            self.router.has_tickets = True
            self._calls.let_program_acknowledge()
        opened = OpenStream(subscriptions, properties, queue, waiter)
        self._opened.append(opened)
        self._plan_flush()
        return opened

    def close(self, opened: OpenStream, waiter: Waiter | None) -> None:
        """Close a stream: unsubscribe from what neither a stream nor a call needs.

        Args:
            opened: The stream.
            waiter: Resolves when the broker has answered; None: nobody waits for that,
                and the UNSUBSCRIBE leaves at once.
        """
        if opened in self._opened:
            self._opened.remove(opened)
        if any(request.was_written for request in opened.requests):
            for routed in opened.queue.filters:
                routed.is_sent = True
        left = self.router.remove(opened.queue)
        opened.queue.stream.close(MqttError("The stream was left"))
        if self._calls is not None and opened.abandon(self._calls):
            for routed in left:
                routed.is_sent = True
        self._check_others()
        unwanted = 0
        for routed in left:
            if self._may_have(routed) and not self._is_wanted(routed.name):
                self._unwanted.append((routed, opened))
                unwanted += 1
            else:
                self.router.drop(routed)
        if waiter is None:
            self._unsubscribe()
        elif unwanted:
            opened.wait(waiter, unwanted)
            self._plan_flush()
        else:
            resolve(waiter, None)

    def give_up(self, opened: OpenStream) -> None:
        """Close a stream that could not be opened; its messages are not lost."""
        self.close(opened, None)
        self.router.give_back(opened.queue)

    def _may_have(self, routed: RoutedFilter) -> bool:
        """Return whether the broker may have a subscription for a filter."""
        return routed.is_sent or routed.name in self._engine.session.subscriptions

    def _is_wanted(self, name: str) -> bool:
        """Return whether a stream or a call of `Client.subscribe` wants a filter."""
        return name in self._plain or self.router.is_wanted(name)

    def needs(self, name: str) -> bool:
        """Return whether an open stream has subscribed to a filter."""
        return self.router.is_wanted(name) or any(
            name == each for stream in self._opened for each, _ in stream.subscriptions
        )

    def _check_others(self) -> None:
        """Note whether messages may come for filters that the client does not know."""
        connack = self._engine.connack
        self.router.has_others = connack is None or connack.session_present

    def _plan_flush(self) -> None:
        if self._flush is None:
            loop = asyncio.get_running_loop()
            self._flush = loop.call_soon(self._flush_all, self._calls)

    def _flush_all(self, calls: Calls | None) -> None:
        """Route to the streams that were opened, then write what the broker needs."""
        if calls is not self._calls:
            # The client was left meanwhile, and entered again.
            return
        self._flush = None
        opened, self._opened = self._opened, []
        entries: dict[tuple[str, OpenStream | None], SubscribeEntry] = {}
        for stream in opened:
            if not stream.waiter.done():
                self._route(stream, entries)
        renewed = self._identify([entry.routed for entry in entries.values()])
        self._unsubscribe()
        self._renew(renewed)
        self._subscribe([*entries.values()])

    def _route(
        self,
        stream: OpenStream,
        entries: dict[tuple[str, OpenStream | None], SubscribeEntry],
    ) -> None:
        """Route to a stream, and add what has to be subscribed to."""
        names = [name for name, _ in stream.subscriptions]
        filters = self.router.route(stream.queue, names)
        for routed, (name, options) in zip(filters, stream.subscriptions, strict=True):
            options = merged(options, routed)
            # Only its own SUBSCRIBE can have the properties of a stream.
            owner = None if stream.properties is None else stream
            entry = entries.setdefault((name, owner), SubscribeEntry(routed))
            entry.streams.append(stream)
            routed.options = options

    # --- requests -------------------------------------------------------------------

    def _unsubscribe(self) -> None:
        """Write the UNSUBSCRIBE packets for what is still unwanted."""
        unwanted, self._unwanted = self._unwanted, []
        needless = [pair for pair in unwanted if self._is_wanted(pair[0].name)]
        _on_unsuback(self.router, needless)
        unwanted = [pair for pair in unwanted if pair not in needless]
        head = head_size(self._engine.version, 0)
        for portion in self._portions(unwanted, head, lambda pair: pair[0].name):
            names = [*dict.fromkeys(routed.name for routed, _ in portion)]
            try:
                request = self._engine.unsubscribe(names, None)
            except MqttError:
                # There is no connection, so nothing more comes.
                _on_unsuback(self.router, portion)
                continue
            answer = self._send(request)
            answer.add_done_callback(partial(_on_unsuback, self.router, portion))

    def _subscribe(self, entries: list[SubscribeEntry]) -> None:
        """Write SUBSCRIBE packets; those without properties of a stream share them.

        A stream's filters are subscribed to in the order of their identifiers: see
        `Router`.
        """
        groups: dict[tuple[int, OpenStream | None], list[SubscribeEntry]] = {}
        has_identifiers = self._has_identifiers
        for entry in entries:
            if not has_identifiers:
                # The one from another broker.
                self.router.set_identifier(entry.routed, 0)
            stream = entry.streams[0] if entry.streams else None
            if stream is not None and stream.properties is None:
                stream = None
            groups.setdefault((entry.routed.identifier, stream), []).append(entry)
        for identifier, stream in sorted(groups, key=lambda group: group[0]):
            properties = None if stream is None else stream.properties
            head = head_size(self._engine.version, identifier)
            if identifier:
                properties = Properties() if properties is None else copy(properties)
                properties.subscription_identifier = [identifier]
            group = groups[identifier, stream]
            if stream is not None:
                first = (group[0].routed.name, group[0].options)
                packet = Subscribe(1, [first], properties)
                # More than the head, as it has a filter.
                head = len(encode(packet, self._engine.version, Role.CLIENT))
            for portion in self._portions(group, head, lambda entry: entry.routed.name):
                self._write(portion, properties)

    def _write(
        self, portion: list[SubscribeEntry], properties: Properties | None
    ) -> None:
        """Write a SUBSCRIBE; if the broker does not allow it, find out for whom."""
        assert self._calls is not None
        subscriptions = [(entry.routed.name, entry.options) for entry in portion]
        try:
            request = self._engine.subscribe(subscriptions, properties)
        except MqttError as error:
            if len(portion) > 1:
                for entry in portion:
                    self._write([entry], properties)
                return
            error.__cause__ = self._calls.error
            for stream in portion[0].streams:
                # Each raises its own.
                resolve(stream.waiter, copy_error(error))
            portion[0].on_refusal(self.router)
            return
        for entry in portion:
            entry.routed.on_subscribe()
            for stream in entry.streams:
                stream.requests[request] = portion
        answer = self._send(request)
        on_answer = partial(self._on_suback, self._calls, request, portion)
        answer.add_done_callback(on_answer)

    def _on_suback(
        self, calls: Calls, request: Request, portion: list[SubscribeEntry], _: Waiter
    ) -> None:
        for entry in portion:
            for stream in entry.streams:
                stream.requests.pop(request, None)
                if request.was_written:
                    entry.routed.is_sent = True
        if request.is_answered:
            settle(self.router, request, portion)
        elif request.reason_codes and calls is self._calls:
            # The next connection forbids it: find out for which streams.
            needed = [entry for entry in portion if entry.is_needed]
            if len(needed) > 1 or (request.identifier and not self._has_identifiers):
                for entry in needed:
                    self._subscribe([entry])
            else:
                settle(self.router, request, portion)
        # Otherwise there is no connection, of which the streams learn elsewhere.

    # --- overlapping subscriptions ----------------------------------------------------

    def subscribe(
        self, subscriptions: list[Subscription], properties: Properties | None
    ) -> Request:
        """Subscribe for a call of `Client.subscribe`; see `Engine.subscribe`."""
        names = [name for name, _ in subscriptions]
        version = self._engine.version
        encode(Subscribe(1, subscriptions, properties), version, Role.CLIENT)
        known = {name for name in names if name in self._plain}
        filters = self.router.route_default(names)
        subscriptions = [
            (routed.name, merged(options, routed))
            for routed, (_, options) in zip(filters, subscriptions, strict=True)
        ]
        renewed = self._identify(filters)
        own = [] if properties is None else properties.subscription_identifier or []
        are_identified = any(routed.identifier for routed in filters)
        if not own and are_identified and self._has_identifiers:
            own = [to_common_identifier(names)]
            properties = Properties() if properties is None else copy(properties)
            properties.subscription_identifier = own
        self._renew(renewed)
        try:
            request = self._engine.subscribe(subscriptions, properties)
        except MqttError:
            self.router.unroute_default([name for name in names if name not in known])
            raise
        for routed, (_, options) in zip(filters, subscriptions, strict=True):
            self.router.set_identifier(routed, own[0] if own else 0)
            routed.options = options
            routed.on_subscribe()
        return request

    def on_refused_filters(self, refused: list[tuple[str, ReasonCode]]) -> None:
        """Note that a broker did not restore subscriptions: their streams end."""
        for name, code in refused:
            self.router.unroute_default([name])
            self.router.refuse(name, to_error([(name, code)]))

    def unsubscribe(self, names: list[str]) -> None:
        """Note that no call of `Client.subscribe` needs these filters any more."""
        self.router.unroute_default(names)

    def _identify(self, filters: list[RoutedFilter]) -> list[RoutedFilter]:
        """Give identifiers to filters that overlap others; return what to renew."""
        renewed = dict[RoutedFilter, None]()
        if self._engine.version < V5 or self._engine.connack is None:
            return []
        if not self._has_identifiers:
            return []
        for routed in filters:
            renewed.update(dict.fromkeys(self.router.identify(routed)))
        for routed in filters:
            renewed.pop(routed, None)
        return [*renewed]

    @property
    def _has_identifiers(self) -> bool:
        """Whether the broker of the last connection allows identifiers."""
        return ServerLimits(self._engine.connack).identifiers

    def _renew(self, filters: list[RoutedFilter]) -> None:
        """Subscribe again, so that messages come with an identifier from now on."""
        self._subscribe([SubscribeEntry(routed, is_renewal=True) for routed in filters])

    def _send(self, request: Request) -> Waiter:
        """Send a request; return a future that resolves when it is done."""
        assert self._calls is not None
        answer: Waiter = asyncio.get_running_loop().create_future()
        request.observer = answer
        self._calls.push()
        return answer

    def _portions(
        self, items: Sequence[Item], head_size: int, to_name: Callable[[Item], str]
    ) -> list[list[Item]]:
        """Divide what is requested among as few packets as the limits allow."""
        own = self._engine.settings.properties
        own_maximum = None if own is None else own.maximum_packet_size
        most_bytes = ServerLimits(self._engine.connack).maximum_packet_size
        most_filters = most_in_suback(own_maximum)
        return to_portions(items, to_name, head_size, most_bytes, most_filters)


def _on_unsuback(
    router: Router,
    portion: list[tuple[RoutedFilter, OpenStream]],
    _: Waiter | None = None,
) -> None:
    for routed, stream in portion:
        router.drop(routed)
        stream.on_answer()
