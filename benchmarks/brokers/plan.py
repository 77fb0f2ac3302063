"""The workloads of `brokers.py`, and the plan of one run."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Literal

Metric = Literal[
    "messages_per_s",
    "deliveries_per_s",
    "cpu_us_per_message",
    "cpu_us_per_delivery",
    "mib_above",
    "mib_in_all",
]

UNITS: dict[Metric, str] = {
    "messages_per_s": "messages/s",
    "deliveries_per_s": "deliveries/s",
    "cpu_us_per_message": "CPU µs per message",
    "cpu_us_per_delivery": "CPU µs per delivery",
    "mib_above": "MiB for these",
    "mib_in_all": "MiB in all",
}

# The clients that hold the filters of `filters-100k`; one of them gets the messages.
HOLDERS = 100
# The messages of both `filters-` workloads are on as many topics, one after the other.
TOPICS = 1000


@dataclass(frozen=True, slots=True)
class Workload:
    name: str
    title: str
    kind: Literal["messages", "idle"]
    metrics: tuple[Metric, ...] = ("messages_per_s", "cpu_us_per_message")
    qos: int = 0
    subscribers: int = 1
    # Different topic filters in all; 0: one, without wildcards.
    filters: int = 0
    # Messages that a subscriber has not received yet, at most; so no broker has a
    # reason to drop one.
    window: int = 1000
    connections: int = 0
    # Whether the sessions of the subscribers last.
    lasting: bool = False
    # Another workload that it is compared with, and the head of that column.
    base: tuple[str, str] | None = None


WORKLOADS = (
    Workload("qos0", "One publisher, one subscriber, QoS 0", "messages"),
    Workload(
        "qos1", "One publisher, one subscriber, QoS 1", "messages", qos=1, window=100
    ),
    Workload(
        "qos2", "One publisher, one subscriber, QoS 2", "messages", qos=2, window=100
    ),
    Workload(
        "qos1-lasting",
        "One publisher, one subscriber whose session lasts, QoS 1",
        "messages",
        qos=1,
        window=500,
        lasting=True,
    ),
    Workload(
        "one-by-one", "One message on the way at a time, QoS 0", "messages", window=1
    ),
    Workload(
        "fan-out",
        "One publisher, 100 subscribers, QoS 0",
        "messages",
        ("deliveries_per_s", "cpu_us_per_delivery"),
        subscribers=100,
        window=200,
    ),
    Workload("filters-1", "1,000 topics, 1 filter, QoS 0", "messages", filters=1),
    Workload(
        "filters-100k",
        "1,000 topics, 100,000 filters, QoS 0",
        "messages",
        filters=100_000,
        base=("filters-1", "to 1 filter"),
    ),
    Workload(
        "idle",
        "10,000 idle connections",
        "idle",
        ("mib_above", "mib_in_all"),
        connections=10_000,
    ),
)


def is_among(workload: Workload, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(workload.name, pattern) for pattern in patterns)


@dataclass(frozen=True, slots=True)
class Plan:
    """The work of the load with one broker."""

    kind: str
    port: int
    pid: int  # of the broker
    qos: int
    subscribers: int
    filters: int
    window: int
    connections: int
    lasting: bool  # whether the sessions of the subscribers last
    size: int  # payload bytes
    # Messages to measure; None: as many as go in `seconds`.
    messages: int | None
    seconds: float
    warm_up: float  # seconds, before

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        return cls(**json.loads(text))

    def topics(self) -> list[str]:
        """Return the topics of the messages, in turn; all are equally long."""
        if not self.filters:
            return ["bench/temperature"]
        return [
            f"plant-000/line-{number % 10}/sensor-{number:04}/temperature"
            for number in range(TOPICS)
        ]

    def topic_filters(self, holder: int) -> list[str]:
        """Return the filters of one client; those of the first match the messages.

        Of 100,000, exactly one matches each message.
        """
        if not self.filters:
            return ["bench/temperature"]
        if self.filters == 1:
            return ["plant-000/+/+/temperature"]
        return [
            f"plant-{holder:03}/+/sensor-{number:04}/temperature"
            for number in range(self.filters // HOLDERS)
        ]

    @property
    def holders(self) -> int:
        """Count the clients whose filters match no message."""
        return HOLDERS - 1 if self.filters > 1 else 0
