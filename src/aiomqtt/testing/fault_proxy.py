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
import random
from collections import Counter
from types import TracebackType
from typing import Final, Self

from aiomqtt.argument_checks import check_finite
from aiomqtt.standard.tables import PacketType

from .direction import Direction
from .fault_order import Fault, FaultOrder, check_count, check_size
from .forwarding import ProxiedConnection
from .network_conditions import NetworkConditions
from .sender import BROKER, CLIENT, Sender

__all__ = ["BROKER", "CLIENT", "FaultProxy", "FaultOrder", "Sender"]

# The faults that `FaultProxy.order_random_faults` chooses from.
FAULTS: Final = ("cut", "reset", "truncate", "fragment", "delay")
# The maximum number of orders that the note of an error names.
SHOWN_ORDERS: Final = 20


def check_conditions(conditions: object) -> None:
    """Raise TypeError if these are not conditions of a network, or None."""
    if conditions is not None and not isinstance(conditions, NetworkConditions):
        msg = (
            "conditions must be a NetworkConditions or None, not"
            f" {type(conditions).__name__}"
        )
        raise TypeError(msg)


class FaultProxy:
    """Forwards connections to a broker, with faults; an asynchronous context manager.

    Args:
        broker_host: The broker's address.
        broker_port: Its port.
        seed: The seed of everything that happens by chance: the same seed makes the
            same choices. ``None``: a new seed each time.
        conditions: The conditions of the network; ``None``: bytes are forwarded at
            once.

    Raises:
        TypeError: The conditions are not a `NetworkConditions`.

    Attributes:
        host: The address for the client to connect to.
        port: Its port.
        seed: The seed, which is also in the notes of an error of the block.
        conditions: The conditions of the network; change them by `set_conditions`.
        orders: The faults that were ordered, in the order of the calls.
        connections: How many connections there have been.
        packets: How many packets were received, by sender and kind.
        bytes: How many bytes were forwarded, by sender.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        broker_host: str,
        broker_port: int,
        *,
        seed: int | None = 0,
        conditions: NetworkConditions | None = None,
    ) -> None:
        check_conditions(conditions)
        self.port: int = 0
        if seed is None:
            seed = random.SystemRandom().getrandbits(32)
        self.seed: int = seed
        self.conditions: NetworkConditions | None = conditions
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
        """The number of ordered faults that have happened, with their repetitions."""
        return sum(order.count for order in self.orders)

    def __repr__(self) -> str:
        """Return the choices of a test, for the message when it fails."""
        shown = f"seed={self.seed}, orders={self.orders}"
        if self.conditions is not None:
            shown += f", conditions={self.conditions}"
        return f"FaultProxy({shown})"

    def _describe(self) -> str:
        lines = [
            f"  {order!r} happened {order.count} times"
            if order.count != 1
            else f"  {order!r} happened once"
            for order in self.orders
            if order.count
        ]
        if len(lines) > SHOWN_ORDERS:
            more = len(lines) - SHOWN_ORDERS
            lines[SHOWN_ORDERS:] = [f"  ({more} more orders happened)"]
        what = "ordered faults that happened" if lines else "no ordered fault happened"
        if self.conditions is not None:
            lines.append(f"  in {self.conditions}")
        return "\n".join([f"FaultProxy(seed={self.seed}): {what}", *lines])

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
        """Reset all connections, and return when they are closed.

        An error of the block gets a note with the seed and the faults that happened.
        """
        if isinstance(exc, Exception) and (self.orders or self.conditions):
            exc.add_note(self._describe())
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
        """Order a fault for the moment after a packet was forwarded.

        Args:
            sender: The side that sends the packet, `CLIENT` or `BROKER`.
            kind: The kind of packet, such as `PUBREC`; ``None``: any.
            number: Which occurrence, counted from 1 across all connections. A fault
                that happens more than once happens from this one on.

        Returns:
            The order; call one of its methods to choose the fault:
            ``proxy.after(BROKER, PUBREC, 3).reset()``.

        Raises:
            ValueError: The number is below 1.
            TypeError: The number is not an int.
        """
        return self._order(Sender(sender), kind, number, "after")

    def before(
        self, sender: Sender, kind: PacketType | int | None = None, number: int = 1
    ) -> FaultOrder:
        """Order a fault for the moment before a packet is forwarded; see `after`.

        If the fault leaves the connection open, the packet is forwarded afterwards.
        """
        return self._order(Sender(sender), kind, number, "before")

    def on_connection(self, number: int = 1) -> FaultOrder:
        """Order a fault for the moment when a client connects, over any protocol.

        A connection that ends by the fault never reaches the broker.

        Args:
            number: Which connection, counted from 1. A fault that happens more than
                once happens from this one on.

        Returns:
            The order; call one of its methods to choose the fault:
            ``proxy.on_connection().times(2).reset()``.

        Raises:
            ValueError: The number is below 1.
            TypeError: The number is not an int.
        """
        return self._order(None, None, number, "on_connection")

    def _order(
        self,
        sender: Sender | None,
        kind: PacketType | int | None,
        number: int,
        when: str,
    ) -> FaultOrder:
        check_count("number", number)
        wanted = None if kind is None else PacketType(kind)
        # Each has its own choices: they don't depend on the traffic of other orders.
        generator = random.Random(f"{self.seed}, order {len(self.orders)}")
        order = FaultOrder(sender, wanted, number, when, generator)
        self.orders.append(order)
        return order

    def order_random_faults(self, faults: int, packets: int) -> list[FaultOrder]:
        """Order random faults, determined by the seed.

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
        check_finite("seconds", seconds)
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

    # --- the network ------------------------------------------------------------------

    def set_conditions(self, conditions: NetworkConditions | None) -> None:
        """Change the conditions of the network, also for open connections.

        They hold until the next call; `resume` does not end them. Bytes that are on
        their way arrive as they would have arrived.

        Args:
            conditions: The conditions; ``None``: bytes are forwarded at once.

        Raises:
            TypeError: This is not a `NetworkConditions`.
        """
        check_conditions(conditions)
        self.conditions = conditions
        for connection in self._open:
            self._apply_conditions(connection)

    def _apply_conditions(self, connection: ProxiedConnection) -> None:
        seed = f"{self.seed}, connection {connection.number}"
        connection.set_conditions(self.conditions, seed)

    # --- called by the connections --------------------------------------------

    def _accepted(self) -> asyncio.Protocol:
        self.connections += 1
        connection = ProxiedConnection(
            self.connections,
            self._broker,
            self._random,
            self._client_connected,
            self._packet_received,
            self._bytes_forwarded,
        )
        self._open.add(connection)
        connection.closed.add_done_callback(lambda _: self._open.discard(connection))
        self._apply_conditions(connection)
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
        count = self.packets[direction.sender, kind]
        return [
            order
            for order in self.orders
            if order.sender is direction.sender
            and order.kind in (None, kind)
            and order.is_due(total if order.kind is None else count)
        ]

    def _client_connected(self, connection: ProxiedConnection) -> list[FaultOrder]:
        """Return the faults that were ordered for a connection."""
        return [
            order
            for order in self.orders
            if order.sender is None and order.is_due(connection.number)
        ]
