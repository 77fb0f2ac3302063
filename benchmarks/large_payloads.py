"""Memory and time of one large payload, over each transport, in both directions.

    python benchmarks/large_payloads.py --size 100

It runs in an environment in which aiomqtt is installed. The client has a process of its
own, and so has the broker, which is aiomqtt's; in memory they share one. The peak is
that of the resident set above its size before, so the payload itself is part of it. The
program fails if one of the client exceeds `--limit` times the payload.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiomqtt
from aiomqtt.broker import Broker, Limits

TRANSPORTS = ("tcp", "tls", "ws", "wss", "unix", "memory")
DIRECTIONS = ("publish", "receive")
MEBIBYTE = 1024 * 1024
TOPIC = "large"
TIMEOUT = 120.0


def new_broker() -> Broker:
    return Broker(
        None,
        limits=Limits(
            maximum_packet_size=None,
            maximum_memory=4096 * MEBIBYTE,
            maximum_queued_bytes=1024 * MEBIBYTE,
        ),
    )


def make_certificate(directory: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", f"{directory}/key", "-out", f"{directory}/certificate"]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)


# --- the resident set -------------------------------------------------------------


def resident(name: str) -> int:
    """Return the value of a line of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def forget_peak() -> int:
    """Make the peak start anew; return the size of now."""
    Path("/proc/self/clear_refs").write_text("5")
    return resident("VmRSS")


# --- the broker's process -----------------------------------------------------------


async def serve(transport: str, size: int, directory: Path) -> None:
    """Serve one client: print the place, and publish for each line of the input."""
    async with new_broker() as broker:
        context = None
        if transport in ("tls", "wss"):
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(directory / "certificate", directory / "key")
        if transport == "unix":
            place = str(directory / "socket")
            await broker.listen_unix(place)
        else:
            listener = await broker.listen(
                websocket=transport in ("ws", "wss"), ssl_context=context
            )
            place = str(listener.port)
        before = forget_peak()
        print(place, flush=True)
        # The program that started it writes "publish", or "end".
        while await asyncio.to_thread(sys.stdin.readline) == "publish\n":
            broker.publish(TOPIC, os.urandom(size), qos=1)
        print(resident("VmHWM") - before, flush=True)


# --- the client's process -------------------------------------------------------------


@contextlib.asynccontextmanager
async def connected(
    transport: str, place: str, directory: Path
) -> AsyncIterator[aiomqtt.Client]:
    arguments: dict[str, Any] = {"timeout": TIMEOUT}
    hostname = "localhost"
    if transport in ("unix", "memory"):
        hostname = place
        arguments["transport"] = transport
    else:
        arguments["port"] = int(place)
    if transport in ("ws", "wss"):
        arguments["transport"] = "websockets"
    if transport in ("tls", "wss"):
        arguments["tls_context"] = ssl.create_default_context(
            cafile=directory / "certificate"
        )
    async with aiomqtt.Client(hostname, **arguments) as client:
        yield client


async def measure(
    transport: str, place: str, direction: str, size: int, directory: Path
) -> dict[str, float]:
    async with contextlib.AsyncExitStack() as stack:
        broker = None
        if transport == "memory":
            broker = await stack.enter_async_context(new_broker())
            place = broker.name
        client = await stack.enter_async_context(connected(transport, place, directory))
        if direction == "receive":
            await client.subscribe(TOPIC, qos=1)
        before = forget_peak()
        started = time.perf_counter()
        cpu = time.process_time()
        if direction == "publish":
            await client.publish(TOPIC, os.urandom(size), qos=1)
        else:
            if broker is not None:
                broker.publish(TOPIC, os.urandom(size), qos=1)
            else:
                print("ready", flush=True)
            message = await anext(client.messages)
            assert len(message.payload) == size
        return {
            "peak": resident("VmHWM") - before,
            "wall_s": time.perf_counter() - started,
            "cpu_s": time.process_time() - cpu,
        }


# --- both -----------------------------------------------------------------------------


def run(transport: str, direction: str, size: int, directory: Path) -> dict[str, float]:
    """Run client and broker, and return the figures of both."""

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-u", __file__, *arguments, str(size)]
        return subprocess.Popen(
            [*command, "--directory", str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    place, broker = "", None
    if transport != "memory":
        broker = start("--serve", transport, "--bytes")
        assert broker.stdout is not None
        place = broker.stdout.readline().strip()
    try:
        client = start("--measure", transport, place, direction, "--bytes")
        assert client.stdout is not None
        with client:
            if direction == "receive" and broker is not None:
                client.stdout.readline()
                assert broker.stdin is not None
                broker.stdin.write("publish\n")
                broker.stdin.flush()
            output = client.stdout.read()
        if client.returncode:
            raise SystemExit(f"{transport}, {direction}: the client failed")
        figures: dict[str, float] = json.loads(output)
        if broker is not None:
            assert broker.stdin is not None
            assert broker.stdout is not None
            broker.stdin.write("end\n")
            broker.stdin.flush()
            figures["broker_peak"] = int(broker.stdout.readline())
        return figures
    finally:
        if broker is not None:
            broker.kill()
            broker.communicate()


def report(arguments: argparse.Namespace) -> int:
    size = arguments.size * MEBIBYTE
    print(f"aiomqtt {aiomqtt.__version__}, {aiomqtt.__build__}, Python ", end="")
    print(f"{sys.version.split()[0]}, {arguments.size} MiB\n")
    print(
        "| transport | direction | peak, x payload | CPU s | s | a quarter: s |", end=""
    )
    print(" broker's peak |\n|---|---|--:|--:|--:|--:|--:|")
    too_much = 0
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        make_certificate(directory)
        for transport in arguments.transports:
            for direction in DIRECTIONS:
                small = run(transport, direction, size // 4, directory)
                figures = run(transport, direction, size, directory)
                ratio = figures["peak"] / size
                too_much += ratio > arguments.limit
                of_broker = figures.get("broker_peak")
                cells = [
                    *(transport, direction, f"{ratio:.2f}"),
                    *(f"{figures['cpu_s']:.2f}", f"{figures['wall_s']:.2f}"),
                    f"{small['wall_s']:.2f}",
                    "" if of_broker is None else f"{of_broker / size:.2f}",
                ]
                print(f"| {' | '.join(cells)} |", flush=True)
    return 1 if too_much else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=100, help="MiB")
    parser.add_argument("--limit", type=float, default=3.0, help="x the payload")
    parser.add_argument("--transports", nargs="+", default=TRANSPORTS)
    # Passed to its own processes.
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--bytes", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    size, directory = arguments.bytes, arguments.directory
    if arguments.serve:
        asyncio.run(serve(arguments.serve, size, directory))
    elif arguments.measure:
        transport, place, direction = arguments.measure
        figures = asyncio.run(measure(transport, place, direction, size, directory))
        print(json.dumps(figures))
    else:
        return report(arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
