"""Publishing from a session in a file, beside bare SQLite and other clients.

    python benchmarks/durable.py --rounds 5

It runs in an environment in which aiomqtt is installed. QoS 1, so many messages
unfinished at a time, on mosquitto without a limit of its own. In each round every row
has a process of its own. The rows of "bare sqlite3" are inserted and deleted in
transactions of the size that those of aiomqtt had in the same round. The program fails
if a ratio is below `--limit`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from brokers.serving import serve_mosquitto
from environments import (
    CLIENTS,
    ENVIRONMENTS,
    PROGRAMS,
    SetUpError,
    compile_program,
    set_up,
)

import aiomqtt
from aiomqtt.protocol.changes import Change
from aiomqtt.stores.sqlite.session_store import SQLiteSessionStore

DURABILITIES = ("normal", "full")
AIOMQTT = ("publish_many", "publish")
# They write each message by itself: one in so many measures as well.
OTHERS = {"ohmqtt": 50, "paho C": 20}
TOPIC = "durable"
TIMEOUT = 600.0  # seconds


# --- the process of one row -----------------------------------------------------------


class CountingStore(SQLiteSessionStore):
    """Counts the transactions."""

    commits = 0

    async def commit(self, changes: Sequence[Change]) -> None:
        self.commits += 1
        await super().commit(changes)


async def publish(name: str, task: argparse.Namespace) -> dict[str, float]:
    """Publish with aiomqtt; return the seconds and the messages per transaction."""
    store = CountingStore(task.directory / "aiomqtt.db", durability=task.durability)
    payload = bytes(task.size)
    client = aiomqtt.Client(
        "127.0.0.1",
        task.port,
        identifier="durable-aiomqtt",
        clean_session=False,
        max_inflight_messages=task.window,
        session=aiomqtt.DurableSession(store),
        timeout=TIMEOUT,
    )
    client.pending_calls_threshold = task.window

    async def publish_in_turn(numbers: Iterator[int]) -> None:
        for _ in numbers:
            await client.publish(TOPIC, payload, 1)

    async with client:
        store.commits = 0
        started = time.perf_counter()
        if name == "publish_many":
            messages = ((TOPIC, payload, 1) for _ in range(task.messages))
            await client.publish_many(messages, window=task.window)
        else:
            numbers = iter(range(task.messages))
            async with asyncio.TaskGroup() as group:
                for _ in range(task.window):
                    group.create_task(publish_in_turn(numbers))
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "rows": task.messages / store.commits}


def write_rows(task: argparse.Namespace) -> dict[str, float]:
    """Insert and delete as many rows, so many of both in a transaction."""
    database = sqlite3.connect(task.directory / "bare.db", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute(f"PRAGMA synchronous = {task.durability}")
    database.execute(
        "CREATE TABLE messages (id INTEGER PRIMARY KEY, packet_id, state, qos, retain,"
        " expires, topic, properties, payload, checksum)"
    )
    payload, size = bytes(task.size), max(1, round(task.rows))
    started = time.perf_counter()
    for first in range(0, task.messages, size):
        numbers = range(first, min(first + size, task.messages))
        database.execute("BEGIN IMMEDIATE")
        database.executemany(
            "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(n, n & 0xFFFF, 1, 1, 0, None, TOPIC, None, payload, n) for n in numbers],
        )
        database.executemany(
            "DELETE FROM messages WHERE id = ?", [(n - size,) for n in numbers]
        )
        database.execute("COMMIT")
    seconds = time.perf_counter() - started
    database.close()
    return {"seconds": seconds}


# --- all of them ----------------------------------------------------------------------


class Rows:
    """Runs one row after the other; remembers the messages per second of each.

    Args:
        arguments: Those of the program.
        port: The port of the broker.
    """

    def __init__(self, arguments: argparse.Namespace, port: int) -> None:
        self._arguments = arguments
        self._port = port
        self._others = dict(_commands(arguments.without))
        # By durability and name: one value for each round.
        self.rates: dict[tuple[str, str], list[float]] = {}
        self.ratios: dict[tuple[str, str], list[float]] = {}

    def run_round(self, durability: str) -> None:
        """Run all rows once."""
        messages = self._arguments.messages
        for name in AIOMQTT:
            found = self._measure(durability, name, messages)
            rows = found["rows"]
            bare = self._measure(durability, "bare", messages, rows)
            rate, bare_rate = messages / found["seconds"], messages / bare["seconds"]
            self._add(durability, name, rate)
            self._add(durability, f"bare sqlite3 for {name}", bare_rate)
            ratios = self.ratios.setdefault((durability, name), [])
            ratios.append(rate / bare_rate)
        for name, command in self._others.items():
            count = max(1, messages // OTHERS[name])
            values = [self._port, count, self._arguments.window, self._arguments.size]
            seconds = float(_run([*command, *map(str, values), durability]))
            self._add(durability, name, count / seconds)

    def _measure(
        self, durability: str, name: str, messages: int, rows: float = 0.0
    ) -> dict[str, float]:
        options = {
            "measure": name,
            "durability": durability,
            "port": self._port,
            "messages": messages,
            "window": self._arguments.window,
            "size": self._arguments.size,
            "rows": rows,
        }
        command = [sys.executable, __file__]
        for option, value in options.items():
            command += [f"--{option}", str(value)]
        found: dict[str, float] = json.loads(_run([*command, "--directory"]))
        return found

    def _add(self, durability: str, name: str, rate: float) -> None:
        self.rates.setdefault((durability, name), []).append(rate)


def _run(command: list[str]) -> str:
    """Run a program with a new directory as its last argument; return its output."""
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(
            [*command, directory],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=TIMEOUT,
        )
        return done.stdout


def _commands(without: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the programs of the other clients that can be run."""
    for name in OTHERS:
        if name in without:
            continue
        try:
            yield name, _command(name)
        except SetUpError as error:
            print(f"without {name}: {error}", file=sys.stderr)


