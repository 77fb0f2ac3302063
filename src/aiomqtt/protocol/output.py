"""What comes out of the engine: changes, bytes and happenings."""

from aiomqtt.exceptions import MqttError

from .changes import Change
from .codec.size import MESSAGE_SIZE
from .delivery import Delivery
from .packets import Connack, Publish
from .requests import Request


class Arrived:
    """Messages arrived, one after the other with nothing else in between.

    Attributes:
        messages: The messages, in order.
        size: What they take of memory, about, in bytes.
    """

    __slots__ = ("messages", "size")

    def __init__(self, messages: list[Publish], size: int) -> None:
        """Take the messages."""
        self.messages: list[Publish] = messages
        self.size: int = size


class Connected:
    """The broker accepted the connection."""

    __slots__ = ("connack",)

    def __init__(self, connack: Connack) -> None:
        """Take the CONNACK."""
        self.connack: Connack = connack


class Closed:
    """The connection is over: write what is left, close it.

    Behind it comes what ends with it: the requests that were not answered, and the
    deliveries, when the session has ended too.

    Attributes:
        error: Why; None after `disconnect`.
        connack: The CONNACK with which the broker refused, or None.
    """

    __slots__ = ("connack", "error")

    def __init__(self, error: MqttError | None, connack: Connack | None = None) -> None:
        """Take the reason."""
        self.error: MqttError | None = error
        self.connack: Connack | None = connack


# A Delivery or a Request is what happened when it ended, in whatever way: each of them
# is handed over exactly once.
Happening = Arrived | Connected | Delivery | Request | Closed


class Output:
    """What the caller has to do, in this order.

    Attributes:
        changes: The changes of a durable session: to be stored before the bytes leave.
        data: The bytes, whole packets.
        happenings: What happened, in that order.
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


class PendingOutput:
    """What the engine has to hand over, until the caller takes it.

    Attributes:
        data: The bytes to write, whole packets.
        messages: The messages that arrived since the last happening.
        size: How many bytes were received since then.
    """

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self._happenings: list[Happening] = []
        self.messages: list[Publish] = []
        self.size: int = 0

    def add(self, happening: Happening) -> None:
        """Add a happening behind the messages that arrived before it."""
        if self.messages:
            self._add_messages()
        self._happenings.append(happening)

    def _add_messages(self) -> None:
        size = self.size + MESSAGE_SIZE * len(self.messages)
        self._happenings.append(Arrived(self.messages, size))
        self.messages = []
        self.size = 0

    def take(self, changes: list[Change] | None) -> Output:
        """Return all of it, with the changes of the session, and start anew."""
        if self.messages:
            self._add_messages()
        output = Output(changes, self.data, self._happenings)
        self.data = []
        self._happenings = []
        self.size = 0
        return output
