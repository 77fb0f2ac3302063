"""Chaos in simulated time: each run repeats every step from its seed.

There is no other broker and no socket here; `scripts/chaos` has these. The broker notes
what is published, and publishes what is to be received.
"""

import asyncio
import random
from typing import Any

import pytest

import aiomqtt
from aiomqtt.testing import RecordingBroker, simulate
from tests.chaos.ledger import PROMISED, Ledger, Line, make_payload
from tests.chaos.programs import Consumer, Publisher
from tests.chaos.running import running
from tests.until import becomes_so

# The seconds, of simulated time, in which things break, and how often.
SECONDS = 3600
FAULTS = 60
# So often a line is published to: by the client several messages, by the broker one.
TIMES = 60


def make_client(broker: RecordingBroker, name: str, version: int) -> aiomqtt.Client:
    lasting: dict[str, Any] = {"clean_session": False}
    if version == 5:
        properties = aiomqtt.Properties()
        properties.session_expiry_interval = 0xFFFFFFFF
        lasting = {"clean_start": False, "properties": properties}
    return aiomqtt.Client(
        broker.name,
        transport="memory",
        identifier=name,
        protocol=version,
        keepalive=10,
        timeout=SECONDS,
        reconnect=aiomqtt.Reconnect(max_delay=30),
        **lasting,
    )


class Simulation:
    """A broker that fails, and two clients that have to stand it."""

    def __init__(self, broker: RecordingBroker, version: int) -> None:
        self.broker = broker
        self.ledger = Ledger()
        # The simulation determines the numbers of `random`.
        self.random = random.Random(random.random())
        self.is_running = asyncio.Event()
        self.is_running.set()
        client, seed = make_client(broker, "publisher", version), str(random.random())
        self.publisher = Publisher(client, self.ledger, f"{seed} p", True)
        client = make_client(broker, "consumer", version)
        self.consumer = Consumer(client, self.ledger, f"{seed} c", True, "d/#")

    async def run(self) -> None:
        programs = (self.publisher, self.consumer)
        async with running(*(program.run() for program in programs)):
            assert await becomes_so(lambda: all(p.is_connected for p in programs), 60)
            async with asyncio.TaskGroup() as group:
                for qos in (1, 2):
                    line = self.ledger.open(Line(f"u/{qos}", qos))
                    group.create_task(self.publish(line))
                    line = self.ledger.open(Line(f"d/{qos}", qos))
                    group.create_task(self.send(line))
                group.create_task(self.fail())
            self.consumer.cancels = False
            for message in self.broker.published("u/#"):
                self.ledger.arrive(message.topic.value, message.payload)
            await becomes_so(lambda: self.ledger.is_complete, 3600)
        for program in programs:
            assert program.problems == []

    async def pause(self, times: int) -> None:
        await asyncio.sleep(self.random.uniform(0, 2 * SECONDS / times))

    async def publish(self, line: Line) -> None:
        """Publish by the client; the broker notes what arrives."""
        # Not by several tasks: the simulation would change their order.
        ways = (self.publisher.publish_many, self.publisher.publish_nowait)
        for _ in range(TIMES):
            await self.pause(TIMES)
            numbers = [line.begin() for _ in range(self.random.randint(1, 8))]
            await self.random.choice(ways)(line, numbers)

    async def send(self, line: Line) -> None:
        """Publish by the broker what the client has to receive."""
        for _ in range(TIMES):
            await self.pause(TIMES)
            await self.is_running.wait()
            number = line.begin()
            self.broker.publish(line.topic, make_payload(number), line.qos)
            line.settle(number, PROMISED)

    async def fail(self) -> None:
        for _ in range(FAULTS):
            await self.pause(FAULTS)
            seconds = self.random.choice((0.01, 1, 30))
            client_id = self.random.choice(("publisher", "consumer"))
            match self.random.randrange(5):
                case 0:
                    self.broker.abort(client_id)
                case 1:
                    self.broker.disconnect(client_id)
                case 2:
                    self.broker.pause()
                    # The keep alive ends the longest.
                    await asyncio.sleep(seconds)
                    self.broker.resume()
                case how:
                    self.is_running.clear()
                    if how == 3:
                        self.broker.kill()
                    else:
                        await self.broker.stop()
                    await asyncio.sleep(seconds)
                    await self.broker.start()
                    self.is_running.set()


async def run(version: int) -> Ledger:
    async with RecordingBroker(None, sys_interval=0) as broker:
        simulation = Simulation(broker, version)
        await simulation.run()
    return simulation.ledger


@pytest.mark.parametrize(("version", "seed"), [(4, 0), (4, 1), (5, 2), (5, 3)])
def test_nothing_is_lost_doubled_or_out_of_order(version, seed):
    ledger = simulate(seed=seed)(run)(version)
    assert ledger.find_problems() == []
    assert ledger.arrived > 500


def test_a_run_is_repeated_from_its_seed():
    def outcome(seed: int) -> list[object]:
        ledger = simulate(seed=seed)(run)(5)
        return [(line.states, line.arrivals) for line in ledger.lines.values()]

    first = outcome(1)
    assert outcome(1) == first
    assert outcome(2) != first
