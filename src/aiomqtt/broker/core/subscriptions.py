"""All subscriptions of all sessions, found by topic (MQTT 5.0 §4.7, §4.8)."""

from typing import Final

from aiomqtt.routing.trie import FilterSearch, Trie
from aiomqtt.topic import split_shared

from .memory_account import (
    FOUND_SIZE,
    LEVEL_SIZE,
    RECIPIENT_SIZE,
    SUBSCRIPTION_SIZE,
    MemoryAccount,
)
from .session import Session
from .subscription import Subscription
from .turn import FILTER_COST, NODES_PER_UNIT, Turn

# Topics repeat, so the results of searches are cached: the maximum number, and bytes.
CACHED: Final = 4096
CACHED_BYTES: Final = 8 * 1024 * 1024


class Recipient:
    """A session that receives a message once, for all of its matching subscriptions.

    Attributes:
        session: The session.
        qos: The highest QoS of these subscriptions ([MQTT-3.3.4-2]).
        retain_as_published: Whether one of them has Retain As Published.
        identifiers: Their identifiers ([MQTT-3.3.4-3]).
        for_publisher: The same for messages from the session's own client, without the
            subscriptions that have No Local; None: there are no others.
    """

    __slots__ = (
        "for_publisher",
        "identifiers",
        "qos",
        "retain_as_published",
        "session",
    )

    def __init__(self, subscriptions: list[Subscription]) -> None:
        """Join the subscriptions of one session."""
        self.session: Session = subscriptions[0].session
        self.qos: int = 0
        self.retain_as_published: bool = False
        identifiers: list[int] = []
        not_local: list[Subscription] = []
        for subscription in subscriptions:
            self.qos = max(self.qos, subscription.qos)
            if subscription.retain_as_published:
                self.retain_as_published = True
            if subscription.identifier:
                identifiers.append(subscription.identifier)
            if not subscription.no_local:
                not_local.append(subscription)
        self.identifiers: tuple[int, ...] = tuple(identifiers)
        self.for_publisher: Recipient | None = self
        if len(not_local) < len(subscriptions):
            self.for_publisher = Recipient(not_local) if not_local else None


class ShareGroup:
    """The subscriptions that share one filter under one name (§4.8.2)."""

    __slots__ = ("_next", "members")

    def __init__(self) -> None:
        self.members: list[Subscription] = []
        self._next = 0

    @property
    def is_over(self) -> bool:
        """Whether the sessions of all members have ended."""
        return all(member.session.is_over for member in self.members)

    def choose(self) -> Subscription:
        """Return the next member, if possible one that is connected and keeps up."""
        count = len(self.members)
        best = -1
        best_rank = -1
        for step in range(count):
            index = (self._next + step) % count
            session = self.members[index].session
            send_buffer = session.send_buffer
            rank = 0
            if send_buffer is not None:
                rank = 1 if send_buffer.is_behind else 2
            elif session.is_over:
                continue
            if rank > best_rank:
                best, best_rank = index, rank
            if rank == 2:
                break
        self._next = (best + 1) % count
        return self.members[best]


class Matches:
    """The subscribers of one topic.

    Attributes:
        recipients: The sessions that get each message.
        groups: The groups of which one member gets it.
        count: The number of sessions that receive it.
    """

    __slots__ = ("count", "groups", "recipients")

    def __init__(self, recipients: list[Recipient], groups: list[ShareGroup]) -> None:
        self.recipients: list[Recipient] = recipients
        self.groups: list[ShareGroup] = groups
        self.count: int = len(recipients) + len(groups)


class _Filter:
    """All subscriptions to one topic filter."""

    __slots__ = ("groups", "subscriptions")

    def __init__(self) -> None:
        self.subscriptions: dict[Session, Subscription] = {}
        # By share name; most filters have none.
        self.groups: dict[str, ShareGroup] | None = None


