"""A network between a client and a broker that fails on demand.

    async with FaultProxy(broker.host, broker.port) as proxy:
        proxy.after(BROKER, PUBREC, 3).reset()  # the broker's third PUBREC
        async with aiomqtt.Client(proxy.host, proxy.port) as client:
            ...

It works over TCP for any client, any broker and any version. Packets are recognized by
their fixed headers and forwarded complete. A connection that does not begin with a
CONNECT, such as TLS, is forwarded byte for byte, without packets.
"""

import asyncio
import math
import random
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

from aiomqtt.standard.tables import PacketType

from .direction import BROKER, CLIENT, Direction, Sender
from .forwarding import ProxiedConnection

__all__ = ["BROKER", "CLIENT", "FaultProxy", "FaultOrder", "Sender"]

Fault: TypeAlias = Callable[[ProxiedConnection], None]
# The faults that `FaultProxy.order_random_faults` chooses from.
FAULTS: Final = ("cut", "reset", "truncate", "fragment", "delay")


class FaultOrder:
    """A fault that waits for its packet; call one method to choose the fault.

    Attributes:
        fault: The fault, such as "reset"; "": not chosen yet.
        triggered: Whether it has happened.
    """

    def __init__(
        self, sender: Sender, kind: PacketType | None, number: int, is_before: bool
    ) -> None:
        self.sender = sender
        self.kind = kind
        self.number = number
        self.is_before = is_before
        self.fault: str = ""
        self.triggered: bool = False
        self._arguments = ""
        self._trigger: Fault | None = None

    def __repr__(self) -> str:
        """Return the order as the test wrote it."""
        when = "before" if self.is_before else "after"
        kind = "None" if self.kind is None else self.kind.name
        packet = f"{self.sender.name}, {kind}, {self.number}"
        return f"{when}({packet}).{self.fault}{self._arguments}"

    def cut(self) -> None:
        """Close the connection on both sides, like a proxy that stops."""
        self._set_fault("cut", (), ProxiedConnection.cut)

    def reset(self) -> None:
        """Reset the connection on both sides (RST)."""
        self._set_fault("reset", (), ProxiedConnection.reset)

    def truncate(self, size: int = 1) -> None:
        """Forward the first bytes of the packet, then reset the connection.

        Args:
            size: How many bytes.

        Raises:
            ValueError: The size is negative, or the order was made by `after`.
        """
        if size < 0 or not self.is_before:
            msg = "truncate needs a size of 0 or more bytes, and `before`"
            raise ValueError(msg)
        self._set_fault("truncate", (size,), lambda c: c.truncate(self.sender, size))

    def stall(self, sender: Sender | None = None) -> None:
        """Forward nothing until `resume`; reading stops when the buffer is full.

        Args:
            sender: The side whose bytes are affected; ``None``: both.
        """
        self._set_fault("stall", (sender,), lambda c: c.stall(sender))

    def black_hole(self, sender: Sender | None = None) -> None:
        """Read and discard everything, until `resume`.

        Args:
            sender: The side whose bytes are affected; ``None``: both.
        """
        self._set_fault("black_hole", (sender,), lambda c: c.black_hole(sender))

    def delay(self, seconds: float, sender: Sender | None = None) -> None:
        """Delay everything that follows, until `resume`.

        Args:
            seconds: The delay.
            sender: The side whose bytes are affected; ``None``: both.

        Raises:
            ValueError: The seconds are negative.
        """
        check_seconds(seconds)
        self._set_fault("delay", (seconds, sender), lambda c: c.delay(seconds, sender))

    def fragment(self, size: int | None = 1, sender: Sender | None = None) -> None:
        """Forward everything that follows in pieces, until `resume`.

        Args:
            size: The size of the pieces in bytes; ``None``: random, 1 to 16.
            sender: The side whose bytes are affected; ``None``: both.

        Raises:
            ValueError: The size is below 1.
        """
        check_size(size)
        self._set_fault("fragment", (size, sender), lambda c: c.fragment(size, sender))

    def _set_fault(
        self, fault: str, arguments: tuple[Any, ...], trigger: Fault
    ) -> None:
        if self.fault:
            msg = f"this order already has a fault: {self!r}"
            raise ValueError(msg)
        if arguments and isinstance(arguments[-1], Sender):
            shown = [*map(repr, arguments[:-1]), arguments[-1].name]
        else:
            # Of the arguments, the sender may be left out.
            shown = [repr(value) for value in arguments if value is not None]
            if fault == "fragment" and arguments[0] is None:
                shown = ["None"]
        self.fault = fault
        self._arguments = f"({', '.join(shown)})"
        self._trigger = trigger

    def trigger(self, connection: ProxiedConnection) -> None:
        """Make the fault happen to a connection."""
        assert self._trigger is not None
        self.triggered = True
        self._trigger(connection)


