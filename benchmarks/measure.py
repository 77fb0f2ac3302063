"""One run of one client against a fresh peer or broker, and the verdict on it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from typing import Any

from frames import encode_properties
from other_ends import Mosquitto, OtherEnd, OtherEndError, Peer
from workloads import Workload

# The seconds to start and to end, on top of a client program's own limit.
GRACE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings for all clients of a run."""

    size: int  # where the workload says none
    in_flight: int
    window: int
    protocol: int
    limit: float
    broker: str  # "peer" or "mosquitto"

    def protocol_of(self, workload: Workload) -> int:
        return workload.protocol or self.protocol

    def size_of(self, workload: Workload) -> int:
        return self.size if workload.size is None else workload.size


@dataclass(slots=True)
class Outcome:
    """The figures of a successful run, or the problem."""

    result: dict[str, Any] = field(default_factory=dict)
    peer: dict[str, int] = field(default_factory=dict)
    problem: str = ""
    details: str = ""


def run_import(command: list[str], limit: float) -> Outcome:
    outcome = Outcome()
    _run_client(command, limit, outcome)
    return outcome


def run_client(
    command: list[str], workload: Workload, messages: int, settings: Settings
) -> Outcome:
    outcome = Outcome()
    try:
        with other_end(workload, messages, settings) as other:
            numbers = (
                other.port,
                messages,
                workload.qos,
                settings.size_of(workload),
                settings.in_flight,
                settings.protocol_of(workload),
                settings.limit,
                settings.window,
                len(encode_properties()) if workload.has_properties else 0,
            )
            arguments = [workload.kind, *map(str, numbers)]
            if workload.transport:
                arguments += [workload.transport, other.file]
            _run_client([*command, *arguments], settings.limit, outcome)
            outcome.peer = other.counts()
    except OtherEndError as error:
        outcome.problem = outcome.problem or f"failed: {error}"
    if not outcome.problem:
        outcome.problem = judge(workload, messages, settings, outcome)
    return outcome


def other_end(workload: Workload, messages: int, settings: Settings) -> OtherEnd:
    plan = [
        f"--messages={messages if workload.peer_sends else 0}",
        f"--qos={workload.qos}",
        f"--size={settings.size_of(workload)}",
        f"--topics={workload.topics}",
        f"--window={settings.window}",
        f"--properties={int(workload.has_properties)}",
        f"--own-frames={int(workload.has_own_frames)}",
    ]
    if settings.broker == "mosquitto":
        size = settings.size_of(workload)
        return Mosquitto(workload, messages, size, plan, settings.window)
    return Peer(plan, workload.transport or "tcp")


def _run_client(command: list[str], limit: float, outcome: Outcome) -> None:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=limit + GRACE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        outcome.problem = "stalled"
        return
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        outcome.problem = f"failed: {lines[-1]}"
        outcome.details = done.stderr
        return
    outcome.result = json.loads(done.stdout.splitlines()[-1])


def judge(
    workload: Workload, messages: int, settings: Settings, outcome: Outcome
) -> str:
    """Return the problem of a run; "": there is none."""
    result, peer = outcome.result, outcome.peer
    count, size = result["count"], settings.size_of(workload)
    if workload.peer_sends:
        if peer["sent"] < messages:
            if workload.qos and "acked" in peer:
                # The last message is QoS 0 and waits for the others.
                return f"stalled ({messages - 1 - peer['acked']} not acknowledged)"
            return f"stalled (at {count})"
        if count < messages:
            return f"lost {messages - count}"
        if result["payload_bytes"] != messages * size:
            return f"lost {messages * size - result['payload_bytes']} bytes"
    elif workload.peer_receives:
        if result.get("timed_out"):
            return f"stalled (at {count})"
        if peer["received"] < messages:
            return f"lost {messages - peer['received']}"
        if workload.qos == 2 and peer.get("completed", messages) < messages:
            return f"left {messages - peer['completed']} incomplete"
    if result.get("timed_out") or count < messages:
        return f"stalled (at {count})"
    return ""
