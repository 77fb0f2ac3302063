"""The client program of zenmqtt, whose messages the program acknowledges."""

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
from zenmqtt import MQTTClient


async def connected(task: Task, stack: AsyncExitStack) -> MQTTClient:
    """A connected client that disconnects when the stack unwinds."""
    # Without reconnecting, of which it would say that there is no session for it.
    client = MQTTClient(new_identifier(), reconnect=None)
    await stack.enter_async_context(client)
    await client.connect(f"tcp://{HOST}:{task.port}")
    return client


async def receive(task: Task, meter: Meter) -> None:
    count = payload_bytes = 0
    async with AsyncExitStack() as stack:
        client = await connected(task, stack)
        meter.start()
        mark = meter.first_mark
        try:
            await client.subscribe([(FILTER, task.qos)])
            async for message in client.messages:
                payload_bytes += len(message.payload)
                if task.qos:
                    await client.ack(message)
                count += 1
                if count == mark:
                    mark = meter.look(count)
                    if not mark:
                        break
        finally:
            meter.stop()
            meter.count, meter.payload_bytes = count, payload_bytes


async def publish(task: Task, meter: Meter) -> None:
    payload, qos = task.payload, task.qos
    async with AsyncExitStack() as stack:
        client = await connected(task, stack)
        meter.start()
        for _ in range(task.messages):
            await client.publish(TOPIC, payload, qos=qos)
        meter.count = task.messages
    # After the exit: it writes what publish only queued.
    meter.stop()


async def publish_window(task: Task, meter: Meter) -> None:
    payload, qos = task.payload, task.qos
    async with AsyncExitStack() as stack:
        client = await connected(task, stack)
        meter.start()
        while meter.count < task.messages:
            size = min(task.in_flight, task.messages - meter.count)
            await asyncio.gather(
                *(client.publish(TOPIC, payload, qos=qos) for _ in range(size))
            )
            meter.count += size
        meter.stop()


async def latency(task: Task, meter: Meter) -> None:
    payload, qos = task.payload, task.qos
    latencies: list[int] = []
    async with AsyncExitStack() as stack:
        client = await connected(task, stack)
        for _ in range(LATENCY_WARM_UP):
            await client.publish(TOPIC, payload, qos=qos)
        meter.start()
        for _ in range(task.messages):
            started = time.perf_counter_ns()
            await client.publish(TOPIC, payload, qos=qos)
            latencies.append(time.perf_counter_ns() - started)
        meter.stop()
    meter.count = len(latencies)
    meter.record_latencies(latencies)


if __name__ == "__main__":
    main(
        version("zenmqtt"),
        {
            "receive": receive,
            "publish": publish,
            "publish-window": publish_window,
            "latency": latency,
        },
        connected,
        protocol=5,
    )
