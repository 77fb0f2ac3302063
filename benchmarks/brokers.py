"""Compare MQTT brokers: `python benchmarks/brokers.py` (standard library only; Linux).

Every broker runs in a process of its own and is asked for the same by a load in another
one, on loopback. The rounds are interleaved: a change in the machine's load meets all
brokers.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from brokers.plan import WORKLOADS, Plan, Workload, is_among
from brokers.serving import Serving, ServingError, serve_mosquitto, serve_program
from brokers.tables import Tables
from environments import BROKERS, HERE, SetUpError, set_up
from other_ends import OtherEndError, mosquitto_version
from progress import Progress
from report import END, START
from run import describe_machine

# Open files, in addition to one for each connection.
MORE_FILES = 100

# The maximum seconds of a run, with the preparations.
LIMIT_SECONDS = 90.0

Start: TypeAlias = Callable[[], AbstractContextManager[Serving]]

# Rows with a store: the broker, and the durability of the store.
STORED = {
    "aiomqtt-store": ("aiomqtt", "normal"),
    "aiomqtt-store-full": ("aiomqtt", "full"),
    "mosquitto-store": ("mosquitto", "its own"),
}
NAMES = [*(broker.name for broker in BROKERS), "mosquitto", *STORED]


def main() -> int:
    arguments = parse_arguments()
    workloads = [w for w in WORKLOADS if is_among(w, arguments.workloads)]
    tables = Tables(
        describe(arguments),
        {name: "" for name in NAMES if name in arguments.brokers},
        frozenset(broker.name for broker in BROKERS if broker.how == "checkout")
        | {name for name in STORED if name.startswith("aiomqtt")},
    )
    connections = allow_connections(max(w.connections for w in WORKLOADS))
    if connections < max(w.connections for w in workloads):
        tables.notes.append(
            f"Only {connections:,} connections: the system allows no more open files"
            " (`ulimit -Hn`)."
        )
    starts = prepare(arguments, tables)
    try:
        run_all(workloads, starts, arguments, connections, tables)
    except KeyboardInterrupt:
        print("\nended early; what was measured until now:", file=sys.stderr)

    markdown = tables.markdown()
    print(markdown)
    if arguments.json:
        text = json.dumps(tables.as_json(), indent=1, ensure_ascii=False)
        arguments.json.write_text(text + "\n", encoding="utf-8")
    if arguments.into:
        before, _, after = divide(arguments.into)
        page = f"{before}{START}\n\n{markdown}\n\n{END}{after}"
        arguments.into.write_text(page, encoding="utf-8")
    return 0


def prepare(arguments: argparse.Namespace, tables: Tables) -> dict[str, Start]:
    """Return each broker's command; report and leave out those that can't start."""
    starts: dict[str, Start] = {}
    problems: dict[str, str] = {}
    for broker in BROKERS:
        rows = rows_of(broker.name, tables)
        if rows:
            try:
                command = set_up(broker, arguments.python).command("broker")
            except SetUpError as error:
                problems |= dict.fromkeys(rows, str(error))
            else:
                assert command is not None
                for name, durability in rows.items():
                    starts[name] = partial(serve_program, command, durability)
    rows = rows_of("mosquitto", tables)
    if rows:
        try:
            mosquitto_version()
        except OtherEndError as error:
            problems |= dict.fromkeys(rows, str(error))
        else:
            for name, durability in rows.items():
                starts[name] = partial(serve_mosquitto, durability=durability)
    for name, problem in problems.items():
        print(f"{name} is missing: {problem}", file=sys.stderr)
        tables.notes.append(f"{name} is not set up.")
    return starts


def rows_of(broker: str, tables: Tables) -> dict[str, str]:
    """Return the wanted rows of a broker, each with the durability of its store."""
    wanted = {name: STORED.get(name, (name, "")) for name in tables.versions}
    return {name: row[1] for name, row in wanted.items() if row[0] == broker}


def run_all(
    workloads: list[Workload],
    starts: dict[str, Start],
    arguments: argparse.Namespace,
    connections: int,
    tables: Tables,
) -> None:
    names = list(starts)
    keys = [(workload.name, name) for workload in workloads for name in names]
    progress = Progress(arguments.rounds, keys)
    for number in range(arguments.rounds):
        # Each round starts with another broker: none always has the same neighbour.
        turn = number % len(names) if names else 0
        for workload in workloads:
            for name in [*names[turn:], *names[:turn]]:
                key = (workload.name, name)
                progress.show(key)
                started = time.monotonic()
                cell = tables.cell(workload, name)
                if not cell.problem:  # not again: it may cost the time limit
                    figures, problem, version = run_once(
                        workload, starts[name], arguments, connections
                    )
                    tables.versions[name] = version or tables.versions[name]
                    cell.problem = problem
                    for metric in workload.metrics:
                        if not problem:
                            cell.values.setdefault(metric, []).append(figures[metric])
                    tables.runs.append(
                        {
                            "round": number + 1,
                            "workload": workload.name,
                            "broker": name,
                            "figures": figures,
                            "problem": problem,
                        }
                    )
                took = time.monotonic() - started
                progress.ran(key, took, again=not cell.problem)
    progress.end()


def run_once(
    workload: Workload, start: Start, arguments: argparse.Namespace, connections: int
) -> tuple[dict[str, float], str, str]:
    """Return the figures or the problem, and the broker's version."""
    try:
        with start() as serving:
            plan = Plan(
                kind=workload.kind,
                port=serving.port,
                pid=serving.pid,
                qos=workload.qos,
                subscribers=workload.subscribers,
                filters=workload.filters,
                window=workload.window,
                connections=min(workload.connections, connections),
                lasting=workload.lasting,
                size=arguments.size,
                messages=arguments.messages,
                seconds=arguments.seconds,
                warm_up=arguments.warm_up,
            )
            done = subprocess.run(
                [sys.executable, "-m", "brokers.load", plan.to_json()],
                cwd=HERE,
                stdout=subprocess.PIPE,
                text=True,
                timeout=LIMIT_SECONDS,
                check=True,
            )
            told: dict[str, Any] = json.loads(done.stdout)
            return told["figures"], told["problem"], serving.version
    except ServingError as error:
        return {}, f"failed: {error}", ""
    except subprocess.TimeoutExpired:
        return {}, "stalled", ""
    except subprocess.CalledProcessError:
        return {}, "failed: the load ended with an error", ""


