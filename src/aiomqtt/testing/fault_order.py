"""A fault that a test orders: at which packets or connections, how often, and which."""

import random
from collections.abc import Callable
from typing import Any, Self, TypeAlias

from aiomqtt.argument_checks import check_finite
from aiomqtt.standard.tables import PacketType

from .forwarding import ProxiedConnection
from .sender import Sender

Fault: TypeAlias = Callable[[ProxiedConnection], None]


class FaultOrder:
    """A fault that waits for its packet; call one method to choose the fault.

    Call `times`, `every` or `with_probability` first for a fault that happens more than
    once.

    Attributes:
        fault: The fault, such as "reset"; "": not chosen yet.
        count: How often it has happened.
    """

    def __init__(
        self,
        sender: Sender | None,
        kind: PacketType | None,
        number: int,
        when: str,
        generator: random.Random,
    ) -> None:
        self.sender = sender
        self.kind = kind
        self.number = number
        self.when = when
        self.fault: str = ""
        self.count: int = 0
        self._random = generator
        self._arguments = ""
        self._trigger: Fault | None = None
        # The calls of `times`, `every` and `with_probability`, as the test wrote them.
        self._conditions: dict[str, str] = {}
        self._every = 1
        self._probability = 1.0
        # How often it may still be planned; None: without a limit.
        self._left: int | None = 1

    def __repr__(self) -> str:
        """Return the order as the test wrote it."""
        if self.sender is None:
            at = str(self.number)
        else:
            kind = "None" if self.kind is None else self.kind.name
            at = f"{self.sender.name}, {kind}, {self.number}"
        calls = [f"{self.when}({at})", *self._conditions.values()]
        return f"{'.'.join(calls)}.{self.fault}{self._arguments}"

    @property
    def is_before(self) -> bool:
        """Whether it happens before the packet is forwarded, not after it."""
        return self.when == "before"

    @property
    def triggered(self) -> bool:
        """Whether it has happened."""
        return self.count > 0

    # --- how often --------------------------------------------------------------------

    def times(self, number: int) -> Self:
        """Let the fault happen several times: at each occurrence, up to this number.

        Together with `every` or `with_probability`, it limits how often these happen.

        Args:
            number: How often the fault happens at most.

        Returns:
            The order.

        Raises:
            ValueError: The number is below 1, the order has one already, or its fault
                is chosen already.
            TypeError: The number is not an int.
        """
        check_count("number", number)
        self._add_condition("times", number)
        self._left = number
        return self

    def every(self, number: int) -> Self:
        """Let the fault happen again and again, at each occurrence of this number.

        Args:
            number: 3: the third occurrence, the sixth, and so on, counted from the
                one that `before`, `after` or `on_connection` names.

        Returns:
            The order.

        Raises:
            ValueError: The number is below 1, the order has `every` or
                `with_probability` already, or its fault is chosen already.
            TypeError: The number is not an int.
        """
        check_count("number", number)
        self._add_condition("every", number)
        self._every = number
        return self

    def with_probability(self, probability: float) -> Self:
        """Let the fault happen by chance, at each occurrence with this probability.

        The seed of the proxy decides: with the same seed, the fault happens at the same
        occurrences.

        Args:
            probability: Above 0, at most 1.

        Returns:
            The order.

        Raises:
            ValueError: The probability is out of range, the order has `every` or
                `with_probability` already, or its fault is chosen already.
        """
        if not 0 < probability <= 1:
            msg = f"probability must be above 0 and at most 1, not {probability}"
            raise ValueError(msg)
        self._add_condition("with_probability", probability)
        self._probability = probability
        return self

    def _add_condition(self, name: str, value: float) -> None:
        call = f"{name}({value})"
        if self.fault:
            msg = f"{call} must come before the fault: {self!r}"
            raise ValueError(msg)
        if name in self._conditions:
            msg = f"this order already has {self._conditions[name]}"
            raise ValueError(msg)
        if name != "times" and self._conditions.keys() - {"times"}:
            msg = "an order has either every or with_probability, not both"
            raise ValueError(msg)
        self._conditions[name] = call
        if "times" not in self._conditions:
            self._left = None

    # --- which fault ------------------------------------------------------------------

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
            ValueError: The size is negative, or the order was not made by `before`.
        """
        sender = self.sender
        if size < 0 or not self.is_before or sender is None:
            msg = "truncate needs a size of 0 or more bytes, and `before`"
            raise ValueError(msg)
        self._set_fault("truncate", (size,), lambda c: c.truncate(sender, size))

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
        check_finite("seconds", seconds)
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

    # --- called by the proxy ----------------------------------------------------------

    def is_due(self, occurrence: int) -> bool:
        """Decide whether the fault happens at an occurrence, counted from 1.

        Call it once for each occurrence, in their order.
        """
        count = occurrence - self.number + 1
        if not self.fault or self._left == 0 or count < 1 or count % self._every:
            return False
        if not self._conditions and count > 1:
            # Its occurrence had passed before the order was made.
            return False
        if self._probability < 1 and self._random.random() >= self._probability:
            return False
        if self._left is not None:
            self._left -= 1
        return True

    def trigger(self, connection: ProxiedConnection) -> None:
        """Make the fault happen to a connection."""
        assert self._trigger is not None
        self.count += 1
        self._trigger(connection)


def check_count(name: str, value: int) -> None:
    """Raise an error if a value is not an int of 1 or more."""
    if not isinstance(value, int):
        msg = f"{name} must be an int, not {type(value).__name__}"
        raise TypeError(msg)
    if value < 1:
        msg = f"{name} must be 1 or more, not {value}"
        raise ValueError(msg)


def check_size(size: int | None) -> None:
    """Raise ValueError if pieces would have no byte."""
    if size is not None and size < 1:
        msg = f"size must be 1 or more bytes, not {size}"
        raise ValueError(msg)
