"""One direction of a connection through the fault proxy: packets, faults, bytes."""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from aiomqtt.standard.names import CONNECT_FIRST_BYTE
from aiomqtt.standard.tables import PacketType

from .link import Link
from .sender import CLIENT, Sender

# A direction that holds more bytes than this reads no more.
HIGH_WATER: Final = 64 * 1024
# uvloop rounds times to milliseconds: a shorter wait may end at once, many times.
SHORTEST_WAIT: Final = 0.001
# The size of the largest random piece, in bytes.
LARGEST_PIECE: Final = 16


class PlannedFault(NamedTuple):
    """A fault that was ordered for a packet of this direction."""

    # Whether it happens before the packet is forwarded, or after.
    is_before: bool
    trigger: Callable[[], None]


class QueuedBytes(NamedTuple):
    """Bytes that wait."""

    # When they may leave.
    due: float
    # When they arrive through the network, without a delay that was ordered.
    arrival: float
    data: bytes


class ConnectionState(Protocol):
    """The connection that a direction is part of.

    Attributes:
        is_joined: Whether there has been a connection to the broker.
        is_over: Whether it was cut or reset.
        random: Chooses the sizes of pieces.
    """

    is_joined: bool
    is_over: bool
    random: random.Random

    def directions(self, sender: Sender | None) -> "list[Direction]":
        """Return the direction of a sender; None: both."""

    def packet_received(
        self, direction: "Direction", kind: PacketType
    ) -> list[PlannedFault]:
        """Count a packet; return the faults that were ordered for it."""

    def bytes_forwarded(self, direction: "Direction", size: int) -> None:
        """Count bytes."""

    def close_target(self, direction: "Direction") -> None:
        """Close the side that a direction leads to: its sender has closed."""


