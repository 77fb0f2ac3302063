"""The packet identifiers that no PUBLISH may use, since the peer may remember them.

If a delivery was written that the program has dropped, the peer may have received it.
At QoS 2 it would take another PUBLISH with the same identifier for the dropped one, and
that would be lost (MQTT 5.0 §4.3.3). The same goes for deliveries that the store has
forgotten because its last changes were undone: their identifiers are in doubt.
"""

from typing import Final

from aiomqtt.standard.names import FIRST_FAILURE, PROTOCOL_ERROR, PUBREL_FIRST_BYTE, V5
from aiomqtt.standard.tables import PacketType

from .codec.fast import encode_ack
from .packets import Ack
from .wire import PacketError

PUBACK: Final = PacketType.PUBACK
PUBREC: Final = PacketType.PUBREC


class DroppedIds:
    """Packet identifiers that are out of use, and the acknowledgements still expected.

    Attributes:
        in_flight: The number of them that count towards the quota of this connection.
        doubtful: Those that a forgotten delivery with QoS 2 may have used.
    """

    __slots__ = ("_is_refused", "_qos", "_written", "doubtful", "in_flight")

    def __init__(self) -> None:
        # The QoS of each. Entries of QoS 1 are valid for the connection, as the peer
        # keeps
        # no state for them (§4.1); entries of QoS 2 for the session.
        self._qos: dict[int, int] = {}
        self.doubtful: set[int] = set()
        # Valid for the connection: the identifiers that were written on it.
        self._written: set[int] = set()
        self.in_flight: int = 0
        # Whether the peer was asked to release those in doubt, and has answered none.
        self._is_refused: bool = False

    def __len__(self) -> int:
        """Return the number of identifiers that are out of use."""
        return len(self._qos) + len(self.doubtful)

    def has(self, packet_id: int) -> bool:
        """Whether an identifier is out of use."""
        return packet_id in self._qos or packet_id in self.doubtful

    def lasting(self) -> list[int]:
        """Return the identifiers that stay out of use when the connection ends."""
        return [packet_id for packet_id, qos in self._qos.items() if qos == 2]

    def add(self, packet_id: int, qos: int, is_in_flight: bool) -> None:
        """Put an identifier out of use, if the peer may still remember it.

        Args:
            packet_id: The identifier.
            qos: The QoS of the delivery that had it.
            is_in_flight: Whether the delivery was written on this connection.
        """
        if qos == 2 or is_in_flight:
            self._qos[packet_id] = qos
        if is_in_flight:
            self._written.add(packet_id)
            self.in_flight = len(self._written)

    def release(self, out: list[bytes]) -> None:
        """Ask the peer to release the identifiers in doubt.

        To it, these PUBRELs are of an earlier connection, so one that does not know an
        identifier answers as well (MQTT 5.0 §4.4, §3.7.2.1; 3.1.1 §4.3.3).
        """
        out.extend(encode_ack(PUBREL_FIRST_BYTE, one) for one in sorted(self.doubtful))
        self._is_refused = len(self.doubtful) > 0

    def close(self) -> None:
        """End the connection: acknowledgements of QoS 1 no longer come.

        A peer that has answered no PUBREL for an identifier in doubt may have ended the
        connection for that, and would do so again: it is not asked a second time.
        """
        if self._is_refused:
            self.doubtful.clear()
            self._is_refused = False
        self._written.clear()
        self.in_flight = 0
        self._qos = {key: qos for key, qos in self._qos.items() if qos == 2}

    def clear(self) -> None:
        """End the session: the peer has forgotten all of them."""
        self._qos.clear()
        self.doubtful.clear()
        self._is_refused = False
        self._written.clear()
        self.in_flight = 0

    def acknowledge(self, ack: Ack, version: int, out: list[bytes]) -> bool:
        """Handle a PUBACK, PUBREC or PUBCOMP; return whether it was for one of these.

        Raises:
            PacketError: The acknowledgement belongs to another kind of flow.
        """
        packet_id = ack.packet_id
        qos = 2 if packet_id in self.doubtful else self._qos.get(packet_id, 0)
        if not qos:
            return False
        fits = qos == 2
        if ack.kind is PUBACK:
            # Below 5.0 there are brokers that answer QoS 2 with it.
            fits = qos == 1 or version < V5
        if not fits:
            raise PacketError(
                PROTOCOL_ERROR, f"{ack.kind.name} for a PUBLISH with QoS {qos}"
            )
        if ack.kind is PUBREC and ack.reason_code < FIRST_FAILURE:
            # The flow goes on: the peer waits for the PUBREL.
            out.append(encode_ack(PUBREL_FIRST_BYTE, packet_id))
            return True
        if packet_id in self.doubtful:
            self.doubtful.remove(packet_id)
            self._is_refused = False
            return True
        del self._qos[packet_id]
        self._written.discard(packet_id)
        self.in_flight = len(self._written)
        return True
