"""The messages that were published to a broker, and which of them a test expects."""

import difflib
from collections import deque
from collections.abc import Callable
from types import EllipsisType
from typing import Final

from aiomqtt.message import Message
from aiomqtt.payload import PayloadType, encode_payload
from aiomqtt.topic import Wildcard, WildcardLike

# How many messages are kept, and how large they are together, in bytes.
KEPT_MESSAGES: Final = 10_000
KEPT_BYTES: Final = 64 * 1024 * 1024
# How many messages, how many topics and how much of a payload an error shows.
SHOWN_MESSAGES: Final = 10
SHOWN_TOPICS: Final = 5
SHOWN_BYTES: Final = 80
# How many topics are compared with the expected one.
COMPARED_TOPICS: Final = 1000


class ExpectedMessage:
    """The description of a message that a test expects.

    Args:
        topic: The topic, or a topic filter.
        payload: The payload, as for `Broker.publish`; ``...``: any.
        qos: The QoS at which it was published; ``None``: any.
        retain: Whether it has the RETAIN flag; ``None``: either.

    Raises:
        ValueError: The topic is not a topic filter, or the QoS is not 0, 1 or 2.
        TypeError: An argument has a wrong type.
    """

    def __init__(
        self,
        topic: WildcardLike,
        payload: PayloadType | EllipsisType = ...,
        qos: int | None = None,
        retain: bool | None = None,
    ) -> None:
        if qos not in (None, 0, 1, 2):
            msg = f"qos must be 0, 1, 2 or None, not {qos!r}"
            raise ValueError(msg)
        self.filter: Wildcard = (
            topic if isinstance(topic, Wildcard) else Wildcard(topic)
        )
        self.payload: bytes | None = (
            None if isinstance(payload, EllipsisType) else encode_payload(payload)
        )
        self.qos = qos
        self.retain = retain

    def __str__(self) -> str:
        """Return a description for people."""
        parts = [repr(self.filter.value)]
        if self.payload is not None:
            parts.append(f"payload {show_payload(self.payload)}")
        if self.qos is not None:
            parts.append(f"QoS {self.qos}")
        if self.retain is not None:
            parts.append("RETAIN" if self.retain else "without RETAIN")
        return ", ".join(parts)

    def is_met_by(self, message: Message) -> bool:
        """Return whether a message is as expected."""
        return (
            (self.payload is None or self.payload == message.payload)
            and self.qos in (None, message.qos)
            and self.retain in (None, message.retain)
            and message.topic.matches(self.filter)
        )


class PublishedMessages:
    """The latest messages that were published, in their order.

    Attributes:
        forgotten: How many older messages were dropped.
    """

    def __init__(self) -> None:
        self.forgotten: int = 0
        # Each with its size in memory.
        self._messages: deque[tuple[Message, int]] = deque()
        self._size = 0

    def add(self, message: Message, size: int) -> None:
        """Add a message; drop the oldest ones if there are too many bytes or messages.

        Args:
            message: The message.
            size: Its size in memory, in bytes.
        """
        self._messages.append((message, size))
        self._size += size
        while len(self._messages) > KEPT_MESSAGES or (
            self._size > KEPT_BYTES and len(self._messages) > 1
        ):
            _, dropped = self._messages.popleft()
            self._size -= dropped
            self.forgotten += 1

    def clear(self) -> None:
        """Forget all messages."""
        self._messages.clear()
        self._size = self.forgotten = 0

    def find(self, expected: Callable[[Message], bool]) -> list[Message]:
        """Return the messages for which a function returns true."""
        return [message for message, _ in self._messages if expected(message)]

    def explain(self, expected: ExpectedMessage) -> str:
        """Describe what was published instead of the expected message."""
        same = ExpectedMessage(expected.filter)
        found = self.find(same.is_met_by)
        if found:
            lines = ["Published to it instead:", *_show(found)]
        elif self._messages:
            topics = [
                *dict.fromkeys(m.topic.value for m, _ in reversed(self._messages))
            ]
            nearest = difflib.get_close_matches(
                expected.filter.value, topics[:COMPARED_TOPICS], SHOWN_TOPICS, 0.0
            )
            lines = ["Nothing was published to it. The nearest topics:"]
            for topic in nearest:
                lines += _show(self.find(ExpectedMessage(topic).is_met_by)[-1:])
            if len(topics) > len(nearest):
                lines.append(f"  ({len(topics) - len(nearest)} more topics)")
        else:
            lines = ["Nothing was published at all."]
        if self.forgotten:
            lines.append(f"{self.forgotten} older messages were not kept.")
        return "\n".join(lines)


def _show(messages: list[Message]) -> list[str]:
    """Describe the last messages of a list, one in each line."""
    shown = messages[-SHOWN_MESSAGES:]
    lines = []
    if len(messages) > len(shown):
        lines.append(f"  ({len(messages) - len(shown)} earlier messages)")
    for message in shown:
        retain = ", RETAIN" if message.retain else ""
        payload = show_payload(message.payload)
        lines.append(
            f"  {message.topic.value!r}, payload {payload}, QoS {message.qos}{retain}"
        )
    return lines


def show_payload(payload: bytes) -> str:
    """Return the beginning of a payload, for people."""
    if len(payload) <= SHOWN_BYTES:
        return repr(payload)
    return f"{payload[:SHOWN_BYTES]!r}... ({len(payload)} bytes)"
