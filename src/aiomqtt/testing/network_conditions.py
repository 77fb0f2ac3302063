"""The conditions of a network: how long bytes travel, and how many fit."""

from dataclasses import dataclass
from typing import ClassVar, Final

from aiomqtt.argument_checks import check_finite

# Stalls that follow each other more closely are jitter, and their times take as long to
# compute as there are many of them.
SHORTEST_STALL_INTERVAL: Final = 0.1


@dataclass(frozen=True, kw_only=True)
class NetworkConditions:
    """The conditions of a network between a client and a broker.

    `lan`, `wan`, `mobile` and `poor` are ready to use, and ``dataclasses.replace``
    changes them: ``replace(NetworkConditions.mobile, latency=0.2)``. Times are accurate
    to about a millisecond.

    Args:
        latency: The seconds that bytes travel in one direction.
        jitter: The seconds that are added at most, different each time.
        upload: The bytes per second from the client to the broker; ``None``: any
            number.
        download: The bytes per second from the broker to the client; ``None``: any
            number.
        stall_interval: The seconds between two stalls, on average; ``None``: there are
            no stalls. In a stall nothing is sent in either direction.
        stall_duration: The seconds that a stall lasts.

    Attributes:
        lan: A local network: 1 Gbit/s, below a millisecond.
        wan: A broker on another continent: 100 Mbit/s down, 20 up, 80 to 100 ms there
            and back.
        mobile: A moving phone: 50 Mbit/s down, 10 up, 120 to 180 ms there and back, and
            every 30 seconds nothing for one second.
        poor: The edge of a mobile network: 240 kbit/s down, 200 up, 0.6 to 1 s there
            and back, and every 10 seconds nothing for three seconds.

    Raises:
        ValueError: A value is negative or infinite, a rate is 0, or just one value of
            the stalls is given.
        TypeError: A value is not a number.
    """

    latency: float = 0.0
    jitter: float = 0.0
    upload: float | None = None
    download: float | None = None
    stall_interval: float | None = None
    stall_duration: float = 0.0

    lan: ClassVar["NetworkConditions"]
    wan: ClassVar["NetworkConditions"]
    mobile: ClassVar["NetworkConditions"]
    poor: ClassVar["NetworkConditions"]

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("latency", "jitter", "stall_duration"):
            check_finite(name, getattr(self, name))
        for name in ("upload", "download"):
            rate = getattr(self, name)
            if rate is not None:
                check_finite(name, rate, is_above=True)
        interval = self.stall_interval
        if interval is not None:
            check_finite("stall_interval", interval, SHORTEST_STALL_INTERVAL)
        if (interval is None) != (not self.stall_duration):
            msg = "stalls need both stall_interval and stall_duration"
            raise ValueError(msg)


NetworkConditions.lan = NetworkConditions(
    latency=0.000_2, jitter=0.000_2, upload=125e6, download=125e6
)
NetworkConditions.wan = NetworkConditions(
    latency=0.04, jitter=0.01, upload=2.5e6, download=12.5e6
)
NetworkConditions.mobile = NetworkConditions(
    latency=0.06,
    jitter=0.03,
    upload=1.25e6,
    download=6.25e6,
    stall_interval=30.0,
    stall_duration=1.0,
)
NetworkConditions.poor = NetworkConditions(
    latency=0.3,
    jitter=0.2,
    upload=25e3,
    download=30e3,
    stall_interval=10.0,
    stall_duration=3.0,
)
