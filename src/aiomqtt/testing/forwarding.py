"""The connections of a fault proxy: two ends, and a wire for each direction."""

import asyncio
import contextlib
import random
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final, Protocol, cast

from aiomqtt.standard.names import CONNECT_FIRST_BYTE
from aiomqtt.standard.tables import PacketType

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


class Ordered(Protocol):
    """A fault that was ordered for a packet."""

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
        self.is_stalled: bool = False
        self.is_hole: bool = False
        self.seconds: float = 0.0
        self.piece: int | None = None
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self.source: asyncio.Transport | None = None
        self.target: asyncio.Transport | None = None
        # What has come and is no whole packet yet, or whose turn has not come.
        self._partial = bytearray()
        self._is_raw = False
        self._has_begun = False
        # The packet that is being dealt with: the faults before it, itself, the faults
        # after it; and what is left to do of that.
        self._packet = b""
        self._steps: deque[Ordered | bytes] = deque()
        self._is_busy = False
        # What waits to be forwarded: from when on, and the bytes.
        self._queue: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._is_reading = True
        # The sender has closed: the other side is to hear of it, after the queue.
        self.is_at_end = False
        self.is_target_full = False

    # --- packets --------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Take bytes of the sender, and forward the packets that are whole."""
        if self._is_raw:
            self._forward(data)
            return
        self._partial += data
        self._go_through()
        self._read_or_not()

    def _go_through(self) -> None:
        """Deal with packets until one is not whole, or a fault has to wait."""
        connection = self._connection
        # A fault must not come before what was sent before it.
        if self._is_busy or not connection.is_joined:
            return
        self._is_busy = True
        while not connection.is_over and (self._steps or self._next_packet()):
            step = self._steps[0]
            if isinstance(step, bytes):
                self._steps.popleft()
                self._forward(step)
            elif self._queue and not (step.is_before and self.is_stalled):
                # What is due earlier has not left yet.
                break
            else:
                self._steps.popleft()
                step.strike(connection)
        self._is_busy = False

    def _next_packet(self) -> bool:
        """Note what is to be done with the next packet; whether it is whole."""
        if self._is_raw or not self._partial:
            return False
        if (
            not self._has_begun
            and self.sender is CLIENT
            and self._partial[0] != CONNECT_FIRST_BYTE
        ):
            # No MQTT, or none that can be read.
            for wire in self._connection.wires(None):
                wire.be_raw()
            return False
        size = packet_size(self._partial)
        if size < 0:
            self.be_raw()
            return False
        if not size or size > len(self._partial):
            return False
        self._has_begun = True
        self._packet = bytes(self._partial[:size])
        del self._partial[:size]
        orders = self._connection.came(self, PacketType(self._packet[0] >> 4))
        self._steps.extend(order for order in orders if order.is_before)
        self._steps.append(self._packet)
        self._steps.extend(order for order in orders if not order.is_before)
        return True

    def be_raw(self) -> None:
        """From here on forward bytes as they come: these are no packets."""
        self._is_raw = True
        data = bytes(self._partial)
        self._partial.clear()
        if data:
            self._forward(data)

    def let_through(self, size: int) -> None:
        """Forward the first bytes of the packet that is being dealt with."""
        if not self.is_hole and not self.is_stalled:
            self._write(self._packet[:size])

    # --- bytes ----------------------------------------------------------------------

    def _forward(self, data: bytes) -> None:
        if self.is_hole:
            return
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

    def _write(self, data: bytes) -> None:
        if self.target is not None and data:
            self._connection.passed(self, len(data))
            self.target.write(data)

    def resume(self) -> None:
        """End what lasts, and forward what waits at once."""
        self.is_stalled = self.is_hole = False
        self.seconds = 0.0
        self.piece = None
        self._queue = deque((0.0, data) for _, data in self._queue)
        self.go_on()

    def go_on(self) -> None:
        """Forward what waits, as far as faults allow."""
        if self._queue or self._steps or self.is_at_end:
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
            self._write(data)
            if self.piece is not None and self._queue:
                self._schedule(0.0)
                return
        # A fault may have waited for that.
        self._go_through()
        self._end_if_done()
        self._read_or_not()

    def _end_if_done(self) -> None:
        """Close the other side after the last that the sender has said."""
        connection = self._connection
        is_waiting = self._is_busy or self._steps or self._queue
        if not self.is_at_end or is_waiting or not connection.is_joined:
            return
        if self._partial:
            # It is no whole packet, and never will be.
            self.be_raw()
        elif not self.is_hole and not connection.is_over:
            connection.end_target(self)

    def _schedule(self, seconds: float) -> None:
        when = self._loop.time() + seconds
        if self._timer is not None:
            if self._due <= when:
                return
            self._timer.cancel()
        self._due = when
        self._timer = self._loop.call_later(seconds, self._run)

    def _run(self) -> None:
        self._timer = None
        if not self._connection.is_over:
            self.flush_if_free()

    def _read_or_not(self) -> None:
        """Stop reading while too much waits: the sender is to feel it."""
        source = self.source
        if source is None or source.is_closing():
            return
        size = self._size
        if self._steps or not self._connection.is_joined:
            size += len(self._partial)
        wanted = size < HIGH_WATER and not self.is_target_full
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
        came: Callable[[Wire, PacketType], Sequence[Ordered]],
        passed: Callable[[Wire, int], None],
    ) -> None:
        """Connect to the broker when the client's end is there."""
        self.random = chance
        self.came = came
        self.passed = passed
        self.is_joined: bool = False
        self.is_over: bool = False
        self._broker = broker
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._wires = {CLIENT: Wire(self, CLIENT), BROKER: Wire(self, BROKER)}
        self.client_end: End = End(self, CLIENT)
        self._transports: dict[Sender, asyncio.Transport] = {}
        self._dialing: asyncio.Task[None] | None = None

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
        if self.is_over:
            transport.abort()
        elif sender is CLIENT:
            self._dialing = self._loop.create_task(self._dial())
            # Not in the task: cancelled in time, it would never run.
            self._dialing.add_done_callback(self._dialed)
        else:
            self.is_joined = True
            self.wire(CLIENT).received(b"")
            self.wire(CLIENT).go_on()

    async def _dial(self) -> None:
        # Without a broker there is nobody to be connected to.
        try:
            await self._loop.create_connection(lambda: End(self, BROKER), *self._broker)
        except OSError:
            self.reset()

    def _dialed(self, dialing: asyncio.Task[None]) -> None:
        self._dialing = None
        if dialing.cancelled() and BROKER in self._transports:
            # uvloop does not tell of a connection that is lost by that.
            self._transports.pop(BROKER).abort()
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

    def stall(self, sender: Sender | None) -> None:
        """Forward nothing of a sender, None: of both."""
        for wire in self.wires(sender):
            wire.is_stalled = True

    def black_hole(self, sender: Sender | None) -> None:
        """Lose what a sender says, None: both."""
        for wire in self.wires(sender):
            wire.is_hole = True

    def delay(self, seconds: float, sender: Sender | None) -> None:
        """Forward what a sender says later, None: both."""
        for wire in self.wires(sender):
            wire.seconds = seconds

    def fragment(self, size: int | None, sender: Sender | None) -> None:
        """Forward what a sender says in pieces, None: both; size None: by chance."""
        for wire in self.wires(sender):
            wire.piece = 0 if size is None else size

    def resume(self) -> None:
        """End what lasts."""
        for wire in self.wires(None):
            wire.resume()

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

    def truncate(self, sender: Sender, size: int) -> None:
        """Forward the first bytes of a sender's packet, then reset both sides."""
        self.wire(sender).let_through(size)
        self.reset()

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
