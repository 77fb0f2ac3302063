"""The campaign: programs are killed, and none of their messages is lost or doubled.

python -m tests.campaign [SECONDS]    see `scripts/campaign --help`
"""

import argparse
import asyncio
import faulthandler
import json
import logging
import math
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from aiomqtt.stores.sqlite.file import Durability

from . import parts, processes
from .brokers import BROKERS
from .controls import check_controls
from .damage import damage_files
from .page import PAGE, Result, add_up, render
from .power import DURABILITIES, lose_power
from .world import World

VERSIONS: Final = {"3.1.1": 4, "5.0": 5}
# The random kills of all runs together, without SECONDS.
KILLS: Final = 1000
MOST_SHOWN: Final = 20
# With fewer seconds, a broker runs each part with one version of MQTT only.
SHORT: Final = 300
LONGEST: Final = 3600.0
# What runs beside the parts: its name, its function, and how many bytes or writes it
# passes over each time, if the time is limited.
BESIDE: Final = (("damage", damage_files, 499), ("power", lose_power, 17))


class Part(NamedTuple):
    """A part of the campaign; its share of the time, if that is limited."""

    name: str
    share: float
    run: Callable[[World, float, int], Awaitable[None]]


def make_parts() -> list[Part]:
    """Return the parts of a run; the last argument is the number of runs."""
    made = []
    for how, share in (("kill", 2.0), ("cancel", 1.0)):
        for role in parts.ROLES:
            name = f"{role}: {how} at each step"
            made.append(Part(name, share, partial(break_at_steps, role, how)))
    made += [
        Part(f"{role}: cancel while it recovers", 1.0, partial(recover, role))
        for role in parts.ROLES
    ]
    made += [
        Part(f"{role}: kill at random", 2.0, partial(kill_at_random, role))
        for role in parts.ROLES
    ]
    return [
        *made,
        Part(
            "the broker restarts",
            1.0,
            lambda world, end, _: parts.restart_the_broker(world, 40, end),
        ),
        Part(
            "the broker is killed",
            1.0,
            lambda world, end, _: parts.kill_the_broker(world, 40, end),
        ),
        Part(
            "the disk is full",
            1.0,
            lambda world, end, _: parts.fill_the_disk(world, end),
        ),
        Part(
            "the clock is set",
            0.5,
            lambda world, end, _: parts.set_the_clock(world, 8, end),
        ),
        *(
            Part(f'the power is lost, "{how}"', 1.0, partial(lose_power_at_random, how))
            for how in DURABILITIES
        ),
        Part(
            "no rights",
            0.5,
            lambda world, end, _: parts.take_rights(world, 16, end),
        ),
        Part(
            "two processes",
            0.5,
            lambda world, end, _: parts.start_twice(world, 5, end),
        ),
    ]


async def break_at_steps(
    role: str, how: str, world: World, deadline: float, _: int
) -> None:
    await parts.Steps(world, role, how).run(deadline)


async def lose_power_at_random(
    durability: Durability, world: World, deadline: float, _: int
) -> None:
    await parts.lose_power(world, durability, 12, deadline)


async def recover(role: str, world: World, deadline: float, _: int) -> None:
    await parts.cancel_entering(world, role, deadline)


async def kill_at_random(role: str, world: World, deadline: float, runs: int) -> None:
    kills = math.ceil(KILLS / len(parts.ROLES) / runs)
    await parts.kill_at_random(world, role, kills, deadline)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/campaign",
        description="Kill programs with durable sessions at each step of their stores,"
        " and at random; fail if a message was lost, doubled or out of order.",
    )
    parser.add_argument(
        "seconds",
        type=float,
        nargs="?",
        default=0.0,
        help="for all runs together; otherwise every step, and 1,000 random kills",
    )
    parser.add_argument("--seed", type=int, help="otherwise a new one")
    parser.add_argument("--broker", choices=[*BROKERS], help="otherwise each in turn")
    parser.add_argument(
        "--version", choices=[*VERSIONS], help="of MQTT; otherwise each in turn"
    )
    parser.add_argument("--part", default="", help="only parts with this in their name")
    parser.add_argument(
        "--page",
        action="store_true",
        help="then run the controls too, and write docs/reliability.md",
    )
    parser.add_argument(
        "--controls",
        action="store_true",
        help="instead, check that programs with a wrong store are found",
    )
    return parser.parse_args()