def allow_connections(wanted: int) -> int:
    """Allow connections, to child processes too; return how many there may be."""
    files = wanted + MORE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY not in (soft, hard):
        files = min(files, hard)
    if soft != resource.RLIM_INFINITY and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return files - MORE_FILES


def describe(arguments: argparse.Namespace) -> dict[str, str]:
    about = argparse.Namespace(
        **vars(arguments), protocol=4, broker="peer", in_flight=0
    )
    machine = describe_machine(about)
    wanted = ("date", "processor", "system", "Python", "MQTT")
    return {name: machine[name] for name in wanted} | {
        "payload": f"{arguments.size} bytes",
        "rounds": str(arguments.rounds),
    }


def divide(page: Path) -> tuple[str, str, str]:
    """Return the text before the figures of a page, the figures, and the text after."""
    before, start, rest = page.read_text(encoding="utf-8").partition(START)
    figures, end, after = rest.partition(END)
    if not (start and end):
        raise ValueError(f"{page} has no {START} with {END} after it")
    return before, figures, after


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    default_brokers = [broker.name for broker in BROKERS if broker.default]
    parser.add_argument(
        "--brokers",
        nargs="+",
        choices=NAMES,
        default=[*default_brokers, "mosquitto"],
    )
    parser.add_argument(
        "--workloads",
        nargs="+",
        default=["*"],
        metavar="NAME",
        help="names or patterns (qos*);"
        f" the names: {', '.join(workload.name for workload in WORKLOADS)}",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--messages",
        type=int,
        help="of each run (default: as many as go in --seconds)",
    )
    parser.add_argument(
        "--seconds", type=float, default=0.8, help="that a run publishes (default: 0.8)"
    )
    parser.add_argument(
        "--warm-up",
        type=float,
        default=0.4,
        help="seconds before that which don't count (default: 0.4)",
    )
    parser.add_argument(
        "--size", type=int, default=64, help="payload bytes (default: 64)"
    )
    parser.add_argument(
        "--python", default=sys.executable, help="that runs the Python brokers"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write every figure there"
    )
    parser.add_argument(
        "--into",
        type=Path,
        metavar="PAGE",
        help=f"write the tables between {START} and {END} there",
    )
    arguments = parser.parse_args()
    for pattern in arguments.workloads:
        if not any(is_among(workload, [pattern]) for workload in WORKLOADS):
            parser.error(f"no workload is named {pattern}; --help lists them")
    if arguments.into:
        try:
            divide(arguments.into)
        except (OSError, ValueError) as error:
            parser.error(str(error))
    return arguments


if __name__ == "__main__":
    sys.exit(main())
