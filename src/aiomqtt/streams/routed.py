"""What the router knows about the queues of streams and about their topic filters."""

from collections.abc import Callable
from typing import Final

from aiomqtt.message import Message
from aiomqtt.properties import SubscribeOptions
from aiomqtt.topic import split_shared

from .stream import MessageStream

# After so many retained messages, a stream or filter forgets which have come.
MOST_RETAINED: Final = 10_000


class RoutedQueue:
    """The queue of a stream, and what the router knows about it.

    Args:
        stream: The messages that wait for the program.
        has_room_again: Called when the queue has room again.

    Attributes:
        stream: The messages that wait for the program.
        filters: The topic filters that the stream has subscribed to.
        retained: The retained messages that it got on this connection: by topic, the
            hash of the payload.
    """

    __slots__ = (
        "_has_room_again",
        "batch",
        "filters",
        "is_simple",
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
        # Valid for the connection; None: none came.
        self.retained: dict[str, int] | None = None
        # Valid during a delivery: the messages for it, and their size.
        self.batch: list[Message] = []
        self.size: int = 0

    def on_room(self) -> None:
        """Note that the queue has room again."""
        self._has_room_again(self)

    def note_retained(self, message: Message) -> bool:
        """Note a retained message; return whether the last one was the same."""
        retained = self.retained
        if retained is None or len(retained) >= MOST_RETAINED:
            retained = self.retained = {}
        topic = message.topic.value
        known = retained.get(topic)
        retained[topic] = digest = hash(message.payload)
        return known == digest


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
        subscribes: How many SUBSCRIBE packets were written for it on this connection,
            each of which may cause a copy of each retained message.
        retained: How many of these copies have come, by topic.
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
        "retained",
        "subscribes",
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
        # Valid for the connection. None: none came.
        self.subscribes: int = 0
        self.retained: dict[str, int] | None = None

    def begin(self) -> None:
        """Begin a connection: the client may have to restore the subscription."""
        self.subscribes = 1
        self.retained = None

    def on_subscribe(self) -> None:
        """Note that a SUBSCRIBE was written for it.

        Its Retain Handling does not matter: not each broker does what it says.
        """
        self.subscribes += 1
        self.is_requested = True

    def count_retained(self, topic: str) -> bool:
        """Count a copy of a retained message if a SUBSCRIBE has caused it.

        Returns:
            Whether one of its SUBSCRIBE packets may have, as not all have yet.
        """
        retained = self.retained
        count = 0 if retained is None else retained.get(topic, 0)
        if count >= self.subscribes:
            return False
        if retained is None or len(retained) >= MOST_RETAINED:
            retained = self.retained = {}
        retained[topic] = count + 1
        return True