async def run(
    broker: str, version: str, seed: int, seconds: float, runs: int, which: str
) -> list[Result]:
    """Run all parts on one broker, or every other one if there is little time."""
    world = World(broker, VERSIONS[version], seed)
    chosen = [part for part in make_parts() if which in part.name]
    if 0 < seconds < SHORT and runs > 1 and not which:
        # The other version has the others: each part takes a moment to end.
        first = [*BROKERS].index(broker) + [*VERSIONS].index(version)
        chosen = chosen[first % 2 :: 2]
    shares = sum(part.share for part in chosen)
    results = []
    async with world.running():
        for part in chosen:
            world.counts, world.problems = Counter(), []
            begin = time.monotonic()
            share = seconds / runs * part.share / shares if seconds else math.inf
            await part.run(world, begin + share, runs)
            result = Result(broker, version, part.name, world.counts, world.problems)
            results.append(result)
            report(result, time.monotonic() - begin)
    return results


def report(result: Result, took: float) -> None:
    """Print the figures of a part."""
    said = ", ".join(f"{what}: {n}" for what, n in sorted(result.counts.items()) if n)
    where = f"{result.broker}, MQTT {result.version}"
    print(f"== {where}: {result.part}: {took:.0f} s; {said}")
    for problem in result.problems[:MOST_SHOWN]:
        print(f"  WRONG: {problem}")
    sys.stdout.flush()


def main() -> int:
    arguments = parse()
    seed = arguments.seed
    if seed is None:
        seed = random.SystemRandom().randrange(100_000)
    # asyncio logs each write to a connection that was reset.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    if arguments.controls:
        return 1 if "" in check_controls(seed).values() else 0
    # A run that hangs ends, and shows where.
    faulthandler.dump_traceback_later(20 * arguments.seconds + LONGEST, exit=True)
    begin = time.monotonic()
    results, damage, failed = run_all(arguments, seed)
    total = add_up(results)
    total.update(damage)
    if arguments.page:
        controls = check_controls(seed)
        failed = failed or "" in controls.values()
        took = time.monotonic() - begin
        PAGE.write_text(
            render(
                *(results, damage, controls, seed, took, parts.KILLED_WITHIN),
                is_limited=arguments.seconds > 0,
            )
        )
    said = ", ".join(f"{what}: {count}" for what, count in sorted(total.items()))
    print(f"campaign: {'FAILED' if failed else 'passed'}: seed {seed}; {said}")
    return 1 if failed else 0


def run_all(
    arguments: argparse.Namespace, seed: int
) -> tuple[list[Result], Counter[str], bool]:
    """Run all parts on all brokers, and the store alone beside them.

    Returns:
        The figures of the parts and of the store alone, and whether something failed.
    """
    names = [arguments.broker] if arguments.broker else [*BROKERS]
    versions = [arguments.version] if arguments.version else [*VERSIONS]
    runs = [(name, version) for name in names for version in versions]
    seconds, results = arguments.seconds, []
    with tempfile.TemporaryDirectory(prefix="campaign-") as name:
        directory = Path(name)
        beside = [
            processes.start(function, seed, sampled if seconds else 1, directory / what)
            for what, function, sampled in BESIDE
        ]
        for broker, version in runs:
            results += asyncio.run(
                run(broker, version, seed, seconds, len(runs), arguments.part)
            )
        codes = [asyncio.run(processes.ended(one, LONGEST)) for one in beside]
        damage: Counter[str] = Counter()
        for figures in directory.iterdir():
            damage.update(json.loads(figures.read_text()))
    failed = any(codes) or any(result.problems for result in results)
    return results, damage, failed
