"""The retained messages that new subscriptions get, paced (MQTT 5.0 §3.8.3.1)."""

from typing import Final

from aiomqtt.routing.trie import TopicSearch

from .memory_account import PENDING_SIZE, MemoryAccount
from .message import ApplicationMessage
from .retained import RetainedMessages

# Later than all that is retained.
NEWEST: Final = 1 << 62
# What it costs to take up a topic that was found, counted in nodes that are looked at.
FOUND: Final = 4


class PendingRetained:
    """The retained messages that one session still gets, for all its subscriptions.

    It holds topics, not messages: what is sent is what is retained when its turn comes.
    What was retained meanwhile and reached the session as it was published is left out,
    and so is what is retained no longer.

    Attributes:
        topic_filter: The subscription whose turn it is.
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
        """Start with no subscription."""
        self._memory = memory
        self._retained = retained
        self.topic_filter: str = ""
        self.is_blocked: bool = False
        # Those of this subscription, the next one at the end.
        self._topics: dict[str, None] = {}
        # The subscriptions whose turn is to come, each with the number of the last
        # message that was retained before it.
        self._waiting: dict[str, int] = {}
        # What is being found for the one whose turn it is; None: that is over.
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
        """Send no more for any."""
        self._memory.used -= PENDING_SIZE * (len(self._topics) + len(self._waiting))
        self._topics = {}
        self._waiting = {}
        self._search = None

    def leave_out(self, topic: str) -> None:
        """Take note that the session has got what is retained of a topic now."""
        if topic in self._topics:
            del self._topics[topic]
            self._memory.used -= PENDING_SIZE

    def interrupt(self) -> None:
        """Take note that what is published from now on may not reach the session."""
        for topic_filter in self._waiting:
            self._waiting[topic_filter] = NEWEST
        if self._search is not None:
            self._last = NEWEST

    def search(self, most: int, now: float) -> int:
        """Find the topics of the next subscription, or go on finding them.

        Where there is no memory for them, they are none.

        Args:
            most: So many nodes of the tree of topics are looked at.
            now: The time.

        Returns:
            What it has done, counted in nodes.
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
                # What took its place while it was searched has reached the session.
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
        """Keep a message for later: there is no room for it now."""
        self._topics[message.topic] = None
        self._memory.used += PENDING_SIZE
        self.is_blocked = True
