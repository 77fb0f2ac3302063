"""The retained messages that new subscriptions get, paced (MQTT 5.0 §3.8.3.1)."""

from typing import Final

from .memory import PENDING, Memory
from .message import ApplicationMessage
from .retained import RetainedMessages

# Later than all that is retained.
NEWEST: Final = 1 << 62


class Replay:
    """The retained messages that one session still gets, for all its subscriptions.

    It holds topics, not messages: what is sent is what is retained when its turn comes.
    What was retained meanwhile and reached the session as it was published is left out,
    and so is what is retained no longer.

    Attributes:
        topic_filter: The subscription whose turn it is.
        is_blocked: Whether the next message has to wait for an acknowledgement.
    """

    __slots__ = (
        "_memory",
        "_retained",
        "_topics",
        "_waiting",
        "is_blocked",
        "topic_filter",
    )

    def __init__(self, retained: RetainedMessages, memory: Memory) -> None:
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

    @property
    def is_done(self) -> bool:
        """Whether there is nothing more to send."""
        return not self._topics and not self._waiting

    def add(self, topic_filter: str) -> None:
        """Send the retained messages of a subscription, from the first one."""
        self.drop(topic_filter)
        self._waiting[topic_filter] = self._retained.last_number
        self._memory.used += PENDING

    def drop(self, topic_filter: str) -> None:
        """Send no more for a subscription."""
        if self._waiting.pop(topic_filter, None) is not None:
            self._memory.used -= PENDING
        if topic_filter == self.topic_filter:
            self._memory.used -= PENDING * len(self._topics)
            self._topics = {}

    def end(self) -> None:
        """Send no more for any."""
        self._memory.used -= PENDING * (len(self._topics) + len(self._waiting))
        self._topics = {}
        self._waiting = {}

    def leave_out(self, topic: str) -> None:
        """Take note that the session has got what is retained of a topic now."""
        if topic in self._topics:
            del self._topics[topic]
            self._memory.used -= PENDING

    def interrupt(self) -> None:
        """Take note that what is published from now on may not reach the session."""
        for topic_filter in self._waiting:
            self._waiting[topic_filter] = NEWEST

    def begin(self, now: float) -> int:
        """Find the topics of the next subscription; return how many there are.

        Where there is no memory for them, they are none.
        """
        self.topic_filter = next(iter(self._waiting))
        last = self._waiting.pop(self.topic_filter)
        found = self._retained.matching(self.topic_filter, now)
        self._memory.used -= PENDING
        if not self._memory.has_room(PENDING * len(found)):
            return len(found)
        found.reverse()
        self._topics = {
            message.topic: None for message in found if message.number <= last
        }
        self._memory.used += PENDING * len(self._topics)
        return len(found)

    def next(self, now: float) -> ApplicationMessage | None:
        """Return the next message of this subscription; None: there are no more."""
        while self._topics:
            topic, _ = self._topics.popitem()
            self._memory.used -= PENDING
            message = self._retained.get(topic, now)
            if message is not None:
                return message
        return None

    def put_back(self, message: ApplicationMessage) -> None:
        """Keep a message for later: there is no room for it now."""
        self._topics[message.topic] = None
        self._memory.used += PENDING
        self.is_blocked = True
