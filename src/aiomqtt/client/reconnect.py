"""How a client reconnects: the value of `Client`'s argument `reconnect`."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from aiomqtt.argument_checks import check_finite, check_type
from aiomqtt.exceptions import MqttError

# Decides what to do after a connection was lost, or an attempt has failed.
DecideFunction: TypeAlias = Callable[
    [MqttError], Literal["retry", "slow", "redirect", "stop"] | None
]

TAKEOVERS: Final = ("raise", "retry")


@dataclass(frozen=True, kw_only=True)
class Reconnect:
    """How a client connects again after its connection was lost.

    Before each attempt it waits a random time between 0 and a bound ("full jitter"), so
    that many clients that lost their broker at once don't come back at once. The bound
    is `min_delay` at first, and grows by `multiplier` up to `max_delay`. An attempt
    tries all addresses of the client, within its timeout.

    Args:
        min_delay: The bound of the first delay, in seconds; 0: no delays, except
            after a broker said that it is overloaded.
        max_delay: The largest bound, in seconds. It holds at once after the reason
            codes Server busy, Quota exceeded and Connection rate exceeded.
        multiplier: By what the bound grows with each attempt; 1: it does not.
        attempts: How many attempts in a row may fail; ``None``: any number.
        stable_after: How many seconds a connection must have lasted until the bound
            begins with `min_delay` again.
        initial: Whether entering the client keeps trying, too, until it is connected.
            ``False``: the error of the first attempt is raised.
        takeover: What to do after another client with the same client identifier has
            connected, which brokers report in 5.0 only: "raise" ends the client with
            the error; "retry" connects again, which makes the other one lose its
            connection.
        decide: A callable, not a coroutine function, that gets the error and returns
            what to do: "retry", "slow" (with `max_delay`), "redirect" (to the server
            that the broker named, at first without a delay) or "stop"; ``None``: as
            without it. If it raises an exception, the client ends with that.
        return_to_first: After how many seconds a client that is not connected to the
            first of its addresses asks, again and again, whether that one accepts
            network connections, and if so goes there; ``None``: it stays.

    Raises:
        ValueError: An argument violates a rule; the message names both.
        TypeError: An argument has a wrong type; the message names it.
    """

    min_delay: float = 1
    max_delay: float = 60
    multiplier: float = 2
    attempts: int | None = None
    stable_after: float = 30
    initial: bool = False
    takeover: Literal["raise", "retry"] = "raise"
    decide: DecideFunction | None = None
    return_to_first: float | None = None

    def __post_init__(self) -> None:
        for name in ("min_delay", "max_delay", "stable_after"):
            check_finite(name, getattr(self, name))
        check_finite("multiplier", self.multiplier, 1)
        if self.max_delay < self.min_delay:
            msg = (
                f"max_delay must not be below min_delay: {self.max_delay!r} seconds are"
                f" less than {self.min_delay!r}"
            )
            raise ValueError(msg)
        check_type("attempts", self.attempts, int, type(None))
        if self.attempts is not None and self.attempts < 1:
            msg = (
                f"attempts must be 1 or more, not {self.attempts}: for a client that"
                " does not reconnect, leave out reconnect"
            )
            raise ValueError(msg)
        check_type("initial", self.initial, bool)
        if self.takeover not in TAKEOVERS:
            msg = f'takeover must be "raise" or "retry", not {self.takeover!r}'
            raise ValueError(msg)
        self._check_decide()
        if self.return_to_first is not None:
            check_finite("return_to_first", self.return_to_first, is_above=True)

    def _check_decide(self) -> None:
        if self.decide is None:
            return
        if not callable(self.decide):
            msg = f"decide must be a callable, not {type(self.decide).__name__}"
            raise TypeError(msg)
        if inspect.iscoroutinefunction(self.decide):
            msg = "decide must be a plain function, not a coroutine function"
            raise TypeError(msg)


def to_reconnect(value: object) -> Reconnect | None:
    """Return the rules for `Client`'s argument `reconnect`; None: it does not."""
    if value is None or value is False:
        return None
    if value is True:
        return Reconnect()
    if isinstance(value, Reconnect):
        return value
    msg = (
        "reconnect must be True, False or an aiomqtt.Reconnect, not"
        f" {type(value).__name__}"
    )
    raise TypeError(msg)
