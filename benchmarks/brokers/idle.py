"""Connections that do nothing, and the memory that a broker uses for them."""

from __future__ import annotations

import socket
import struct
import time

from brokers.connections import LoadError, connect, expect_connack
from brokers.plan import Plan
from brokers.processes import cpu_seconds, resident_mib

# Connections before the first reading, which includes what is made once.
WARM_UP = 50
# The number of CONNECTs that wait for their answers at a time.
AT_A_TIME = 100

# The seconds of near silence of the broker before its memory is read.
CALM_SECONDS = 0.3
CALM_CPU_SECONDS = 0.02
LONGEST_WAIT_SECONDS = 5.0

# The connections that are checked at the end.
ASKED = 100


def measure_idle(plan: Plan) -> dict[str, float]:
    socks = open_connections(plan.port, WARM_UP, "warm")
    wait_until_calm(plan.pid)
    before = resident_mib(plan.pid)
    cpu = cpu_seconds(plan.pid)
    started = time.perf_counter()
    idle = open_connections(plan.port, plan.connections, "idle")
    seconds = time.perf_counter() - started
    cpu = cpu_seconds(plan.pid) - cpu
    wait_until_calm(plan.pid)
    after = resident_mib(plan.pid)
    for sock in idle[:: max(1, len(idle) // ASKED)]:
        sock.sendall(b"\xc0\x00")
        if sock.recv(2, socket.MSG_WAITALL) != b"\xd0\x00":
            raise LoadError("failed: no answer to PINGREQ")
    for sock in socks + idle:
        # Reset, so that the ports are free at once.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    return {
        "connections": plan.connections,
        "mib_before": before,
        "mib_above": after - before,
        "mib_in_all": after,
        "kib_each": (after - before) * 1024 / plan.connections,
        "connect_wall_s": seconds,
        "connect_cpu_s": cpu,
    }


def open_connections(port: int, count: int, prefix: str) -> list[socket.socket]:
    socks: list[socket.socket] = []
    while len(socks) < count:
        part = min(AT_A_TIME, count - len(socks))
        fresh = [connect(port, f"{prefix}-{len(socks) + n}") for n in range(part)]
        for sock in fresh:
            expect_connack(sock)
        socks += fresh
    return socks


def wait_until_calm(pid: int) -> None:
    deadline = time.monotonic() + LONGEST_WAIT_SECONDS
    spent = cpu_seconds(pid)
    while time.monotonic() < deadline:
        time.sleep(CALM_SECONDS)
        before, spent = spent, cpu_seconds(pid)
        if spent - before <= CALM_CPU_SECONDS:
            return
