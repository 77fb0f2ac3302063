"""The addresses of a client: in which order to try them, and when to try the next.

These are the rules: nothing here connects, waits or reads a clock.
"""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from aiomqtt.exceptions import MqttCodeError, MqttConnectError, MqttError
from aiomqtt.net.target import Target
from aiomqtt.standard.names import (
    CONNECTION_RATE_EXCEEDED,
    IMPLEMENTATION_SPECIFIC_ERROR,
    QUOTA_EXCEEDED,
    SERVER_BUSY,
    SERVER_MOVED,
    SERVER_SHUTTING_DOWN,
    SERVER_UNAVAILABLE,
    UNSPECIFIED_ERROR,
    USE_ANOTHER_SERVER,
)

from .waiters import TIMED_OUT

if TYPE_CHECKING:
    from .redirection import RedirectFunction

# The values of `Client`'s argument `address_order`.
ORDERS: Final = ("listed", "random", "round_robin")
# The time for an attempt where neither it nor the whole has a limit, in seconds.
LONGEST_ATTEMPT: Final = 10.0

# The reason codes of a CONNACK that are about this server, so that another one may
# accept the same CONNECT. All others are about the CONNECT: its credentials, its client
# identifier, its version. A second server of the same service would refuse it, too.
_ABOUT_THE_SERVER: Final = frozenset(
    (
        UNSPECIFIED_ERROR,
        IMPLEMENTATION_SPECIFIC_ERROR,
        SERVER_UNAVAILABLE,
        SERVER_BUSY,
        SERVER_SHUTTING_DOWN,
        QUOTA_EXCEEDED,
        USE_ANOTHER_SERVER,
        SERVER_MOVED,
        CONNECTION_RATE_EXCEEDED,
    )
)

Shuffle = Callable[[list[Target]], None]


class Step(NamedTuple):
    """An address to try, and what led to it.

    Attributes:
        target: The address.
        origin: The target of the program, whose options it has.
        hops: How many redirections led to it, one after the other.
        moved_to: The last host and port to which only permanent redirections led;
            None: `origin`.
        is_permanent: Whether all redirections that led to it were permanent.
    """

    target: Target
    origin: Target
    hops: int = 0
    moved_to: tuple[str, int] | None = None
    is_permanent: bool = True