def check_seconds(seconds: float) -> None:
    """Raise ValueError if a delay is negative or infinite."""
    if not 0 <= seconds < math.inf:
        msg = f"seconds must be 0 or more, not {seconds}"
        raise ValueError(msg)


def check_size(size: int | None) -> None:
    """Raise ValueError if pieces would have no byte."""
    if size is not None and size < 1:
        msg = f"size must be 1 or more bytes, not {size}"
        raise ValueError(msg)


class FaultProxy:
    """Forwards connections to a broker, with faults; an asynchronous context manager.

    Args:
        broker_host: The broker's address.
        broker_port: Its port.
        seed: The seed of random faults: the same seed orders the same faults.

    Attributes:
        host: The address for the client to connect to.
        port: Its port.
        seed: The seed.
        orders: The faults that were ordered, in the order of the calls.
        connections: How many connections there have been.
        packets: How many packets were received, by sender and kind.
        bytes: How many bytes were forwarded, by sender.
    """

    host = "127.0.0.1"

    def __init__(self, broker_host: str, broker_port: int, *, seed: int = 0) -> None:
        self.port: int = 0
        self.seed = seed
        self.orders: list[FaultOrder] = []
        self.connections: int = 0
        self.packets: Counter[tuple[Sender, PacketType]] = Counter()
        self.bytes: Counter[Sender] = Counter()
        self._broker = broker_host, broker_port
        self._random = random.Random(seed)
        self._open: set[ProxiedConnection] = set()
        self._server: asyncio.Server | None = None
        # Also applied to future connections.
        self._lasting: list[Fault] = []

    @property
    def triggered(self) -> int:
        """The number of ordered faults that have happened."""
        return sum(order.triggered for order in self.orders)

    def __repr__(self) -> str:
        """Return the seed and the orders, for the message of a failing test."""
        return f"FaultProxy(seed={self.seed}, orders={self.orders})"

    async def __aenter__(self) -> Self:
        """Listen on a free port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accepted, self.host, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Reset all connections, and return when they are closed."""
        assert self._server is not None
        self._server.close()
        self.reset()
        for connection in [*self._open]:
            await connection.closed
        await self._server.wait_closed()

    # --- ordering faults ------------------------------------------------------------

    def after(
        self, sender: Sender, kind: PacketType | int | None = None, number: int = 1
    ) -> FaultOrder:
        """FaultOrder a fault for the moment after a packet was forwarded.

        Args:
            sender: The side that sends the packet, `CLIENT` or `BROKER`.
            kind: The kind of packet, such as `PUBREC`; ``None``: any.
            number: Which occurrence, counted from 1 across all connections.

        Returns:
            The order; call one of its methods to choose the fault:
            ``proxy.after(BROKER, PUBREC, 3).reset()``.

        Raises:
            ValueError: The number is below 1.
        """
        return self._order(sender, kind, number, is_before=False)

    def before(
        self, sender: Sender, kind: PacketType | int | None = None, number: int = 1
    ) -> FaultOrder:
        """FaultOrder a fault for the moment before a packet is forwarded.

        If the fault leaves the connection open, the packet is forwarded afterwards.
        """
        return self._order(sender, kind, number, is_before=True)

    def _order(
        self,
        sender: Sender,
        kind: PacketType | int | None,
        number: int,
        is_before: bool,
    ) -> FaultOrder:
        if number < 1:
            msg = f"number must be 1 or more, not {number}"
            raise ValueError(msg)
        wanted = None if kind is None else PacketType(kind)
        order = FaultOrder(Sender(sender), wanted, number, is_before)
        self.orders.append(order)
        return order

    def order_random_faults(self, faults: int, packets: int) -> list[FaultOrder]:
        """FaultOrder random faults, determined by the seed.

        Args:
            faults: How many faults.
            packets: The last packet of each side that a fault may happen at, counted
                from 1.

        Returns:
            The orders.
        """
        ordered = []
        for _ in range(faults):
            sender = self._random.choice((CLIENT, BROKER))
            number = self._random.randint(1, packets)
            fault = self._random.choice(FAULTS)
            if fault == "truncate" or self._random.random() < 0.5:
                order = self.before(sender, None, number)
            else:
                order = self.after(sender, None, number)
            if fault == "truncate":
                order.truncate(self._random.randint(0, 4))
            elif fault == "fragment":
                order.fragment(None)
            elif fault == "delay":
                order.delay(self._random.choice((0.001, 0.01)))
            elif fault == "cut":
                order.cut()
            else:
                order.reset()
            ordered.append(order)
        return ordered

    # --- faults at once ---------------------------------------------------------------

    def cut(self) -> None:
        """Close all connections on both sides."""
        for connection in [*self._open]:
            connection.cut()

    def reset(self) -> None:
        """Reset all connections on both sides (RST)."""
        for connection in [*self._open]:
            connection.reset()

    def stall(self, sender: Sender | None = None) -> None:
        """Forward nothing; see `FaultOrder.stall`.

        Like the methods below, this holds for future connections too, until `resume`.
        """
        self._start_lasting(lambda c: c.stall(sender))

    def black_hole(self, sender: Sender | None = None) -> None:
        """Read and discard everything; see `FaultOrder.black_hole`."""
        self._start_lasting(lambda c: c.black_hole(sender))

    def delay(self, seconds: float, sender: Sender | None = None) -> None:
        """Delay everything; see `FaultOrder.delay`."""
        check_seconds(seconds)
        self._start_lasting(lambda c: c.delay(seconds, sender))

    def fragment(self, size: int | None = 1, sender: Sender | None = None) -> None:
        """Forward everything in pieces; see `FaultOrder.fragment`."""
        check_size(size)
        self._start_lasting(lambda c: c.fragment(size, sender))

    def resume(self) -> None:
        """End all lasting faults, including those that an order started.

        Bytes that were held back are forwarded at once; discarded ones stay lost.
        """
        self._lasting.clear()
        for connection in self._open:
            connection.resume()

    def _start_lasting(self, fault: Fault) -> None:
        self._lasting.append(fault)
        for connection in self._open:
            fault(connection)

    # --- called by the connections --------------------------------------------

    def _accepted(self) -> asyncio.Protocol:
        self.connections += 1
        connection = ProxiedConnection(
            self._broker, self._random, self._packet_received, self._bytes_forwarded
        )
        self._open.add(connection)
        connection.closed.add_done_callback(lambda _: self._open.discard(connection))
        for fault in self._lasting:
            fault(connection)
        return connection.client_end

    def _bytes_forwarded(self, direction: Direction, size: int) -> None:
        self.bytes[direction.sender] += size

    def _packet_received(
        self, direction: Direction, kind: PacketType
    ) -> list[FaultOrder]:
        """Count a packet; return the faults that were ordered for it."""
        self.packets[direction.sender, kind] += 1
        total = sum(
            count
            for (sender, _), count in self.packets.items()
            if sender is direction.sender
        )
        return [
            order
            for order in self.orders
            if order.fault
            and not order.triggered
            and order.sender is direction.sender
            and (
                order.number == total
                if order.kind is None
                else order.kind is kind
                and order.number == self.packets[direction.sender, kind]
            )
        ]
