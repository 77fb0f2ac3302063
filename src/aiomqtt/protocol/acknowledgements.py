"""The acknowledgements that the program decides on, in the order of MQTT 5.0 §4.6.

A program may finish its messages in any order. PUBACKs leave in the order in which the
messages of QoS 1 came, and PUBRECs in that of QoS 2, so a message that is undecided
holds back those that came after it. A decision belongs to the connection on which the
message came: on the next one its packet identifier may be another message's.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from aiomqtt.exceptions import MqttError
from aiomqtt.message import PendingAck
from aiomqtt.standard.names import V5
from aiomqtt.standard.tables import PacketType, ProtocolVersion, Role, reason_codes

if TYPE_CHECKING:
    from aiomqtt.client.inbox_async import MessageTransaction

# Returns a transaction with a message: see `Message.transaction`.
BeginTransaction: TypeAlias = Callable[
    ["AckTicket", object, float | None], "MessageTransaction"
]

_UNDECIDED: Final = -1
# The tickets that may be kept after they were taken from the order.
_KEPT: Final = 1024


class Flow:
    """One incoming QoS 2 flow (MQTT 5.0 §4.3.3), over all connections that it takes.

    Args:
        name: The name by which a database of the program knows it; "": none.

    Attributes:
        is_complete: Whether its packet identifier may be another message's.
    """

    __slots__ = ("is_complete", "name")

    def __init__(self, name: str = "") -> None:
        self.name: str = name
        self.is_complete: bool = False


class AckTicket(PendingAck):
    """The acknowledgement of one message: undecided, or decided once.

    Args:
        acknowledgements: Those of the connection on which the message came.
        packet_id: The packet identifier of the message.
        qos: Its QoS, 1 or 2.
    """

    __slots__ = ("_acknowledgements", "flow", "packet_id", "qos", "reason_code")

    def __init__(
        self, acknowledgements: "Acknowledgements", packet_id: int, qos: int
    ) -> None:
        self._acknowledgements = acknowledgements
        self.packet_id: int = packet_id
        self.qos: int = qos
        # Its flow; None at QoS 1.
        self.flow: Flow | None = None
        # What was decided.
        self.reason_code: int = _UNDECIDED

    @property
    def is_decided(self) -> bool:
        """Whether the program has acknowledged or refused the message."""
        return self.reason_code != _UNDECIDED

    @property
    def is_void(self) -> bool:
        """Whether it can't be decided any more: the connection has ended."""
        return self.reason_code == _UNDECIDED and self._acknowledgements.is_over

    @property
    def epoch(self) -> int:
        """The session in which the message came: see `Acknowledgements`."""
        return self._acknowledgements.epoch

    @property
    def owner(self) -> object:
        """Whose message it is: see `Acknowledgements`."""
        return self._acknowledgements.owner

    def is_same(self, other: "AckTicket") -> bool:
        """Whether both are of one message, which may have come twice at QoS 2."""
        return self is other or (self.flow is not None and self.flow is other.flow)

    def check(self, reason_code: int) -> None:
        """Check that `decide` can be called.

        Raises:
            ValueError: There is no such reason code in this version.
            MqttError: It is decided already, or its connection has ended.
        """
        acknowledgements = self._acknowledgements
        if reason_code:
            _check(reason_code, acknowledgements.version)
        if self.reason_code != _UNDECIDED:
            raise MqttError("The message is acknowledged already")
        if acknowledgements.is_over:
            raise MqttError(
                "The message can't be acknowledged: the connection on which it came has"
                " ended. If its session lasts, the broker sends the message again"
            )

    def decide(self, reason_code: int) -> None:
        """Acknowledge the message, or refuse it.

        Args:
            reason_code: 0, or another one of PUBACK and PUBREC (5.0 only).

        Raises what `check` does.
        """
        self.check(reason_code)
        self._acknowledgements.decide(self, reason_code)

    def finish(self) -> None:
        """Acknowledge the message, if that is still undecided and possible."""
        if self.reason_code == _UNDECIDED and not self._acknowledgements.is_over:
            self._acknowledgements.decide(self, 0)

    def transaction(
        self, connection: object, timeout: float | None
    ) -> "MessageTransaction":
        """Return a transaction with the message.

        Raises what `check` and the owner of the connection do.
        """
        self.check(0)
        begin = self._acknowledgements.begin_transaction
        if begin is None:
            msg = "the message belongs to no client that could begin a transaction"
            raise ValueError(msg)
        return begin(self, connection, timeout)


def _check(reason_code: int, version: ProtocolVersion) -> None:
    if version < V5:
        msg = (
            "a message can't be refused below MQTT 5.0, which has no reason codes:"
            " acknowledge it with reason_code=0"
        )
        raise ValueError(msg)
    codes = reason_codes(PacketType.PUBACK, version, Role.CLIENT)
    if reason_code not in codes:
        allowed = ", ".join(f"{code:#04x} ({name})" for code, name in codes.items())
        msg = f"reason_code must be one of {allowed}, not {reason_code!r}"
        raise ValueError(msg)


