"""The iterator over incoming messages."""

from typing import Never, Self

from .arrival import Arrival
from .inbox import Inbox
from .message import Message


class MessagesIterator:
    """A view of the client's message queue.

    Several tasks may iterate at once and share the messages.
    """

    __slots__ = ("_inbox", "_ready")

    def __init__(self, inbox: Inbox) -> None:
        """Iterate over an inbox."""
        self._inbox = inbox
        self._ready = inbox.ready

    def __aiter__(self) -> Self:
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> Message:
        """Return the next message, waiting for it if need be.

        Messages that were received before the connection ended are still returned.
        Cancelling takes no message.

        Raises:
            MqttError: The connection has ended and no message is left;
                `__cause__` says why, when it did not end by leaving the context.
        """
        if self._ready:
            return self._ready.popleft()
        return await Arrival(self._inbox)

    def __call__(self) -> Never:
        """Refuse a call, which aiomqtt 1 needed."""
        msg = (
            "'MessagesIterator' object is not callable: use"
            " `async for message in client.messages`"
        )
        raise TypeError(msg)

    def __len__(self) -> int:
        """Return the number of messages in the queue."""
        return len(self._inbox)

    @property
    def discarded(self) -> int:
        """How many messages were discarded because the queue was full."""
        return self._inbox.discarded
