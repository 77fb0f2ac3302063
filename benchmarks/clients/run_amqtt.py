"""The client program of amqtt's client."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from importlib.metadata import version

from amqtt.client import MQTTClient
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


async def connected(task: Task, stack: AsyncExitStack) -> MQTTClient:
    """A connected client that disconnects when the stack unwinds."""
    client = MQTTClient(new_identifier())
    await client.connect(f"mqtt://{HOST}:{task.port}/")
    stack.push_async_callback(client.disconnect)
    return client


async def receive(task: Task, meter: Meter) -> None:
    count = payload_bytes = 0
    async with AsyncExitStack() as stack:
        client = await connected(task, stack)
        meter.start()
        mark = meter.first_mark
        try:
            await client.subscribe([(FILTER, task.qos)])
            while mark:
                message = await client.deliver_message()
                if message is not None:
                    payload_bytes += len(message.data)
                    count += 1
                    if count == mark:
                        mark = meter.look(count)
        finally:
            meter.stop()
            meter.count, meter.payload_bytes = count, payload_bytes


async def publish(task: Task, meter: Meter) -> None:
    payload = task.payload
    async with AsyncExitStack() as stack:
        client = await connected(task, stack)
        meter.start()
        for _ in range(task.messages):
            await client.publish(TOPIC, payload, qos=task.qos)
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
                *(client.publish(TOPIC, payload, qos=task.qos) for _ in range(size))
            )
            meter.count += size
        meter.stop()


async def latency(task: Task, meter: Meter) -> None:
    payload = task.payload
    latencies: list[int] = []
    async with AsyncExitStack() as stack:
        client = await connected(task, stack)
        for _ in range(LATENCY_WARM_UP):
            await client.publish(TOPIC, payload, qos=task.qos)
        meter.start()
        for _ in range(task.messages):
            started = time.perf_counter_ns()
            await client.publish(TOPIC, payload, qos=task.qos)
            latencies.append(time.perf_counter_ns() - started)
        meter.stop()
    meter.count = len(latencies)
    meter.record_latencies(latencies)


if __name__ == "__main__":
    main(
        version("amqtt"),
        {
            "receive": receive,
            "publish": publish,
            "publish-window": publish_window,
            "latency": latency,
        },
        connected,
        protocol=4,
    )
