"""A broker, the independent peers, and what arrived; sessions to be killed."""

import asyncio
import contextlib
import random
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Final

from aiomqtt.stores.sqlite.file import Durability
from tests.chaos.peer import PUBACK, PUBCOMP, PUBREC, PUBREL, Peer
from tests.chaos.running import running
from tests.chaos.wire import ReleaseWatch
from tests.until import becomes_so

from . import recording
from .brokers import BROKERS
from .disk import Disk, read_log, replace_files
from .journal import read_journal
from .processes import ended, start
from .programs import (
    NUMBER,
    Order,
    qos_of,
    read_rows,
    run,
    topic_of,
    way_of,
)
from .wire import Published, Wire

# The seconds in which all has to arrive when its program has ended.
PATIENCE: Final = 20.0
MOST_SHOWN: Final = 5
# The broker that may send a PUBLISH of QoS 2 again after its PUBREL.
FORGIVEN: Final = "mosquitto"
# What the broker sends in vain, so that flows stay unfinished.
UNFINISHED: Final = {
    "publisher": (frozenset({PUBACK, PUBREC}), frozenset({PUBACK, PUBCOMP})),
    "worker": (frozenset({PUBREL}),),
}
# So many are published by a process that ends only by a kill.
ENDLESS: Final = 1_000_000
# So many are published by the last process.
LAST: Final = 4
# So many are published in a process that is killed at a step.
MESSAGES: Final = 12


