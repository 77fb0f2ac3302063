"""One run: a broker, the programs under test, their networks, and who keeps watch."""

import asyncio
import contextlib
import logging
import random
import tempfile
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiomqtt
from aiomqtt.broker import Limits
from aiomqtt.testing import FaultProxy
from tests.brokers import Broker as MosquittoProcess
from tests.ports import free_port
from tests.soak.memory import resident
from tests.until import becomes_so

from .faults import Saboteur
from .ledger import PROMISED, Ledger, Line, make_payload
from .peer import Peer, drop_session
from .programs import (
    KEEP_ALIVE,
    WINDOW,
    Consumer,
    Program,
    Publisher,
    StreamConsumer,
)
from .running import find_causes, running
from .wire import ReleaseWatch, WatchedProxy

# Lines of each program, by QoS.
LINES: Final = {1: 16, 2: 16}
# So many messages of each line are published when nothing breaks any more.
LAST: Final = 3
# The seconds between restarts of the broker, and between sessions that it forgets.
RESTART_EVERY: Final = 5.0
FORGET_EVERY: Final = 3.0
# The seconds in which everything has to arrive when nothing breaks any more.
PATIENCE: Final = 60.0
# The seconds in which a message arrives if the client has subscribed.
PROBE: Final = 2.0
# The process may grow by so many bytes after the first third of the time, not counting
# a byte or two for each message in the ledger.
GROWTH: Final = 32 * 1024 * 1024

# All of it is in memory until mosquitto ends by SIGTERM: then it writes it down. With a
# window it would mix up QoS 1 and 2 (see tests/soak).
MOSQUITTO: Final = """
persistence true
persistence_location {directory}/
autosave_interval 0
max_inflight_messages 0
max_queued_messages 0
max_queued_bytes 0
log_type none
log_type error
"""


class Mosquitto:
    """A mosquitto that keeps its sessions over a restart."""

    name = "mosquitto"

    def __init__(self, directory: Path) -> None:
        settings = MOSQUITTO.format(directory=directory)
        self._process = MosquittoProcess(directory, settings=settings)

    @property
    def address(self) -> tuple[str, int]:
        return self._process.host, self._process.port

    async def start(self) -> None:
        await asyncio.to_thread(self._process.start)

    async def stop(self) -> None:
        await asyncio.to_thread(self._process.stop)

    async def restart(self, _: random.Random) -> str:
        await self.stop()
        await self.start()
        return "broker restarted by SIGTERM"

    async def kill(self) -> None:
        """Let it forget all sessions, and start it again."""
        await asyncio.to_thread(self._process.kill)
        await self.start()


class Own:
    """The broker of the library."""

    name = "aiomqtt"

    def __init__(self, _: Path) -> None:
        limits = Limits(maximum_queued_messages=1_000_000, maximum_queued_bytes=1 << 40)
        logger = logging.getLogger("chaos.broker")
        # Not a port that the system gives to outgoing connections: while the broker is
        # down, one of these could connect to itself, and hold the port.
        port = free_port()
        self._broker = aiomqtt.Broker(port=port, limits=limits, logger=logger)

    async def start(self) -> None:
        await self._broker.start()
        # It stays the same.
        self.address = self._broker.host, self._broker.port

    async def stop(self) -> None:
        await self._broker.stop()

    async def restart(self, generator: random.Random) -> str:
        if how := generator.randrange(2):
            self._broker.kill()
        else:
            await self._broker.stop()
        await asyncio.sleep(generator.uniform(0, 0.3))
        await self._broker.start()
        return "broker killed and started" if how else "broker stopped and started"


BROKERS: Final[dict[str, type[Mosquitto | Own]]] = {
    "mosquitto": Mosquitto,
    "aiomqtt": Own,
}


@dataclass
class Part:
    """A program under test, its network, and who breaks that."""

    program: Program
    proxy: FaultProxy
    saboteur: Saboteur
    lines: list[Line]
    keeps_session: bool


