"""A network between a client and a broker that breaks when it is told to.

    async with FaultProxy(broker.host, broker.port) as proxy:
        proxy.after(BROKER, PUBREC, 3).reset()     # its third PUBREC is the last word
        async with aiomqtt.Client(proxy.host, proxy.port) as client:
            ...

Any client, any broker, any version; over TCP. Packets are told by their fixed headers
and forwarded whole. What does not begin with a CONNECT, as TLS, is forwarded as it is,
and no packets are told in it.
"""

import asyncio
import math
import random
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

from aiomqtt.standard.tables import PacketType

from .forwarding import BROKER, CLIENT, Connection, Sender, Wire

__all__ = ["BROKER", "CLIENT", "FaultProxy", "Order", "Sender"]

Fault: TypeAlias = Callable[[Connection], None]
# What can be ordered by chance.
FAULTS: Final = ("cut", "reset", "truncate", "fragment", "delay")


class Order:
    """A fault that waits for its packet; one of the methods says which.

    Attributes:
        fault: What will happen, such as "reset"; "": nothing yet.
        struck: Whether it has happened.
    """

    def __init__(
        self, sender: Sender, kind: PacketType | None, number: int, is_before: bool
    ) -> None:
        """Wait for a packet."""
        self.sender = sender
        self.kind = kind
        self.number = number
        self.is_before = is_before
        self.fault: str = ""
        self.struck: bool = False
        self._told = ""
        self._strike: Fault | None = None

    def __repr__(self) -> str:
        """Return it as it was ordered."""
        when = "before" if self.is_before else "after"
        kind = "None" if self.kind is None else self.kind.name
        packet = f"{self.sender.name}, {kind}, {self.number}"
        return f"{when}({packet}).{self.fault}{self._told}"

    def cut(self) -> None:
        """Close the connection on both sides, as a proxy that ends."""
        self._be("cut", (), Connection.cut)

    def reset(self) -> None:
        """Reset the connection on both sides (RST)."""
        self._be("reset", (), Connection.reset)

    def truncate(self, size: int = 1) -> None:
        """Forward so many bytes of the packet, then reset the connection.

        Raises:
            ValueError: The size is negative, or the order is one for after the packet.
        """
        if size < 0 or not self.is_before:
            msg = "truncate needs a size of 0 or more bytes, and `before`"
            raise ValueError(msg)
        self._be("truncate", (size,), lambda one: one.truncate(self.sender, size))

    def stall(self, sender: Sender | None = None) -> None:
        """Forward nothing more until `resume`, and read no more than fits.

        Args:
            sender: Of whom; ``None``: of both.
        """
        self._be("stall", (sender,), lambda one: one.stall(sender))

    def black_hole(self, sender: Sender | None = None) -> None:
        """Take what comes and forward nothing, until `resume`.

        Args:
            sender: Of whom; ``None``: of both.
        """
        self._be("black_hole", (sender,), lambda one: one.black_hole(sender))

    def delay(self, seconds: float, sender: Sender | None = None) -> None:
        """Forward all that follows so much later, until `resume`.

        Args:
            seconds: How many.
            sender: Of whom; ``None``: of both.

        Raises:
            ValueError: The seconds are negative.
        """
        check_seconds(seconds)
        self._be("delay", (seconds, sender), lambda one: one.delay(seconds, sender))

    def fragment(self, size: int | None = 1, sender: Sender | None = None) -> None:
        """Forward all that follows in pieces, until `resume`.

        Args:
            size: Of so many bytes; ``None``: of 1 to 16 bytes, by chance.
            sender: Of whom; ``None``: of both.

        Raises:
            ValueError: The size is below 1.
        """
        check_size(size)
        self._be("fragment", (size, sender), lambda one: one.fragment(size, sender))

    def _be(self, fault: str, arguments: tuple[Any, ...], strike: Fault) -> None:
        if self.fault:
            msg = f"the order has its fault already: {self!r}"
            raise ValueError(msg)
        if arguments and isinstance(arguments[-1], Sender):
            told = [*map(repr, arguments[:-1]), arguments[-1].name]
        else:
            # The sender is the one that may be left out.
            told = [repr(value) for value in arguments if value is not None]
            if fault == "fragment" and arguments[0] is None:
                told = ["None"]
        self.fault = fault
        self._told = f"({', '.join(told)})"
        self._strike = strike

    def strike(self, connection: Connection) -> None:
        """Let it happen to a connection."""
        assert self._strike is not None
        self.struck = True
        self._strike(connection)


def check_seconds(seconds: float) -> None:
    """Refuse a delay that there is not."""
    if not 0 <= seconds < math.inf:
        msg = f"seconds must be 0 or more, not {seconds}"
        raise ValueError(msg)


def check_size(size: int | None) -> None:
    """Refuse pieces that there are not."""
    if size is not None and size < 1:
        msg = f"size must be 1 or more bytes, not {size}"
        raise ValueError(msg)