class World:
    """One broker, and all sessions that are killed on it.

    Args:
        broker_name: "mosquitto" or "aiomqtt".
        version: 4 or 5.
        seed: The seed of all choices.
    """

    def __init__(self, broker_name: str, version: int, seed: int) -> None:
        self.version = version
        self.random = random.Random(f"{seed} {broker_name} {version}")
        self.directory = Path(tempfile.mkdtemp(prefix="campaign-"))
        self.broker = BROKERS[broker_name](self.directory)
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self.arrived: dict[str, list[int]] = defaultdict(list)
        # Whether the broker is killed, so that it forgets its sessions.
        self.forgets = False
        # What the broker sent again although it had sent PUBREL.
        self.excused: set[tuple[str, int]] = set()
        self._sessions = 0

    def arrive(self, topic: str, payload: bytes) -> None:
        self.arrived[topic].append(int.from_bytes(payload))

    def excuse(self, topic: str, payload: bytes) -> None:
        """Count a message that the broker repeats after its PUBREL."""
        number = int.from_bytes(payload[:NUMBER])
        if self.broker.name != FORGIVEN:
            self.problems.append(f"the broker repeats {topic} {number} after PUBREL")
            return
        self.counts["repeated after PUBREL"] += 1
        self.excused.add((topic, number))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the broker and the peers."""
        await self.broker.start()
        port = self.broker.address[1]
        self.watcher = Peer(
            "127.0.0.1", port, "watcher", self.version, self.arrive, "campaign/#"
        )
        self.watcher.see = ReleaseWatch(self.version, self.excuse).see
        self.sender = Peer("127.0.0.1", port, "sender", self.version, self.arrive)
        try:
            async with running(self.watcher.run(), self.sender.run()):
                await self.watcher.ready.wait()
                await self.sender.ready.wait()
                yield
                for peer in (self.watcher, self.sender):
                    if peer.lost_sessions:
                        self.problems.append("the broker has lost a session")
        finally:
            await self.broker.stop()
            shutil.rmtree(self.directory)

    @contextlib.asynccontextmanager
    async def session(self, role: str, store: str = "") -> AsyncIterator["Session"]:
        """Make a session that programs continue; it is judged at the end."""
        self._sessions += 1
        name = f"{role}-{self._sessions}"
        directory = self.directory / name
        directory.mkdir()
        async with Wire(self.broker.address[1], self.version, self.excuse) as wire:
            session = Session(self, role, name, directory, wire, store)
            sending = asyncio.create_task(session.send_first())
            try:
                yield session
                found = await session.finish()
            except (TimeoutError, AssertionError) as error:
                found = [f"{type(error).__name__}: {error}"]
            finally:
                sending.cancel()
        self.counts["sessions"] += 1
        self.problems += [f"{name}: {text}" for text in found]
        shutil.rmtree(directory)


class Session:
    """One session: its file, its processes one after the other, and its ledgers."""

    def __init__(
        self,
        world: World,
        role: str,
        name: str,
        directory: Path,
        wire: Wire,
        store: str,
    ) -> None:
        self.world = world
        self.role = role
        self.name = name
        self.directory = directory
        self.wire = wire
        self.store = store
        self.durability: Durability = "normal"
        # Whether the power is lost, and what the disk had then.
        self.is_recorded = False
        self._files: dict[str, bytes] = {}
        # To the worker.
        self._sent = 0
        self._sending: list[asyncio.Task[None]] = []

    def order(
        self, messages: int, how: str = "", at: int = 0, clock: float = 0
    ) -> Order:
        """Return what the next process does."""
        return Order(
            self.role,
            self.wire.port,
            self.world.version,
            self.name,
            self.directory,
            messages,
            how,
            at,
            self.store,
            clock,
            durability=self.durability,
            is_recorded=self.is_recorded,
        )

    async def run(self, order: Order) -> int:
        """Run a process until it ends; return its exit code."""
        code = await ended(start(run, order))
        await self.settle(code)
        return code

    async def run_killed(
        self, order: Order, seconds: float, is_connected: bool = False
    ) -> None:
        """Run a process, and kill it.

        Args:
            order: What it does.
            seconds: After how many seconds.
            is_connected: Whether to count them from when it was connected.
        """
        self.wire.connected.clear()
        process = start(run, order)
        if is_connected:
            await becomes_so(self.wire.connected.is_set, PATIENCE / 4)
        await asyncio.sleep(seconds)
        process.kill()
        await self.settle(await ended(process))

    def lose_power(self) -> None:
        """Let the files have what a disk may have of them."""
        choose, log = self.world.random, recording.log_of(self.directory)
        disk = Disk(str(self.directory.resolve()), self._files)
        for record in read_log(log):
            disk.take(record)
        self._files = choose.choice([*disk.states(choose)])
        replace_files(self.directory, self._files)
        log.unlink(missing_ok=True)
        self.wire.watch.forget_qos_1()
        self.world.counts["losses of power"] += 1

    @property
    def may_undo(self) -> bool:
        """Whether what was stored last may be undone."""
        return self.is_recorded and self.durability == "normal"

    async def leave_unfinished(self) -> None:
        """Kill a process that waits for the broker in the middle of several flows."""
        wire = self.wire
        wire.withheld = self.world.random.choice(UNFINISHED[self.role])
        process = start(run, self.order(MESSAGES))
        has_begun = await becomes_so(wire.has_withheld.is_set, 2 * PATIENCE)
        assert has_begun, "nothing waits for the broker"
        process.kill()
        await self.settle(await ended(process))
        wire.withheld = frozenset()

    async def settle(self, code: int) -> None:
        """Wait until all that the process has sent was passed on."""
        if code == -9:
            self.world.counts["kills"] += 1
        elif code == 1:
            raise AssertionError("a program has failed: see its traceback")
        assert await becomes_so(lambda: self.wire.is_idle, PATIENCE), "the wire hangs"

    async def send_first(self) -> None:
        """Publish what the worker has to process, when it has subscribed."""
        await self.wire.subscribed.wait()
        self.send(MESSAGES)

    def send(self, count: int) -> None:
        """Publish more of it."""
        if not self._sent and not self.wire.subscribed.is_set():
            return
        for number in range(self._sent, self._sent + count):
            topic = f"work/{self.name}/{qos_of(number)}"
            sending = self.world.sender.publish(
                topic, number.to_bytes(NUMBER), qos_of(number)
            )
            self._sending.append(asyncio.create_task(sending))
        self._sent += count

    async def finish(self) -> list[str]:
        """Let a last process end by itself; say everything that was wrong."""
        code = 0
        if self.role == "worker" and not self._sent:
            code = await self.run(self.order(MESSAGES))
        if self.may_undo and self.role == "worker":
            await self._send_last()
        if self._sending:
            await asyncio.wait(self._sending, timeout=PATIENCE)
        last = LAST if self.role == "publisher" else self._sent
        code = code or await self.run(self.order(last))
        if code:
            return [f"the last process ended with {code}: {self._refusal()}"]
        found = await (
            self._judge_publisher()
            if self.role == "publisher"
            else self._judge_worker()
        )
        watch = self.wire.watch
        self.world.counts["packet identifiers"] += watch.published
        self.world.counts["identifiers reused"] += len(watch.reused)
        return found + [f"reused: {text}" for text in watch.reused[:MOST_SHOWN]]

    async def _send_last(self) -> None:
        """Send what has to arrive, whatever was undone before."""
        # The session may have been undone as a whole: then it begins anew.
        self.wire.subscribed.clear()
        process = start(run, self.order(ENDLESS))
        assert await becomes_so(self.wire.subscribed.is_set, PATIENCE), "no session"
        process.kill()
        await self.settle(await ended(process))
        self.send(MESSAGES)

    def _refusal(self) -> str:
        file = self.directory / "refusals"
        return file.read_text() if file.exists() else ""

    # --- what is right ----------------------------------------------------------------

    async def _judge_publisher(self) -> list[str]:
        journal = read_journal(self.directory / "journal")
        # Higher ones may have been undone.
        count = max(journal["promised"][-LAST:]) + 1
        arrived = self.world.arrived
        topics = {qos: topic_of(self.name, qos - 1) for qos in (1, 2)}
        expected = {
            qos: [number for number in range(count) if qos_of(number) == qos]
            for qos in (1, 2)
        }
        await becomes_so(
            lambda: all(
                {*expected[qos]} - self._lost_by_broker(topic) <= {*arrived[topic]}
                for qos, topic in topics.items()
            ),
            PATIENCE / 4,
        )
        found = []
        for qos, topic in topics.items():
            found += self._judge(topic, qos, expected[qos], arrived.pop(topic, []))
        rows = read_rows(
            self.directory / "session.db", "SELECT number FROM readings ORDER BY rowid"
        )
        if [number for (number,) in rows] != [
            number for number in range(count) if way_of(number) == "transaction"
        ]:
            self.world.counts["rows without message, or the reverse"] += 1
            found.append(f"the rows of its table are {rows}")
        if self.may_undo:
            self.world.counts["undone"] += len(journal["forgotten"])
        elif forgotten := journal["forgotten"]:
            self.world.counts["lost"] += len(forgotten)
            found.append(f"lost: the store has forgotten {forgotten[:MOST_SHOWN]}")
        return found

    async def _judge_worker(self) -> list[str]:
        rows = read_rows(
            self.directory / "session.db", "SELECT qos, number FROM done ORDER BY rowid"
        )
        found = []
        for qos in (1, 2):
            expected = [number for number in range(self._sent) if qos_of(number) == qos]
            came = [number for one, number in rows if one == qos]
            found += self._judge(f"work/{self.name}/{qos}", qos, expected, came)
            journal = read_journal(self.directory / "journal")[f"processed-{qos}"]
            gone = {*journal} - {*came}
            if self.may_undo:
                self.world.counts["undone"] += len(gone)
            elif gone:
                found.append(f"lost: committed rows are gone: {sorted(gone)}")
        return found

    def _lost_by_broker(self, topic: str) -> set[int]:
        """Return what the broker had acknowledged, if it forgets its sessions."""
        if not self.world.forgets:
            return set()
        return numbers_of(self.wire.watch.acknowledged, topic)

    def _without_undone(
        self, came: list[int], expected: list[int]
    ) -> tuple[list[int], list[int]]:
        """Return what came and what had to, but for what a loss of power has undone.

        The publisher publishes anew what was undone, so it may come twice, and late.
        The worker gets no message again that it has acknowledged, but the last ones.
        """
        if self.role == "publisher":
            return sorted({*came} & {*expected}), expected
        last = self._sent - MESSAGES
        return came, [one for one in expected if one in came or one >= last]

    def _judge(
        self, topic: str, qos: int, expected: list[int], came: list[int]
    ) -> list[str]:
        """Compare what came of one topic with what had to."""
        counts = self.world.counts
        counts[f"messages at QoS {qos}"] += len(expected)
        if self.may_undo:
            came, expected = self._without_undone(came, expected)
        if lost := self._lost_by_broker(topic) & ({*expected} - {*came}):
            counts["lost by the broker"] += len(lost)
            expected = [number for number in expected if number not in lost]
        first = [*dict.fromkeys(came)]
        again = [number for number, count in Counter(came).items() if count > 1]
        checks: dict[str, Iterable[int]] = {
            "lost": sorted({*expected} - {*came}),
            "out of order": [later for one, later in pairwise(first) if later < one],
            "never published": sorted({*came} - {*expected}),
        }
        if qos == 2:
            forgotten = numbers_of(self.wire.watch.forgotten, topic)
            counts["doubled by the broker"] += len(forgotten & {*again})
            again = [one for one in again if one not in forgotten]
            excused = {one for one in again if (topic, one) in self.world.excused}
            counts["excused at QoS 2"] += len(excused)
            checks["doubled at QoS 2"] = [one for one in again if one not in excused]
        else:
            counts["repeated at QoS 1"] += len(again)
        found = []
        for what, numbers in checks.items():
            shown = [*numbers]
            counts[what] += len(shown)
            if shown:
                found.append(f"{topic}: {len(shown)} {what}: {shown[:MOST_SHOWN]}")
        return found


def numbers_of(messages: Iterable[Published], topic: str) -> set[int]:
    """Return the numbers of the messages that were published to a topic."""
    return {int.from_bytes(one.payload) for one in messages if one.topic == topic}
