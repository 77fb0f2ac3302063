"""Paced delivery of retained messages to new subscriptions (MQTT 5.0 §3.8.3.1)."""

from typing import Final

from aiomqtt.routing.trie import TopicSearch

from .memory_account import PENDING_SIZE, MemoryAccount
from .message import ApplicationMessage
from .retained import RetainedMessages

# Later than all retained messages.
NEWEST: Final = 1 << 62
# The cost of processing a topic that was found, in visited nodes.
FOUND: Final = 4


class PendingRetained:
    """The retained messages that a session still has to get, for all its subscriptions.

    It holds topics, not messages: it sends the message that is retained at that time.
    A message that has reached the session when it was published meanwhile is left out,
    and so is one that is no longer retained.

    Attributes:
        topic_filter: The filter of the current subscription.
        is_blocked: Whether the next message has to wait for an acknowledgement.
    """

    __slots__ = (
        "_last",
        "_memory",
        "_retained",
        "_search",
        "_topics",
        "_waiting",
        "is_blocked",
        "topic_filter",
    )

    def __init__(self, retained: RetainedMessages, memory: MemoryAccount) -> None:
        self._memory = memory
        self._retained = retained
        self.topic_filter: str = ""
        self.is_blocked: bool = False
        # The topics of the current subscription, the next one at the end.
        self._topics: dict[str, None] = {}
        # The subscriptions that follow, each with the number of the last message
        # retained before it.
        self._waiting: dict[str, int] = {}
        # The search for the current subscription; None: it is complete.
        self._search: TopicSearch[ApplicationMessage] | None = None
        self._last = 0

    @property
    def is_done(self) -> bool:
        """Whether there is nothing more to send."""
        return not self._topics and not self._waiting and self._search is None

    def add(self, topic_filter: str) -> None:
        """Send the retained messages of a subscription, from the first one."""
        self.drop(topic_filter)
        self._waiting[topic_filter] = self._retained.last_number
        self._memory.used += PENDING_SIZE

    def drop(self, topic_filter: str) -> None:
        """Send no more for a subscription."""
        if self._waiting.pop(topic_filter, None) is not None:
            self._memory.used -= PENDING_SIZE
        if topic_filter == self.topic_filter:
            self._memory.used -= PENDING_SIZE * len(self._topics)
            self._topics = {}
            self._search = None

    def end(self) -> None:
        """Send no more for any subscription."""
        self._memory.used -= PENDING_SIZE * (len(self._topics) + len(self._waiting))
        self._topics = {}
        self._waiting = {}
        self._search = None

    def leave_out(self, topic: str) -> None:
        """Leave out the current message of a topic: the session has received it."""
        if topic in self._topics:
            del self._topics[topic]
            self._memory.used -= PENDING_SIZE

    def interrupt(self) -> None:
        """Record that messages published from now on may not reach the session."""
        for topic_filter in self._waiting:
            self._waiting[topic_filter] = NEWEST
        if self._search is not None:
            self._last = NEWEST

    def search(self, most: int, now: float) -> int:
        """Find the topics of the next subscription, in steps.

        If there is no memory for them, it finds none.

        Args:
            most: The maximum number of nodes to visit.
            now: The time.

        Returns:
            The work done, in nodes.
        """
        search = self._search
        if search is None:
            self.topic_filter = next(iter(self._waiting))
            self._last = self._waiting.pop(self.topic_filter)
            self._memory.used -= PENDING_SIZE
            search = self._search = self._retained.search(self.topic_filter)
        looked = search.go_on(most)
        if search.is_done:
            self._search = None
            self._take(self._retained.lasting(search.found, now))
            looked += FOUND * len(search.found)
        return looked

    def _take(self, found: list[ApplicationMessage]) -> None:
        if self._memory.has_room(PENDING_SIZE * len(found)):
            found.reverse()
            retained, last = self._retained, self._last
            self._topics = {
                message.topic: None
                for message in found
                # A message that replaced it during the search has reached the session.
                if last == NEWEST
                or (message.number <= last and retained.is_there(message))
            }
            self._memory.used += PENDING_SIZE * len(self._topics)

    def next(self, now: float) -> ApplicationMessage | None:
        """Return the next message of this subscription; None: there are no more."""
        while self._topics:
            topic, _ = self._topics.popitem()
            self._memory.used -= PENDING_SIZE
            message = self._retained.get(topic, now)
            if message is not None:
                return message
        return None

    def put_back(self, message: ApplicationMessage) -> None:
        """Put a message back for later: there is no room for it now."""
        self._topics[message.topic] = None
        self._memory.used += PENDING_SIZE
        self.is_blocked = True
