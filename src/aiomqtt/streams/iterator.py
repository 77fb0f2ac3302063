"""The iterator over incoming messages."""

from collections.abc import Coroutine
from typing import Never

from aiomqtt.build import mypyc_attr
from aiomqtt.message import Message, PendingAck

from .iterator_async import Arrival
from .stream import MessageStream


@mypyc_attr(allow_interpreted_subclasses=True)
class MessagesIterator:
    """A view of the client's message queue.

    Several tasks may iterate at once and share the messages.
    """

    __slots__ = ("_in_hand", "_processes", "_ready", "_returned", "_stream")

    def __init__(
        self,
        stream: MessageStream,
        in_hand: set[PendingAck] | None = None,
    ) -> None:
        """View a queue.

        Args:
            stream: The queue.
            in_hand: Receives the acknowledgements of messages that were returned,
                until they are processed; None: nobody needs them.
        """
        self._stream = stream
        self._ready = stream.ready
        self._processes: bool = stream.is_processed
        self._in_hand: set[PendingAck] | None = in_hand
        # The acknowledgement of the message that was returned last, if it needs one.
        self._returned: PendingAck | None = None

    def __aiter__(self) -> "MessagesIterator":
        """Return an iterator for one ``async for``.

        It is the iterator itself, unless that acknowledges messages: then each has its
        own, so that several tasks may share this one.
        """
        if not self._processes:
            return self
        in_hand = self._in_hand
        if in_hand:
            # Those that were left by `break` are decided elsewhere, or not at all.
            for ticket in [*in_hand]:
                if ticket.is_decided or ticket.is_void:
                    in_hand.discard(ticket)
        return self._another()

    def _another(self) -> "MessagesIterator":
        return MessagesIterator(self._stream, self._in_hand)

    def __anext__(self) -> Coroutine[object, object, Message]:
        """Return the next message; wait for it if there is none.

        Messages that were received before the connection ended are still returned.
        A cancelled call loses no message.

        Raises:
            MqttError: The connection has ended and no message is left. `__cause__` is
                the reason, unless the program left the context.
        """
        # Coroutines of modules take fewer objects than those of a class that programs
        # can derive from.
        if self._processes:
            return _process(self)
        return _take(self._stream, self._ready)

    def _keep(self, ticket: PendingAck | None) -> None:
        """Keep the acknowledgement of a message until it is processed."""
        self._returned = ticket
        if self._in_hand is not None and ticket is not None:
            self._in_hand.add(ticket)

    def _finish(self) -> None:
        """Acknowledge the message that was returned last."""
        returned, self._returned = self._returned, None
        if returned is not None:
            if self._in_hand is not None:
                self._in_hand.discard(returned)
            returned.finish()

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


async def _take(stream: MessageStream, ready: list[Message]) -> Message:
    if ready:
        return ready.pop()
    return await Arrival(stream)


async def _process(iterator: MessagesIterator) -> Message:
    iterator._finish()  # noqa: SLF001
    if iterator._ready:  # noqa: SLF001
        message = iterator._ready.pop()  # noqa: SLF001
    else:
        message = await Arrival(iterator._stream)  # noqa: SLF001
    iterator._keep(message.ticket)  # noqa: SLF001
    return message
