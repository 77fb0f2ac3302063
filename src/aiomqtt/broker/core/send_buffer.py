"""The data that waits to be written to one client."""

from collections.abc import Callable
from typing import Final, Protocol

from aiomqtt.standard.names import V5

from .memory_account import CONNECTION_SIZE, FOUND_SIZE, MemoryAccount
from .message import ApplicationMessage
from .slow_subscriber import WaitAllowance
from .timers import Timer, Timers

# The broker does not read from a client with this many bytes waiting: it would cause
# more.
UNSENT_MAX: Final = 1024 * 1024
# The bytes that a topic alias adds to a packet.
ALIAS_SIZE: Final = 3
# The largest size of a Subscription Identifier in a packet.
SUBSCRIPTION_IDENTIFIER_SIZE: Final = 5


class BufferOwner(Protocol):
    """Writes what is in a send buffer."""

    def flush(self) -> None:
        """Write it, and handle the events of the connection."""


class SendBuffer:
    """The data that waits to be written to one client, and the client's limits.

    Attributes:
        data: The bytes to write, in pieces.
        unsent: The approximate number of bytes that wait to be sent; see `set_unsent`.
        bytes_taken: Returns the number of bytes that the operating system has accepted
            so far; None: it is unknown.
        is_paused: Whether the transport's buffer is above its high-water mark.
        has_backlog: Whether very many messages wait for the client's acknowledgements.
        waits_for: The number of clients that this one waits for before it may publish
            more.
        owner: Writes the data.
    """

    __slots__ = (
        "_alias_maximum",
        "_alias_size",
        "_aliases",
        "_bytes_taken",
        "_counted",
        "_gave_up",
        "_is_open",
        "_kept",
        "_memory",
        "_ready",
        "_stalled_since",
        "_throttling_since",
        "_timer",
        "_timers",
        "_wait_allowance",
        "_waiting",
        "bytes_taken",
        "data",
        "has_backlog",
        "is_paused",
        "is_v5",
        "maximum_packet_size",
        "owner",
        "unsent",
        "waits_for",
    )

    def __init__(
        self,
        ready: "list[SendBuffer]",
        timers: Timers,
        memory: MemoryAccount,
        owner: BufferOwner,
    ) -> None:
        """Create a buffer that adds itself to a list when its owner has work to do."""
        # Of the broker.
        self._memory = memory
        self._ready = ready
        self._timers = timers
        # Valid for the network connection.
        self.owner: BufferOwner = owner
        self.data: list[bytes] = []
        self.unsent: int = 0
        self.is_paused: bool = False
        self.bytes_taken: Callable[[], int] | None = None
        # What it returned when it changed last, and when that was.
        self._bytes_taken = 0
        self._stalled_since: float | None = None
        # The size of the received data that the connection keeps; the size of the
        # aliases; everything that is counted as memory.
        self._kept = 0
        self._alias_size = 0
        self._counted = 0
        self._is_open = True
        # Valid from the CONNECT on.
        self.is_v5: bool = False
        self.maximum_packet_size: int = 0
        self._alias_maximum = 0
        self._aliases: dict[str, int] = {}
        # Valid while this client publishes to slow clients.
        self.waits_for: int = 0
        # Valid while this client is slow: the publishers that wait for it, since when
        # and until when; whether they have waited as long as they may.
        self.has_backlog: bool = False
        self._waiting: dict[SendBuffer, None] = {}
        self._throttling_since = 0.0
        self._timer: Timer | None = None
        self._gave_up = False
        # Valid for the connection, once it has been slow.
        self._wait_allowance: WaitAllowance | None = None
        self._count()

    def open(self, version: int, maximum_packet_size: int, aliases: int) -> None:
        """Set the values of the client's CONNECT.

        Args:
            version: The version of MQTT.
            maximum_packet_size: The client's Maximum Packet Size; 0: no limit.
            aliases: The number of topic aliases to use, at most the client's maximum.
        """
        self.is_v5 = version >= V5
        self.maximum_packet_size = maximum_packet_size
        self._alias_maximum = aliases

    def announce(self) -> list[bytes]:
        """Schedule a call of the owner; return the list to append data to."""
        data = self.data
        if not data:
            self._ready.append(self)
        return data

    def write(self, data: bytes) -> None:
        """Write one piece."""
        self.announce().append(data)

    def pop(self) -> list[bytes]:
        """Return the data to write, once."""
        data = self.data
        if data:
            self.data = []
        return data

    # --- memory -------------------------------------------------------------------

    def _count(self) -> None:
        if self._is_open:
            size = CONNECTION_SIZE + self._kept + self._alias_size + self.unsent
            self._memory.used += size - self._counted
            self._counted = size

    def count_received(self, size: int) -> None:
        """Count the received bytes that the connection keeps."""
        if size != self._kept:
            self._kept = size
            self._count()

    def set_unsent(self, size: int) -> None:
        """Record the number of bytes that wait to be sent."""
        if size <= UNSENT_MAX:
            self._stalled_since = None
        self.unsent = size
        self._count()

    @property
    def is_full(self) -> bool:
        """Whether so much waits to be sent that the client must not cause more."""
        return self.unsent > UNSENT_MAX

    def has_stalled(self, seconds: float, time: float) -> bool:
        """Return whether a full buffer has not drained for a time."""
        bytes_taken = 0 if self.bytes_taken is None else self.bytes_taken()
        if self._stalled_since is None or bytes_taken != self._bytes_taken:
            self._bytes_taken, self._stalled_since = bytes_taken, time
            return False
        return time >= self._stalled_since + seconds

    # --- slow clients -------------------------------------------------------------

    @property
    def is_behind(self) -> bool:
        """Whether the client is slower than the clients that publish to it."""
        return self.is_paused or self.has_backlog

    def throttle(self, publisher: "SendBuffer", now: float) -> None:
        """Make a client that publishes to this one wait until this one has caught up.

        Each wait is short, and so is their total: a client that reads nothing, or only
        now and then, must not delay others. Messages that it does not read in time are
        queued for it, and dropped above the limits.
        """
        if self._gave_up or publisher in self._waiting:
            return
        if self._timer is None:
            allowance = self._wait_allowance
            if allowance is None:
                allowance = self._wait_allowance = WaitAllowance()
            left = allowance.remaining(now)
            if left <= 0:
                return
            self._throttling_since = now
            self._timer = self._timers.add(now + left, self._give_up)
        self._waiting[publisher] = None
        publisher.waits_for += 1

    def release_if_drained(self, now: float) -> None:
        """Let waiting publishers go on, if the client has caught up."""
        if not self.is_behind:
            self._gave_up = False
            self._release(now)

    def close(self, now: float) -> None:
        """Let waiting publishers go on: the client is gone."""
        self._is_open = False
        self._memory.used -= self._counted
        self._counted = 0
        self._gave_up = True
        self._release(now)

    def _give_up(self, now: float) -> None:
        self._gave_up = True
        self._release(now)

    def _release(self, now: float) -> None:
        allowance = self._wait_allowance
        if self._timer is not None and allowance is not None:
            self._timers.cancel(self._timer)
            self._timer = None
            allowance.spend(self._throttling_since, now)
        for publisher in self._waiting:
            publisher.waits_for -= 1
            publisher.announce()
        self._waiting.clear()

    # --- encoding -----------------------------------------------------------------

    @property
    def uses_aliases(self) -> bool:
        """Whether packets depend on earlier packets, through topic aliases."""
        return self._alias_maximum > 0

    def render(
        self,
        message: ApplicationMessage,
        qos: int,
        retain: bool,
        identifiers: tuple[int, ...],
        now: float,
    ) -> tuple[bytes, bytes]:
        """Encode a message to be written next, in two parts."""
        if not self.is_v5 or not (
            self._alias_maximum or identifiers or message.has_aged(now)
        ):
            return message.parts(self.is_v5, qos, retain)
        alias, is_known = 0, False
        if self._alias_maximum:
            alias, is_known = self._alias_of(message.topic)
        return message.parts_of_own(qos, retain, identifiers, now, alias, is_known)

    def _alias_of(self, topic: str) -> tuple[int, bool]:
        """Return the alias of a topic, and whether the client knows it (§3.3.2.3.4).

        The first topics get one each, which is enough if topics repeat.
        """
        alias = self._aliases.get(topic, 0)
        if alias:
            return alias, True
        size = FOUND_SIZE + len(topic)
        if len(self._aliases) >= self._alias_maximum or not self._memory.has_room(size):
            return 0, False
        self._alias_size += size
        self._count()
        alias = self._aliases[topic] = len(self._aliases) + 1
        return alias, False
