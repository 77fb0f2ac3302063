"""Compare MQTT clients: `python benchmarks/run.py` (standard library only).

Every client runs in a process and an environment of its own, against the benchmark's
peer. The rounds are interleaved: a change in the machine's load meets all clients.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import report
from environments import CLIENTS, REFERENCE, Client, SetUpError, set_up
from measure import Outcome, Settings, run_client, run_import
from report import Cell, Cells
from workloads import WORKLOADS, Workload, value_of

Commands = dict[tuple[str, str], list[str]]  # by workload and client


def main() -> int:
    arguments = parse_arguments()
    clients = [client for client in CLIENTS if client.name in arguments.clients]
    workloads = [
        workload for workload in WORKLOADS if workload.name in arguments.workloads
    ]
    settings = Settings(
        size=arguments.size,
        in_flight=arguments.in_flight,
        window=arguments.window,
        protocol=arguments.protocol,
        limit=arguments.limit,
    )
    cells: Cells = {}
    commands = prepare(clients, workloads, arguments.python, cells)
    runs: list[dict[str, Any]] = []
    total = arguments.rounds * len(commands)
    for number in range(arguments.rounds):
        # Each round starts with another client: none always has the same neighbour.
        order = clients[number % len(clients) :] + clients[: number % len(clients)]
        for workload in workloads:
            for client in order:
                if (workload.name, client.name) not in commands:
                    continue
                show_progress(len(runs), total, number + 1, workload, client)
                run = measure(
                    client, workload, commands, settings, arguments.messages, cells
                )
                runs.append({"round": number + 1} | run)
    show_progress(total, total, arguments.rounds, None, None)

    table = report.markdown_table(
        workloads, [client.name for client in clients], cells, REFERENCE
    )
    machine = describe_machine(arguments)
    print(", ".join(f"{name}: {value}" for name, value in machine.items()), end="\n\n")
    print(table)
    if arguments.json:
        write_json(arguments.json, machine, cells, runs)
    return 0


def prepare(
    clients: Sequence[Client],
    workloads: Sequence[Workload],
    python: str,
    cells: Cells,
) -> Commands:
    """The command of each run; without an environment, that is the problem noted."""
    commands: Commands = {}
    for client in clients:
        try:
            environment = set_up(client, python)
        except SetUpError as error:
            print(f"{client.name} is missing: {error}", file=sys.stderr)
            for workload in workloads:
                cells[workload.name, client.name] = Cell(problem="not set up")
            continue
        for workload in workloads:
            command = environment.command(workload.kind)
            has_it = client.workloads is None or workload.name in client.workloads
            if has_it and command is not None:
                commands[workload.name, client.name] = command
    return commands


def measure(
    client: Client,
    workload: Workload,
    commands: Commands,
    settings: Settings,
    messages: int | None,
    cells: Cells,
) -> dict[str, Any]:
    """Run a client once and enter the outcome into its cell."""
    key = (workload.name, client.name)
    command = commands[key]
    about: dict[str, Any] = {"workload": workload.name, "client": client.name}
    cell = cells.setdefault(key, Cell())
    if cell.problem:
        return about | {
            "problem": cell.problem
        }  # not again: it may cost the time limit
    outcome: Outcome
    if workload.kind == "import":
        outcome = run_import(command, settings.limit)
    else:
        count = workload.messages
        if workload.is_per_message:
            count = max(100, int((messages or count) * client.share))
        about["messages"] = count
        outcome = run_client(command, workload, count, settings)
    cell.problem = outcome.problem
    if not outcome.problem:
        for metric in workload.metrics:
            cell.values.setdefault(metric, []).append(value_of(metric, outcome.result))
    return about | {
        "result": outcome.result,
        "peer": outcome.peer,
        "problem": outcome.problem,
        "details": outcome.details,
    }


def show_progress(
    done: int, total: int, number: int, workload: Workload | None, client: Client | None
) -> None:
    if not sys.stderr.isatty():
        return
    text = f"[{done}/{total}] round {number}"
    if workload is not None and client is not None:
        text += f": {workload.name}, {client.name}"
    print(
        f"\r\x1b[K{text}",
        end="\n" if done == total else "",
        file=sys.stderr,
        flush=True,
    )


def version_of(python: str) -> str:
    show = "import platform; print(platform.python_version())"
    done = subprocess.run([python, "-c", show], capture_output=True, text=True)
    return done.stdout.strip()


def describe_machine(arguments: argparse.Namespace) -> dict[str, str]:
    processor = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    return {
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "processor": f"{os.cpu_count()} x {processor}",
        "system": platform.system(),
        "Python": version_of(arguments.python),
        "MQTT": {3: "3.1", 4: "3.1.1", 5: "5.0"}[arguments.protocol],
        "payload": f"{arguments.size} bytes",
        "in flight": str(arguments.in_flight),
        "rounds": str(arguments.rounds),
    }


def write_json(
    file: Path, machine: dict[str, str], cells: Cells, runs: list[dict[str, Any]]
) -> None:
    medians = [
        {
            "workload": workload,
            "client": client,
            "problem": cell.problem,
            "medians": {metric: cell.median(metric) for metric in cell.values},
            "values": cell.values,
        }
        for (workload, client), cell in cells.items()
    ]
    content = {"machine": machine, "cells": medians, "runs": runs}
    file.write_text(
        json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    client_names = [client.name for client in CLIENTS]
    default_clients = [client.name for client in CLIENTS if client.default]
    workload_names = [workload.name for workload in WORKLOADS]
    parser.add_argument(
        "--clients", nargs="+", choices=client_names, default=default_clients
    )
    parser.add_argument(
        "--workloads", nargs="+", choices=workload_names, default=workload_names
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, help="of each receive and publish run")
    parser.add_argument(
        "--size", type=int, default=64, help="payload bytes (default: 64)"
    )
    parser.add_argument(
        "--in-flight", type=int, default=100, help="publishes at a time (default: 100)"
    )
    parser.add_argument(
        "--window",
        type=int,
        default=100,
        help="unacknowledged from the peer (default: 100)",
    )
    parser.add_argument(
        "--protocol", type=int, default=4, choices=(4, 5), help="5 is MQTT 5.0"
    )
    parser.add_argument("--limit", type=float, default=30.0, help="seconds for one run")
    parser.add_argument(
        "--python", default=sys.executable, help="that runs the clients"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write every figure there"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
