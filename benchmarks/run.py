"""Compare MQTT clients: `python benchmarks/run.py` (standard library only).

Every client runs in a process and an environment of its own, against the benchmark's
peer or a real broker. The rounds are interleaved: a change in the machine's load meets
all clients.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from environments import CLIENTS, Client, SetUpError, set_up
from measure import Outcome, Settings, run_client, run_import
from other_ends import OtherEndError, mosquitto_version
from progress import Progress
from report import Cell, Cells, Report
from workloads import GROUPS, WORKLOADS, Workload, is_among, value_of

# The idle clients need up to three files each, at both ends of their connections.
OPEN_FILES = 4096

# A slow client's share of the messages is not smaller.
LEAST_MESSAGES = 1000

Commands = dict[tuple[str, str], list[str]]  # by workload and client


def main() -> int:
    arguments = parse_arguments()
    clients = [client for client in CLIENTS if client.name in arguments.clients]
    workloads = [
        workload
        for workload in WORKLOADS
        if is_among(workload, arguments.workloads)
        # The feeder of a broker does not measure it.
        and not (
            (workload.has_properties or workload.transport)
            and arguments.broker == "mosquitto"
        )
    ]
    settings = Settings(
        size=arguments.size,
        in_flight=arguments.in_flight,
        window=arguments.window,
        protocol=arguments.protocol,
        limit=arguments.limit,
        broker=arguments.broker,
    )
    try:
        machine = describe_machine(arguments)
    except OtherEndError as error:
        print(error, file=sys.stderr)
        return 2
    allow_open_files()
    cells: Cells = {}
    commands = prepare(clients, workloads, arguments.python, cells)
    runs: list[dict[str, Any]] = []
    try:
        run_all(clients, workloads, commands, settings, arguments, cells, runs)
    except KeyboardInterrupt:
        print("\nended early; what was measured until now:", file=sys.stderr)

    report = Report(machine, versions(clients, runs), cells, runs)
    print(report.markdown())
    if arguments.again:
        earlier = json.loads(arguments.again.read_text(encoding="utf-8"))
        report = Report.from_json(earlier).measured_again(report)
    if file := arguments.again or arguments.json:
        text = json.dumps(report.as_json(), indent=1, ensure_ascii=False)
        file.write_text(text + "\n", encoding="utf-8")
    return 0


def run_all(
    clients: Sequence[Client],
    workloads: Sequence[Workload],
    commands: Commands,
    settings: Settings,
    arguments: argparse.Namespace,
    cells: Cells,
    runs: list[dict[str, Any]],
) -> None:
    progress = Progress(arguments.rounds, list(commands))
    for number in range(arguments.rounds):
        # Each round starts with another client: none always has the same neighbour.
        order = [*clients[number % len(clients) :], *clients[: number % len(clients)]]
        for workload in workloads:
            for client in order:
                key = (workload.name, client.name)
                if key not in commands:
                    continue
                progress.show(key)
                started = time.monotonic()
                run = measure(
                    client, workload, commands, settings, arguments.messages, cells
                )
                runs.append({"round": number + 1} | run)
                took = time.monotonic() - started
                progress.ran(key, took, again=not cells[key].problem)
    progress.end()


def prepare(
    clients: Sequence[Client],
    workloads: Sequence[Workload],
    python: str,
    cells: Cells,
) -> Commands:
    """Return the command of each run; note a missing environment as its problem."""
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
            if client.has(workload) and command is not None:
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
            count = messages or count
            count = min(count, max(LEAST_MESSAGES, int(count * client.share)))
        about["messages"] = count
        outcome = run_client(command, workload, count, settings)
    cell.problem = outcome.problem
    if not outcome.problem:
        for metric in workload.metrics:
            value = value_of(metric, outcome.result)
            if value is not None:
                cell.values.setdefault(metric, []).append(value)
    return about | {
        "result": outcome.result,
        "peer": outcome.peer,
        "problem": outcome.problem,
        "details": outcome.details,
    }


def versions(clients: Sequence[Client], runs: list[dict[str, Any]]) -> dict[str, str]:
    """Return the clients' versions as their programs reported them."""
    told: dict[str, str] = {}

    def order(run: dict[str, Any]) -> bool:
        # The program of `import` comes last: it knows no more than the package. So do
        # workloads of one version of MQTT: only those that speak it are run.
        workload = next(w for w in WORKLOADS if w.name == run["workload"])
        return workload.kind == "import" or workload.protocol is not None

    for run in sorted(runs, key=order):
        if run.get("result"):
            told.setdefault(run["client"], run["result"]["version"])
    return {client.name: told.get(client.name, "") for client in clients}


def allow_open_files() -> None:
    """For this process and those that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if wanted < OPEN_FILES:
        print(
            f"only {wanted} open files are allowed (ulimit -Hn): idle may fail",
            file=sys.stderr,
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
        "MQTT": {4: "3.1.1", 5: "5.0"}[arguments.protocol],
        "against": "the benchmark's peer"
        if arguments.broker == "peer"
        else mosquitto_version(),
        "payload": f"{arguments.size} bytes unless a size is named",
        "in flight": str(arguments.in_flight),
        "rounds": str(arguments.rounds),
    }


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    client_names = [client.name for client in CLIENTS]
    default_clients = [client.name for client in CLIENTS if client.default]
    workload_names = [workload.name for workload in WORKLOADS]
    groups = ", ".join(GROUPS)
    parser.add_argument(
        "--clients", nargs="+", choices=client_names, default=default_clients
    )
    parser.add_argument(
        "--workloads",
        nargs="+",
        default=["*"],
        metavar="NAME",
        help=f"names, patterns (receive*) or groups ({groups});"
        f" the names: {', '.join(workload_names)}",
    )
    parser.add_argument(
        "--broker",
        choices=("peer", "mosquitto"),
        default="peer",
        help="what the clients connect to (default: the benchmark's peer)",
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, help="of each receive and publish run")
    parser.add_argument(
        "--size",
        type=int,
        default=64,
        help="payload bytes of the workloads whose name has no size (default: 64)",
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
        "--protocol",
        type=int,
        default=5,
        choices=(4, 5),
        help="of the workloads whose name doesn't say it (default: 5, MQTT 5.0)",
    )
    parser.add_argument("--limit", type=float, default=30.0, help="seconds for one run")
    parser.add_argument(
        "--python", default=sys.executable, help="that runs the clients"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write every figure there"
    )
    parser.add_argument(
        "--again",
        type=Path,
        metavar="FILE",
        help="put the figures of these workloads in the place of those in FILE: of all"
        " its clients, so that what is compared is of one run",
    )
    arguments = parser.parse_args()
    if arguments.again:
        if arguments.json:
            parser.error("--again and --json: the figures go to one file")
        earlier = json.loads(arguments.again.read_text(encoding="utf-8"))["clients"]
        if missing := sorted(set(earlier) - set(arguments.clients)):
            parser.error(f"{arguments.again} has other clients: {', '.join(missing)}")
    for pattern in arguments.workloads:
        if not any(is_among(workload, [pattern]) for workload in WORKLOADS):
            parser.error(f"no workload is named {pattern}; --help lists them")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