class _Order:
    """Tickets in the order of their messages."""

    __slots__ = ("_next", "_tickets")

    def __init__(self) -> None:
        # The first ones were taken.
        self._tickets: list[AckTicket] = []
        self._next = 0

    def add(self, ticket: AckTicket) -> None:
        self._tickets.append(ticket)

    def is_next(self, ticket: AckTicket) -> bool:
        return self._tickets[self._next] is ticket

    def __len__(self) -> int:
        return len(self._tickets) - self._next

    def take(self) -> list[AckTicket]:
        """Take the decided tickets before the first one that is undecided."""
        tickets, start = self._tickets, self._next
        index, count = start, len(tickets)
        while index < count and tickets[index].reason_code != _UNDECIDED:
            index += 1
        if index == count:
            self._tickets = []
            self._next = 0
            return tickets[start:] if start else tickets
        taken = tickets[start:index]
        if index >= _KEPT:
            del tickets[:index]
            index = 0
        self._next = index
        return taken

    def waiting(self) -> list[AckTicket]:
        """Return those that were not taken."""
        return self._tickets[self._next :]

    def identifiers(self) -> set[int]:
        """Return the packet identifiers."""
        return {ticket.packet_id for ticket in self.waiting()}


class Acknowledgements:
    """The acknowledgements of one connection that are not written yet.

    Attributes:
        version: The version of MQTT.
        epoch: The number of sessions that ended before this one.
        owner: The object whose messages they are; None: nobody asks.
        is_due: Whether there may be something to take.
        is_over: Whether the connection has ended.
        on_due: Called before `is_due` becomes true by the program's decision. If it
            raises, nothing is decided.
        begin_transaction: Begins a transaction with a message; None: there is no
            client that could.
    """

    def __init__(
        self,
        version: ProtocolVersion,
        on_due: Callable[[], None] | None = None,
        epoch: int = 0,
        owner: object = None,
    ) -> None:
        # Valid for the connection.
        self.version: ProtocolVersion = version
        self.epoch: int = epoch
        self.owner: object = owner
        self.is_due: bool = False
        self.is_over: bool = False
        self.on_due: Callable[[], None] | None = on_due
        self.begin_transaction: BeginTransaction | None = None
        self._pubacks = _Order()
        self._pubrecs = _Order()
        # The identifiers in the order of PUBACKs; None: nobody has asked yet.
        self._expected: set[int] | None = None

    @property
    def pubacks(self) -> int:
        """The number of PUBACKs that are not written."""
        return len(self._pubacks)

    def expect(self, packet_id: int, qos: int) -> AckTicket:
        """Return the ticket of a message that came."""
        ticket = AckTicket(self, packet_id, qos)
        if qos == 1:
            self._pubacks.add(ticket)
            if self._expected is not None:
                self._expected.add(packet_id)
        else:
            self._pubrecs.add(ticket)
        return ticket

    def expect_flow(self, packet_id: int, flows: dict[int, Flow]) -> AckTicket:
        """Return the ticket of a message of QoS 2 that came.

        Args:
            packet_id: Its packet identifier.
            flows: The flows that are not complete; that of the message is added.
        """
        ticket = self.expect(packet_id, 2)
        ticket.flow = flows.setdefault(packet_id, Flow())
        return ticket

    def expects(self, packet_id: int) -> bool:
        """Return whether a message of QoS 1 with this identifier is undecided."""
        if self._expected is None:
            self._expected = self._pubacks.identifiers()
        return packet_id in self._expected

    def repeat(self, packet_id: int) -> None:
        """Repeat a PUBREC, in its turn, for a message that came again (§4.3.3)."""
        self.expect(packet_id, 2).reason_code = 0
        self.is_due = True

    def decide(self, ticket: AckTicket, reason_code: int) -> None:
        """Record the decision on a message whose connection has not ended."""
        if not self.is_due:
            order = self._pubacks if ticket.qos == 1 else self._pubrecs
            if order.is_next(ticket):
                if self.on_due is not None:
                    self.on_due()
                self.is_due = True
        ticket.reason_code = reason_code

    def finish_received(self, packet_id: int) -> None:
        """Acknowledge a message of QoS 2, if it has come again and is undecided."""
        for ticket in self._pubrecs.waiting():
            if ticket.packet_id == packet_id and ticket.reason_code == _UNDECIDED:
                self.decide(ticket, 0)

    def take_pubacks(self) -> list[AckTicket]:
        """Return the decided tickets of QoS 1 to write now, in order, and forget them.

        Take the others, too.
        """
        self.is_due = False
        taken = self._pubacks.take()
        if self._expected is not None:
            for ticket in taken:
                self._expected.discard(ticket.packet_id)
        return taken

    def take_pubrecs(self) -> list[AckTicket]:
        """Return those of QoS 2, as `take_pubacks`."""
        return self._pubrecs.take()

    def end(self) -> None:
        """End with the connection: what is not written will not be."""
        self.is_over = True
        self.is_due = False
        self.on_due = None
        self.begin_transaction = None
        self._pubacks = _Order()
        self._pubrecs = _Order()
