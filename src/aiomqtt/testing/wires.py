"""The connections of a fault proxy: two ends, and a wire for each direction."""

import asyncio
import contextlib
import random
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Final, Protocol, cast

from aiomqtt.protocol.spec import PacketType

# What a wire holds before it stops reading.
HIGH_WATER: Final = 64 * 1024
# Pieces of a size by chance are no larger.
LARGEST_PIECE: Final = 16


class Sender(Enum):
    """The two sides of a connection."""

    CLIENT = "client"
    BROKER = "broker"


CLIENT: Final = Sender.CLIENT
BROKER: Final = Sender.BROKER


class Struck(Protocol):
    """A fault that was ordered."""

    is_before: bool

    def strike(self, connection: "Connection") -> None:
        """Let it happen."""


class Wire:
    """One direction of a connection.

    Attributes:
        sender: Whose bytes it carries.
        is_stalled: Whether nothing is forwarded for now.
        is_hole: Whether what comes is lost.
        seconds: How much later everything is forwarded.
        piece: In pieces of how many bytes; 0: by chance; None: as it comes.
    """

    def __init__(self, connection: "Connection", sender: Sender) -> None:
        """Wait for both ends."""
        self.sender = sender
        self.is_stalled = False
        self.is_hole = False
        self.seconds = 0.0
        self.piece: int | None = None
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self.source: asyncio.Transport | None = None
        self.target: asyncio.Transport | None = None
        # The beginning of a packet; and whether packets are told at all.
        self._partial = bytearray()
        self._passing = b""
        self._is_taking = False
        self._is_raw = False
        self._has_begun = False
        # What waits to be forwarded: from when on, and the bytes.
        self._queue: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._is_scheduled = False
        self._is_reading = True
        # The sender has closed: the other side is to hear of it, after the queue.
        self.is_at_end = False
        self.is_target_full = False

    def received(self, data: bytes) -> None:
        """Take bytes of the sender, and forward the packets that are whole."""
        if self._is_raw:
            self._forward(data)
            return
        self._partial += data
        if not self._connection.is_joined:
            # A fault must not come before what was sent before it.
            return
        self._is_taking = True
        self._take_packets()
        self._is_taking = False
        self._read_or_not()

    def _take_packets(self) -> None:
        while self._partial and not self._connection.is_over:
            if (
                not self._has_begun
                and self.sender is CLIENT
                and self._partial[0] != 0x10
            ):
                # No MQTT, or none that can be read.
                for wire in self._connection.wires(None):
                    wire.be_raw()
                return
            size = packet_size(self._partial)
            if size < 0:
                self.be_raw()
                return
            if not size or size > len(self._partial):
                break
            self._has_begun = True
            packet = bytes(self._partial[:size])
            del self._partial[:size]
            self._packet(packet)

    def be_raw(self) -> None:
        """From here on forward bytes as they come: these are no packets."""
        self._is_raw = True
        data = bytes(self._partial)
        self._partial.clear()
        if data:
            self._forward(data)

    def _packet(self, packet: bytes) -> None:
        kind = PacketType(packet[0] >> 4)
        connection = self._connection
        struck = connection.came(self, kind)
        self._passing = packet
        for order in struck:
            if order.is_before:
                order.strike(connection)
                if connection.is_over:
                    return
        self._forward(packet)
        after = [order for order in struck if not order.is_before]
        if after:
            self.flush_if_free()
        for order in after:
            order.strike(connection)

    def let_through(self, size: int) -> None:
        """Forward the first bytes of the packet that is just coming."""
        if self.target is not None and not self.is_hole:
            self.flush_if_free()
            self.target.write(self._passing[:size])

    def _forward(self, data: bytes) -> None:
        if self.is_hole:
            return
        self._connection.passed(self, len(data))
        due = self._loop.time() + self.seconds if self.seconds else 0.0
        for piece in self._cut(data):
            self._queue.append((due, piece))
            self._size += len(piece)
        if self.piece is None:
            self.flush_if_free()
        else:
            # Each piece in a turn of the loop of its own.
            self._schedule(0.0)

    def _cut(self, data: bytes) -> list[bytes]:
        if self.piece is None:
            return [data]
        pieces = []
        while data:
            size = self.piece or self._connection.random.randint(1, LARGEST_PIECE)
            pieces.append(data[:size])
            data = data[size:]
        return pieces

    def go_on(self) -> None:
        """Forward what waits, as far as faults allow: they may have ended."""
        is_at_end = self.is_at_end and self._connection.is_joined
        if is_at_end and self._partial and not self._is_taking:
            # What is left is no whole packet, and never will be.
            self.be_raw()
        if self._queue or is_at_end:
            self._schedule(0.0)
        self._read_or_not()

    def flush_if_free(self) -> None:
        """Forward what is due."""
        while self._queue and not self.is_stalled and self.target is not None:
            due, data = self._queue[0]
            wait = due - self._loop.time()
            if due and wait > 0:
                self._schedule(wait)
                return
            self._queue.popleft()
            self._size -= len(data)
            self.target.write(data)
            if self.piece is not None and self._queue:
                self._schedule(0.0)
                return
        is_done = not self._queue and not self._is_taking
        if self.is_at_end and is_done and not self.is_hole:
            self._connection.end_target(self)
        self._read_or_not()

    def _schedule(self, seconds: float) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_later(seconds, self._run)

    def _run(self) -> None:
        self._is_scheduled = False
        if not self._connection.is_over:
            self.flush_if_free()

    def _read_or_not(self) -> None:
        """Stop reading while too much waits: the sender is to feel it."""
        source = self.source
        if source is None or source.is_closing():
            return
        wanted = self._size < HIGH_WATER and not self.is_target_full
        if wanted != self._is_reading:
            self._is_reading = wanted
            if wanted:
                source.resume_reading()
            else:
                source.pause_reading()


