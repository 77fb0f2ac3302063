"""Cuts a stream of bytes into packets: one call decodes all of a chunk."""

from typing import Final

from aiomqtt.build import i64
from aiomqtt.protocol.packets import Packet, Publish
from aiomqtt.protocol.wire import MAXIMUM_ITEMS, PacketError
from aiomqtt.standard.names import MALFORMED_PACKET, PACKET_TOO_LARGE
from aiomqtt.standard.tables import ProtocolVersion, Role

from .decode import check_first_byte
from .fast import PUBLISH, ROUTES, TABLE, PacketDecoder

# More packets than any chunk has, and more bytes than any packet. Below 2**30: CPython
# compares larger numbers in a slower way.
NO_LIMIT: Final = (1 << 30) - 1

# Smaller chunks of an incomplete packet are joined: as separate objects they would use
# many times their size.
SMALL: Final = 1024
# From this size on, the payload of a packet that comes in parts is copied only once.
LARGE: Final = 16 * 1024
# After so many bytes the chunks of a packet are joined. Otherwise the memory between
# them, which reading used, would stay unused: with TLS nearly as much as the packet.
MANY: Final = 4 * 1024 * 1024


class Decoder:
    """Decodes the bytes that one peer sends on one connection.

    A complete packet is decoded at once. The beginning of a packet is kept until the
    rest has come, and its bytes are not copied again for each chunk.

    Args:
        version: The version of the connection; a CONNECT replaces it with its own.
        sender: The role of the peer.
        maximum_packet_size: The largest packet to accept, in bytes; None: only the
            standard's limit, 256 MiB.
        maximum_items: The maximum number of topic filters, of reason codes, and of
            properties of one kind in a packet.
        portion: The maximum number of packets that a call returns; 0: no limit. The
            rest waits for the next call.

    Attributes:
        error: The error that made the stream undecodable, or None. It comes after the
            packets that the same call returned; the bytes after it are dropped.
    """

    __slots__ = (
        "_held",
        "_held_size",
        "_joined",
        "_joined_size",
        "_needed",
        "_packets",
        "_portion",
        "_rest",
        "_rest_start",
        "_sender",
        "error",
        "maximum_packet_size",
    )

    def __init__(
        self,
        version: ProtocolVersion,
        sender: Role,
        maximum_packet_size: int | None = None,
        maximum_items: int = MAXIMUM_ITEMS,
        portion: int = 0,
    ) -> None:
        self.error: PacketError | None = None
        self.maximum_packet_size: int | None = maximum_packet_size
        self._sender = sender
        self._packets = PacketDecoder(version, sender, maximum_items)
        # The chunks of an incomplete packet, and the minimum of its final size.
        self._held: list[bytes | bytearray] = []
        self._held_size = 0
        self._needed = 0
        # The number of chunks that are joined already, and the size held at that time.
        self._joined = 0
        self._joined_size = 0
        self._portion = portion or NO_LIMIT
        # The received bytes that are not decoded yet, and the position to go on from.
        self._rest = b""
        self._rest_start = 0

    @property
    def version(self) -> ProtocolVersion:
        """The version of the connection."""
        return self._packets.version

    @property
    def kept(self) -> int:
        """An estimate of the memory that the packets of the last call use, in bytes.

        It is without `MESSAGE_SIZE` for each message.
        """
        return self._packets.kept

    @property
    def has_others(self) -> bool:
        """Whether the engine has to look at a packet of the last call.

        That is not so if all are PUBLISH with QoS 0 and without a topic alias.
        """
        return self._packets.has_others

    @property
    def is_partial(self) -> bool:
        """Whether it holds the beginning of an incomplete packet."""
        return len(self._held) > 0

    @property
    def has_more(self) -> bool:
        """Whether it holds bytes that a call of `feed(b"")` may decode."""
        return len(self._rest) > 0

    @property
    def size(self) -> int:
        """The number of bytes that it holds."""
        held = self._held_size if self._held else 0
        return held + len(self._rest)

    def feed(self, data: bytes) -> list[Packet]:
        """Decode all packets that end within a chunk.

        Args:
            data: The received bytes.

        Returns:
            The packets, in order. Check `error` and `has_more` afterwards.
        """
        packets: list[Packet] = []
        self._packets.kept = 0
        self._packets.has_others = False
        if self.error is not None:
            return packets
        start = 0
        try:
            if self._rest:
                start, self._rest_start = self._rest_start, 0
                data = self._rest + data if data else self._rest
                self._rest = b""
            elif self._held:
                self._append(data)
                if self._held_size < self._needed:
                    return packets
                data, start = self._complete(packets)
            self._decode_all(data, start, packets)
        except PacketError as error:
            self.error = error
        return packets

    def _append(self, data: bytes) -> None:
        """Keep a chunk of a packet that was incomplete until now."""
        last = self._held[-1]
        if len(data) >= SMALL:
            self._held.append(data)
        elif isinstance(last, bytearray):
            last += data
        else:
            self._held.append(bytearray(data))
        self._held_size += len(data)
        if self._joined_size + MANY <= self._held_size < self._needed:
            self._held[self._joined :] = [b"".join(self._held[self._joined :])]
            self._joined += 1
            self._joined_size = self._held_size

    def _complete(self, packets: list[Packet]) -> tuple[bytes, int]:
        """Return the bytes held, or decode a packet from them; and where to go on.

        It decodes only a PUBLISH in large chunks. It does so as if the packet ended
        early in the first chunk, then appends the rest of the payload, which so is
        copied only once.
        """
        held = self._held
        self._held = []
        opening, closing = held[0], held[-1]
        if (
            self._needed < LARGE
            or ROUTES[opening[0]] != PUBLISH
            or not isinstance(opening, bytes)
        ):
            return b"".join(held), 0
        _, start = _remaining_length(opening, 0, len(opening))
        head = opening[:SMALL]
        try:
            packet = self._packets.decode(head[0], head, start, len(head))
        except PacketError:
            return b"".join(held), 0
        if not isinstance(packet, Publish):
            return b"".join(held), 0
        cut = len(closing) - (self._held_size - self._needed)
        parts = [
            packet.payload,
            memoryview(opening)[len(head) :],
            *held[1:-1],
            memoryview(closing)[:cut],
        ]
        packet.payload = b"".join(parts)
        packets.append(packet)
        self._packets.kept += self._needed
        if isinstance(closing, bytes):
            # Not copied: it may be most of a large chunk.
            return closing, cut
        return bytes(closing[cut:]), 0

    def _decode_all(self, data: bytes, position: i64, packets: list[Packet]) -> None:
        """Decode all complete packets, at most a portion, and keep the rest."""
        maximum: i64 = NO_LIMIT
        if self.maximum_packet_size is not None:
            maximum = self.maximum_packet_size
        portion: i64 = self._portion
        end: i64 = len(data)
        begin: i64 = position
        while end - position >= 2:
            if len(packets) >= portion:
                self._rest = data
                self._rest_start = position
                break
            first: i64 = data[position]
            if ROUTES[first] == TABLE:
                # Report the first fault now: the rest of the packet may take long to
                # come.
                check_first_byte(first, self._packets.version, self._sender)
            length: i64 = data[position + 1]
            start = position + 2
            if length >= 0x80:
                second: i64 = data[start] if start < end else 0x80
                if 0 < second < 0x80:
                    length = (length & 0x7F) | second << 7
                    start += 1
                else:
                    length, start = _remaining_length(data, position, end)
                if not start:
                    self._hold(data, position, end + 1)
                    break
            stop = start + length
            if stop - position > maximum:
                raise PacketError(
                    PACKET_TOO_LARGE,
                    f"a packet of {stop - position} bytes exceeds the Maximum Packet"
                    f" Size of {maximum}",
                )
            if stop > end:
                self._hold(data, position, stop)
                break
            position = stop
            packets.append(self._packets.decode(first, data, start, stop))
        else:
            if position < end:
                self._hold(data, position, end + 1)
        self._packets.kept += position - begin

    def _hold(self, data: bytes, position: int, stop: int) -> None:
        """Keep the beginning of a packet; report now what is already wrong with it."""
        if ROUTES[data[position]] == TABLE:
            check_first_byte(data[position], self._packets.version, self._sender)
        rest = data[position:] if position else data
        self._held.append(rest)
        self._held_size = len(rest)
        self._joined = 0
        self._joined_size = 0
        self._needed = stop - position


def _remaining_length(data: bytes, position: int, end: int) -> tuple[int, int]:
    """Decode a remaining length of several bytes; return it and the index of its end.

    The index is 0 if some of its bytes are missing.
    """
    length = 0
    for index in range(4):
        at = position + 1 + index
        if at == end:
            return 0, 0
        byte = data[at]
        length |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if not byte:
                raise PacketError(MALFORMED_PACKET, "a remaining length is not minimal")
            return length, at + 1
    raise PacketError(MALFORMED_PACKET, "a remaining length exceeds four bytes")
