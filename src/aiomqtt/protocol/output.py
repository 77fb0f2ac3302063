"""The output of the engine: changes, bytes and happenings."""

from collections.abc import Iterable

from aiomqtt.exceptions import MqttError

from .changes import Change
from .codec.size import MESSAGE_SIZE
from .delivery import Delivery
from .packets import Connack, Publish
from .requests import Request


class Arrived:
    """Messages arrived, with no other happening between them.

    Attributes:
        messages: The messages, in order.
        size: An estimate of the memory that they use, in bytes.
    """

    __slots__ = ("messages", "size")

    def __init__(self, messages: list[Publish], size: int) -> None:
        self.messages: list[Publish] = messages
        self.size: int = size


class Connected:
    """The broker accepted the connection."""

    __slots__ = ("connack",)

    def __init__(self, connack: Connack) -> None:
        self.connack: Connack = connack


class Challenge:
    """The broker sent the next step of an authentication (§4.12).

    The answer is `Authentication.answer`, to the last one `Engine.accept_broker`.

    Attributes:
        data: The Authentication Data, or None.
        is_last: Whether the broker accepts the client; its data may prove who the
            broker is. After a CONNACK, `Connected` comes when the caller has accepted
            the broker.
    """

    __slots__ = ("data", "is_last")

    def __init__(self, data: bytes | None, is_last: bool) -> None:
        self.data: bytes | None = data
        self.is_last: bool = is_last


class Closed:
    """The connection is over: write the remaining bytes, and close it.

    After it come the happenings that it causes: the requests that were not answered,
    and, if the session has ended too, the deliveries.

    Attributes:
        error: The reason; None after `disconnect`.
        connack: The CONNACK with which the broker refused, or None.
    """

    __slots__ = ("connack", "error")

    def __init__(self, error: MqttError | None, connack: Connack | None = None) -> None:
        self.error: MqttError | None = error
        self.connack: Connack | None = connack


# A Delivery or a Request becomes a happening when it ends, however it ends: each of
# them exactly once.
Happening = Arrived | Challenge | Connected | Delivery | Request | Closed


class Output:
    """The tasks of the caller, in this order: store, write, handle.

    Attributes:
        changes: The changes of a durable session, to store before the bytes leave.
        data: The bytes to write, complete packets.
        happenings: The happenings, in order.
    """

    __slots__ = ("changes", "data", "happenings")

    def __init__(
        self,
        changes: list[Change] | None,
        data: list[bytes],
        happenings: list[Happening],
    ) -> None:
        self.changes: list[Change] | None = changes
        self.data: list[bytes] = data
        self.happenings: list[Happening] = happenings

    @property
    def size(self) -> int:
        """About how many bytes it keeps in memory."""
        size = 0
        for data in self.data:
            size += len(data)
        for happening in self.happenings:
            if isinstance(happening, Arrived):
                size += happening.size
        return size


class PendingOutput:
    """The output of the engine that the caller has not taken yet.

    Attributes:
        data: The bytes to write, complete packets.
        messages: The messages that arrived since the last happening.
        size: The number of bytes received since then.
    """

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self._happenings: list[Happening] = []
        self.messages: list[Publish] = []
        self.size: int = 0

    def add(self, happening: Happening) -> None:
        """Add a happening after the messages that arrived before it."""
        if self.messages:
            self._add_messages()
        self._happenings.append(happening)

    def add_all(self, happenings: Iterable[Delivery | Request]) -> None:
        """Add the happenings that another one caused."""
        for happening in happenings:
            self.add(happening)

    def _add_messages(self) -> None:
        size = self.size + MESSAGE_SIZE * len(self.messages)
        self._happenings.append(Arrived(self.messages, size))
        self.messages = []
        self.size = 0

    def take_happenings(self) -> list[Happening]:
        """Return the happenings; the bytes stay."""
        happenings, self._happenings = self._happenings, []
        return happenings

    def take(self, changes: list[Change] | None) -> Output:
        """Return all of it, with the changes of the session, and start again."""
        if self.messages:
            self._add_messages()
        output = Output(changes, self.data, self._happenings)
        self.data = []
        self._happenings = []
        self.size = 0
        return output
