"""Publishing while nothing leaves: the memory stays bounded, and the log quiet.

python -m tests.soak.stalled CASE COUNT    fails unless this is so for so many messages

The cases: "stalled", a broker that reads nothing, and without a connection "wait",
"queue" and "drop_oldest".
"""

import asyncio
import gc
import json
import logging
import resource
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiomqtt

PUBLISHERS = 50
PAYLOAD = bytes(1000)
# Above the limits of the client, in bytes.
MEMORY = 20 * 1024 * 1024
WARNINGS = 10
CONNACK = b"\x20\x03\x00\x00\x00"


def peak() -> int:
    """The largest resident memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Log(logging.Handler):
    """Counts the records from WARNING on."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1


@asynccontextmanager
async def stalled_broker() -> AsyncIterator[asyncio.Server]:
    """A broker that accepts each client, and then reads nothing."""
    go_on = asyncio.Event()

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(2)
        writer.write(CONNACK)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await go_on.wait()
        writer.transport.abort()

    server = await asyncio.start_server(stall, "127.0.0.1", 0)
    async with server:
        yield server
        go_on.set()


async def publish(client: aiomqtt.Client, count: int) -> dict[str, int]:
    """Publish so many messages from many tasks, until all wait or are done."""
    published = refused = 0

    async def publisher(qos: int) -> None:
        nonlocal published, refused
        for _ in range(count // PUBLISHERS):
            try:
                await client.publish("t", PAYLOAD, qos, timeout=600)
            except aiomqtt.MqttCodeError:
                refused += 1
            published += 1

    tasks = [asyncio.create_task(publisher(n % 2)) for n in range(PUBLISHERS)]
    before = -1
    # Until there is no progress: all that still run are waiting.
    while before != published:
        before = published
        await asyncio.sleep(0.2)
    waiting = sum(not task.done() for task in tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {"published": published, "refused": refused, "waiting": waiting}


async def run(case: str, count: int) -> dict[str, int]:
    queue = aiomqtt.OfflineQueue(overflow="drop_oldest")
    found: dict[str, int] = {}
    offline = {"drop_oldest": queue, "queue": "queue"}.get(case, "wait")
    async with stalled_broker() as server:
        port = server.sockets[0].getsockname()[1]
        client = aiomqtt.Client(
            "127.0.0.1",
            port,
            protocol=aiomqtt.ProtocolVersion.V5,
            reconnect=aiomqtt.Reconnect(min_delay=1000, max_delay=1000),
            offline=offline,  # type: ignore[arg-type]
            timeout=0.5,
        )
        try:
            async with client:
                if case != "stalled":
                    await lose_connection(client)
                await publish(client, 2 * PUBLISHERS)
                gc.collect()
                logged, start = Log(), peak()
                logging.getLogger().addHandler(logged)
                found = await publish(client, count)
                found |= {"grown": peak() - start, "logged": logged.count}
                found["dropped"] = client.statistics.messages_dropped
        except aiomqtt.MqttError:
            # It could not send all that it had accepted.
            pass
        return found


async def lose_connection(client: aiomqtt.Client) -> None:
    """End the connection from below, and wait until the client has noticed."""
    calls = client._calls
    assert calls is not None
    assert calls.driver.writer.transport is not None
    calls.driver.writer.transport.abort()
    async for change in client.states():
        if change.state == "waiting":
            break


def check(case: str, count: int, found: dict[str, int]) -> None:
    """Check what became of the messages."""
    queue = aiomqtt.OfflineQueue()
    assert queue.max_messages is not None
    assert queue.max_bytes is not None
    total = count + 2 * PUBLISHERS
    bound = queue.max_bytes if case in ("queue", "drop_oldest") else 0
    assert found["grown"] < bound + MEMORY
    assert found["logged"] <= WARNINGS
    wanted = {
        "stalled": {"dropped": 0, "refused": 0},
        "wait": {"waiting": PUBLISHERS, "published": 0, "dropped": 0},
        "queue": {"waiting": 0, "published": count, "dropped": 0},
        "drop_oldest": {"waiting": 0, "published": count, "refused": 0},
    }[case]
    assert wanted.items() <= found.items()
    if case == "stalled":
        # Publishers with QoS 0 are done when the transport has their last message.
        assert found["waiting"] >= PUBLISHERS // 2
        assert found["published"] < count
    queued = total - found["refused"] - found["dropped"]
    if case in ("queue", "drop_oldest"):
        assert 0.9 * queue.max_messages < queued <= queue.max_messages


if __name__ == "__main__":
    case, count = sys.argv[1], int(sys.argv[2])
    found = asyncio.run(run(case, count))
    print(json.dumps(found))
    check(case, count, found)
