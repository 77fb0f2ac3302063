"""The soak: messages go round for minutes, and none may be lost or grow anything.

    python -m tests.soak.soak [SECONDS]

Clients of every version stand in a ring around a real broker, in one process; each
publishes at all QoS to the next, and receives from the one before. At the end there
is one line with what was moved, and the exit code tells whether anything was wrong:
a message that was lost, that came twice or out of order, or memory that grew.
"""

import argparse
import asyncio
import contextlib
import gc
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import aiomqtt
from tests.brokers import Broker
from tests.soak.memory import resident

SECONDS = 120.0
# How many messages have to be moved in that time, and in proportion in less.
MESSAGES = 1_000_000
VERSIONS = [3, 4, 5, 5]
TOPICS = {0: 1, 1: 4, 2: 4}  # so many of each QoS, from each client
# How many messages go in one burst, and how many of a topic may be on their way.
# mosquitto drops QoS 0 for a client whose socket is full, so that bounds it too.
BURST = 50
WINDOW = 200
SIZES = [16, 64, 64, 64, 64, 200, 1000, 10_000]  # bytes of payload
# The process may grow by so much after the first third of the time, in bytes.
GROWTH = 4 * 1024 * 1024
IDLE_CLIENTS = 400
IDLE_BYTES = 24 * 1024  # for each of them
PATIENCE = 30.0  # seconds for what is still on its way at the end

# mosquitto drops nothing of its own accord, and doesn't log every packet. With a
# window it would mix up the order: 2.0.11 does so for a subscriber that gets both
# QoS 1 and QoS 2, once messages wait for a place in the window.
BROKER = """
max_inflight_messages 0
max_queued_messages 0
max_queued_bytes 0
log_type none
log_type error
log_type warning
log_type notice
"""


class Topic:
    """One topic: from one client to the next one."""

    def __init__(self, name: str, qos: int) -> None:
        self.name = name
        self.qos = qos
        self.published = 0
        self.received = 0
        self.repeated = 0
        self.progress = asyncio.Event()

    def take(self, message: aiomqtt.Message) -> str:
        """Note a message; return what is wrong with it, or nothing."""
        number = int.from_bytes(message.payload[:8])
        self.progress.set()
        if message.qos != self.qos:
            return f"{self.name}: QoS {message.qos}"
        if number == self.received:
            self.received += 1
            return ""
        if number < self.received:
            self.repeated += 1
            # At least once; but nothing ever broke the connection.
            return f"{self.name}: {number} came again, or late"
        missing = number - self.received
        self.received = number + 1
        return f"{self.name}: {missing} missing before {number}"


