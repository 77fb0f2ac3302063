"""The receiver's half of QoS 1 and 2 (MQTT 5.0 §4.3.2, §4.3.3), the same in both roles.

Messages are accepted and acknowledged in the order in which they came. At QoS 2 an
identifier is remembered from PUBLISH to PUBREL, and the message is delivered once. In
a client the program may decide on the acknowledgements: see `acknowledgements.py`.
"""

from typing import TYPE_CHECKING

from aiomqtt.standard.names import (
    DEFAULT_RECEIVE_MAXIMUM,
    FIRST_FAILURE,
    PUBACK_FIRST_BYTE,
    PUBCOMP_FIRST_BYTE,
    PUBREC_FIRST_BYTE,
    RECEIVE_MAXIMUM_EXCEEDED,
    V5,
)
from aiomqtt.standard.tables import ProtocolVersion

from .changes import Change, ChangeKind, SessionState
from .codec.fast import encode_ack, encode_not_found
from .packets import Ack, Publish
from .wire import PacketError

if TYPE_CHECKING:
    from .acknowledgements import Acknowledgements, AckTicket, Flow


class Inbound:
    """All incoming messages of a session whose flow is not complete.

    Args:
        changes: The list for the changes of the session; None: they are not recorded.

    Attributes:
        is_manual: Whether the program decides when to acknowledge; see `set_manual`.
        acknowledgements: Those that it decides on; None: `accept` acknowledges.
    """

    def __init__(self, changes: list[Change] | None = None) -> None:
        self._changes = changes
        # Valid for the session: QoS 2, from PUBLISH to PUBREL.
        self._received: set[int] = set()
        # QoS 2, until the flow is complete, if the program decides on it.
        self._flows: dict[int, Flow] = {}
        # The number of sessions that have ended, and how many had when this one was
        # loaded.
        self._epoch = 0
        self._loaded_at = 0

        # Valid as long as the client.
        self.is_manual: bool = False

        # Valid for the connection.
        self._version: ProtocolVersion = ProtocolVersion.V5
        self.acknowledgements: Acknowledgements | None = None
        self._receive_maximum = DEFAULT_RECEIVE_MAXIMUM
        # The identifiers received on this connection: the peer's quota is reset for
        # each connection (§4.9).
        self._counted: set[int] = set()

    def __len__(self) -> int:
        """Return the number of remembered identifiers."""
        return len(self._received)

    def open(
        self, version: ProtocolVersion, receive_maximum: int = DEFAULT_RECEIVE_MAXIMUM
    ) -> None:
        """Begin a connection, with the Receive Maximum that was sent to the peer."""
        self._version = version
        self._receive_maximum = receive_maximum
        self._counted.clear()
        if self.is_manual:
            self._expect_decisions()

    def close(self) -> None:
        """End a connection: what is not acknowledged may come again."""
        if self.acknowledgements is not None:
            self.acknowledgements.end()
            self.acknowledgements = None

    def set_manual(self, is_connected: bool) -> None:
        """Let the program decide on the messages that come from now on.

        Each message with QoS 1 or 2 that `accept` returns then has a ticket.

        Args:
            is_connected: Whether there is a connection that was accepted.
        """
        self.is_manual = True
        if is_connected and self.acknowledgements is None:
            self._expect_decisions()

    def _expect_decisions(self) -> None:
        # Most programs leave it to the client.
        from .acknowledgements import Acknowledgements

        self.acknowledgements = Acknowledgements(
            self._version, epoch=self._epoch, owner=self
        )

    def clear(self) -> None:
        """Forget all state of the session."""
        is_known = self._received or any(flow.name for flow in self._flows.values())
        if self._changes is not None and is_known:
            self._changes.append(Change(ChangeKind.INBOUND_CLEARED))
        self._received.clear()
        self._flows.clear()
        self._counted.clear()
        self._epoch += 1
        if self.acknowledgements is not None:
            # It has none yet: a broker says first that it has lost the session.
            self.acknowledgements.epoch = self._epoch

    def save(self, state: SessionState) -> None:
        """Save its part in the state of a session."""
        state.received.update(self._received)
        for packet_id, flow in self._flows.items():
            if flow.name:
                state.flows[packet_id] = flow.name

    def load(self, state: SessionState) -> None:
        """Load its part from the state of a session."""
        self._loaded_at = self._epoch
        self._received.update(state.received)
        if state.flows:
            from .acknowledgements import Flow

            self._flows.update({key: Flow(name) for key, name in state.flows.items()})

    def _remember(self, packet_id: int) -> None:
        if self._changes is not None and packet_id not in self._received:
            self._changes.append(Change(ChangeKind.RECEIVED, packet_id))
        self._received.add(packet_id)

    def accept(self, packet: Publish, out: list[bytes]) -> bool:
        """Handle a PUBLISH with QoS 1 or 2 and acknowledge it, unless `is_manual`.

        Returns:
            Whether to deliver it; False for a repetition.

        Raises:
            PacketError: It exceeds the Receive Maximum (0x93).
        """
        if self.acknowledgements is not None:
            return self._accept_undecided(packet, self.acknowledgements)
        packet_id = packet.packet_id
        if packet.qos == 1:
            # It is acknowledged at once, so it never counts against the maximum.
            out.append(encode_ack(PUBACK_FIRST_BYTE, packet_id))
            return True
        is_new = packet_id not in self._received
        self._count(packet_id)
        self._remember(packet_id)
        out.append(encode_ack(PUBREC_FIRST_BYTE, packet_id))
        return is_new

    # The same, if the program decides on the acknowledgements.

    def _accept_undecided(
        self, packet: Publish, acknowledgements: "Acknowledgements"
    ) -> bool:
        packet_id = packet.packet_id
        if packet.qos == 1:
            # At QoS 1, only DUP tells a repetition from another message.
            if packet.dup and acknowledgements.expects(packet_id):
                return False
            packet.ticket = acknowledgements.expect(packet_id, 1)
            if acknowledgements.pubacks + len(self._counted) > self._receive_maximum:
                raise _exceeded(self._receive_maximum)
            return True
        if packet_id in self._received:
            self._count(packet_id)
            acknowledgements.repeat(packet_id)
            return False
        if packet_id in self._counted:
            # It is undecided: the acknowledgement is that of both.
            return False
        self._count(packet_id)
        packet.ticket = acknowledgements.expect_flow(packet_id, self._flows)
        return True

    def _count(self, packet_id: int) -> None:
        self._counted.add(packet_id)
        count = len(self._counted)
        if self.acknowledgements is not None:
            count += self.acknowledgements.pubacks
        if count > self._receive_maximum:
            raise _exceeded(self._receive_maximum)

    def write_decided(self, out: list[bytes]) -> None:
        """Write the acknowledgements that the program has decided on, in order."""
        acknowledgements = self.acknowledgements
        if acknowledgements is None or not acknowledgements.is_due:
            return
        for ticket in acknowledgements.take_pubacks():
            if ticket.reason_code:
                self._answer(ticket.packet_id, 1, ticket.reason_code, out)
            else:
                out.append(encode_ack(PUBACK_FIRST_BYTE, ticket.packet_id))
        for ticket in acknowledgements.take_pubrecs():
            self._answer(ticket.packet_id, 2, ticket.reason_code, out)

    # The same for a program that stores by itself which messages of QoS 2 it received.

    def owns(self, ticket: "AckTicket") -> bool:
        """Whether a message came here, on this connection or an earlier one."""
        return ticket.owner is self

    def has_received(self, ticket: "AckTicket") -> bool:
        """Whether a message of QoS 2 was received before, and came again.

        The same if it will come again: the session was loaded since it came.
        """
        if ticket.epoch != self._epoch:
            return ticket.epoch < self._loaded_at
        flow = ticket.flow
        is_complete = flow is not None and flow.is_complete
        return is_complete or ticket.packet_id in self._received

    def receive(self, ticket: "AckTicket") -> bool:
        """Note that the program stores that it has received a message of QoS 2.

        If the broker sends it again from now on, it is a repetition.

        Returns:
            Whether to store it; False: the broker has lost the session, or the flow is
            complete, so it does not send the message again.
        """
        if not self._is_current(ticket):
            return False
        self._received.add(ticket.packet_id)
        return True

    def _is_current(self, ticket: "AckTicket") -> bool:
        flow = ticket.flow
        is_complete = flow is not None and flow.is_complete
        return ticket.epoch == self._epoch and not is_complete

    def take_back(self, packet_id: int) -> None:
        """Note that it was not stored, after `receive`."""
        self._received.discard(packet_id)

    def finish(self, ticket: "AckTicket") -> None:
        """Acknowledge a message that the program has processed and stored.

        If its connection has ended, that is the answer to its repetition.
        """
        acknowledgements = self.acknowledgements
        if not ticket.is_void:
            ticket.finish()
        elif (
            acknowledgements is not None
            and self._is_current(ticket)
            and ticket.packet_id in self._received
        ):
            acknowledgements.finish_received(ticket.packet_id)

    # The same for a program whose own database has the messages that it processed.

    def name_flow(self, ticket: "AckTicket", name: str) -> str:
        """Return the name of the flow to which a message of QoS 2 belongs.

        The repetitions of a message have the same name, and no other message has it.
        It is forgotten when the flow is complete. It is a change of the session: wait
        until that is stored before you rely on it.

        Args:
            ticket: The message, whose connection has not ended.
            name: The name if it has none yet: one that was never used.
        """
        flow = ticket.flow
        assert flow is not None, "it has QoS 1"
        if not flow.name:
            flow.name = name
            # A faulty broker may have completed it.
            if self._changes is not None and not flow.is_complete:
                self._changes.append(Change(ChangeKind.NAMED, ticket.packet_id, name))
        return flow.name

    # The same in two steps, for a caller that decides on the answer in between.

    def admit(self, packet: Publish) -> bool:
        """Handle a PUBLISH with QoS 1 or 2; `answer` acknowledges it.

        Returns:
            Whether to deliver it; False for a repetition.

        Raises:
            PacketError: It exceeds the Receive Maximum (0x93).
        """
        if packet.qos == 1:
            return True
        self._count(packet.packet_id)
        return packet.packet_id not in self._received

    def note_received(self, packet: Publish) -> None:
        """Note that a PUBLISH was delivered which is acknowledged later.

        If it comes again, it is a repetition.
        """
        if packet.qos == 2:
            self._remember(packet.packet_id)

    def answer(self, packet: Publish, reason_code: int, out: list[bytes]) -> None:
        """Acknowledge a PUBLISH that was admitted.

        Args:
            packet: The PUBLISH.
            reason_code: 0 for success; from 0x80 on it is refused, and its flow ends
                (§4.3.3). Below 5.0 no code is sent.
            out: The buffer to write to.
        """
        self._answer(packet.packet_id, packet.qos, reason_code, out)

    def _answer(
        self, packet_id: int, qos: int, reason_code: int, out: list[bytes]
    ) -> None:
        first = PUBACK_FIRST_BYTE if qos == 1 else PUBREC_FIRST_BYTE
        if self._version < V5 or not reason_code:
            ack = encode_ack(first, packet_id)
        else:
            ack = bytes((first, 3, packet_id >> 8, packet_id & 0xFF, reason_code))
        out.append(ack)
        if qos == 2:
            if self._version >= V5 and reason_code >= FIRST_FAILURE:
                self._complete(packet_id)
            else:
                self._remember(packet_id)

    def release(self, ack: Ack, out: list[bytes]) -> None:
        """Handle a PUBREL with a PUBCOMP, even if its PUBLISH is unknown."""
        packet_id = ack.packet_id
        if packet_id in self._received or self._version < V5:
            self._complete(packet_id)
            out.append(encode_ack(PUBCOMP_FIRST_BYTE, packet_id))
        else:
            out.append(encode_not_found(PUBCOMP_FIRST_BYTE, packet_id))

    def _complete(self, packet_id: int) -> None:
        """Forget a flow: the next message with this identifier is another one."""
        flow = self._flows.pop(packet_id, None)
        is_known = packet_id in self._received or (flow is not None and flow.name != "")
        if self._changes is not None and is_known:
            self._changes.append(Change(ChangeKind.COMPLETED, packet_id))
        self._received.discard(packet_id)
        self._counted.discard(packet_id)
        if flow is not None:
            flow.is_complete = True


def _exceeded(maximum: int) -> PacketError:
    return PacketError(
        RECEIVE_MAXIMUM_EXCEEDED, f"more than {maximum} messages are unacknowledged"
    )
