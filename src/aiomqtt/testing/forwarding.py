"""The connections of a fault proxy: the client's, and the one to the broker."""

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, cast

from aiomqtt.standard.tables import PacketType

from .direction import Direction, PlannedFault
from .link import Link
from .network_conditions import NetworkConditions
from .sender import BROKER, CLIENT, Sender


class OrderedFault(Protocol):
    """A fault that was ordered for a packet."""

    @property
    def is_before(self) -> bool:
        """Whether it happens before the packet is forwarded, not after it."""

    def trigger(self, connection: "ProxiedConnection") -> None:
        """Make it happen to a connection."""


class Endpoint(asyncio.Protocol):
    """One end of a connection: that of the client or that of the broker."""

    def __init__(self, connection: "ProxiedConnection", sender: Sender) -> None:
        self._connection = connection
        self._sender = sender

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the transport to its directions."""
        self._connection.made(self._sender, cast(asyncio.Transport, transport))

    def data_received(self, data: bytes) -> None:
        """Pass bytes to their direction."""
        self._connection.direction(self._sender).received(data)

    def eof_received(self) -> bool:
        """End the other side too, after the bytes that are still queued for it."""
        self._connection.direction(self._sender).ended()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """End the other side too."""
        self._connection.connection_ended(self._sender)

    def pause_writing(self) -> None:
        """Hold back what is forwarded to this side."""
        self._connection.opposite(self._sender).is_target_full = True
        self._connection.opposite(self._sender).proceed()

    def resume_writing(self) -> None:
        """Forward to this side again."""
        self._connection.opposite(self._sender).is_target_full = False
        self._connection.opposite(self._sender).proceed()


class ProxiedConnection:
    """A client's connection, and the one to the broker that it is forwarded to.

    Attributes:
        number: Which connection of the proxy it is, counted from 1.
        is_joined: Whether there has been a connection to the broker.
        is_over: Whether it was cut or reset.
        random: Chooses the sizes of pieces.
        closed: A future that resolves when both sides are closed.
        client_end: The protocol of the client's side.
    """

    def __init__(
        self,
        number: int,
        broker: tuple[str, int],
        generator: random.Random,
        client_connected: Callable[["ProxiedConnection"], Sequence[OrderedFault]],
        packet_received: Callable[[Direction, PacketType], Sequence[OrderedFault]],
        bytes_forwarded: Callable[[Direction, int], None],
    ) -> None:
        self.number = number
        self.random = generator
        self._client_connected = client_connected
        self._packet_received = packet_received
        self._bytes_forwarded = bytes_forwarded
        self.is_joined: bool = False
        self.is_over: bool = False
        self._broker = broker
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._directions = {
            CLIENT: Direction(self, CLIENT),
            BROKER: Direction(self, BROKER),
        }
        self.client_end: Endpoint = Endpoint(self, CLIENT)
        self._transports: dict[Sender, asyncio.Transport] = {}
        self._dialing: asyncio.Task[None] | None = None

    def direction(self, sender: Sender) -> Direction:
        """Return the direction that carries the bytes of a sender."""
        return self._directions[sender]

    def opposite(self, sender: Sender) -> Direction:
        """Return the direction that leads to a sender."""
        return self._directions[BROKER if sender is CLIENT else CLIENT]

    def directions(self, sender: Sender | None) -> list[Direction]:
        """Return the direction of a sender; None: both."""
        return (
            [*self._directions.values()]
            if sender is None
            else [self._directions[sender]]
        )

    def packet_received(
        self, direction: Direction, kind: PacketType
    ) -> list[PlannedFault]:
        """Count a packet; return the faults that were ordered for it."""
        return [
            PlannedFault(fault.is_before, partial(fault.trigger, self))
            for fault in self._packet_received(direction, kind)
        ]

    def bytes_forwarded(self, direction: Direction, size: int) -> None:
        """Count bytes."""
        self._bytes_forwarded(direction, size)

    def made(self, sender: Sender, transport: asyncio.Transport) -> None:
        """Register the transport of a side that is connected."""
        self._transports[sender] = transport
        self.direction(sender).source = transport
        self.opposite(sender).target = transport
        if self.is_over:
            transport.abort()
        elif sender is CLIENT:
            for fault in self._client_connected(self):
                fault.trigger(self)
            if self.is_over:
                return
            self._dialing = self._loop.create_task(self._dial())
            # Not in the task: cancelled in time, it would never run.
            self._dialing.add_done_callback(self._dialed)
        else:
            self.is_joined = True
            self.direction(CLIENT).received(b"")
            self.direction(CLIENT).proceed()

    async def _dial(self) -> None:
        try:
            await self._loop.create_connection(
                lambda: Endpoint(self, BROKER), *self._broker
            )
        except OSError:
            self.reset()

    def _dialed(self, dialing: asyncio.Task[None]) -> None:
        self._dialing = None
        if dialing.cancelled() and BROKER in self._transports:
            # uvloop calls no connection_lost for a connection lost like this.
            self._transports.pop(BROKER).abort()
        self._check_closed()

    def connection_ended(self, sender: Sender) -> None:
        """Register that a side is closed."""
        self._transports.pop(sender, None)
        direction = self.direction(sender)
        direction.source = None
        self.opposite(sender).target = None
        direction.is_at_end = True
        if not self.is_over:
            direction.proceed()
        if self._dialing is not None and sender is CLIENT:
            self._dialing.cancel()
        self._check_closed()

    def close_target(self, direction: Direction) -> None:
        """Close the side that a direction leads to: its sender has closed."""
        target = direction.target
        if target is None or target.is_closing():
            return
        if direction.source is None or not target.can_write_eof():
            target.close()
        else:
            with contextlib.suppress(OSError):
                target.write_eof()
        if direction.source is not None and self.opposite(direction.sender).is_at_end:
            # Both sides have sent their end.
            direction.source.close()
            target.close()

    def set_conditions(self, conditions: NetworkConditions | None, seed: str) -> None:
        """Let bytes go through a network with conditions; None: at once."""
        now = self._loop.time()
        for direction in self.directions(None):
            direction.link = (
                None
                if conditions is None
                else Link(conditions, direction.sender, seed, now)
            )

    def stall(self, sender: Sender | None) -> None:
        """Forward nothing from a sender; None: from both."""
        for direction in self.directions(sender):
            direction.is_stalled = True

    def black_hole(self, sender: Sender | None) -> None:
        """Discard the bytes of a sender; None: of both."""
        for direction in self.directions(sender):
            direction.is_black_hole = True

    def delay(self, seconds: float, sender: Sender | None) -> None:
        """Delay the bytes of a sender; None: of both."""
        for direction in self.directions(sender):
            direction.seconds = seconds

    def fragment(self, size: int | None, sender: Sender | None) -> None:
        """Forward the bytes of a sender in pieces; None: of both, of random size."""
        for direction in self.directions(sender):
            direction.piece = 0 if size is None else size

    def resume(self) -> None:
        """End lasting faults."""
        for direction in self.directions(None):
            direction.resume()

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
            with contextlib.suppress(OSError):  # the socket is already closed
                raw.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
            transport.abort()
        self._end()

    def truncate(self, sender: Sender, size: int) -> None:
        """Forward the first bytes of a sender's packet, then reset both sides."""
        self.direction(sender).forward_partly(size)
        self.reset()

    def _end(self) -> None:
        if self._dialing is not None:
            self._dialing.cancel()
        self._check_closed()

    def _check_closed(self) -> None:
        if not self._transports and self._dialing is None and not self.closed.done():
            self.closed.set_result(None)
