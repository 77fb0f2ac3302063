"""The messages of one stream, as the program iterates over them."""

from typing import TYPE_CHECKING, Generic, TypeVar

from aiomqtt.message import Message

from .iterator import MessagesIterator

MessageT = TypeVar("MessageT", bound=Message, covariant=True)


class Stream(MessagesIterator, Generic[MessageT]):
    """The messages for the topic filters of one `Client.stream`, in their order.

    Iterate over it with ``async for``; ``len()`` is the number of messages that wait.
    Several tasks may iterate at once and share the messages.

    Attributes:
        discarded (int): The number of messages discarded because the queue was full.
    """

    __slots__ = ()

    if TYPE_CHECKING:

        def __aiter__(self) -> "Stream[MessageT]":
            """Return an iterator for one ``async for``."""
            ...

        async def __anext__(self) -> MessageT:
            """Return the next message; wait for it if there is none."""
            ...