class Soak:
    """The ring of clients, and what it has found."""

    def __init__(self, broker: Broker, seconds: float) -> None:
        self.broker = broker
        self.seconds = seconds
        self.target = int(MESSAGES * min(1.0, seconds / SECONDS))
        self.wrong: list[str] = []
        self.samples: list[tuple[float, int]] = []  # seconds, bytes
        self.stopping = False
        self.topics = [
            [
                Topic(f"soak/{client}/{qos}/{number}", qos)
                for qos, count in TOPICS.items()
                for number in range(count)
            ]
            for client in range(len(VERSIONS))
        ]

    @property
    def all_topics(self) -> Iterator[Topic]:
        return itertools.chain.from_iterable(self.topics)

    @property
    def moved(self) -> int:
        return sum(topic.received for topic in self.all_topics)

    async def run(self) -> None:
        self.start = time.monotonic()
        async with contextlib.AsyncExitStack() as stack:
            clients = []
            for index, version in enumerate(VERSIONS):
                client = aiomqtt.Client(
                    self.broker.host, self.broker.port, protocol=version, timeout=60
                )
                client.pending_calls_threshold = 1_000_000
                clients.append(await stack.enter_async_context(client))
                await client.subscribe(f"soak/{(index - 1) % len(VERSIONS)}/#", 2)
            receivers = [
                asyncio.create_task(self.receive(client, self.topics[index - 1]))
                for index, client in enumerate(clients)
            ]
            sampler = asyncio.create_task(self.sample())
            try:
                async with asyncio.TaskGroup() as publishers:
                    for client, topics in zip(clients, self.topics, strict=True):
                        for topic in topics:
                            publishers.create_task(self.publish(client, topic))
                    await self.watch()
                    self.stopping = True
                await self.drain()
            except (ExceptionGroup, aiomqtt.MqttError) as error:
                self.wrong.append(f"a client failed: {error!r}")
            self.took = time.monotonic() - self.start
            for task in (sampler, *receivers):
                task.cancel()
            for result in await asyncio.gather(
                sampler, *receivers, return_exceptions=True
            ):
                if not isinstance(result, asyncio.CancelledError):
                    self.wrong.append(f"a receiver ended: {result!r}")

    async def watch(self) -> None:
        """Return when the time is over and enough was moved."""
        while True:
            await asyncio.sleep(min(1.0, self.seconds / 10))
            elapsed = time.monotonic() - self.start
            if elapsed >= self.seconds and self.moved >= self.target:
                return
            if elapsed >= 5 * self.seconds:
                self.wrong.append(f"too slow: {self.target} should have been moved")
                return

    async def publish(self, client: aiomqtt.Client, topic: Topic) -> None:
        sizes = itertools.cycle(SIZES)
        while not self.stopping:
            while topic.published - topic.received > WINDOW - BURST:
                topic.progress.clear()
                await asyncio.wait_for(topic.progress.wait(), PATIENCE)
            numbers = range(topic.published, topic.published + BURST)
            topic.published += BURST
            calls = [
                client.publish(
                    topic.name, number.to_bytes(8) + bytes(next(sizes) - 8), topic.qos
                )
                for number in numbers
            ]
            if topic.qos:
                await asyncio.gather(*calls)
            else:
                for call in calls:
                    await call

    async def receive(self, client: aiomqtt.Client, topics: list[Topic]) -> None:
        by_name = {topic.name: topic for topic in topics}
        async for message in client.messages:
            wrong = by_name[message.topic.value].take(message)
            if wrong:
                self.wrong.append(wrong)

    async def drain(self) -> None:
        """Wait for what is still on its way."""
        deadline = time.monotonic() + PATIENCE
        for topic in self.all_topics:
            while topic.received < topic.published:
                if time.monotonic() > deadline:
                    lost = topic.published - topic.received
                    self.wrong.append(f"{topic.name}: the last {lost} did not come")
                    break
                await asyncio.sleep(0.05)

    async def sample(self) -> None:
        while True:
            gc.collect()
            self.samples.append((time.monotonic() - self.start, resident()))
            await asyncio.sleep(self.seconds / 60)

    def growth(self) -> int:
        """Return the growth of the process after the first third, in bytes.

        Between the medians of two sixths of the time, since single samples jump.
        """
        end = self.samples[-1][0]

        def median(first: float, last: float) -> int:
            chosen = [
                size for when, size in self.samples if first * end <= when <= last * end
            ]
            return sorted(chosen)[len(chosen) // 2]

        return median(5 / 6, 1) - median(2 / 6, 3 / 6)


def bytes_of_an_idle_client(broker: Broker) -> int:
    """Measured in a process of its own, where nothing else has come and gone."""
    command = [sys.executable, "-m", "tests.soak.memory"]
    arguments = [broker.host, str(broker.port), str(IDLE_CLIENTS)]
    result = subprocess.run(
        [*command, *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    return int(result.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description="Soak the client in messages.")
    parser.add_argument("seconds", type=float, nargs="?", default=SECONDS)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as directory:
        broker = Broker(Path(directory), settings=BROKER)
        broker.start()
        try:
            soak = Soak(broker, seconds)
            asyncio.run(soak.run())
            idle = bytes_of_an_idle_client(broker)
        finally:
            broker.stop()
    growth = soak.growth()
    if growth > GROWTH:
        soak.wrong.append(f"memory grew by {growth / 1024:.0f} KiB")
    if idle > IDLE_BYTES:
        soak.wrong.append(f"an idle client takes {idle / 1024:.1f} KiB")
    for text in soak.wrong[:20]:
        print(f"wrong: {text}")
    by_qos = [
        sum(topic.received for topic in soak.all_topics if topic.qos == qos)
        for qos in (0, 1, 2)
    ]
    print(
        f"soak: {'FAILED' if soak.wrong else 'passed'}:"
        f" {soak.moved} messages (QoS 0, 1, 2: {by_qos[0]}, {by_qos[1]}, {by_qos[2]})"
        f" published and received in {soak.took:.0f} s, {len(soak.wrong)} wrong;"
        f" memory grew by {growth / 1024:.0f} KiB to {resident() / 2**20:.0f} MiB;"
        f" an idle client takes {idle / 1024:.1f} KiB"
    )
    return 1 if soak.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
