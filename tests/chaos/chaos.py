"""The chaos: messages flow while everything breaks, and none may be lost.

python -m tests.chaos.chaos [SECONDS]    see `scripts/chaos --help`
"""

import argparse
import asyncio
import faulthandler
import logging
import random
import sys
import traceback
from collections import Counter
from pathlib import Path

import aiomqtt

from .controls import check_controls
from .world import BROKERS, PATIENCE, World

SECONDS = 100.0
VERSIONS = {"3.1.1": 4, "5.0": 5}
MOST_SHOWN = 20


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/chaos",
        description="Break networks and brokers while messages of QoS 1 and 2 flow;"
        " fail if one was lost, doubled or out of order, or if a call did not settle.",
    )
    parser.add_argument(
        "seconds", type=float, nargs="?", default=SECONDS, help="for all runs together"
    )
    parser.add_argument("--seed", type=int, help="of the faults; otherwise a new one")
    parser.add_argument("--faults", type=int, default=0, help="at least so many")
    parser.add_argument("--messages", type=int, default=0, help="at least so many")
    parser.add_argument("--broker", choices=[*BROKERS], help="otherwise each in turn")
    parser.add_argument(
        "--version", choices=[*VERSIONS], help="of MQTT; otherwise each in turn"
    )
    parser.add_argument(
        "--enter",
        action="store_true",
        help="clients do not reconnect: programs enter them again",
    )
    parser.add_argument(
        "--controls",
        action="store_true",
        help="instead, check that clients with a broken line are found",
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=PATIENCE,
        help="seconds in which all has to arrive when nothing breaks any more",
    )
    parser.add_argument("--source", type=Path, help=argparse.SUPPRESS)
    parser.add_argument(
        "--log", type=Path, metavar="DIRECTORY", help="where to log all packets"
    )
    return parser.parse_args()


def main() -> int:
    arguments = parse()
    seed = arguments.seed
    if seed is None:
        seed = random.SystemRandom().randrange(100_000)
    # asyncio logs each write to a connection that was reset.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    if arguments.controls:
        return 1 if check_controls(seed) else 0
    if arguments.source:
        # A control must not run what is not broken.
        assert Path(aiomqtt.__file__).is_relative_to(arguments.source)
    names = [arguments.broker] if arguments.broker else [*BROKERS]
    versions = [arguments.version] if arguments.version else [*VERSIONS]
    runs = [(name, VERSIONS[version]) for name in names for version in versions]
    # A run that hangs ends, and shows where.
    faulthandler.dump_traceback_later(20 * arguments.seconds + 600, exit=True)
    total: Counter[str] = Counter()
    failed: list[World] = []
    # For a control, the one that is looked for may be the last.
    most_shown = MOST_SHOWN if arguments.source is None else None
    for name, version in runs:
        world = World(
            name,
            version,
            seed,
            arguments.seconds / len(runs),
            not arguments.enter,
            arguments.patience,
            arguments.faults // len(runs),
            arguments.messages // len(runs),
            arguments.log and arguments.log / f"{name}-{version}.log",
        )
        asyncio.run(world.run())
        report(world, most_shown)
        if world.problems:
            failed.append(world)
        total.update(world.ledger.count())
        total["faults"] += world.fault_count
    said = ", ".join(f"{what}: {count}" for what, count in sorted(total.items()))
    print(f"chaos: {'FAILED' if failed else 'passed'}: seed {seed}; {said}")
    # Again, since the end of a long log may be all that is kept of it.
    for world in failed:
        print(f"== {name_of(world)}")
        report_problems(world, most_shown)
    return 1 if failed else 0


def name_of(world: World) -> str:
    version = {4: "3.1.1", 5: "5.0"}[world.version]
    return f"{world.broker_name}, MQTT {version}, {world.took:.0f} s"


def report(world: World, most_shown: int | None) -> None:
    """Print what happened in a run."""
    missed = sum(part.saboteur.missed for part in world.parts)
    points = {fault for part in world.parts for fault in part.saboteur.counts}
    print(f"== {name_of(world)}")
    lines = {
        "faults": f"{world.fault_count}, of {len(points)} kinds; {missed} not reached;"
        f" {dict(world.other_faults)}",
        "messages": dict(sorted(world.ledger.count().items())),
        "calls": dict(sorted(world.counts.items())),
        "memory": f"grew by {world.growth() / 2**20:.1f} MiB",
    }
    for what, text in lines.items():
        print(f"  {what}: {text}")
    if world.failure is not None:
        print("".join(traceback.format_exception(world.failure)))
    report_problems(world, most_shown)
    sys.stdout.flush()


def report_problems(world: World, most_shown: int | None) -> None:
    """Print how each program was when the run ended, and what was wrong."""
    for state in world.states:
        print(f"  {state}")
    for problem in world.problems[:most_shown]:
        print(f"  WRONG: {problem}")
    if most_shown is not None and len(world.problems) > most_shown:
        print(f"  WRONG: {len(world.problems) - most_shown} more")


if __name__ == "__main__":
    sys.exit(main())
