"""The packets of a client that have not been handled yet."""

from typing import Final

from aiomqtt.broker.limits import Limits
from aiomqtt.protocol.codec.framing import Decoder
from aiomqtt.protocol.packets import Packet
from aiomqtt.protocol.wire import PacketError
from aiomqtt.standard.tables import ProtocolVersion, Role

from .connack import OPENING
from .memory_account import PACKET_SIZE

CLIENT: Final = Role.CLIENT

# This many packets of a client are decoded at once, before others get their turn.
PACKETS_PER_TURN: Final = 2000
# This many bytes are read while an earlier packet waits for permission: the broker
# only notices that a client has gone while it reads.
READ_AHEAD: Final = 64 * 1024


class InboundPackets:
    """Decodes packets, and keeps those that have to wait.

    Attributes:
        waiting: The decoded packets that wait, in order.
        opening: The first bytes of the connection. They show the version of a CONNECT
            that can't be decoded.
    """

    __slots__ = ("_decoder", "_waiting_size", "opening", "waiting")

    def __init__(self, limits: Limits) -> None:
        self._decoder = Decoder(
            ProtocolVersion.V5,
            CLIENT,
            limits.maximum_packet_size,
            limits.maximum_packet_items,
            PACKETS_PER_TURN,
        )
        self.waiting: list[Packet] = []
        # The size of the data in which they came.
        self._waiting_size = 0
        self.opening: bytes = b""

    def note_opening(self, data: bytes) -> None:
        """Keep the first bytes of the connection."""
        self.opening += data[: OPENING - len(self.opening)]

    def decode(self, data: bytes) -> list[Packet]:
        """Return the packets that are complete, up to a number of them."""
        return self._decoder.feed(data)

    def add(self, packets: list[Packet], size: int) -> None:
        """Append packets that came in a number of bytes to those that wait."""
        self.waiting += packets
        self._waiting_size += size

    def note_size(self, size: int) -> None:
        """Record the size of the data in which the next waiting packets came."""
        self._waiting_size = size

    def pop(self) -> list[Packet]:
        """Remove and return the waiting packets."""
        packets, self.waiting = self.waiting, []
        return packets

    def clear(self) -> None:
        """Forget everything: the connection has ended."""
        self.waiting = []
        # The client may take its time to close its side.
        self._decoder = Decoder(ProtocolVersion.V5, CLIENT)

    @property
    def is_partial(self) -> bool:
        """Whether the last packet is incomplete."""
        return self._decoder.is_partial

    @property
    def has_undecoded(self) -> bool:
        """Whether there are complete packets that are not decoded."""
        return self._decoder.has_more

    @property
    def is_empty(self) -> bool:
        """Whether no complete packet is left."""
        return not self.waiting and not self._decoder.has_more

    @property
    def is_full(self) -> bool:
        """Whether so many bytes wait for a permission that reading pauses."""
        return self._waiting_size >= READ_AHEAD

    @property
    def error(self) -> PacketError | None:
        """The error in the data after the decoded packets; None: there is none."""
        return self._decoder.error

    @property
    def size(self) -> int:
        """An estimate of its size in memory, in bytes."""
        size = self._decoder.size
        if self.waiting:
            size += PACKET_SIZE * len(self.waiting) + 2 * self._waiting_size
        return size
