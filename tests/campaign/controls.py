"""The controls: the campaign has to catch each of the wrong stores."""

import asyncio
import time
from typing import Final, NamedTuple

from . import parts
from .world import World

KILLS: Final = 60
# The seconds in which each has to be found.
LIMIT: Final = 40


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
        said = f"found: {found[0]}" if found else f"NOT FOUND, but {problems[:9]}"
        print(f"control: a store that {control.store}: {said}", flush=True)
    return shown


async def find(control: Control, seed: int) -> list[str]:
    """Run a program with a wrong store until that is found; return what was wrong."""
    world = World("aiomqtt", 5, seed)
    role, store = control.role, control.store
    async with world.running():
        deadline = time.monotonic() + LIMIT
        while not any(control.finding in text for text in world.problems):
            if time.monotonic() > deadline:
                break
            soon = min(deadline, time.monotonic() + 3)
            await parts.kill_at_random(world, role, KILLS, soon, store)
            await parts.Steps(world, role, "kill", store).run(soon + 3)
    return world.problems
