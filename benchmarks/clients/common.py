"""Code of all Python client programs: arguments, the meter and the result line.

Such a program is called with the fields of `Task`, in their order, and prints one line
of JSON (see `benchmarks/README.md`).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import json
import os
import platform
import resource
import socket
import ssl
import struct
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

# Only on Unix.
try:
    import fcntl
    import termios
except ImportError:
    pass

HOST = "127.0.0.1"
TOPIC = "bench/temperature"
# The filter of a subscriber: that topic and all the others of a workload.
FILTER = "bench/#"

# Linux's struct tcp_info: so much of it is asked for, where tcpi_bytes_received is.
TCP_INFO_BYTES = 256
TCP_INFO_RECEIVED = 128

PROTOCOL_NAMES = {4: "3.1.1", 5: "5.0"}

# Idle clients that connect before the first memory reading: they pay for the imports
# that happen on use, for caches and for the allocator's first arenas.
IDLE_WARM_UP = 50

# Every client gets a name of its own: a server would have to assign one in MQTT 5.0
# (§3.2.2.3.7), and the peer doesn't.
_numbers = itertools.count(1)

# Publishes before the first latency reading.
LATENCY_WARM_UP = 100

# The kind that receives and is watched, and after how many messages each look is taken.
WATCHED = "receive-watched"
LOOK_EVERY = 64


@dataclass(frozen=True, slots=True)
class Task:
    """The task that the runner gives."""

    kind: str
    port: int
    messages: int
    qos: int
    size: int
    in_flight: int
    protocol: int
    limit: float
    window: int  # unacknowledged messages that come at most
    property_bytes: int  # of each message that comes, in MQTT 5.0
    transport: str = "tcp"  # or "unix", "tls", "ws", "wss"
    file: str = ""  # the path of the Unix socket, or of the peer's certificate

    @property
    def payload(self) -> bytes:
        return b"x" * self.size

    @classmethod
    def from_arguments(cls, arguments: list[str]) -> Task:
        kind, *first, limit, window, property_bytes = arguments[:10]
        port, messages, qos, size, in_flight, protocol = map(int, first)
        return cls(
            kind,
            port,
            messages,
            qos,
            size,
            in_flight,
            protocol,
            float(limit),
            int(window),
            int(property_bytes),
            *arguments[10:],
        )

    @property
    def tls_context(self) -> ssl.SSLContext | None:
        """Return a context that trusts the peer; None: there is no TLS."""
        if self.transport not in ("tls", "wss"):
            return None
        return ssl.create_default_context(cafile=self.file)


def publish_length(task: Task) -> int:
    """Return the bytes of one PUBLISH on the workloads' topic."""
    body = 2 + len(TOPIC) + task.size
    if task.qos:
        body += 2
    if task.protocol == 5:
        body += length_of_length(task.property_bytes) + task.property_bytes
    return 1 + length_of_length(body) + body


def length_of_length(value: int) -> int:
    """Return the bytes of a variable byte integer."""
    return max(1, (value.bit_length() + 6) // 7)


class Watch:
    """Follows a client that receives: its queue, its memory, the turns of its loop.

    What was read from the socket and hasn't reached the program waits in the client,
    wherever that keeps it. The system knows what was read, on Linux.
    """

    def __init__(self, task: Task) -> None:
        self._port = task.port
        self._length = publish_length(task)
        self._socket: socket.socket | None = None
        self._read_before = 0
        self._longest_queue = 0
        self._resident = 0
        self._turn_began = 0.0
        self._longest_turn = 0.0
        self._runs = False

    def start(self) -> None:
        self._socket = self._find_socket()
        if self._socket is not None:
            self._read_before = self._read()
        self._resident = resident_bytes()
        # Reset the peak.
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        self._runs = True
        self._turn_began = time.thread_time()
        self._on_turn(asyncio.get_running_loop())

    def look(self, count: int) -> None:
        if self._socket is not None:
            read = (self._read() - self._read_before) // self._length
            self._longest_queue = max(self._longest_queue, read - count)

    def stop(self) -> dict[str, float]:
        self._runs = False
        figures: dict[str, float] = {"longest_turn_ms": self._longest_turn * 1e3}
        if self._socket is not None:
            figures["longest_queue"] = self._longest_queue
            self._socket.close()
        status = Path("/proc/self/status")
        if status.exists():
            [peak] = [
                int(line.split()[1]) * 1024
                for line in status.read_text().splitlines()
                if line.startswith("VmHWM:")
            ]
            figures["peak_bytes"] = peak - self._resident
        return figures

    def _on_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take the processor's time of a turn of the loop: others can't lengthen it."""
        now = time.thread_time()
        self._longest_turn = max(self._longest_turn, now - self._turn_began)
        self._turn_began = now
        if self._runs:
            loop.call_soon(self._on_turn, loop)

    def _find_socket(self) -> socket.socket | None:
        """Return the client's socket, by a file of our own."""
        files = Path("/proc/self/fd")
        if not files.exists():
            return None
        for file in files.iterdir():
            with contextlib.suppress(OSError):
                found = socket.socket(fileno=os.dup(int(file.name)))
                if found.getpeername()[1:2] == (self._port,):
                    return found
                found.close()
        return None

    def _read(self) -> int:
        """Return the bytes that the client has taken out of its socket."""
        assert self._socket is not None
        information = self._socket.getsockopt(
            socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES
        )
        [received] = struct.unpack_from("<Q", information, TCP_INFO_RECEIVED)
        waiting = fcntl.ioctl(self._socket, termios.FIONREAD, bytes(4))
        return int(received) - int.from_bytes(waiting, sys.byteorder)


class Meter:
    """Collects what one run measured."""

    def __init__(self, task: Task) -> None:
        # The number of messages at which `look` is called first.
        self._messages = task.messages
        self._watch = Watch(task) if task.kind == WATCHED else None
        self.first_mark = LOOK_EVERY if self._watch else task.messages
        self.count = 0
        self.payload_bytes = 0
        self.extra: dict[str, float] = {}
        self._cpu_started = self._cpu_stopped = 0.0
        self._wall_started = self._wall_stopped = 0.0
        self._running = False

    def look(self, count: int) -> int:
        """Note how a client that receives stands; at how many to call again, or 0."""
        if count >= self._messages:
            return 0
        if self._watch is not None:
            self._watch.look(count)
        return min(count + LOOK_EVERY, self._messages)

    def start(self) -> None:
        gc.collect()
        if self._watch is not None:
            self._watch.start()
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
        if self._watch is not None:
            self.extra |= self._watch.stop()

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
    meter = Meter(task)
    kinds = {WATCHED: kinds["receive"], **kinds}
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