class Direction:
    """One direction of a connection.

    Attributes:
        sender: Whose bytes it carries.
        is_stalled: Whether nothing is forwarded for now.
        is_black_hole: Whether what comes is lost.
        seconds: The delay of everything that is forwarded.
        piece: The size of the pieces in bytes; 0: random; None: as it comes.
        link: The network that the bytes go through; None: they arrive at once.
        source: The transport that is read from; None: not connected.
        target: The transport that is written to; None: not connected.
        is_at_end: Whether the sender has closed its side.
        is_target_full: Whether the target's buffer is above its high-water mark.
    """

    def __init__(self, connection: ConnectionState, sender: Sender) -> None:
        self.sender = sender
        self.is_stalled: bool = False
        self.is_black_hole: bool = False
        self.seconds: float = 0.0
        self.piece: int | None = None
        self.link: Link | None = None
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self.source: asyncio.Transport | None = None
        self.target: asyncio.Transport | None = None
        # Received: an incomplete packet, or packets that are not processed yet.
        self._partial = bytearray()
        self._is_raw = False
        self._has_begun = False
        self._packet = b""
        # Left to do for that packet: the faults before it, itself, the faults after it.
        self._steps: deque[PlannedFault | bytes] = deque()
        self._is_busy = False
        # Bytes to forward.
        self._queue: deque[QueuedBytes] = deque()
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._is_reading = True
        self.is_at_end: bool = False
        self.is_target_full: bool = False

    # --- packets --------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Accept bytes from the sender; forward the packets that are complete."""
        if self._is_raw:
            self._forward(data)
        else:
            self._partial += data
            self._process()
        self._update_reading()

    def ended(self) -> None:
        """Accept the end of what the sender sends; it travels like bytes."""
        self.is_at_end = True
        if self.link is not None:
            self._enqueue(b"")
        self.proceed()

    def _process(self) -> None:
        """Process packets until one is incomplete or a fault has to wait."""
        connection = self._connection
        # A fault must not come before what was sent before it.
        if self._is_busy or not connection.is_joined:
            return
        self._is_busy = True
        while not connection.is_over and (self._steps or self._parse_packet()):
            step = self._steps[0]
            if isinstance(step, bytes):
                self._steps.popleft()
                self._forward(step)
            elif self._queue and not (step.is_before and self.is_stalled):
                # Bytes that are due earlier have not left yet.
                break
            else:
                self._steps.popleft()
                step.trigger()
        self._is_busy = False

    def _parse_packet(self) -> bool:
        """Plan the steps for the next packet; return whether it is complete."""
        if self._is_raw or not self._partial:
            return False
        if (
            not self._has_begun
            and self.sender is CLIENT
            and self._partial[0] != CONNECT_FIRST_BYTE
        ):
            # Not MQTT, or encrypted.
            for direction in self._connection.directions(None):
                direction.stop_parsing()
            return False
        size = packet_size(self._partial)
        if size < 0:
            self.stop_parsing()
            return False
        if not size or size > len(self._partial):
            return False
        self._has_begun = True
        self._packet = bytes(self._partial[:size])
        del self._partial[:size]
        kind = PacketType(self._packet[0] >> 4)
        faults = self._connection.packet_received(self, kind)
        self._steps.extend(fault for fault in faults if fault.is_before)
        self._steps.append(self._packet)
        self._steps.extend(fault for fault in faults if not fault.is_before)
        return True

    def stop_parsing(self) -> None:
        """Forward bytes as they come from now on: they are not MQTT packets."""
        self._is_raw = True
        data = bytes(self._partial)
        self._partial.clear()
        if data:
            self._forward(data)

    def forward_partly(self, size: int) -> None:
        """Forward the first bytes of the current packet."""
        if not self.is_black_hole and not self.is_stalled:
            self._write(self._packet[:size])

    # --- bytes ----------------------------------------------------------------------

    def _forward(self, data: bytes) -> None:
        if self.is_black_hole:
            return
        for piece in self._cut(data):
            self._enqueue(piece)
        if self.piece is None:
            self.flush()
        else:
            # Each piece leaves in its own turn of the loop.
            self._schedule(0.0)

    def _enqueue(self, data: bytes) -> None:
        now = self._loop.time()
        arrival = now if self.link is None else self.link.arrival(len(data), now)
        self._queue.append(QueuedBytes(arrival + self.seconds, arrival, data))
        self._size += len(data)

    def _cut(self, data: bytes) -> list[bytes]:
        if self.piece is None:
            size = len(data) if self.link is None else self.link.piece
            return [data[at : at + size] for at in range(0, len(data), size)]
        pieces = []
        while data:
            size = self.piece or self._connection.random.randint(1, LARGEST_PIECE)
            pieces.append(data[:size])
            data = data[size:]
        return pieces

    def _write(self, data: bytes) -> None:
        if self.target is not None and data:
            self._connection.bytes_forwarded(self, len(data))
            self.target.write(data)

    def resume(self) -> None:
        """End lasting faults, and forward at once what they held back."""
        self.is_stalled = self.is_black_hole = False
        self.seconds = 0.0
        self.piece = None
        self._queue = deque(
            queued._replace(due=queued.arrival) for queued in self._queue
        )
        self.proceed()

    def proceed(self) -> None:
        """Go on forwarding, as far as faults allow."""
        if self._queue or self._steps or self.is_at_end:
            self._schedule(0.0)
        self._update_reading()

    def flush(self) -> None:
        """Forward the bytes that are due."""
        while self._queue and not self.is_stalled and self.target is not None:
            due, _, data = self._queue[0]
            wait = due - self._loop.time()
            if wait > 0:
                self._schedule(max(wait, SHORTEST_WAIT))
                self._update_reading()
                return
            self._queue.popleft()
            self._size -= len(data)
            self._write(data)
            if self.piece is not None and self._queue:
                self._schedule(0.0)
                self._update_reading()
                return
        # A fault may have waited for the bytes to leave.
        self._process()
        self._end_if_done()
        self._update_reading()

    def _end_if_done(self) -> None:
        """Close the other side once everything from the sender was forwarded."""
        connection = self._connection
        is_waiting = self._is_busy or self._steps or self._queue
        if not self.is_at_end or is_waiting or not connection.is_joined:
            return
        if self._partial:
            # This packet will never be complete.
            self.stop_parsing()
        elif not self.is_black_hole and not connection.is_over:
            connection.close_target(self)

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
            self.flush()

    def _update_reading(self) -> None:
        """Pause reading while too much is queued, so that the sender is slowed down."""
        source = self.source
        if source is None or source.is_closing():
            return
        size = self._size
        if self._steps or not self._connection.is_joined:
            size += len(self._partial)
        window = 0 if self.link is None else self.link.window
        wanted = size < HIGH_WATER + window and not self.is_target_full
        if wanted != self._is_reading:
            self._is_reading = wanted
            if wanted:
                source.resume_reading()
            else:
                source.pause_reading()


def packet_size(data: bytes | bytearray) -> int:
    """Return the size of the packet at the start of the data.

    Returns:
        0 while the size is not known; -1 if this is not an MQTT packet.
    """
    if not data[0] >> 4:
        return -1
    length = 0
    for index in range(1, min(len(data), 5)):
        length |= (data[index] & 0x7F) << 7 * (index - 1)
        if data[index] < 0x80:
            return 1 + index + length
    return -1 if len(data) >= 5 else 0