class Addresses:
    """The targets of a client, in the order in which an entry tries them.

    Args:
        targets: At least one target, in the order in which the program listed them.
        order: One of `ORDERS`.
        attempt_timeout: How many seconds each attempt may take; None: its share of the
            time that is left.
        redirect: "raise", "follow" or the program's function: whether to go to the
            servers that a broker names instead of itself.
        shuffle: Shuffles a list in place, as `random.shuffle`, which None stands for.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        order: str = "listed",
        attempt_timeout: float | None = None,
        redirect: "str | RedirectFunction" = "raise",
        shuffle: Shuffle | None = None,
    ) -> None:
        # Valid as long as the client.
        self.targets: list[Target] = list(targets)
        self.attempt_timeout = attempt_timeout
        self.redirect = redirect
        self._order = order
        self._shuffle = shuffle
        # The position in `targets` at which the next entry begins in a round robin.
        self._start = 0
        # The host and port to which a server has moved, by its own.
        self._moved: dict[tuple[str, int], tuple[str, int]] = {}
        # Valid from a connection that was accepted to the next one.
        self._current: Step | None = None
        # Valid until the next entry: the redirection that ended the last connection.
        self._redirection: tuple[Step, MqttError] | None = None

    def on_connected(self, step: Step) -> None:
        """Note the address that is in use; remember where its server has moved to."""
        self._current = step
        if step.moved_to is not None:
            self._moved[step.origin.address] = step.moved_to
        elif not step.hops:
            self._moved.pop(step.origin.address, None)

    @property
    def is_on_fallback(self) -> bool:
        """Whether the address in use is not the first, nor where that one has led."""
        step = self._current
        return step is not None and step.origin.address != self.targets[0].address

    def on_end(self, error: MqttError | None) -> None:
        """Note how the connection ended: the next entry follows a redirection."""
        step, self._current = self._current, None
        self._redirection = None
        if step is not None and error is not None and is_redirection(error):
            self._redirection = step, error

    def take_redirection(self) -> tuple[Step, MqttError] | None:
        """Return the redirection that ended the last connection, once."""
        redirection, self._redirection = self._redirection, None
        return redirection

    def next_round(self) -> list[Step]:
        """Return the addresses in the order of the next entry.

        Each entry begins with the first again; in a round robin, with the one after
        that with which the last entry began. A server that has moved is tried at its
        new address, and then at its own.
        """
        steps: list[Step] = []
        for target in self._next_targets():
            moved_to = self._moved.get(target.address)
            if moved_to is not None:
                there = target.moved_to(*moved_to)
                steps.append(Step(there, target, moved_to=moved_to))
            steps.append(Step(target, target))
        return steps

    def _next_targets(self) -> list[Target]:
        ordered = self.targets[self._start :] + self.targets[: self._start]
        if self._order == "round_robin":
            self._start = (self._start + 1) % len(self.targets)
        elif self._order == "random":
            (self._shuffle or _shuffle_at_random)(ordered)
        return ordered


def _shuffle_at_random(targets: list[Target]) -> None:
    # Most programs never need it.
    from random import shuffle

    shuffle(targets)


def time_for_attempt(
    remaining: float, attempts: int, attempt_timeout: float | None
) -> float:
    """Return how many seconds the next attempt may take.

    Args:
        remaining: The seconds that all remaining attempts may take; infinity: any time.
        attempts: The number of remaining attempts, with the next one.
        attempt_timeout: How many seconds each attempt may take; None: its share, so
            that an address that never answers leaves time for the others.
    """
    if attempt_timeout is not None:
        return min(attempt_timeout, remaining)
    if remaining == math.inf and attempts > 1:
        return LONGEST_ATTEMPT
    return remaining / attempts


def is_redirection(error: MqttError) -> bool:
    """Whether an error comes from a broker that names other servers."""
    return (
        isinstance(error, MqttCodeError)
        and bool(error.server_reference)
        and error.rc is not None
        and int(error.rc) in (USE_ANOTHER_SERVER, SERVER_MOVED)
    )


def is_final(error: MqttError) -> bool:
    """Whether an attempt failed for a reason that the next address will not change."""
    if isinstance(error, MqttConnectError) and error.rc is not None:
        return int(error.rc) not in _ABOUT_THE_SERVER
    # A package is missing.
    return isinstance(error.__cause__, ImportError)


class Failures:
    """The attempts of one entry that have failed, in order."""

    def __init__(self) -> None:
        self._failures: list[tuple[str, MqttError]] = []

    @property
    def count(self) -> int:
        """The number of failed attempts."""
        return len(self._failures)

    @property
    def last(self) -> str:
        """The target of the last one, and its reason."""
        return _describe(*self._failures[-1])

    @property
    def last_code(self) -> int | None:
        """The reason code of the last one, if it has one."""
        code = self._failures[-1][1].reason_code
        return None if code is None else int(code)

    def add(self, target: str, error: MqttError) -> None:
        """Add a failure."""
        self._failures.append((target, error))

    def add_note_to(self, error: MqttError) -> None:
        """Add these failures to the error of the attempt that came after them."""
        for line in self._lines((), 0):
            error.add_note(f"Before that, {line}")

    def to_error(self, untried: Collection[Step], timeout: float) -> MqttError:
        """Return the error of an entry: that of its attempt, or one for all of them.

        Args:
            untried: The addresses that there was no time for.
            timeout: The time for all attempts, in seconds.
        """
        if self.count == 1 and not untried:
            return self._failures[0][1]
        said = "; ".join(self._lines(untried, timeout))
        count = self.count + len(untried)
        error = MqttError(f"Could not connect to any of {count} brokers: {said}")
        errors = [error for _, error in self._failures]
        error.__cause__ = ExceptionGroup("the attempts to connect", errors)
        return error

    def _lines(self, untried: Collection[Step], timeout: float) -> Iterator[str]:
        for target, error in self._failures:
            yield _describe(target, error)
        for step in untried:
            yield f"{step.target}: not tried, for the {timeout:g} seconds were over"


def _describe(target: str, error: MqttError) -> str:
    """Return a target and the reason of its failure, each once."""
    said = str(error)
    if said == TIMED_OUT and error.__cause__ is not None:
        said = str(error.__cause__).removeprefix(f"{target} ")
    for beginning in (
        f"Could not connect to {target}: ",
        f"Connection to {target} lost: ",
    ):
        said = said.removeprefix(beginning)
    return f"{target}: {said}"