@dataclass
class World:
    """A run on one broker in one version of MQTT.

    It ends when the time is over, and both so many faults and messages were reached.
    """

    broker_name: str
    version: int
    seed: int
    seconds: float
    # Whether clients reconnect; otherwise their programs enter them again.
    reconnects: bool = True
    patience: float = PATIENCE
    faults: int = 0
    messages: int = 0
    # All that clients and broker log goes to this file.
    log_file: Path | None = None
    ledger: Ledger = field(default_factory=Ledger)
    problems: list[str] = field(default_factory=list)
    # What has ended the run before its time.
    failure: Exception | None = None
    # How each program was when the run ended, before the programs were ended.
    states: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    took: float = 0.0

    def __post_init__(self) -> None:
        self.random = random.Random(f"{self.seed} world")
        self.parts: list[Part] = []
        self.peers: list[Peer] = []
        self.other_faults: Counter[str] = Counter()
        self.stopping = asyncio.Event()
        self.is_healed = asyncio.Event()
        self.samples: list[int] = []
        # The last restart of the broker, which must not be left half done.
        self._restarting: asyncio.Future[str] | None = None

    @property
    def fault_count(self) -> int:
        return self.other_faults.total() + sum(
            part.saboteur.counts.total() for part in self.parts
        )

    async def run(self) -> None:
        """Run until it is over; then `problems` and `counts` say how it went."""
        start = time.monotonic()
        self.log = logging.getLogger("chaos")
        self.log.propagate = False
        self.log.setLevel(logging.CRITICAL)
        if self.log_file is not None:
            handler = logging.FileHandler(self.log_file, mode="w")
            handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(message)s"))
            self.log.handlers = [handler]
            self.log.setLevel(logging.DEBUG)
        with tempfile.TemporaryDirectory() as directory:
            self.broker = BROKERS[self.broker_name](Path(directory))
            await self.broker.start()
            try:
                async with contextlib.AsyncExitStack() as stack:
                    await self._run(stack)
            except Exception as error:  # noqa: BLE001 - it fails only this run
                self.failure = error
            finally:
                await self.broker.stop()
        self.took = time.monotonic() - start
        self._judge()

    async def _run(self, stack: contextlib.AsyncExitStack) -> None:
        roles = [
            ("publisher", True),
            ("consumer", True),
            ("publisher", False),
            ("consumer", False),
        ]
        if self.reconnects:
            roles.append(("stream", True))
        for number, (role, keeps_session) in enumerate(roles):
            await self._add(stack, number, role, keeps_session)
        watch = self._make_peer("watch", "up/#")
        send = self._make_peer("send")
        async with running(*(self._noting(peer.run()) for peer in self.peers)):
            await watch.ready.wait()
            await self._start(send)

    async def _add(
        self,
        stack: contextlib.AsyncExitStack,
        number: int,
        role: str,
        keeps_session: bool,
    ) -> None:
        """Add a program under test with its network."""
        seed = f"{self.seed} {self.broker_name} {self.version} {number}"
        proxy = await stack.enter_async_context(
            WatchedProxy(*self.broker.address, seed=self.seed + number)
        )
        proxy.watch = ReleaseWatch(self.version, self.ledger.excuse)
        client = make_client(
            proxy, f"under-test-{number}", self.version, self.reconnects
        )
        topic = f"up/{number}"
        program: Program = Publisher(client, self.ledger, seed, self.reconnects)
        if role != "publisher":
            topic = f"down/{number}"
            make = Consumer if role == "consumer" else StreamConsumer
            program = make(client, self.ledger, seed, self.reconnects, f"{topic}/#")
        lines = [
            self.ledger.open(
                Line(
                    f"{topic}/{qos}/{index}",
                    qos,
                    keeps_session,
                    may_miss=role != "publisher" and not keeps_session,
                )
            )
            for qos, count in LINES.items()
            for index in range(count)
        ]
        saboteur = Saboteur(proxy, role, KEEP_ALIVE, seed, client.is_connected)
        self.parts.append(Part(program, proxy, saboteur, lines, keeps_session))

    def _make_peer(self, name: str, subscription: str = "") -> Peer:
        peer = Peer(
            *self.broker.address, name, self.version, self.ledger.arrive, subscription
        )
        peer.see = ReleaseWatch(self.version, self.ledger.excuse).see
        self.peers.append(peer)
        return peer

    async def _start(self, send: Peer) -> None:
        programs = [part.program for part in self.parts]
        async with running(*(self._noting(program.run()) for program in programs)):
            await self._noting(self._let_flow(send))
            self._note_states()

    async def _let_flow(self, send: Peer) -> None:
        """Let messages flow while things break, and until all have arrived."""
        if not await becomes_so(lambda: self.are_connected, PATIENCE):
            raise TimeoutError("the clients did not connect before anything broke")
        asks = [self._noting(part.program.ask()) for part in self.parts]
        async with asyncio.TaskGroup() as publishing, running(*asks) as asking:
            for part in self.parts:
                for line in part.lines:
                    publishing.create_task(self._publish(part, line, send))
            await self._break_things()
            if self._restarting is not None:
                await self._restarting
            for task in asking:
                task.cancel()
            await self._heal()
            publishing.create_task(self._give_up(publishing))
        await self._drain()

    async def _noting(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Await; if it raises, note the states while the others still run."""
        try:
            await coroutine
        except Exception:
            self._note_states()
            raise

    def _note_states(self) -> None:
        if not self.states:
            for part in self.parts:
                state = f"{part.program.describe()}; network: {part.proxy!r}"
                self.states.append(state)
            self._note_problems()

    def _note_problems(self) -> None:
        """Take over what the programs have found wrong."""
        for part in self.parts:
            name = part.program.client.identifier
            self.problems += [f"{name}: {text}" for text in part.program.problems]
            part.program.problems.clear()

    async def _publish(self, part: Part, line: Line, send: Peer) -> None:
        """Publish to a line; when nothing breaks any more, some last messages."""
        program = part.program
        if isinstance(program, Publisher):
            await program.publish(line, self.stopping)
            await self.is_healed.wait()
            for _ in range(LAST):
                await program.publish_one(line, line.begin())
            return
        while not self.stopping.is_set():
            if len(line.states) - line.arrived > WINDOW and part.keeps_session:
                await asyncio.sleep(0.02)
            await self._send(line, send)
        await self.is_healed.wait()
        if line.may_miss:
            await self._send_until_one_arrives(line, send)
            line.expected_from = len(line.states)
        for _ in range(LAST):
            await self._send(line, send)

    async def _send_until_one_arrives(self, line: Line, send: Peer) -> None:
        """Wait until a client whose session was forgotten has subscribed again."""
        end = time.monotonic() + self.patience
        while time.monotonic() < end:
            number = await self._send(line, send)
            if await becomes_so(partial(line.has, number), PROBE):
                return
        self.problems.append(f"{line.topic}: nothing arrives any more")

    async def _send(self, line: Line, send: Peer) -> int:
        """Publish what a program under test has to receive; return its number."""
        number = line.begin()
        await send.publish(line.topic, make_payload(number), line.qos)
        line.settle(number, PROMISED)
        return number

    @property
    def are_connected(self) -> bool:
        return all(part.program.is_connected for part in self.parts)

    # --- breaking ---------------------------------------------------------------------

    async def _break_things(self) -> None:
        """Break things until enough has happened."""
        breaking = [part.saboteur.run() for part in self.parts]
        start = time.monotonic()
        async with running(*breaking, self._restart(), self._forget()):
            while True:
                await asyncio.sleep(0.1)
                elapsed = time.monotonic() - start
                self.samples.append(resident())
                enough = (
                    self.fault_count >= self.faults
                    and self.ledger.arrived >= self.messages
                )
                if elapsed >= self.seconds and enough:
                    return
                if elapsed >= 10 * self.seconds + PATIENCE:
                    self.problems.append(
                        f"too slow: {self.fault_count} faults and"
                        f" {self.ledger.arrived} messages in {elapsed:.0f} s"
                    )
                    return

    async def _restart(self) -> None:
        while True:
            await asyncio.sleep(self.random.uniform(0.5, 1.5) * RESTART_EVERY)
            self.log.info("the broker restarts")
            self._restarting = asyncio.ensure_future(self.broker.restart(self.random))
            self.other_faults[await asyncio.shield(self._restarting)] += 1

    async def _forget(self) -> None:
        """Let the broker forget sessions, while their clients are not connected."""
        parts = [part for part in self.parts if not part.keeps_session]
        while True:
            await asyncio.sleep(self.random.uniform(0.5, 1.5) * FORGET_EVERY)
            part = self.random.choice(parts)
            async with part.saboteur.turn:
                # Connections that begin now wait in the network.
                part.proxy.stall()
                part.proxy.reset()
                name = part.program.client.identifier
                try:
                    await drop_session(*self.broker.address, name, self.version)
                    self.other_faults["session forgotten"] += 1
                    self.log.info("session of %s forgotten", name)
                except (OSError, asyncio.IncompleteReadError):
                    pass
                finally:
                    # The saboteur may have ended already.
                    part.proxy.resume()

    # --- the end ----------------------------------------------------------------------

    async def _heal(self) -> None:
        """Wait until all clients are connected, and let the last messages flow."""
        for part in self.parts:
            part.program.cancels = False
        self.stopping.set()
        if not await becomes_so(lambda: self.are_connected, self.patience):
            self.problems += [
                f"{part.program.client.identifier} does not connect any more:"
                f" {part.program.last_error!r} {part.proxy!r}"
                for part in self.parts
                if not part.program.is_connected
            ]
        await asyncio.sleep(1)
        self.is_healed.set()

    async def _give_up(self, publishing: asyncio.TaskGroup) -> None:
        """End calls that do not settle, so that the ledger shows them."""
        calls = publishing._tasks  # type: ignore[attr-defined]
        if not await becomes_so(lambda: len(calls) == 1, self.patience):
            for task in [*calls]:
                task.cancel()

    async def _drain(self) -> None:
        """Wait for what is still on its way."""
        await becomes_so(lambda: self.ledger.is_complete, self.patience, 0.02)
        # What comes twice may come late.
        await asyncio.sleep(0.5)

    def _judge(self) -> None:
        for part in self.parts:
            self.counts.update(part.program.calls)
            self.counts["connections"] += part.proxy.connections
        if self.failure is not None:
            # What has not arrived by then may have been on its way, and its end made
            # calls fail.
            causes = find_causes(self.failure)
            self.problems[:0] = [f"the run was ended by {cause!r}" for cause in causes]
            return
        self._note_problems()
        for peer in self.peers:
            if peer.lost_sessions:
                self.problems.append(f"the broker lost the session of {peer.name}")
        self.problems += self.ledger.find_problems()
        growth = self.growth()
        if growth > GROWTH:
            self.problems.append(f"memory grew by {growth / 2**20:.0f} MiB")

    def growth(self) -> int:
        """The growth of the process after the first third of the time, in bytes."""
        if len(self.samples) < 6:
            return 0
        third = len(self.samples) // 3
        early = sorted(self.samples[third : 2 * third])
        late = sorted(self.samples[-third:])
        return late[third // 2] - early[third // 2]


def make_client(
    proxy: FaultProxy, name: str, version: int, reconnects: bool
) -> aiomqtt.Client:
    options: dict[str, Any] = {}
    if version == 5:
        properties = aiomqtt.Properties()
        properties.session_expiry_interval = 0xFFFFFFFF
        options.update(clean_start=False, properties=properties)
    else:
        options.update(clean_session=False)
    if reconnects:
        options["reconnect"] = aiomqtt.Reconnect(min_delay=0.01, max_delay=0.2)
    client = aiomqtt.Client(
        proxy.host,
        proxy.port,
        identifier=name,
        protocol=version,
        keepalive=KEEP_ALIVE,
        logger=logging.getLogger(f"chaos.{name}"),
        # For calls that outlast connections, longer than any fault.
        timeout=60 if reconnects else 5,
        **options,
    )
    client.pending_calls_threshold = 1_000_000
    return client
