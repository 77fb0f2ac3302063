"""One run of one client against a fresh peer, and the verdict on it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workloads import Workload

PEER = Path(__file__).resolve().parent / "peer.py"

# What a client program gets on top of its own limit, to start and to end.
GRACE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What is the same for every client of a run."""

    size: int
    in_flight: int
    window: int
    protocol: int
    limit: float


@dataclass(slots=True)
class Outcome:
    """The figures of a run that went well, or what went wrong."""

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
    peer_arguments = [
        f"--messages={messages if workload.peer_sends else 0}",
        f"--qos={workload.qos}",
        f"--size={settings.size}",
        f"--window={settings.window}",
    ]
    with subprocess.Popen(
        [sys.executable, str(PEER), *peer_arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as peer:
        assert peer.stdin is not None
        assert peer.stdout is not None
        port = json.loads(peer.stdout.readline())["port"]
        numbers = (
            port,
            messages,
            workload.qos,
            settings.size,
            settings.in_flight,
            settings.protocol,
            settings.limit,
        )
        try:
            arguments = [workload.kind, *map(str, numbers)]
            _run_client([*command, *arguments], settings.limit, outcome)
            peer.stdin.close()
            outcome.peer = json.loads(peer.stdout.readline())
        finally:
            peer.kill()
    if not outcome.problem:
        outcome.problem = judge(workload, messages, settings, outcome)
    return outcome


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
    """What is wrong with a run; empty when nothing is."""
    result, peer = outcome.result, outcome.peer
    if workload.peer_sends:
        # The last message is QoS 0 and comes when the others are acknowledged.
        unacknowledged = messages - 1 - peer["acked"] if workload.qos else 0
        if peer["sent"] < messages:
            return f"stalled ({unacknowledged} not acknowledged)"
        if result["count"] < messages:
            return f"lost {messages - result['count']}"
        if result["payload_bytes"] != messages * settings.size:
            return f"lost {messages * settings.size - result['payload_bytes']} bytes"
    elif workload.peer_receives:
        if result.get("timed_out"):
            return f"stalled (at {result['count']})"
        if peer["received"] < messages:
            return f"lost {messages - peer['received']}"
        if workload.qos == 2 and peer["completed"] < messages:
            return f"left {messages - peer['completed']} incomplete"
    if result.get("timed_out") or result["count"] < messages:
        return f"stalled (at {result['count']})"
    return ""
