"""The controls: the campaign has to catch each of the wrong stores."""

import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple
from unittest import mock

from aiomqtt.stores.sqlite import tables

from . import parts, processes
from .brokers import OwnProcess
from .power import lose_power_at_each
from .world import World
from .wrong_stores import BrokerWritesAfterSending

KILLS: Final = 60
# They do not tell the disk to write what it has been given: nothing of it, or not the
# packet identifiers that are reserved.
UNSYNCHRONIZED: Final = ("synchronizes nothing", "synchronizes no reservation")
# The broker's own store; what is found: the broker has acknowledged what is gone.
OF_BROKER: Final = "writes after sending, of the broker"
# The seconds in which each has to be found.
LIMIT: Final = 40
# The seconds of killing, after which it is seen whether that has been found.
ROUND: Final = 1


class Control(NamedTuple):
    """A wrong store, the program that uses it, and what has to be found."""

    store: str
    role: str
    finding: str


CONTROLS: Final = (
    Control("writes after sending", "publisher", "lost: the store has forgotten"),
    Control("forgets QoS 2 identifiers", "worker", "doubled at QoS 2"),
    Control("loses the last transaction", "publisher", "doubled at QoS 2"),
)


def check_controls(seed: int) -> dict[str, str]:
    """Run the controls; return what was found by wrong store, "": nothing."""
    shown: dict[str, str] = {}
    for control in CONTROLS:
        problems = asyncio.run(find(control, seed))
        found = [text for text in problems if control.finding in text]
        shown[control.store] = found[0] if found else ""
        report(control.store, shown[control.store], problems)
    problems = asyncio.run(find_of_broker(seed))
    shown[OF_BROKER] = problems[0] if problems else ""
    report(OF_BROKER, shown[OF_BROKER], [])
    for store in UNSYNCHRONIZED:
        shown[store] = asyncio.run(find_unsynchronized(store, seed))
        report(store, shown[store], [])
    return shown


def report(store: str, found: str, problems: list[str]) -> None:
    """Print what was found of a wrong store."""
    said = f"found: {found}" if found else f"NOT FOUND, but {problems[:9]}"
    print(f"control: a store that {store}: {said}", flush=True)


async def find_unsynchronized(store: str, seed: int, step: int = 5) -> str:
    """Return what a loss of power does to a store of UNSYNCHRONIZED.

    Args:
        store: The store.
        seed: The seed of what is stored.
        step: Each how many writes to lose the power.
    """
    with tempfile.TemporaryDirectory(prefix="campaign-") as directory:
        result = Path(directory) / "found"
        process = processes.start(note_unsynchronized, store, seed, step, result)
        await processes.ended(process)
        return str(json.loads(result.read_text()))


def note_unsynchronized(store: str, seed: int, step: int, result: Path) -> None:
    """Find it in this process, and write it down."""
    found, durability = "", "off"
    if store != UNSYNCHRONIZED[0]:
        durability = "normal"
        mock.patch.object(tables, "reserves", return_value=False).start()
    try:
        lose_power_at_each(seed, step, durability)
    except AssertionError as error:
        found = str(error)
    result.write_text(json.dumps(found))


async def find(control: Control, seed: int) -> list[str]:
    """Run a program with a wrong store until that is found; return what was wrong."""
    world = World("aiomqtt", 5, seed)
    role, store = control.role, control.store
    async with world.running():
        deadline = time.monotonic() + LIMIT
        while not any(control.finding in text for text in world.problems):
            if time.monotonic() > deadline:
                break
            await parts.kill_at_random(
                world, role, KILLS, time.monotonic() + ROUND, store
            )
            steps = parts.Steps(world, role, "kill", store)
            await steps.run(time.monotonic() + ROUND)
    return world.problems


async def find_of_broker(seed: int) -> list[str]:
    """Kill a broker with a wrong store until something is wrong; return what."""
    world = World("aiomqtt", 5, seed)
    assert isinstance(world.broker, OwnProcess)
    world.broker.store = BrokerWritesAfterSending
    async with world.running():
        deadline = time.monotonic() + LIMIT
        while not world.problems and time.monotonic() < deadline:
            await parts.kill_the_broker(world, KILLS, time.monotonic() + ROUND)
    return world.problems