class Subscriptions:
    """All subscriptions, found by topic.

    Attributes:
        version: Changes when they change.
    """

    def __init__(self, memory: MemoryAccount) -> None:
        self._memory = memory
        self.version: int = 0
        self._trie: Trie[_Filter] = Trie()
        self._found: dict[str, Matches] = {}
        self._found_size = 0
        self._count = 0
        # Sessions that have ended, whose subscriptions are still to be removed.
        self._ended: list[Session] = []

    def __len__(self) -> int:
        """Return the number of subscriptions."""
        return self._count

    def add(self, subscription: Subscription) -> bool:
        """Add a subscription, or replace the session's earlier one.

        Returns:
            Whether it is new.
        """
        self._forget_found()
        name, topic_filter = split_shared(subscription.topic_filter)
        found = self._trie.get(topic_filter)
        if found is None:
            found = _Filter()
            levels = self._trie.levels
            self._trie.set(topic_filter, found)
            self._memory.used += LEVEL_SIZE * (self._trie.levels - levels)
        session = subscription.session
        is_new = subscription.topic_filter not in session.subscriptions
        if is_new:
            self._memory.used += _size_of(subscription.topic_filter)
        session.subscriptions[subscription.topic_filter] = subscription
        if session.record is not None:
            session.record.on_subscribed(subscription)
        self._count += is_new
        if not name:
            found.subscriptions[session] = subscription
            return is_new
        if found.groups is None:
            found.groups = {}
        group = found.groups.get(name)
        if group is None:
            group = found.groups[name] = ShareGroup()
        for index, member in enumerate(group.members):
            if member.session is session:
                group.members[index] = subscription
                return is_new
        group.members.append(subscription)
        return is_new

    def remove(self, session: Session, full_filter: str) -> bool:
        """Remove a subscription; return whether there was one."""
        subscription = session.subscriptions.pop(full_filter, None)
        if subscription is None:
            return False
        if session.record is not None:
            session.record.on_unsubscribed(full_filter)
        self._forget_found()
        self._count -= 1
        self._remove(subscription)
        return True

    def _remove(self, subscription: Subscription) -> None:
        full_filter = subscription.topic_filter
        self._memory.used -= _size_of(full_filter)
        name, topic_filter = split_shared(full_filter)
        found = self._trie.get(topic_filter)
        assert found is not None
        if not name:
            del found.subscriptions[subscription.session]
        else:
            assert found.groups is not None
            found.groups[name].members.remove(subscription)
            if not found.groups[name].members:
                del found.groups[name]
        if not found.subscriptions and not found.groups:
            levels = self._trie.levels
            self._trie.remove(topic_filter)
            self._memory.used -= LEVEL_SIZE * (levels - self._trie.levels)

    def end(self, session: Session) -> None:
        """Ignore a session that has ended; `sweep` removes its subscriptions later."""
        session.is_over = True
        if session.subscriptions:
            self._forget_found()
            self._count -= len(session.subscriptions)
            self._ended.append(session)

    def sweep(self, turn: Turn) -> bool:
        """Remove subscriptions of sessions that have ended, as much as is due.

        Returns:
            Whether all of them are removed.
        """
        while self._ended:
            left = self._ended[-1].subscriptions
            while left:
                if turn.is_over:
                    return False
                full_filter, subscription = left.popitem()
                turn.work += FILTER_COST + full_filter.count("/")
                self._remove(subscription)
            self._ended.pop()
        return True

    def group(self, full_filter: str) -> ShareGroup | None:
        """Return the group of a shared subscription; None: there is none."""
        name, topic_filter = split_shared(full_filter)
        found = self._trie.get(topic_filter)
        if found is None or found.groups is None:
            return None
        group = found.groups.get(name)
        return None if group is None or group.is_over else group

    def find(self, topic: str) -> Matches:
        """Return the subscribers of a topic."""
        matches = self.known(topic)
        if matches is None:
            matches = self.keep(topic, self._trie.matching(topic))
        return matches

    def known(self, topic: str) -> Matches | None:
        """Return the cached subscribers of a topic; None: a search is needed."""
        return self._found.get(topic)

    def search(self, topic: str) -> "SubscriberSearch":
        """Begin a search for the subscribers of a topic."""
        return SubscriberSearch(self, topic, self._trie.search(topic))

    def keep(self, topic: str, filters: list[_Filter]) -> Matches:
        """Cache the result of a search for a topic; return the subscribers."""
        if len(self._found) >= CACHED or self._found_size >= CACHED_BYTES:
            self._forget_found()
        found = self._found[topic] = _matches_of(filters)
        size = FOUND_SIZE + 2 * len(topic) + RECIPIENT_SIZE * len(found.recipients)
        self._found_size += size
        self._memory.used += size
        return found

    def _forget_found(self) -> None:
        self.version += 1
        self._found.clear()
        self._memory.used -= self._found_size
        self._found_size = 0

    def has_room_for(self, topic_filter: str) -> bool:
        """Whether there is memory for one more subscription."""
        levels = LEVEL_SIZE * (topic_filter.count("/") + 1)
        return self._memory.has_room(_size_of(topic_filter) + levels)


class SubscriberSearch:
    """A search for the subscribers of a topic, in steps."""

    __slots__ = ("_search", "_subscriptions", "_topic", "_version")

    def __init__(
        self, subscriptions: Subscriptions, topic: str, search: FilterSearch[_Filter]
    ) -> None:
        self._subscriptions = subscriptions
        self._topic = topic
        self._search = search
        self._version = subscriptions.version

    def go_on(self, turn: Turn) -> Matches | None:
        """Search on; None: there is more to do in another turn."""
        search = self._search
        looked = search.go_on((turn.limit - turn.work) * NODES_PER_UNIT)
        turn.work += looked // NODES_PER_UNIT
        if not search.is_done:
            return None
        if self._version != self._subscriptions.version:
            # It holds for this message; the next one may find more.
            return _matches_of(search.found)
        return self._subscriptions.keep(self._topic, search.found)


def _matches_of(filters: list[_Filter]) -> Matches:
    matched: dict[Session, list[Subscription]] = {}
    groups: list[ShareGroup] = []
    for found in filters:
        for session, subscription in found.subscriptions.items():
            if session.is_over:
                continue
            several = matched.get(session)
            if several is None:
                matched[session] = [subscription]
            else:
                several.append(subscription)
        if found.groups is not None:
            groups += [each for each in found.groups.values() if not each.is_over]
    return Matches([Recipient(several) for several in matched.values()], groups)


def _size_of(topic_filter: str) -> int:
    """Return about how many bytes a subscription takes, besides its levels."""
    return SUBSCRIPTION_SIZE + 3 * len(topic_filter)
