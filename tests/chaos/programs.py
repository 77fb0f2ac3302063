"""The programs under test: clients that publish and receive while all breaks.

A program has one client. Either that reconnects by itself, so that no call fails. Or
the program enters it again whenever the connection is lost: then the client sends again
what it has accepted, and the program publishes again what it has not.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Coroutine
from typing import Any, Final, TypeAlias

import aiomqtt
from tests.until import becomes_so

from .ledger import PROMISED, UNSURE, Ledger, Line, make_payload

# So many messages of a line are on their way at most.
WINDOW: Final = 300
# One call in so many is cancelled, up to so many seconds after it began.
CANCEL_ONE_IN: Final = 25
CANCEL_WITHIN: Final = 0.03
KEEP_ALIVE: Final = 2


Messages: TypeAlias = aiomqtt.MessagesIterator | aiomqtt.Stream[aiomqtt.Message]


class Program:
    """What all programs do: stay connected, and cancel calls now and then."""

    def __init__(
        self, client: aiomqtt.Client, ledger: Ledger, seed: str, reconnects: bool
    ) -> None:
        self.client = client
        self.reconnects = reconnects
        self.ledger = ledger
        self.random = random.Random(seed)
        self.connected = asyncio.Event()
        self.entered = 0
        # How calls ended, by what was called.
        self.calls: Counter[str] = Counter()
        self.problems: list[str] = []
        self.last_error: aiomqtt.MqttError | None = None
        # Calls are cancelled by chance, until this is unset.
        self.cancels = True

    @property
    def is_connected(self) -> bool:
        return self.connected.is_set() and self.client.is_connected()

    async def run(self) -> None:
        """Stay connected until cancelled.

        Raises:
            MqttError: The client reconnects, and has ended.
        """
        while True:
            try:
                async with self.client:
                    self.entered += 1
                    await self.prepare()
                    self.connected.set()
                    await self.receive()
            except aiomqtt.MqttError as error:
                self.last_error = error
                if self.reconnects:
                    raise
            finally:
                self.connected.clear()
            await asyncio.sleep(self.random.uniform(0, 0.02))

    def describe(self) -> str:
        """Say how the client is, to those who ask why messages are missing."""
        client, counts = self.client, self.client.statistics
        error: aiomqtt.MqttError | None = self.last_error
        if client._journal is not None:
            error = client._journal.current.cause or error
        filters = sorted(client._engine.session.subscriptions)
        return (
            f"{client.identifier}: {type(self).__name__}, {client.state},"
            f" connected: {client.is_connected()}, entered: {self.entered} times,"
            f" subscriptions: {filters}, last error: {error!r},"
            f" unfinished: {counts.unfinished_messages},"
            f" not taken: {counts.incoming_messages},"
            f" waiting calls: {counts.waiting_calls} + {counts.waiting_publishers}"
        )

    async def prepare(self) -> None:
        """Do what comes first when the client was entered."""

    async def receive(self) -> None:
        """Take the messages that come."""
        await self.take(self.client.messages)

    async def take(self, messages: Messages) -> None:
        """Take messages, and cancel the iteration now and then when it waits."""
        while True:
            if self.cancels and not len(messages) and self.random.randrange(2):
                call = asyncio.ensure_future(anext(messages))
                await asyncio.wait([call], timeout=self.random.uniform(0, 0.005))
                call.cancel()
                await asyncio.wait([call])
                if call.cancelled():
                    self.calls["anext cancelled"] += 1
                    continue
                message = call.result()
            else:
                message = await anext(messages)
            self.ledger.arrive(message.topic.value, message.payload)

    async def call(self, what: str, coroutine: Coroutine[Any, Any, Any]) -> str:
        """Await a public call, and perhaps cancel it; return how it ended.

        Returns:
            "done", "cancelled", "kept" (it raised, but the message will be sent), or
            "refused" (it raised, and nothing will be sent).
        """
        task = asyncio.ensure_future(coroutine)
        try:
            if self.cancels and not self.random.randrange(CANCEL_ONE_IN):
                seconds = self.random.uniform(0, CANCEL_WITHIN)
                await asyncio.wait([task], timeout=seconds)
                task.cancel()
            await task
            outcome = "done"
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                raise
            outcome = "cancelled"
        except aiomqtt.MqttError as error:
            outcome = "kept" if error.is_in_session else "refused"
            if self.reconnects:
                self.problems.append(f"{what} raised {error!r}")
        self.calls[f"{what} {outcome}"] += 1
        return outcome

    async def ask(self) -> None:
        """Make calls about filters of no one and about the state, until cancelled."""
        for number in range(1_000_000):
            await self.connected.wait()
            name = f"nothing/{number % 10}"
            await self.call("subscribe", self.client.subscribe(name, 1))
            await self.call("unsubscribe", self.client.unsubscribe(name))
            if self.reconnects:
                await self.call("connected", self.client.connected())
                await self.call("states", self.see_state())
                await self.call("stream", self.open_stream(name))
            await asyncio.sleep(self.random.uniform(0, 0.1))

    async def open_stream(self, name: str) -> None:
        """Open a stream of a filter of no one, and leave it."""
        async with self.client.stream(name, f"{name}/+", qos=1) as stream:
            assert not len(stream)

    async def see_state(self) -> None:
        """Wait until the client loses its connection, or has one again."""
        states = self.client.states()
        await anext(states)  # the state now
        await anext(states)


class Publisher(Program):
    """Publishes to its lines; an independent peer notes what arrives."""

    async def publish(self, line: Line, stopping: asyncio.Event) -> None:
        """Publish to a line until it is to stop: one call at once, or several."""
        while not stopping.is_set():
            if len(line.states) - line.arrived > WINDOW:
                # Or they are lost: then the end finds that out.
                await becomes_so(lambda: len(line.states) - line.arrived <= WINDOW, 0.5)
            if not self.reconnects:
                await self.publish_one(line, line.begin())
                continue
            numbers = [line.begin() for _ in range(self.random.randint(1, 8))]
            # One way at a time: what `publish_nowait` sends may overtake calls of
            # `publish` that wait for the network.
            ways = (self.publish_each, self.publish_many, self.publish_nowait)
            await self.random.choice(ways)(line, numbers)

    async def publish_each(self, line: Line, numbers: list[int]) -> None:
        """Publish messages by one call for each, at once."""
        async with asyncio.TaskGroup() as group:
            for number in numbers:
                group.create_task(self.publish_one(line, number))

    async def publish_many(self, line: Line, numbers: list[int]) -> None:
        """Publish messages by one call."""
        messages = [(line.topic, make_payload(number), line.qos) for number in numbers]
        publish = self.client.publish_many(messages, window=5)
        outcome = await self.call("publish_many", publish)
        for number in numbers:
            line.settle(number, PROMISED if outcome == "done" else UNSURE)

    async def publish_one(self, line: Line, number: int) -> None:
        payload = make_payload(number)
        while True:
            await self.connected.wait()
            publish = self.client.publish(line.topic, payload, line.qos)
            outcome = await self.call("publish", publish)
            if outcome != "refused":
                break
            if self.reconnects:
                outcome = "cancelled"
                break
            await asyncio.sleep(0.002)
        line.settle(number, UNSURE if outcome == "cancelled" else PROMISED)

    async def publish_nowait(self, line: Line, numbers: list[int]) -> None:
        """Publish messages without waiting, and then wait for their receipts."""
        receipts: list[aiomqtt.Receipt | None] = []
        for number in numbers:
            message = (line.topic, make_payload(number), line.qos)
            try:
                receipts.append(self.client.publish_nowait(*message))
            except aiomqtt.MqttError:
                # It does not wait for a connection.
                self.calls["publish_nowait refused"] += 1
                receipts.append(None)
        for number, receipt in zip(numbers, receipts, strict=True):
            outcome = "refused"
            if receipt is not None:
                outcome = await self.call("receipt", wait_for(receipt))
            line.settle(number, PROMISED if outcome == "done" else UNSURE)


async def wait_for(receipt: aiomqtt.Receipt) -> None:
    await receipt


class Consumer(Program):
    """Receives what an independent peer publishes."""

    def __init__(
        self,
        client: aiomqtt.Client,
        ledger: Ledger,
        seed: str,
        reconnects: bool,
        topic_filter: str,
    ) -> None:
        super().__init__(client, ledger, seed, reconnects)
        self._filter = topic_filter

    async def prepare(self) -> None:
        await self.client.subscribe(self._filter, 2)


class StreamConsumer(Consumer):
    """Receives the same by a stream. The client reconnects."""

    async def prepare(self) -> None:
        self._streams = contextlib.AsyncExitStack()
        stream = self.client.stream(self._filter, qos=2)
        self._stream = await self._streams.enter_async_context(stream)

    async def receive(self) -> None:
        async with self._streams:
            await self.take(self._stream)