class End(asyncio.Protocol):
    """One end of a connection: that of the client or that of the broker."""

    def __init__(self, connection: "Connection", sender: Sender) -> None:
        """Carry what a sender says."""
        self._connection = connection
        self._sender = sender

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join it to its wires."""
        self._connection.made(self._sender, cast(asyncio.Transport, transport))

    def data_received(self, data: bytes) -> None:
        """Hand over bytes."""
        self._connection.wire(self._sender).received(data)

    def eof_received(self) -> bool:
        """Let the other side hear of it, after what it has still to get."""
        wire = self._connection.wire(self._sender)
        wire.is_at_end = True
        wire.go_on()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Let the other side hear of it."""
        self._connection.lost(self._sender)

    def pause_writing(self) -> None:
        """This side takes no more for now."""
        self._connection.other_wire(self._sender).is_target_full = True
        self._connection.other_wire(self._sender).go_on()

    def resume_writing(self) -> None:
        """This side takes more again."""
        self._connection.other_wire(self._sender).is_target_full = False
        self._connection.other_wire(self._sender).go_on()


class Connection:
    """A client's connection, and the one to the broker that belongs to it.

    Attributes:
        is_joined: Whether there has been a connection to the broker.
        is_over: Whether it was cut or reset.
        closed: Resolves when both sides are closed.
    """

    def __init__(
        self,
        broker: tuple[str, int],
        chance: random.Random,
        came: Callable[[Wire, PacketType], Sequence[Struck]],
        passed: Callable[[Wire, int], None],
    ) -> None:
        """Connect to the broker when the client's end is there."""
        self.random = chance
        self.came = came
        self.passed = passed
        self.is_joined = False
        self.is_over = False
        self._broker = broker
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._wires = {CLIENT: Wire(self, CLIENT), BROKER: Wire(self, BROKER)}
        self.client_end = End(self, CLIENT)
        self._transports: dict[Sender, asyncio.Transport] = {}
        self._dialing: asyncio.Task[Any] | None = None

    def wire(self, sender: Sender) -> Wire:
        """Return the wire that carries what a sender says."""
        return self._wires[sender]

    def other_wire(self, sender: Sender) -> Wire:
        """Return the wire that leads to a sender."""
        return self._wires[BROKER if sender is CLIENT else CLIENT]

    def wires(self, sender: Sender | None) -> list[Wire]:
        """Return the wire of a sender; None: both."""
        return [*self._wires.values()] if sender is None else [self._wires[sender]]

    def made(self, sender: Sender, transport: asyncio.Transport) -> None:
        """Take note of an end's transport."""
        self._transports[sender] = transport
        self.wire(sender).source = transport
        self.other_wire(sender).target = transport
        if sender is CLIENT:
            self._dialing = self._loop.create_task(self._dial())
        elif self.is_over:
            transport.abort()
        else:
            self.is_joined = True
            self.wire(CLIENT).received(b"")
            self.wire(CLIENT).go_on()

    async def _dial(self) -> None:
        try:
            await self._loop.create_connection(lambda: End(self, BROKER), *self._broker)
        except OSError:
            # There is no broker.
            self.reset()
        finally:
            self._dialing = None
            self._close_if_gone()

    def lost(self, sender: Sender) -> None:
        """Take note that an end is closed."""
        self._transports.pop(sender, None)
        wire = self.wire(sender)
        wire.source = None
        self.other_wire(sender).target = None
        wire.is_at_end = True
        if not self.is_over:
            wire.go_on()
        if self._dialing is not None and sender is CLIENT:
            self._dialing.cancel()
        self._close_if_gone()

    def end_target(self, wire: Wire) -> None:
        """Close the side that a wire leads to: its sender has closed."""
        target = wire.target
        if target is None or target.is_closing():
            return
        if wire.source is None or not target.can_write_eof():
            target.close()
        else:
            with contextlib.suppress(OSError):
                target.write_eof()
        if wire.source is not None and self.other_wire(wire.sender).is_at_end:
            # Both have said all that they wanted.
            wire.source.close()
            target.close()

    def cut(self) -> None:
        """Close both sides."""
        self.is_over = True
        for transport in [*self._transports.values()]:
            transport.close()
        self._end()

    def reset(self) -> None:
        """Reset both sides."""
        self.is_over = True
        for transport in [*self._transports.values()]:
            raw = transport.get_extra_info("socket")
            with contextlib.suppress(OSError):  # it is closed already
                raw.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
            transport.abort()
        self._end()

    def _end(self) -> None:
        if self._dialing is not None:
            self._dialing.cancel()
        self._close_if_gone()

    def _close_if_gone(self) -> None:
        if not self._transports and self._dialing is None and not self.closed.done():
            self.closed.set_result(None)


def packet_size(data: bytes | bytearray) -> int:
    """Return the size of the packet that begins some bytes.

    Returns:
        0 while that is not known; -1 when it is no packet.
    """
    if not data[0] >> 4:
        return -1
    length = 0
    for index in range(1, min(len(data), 5)):
        length |= (data[index] & 0x7F) << 7 * (index - 1)
        if data[index] < 0x80:
            return 1 + index + length
    return -1 if len(data) >= 5 else 0
