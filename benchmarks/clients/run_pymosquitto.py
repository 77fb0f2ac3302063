"""The client program of pymosquitto: libmosquitto in a thread, called by ctypes.

`AsyncMosquitto` is the one of its two asyncio clients that its documentation shows.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from importlib.metadata import version

from common import (
    FILTER,
    HOST,
    LATENCY_WARM_UP,
    TOPIC,
    Meter,
    Task,
    main,
    new_identifier,
)
from pymosquitto.aio import AsyncMosquitto

# Its thread waits by select(): a connection whose file has a number from 1,024 on never
# comes up.
CONNECT_SECONDS = 5.0


async def connected(task: Task, stack: AsyncExitStack) -> AsyncMosquitto:
    """A connected client that disconnects when the stack unwinds."""
    client = AsyncMosquitto(new_identifier(), protocol=task.protocol)
    client.mosq.max_inflight_messages_set(max(task.in_flight, 20))
    await client.__aenter__()
    async with asyncio.timeout(CONNECT_SECONDS):
        await client.connect(HOST, task.port)
    # From here on: the exit of a client that isn't connected would not end.
    stack.push_async_exit(client)
    return client


async def receive(task: Task, meter: Meter) -> None:
    count = payload_bytes = 0
    async with AsyncExitStack() as stack:
        client = await connected(task, stack)
        meter.start()
        mark = meter.first_mark
        try:
            await client.subscribe(FILTER, task.qos)
            async for message in client.read_messages():
                payload_bytes += len(message.payload)
                count += 1
                if count == mark:
                    mark = meter.look(count)
                    if not mark:
                        break
        finally:
            meter.stop()
            meter.count, meter.payload_bytes = count, payload_bytes


async def publish(task: Task, meter: Meter) -> None:
    payload = task.payload
    async with AsyncExitStack() as stack:
        client = await connected(task, stack)
        meter.start()
        for _ in range(task.messages):
            await client.publish(TOPIC, payload, task.qos)
        meter.count = task.messages
    # After the exit: it writes what publish only queued.
    meter.stop()


async def publish_window(task: Task, meter: Meter) -> None:
    payload = task.payload
    async with AsyncExitStack() as stack:
        client = await connected(task, stack)
        meter.start()
        while meter.count < task.messages:
            size = min(task.in_flight, task.messages - meter.count)
            await asyncio.gather(
                *(client.publish(TOPIC, payload, task.qos) for _ in range(size))
            )
            meter.count += size
        meter.stop()


async def latency(task: Task, meter: Meter) -> None:
    payload = task.payload
    latencies: list[int] = []
    async with AsyncExitStack() as stack:
        client = await connected(task, stack)
        for _ in range(LATENCY_WARM_UP):
            await client.publish(TOPIC, payload, task.qos)
        meter.start()
        for _ in range(task.messages):
            started = time.perf_counter_ns()
            await client.publish(TOPIC, payload, task.qos)
            latencies.append(time.perf_counter_ns() - started)
        meter.stop()
    meter.count = len(latencies)
    meter.record_latencies(latencies)


if __name__ == "__main__":
    main(
        version("pymosquitto"),
        {
            "receive": receive,
            "publish": publish,
            "publish-window": publish_window,
            "latency": latency,
        },
        connected,
    )