class FaultProxy:
    """Forwards connections to a broker, with faults; an asynchronous context manager.

    Args:
        broker_host: The broker's address.
        broker_port: Its port.
        seed: What chance is made of: the same seed orders the same faults.

    Attributes:
        host: The address for the client to connect to.
        port: Its port.
        seed: The seed.
        orders: What was ordered, in the order of the orders.
        connections: How many connections there have been.
        packets: How many packets have come, by sender and kind.
        bytes: How many bytes have been forwarded, by sender.
    """

    host = "127.0.0.1"

    def __init__(self, broker_host: str, broker_port: int, *, seed: int = 0) -> None:
        """Forward to a broker, once it is entered."""
        self.port: int = 0
        self.seed = seed
        self.orders: list[Order] = []
        self.connections: int = 0
        self.packets: Counter[tuple[Sender, PacketType]] = Counter()
        self.bytes: Counter[Sender] = Counter()
        self._broker = broker_host, broker_port
        self._random = random.Random(seed)
        self._open: set[Connection] = set()
        self._server: asyncio.Server | None = None
        # What holds for connections that are still to come.
        self._lasting: list[Fault] = []

    @property
    def struck(self) -> int:
        """How many of the faults that were ordered have happened."""
        return sum(order.struck for order in self.orders)

    def __repr__(self) -> str:
        """Return what was ordered, for the message of a test that fails."""
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
        """Reset all connections; returns when they are closed."""
        assert self._server is not None
        self._server.close()
        self.reset()
        for connection in [*self._open]:
            await connection.closed
        await self._server.wait_closed()

    # --- ordering faults ------------------------------------------------------------

    def after(
        self, sender: Sender, kind: PacketType | int | None = None, number: int = 1
    ) -> Order:
        """Order a fault for when a packet has been forwarded.

        Args:
            sender: Whose packet, `CLIENT` or `BROKER`.
            kind: Which packet, such as `PUBREC`; ``None``: any.
            number: The how manieth of them, counted from 1 over all connections.

        Returns:
            What takes the fault: ``proxy.after(BROKER, PUBREC, 3).reset()``.

        Raises:
            ValueError: The number is below 1.
        """
        return self._order(sender, kind, number, is_before=False)

    def before(
        self, sender: Sender, kind: PacketType | int | None = None, number: int = 1
    ) -> Order:
        """Order a fault for when a packet has come, and is not forwarded yet.

        After a fault that leaves the connection open, it is forwarded.
        """
        return self._order(sender, kind, number, is_before=True)

    def _order(
        self,
        sender: Sender,
        kind: PacketType | int | None,
        number: int,
        is_before: bool,
    ) -> Order:
        if number < 1:
            msg = f"number must be 1 or more, not {number}"
            raise ValueError(msg)
        wanted = None if kind is None else PacketType(kind)
        order = Order(Sender(sender), wanted, number, is_before)
        self.orders.append(order)
        return order

    def order_by_chance(self, faults: int, packets: int) -> list[Order]:
        """Order so many faults among the next packets, by the seed.

        Args:
            faults: How many.
            packets: Among how many packets of each side, from the first on.

        Returns:
            What was ordered.
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
        """Forward nothing of a sender, ``None``: of both, and soon read no more.

        As all that follow, it holds for connections to come too, until `resume`.
        """
        self._let_last(lambda one: one.stall(sender))

    def black_hole(self, sender: Sender | None = None) -> None:
        """Take what a sender, ``None``: both, has to say, and forward nothing."""
        self._let_last(lambda one: one.black_hole(sender))

    def delay(self, seconds: float, sender: Sender | None = None) -> None:
        """Forward everything so much later; see `Order.delay`."""
        check_seconds(seconds)
        self._let_last(lambda one: one.delay(seconds, sender))

    def fragment(self, size: int | None = 1, sender: Sender | None = None) -> None:
        """Forward everything in pieces; see `Order.fragment`."""
        check_size(size)
        self._let_last(lambda one: one.fragment(size, sender))

    def resume(self) -> None:
        """End all faults that last, also those that were ordered.

        What was held back is forwarded at once; what was swallowed stays lost.
        """
        self._lasting.clear()
        for connection in self._open:
            connection.resume()

    def _let_last(self, fault: Fault) -> None:
        self._lasting.append(fault)
        for connection in self._open:
            fault(connection)

    # --- what connections tell ------------------------------------------------

    def _accepted(self) -> asyncio.Protocol:
        self.connections += 1
        connection = Connection(self._broker, self._random, self._came, self._passed)
        self._open.add(connection)
        connection.closed.add_done_callback(lambda _: self._open.discard(connection))
        for fault in self._lasting:
            fault(connection)
        return connection.client_end

    def _passed(self, wire: Wire, size: int) -> None:
        self.bytes[wire.sender] += size

    def _came(self, wire: Wire, kind: PacketType) -> list[Order]:
        """Count a packet; return the faults that it has been waited for with."""
        self.packets[wire.sender, kind] += 1
        total = sum(
            count
            for (sender, _), count in self.packets.items()
            if sender is wire.sender
        )
        return [
            order
            for order in self.orders
            if order.fault
            and not order.struck
            and order.sender is wire.sender
            and (
                order.number == total
                if order.kind is None
                else order.kind is kind
                and order.number == self.packets[wire.sender, kind]
            )
        ]
