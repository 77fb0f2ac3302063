"""The workloads, with their messages, metrics and tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal

Metric = Literal[
    "cpu_us_per_message",
    "p50_us",
    "p99_us",
    "cpu_ms_each",
    "kib_each",
    "import_cpu_ms",
    "import_kib",
    "longest_queue",
    "peak_mib",
    "longest_turn_ms",
]

UNITS: dict[Metric, str] = {
    "cpu_us_per_message": "CPU µs per message",
    "p50_us": "µs, p50",
    "p99_us": "µs, p99",
    "cpu_ms_each": "CPU ms each",
    "kib_each": "KiB each",
    "import_cpu_ms": "CPU ms",
    "import_kib": "KiB",
    "longest_queue": "longest queue, messages",
    "peak_mib": "peak memory, MiB",
    "longest_turn_ms": "longest turn, CPU ms",
}

# Each is one table of the report. `--workloads` knows them too.
GROUPS = {
    "receive": "Receiving",
    "publish": "Publishing",
    "3.1.1": "MQTT 3.1.1",
    "million": "Receiving a million messages at QoS 0",
    "1k": "Payloads of 1 KiB",
    "64k": "Payloads of 64 KiB",
    "receive-transports": "Receiving at QoS 0 over each transport",
    "publish-transports": "Publishing at QoS 0 over each transport",
    "client": "Latency, connecting, memory and import",
}

# The number of topics of `receive-topics`, which are used in turn.
TOPICS = 10_000


@dataclass(frozen=True, slots=True)
class Workload:
    name: str
    title: str  # without the payload's size
    group: str
    # The task of the client program; "import" has a program of its own.
    kind: str
    qos: int
    # Messages (or connections) of one run, for a client of usual speed.
    messages: int
    # Each gets a column of the table; the first one is compared.
    metrics: tuple[Metric, ...] = ("cpu_us_per_message",)
    # Payload bytes; None is what --size says.
    size: int | None = None
    topics: int = 1
    # The version of MQTT, as passed to a client's program; None: that of --protocol.
    protocol: int | None = None
    # Whether the messages have properties.
    has_properties: bool = False
    # As passed to a client's program; "": TCP, the only one that all clients have.
    transport: str = ""
    # Whether each message that comes has a WebSocket frame of its own.
    has_own_frames: bool = False

    @property
    def full_title(self) -> str:
        return (
            self.title
            if self.size is None
            else f"{self.title}, {self.size // 1024} KiB"
        )

    @property
    def peer_sends(self) -> bool:
        return self.kind.startswith("receive")

    @property
    def peer_receives(self) -> bool:
        return self.kind.startswith("publish")

    @property
    def is_per_message(self) -> bool:
        """Return whether a slow client gets fewer messages."""
        return self.peer_sends or self.peer_receives


@dataclass(frozen=True, slots=True)
class Payload:
    """A payload size, with the messages of one run at QoS 0, 1 and 2."""

    bytes: int | None
    name: str  # of the group; it ends the workloads' names, after a hyphen
    receive: tuple[int, int, int]
    publish: tuple[int, int, int]


PAYLOADS = (
    Payload(None, "", (100_000, 40_000, 25_000), (80_000, 30_000, 15_000)),
    Payload(1024, "1k", (70_000, 30_000, 15_000), (60_000, 20_000, 10_000)),
    Payload(65_536, "64k", (4000, 4000, 4000), (4000, 4000, 4000)),
)


def _of_payload(payload: Payload) -> Iterator[Workload]:
    """Receive and publish at each QoS."""
    suffix = payload.name and f"-{payload.name}"
    for qos, messages in enumerate(payload.receive):
        yield Workload(
            f"receive-qos{qos}{suffix}",
            f"receive QoS {qos}",
            payload.name or "receive",
            "receive",
            qos,
            messages,
            size=payload.bytes,
        )
    for qos, messages in enumerate(payload.publish):
        yield Workload(
            f"publish-qos{qos}{suffix}",
            f"publish QoS {qos}",
            payload.name or "publish",
            # One by one at QoS 0, else many in flight.
            "publish-window" if qos else "publish",
            qos,
            messages,
            size=payload.bytes,
        )


# Their names in the tables. Over WebSocket, a frame has as many messages as a read over
# TCP, or, as most brokers send them, each message has a frame of its own.
TRANSPORTS = {
    "tcp": "TCP",
    "unix": "Unix socket",
    "tls": "TLS",
    "ws": "WebSocket",
    "wss": "secure WebSocket",
}


def _of_transports() -> Iterator[Workload]:
    """Receive and publish at QoS 0 over each transport."""
    for transport, title in TRANSPORTS.items():
        receive = Workload(
            f"receive-{transport}",
            title,
            "receive-transports",
            "receive",
            0,
            100_000,
            transport=transport,
        )
        yield receive
        if title.endswith("WebSocket"):
            yield replace(
                receive,
                name=f"{receive.name}-frames",
                title=f"{title}, a frame each",
                has_own_frames=True,
            )
    for transport, title in TRANSPORTS.items():
        yield Workload(
            f"publish-{transport}",
            title,
            "publish-transports",
            "publish",
            0,
            80_000,
            transport=transport,
        )


WORKLOADS = (
    *_of_payload(PAYLOADS[0]),
    # For those who have a call for it; the reference does as it always does.
    Workload(
        "publish-many-qos1",
        "publish QoS 1, one call",
        "publish",
        "publish-many",
        1,
        30_000,
    ),
    Workload(
        "publish-many-qos2",
        "publish QoS 2, one call",
        "publish",
        "publish-many",
        2,
        15_000,
    ),
    Workload(
        "receive-topics",
        f"receive QoS 0, {TOPICS:,} topics",
        "receive",
        "receive",
        0,
        80_000,
        topics=TOPICS,
    ),
    Workload(
        "receive-properties",
        "receive QoS 0, five properties",
        "receive",
        "receive",
        0,
        80_000,
        protocol=5,
        has_properties=True,
    ),
    *(
        replace(workload, name=f"{workload.name}-v4", group="3.1.1", protocol=4)
        for workload in _of_payload(PAYLOADS[0])
    ),
    Workload(
        "receive-million",
        "receive",
        "million",
        "receive-watched",
        0,
        1_000_000,
        ("longest_queue", "peak_mib", "longest_turn_ms"),
    ),
    *_of_payload(PAYLOADS[1]),
    *_of_payload(PAYLOADS[2]),
    *_of_transports(),
    Workload(
        "latency",
        "latency",
        "client",
        "latency",
        1,
        2000,
        ("p50_us", "p99_us", "cpu_us_per_message"),
    ),
    Workload("connect", "connect", "client", "connect", 0, 200, ("cpu_ms_each",)),
    Workload("idle", "idle client", "client", "idle", 0, 1000, ("kib_each",)),
    Workload(
        "import", "import", "client", "import", 0, 1, ("import_cpu_ms", "import_kib")
    ),
)


def is_among(workload: Workload, patterns: Iterable[str]) -> bool:
    """Return whether a name, a pattern like `receive*` or a group selects it."""
    return any(
        pattern == workload.group or fnmatchcase(workload.name, pattern)
        for pattern in patterns
    )


def value_of(metric: Metric, result: dict[str, float]) -> float | None:
    """Return the metric's figure from a program's result line; None: it has none."""
    match metric:
        case "cpu_us_per_message":
            return result["cpu_s"] / result["count"] * 1e6
        case "cpu_ms_each":
            return result["cpu_s"] / result["count"] * 1e3
        case "kib_each":
            return result["bytes_per_client"] / 1024
        case "import_cpu_ms":
            return result["cpu_s"] * 1e3
        case "import_kib":
            return result["import_bytes"] / 1024
        case "p50_us" | "p99_us":
            return result[metric]
        case "peak_mib":
            peak = result.get("peak_bytes")
            return None if peak is None else peak / 1024 / 1024
        case "longest_queue" | "longest_turn_ms":
            return result.get(metric)
