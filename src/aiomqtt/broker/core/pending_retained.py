"""Paced delivery of retained messages to new subscriptions (MQTT 5.0 §3.8.3.1)."""

from operator import attrgetter
from typing import Final

from aiomqtt.protocol.changes import Change, ChangeKind
from aiomqtt.routing.trie import TopicSearch

from .memory_account import PENDING_SIZE, MemoryAccount
from .message import ApplicationMessage
from .retained import RetainedMessages

# The cost of processing a topic that was found, in visited nodes.
FOUND: Final = 4

_by_number: Final = attrgetter("number")


class PendingRetained:
    """The retained messages that a session still has to get, for all its subscriptions.

    It holds topics, not messages: it sends the message that is retained at that time,
    in the order in which they were retained when it looked. A message that has reached
    the session when it was published meanwhile is left out, and so is one that is no
    longer retained.

    A store keeps for each subscription the number of the last message that was sent,
    and the number that the subscription itself was given: those between these are still
    to be sent. Topics that were missed are forgotten with the process, as all of QoS 0.

    Args:
        retained: The retained messages.
        memory: The account of the broker's memory.
        changes: The list for the changes of the session; None: they are not recorded.

    Attributes:
        topic_filter: The filter of the current subscription; "": there is none.
        is_blocked: Whether the next message has to wait for an acknowledgement.
        is_held: Whether it has to wait for the SUBACK.
    """

    __slots__ = (
        "_changes",
        "_memory",
        "_missed",
        "_newest",
        "_number",
        "_retained",
        "_search",
        "_sent",
        "_topics",
        "_waiting",
        "is_blocked",
        "is_held",
        "topic_filter",
    )

    def __init__(
        self,
        retained: RetainedMessages,
        memory: MemoryAccount,
        changes: list[Change] | None,
    ) -> None:
        self._changes: list[Change] | None = changes
        self._memory = memory
        self._retained = retained
        self.is_blocked: bool = False
        self.is_held: bool = False
        # The subscriptions that follow, each with two numbers, as they are stored.
        self._waiting: dict[str, tuple[int, int]] = {}
        # Topics whose message has changed without having reached the session.
        self._missed: dict[str, None] = {}
        # Valid for the current subscription.
        self.topic_filter: str = ""
        self._sent: int = 0
        self._newest: int = 0
        # The search for the topics; None: it is complete.
        self._search: TopicSearch[ApplicationMessage] | None = None
        # The topics, the next one at the end, with the numbers of their messages when
        # they were found; and the number of the one that is being sent, 0: none is.
        self._topics: dict[str, int] = {}
        self._number: int = 0

    @property
    def is_done(self) -> bool:
        """Whether there is nothing more to send."""
        return not self._topics and not self._waiting and self._search is None

    # --- subscriptions ------------------------------------------------------------

    def add(self, topic_filter: str) -> None:
        """Send the retained messages of a subscription, from the first one."""
        self.is_held = True
        self.drop(topic_filter)
        # A number of its own, by which the subscriptions are in order.
        numbers = (0, self._retained.next_number())
        self.load(topic_filter, numbers)
        self._record(topic_filter, numbers)

    def load(self, topic_filter: str, numbers: tuple[int, int]) -> None:
        """Go on with a subscription that was stored."""
        # Messages that are retained from now on have larger numbers.
        self._retained.number_after(numbers[1])
        self._waiting[topic_filter] = numbers
        self._memory.used += PENDING_SIZE

    def drop(self, topic_filter: str) -> None:
        """Send no more for a subscription."""
        if self._waiting.pop(topic_filter, None) is not None:
            self._memory.used -= PENDING_SIZE
            self._record(topic_filter, None)
        if topic_filter == self.topic_filter:
            self._memory.used -= PENDING_SIZE * len(self._topics)
            self._topics = {}
            self._search = None
            self._finish()

    def _finish(self) -> None:
        topic_filter, self.topic_filter = self.topic_filter, ""
        if topic_filter:
            self._record(topic_filter, None)

    def _record(self, topic_filter: str, numbers: tuple[int, int] | None) -> None:
        if self._changes is not None:
            change = Change(ChangeKind.RETAINED_PENDING, topic_filter, numbers)
            self._changes.append(change)

    def end(self) -> None:
        """Send no more for any subscription, of a session that ends or has got all."""
        count = len(self._topics) + len(self._waiting) + len(self._missed)
        self._memory.used -= PENDING_SIZE * count
        self._topics = {}
        self._waiting = {}
        self._missed = {}
        self._search = None

    # --- messages that are published meanwhile --------------------------------------

    def leave_out(self, topic: str) -> None:
        """Leave out the current message of a topic: the session has received it."""
        if self._number:
            return
        if self._topics.pop(topic, None) is not None:
            self._memory.used -= PENDING_SIZE
        if self._missed and topic in self._missed:
            del self._missed[topic]
            self._memory.used -= PENDING_SIZE

    def miss(self, topic: str) -> None:
        """Do not leave it out: it did not reach the session when it was published."""
        if self._number or topic in self._missed:
            return
        if self._memory.has_room(PENDING_SIZE):
            self._missed[topic] = None
            self._memory.used += PENDING_SIZE

    # --- sending ------------------------------------------------------------------

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
            self._sent, self._newest = self._waiting.pop(self.topic_filter)
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
            found.sort(key=_by_number, reverse=True)
            self._topics = {
                message.topic: message.number
                for message in found
                if self._has_to_send(message)
            }
            self._memory.used += PENDING_SIZE * len(self._topics)

    def _has_to_send(self, message: ApplicationMessage) -> bool:
        if self._missed and message.topic in self._missed:
            return True
        # A message that replaced it during the search has reached the session.
        is_between = self._sent < message.number <= self._newest
        return is_between and self._retained.is_there(message)

    def next(self, now: float) -> ApplicationMessage | None:
        """Return the next message of this subscription; None: there are no more.

        Call `put_back` or `note_sent` next.
        """
        while self._topics:
            topic, number = self._topics.popitem()
            self._memory.used -= PENDING_SIZE
            message = self._retained.get(topic, now)
            if message is not None:
                self._number = number
                return message
        if self._search is None:
            self._finish()
        return None

    def put_back(self, message: ApplicationMessage) -> None:
        """Put a message back for later: there is no room for it now."""
        self._topics[message.topic] = self._number
        self._number = 0
        self._memory.used += PENDING_SIZE
        self.is_blocked = True

    def release(self) -> None:
        """Wait for nothing of an earlier connection."""
        self.is_blocked = self.is_held = False

    def note_sent(self) -> None:
        """Record that the last message is sent, or in the session's queue."""
        sent = min(self._number, self._newest)
        self._number = 0
        self._record(self.topic_filter, (sent, self._newest))
