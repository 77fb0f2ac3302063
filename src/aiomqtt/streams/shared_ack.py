"""Acknowledgements of messages that several streams have, or that have been sent.

A message that goes to several streams whose program acknowledges is acknowledged when
all of them have done so. Each gets a copy with a ticket of its own.
"""

from copy import copy

from aiomqtt.exceptions import MqttError
from aiomqtt.message import Message, PendingAck


class SharedTicket:
    """The acknowledgement of a message of which several streams have a copy.

    Args:
        ticket: The acknowledgement.
        count: The number of copies.
    """

    def __init__(self, ticket: PendingAck, count: int) -> None:
        self.ticket: PendingAck = ticket
        self._undecided = count
        # A refusal takes precedence over success.
        self._reason_code = 0

    def decide(self, reason_code: int) -> None:
        """Note the decision on one copy; the last one decides."""
        if self._undecided == 1:
            self.ticket.decide(max(self._reason_code, reason_code))
        self._undecided -= 1
        self._reason_code = max(self._reason_code, reason_code)


class SharedAck(PendingAck):
    """The ticket of one copy.

    Args:
        shared: The acknowledgement of all.
    """

    __slots__ = ("_decided", "_shared")

    def __init__(self, shared: SharedTicket) -> None:
        self._shared = shared
        self._decided = False

    @property
    def is_decided(self) -> bool:
        """Whether the program has acknowledged or refused it."""
        return self._decided

    @property
    def is_void(self) -> bool:
        """Whether it can't be decided any more: the connection has ended."""
        return not self._decided and self._shared.ticket.is_void

    def check(self, reason_code: int) -> None:
        """Check that this copy can be acknowledged, or refused."""
        if self._decided:
            raise MqttError("The message is acknowledged already")
        self._shared.ticket.check(reason_code)

    def decide(self, reason_code: int) -> None:
        """Acknowledge this copy, or refuse the message."""
        self.check(reason_code)
        self._shared.decide(reason_code)
        self._decided = True

    def finish(self) -> None:
        """Acknowledge this copy, if that is still undecided and possible."""
        if not self._decided and not self._shared.ticket.is_void:
            self.decide(0)


class SentAck(PendingAck):
    """The ticket of a message that was acknowledged before it came to its stream."""

    __slots__ = ("_decided",)

    def __init__(self) -> None:
        self._decided = False

    @property
    def is_decided(self) -> bool:
        """Whether the program has acknowledged or refused it."""
        return self._decided

    @property
    def is_void(self) -> bool:
        """Whether the connection has ended: that does not matter."""
        return False

    def check(self, reason_code: int) -> None:
        """Check that the program has not acknowledged it."""
        if self._decided:
            raise MqttError("The message is acknowledged already")

    def decide(self, reason_code: int) -> None:
        """Note that the program has acknowledged it."""
        self.check(reason_code)
        self._decided = True

    def finish(self) -> None:
        """Note that the program has acknowledged it."""
        self._decided = True


def copies_of(message: Message, are_late: list[bool]) -> list[Message]:
    """Return copies of a message with a ticket, one for each of several streams.

    Args:
        message: The message.
        are_late: For each stream, whether its program acknowledges.
    """
    ticket, count = message.ticket, are_late.count(True)
    assert ticket is not None
    if not count:
        ticket.finish()
    shared = SharedTicket(ticket, count)
    copies: list[Message] = []
    for is_late in are_late:
        one = copy(message)
        if is_late:
            one.ticket = SharedAck(shared)
        copies.append(one)
    return copies


def mark_as_acknowledged(messages: list[Message]) -> None:
    """Let the program acknowledge messages that were acknowledged on receipt."""
    for message in messages:
        if message.qos:
            message.ticket = SentAck()
