"""What the Python client programs share: arguments, the meter and the result line.

Called as `PROGRAM KIND PORT MESSAGES QOS SIZE IN_FLIGHT PROTOCOL LIMIT`, such a program
prints one line of JSON (see `benchmarks/README.md`).
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import platform
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

HOST = "127.0.0.1"
TOPIC = "bench/temperature"
# What a subscriber asks for: that topic and all the others of a workload.
FILTER = "bench/#"

PROTOCOL_NAMES = {4: "3.1.1", 5: "5.0"}

# Idle clients that connect before the first memory reading: they pay for the imports
# that happen on use, for caches and for the allocator's first arenas.
IDLE_WARM_UP = 50

# Every client gets a name of its own: a server would have to assign one in MQTT 5.0
# (§3.2.2.3.7), and the peer doesn't.
_numbers = itertools.count(1)

# Publishes before the first latency reading.
LATENCY_WARM_UP = 100


@dataclass(frozen=True, slots=True)
class Task:
    """What to do, as the runner asked."""

    kind: str
    port: int
    messages: int
    qos: int
    size: int
    in_flight: int
    protocol: int
    limit: float

    @property
    def payload(self) -> bytes:
        return b"x" * self.size

    @classmethod
    def from_arguments(cls, arguments: list[str]) -> Task:
        kind, *numbers, limit = arguments
        port, messages, qos, size, in_flight, protocol = map(int, numbers)
        return cls(kind, port, messages, qos, size, in_flight, protocol, float(limit))


class Meter:
    """Collects what one run measured."""

    def __init__(self) -> None:
        self.count = 0
        self.payload_bytes = 0
        self.extra: dict[str, float] = {}
        self._cpu_started = self._cpu_stopped = 0.0
        self._wall_started = self._wall_stopped = 0.0
        self._running = False

    def start(self) -> None:
        gc.collect()
        self._running = True
        self._wall_started = time.perf_counter()
        # User and system time of the whole process, its threads included.
        self._cpu_started = time.process_time()

    def stop(self) -> None:
        """Stop the clocks; a second call changes nothing."""
        if not self._running:
            return
        self._cpu_stopped = time.process_time()
        self._wall_stopped = time.perf_counter()
        self._running = False

    def record_latencies(self, nanoseconds: list[int]) -> None:
        ordered = sorted(nanoseconds)
        self.extra["p50_us"] = ordered[len(ordered) // 2] / 1000
        self.extra["p99_us"] = ordered[len(ordered) * 99 // 100] / 1000

    def record_memory_per_client(self, before: int, after: int, clients: int) -> None:
        self.extra["bytes_per_client"] = (after - before) / clients

    def result(self) -> dict[str, float]:
        return {
            "count": self.count,
            "payload_bytes": self.payload_bytes,
            "cpu_s": self._cpu_stopped - self._cpu_started,
            "wall_s": self._wall_stopped - self._wall_started,
            **self.extra,
        }


def new_identifier() -> str:
    return f"bench-{next(_numbers)}"


def resident_bytes() -> int:
    """This process's memory in RAM; where /proc is missing, its peak so far."""
    gc.collect()
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts it in bytes, other systems in KiB.
    return peak if sys.platform == "darwin" else peak * 1024


Kind: TypeAlias = Callable[[Task, Meter], Awaitable[None]]
# Connects a client, which disconnects when the stack unwinds.
Enter: TypeAlias = Callable[[Task, AsyncExitStack], Awaitable[object]]


async def connect(task: Task, meter: Meter, enter: Enter) -> None:
    """Connect and disconnect, one client after the other."""
    async with AsyncExitStack() as stack:
        await enter(task, stack)  # imports and caches of the first connection
    meter.start()
    for _ in range(task.messages):
        async with AsyncExitStack() as stack:
            await enter(task, stack)
        meter.count += 1
    meter.stop()


async def idle(task: Task, meter: Meter, enter: Enter) -> None:
    """Hold clients that do nothing."""
    async with AsyncExitStack() as stack:
        for _ in range(IDLE_WARM_UP):
            await enter(task, stack)
        before = resident_bytes()
        meter.start()
        for _ in range(task.messages):
            await enter(task, stack)
            meter.count += 1
        meter.stop()
        meter.record_memory_per_client(before, resident_bytes(), meter.count)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's in an environment that has it: none has it for another reason."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def main(
    version: str,
    kinds: Mapping[str, Kind],
    enter: Enter | None = None,
    *,
    build: str = "pure",
    protocol: int | None = None,
) -> None:
    """Run the task that the arguments name and print its result.

    With `enter`, the kinds "connect" and "idle" need not be among `kinds`.

    `protocol` is the only one that the client speaks; None: it speaks both. Where it is
    not the one that was asked for, the version says so.
    """
    task = Task.from_arguments(sys.argv[1:])
    if protocol is not None and protocol != task.protocol:
        task = replace(task, protocol=protocol)
        version = f"{version} (MQTT {PROTOCOL_NAMES[protocol]})"
    meter = Meter()
    if enter is not None:
        kinds = {
            "connect": partial(connect, enter=enter),
            "idle": partial(idle, enter=enter),
            **kinds,
        }

    async def run() -> None:
        # The limit ends a client that waits for messages that don't come; what it has
        # counted until then tells the runner how many are missing.
        try:
            async with asyncio.timeout(task.limit):
                await kinds[task.kind](task, meter)
        except TimeoutError:
            meter.extra["timed_out"] = 1
        finally:
            meter.stop()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(run())
    result = {"version": version, "build": build, "python": platform.python_version()}
    print(json.dumps(result | meter.result()), flush=True)
