"""The iterator over incoming messages."""

from typing import Never, Self

from aiomqtt.message import Message

from .iterator_async import Arrival
from .stream import MessageStream


class MessagesIterator:
    """A view of the client's message queue.

    Several tasks may iterate at once and share the messages.
    """

    __slots__ = ("_ready", "_stream")

    def __init__(self, stream: MessageStream) -> None:
        self._stream = stream
        self._ready = stream.ready

    def __aiter__(self) -> Self:
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> Message:
        """Return the next message; wait for it if there is none.

        Messages that were received before the connection ended are still returned.
        A cancelled call loses no message.

        Raises:
            MqttError: The connection has ended and no message is left. `__cause__` is
                the reason, unless the program left the context.
        """
        if self._ready:
            return self._ready.pop()
        return await Arrival(self._stream)

    def __call__(self) -> Never:
        """Raise TypeError: only aiomqtt 1 needed this call."""
        msg = (
            "'MessagesIterator' object is not callable: use"
            " `async for message in client.messages`"
        )
        raise TypeError(msg)

    def __len__(self) -> int:
        """Return the number of messages in the queue."""
        return len(self._stream)

    @property
    def discarded(self) -> int:
        """The number of messages discarded because the queue was full."""
        return self._stream.discarded
