"""The retained messages (MQTT 5.0 §3.3.1.3)."""

from functools import partial
from typing import Final

from aiomqtt.broker.limits import Limits
from aiomqtt.routing.trie import TopicSearch, Trie

from .journal import Journal
from .memory_account import EXPIRY_SIZE, LEVEL_SIZE, MemoryAccount
from .message import ApplicationMessage
from .timers import Timer, Timers

# Topics that only the broker publishes to; retained messages there do not count.
SYSTEM: Final = "$SYS/"
# Except these, where the bridges of other brokers report whether they are connected.
BRIDGES: Final = "$SYS/broker/connection/"


def is_own(topic: str) -> bool:
    """Return whether only the broker may publish to a topic."""
    return topic.startswith(SYSTEM) and not topic.startswith(BRIDGES)


class RetainedMessages:
    """At most one message for each topic.

    Attributes:
        last_number: The last number that was given: see `next_number`.
        journal: Collects the changes; None: there is no store.
    """

    def __init__(self, limits: Limits, memory: MemoryAccount) -> None:
        self._limits = limits
        self._memory = memory
        self._by_topic: dict[str, ApplicationMessage] = {}
        self._trie: Trie[ApplicationMessage] = Trie()
        self.last_number: int = 0
        self.journal: Journal | None = None
        # Without the broker's own.
        self._count = 0
        self._size = 0
        # They run only when there is no room.
        self._expiries: Timers = Timers()
        self._expiry_of: dict[str, Timer] = {}

    def __len__(self) -> int:
        """Return the number of messages, including expired ones not yet removed."""
        return self._count

    def keep(self, message: ApplicationMessage) -> bool:
        """Retain a message in place of the topic's last one; if empty, remove that one.

        Returns:
            Whether there was room for it. If not, the last one is removed all the same,
            as it is no longer current.
        """
        topic = message.topic
        has_room = self.has_room_for(message)
        last = self._by_topic.pop(topic, None)
        if last is not None:
            self._let_go(last)
        if message.payload and has_room:
            message.number = self.next_number()
            self.load(message)
            self._note(topic, message)
            return True
        if last is not None:
            self._remove_levels(topic)
            self._note(topic, None)
        return has_room

    def load(self, message: ApplicationMessage) -> None:
        """Retain a message with a number, whose topic has none; tell no journal."""
        topic = message.topic
        self.number_after(message.number)
        self._by_topic[topic] = message
        levels = self._trie.levels
        self._trie.set(topic, message)
        self._memory.used += LEVEL_SIZE * (self._trie.levels - levels)
        self._tally(message, 1)
        message.keep(self._memory)
        if message.expires is not None:
            expire = partial(self._expire, message)
            self._expiry_of[topic] = self._expiries.add(message.expires, expire)
            self._memory.used += EXPIRY_SIZE

    def _let_go(self, message: ApplicationMessage) -> None:
        """Count a message no more, which is not the retained one any more."""
        self._tally(message, -1)
        message.let_go(self._memory)
        if message.expires is not None:
            self._expiries.cancel(self._expiry_of.pop(message.topic))
            self._memory.used -= EXPIRY_SIZE

    def _expire(self, message: ApplicationMessage, now: float) -> None:
        self._remove(message)

    def next_number(self) -> int:
        """Return a number for a message that is retained now, or for a subscription."""
        self.last_number += 1
        return self.last_number

    def number_after(self, number: int) -> None:
        """Give the messages that are retained from now on larger numbers than this."""
        self.last_number = max(self.last_number, number)

    def _note(self, topic: str, message: ApplicationMessage | None) -> None:
        """Tell the journal, except about the broker's own."""
        journal = self.journal
        if journal is not None and not is_own(topic):
            journal.retain(topic, message)

    def _tally(self, message: ApplicationMessage, sign: int) -> None:
        if not is_own(message.topic):
            self._count += sign
            self._size += sign * message.size

    def has_room_for(self, message: ApplicationMessage) -> bool:
        """Return whether there is room for a message, in place of the topic's last.

        If there is none, messages are removed that had expired when it came.
        """
        if not message.payload or is_own(message.topic) or self._has_room_for(message):
            return True
        self._expiries.run(message.arrived)
        return self._has_room_for(message)

    def _has_room_for(self, message: ApplicationMessage) -> bool:
        last = self._by_topic.get(message.topic)
        count, size = self._count + 1, self._size + message.size
        if last is not None:
            count -= 1
            size -= last.size
        elif not self._memory.has_room(
            message.extra() + LEVEL_SIZE * (message.topic.count("/") + 1) + EXPIRY_SIZE
        ):
            return False
        limits = self._limits
        if last is not None and not self._memory.has_room(message.extra() - last.size):
            return False
        return (
            count <= limits.maximum_retained_messages
            and size <= limits.maximum_retained_bytes
        )

    def get(self, topic: str, now: float) -> ApplicationMessage | None:
        """Return the retained message of a topic; remove it if it has expired."""
        message = self._by_topic.get(topic)
        if message is None or not message.is_expired(now):
            return message
        self._remove(message)
        return None

    def is_there(self, message: ApplicationMessage) -> bool:
        """Return whether a message is still the retained one of its topic."""
        return self._by_topic.get(message.topic) is message

    def matching(self, topic_filter: str, now: float) -> list[ApplicationMessage]:
        """Return the retained messages that match a filter; remove expired ones."""
        if "+" in topic_filter or "#" in topic_filter:
            return self.lasting(self._trie.matched_by(topic_filter), now)
        message = self._by_topic.get(topic_filter)
        return [] if message is None else self.lasting([message], now)

    def search(self, topic_filter: str) -> TopicSearch[ApplicationMessage]:
        """Begin a search for the retained messages that match a filter."""
        return self._trie.search_topics(topic_filter)

    def lasting(
        self, found: list[ApplicationMessage], now: float
    ) -> list[ApplicationMessage]:
        """Return the messages that have not expired; remove the others."""
        lasting = []
        for message in found:
            if not message.is_expired(now):
                lasting.append(message)
            elif self.is_there(message):
                self._remove(message)
        return lasting

    def all(self, now: float) -> list[ApplicationMessage]:
        """Return all messages that have not expired; remove the others."""
        for message in [*self._by_topic.values()]:
            if message.is_expired(now):
                self._remove(message)
        return [*self._by_topic.values()]

    def clear(self) -> None:
        """Remove all of them."""
        for message in self._by_topic.values():
            message.let_go(self._memory)
            self._note(message.topic, None)
        self._memory.used -= LEVEL_SIZE * self._trie.levels
        self._memory.used -= EXPIRY_SIZE * len(self._expiry_of)
        self._by_topic.clear()
        self._trie = Trie()
        self._count = self._size = 0
        self._expiries = Timers()
        self._expiry_of.clear()

    def _remove(self, message: ApplicationMessage) -> None:
        del self._by_topic[message.topic]
        self._remove_levels(message.topic)
        self._let_go(message)
        self._note(message.topic, None)

    def _remove_levels(self, topic: str) -> None:
        levels = self._trie.levels
        self._trie.remove(topic)
        self._memory.used -= LEVEL_SIZE * (levels - self._trie.levels)
