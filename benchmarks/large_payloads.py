"""Memory and time of one large payload, over each transport, in both directions.

    python benchmarks/large_payloads.py --size 100

It runs in an environment in which aiomqtt is installed. The client has a process of its
own, and so has the broker, which is aiomqtt's; in memory they share one. All are forked
from this process, which has imported everything and holds no payload. The peak is that
of the resident set above its size before, so the payload itself is part of it. The
program fails if one of the client exceeds `--limit` times the payload.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import aiomqtt
from aiomqtt.broker import Broker, Limits

TRANSPORTS = ("tcp", "tls", "ws", "wss", "unix", "memory")
DIRECTIONS = ("publish", "receive")
MEBIBYTE = 1024 * 1024
TOPIC = "large"
TIMEOUT = 120.0
PROCESSES = multiprocessing.get_context("fork")


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
    command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"]
    command += ["-pkeyopt", "ec_paramgen_curve:prime256v1"]
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


async def serve(
    program: Connection, transport: str, size: int, directory: Path
) -> None:
    """Serve one client: send the place, and publish when the program says so."""
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
        program.send(place)
        while await asyncio.to_thread(program.recv) == "publish":
            broker.publish(TOPIC, os.urandom(size), qos=1)
        program.send(resident("VmHWM") - before)


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
    program: Connection,
    transport: str,
    place: str,
    direction: str,
    size: int,
    directory: Path,
) -> None:
    """Publish or receive one payload, and send the figures."""
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
                program.send("ready")
            message = await anext(client.messages)
            assert len(message.payload) == size
        figures = {
            "peak": resident("VmHWM") - before,
            "wall_s": time.perf_counter() - started,
            "cpu_s": time.process_time() - cpu,
        }
        program.send(figures)


# --- both -----------------------------------------------------------------------------


def start(
    function: Callable[..., Coroutine[Any, Any, None]], *arguments: Any
) -> tuple[BaseProcess, Connection]:
    """Run a coroutine in a process of its own; return what it is connected to, too."""
    here, there = PROCESSES.Pipe()

    def run_it() -> None:
        asyncio.run(function(there, *arguments))

    process = PROCESSES.Process(target=run_it, daemon=True)
    process.start()
    # It ends if the process does.
    there.close()
    return process, here


def run(transport: str, direction: str, size: int, directory: Path) -> dict[str, float]:
    """Run client and broker, and return the figures of both."""
    place, broker = "", None
    if transport != "memory":
        server, broker = start(serve, transport, size, directory)
        place = broker.recv()
    try:
        _, client = start(measure, transport, place, direction, size, directory)
        if direction == "receive" and broker is not None:
            assert client.recv() == "ready"
            broker.send("publish")
        figures: dict[str, float] = client.recv()
        if broker is not None:
            broker.send("end")
            figures["broker_peak"] = broker.recv()
    except EOFError:
        msg = f"{transport}, {direction}: the client or the broker failed"
        raise SystemExit(msg) from None
    finally:
        if broker is not None:
            server.kill()
    return figures


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
        if {"tls", "wss"} & {*arguments.transports}:
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
    return report(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
