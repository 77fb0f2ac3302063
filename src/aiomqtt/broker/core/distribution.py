"""Messages on their way to their subscribers, over several turns if there are many.

A message with few subscribers is sent to all of them at once. Other messages are sent
one after another, a portion in each turn. A message waits for an earlier one of the
same topic or of the same publisher, so that each subscriber gets them in order.
"""

from collections import deque

from .memory_account import RECIPIENT_SIZE, MemoryAccount
from .message import ApplicationMessage
from .send_buffer import SendBuffer
from .session import Session
from .subscriptions import Matches, Recipient, ShareGroup
from .timers import Timers
from .turn import PORTION_INTERVAL, Turn


class Distribution:
    """A message that has not been sent to all of its subscribers yet.

    Attributes:
        is_done: Whether all subscribers have it.
    """

    __slots__ = ("is_done", "matches", "message", "position", "publisher", "sender")

    def __init__(
        self,
        message: ApplicationMessage,
        sender: Session | None,
        publisher: SendBuffer | None,
        matches: Matches,
    ) -> None:
        self.message: ApplicationMessage = message
        self.sender: Session | None = sender
        self.publisher: SendBuffer | None = publisher
        self.matches: Matches = matches
        # The number of recipients, and then of groups, that have it.
        self.position: int = 0
        self.is_done: bool = False

    @property
    def is_undivided(self) -> bool:
        """Whether a store has to have it for all of its subscribers, or for none.

        A client sends a message of QoS 1 again; nobody does so for the broker.
        """
        qos = self.message.qos
        return qos == 2 or (qos == 1 and self.publisher is None)

    @property
    def size(self) -> int:
        """An estimate of its size in memory without the message, in bytes."""
        return RECIPIENT_SIZE * self.matches.count


class Distributor:
    """Sends messages, a portion in each turn.

    Attributes:
        undivided: How many messages have not been sent to all yet of which a store may
            not have a part: nobody would send that again to the others, or it would
            come twice.
    """

    def __init__(self, turn: Turn, timers: Timers, memory: MemoryAccount) -> None:
        self._turn = turn
        self._timers = timers
        self._memory = memory
        self._unfinished: deque[Distribution] = deque()
        # The number of these for each topic and for each sender.
        self._topics: dict[str, int] = {}
        self._senders: dict[Session | None, int] = {}
        self.undivided: int = 0
        # The publishers that wait until there is none of these.
        self._waiting: list[SendBuffer] = []

    def send(
        self, message: ApplicationMessage, sender: Session | None, matches: Matches
    ) -> Distribution | None:
        """Send a message to its subscribers.

        Args:
            message: The message.
            sender: The session of its publisher; None: the broker itself.
            matches: The subscribers.

        Returns:
            The rest, which is sent in later turns, if the publisher has to wait; None:
            all subscribers have it.
        """
        turn = self._turn
        publisher = None if sender is None else sender.send_buffer
        is_first = not self._unfinished
        if (
            turn.work + matches.count <= turn.limit_undivided
            and (is_first or not self._has_to_wait(message, sender))
        ):  # fmt: skip
            turn.work += matches.count
            send_to_all(message, sender, publisher, matches.recipients)
            for group in matches.groups:
                send_to_one(message, publisher, group)
            return None
        distribution = Distribution(message, sender, publisher, matches)
        message.keep(self._memory)
        self._memory.used += distribution.size
        if is_first:
            self._send_portion(distribution)
            self._timers.add(turn.now + PORTION_INTERVAL, self._go_on)
        self._unfinished.append(distribution)
        self.undivided += distribution.is_undivided
        topic = message.topic
        self._topics[topic] = self._topics.get(topic, 0) + 1
        self._senders[sender] = self._senders.get(sender, 0) + 1
        return distribution

    def wait(self, publisher: SendBuffer) -> None:
        """Announce a publisher when no message is `undivided` any more."""
        self._waiting.append(publisher)

    def finish(self) -> None:
        """Send all that is unfinished now, however long it takes."""
        while self._unfinished:
            self._turn.begin(self._turn.now)
            self._go_on(self._turn.now)

    def _has_to_wait(self, message: ApplicationMessage, sender: Session | None) -> bool:
        return message.topic in self._topics or sender in self._senders

    def _go_on(self, now: float) -> None:
        """Send a portion, and the rest in a later turn."""
        while self._unfinished and not self._turn.is_over:
            distribution = self._unfinished[0]
            self._send_portion(distribution)
            if distribution.position == distribution.matches.count:
                self._unfinished.popleft()
                self._finish(distribution)
        if self._unfinished:
            self._timers.add(now + PORTION_INTERVAL, self._go_on)

    def _send_portion(self, distribution: Distribution) -> None:
        turn, matches = self._turn, distribution.matches
        first = distribution.position
        last = min(first + max(turn.limit - turn.work, 0), matches.count)
        distribution.position = last
        turn.work += last - first
        message, publisher = distribution.message, distribution.publisher
        # Some sessions may have ended in the meantime.
        recipients = [
            recipient
            for recipient in matches.recipients[first:last]
            if not recipient.session.is_over
        ]
        send_to_all(message, distribution.sender, publisher, recipients)
        count = len(matches.recipients)
        for group in matches.groups[max(first - count, 0) : max(last - count, 0)]:
            if not group.is_over:
                send_to_one(message, publisher, group)

    def _finish(self, distribution: Distribution) -> None:
        distribution.is_done = True
        self.undivided -= distribution.is_undivided
        distribution.message.let_go(self._memory)
        self._memory.used -= distribution.size
        topic, sender = distribution.message.topic, distribution.sender
        self._topics[topic] -= 1
        if not self._topics[topic]:
            del self._topics[topic]
        self._senders[sender] -= 1
        if not self._senders[sender]:
            del self._senders[sender]
        if not self.undivided:
            # Before the publisher of this one, so that it is their turn.
            for publisher in self._waiting:
                publisher.announce()
            self._waiting.clear()
        if distribution.publisher is not None:
            # It goes on with the packets after the message.
            distribution.publisher.announce()


def send_to_all(
    message: ApplicationMessage,
    sender: Session | None,
    publisher: SendBuffer | None,
    recipients: list[Recipient],
) -> None:
    """Send a message to sessions that subscribed (§3.3.4).

    Args:
        message: The message.
        sender: The session of its publisher, for No Local; None: the broker itself.
        publisher: The publisher, which waits for clients that do not keep up; None: no
            publisher has to wait.
        recipients: The sessions.
    """
    for recipient in recipients:
        wanted: Recipient | None = recipient
        if recipient.session is sender:
            wanted = recipient.for_publisher
            if wanted is None:
                continue
        assert wanted is not None
        wanted.session.deliver(
            message,
            min(message.qos, wanted.qos),
            message.retain and wanted.retain_as_published,
            wanted.identifiers,
            publisher,
        )


def send_to_one(
    message: ApplicationMessage, publisher: SendBuffer | None, group: ShareGroup
) -> None:
    """Send a message to one of the sessions that share a subscription (§4.8.2)."""
    chosen = group.choose()
    chosen.session.deliver(
        message,
        min(message.qos, chosen.qos),
        message.retain and chosen.retain_as_published,
        (chosen.identifier,) if chosen.identifier else (),
        publisher,
        chosen.topic_filter,
    )
