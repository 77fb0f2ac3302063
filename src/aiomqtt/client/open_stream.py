"""A stream from when it is opened until it is left, and its entries in SUBSCRIBEs.

Streams that want the same filter share its entry of a SUBSCRIBE.
"""

from aiomqtt.escaping import quote
from aiomqtt.exceptions import MqttCodeError
from aiomqtt.properties import Properties, ReasonCode, SubscribeOptions
from aiomqtt.protocol.requests import Request
from aiomqtt.standard.names import FIRST_FAILURE
from aiomqtt.streams.routed import RoutedFilter, RoutedQueue
from aiomqtt.streams.router import Router

from .calls import Calls
from .waiters import Waiter, resolve

Subscription = tuple[str, SubscribeOptions]


class OpenStream:
    """A stream from when it is opened until it is left.

    Args:
        subscriptions: Its topic filters with their options; each filter once.
        properties: The properties of its SUBSCRIBE, or None.
        queue: Its queue.
        waiter: Resolves when the broker has answered.

    Attributes:
        requests: The SUBSCRIBE packets for it, each with all its entries.
        refused: The filters that the broker has refused, with its codes.
    """

    def __init__(
        self,
        subscriptions: list[Subscription],
        properties: Properties | None,
        queue: RoutedQueue,
        waiter: Waiter,
    ) -> None:
        self.subscriptions = subscriptions
        self.properties = properties
        self.queue = queue
        self.requests: dict[Request, list[SubscribeEntry]] = {}
        self.refused: list[tuple[str, ReasonCode]] = []
        self.wait(waiter, len(subscriptions))

    def wait(self, waiter: Waiter, unanswered: int) -> None:
        """Resolve a waiter when the broker has answered so many filters."""
        self.waiter = waiter
        self._unanswered = unanswered

    def abandon(self, calls: Calls) -> bool:
        """Let no later connection repeat a SUBSCRIBE that no other stream needs.

        Returns:
            Whether there is one that others need: it has the filters of this stream.
        """
        is_needed = False
        for request, entries in self.requests.items():
            for entry in entries:
                if self in entry.streams:
                    entry.streams.remove(self)
            if any(entry.is_needed for entry in entries):
                is_needed = True
            else:
                calls.abandon_request(request)
        return is_needed

    def on_answer(self) -> None:
        """Note that the broker has answered for one filter."""
        self._unanswered -= 1
        if not self._unanswered:
            resolve(self.waiter, None)


class SubscribeEntry:
    """What a SUBSCRIBE says about one filter, and for which streams it is.

    Args:
        routed: The filter.
        is_renewal: Whether the broker has it already, without its identifier.

    Attributes:
        streams: The streams that wait for the answer.
    """

    def __init__(self, routed: RoutedFilter, is_renewal: bool = False) -> None:
        self.routed = routed
        self.is_renewal = is_renewal
        self.streams: list[OpenStream] = []

    @property
    def options(self) -> SubscribeOptions:
        """The options for the SUBSCRIBE."""
        options = self.routed.options or SubscribeOptions()
        if self.is_renewal and not options.retain_handling:
            # Its retained messages came before.
            return SubscribeOptions(
                options.qos, options.no_local, options.retain_as_published, 1
            )
        return options

    @property
    def is_needed(self) -> bool:
        """Whether an open stream waits for it, or is better off with it."""
        return bool(self.streams) or self.is_renewal

    def on_refusal(self, router: Router) -> None:
        """Note that the broker does not grant it."""
        if self.is_renewal:
            router.set_identifier(self.routed, 0)


def merged(options: SubscribeOptions, routed: RoutedFilter) -> SubscribeOptions:
    """Return options that are enough for all who want the messages of a filter."""
    others = routed.options
    if others is None or len(routed.queues) < 2:
        return options
    return SubscribeOptions(
        max(options.qos, others.qos),
        options.no_local and others.no_local,
        options.retain_as_published or others.retain_as_published,
        options.retain_handling,
    )


def settle(router: Router, request: Request, portion: list[SubscribeEntry]) -> None:
    """Tell the streams of a SUBSCRIBE what was granted and what was refused."""
    for entry, code in zip(portion, request.reason_codes, strict=True):
        is_refused = code >= FIRST_FAILURE
        if is_refused:
            entry.on_refusal(router)
        else:
            entry.routed.is_granted = True
        for stream in entry.streams:
            if is_refused:
                stream.refused.append((entry.routed.name, code))
            stream.on_answer()


def to_error(refused: list[tuple[str, ReasonCode]]) -> MqttCodeError:
    """Return the error for filters that the broker has refused."""
    shown = ", ".join(f"{quote(name, 80)} ({code.getName()})" for name, code in refused)
    return MqttCodeError(refused[0][1], f"The broker refused to subscribe to {shown}")
