"""What the router knows about the queues of streams and about their topic filters."""

from collections.abc import Callable
from typing import Final

from aiomqtt.message import Message
from aiomqtt.properties import SubscribeOptions
from aiomqtt.topic import split_shared

from .stream import MessageStream

# How many retained messages a stream has to have received before it forgets which.
MOST_RETAINED: Final = 10_000


class RoutedQueue:
    """The queue of a stream, and what the router knows about it.

    Args:
        stream: The messages that wait for the program.
        has_room_again: Called when the queue has room again.

    Attributes:
        stream: The messages that wait for the program.
        filters: The topic filters that the stream has subscribed to.
        keeps_retain: Whether messages have the Retain flag with which they were
            published, so that it does not tell whether a SUBSCRIBE caused them.
        retained: The retained messages that it got on this connection: by topic, the
            hash of the payload and the number of the SUBSCRIBE at that time.
    """

    __slots__ = (
        "_has_room_again",
        "batch",
        "filters",
        "is_simple",
        "keeps_retain",
        "retained",
        "size",
        "stream",
    )

    def __init__(
        self,
        stream: MessageStream,
        has_room_again: "Callable[[RoutedQueue], None]",
    ) -> None:
        self._has_room_again: Callable[[RoutedQueue], None] = has_room_again
        self.stream: MessageStream = stream
        # Whether a single message can be delivered in a faster way.
        self.is_simple: bool = type(stream) is MessageStream
        self.filters: list[RoutedFilter] = []
        self.keeps_retain: bool = False
        # Valid for the connection; None: none came.
        self.retained: dict[str, tuple[int, int]] | None = None
        # Valid during a delivery: the messages for it, and their size.
        self.batch: list[Message] = []
        self.size: int = 0

    def on_room(self) -> None:
        """Note that the queue has room again."""
        self._has_room_again(self)

    def note_retained(self, message: Message, subscribes: int) -> bool:
        """Return whether it has got a retained message before, and note that it has.

        The SUBSCRIBE of another stream makes the broker send retained messages again.

        Args:
            message: The message.
            subscribes: How many SUBSCRIBE packets have caused such messages so far.
        """
        if self.keeps_retain:
            return False
        retained = self.retained
        if retained is None or len(retained) >= MOST_RETAINED:
            retained = self.retained = {}
        known = retained.get(message.topic.value)
        digest = hash(message.payload)
        retained[message.topic.value] = (digest, subscribes)
        return known is not None and known[0] == digest and known[1] < subscribes


class RoutedFilter:
    """A topic filter that streams, or calls of `Client.subscribe`, have subscribed to.

    Args:
        name: The topic filter, as in the SUBSCRIBE.

    Attributes:
        name: The topic filter, as in the SUBSCRIBE.
        topic_filter: The same without a share name: what topics are compared with.
        has_wildcard: Whether it has a wildcard.
        queues: The queues of these streams, and for such a call the default queue. None
            are left from when the last stream was left until the UNSUBACK comes.
        options: The options of its last SUBSCRIBE, or None.
        identifier: The Subscription Identifier, if it overlaps another; 0: none.
        is_requested: Whether a SUBSCRIBE was written for it.
        is_sent: Whether a SUBSCRIBE of a stream has left for it.
        is_granted: Whether the broker has granted it.
    """

    __slots__ = (
        "has_wildcard",
        "identifier",
        "is_granted",
        "is_requested",
        "is_sent",
        "name",
        "options",
        "queues",
        "topic_filter",
    )

    def __init__(self, name: str) -> None:
        self.name: str = name
        self.topic_filter: str = split_shared(name)[1]
        self.has_wildcard: bool = "+" in self.topic_filter or "#" in self.topic_filter
        self.queues: list[RoutedQueue] = []
        self.options: SubscribeOptions | None = None
        self.identifier: int = 0
        self.is_requested: bool = False
        self.is_sent: bool = False
        self.is_granted: bool = False
