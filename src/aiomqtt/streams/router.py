"""Routes received messages to the queues of streams, by their topic filters."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from aiomqtt.exceptions import MqttError
from aiomqtt.message import Message
from aiomqtt.net.sink import Room
from aiomqtt.protocol.codec.size import message_size

from .copies import identifier_of, identifiers_of, is_caused, is_for
from .filter_table import FilterTable
from .identifiers import to_identifier
from .routed import RoutedFilter, RoutedQueue
from .stream import MessageStream

# Looking up a member of an enumeration is slow.
ENOUGH: Final = Room.ENOUGH
LITTLE: Final = Room.LITTLE
NONE: Final = Room.NONE
USED_UP: Final = Room.USED_UP


class Router:
    """Delivers each message once to all streams that want it; it outlives connections.

    The default queue, which is that of `Client.messages`, gets what calls of
    `Client.subscribe` want, and what nobody wants.

    A broker may send one copy of a message for each subscription that matches, or one
    for all (MQTT 5.0 §3.3.4). If copies have Subscription Identifiers, each stream gets
    that of the first of its filters. Otherwise each copy goes to all streams: a copy
    can't be told from an equal message, and none may be lost.
    """

    def __init__(self, default: MessageStream) -> None:
        """Route everything to the default queue.

        Args:
            default: The queue of messages that no stream wants.
        """
        self._default: RoutedQueue = RoutedQueue(default, self.on_room)
        # The messages that were discarded by streams that were left.
        self._discarded: int = 0
        self._queues: dict[RoutedQueue, None] = {}
        self._filters: FilterTable = FilterTable()
        # Whether any has an identifier.
        self._are_identified: bool = False
        # The queues that have too little room.
        self._full: dict[RoutedQueue, None] = {}
        # Whether messages may come for other filters than these, as the session is from
        # before. If not, what still comes for a stream that was left is discarded.
        self.has_others: bool = True
        # Whether messages may have tickets although their stream does not leave it to
        # the program to acknowledge them.
        self.has_tickets: bool = False
        # Valid for the connection.
        self._resume: Callable[[], None] | None = None

    # --- the life of a connection -------------------------------------------------

    def expect(self) -> None:
        """Let iterators wait: the client is being entered.

        The streams of the time before have ended, and are forgotten.
        """
        self._discarded += sum([queue.stream.discarded for queue in self._queues])
        self._queues.clear()
        self._filters.clear()
        self._are_identified = False
        self._full.clear()
        self._default.filters = []
        self._default.stream.expect()

    def open(self, resume: Callable[[], None]) -> None:
        """Begin a connection.

        Args:
            resume: Called when there is room again after `deliver` reported too little.
        """
        self._resume = resume
        for routed in self._filters.by_name.values():
            routed.begin()
        for queue in [self._default, *self._queues]:
            queue.retained = None
            queue.stream.open(queue.on_room)
            if queue.stream.room() is not ENOUGH:
                self._full[queue] = None

    def close(self, error: MqttError | None) -> None:
        """End a connection: iterators that find no message raise."""
        self._resume = None
        for queue in [self._default, *self._queues]:
            queue.stream.close(error)

    def forget_repeated(self) -> None:
        """Forget unacknowledged messages of the last connection: they come again."""
        for queue in [self._default, *self._queues]:
            queue.stream.forget_repeated()

    def abandon(self) -> None:
        """End the connection, and forget all waiters, whose event loop is closed."""
        self._resume = None
        for queue in [self._default, *self._queues]:
            queue.stream.abandon()

    # --- incoming messages --------------------------------------------------------

    def deliver(self, messages: Sequence[Message], size: int) -> Room:
        """Queue each message for all streams that want it; return the least room.

        Args:
            messages: The messages, in order.
            size: An estimate of the memory that they use, in bytes.
        """
        if not self._filters.by_name:
            if self.has_tickets and not self._default.stream.is_late:
                for message in messages:
                    _finish(message)
            return self._deliver(self._default, messages, size)
        touched: list[RoutedQueue] = []
        for message in messages:
            found = self._filters.find(message.topic.value)
            if not found:
                self._add(self._default, message, touched)
            elif len(found) == 1 and len(found[0].queues) == 1 and not message.retain:
                self._add(found[0].queues[0], message, touched)
            else:
                self._add_to_several(found, message, touched)
        for queue in touched:
            batch, queue.batch = queue.batch, []
            size, queue.size = queue.size, 0
            self._deliver(queue, batch, size)
        return self.room()

    def _add(
        self, queue: RoutedQueue, message: Message, touched: list[RoutedQueue]
    ) -> None:
        if message.ticket is not None and not queue.stream.is_late:
            _finish(message)
        if not queue.batch:
            touched.append(queue)
        queue.batch.append(message)
        queue.size += message_size(message)

    def _add_to_several(
        self, found: list[RoutedFilter], message: Message, touched: list[RoutedQueue]
    ) -> None:
        """Add a message to the queues of several filters, to each queue once."""
        identifiers: list[int] = []
        if self._are_identified:
            identifiers = identifiers_of(message, found)
            # As they are subscribed to in this order, a copy for the second of a stream
            # shows that there is one for the first.
            found = sorted(found, key=identifier_of)
        # The queues that want it, and those that get a message with a ticket.
        reached: dict[RoutedQueue, None] = {}
        sharing: list[RoutedQueue] = []
        may_repeat = message.retain and is_caused(message, found, identifiers)
        for routed in found:
            # A copy without any may be for each.
            is_for_it = not identifiers or is_for(routed, identifiers)
            if not is_for_it and not routed.is_granted:
                continue
            for queue in routed.queues:
                if queue in reached:
                    continue
                reached[queue] = None
                if is_for_it and not (
                    message.retain
                    and queue is not self._default
                    and queue.note_retained(message)
                    and may_repeat
                ):
                    if message.ticket is None:
                        self._add(queue, message, touched)
                    else:
                        sharing.append(queue)
        if not reached and self.has_others:
            self._add(self._default, message, touched)
        elif message.ticket is not None:
            self._share(message, sharing, touched)

    def _share(
        self, message: Message, queues: list[RoutedQueue], touched: list[RoutedQueue]
    ) -> None:
        """Add a message with a ticket to queues: when all are done, it is decided."""
        if not queues:
            # It would hold back the acknowledgements of all that come after it.
            _finish(message)
        elif len(queues) == 1:
            self._add(queues[0], message, touched)
        else:
            # Most programs have no such messages.
            from .shared_ack import copies_of

            are_late = [queue.stream.is_late for queue in queues]
            copies = copies_of(message, are_late)
            for queue, one in zip(queues, copies, strict=True):
                self._add(queue, one, touched)

    def _deliver(
        self, queue: RoutedQueue, messages: Sequence[Message], size: int
    ) -> Room:
        if len(messages) == 1 and queue.is_simple:
            room = queue.stream.deliver_one(messages[0], size)
        else:
            room = queue.stream.deliver(messages, size)
        if room is not ENOUGH:
            self._full[queue] = None
        return room

    def room(self) -> Room:
        """Return how much room there is where there is least."""
        worst = ENOUGH
        for queue in self._full:
            room = queue.stream.room()
            if room is USED_UP:
                return room
            if room is NONE or worst is ENOUGH:
                worst = room
        return worst

    def on_room(self, queue: RoutedQueue) -> None:
        """Read on if all queues have room; this one has it again."""
        self._full.pop(queue, None)
        if not self._full and self._resume is not None:
            self._resume()

    def totals(self) -> tuple[int, int, int]:
        """Return how many messages wait in all queues, their size, and the discarded.

        The size is an estimate in bytes. A message counts once for each stream.
        """
        count = size = 0
        discarded = self._discarded
        for queue in [self._default, *self._queues]:
            stream = queue.stream
            count += len(stream)
            size += stream.size
            discarded += stream.discarded
        return count, size, discarded

    def overflow(self) -> MqttError:
        """Return the error for a connection that ends because there is no room."""
        fullest = self._default
        for queue in self._full:
            if queue.stream.room() is USED_UP:
                fullest = queue
        return fullest.stream.overflow()

    # --- streams --------------------------------------------------------------------

    def add(self, stream: MessageStream) -> RoutedQueue:
        """Add the queue of a stream, which wants nothing yet."""
        queue = RoutedQueue(stream, self.on_room)
        self._queues[queue] = None
        stream.expect()
        stream.open(queue.on_room)
        return queue

    def route(self, queue: RoutedQueue, names: Sequence[str]) -> list[RoutedFilter]:
        """Route messages that match topic filters to a queue.

        Messages that wait in the default queue and match move to it.

        Args:
            queue: The queue of a stream.
            names: The topic filters, as in the SUBSCRIBE.
        """
        topics: set[str] = set()
        has_wildcards = False
        for name in names:
            routed = self._filters.add(name)
            routed.queues.append(queue)
            queue.filters.append(routed)
            topics.add(routed.topic_filter)
            has_wildcards = has_wildcards or routed.has_wildcard
        default = self._default.stream
        if len(default):
            taken = default.extract(
                lambda message: (
                    (has_wildcards or message.topic.value in topics)
                    and self._is_left_over(message)
                )
            )
            if taken:
                if queue.stream.is_late and not default.is_late:
                    from .shared_ack import mark_as_acknowledged

                    mark_as_acknowledged(taken)
                self.deliver(taken, 0)
        return queue.filters

    def route_default(self, names: Iterable[str]) -> list[RoutedFilter]:
        """Route messages to the default queue that a call of `Client.subscribe` wants.

        Returns:
            The filters with these names.
        """
        default = self._default
        filters: list[RoutedFilter] = []
        for name in names:
            routed = self._filters.add(name)
            if default not in routed.queues:
                routed.queues.append(default)
            filters.append(routed)
        return filters

    def unroute_default(self, names: Iterable[str]) -> None:
        """Forget that calls of `Client.subscribe` want messages."""
        for name in names:
            routed = self._filters.by_name.get(name)
            if routed is not None and self._default in routed.queues:
                routed.queues.remove(self._default)
                self.drop(routed)

    def refuse(self, name: str, error: MqttError) -> None:
        """End the streams that want a filter: the broker no longer grants it."""
        routed = self._filters.by_name.get(name)
        if routed is None:
            return
        routed.is_granted = False
        for queue in routed.queues:
            if queue is not self._default:
                queue.stream.refuse(error)

    def _is_left_over(self, message: Message) -> bool:
        """Return whether a stream wants a message, and no call of `subscribe` does."""
        is_wanted = False
        for routed in self._filters.find(message.topic.value):
            if self._default in routed.queues:
                return False
            is_wanted = is_wanted or len(routed.queues) > 0
        return is_wanted

    def identify(self, routed: RoutedFilter) -> list[RoutedFilter]:
        """Give identifiers to a filter, and to those that it overlaps.

        Returns:
            Those that had none, and for which a SUBSCRIBE was written.
        """
        renewed: list[RoutedFilter] = []
        for other in self._filters.overlapping(routed):
            queues = {*routed.queues, *other.queues}
            if other is routed or not other.queues or queues == {self._default}:
                continue
            if not routed.identifier:
                self.set_identifier(routed, to_identifier(routed.name))
            if not other.identifier:
                self.set_identifier(other, to_identifier(other.name))
                if other.is_requested:
                    renewed.append(other)
        return renewed

    def set_identifier(self, routed: RoutedFilter, identifier: int) -> None:
        """Set the Subscription Identifier of a filter; 0: it has none."""
        routed.identifier = identifier
        self._are_identified = self._are_identified or identifier > 0

    def is_wanted(self, name: str) -> bool:
        """Return whether a stream has subscribed to a topic filter."""
        routed = self._filters.by_name.get(name)
        return routed is not None and any(
            queue is not self._default for queue in routed.queues
        )

    def _matches(self, message: Message) -> bool:
        """Return whether a stream wants a message."""
        return any(routed.queues for routed in self._filters.find(message.topic.value))

    def remove(self, queue: RoutedQueue) -> list[RoutedFilter]:
        """Remove the queue of a stream that was left.

        Returns:
            The filters that no other stream wants. They have to be dropped when the
            broker sends nothing more for them.
        """
        if queue in self._queues:
            del self._queues[queue]
            self._discarded += queue.stream.discarded
        unwanted: list[RoutedFilter] = []
        for routed in queue.filters:
            routed.queues.remove(queue)
            if not routed.queues:
                unwanted.append(routed)
        queue.filters = []
        if queue in self._full:
            self.on_room(queue)
        return unwanted

    def give_back(self, queue: RoutedQueue) -> None:
        """Move the messages of a removed queue that no other stream has to the default.

        It is for streams that could not be opened.
        """
        messages = queue.stream.extract(lambda message: not self._matches(message))
        if messages:
            if not self._default.stream.is_late:
                for message in messages:
                    _finish(message)
            size = sum([message_size(message) for message in messages])
            self._deliver(self._default, messages, size)

    def drop(self, routed: RoutedFilter) -> None:
        """Forget a filter, unless a stream wants it again."""
        if not routed.queues and self._filters.by_name.get(routed.name) is routed:
            self._filters.remove(routed)


def _finish(message: Message) -> None:
    """Acknowledge a message that goes to a stream which does not leave it to others."""
    if message.ticket is not None:
        message.ticket.finish()
        message.ticket = None
