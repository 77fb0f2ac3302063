"""The table of workloads: one row each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Metric = Literal[
    "cpu_us_per_message",
    "p50_us",
    "p99_us",
    "cpu_ms_each",
    "kib_each",
    "import_cpu_ms",
    "import_kib",
]

UNITS: dict[Metric, str] = {
    "cpu_us_per_message": "CPU µs per message",
    "p50_us": "µs, p50",
    "p99_us": "µs, p99",
    "cpu_ms_each": "CPU ms each",
    "kib_each": "KiB each",
    "import_cpu_ms": "CPU ms",
    "import_kib": "KiB",
}


@dataclass(frozen=True, slots=True)
class Workload:
    name: str
    title: str
    # What the client program is asked for; "import" has a program of its own.
    kind: str
    qos: int
    # Messages (or connections) of one run, for a client of usual speed.
    messages: int
    # The first one is compared; each gets a row of the table.
    metrics: tuple[Metric, ...] = ("cpu_us_per_message",)

    @property
    def peer_sends(self) -> bool:
        return self.kind == "receive"

    @property
    def peer_receives(self) -> bool:
        return self.kind.startswith("publish")

    @property
    def is_per_message(self) -> bool:
        """Whether a client that is known to be slow gets fewer of them."""
        return self.peer_sends or self.peer_receives


WORKLOADS = (
    Workload("receive-qos0", "receive QoS 0", "receive", 0, 100_000),
    Workload("receive-qos1", "receive QoS 1", "receive", 1, 50_000),
    Workload("receive-qos2", "receive QoS 2", "receive", 2, 30_000),
    Workload("publish-qos0", "publish QoS 0, one by one", "publish", 0, 100_000),
    Workload("publish-qos1", "publish QoS 1, in flight", "publish-window", 1, 40_000),
    Workload("publish-qos2", "publish QoS 2, in flight", "publish-window", 2, 20_000),
    # For those who have a call for it; the reference does as it always does.
    Workload("publish-many-qos1", "publish QoS 1, one call", "publish-many", 1, 40_000),
    Workload("publish-many-qos2", "publish QoS 2, one call", "publish-many", 2, 20_000),
    Workload(
        "latency",
        "publish QoS 1, one by one",
        "latency",
        1,
        2_000,
        ("p50_us", "p99_us", "cpu_us_per_message"),
    ),
    Workload("connect", "connect and disconnect", "connect", 0, 200, ("cpu_ms_each",)),
    Workload("idle", "memory of an idle client", "idle", 0, 200, ("kib_each",)),
    Workload("import", "import", "import", 0, 1, ("import_cpu_ms", "import_kib")),
)


def value_of(metric: Metric, result: dict[str, float]) -> float:
    """The metric's figure from a client program's result line."""
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
