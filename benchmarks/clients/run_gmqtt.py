"""The client program of gmqtt.

Its `publish` is a plain function without a result. That the QoS 1 and 2 messages are
acknowledged is seen at the store that the program gives it: it is empty again.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from importlib.metadata import version
from typing import Any

import gmqtt
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
from gmqtt.storage import PersistentStorage


async def connected(
    task: Task, stack: AsyncExitStack, store: PersistentStorage | None = None
) -> Any:  # gmqtt has no types
    """A connected client that disconnects when the stack unwinds."""
    client = gmqtt.Client(new_identifier(), persistent_storage=store)
    await client.connect(HOST, task.port, version=task.protocol)
    stack.push_async_callback(client.disconnect)
    return client


async def receive(task: Task, meter: Meter) -> None:
    done = asyncio.Event()
    count = payload_bytes = 0
    mark = meter.first_mark

    def on_message(_client: object, _topic: str, payload: bytes, *_rest: object) -> int:
        nonlocal count, payload_bytes, mark
        payload_bytes += len(payload)
        count += 1
        if count == mark:
            mark = meter.look(count)
            if not mark:
                done.set()
        return 0

    async with AsyncExitStack() as stack:
        client = await connected(task, stack)
        client.on_message = on_message
        meter.start()
        try:
            client.subscribe(FILTER, qos=task.qos)
            await done.wait()
        finally:
            meter.stop()
            meter.count, meter.payload_bytes = count, payload_bytes


async def publish(task: Task, meter: Meter) -> None:
    payload = task.payload
    async with AsyncExitStack() as stack:
        client = await connected(task, stack)
        meter.start()
        for index in range(task.messages):
            client.publish(TOPIC, payload, qos=task.qos)
            if index % task.in_flight == 0:
                # Nothing in its API waits for the socket: a loop without a pause would
                # gather every message in memory.
                await asyncio.sleep(0)
        meter.count = task.messages
    # After the exit: it writes what publish only queued.
    meter.stop()


async def publish_window(task: Task, meter: Meter) -> None:
    payload = task.payload
    store = PersistentStorage()
    async with AsyncExitStack() as stack:
        client = await connected(task, stack, store)
        meter.start()
        while meter.count < task.messages:
            size = min(task.in_flight, task.messages - meter.count)
            for _ in range(size):
                client.publish(TOPIC, payload, qos=task.qos)
            await store.wait_empty()
            meter.count += size
        meter.stop()


async def latency(task: Task, meter: Meter) -> None:
    payload = task.payload
    latencies: list[int] = []
    store = PersistentStorage()
    async with AsyncExitStack() as stack:
        client = await connected(task, stack, store)
        for _ in range(LATENCY_WARM_UP):
            client.publish(TOPIC, payload, qos=task.qos)
            await store.wait_empty()
        meter.start()
        for _ in range(task.messages):
            started = time.perf_counter_ns()
            client.publish(TOPIC, payload, qos=task.qos)
            await store.wait_empty()
            latencies.append(time.perf_counter_ns() - started)
        meter.stop()
    meter.count = len(latencies)
    meter.record_latencies(latencies)


if __name__ == "__main__":
    main(
        version("gmqtt"),
        {
            "receive": receive,
            "publish": publish,
            "publish-window": publish_window,
            "latency": latency,
        },
        connected,
    )