def _command(name: str) -> list[str]:
    if name == "paho C":
        program = ENVIRONMENTS / "durable-paho"
        where = ("MQTTAsync.h", "libpaho-mqtt-dev", "paho-mqtt3a")
        return [str(compile_program("durable_paho.c", program, *where))]
    client = next(one for one in CLIENTS if one.name == name)
    interpreter = set_up(client, sys.executable).executable
    return [str(interpreter), str(PROGRAMS / "durable_ohmqtt.py")]


def report(arguments: argparse.Namespace) -> int:
    """Run all, and print the table; return the exit status."""
    with serve_mosquitto(in_flight=0) as broker:
        rows = Rows(arguments, broker.port)
        for _ in range(arguments.rounds):
            for durability in DURABILITIES:
                rows.run_round(durability)
    print(f"aiomqtt {aiomqtt.__version__}, {aiomqtt.__build__}, Python ", end="")
    print(f"{sys.version.split()[0]}, mosquitto {broker.version}; ", end="")
    print(f"{arguments.rounds} rounds of {arguments.messages} messages\n")
    print("| durability | | messages/s | x bare sqlite3 |\n|---|---|--:|--:|")
    status = 0
    for (durability, name), rates in rows.rates.items():
        cells: list[Any] = [durability, name, f"{statistics.median(rates):,.0f}", ""]
        ratios = rows.ratios.get((durability, name))
        if ratios is not None:
            ratio = statistics.median(ratios)
            cells[-1] = f"{ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            status |= ratio < arguments.limit
        print(f"| {' | '.join(cells)} |")
    return status


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--window", type=int, default=1000)
    parser.add_argument("--size", type=int, default=64, help="payload bytes")
    parser.add_argument("--limit", type=float, default=0.5, help="x bare sqlite3")
    parser.add_argument("--without", nargs="+", default=[], help="other clients")
    # Passed to its own processes.
    parser.add_argument("--measure", choices=[*AIOMQTT, "bare"], help=argparse.SUPPRESS)
    parser.add_argument("--durability", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is None:
        return report(arguments)
    if arguments.measure == "bare":
        print(json.dumps(write_rows(arguments)))
    else:
        print(json.dumps(asyncio.run(publish(arguments.measure, arguments))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
