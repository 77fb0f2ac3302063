"""What a broker sends, seen between it and its client.

mosquitto 2.0.11 sometimes sends the PUBLISH of a message of QoS 2 again after its
PUBREL, which the standard forbids (MQTT 5.0 §4.3.3). The receiver has forgotten the
packet identifier by then, and has to take the message for a new one.
"""

from collections.abc import Callable
from typing import Final

from aiomqtt.standard.tables import PacketType
from aiomqtt.testing import BROKER, FaultProxy
from aiomqtt.testing.direction import Direction
from aiomqtt.testing.fault_order import FaultOrder

from .ledger import HEADER
from .peer import PUBLISH, PUBREL, skip_properties

DUP: Final = 8
# So many of the last packet identifiers that were released are kept.
MOST_KEPT: Final = 2000
# Told the topic and the payload of such a message.
Excuse = Callable[[str, bytes], None]


class ReleaseWatch:
    """Finds each PUBLISH that a broker repeats after its PUBREL.

    Args:
        version: 4 or 5.
        excuse: Called for each.
    """

    def __init__(self, version: int, excuse: Excuse) -> None:
        self._version = version
        self._excuse = excuse
        # By packet identifier: the topic and the payload's beginning of the last
        # PUBLISH, and of those whose PUBREL was sent.
        self._published: dict[bytes, tuple[str, bytes]] = {}
        self._released: dict[bytes, tuple[str, bytes]] = {}

    def see(self, kind: int, flags: int, body: bytes) -> None:
        """Look at a packet from the broker."""
        if kind == PUBREL:
            packet_id = body[:2]
            if (message := self._published.pop(packet_id, None)) is not None:
                self._released[packet_id] = message
                if len(self._released) > MOST_KEPT:
                    del self._released[next(iter(self._released))]
            return
        if kind != PUBLISH or flags >> 1 & 3 != 2:
            return
        end = 2 + int.from_bytes(body[:2])
        packet_id, at = body[end : end + 2], end + 2
        if self._version == 5:
            at = skip_properties(body, at)
        message = body[2:end].decode(), body[at : at + HEADER]
        if self._released.pop(packet_id, None) == message and flags & DUP:
            self._excuse(*message)
        self._published[packet_id] = message


class WatchedProxy(FaultProxy):
    """A fault proxy that looks at what the broker sends."""

    watch: ReleaseWatch

    def _packet_received(
        self, direction: Direction, kind: PacketType
    ) -> list[FaultOrder]:
        if direction.sender is BROKER and kind in (PUBLISH, PUBREL):
            packet = direction._packet
            start = 2
            while packet[start - 1] >= 0x80:
                start += 1
            self.watch.see(kind, packet[0] & 15, packet[start:])
        return super()._packet_received(direction, kind)
