"""The receiver's half of QoS 1 and 2 (MQTT 5.0 §4.3.2, §4.3.3), the same in both roles.

Messages are accepted and acknowledged in the order in which they came. At QoS 2 an
identifier is remembered from PUBLISH to PUBREL, and the message is delivered once.
"""

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


class Inbound:
    """All incoming messages of a session whose flow is not complete.

    Args:
        changes: The list for the changes of the session; None: they are not recorded.
    """

    def __init__(self, changes: list[Change] | None = None) -> None:
        self._changes = changes
        # Valid for the session: QoS 2, from PUBLISH to PUBREL.
        self._received: set[int] = set()

        # Valid for the connection.
        self._version: int = V5
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

    def clear(self) -> None:
        """Forget all state of the session."""
        if self._changes is not None and self._received:
            self._changes.append(Change(ChangeKind.INBOUND_CLEARED))
        self._received.clear()
        self._counted.clear()

    def save(self, state: SessionState) -> None:
        """Save its part in the state of a session."""
        state.received.update(self._received)

    def load(self, state: SessionState) -> None:
        """Load its part from the state of a session."""
        self._received.update(state.received)

    def _remember(self, packet_id: int) -> None:
        if self._changes is not None and packet_id not in self._received:
            self._changes.append(Change(ChangeKind.RECEIVED, packet_id))
        self._received.add(packet_id)

    def accept(self, packet: Publish, out: list[bytes]) -> bool:
        """Handle a PUBLISH with QoS 1 or 2 and acknowledge it.

        Returns:
            Whether to deliver it; False for a repetition.

        Raises:
            PacketError: It exceeds the Receive Maximum (0x93).
        """
        packet_id = packet.packet_id
        if packet.qos == 1:
            # It is acknowledged at once, so it never counts against the maximum.
            out.append(encode_ack(PUBACK_FIRST_BYTE, packet_id))
            return True
        is_new = packet_id not in self._received
        self._counted.add(packet_id)
        if len(self._counted) > self._receive_maximum:
            raise _exceeded(self._receive_maximum)
        self._remember(packet_id)
        out.append(encode_ack(PUBREC_FIRST_BYTE, packet_id))
        return is_new

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
        self._counted.add(packet.packet_id)
        if len(self._counted) > self._receive_maximum:
            raise _exceeded(self._receive_maximum)
        return packet.packet_id not in self._received

    def answer(self, packet: Publish, reason_code: int, out: list[bytes]) -> None:
        """Acknowledge a PUBLISH that was admitted.

        Args:
            packet: The PUBLISH.
            reason_code: 0 for success; from 0x80 on it is refused, and its flow ends
                (§4.3.3). Below 5.0 no code is sent.
            out: The buffer to write to.
        """
        packet_id = packet.packet_id
        first = PUBACK_FIRST_BYTE if packet.qos == 1 else PUBREC_FIRST_BYTE
        if self._version < V5 or not reason_code:
            ack = encode_ack(first, packet_id)
        else:
            ack = bytes((first, 3, packet_id >> 8, packet_id & 0xFF, reason_code))
        out.append(ack)
        if packet.qos == 2:
            if self._version >= V5 and reason_code >= FIRST_FAILURE:
                self._counted.discard(packet_id)
            else:
                self._remember(packet_id)

    def release(self, ack: Ack, out: list[bytes]) -> None:
        """Handle a PUBREL with a PUBCOMP, even if its PUBLISH is unknown."""
        packet_id = ack.packet_id
        if packet_id in self._received or self._version < V5:
            if self._changes is not None and packet_id in self._received:
                self._changes.append(Change(ChangeKind.COMPLETED, packet_id))
            self._received.discard(packet_id)
            self._counted.discard(packet_id)
            out.append(encode_ack(PUBCOMP_FIRST_BYTE, packet_id))
        else:
            out.append(encode_not_found(PUBCOMP_FIRST_BYTE, packet_id))


def _exceeded(maximum: int) -> PacketError:
    return PacketError(
        RECEIVE_MAXIMUM_EXCEEDED, f"more than {maximum} messages are unacknowledged"
    )
