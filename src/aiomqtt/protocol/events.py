"""What goes into the engine and what comes out, apart from bytes."""

from enum import Enum
from typing import NamedTuple

from aiomqtt.exceptions import MqttError
from aiomqtt.properties import Properties, ReasonCode, SubscribeOptions
from aiomqtt.standard.tables import PacketType, ProtocolVersion

from .changes import Change
from .delivery import Delivery
from .packets import Connack, Publish, WillMessage


class State(Enum):
    """The states of a connection."""

    CLOSED = "closed"
    CONNECTING = "connecting"
    CONNECTED = "connected"


class Settings(NamedTuple):
    """What every CONNECT of a client says, and the bounds of its publishing."""

    version: ProtocolVersion
    client_id: str = ""
    # None: only until a connection was accepted; then the session goes on.
    clean_start: bool | None = None
    keep_alive: int = 60  # seconds
    username: str | None = None
    password: bytes | None = None
    will: WillMessage | None = None
    properties: Properties | None = None
    # None: what the broker's Receive Maximum allows, below 5.0 IN_FLIGHT_V3.
    maximum_in_flight: int | None = None
    # How many QoS 1 and 2 publishes may be unfinished; None: no limit.
    maximum_queued: int | None = None

    def __repr__(self) -> str:
        """Return all but the password."""
        shown = self._asdict()
        del shown["password"]
        return f"Settings({', '.join(f'{k}={v!r}' for k, v in shown.items())})"


class Request:
    """A SUBSCRIBE or UNSUBSCRIBE that waits for its acknowledgement.

    Attributes:
        filters: The topic filters, in their order.
        options: The options of each, for a SUBSCRIBE.
        identifier: The Subscription Identifier; 0: none.
        is_answered: Whether the acknowledgement came; it does not when the connection
            ends before.
        reason_codes: The codes, one for each topic filter; empty until they come,
            and for an UNSUBSCRIBE below 5.0.
        properties: The properties of the acknowledgement, or None.
        waiter: Whatever the caller wants to find here when it is done.
    """

    __slots__ = (
        "answer",
        "filters",
        "identifier",
        "is_answered",
        "options",
        "packet_id",
        "properties",
        "reason_codes",
        "waiter",
    )

    def __init__(self, answer: PacketType, packet_id: int, filters: list[str]) -> None:
        """Wait for an answer with a code for each filter."""
        self.answer: PacketType = answer
        self.packet_id: int = packet_id
        self.filters: list[str] = filters
        self.options: list[SubscribeOptions] = []
        self.identifier: int = 0
        self.is_answered: bool = False
        self.reason_codes: list[ReasonCode] = []
        self.properties: Properties | None = None
        self.waiter: object = None


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

    def __init__(self, data: list[bytes], happenings: list[Happening]) -> None:
        """Take what to write and what to handle."""
        self.changes: list[Change] | None = None
        self.data: list[bytes] = data
        self.happenings: list[Happening] = happenings
