"""The parts of the campaign: how sessions are broken. Each leaves its figures."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Final

from aiomqtt.stores.sqlite.file import Durability
from tests.chaos.running import running
from tests.rights import NOBODY
from tests.until import becomes_so

from .processes import ended, start
from .programs import CANCELLED, EXPIRY, REFUSED, run
from .world import ENDLESS, MESSAGES, PATIENCE, Session, World

# So many sessions are broken at once.
AT_ONCE: Final = 8
# A random kill comes within so many seconds from the start of the process; three of
# four do so from its connection.
KILLED_WITHIN: Final = 0.25
KILLS_OF_SESSION: Final = 20
LOSSES_OF_SESSION: Final = 10
RESTART_EVERY: Final = 1.0
# Less than half of a day, after which messages expire and receipts are forgotten.
CLOCK: Final = 11 * 3600.0
# The sizes that files may have on a full disk, in bytes.
SIZES: Final = range(4096, 320_000, 4096)
ROLES: Final = ("publisher", "worker")
# The messages of processes that end by themselves; the worker gets no more than these.
MANY: Final = {"publisher": 3 * MESSAGES, "worker": MESSAGES}


async def at_once(
    numbers: Iterable[int], call: Callable[[int], Awaitable[None]], deadline: float
) -> None:
    """Call with each number, several at once, until the time is over."""
    left: Iterator[int] = iter(numbers)

    async def take() -> None:
        for number in left:
            if time.monotonic() > deadline:
                return
            await call(number)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(take())


class Steps:
    """Ends processes at each step of their stores, also while they recover.

    Args:
        role: "publisher" or "worker".
        how: "kill" or "cancel".
    """

    def __init__(self, world: World, role: str, how: str, store: str = "") -> None:
        self.world = world
        self.role = role
        self.how = how
        self.store = store
        self._is_done = False

    async def run(self, deadline: float) -> None:
        """Enumerate the steps in a random order, and then those of longer runs."""
        count = await self._count()
        numbers = [*range(1, count + 1)]
        self.world.random.shuffle(numbers)
        await at_once(numbers, self._break_at, deadline)
        await at_once(self._further(count), self._break_at, deadline)

    def _further(self, count: int) -> Iterator[int]:
        while not self._is_done:
            count += 1
            yield count

    async def _count(self) -> int:
        async with self.world.session(self.role, self.store) as session:
            order = session.order(MESSAGES, "count")
            await session.run(order)
            return int(order.steps.read_text())

    async def _break_at(self, number: int) -> None:
        async with self.world.session(self.role, self.store) as session:
            for again in range(2 if self.how == "kill" else 1):
                order = session.order(MESSAGES, self.how, number)
                code = await session.run(order)
                if not order.reached.exists():
                    # The process has ended before this step.
                    self._is_done = self._is_done or not again
                    assert not code, f"a process ended with {code}"
                    break
                order.reached.unlink()
                self.world.counts["steps"] += 1
                self.world.counts["cancellations"] += self.how == "cancel"
                assert code in ((-9,) if self.how == "kill" else (0, CANCELLED)), code


async def cancel_entering(world: World, role: str, deadline: float) -> None:
    """Cancel a task at each point of entering a client whose session has something."""
    is_done = False

    async def cancel(at: int) -> None:
        nonlocal is_done
        async with world.session(role) as session:
            await session.leave_unfinished()
            order = session.order(MESSAGES, "cancel entering", at)
            code = await session.run(order)
            if not order.reached.exists():
                is_done = True
            world.counts["cancellations"] += order.reached.exists()
            assert code in (0, CANCELLED), f"a process ended with {code}"

    def points() -> Iterator[int]:
        at = 0
        while not is_done:
            yield at
            at += 1

    await at_once(points(), cancel, deadline)


async def kill_at_random(
    world: World, role: str, kills: int, deadline: float, store: str = ""
) -> None:
    """Kill processes from outside, at any moment."""

    async def kill(count: int) -> None:
        async with world.session(role, store) as session:
            for _ in range(count):
                session.send(MESSAGES)
                seconds = world.random.uniform(0, KILLED_WITHIN)
                is_connected = world.random.random() < 0.75
                await session.run_killed(session.order(ENDLESS), seconds, is_connected)
                if time.monotonic() > deadline:
                    return

    counts = [KILLS_OF_SESSION] * (kills // KILLS_OF_SESSION)
    if rest := kills % KILLS_OF_SESSION:
        counts.append(rest)
    await at_once(counts, kill, deadline)


async def restart_the_broker(world: World, kills: int, deadline: float) -> None:
    """Kill processes at random while the broker restarts by SIGTERM."""

    async def restart() -> None:
        await world.broker.restart(world.random)
        world.counts["restarts of the broker"] += 1

    async with running(repeat(world, restart)):
        for role in ROLES:
            await kill_at_random(world, role, kills, deadline)


async def kill_the_broker(world: World, kills: int, deadline: float) -> None:
    """Kill processes at random, and the broker.

    One that forgets its sessions loses messages that it has acknowledged, and gets
    those again whose acknowledgement was lost with it; all others have to arrive as
    ever. The worker has no part in that: it can't know which messages the broker does
    not have any more.
    """
    peers = world.watcher, world.sender
    world.forgets = world.broker.forgets

    async def kill() -> None:
        await world.broker.kill()
        world.counts["kills of the broker"] += 1

    async with running(repeat(world, kill)):
        for role in ("publisher",) if world.forgets else ROLES:
            await kill_at_random(world, role, kills, deadline)
    for peer in peers:
        await becomes_so(peer.ready.is_set, PATIENCE)
        if world.forgets:
            peer.lost_sessions = 0
    world.forgets = False


async def repeat(world: World, call: Callable[[], Awaitable[None]]) -> None:
    """Call again and again, and end no call halfway."""
    while True:
        await asyncio.sleep(world.random.uniform(0.5, 1.5) * RESTART_EVERY)
        await asyncio.shield(call())


async def fill_the_disk(world: World, deadline: float) -> None:
    """Let files have so many bytes and no more; then there is room again."""

    async def fill(size: int) -> None:
        role = ROLES[size // SIZES.step % 2]
        async with world.session(role) as session:
            code = await session.run(session.order(MANY[role], "full", size))
            assert code in (0, REFUSED), f"a process ended with {code}"
            world.counts["full disks"] += code == REFUSED

    await at_once(SIZES, fill, deadline)


async def set_the_clock(world: World, count: int, deadline: float) -> None:
    """Set the clock back and forward between processes that are killed."""

    async def set_it(number: int) -> None:
        async with world.session(ROLES[number % 2]) as session:
            for _ in range(6):
                clock = world.random.uniform(-CLOCK, CLOCK)
                session.send(MESSAGES)
                order = session.order(ENDLESS, clock=clock)
                await session.run_killed(order, world.random.uniform(0, 0.1), True)
                world.counts["clocks set"] += 1
                if time.monotonic() > deadline:
                    break
            longest = session.wire.watch.longest_expiry
            assert longest <= EXPIRY, f"a message expires in {longest} s"

    await at_once(range(count), set_it, deadline)


async def start_twice(world: World, count: int, deadline: float) -> None:
    """Start a second process on a file that is in use: it is refused."""

    async def start_both(_: int) -> None:
        async with world.session("publisher") as session:
            first = start(run, session.order(ENDLESS))
            watch = session.wire.watch
            assert await becomes_so(lambda: watch.published > 0, PATIENCE)
            assert await second_is_refused(session, first.pid)
            before = watch.published
            # The first one goes on.
            assert await becomes_so(lambda: watch.published > before, PATIENCE)
            first.kill()
            await session.settle(await ended(first))
            world.counts["second processes refused"] += 1

    await at_once(range(count), start_both, deadline)


async def second_is_refused(session: Session, holder: int | None) -> bool:
    code = await ended(start(run, session.order(ENDLESS)))
    text = (session.directory / "refusals").read_text()
    return code == REFUSED and str(holder) in text


async def take_rights(world: World, count: int, deadline: float) -> None:
    """Run programs without rights for their files, or take these while they run."""
    # Others may look for their own directory there.
    world.directory.chmod(0o711)

    async def take(number: int) -> None:
        async with world.session(ROLES[number % 2]) as session:
            await session.leave_unfinished()
            if number // 2 % 2:
                await take_while_it_runs(session)
            else:
                mode = world.random.choice((0o444, 0o000, None))
                await refuse(session, mode)

    await at_once(range(count), take, deadline)


async def refuse(session: Session, mode: int | None) -> None:
    """Start a process that must not write the file of its session.

    Args:
        session: The session.
        mode: The mode of the file; None: it has all rights but those for the directory.
    """
    file, directory = session.directory / "session.db", session.directory
    (directory / "session.db-lease").unlink(missing_ok=True)
    for path in directory.iterdir():
        path.chmod(0o666)
    file.chmod(0o666 if mode is None else mode)
    directory.chmod(0o555 if mode is None else 0o777)
    before = read_files(session)
    code = await session.run(session.order(MESSAGES)._replace(is_nobody=True))
    assert code == REFUSED, f"a process without rights ended with {code}"
    assert read_files(session) == before, "the files have changed"
    session.world.counts["refused without rights"] += 1
    directory.chmod(0o700)
    file.chmod(0o600)


def read_files(session: Session) -> dict[str, bytes]:
    """Return what is in the files of the session by name, if it may be read."""
    directory = session.directory
    is_root = not os.geteuid()
    return {
        path.name: path.read_bytes() if is_root or os.access(path, os.R_OK) else b""
        for path in directory.glob("session.db*")
    }


async def take_while_it_runs(session: Session) -> None:
    """Take the rights for the directory from a process that has its files open."""
    directory = session.directory
    if not os.geteuid():
        for path in (directory, *directory.iterdir()):
            os.chown(path, NOBODY, NOBODY)
    session.wire.connected.clear()
    order = session.order(MANY[session.role])._replace(is_nobody=True)
    process = start(run, order)
    assert await becomes_so(session.wire.connected.is_set, PATIENCE)
    directory.chmod(0o555)
    code = await ended(process)
    assert code in (0, REFUSED), f"a process ended with {code}"
    await session.settle(code)
    session.world.counts["rights taken"] += 1
    directory.chmod(0o700)


async def lose_power(
    world: World, durability: Durability, count: int, deadline: float
) -> None:
    """Lose the power at any moment: files have what was synchronized, and perhaps more.

    Args:
        durability: That of the sessions.
        count: How many sessions lose it LOSSES_OF_SESSION times.
    """

    async def lose(number: int) -> None:
        async with world.session(ROLES[number % 2]) as session:
            session.durability, session.is_recorded = durability, True
            for _ in range(LOSSES_OF_SESSION):
                session.send(MESSAGES)
                seconds = world.random.uniform(0, KILLED_WITHIN)
                is_connected = world.random.random() < 0.75
                await session.run_killed(session.order(ENDLESS), seconds, is_connected)
                session.lose_power()
                if time.monotonic() > deadline:
                    return

    await at_once(range(count), lose, deadline)
