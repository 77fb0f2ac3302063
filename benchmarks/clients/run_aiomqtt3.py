"""The client program of aiomqtt 3's pre-release: MQTT 5.0, on the codec mqtt5 (Rust).

Its user acknowledges each message, and takes the steps of QoS 2.
It drops QoS 0 messages for which no `anext` waits, so that a run may wait in vain.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from importlib.metadata import version
from typing import Any

from common import (
    FILTER,
    HOST,
    IDLE_WARM_UP,
    LATENCY_WARM_UP,
    TOPIC,
    Meter,
    Task,
    idle,
    main,
    new_identifier,
)

import aiomqtt

# The names are those of version 3, not the ones of this checkout's `aiomqtt`.
api: Any = aiomqtt

# After this long without a message, none will come.
QUIET_SECONDS = 3.0

# Each client has a buffer of 16 MiB from the start: a thousand would take 17 GB, which
# not every machine has.
MEMORY_BYTES = 4 * 1024**3


def new_client(task: Task) -> Any:
    return api.Client(
        hostname=HOST, port=task.port, identifier=new_identifier(), clean_start=True
    )


async def end_when_quiet(limit: asyncio.Timeout, count: Callable[[], int]) -> None:
    before = -1
    while count() != before:
        before = count()
        await asyncio.sleep(QUIET_SECONDS)
    limit.reschedule(asyncio.get_running_loop().time())


async def receive(task: Task, meter: Meter) -> None:
    at_most_once, at_least_once = api.QoS.AT_MOST_ONCE, api.QoS.AT_LEAST_ONCE
    count = payload_bytes = 0
    async with asyncio.timeout(None) as limit, new_client(task) as client:
        meter.start()
        mark = meter.first_mark
        watch = asyncio.create_task(end_when_quiet(limit, lambda: count))
        try:
            await client.subscribe(FILTER, max_qos=api.QoS(task.qos))
            async for packet in client.messages():
                if isinstance(packet, api.PubRelPacket):
                    await client.pubcomp(packet.packet_id)
                    continue
                payload_bytes += len(packet.payload)
                count += 1
                if packet.qos == at_least_once:
                    await client.puback(packet.packet_id)
                elif packet.qos != at_most_once:
                    await client.pubrec(packet.packet_id)
                if count == mark:
                    mark = meter.look(count)
                    if not mark:
                        break
        finally:
            meter.stop()
            meter.count, meter.payload_bytes = count, payload_bytes
            watch.cancel()


async def publish_one(client: Any, task: Task, payload: bytes) -> None:
    if task.qos == 0:
        await client.publish(TOPIC, payload)
        return
    packet_id = next(client.packet_ids)
    await client.publish(TOPIC, payload, qos=api.QoS(task.qos), packet_id=packet_id)
    if task.qos == 2:
        await client.pubrel(packet_id)


async def publish(task: Task, meter: Meter) -> None:
    payload = task.payload
    async with new_client(task) as client:
        meter.start()
        for _ in range(task.messages):
            await publish_one(client, task, payload)
        meter.count = task.messages
    # After the exit: it writes what publish only queued.
    meter.stop()


async def publish_window(task: Task, meter: Meter) -> None:
    payload = task.payload
    async with new_client(task) as client:
        meter.start()
        while meter.count < task.messages:
            size = min(task.in_flight, task.messages - meter.count)
            await asyncio.gather(
                *(publish_one(client, task, payload) for _ in range(size))
            )
            meter.count += size
        meter.stop()


async def latency(task: Task, meter: Meter) -> None:
    payload = task.payload
    latencies: list[int] = []
    async with new_client(task) as client:
        for _ in range(LATENCY_WARM_UP):
            await publish_one(client, task, payload)
        meter.start()
        for _ in range(task.messages):
            started = time.perf_counter_ns()
            await publish_one(client, task, payload)
            latencies.append(time.perf_counter_ns() - started)
        meter.stop()
    meter.count = len(latencies)
    meter.record_latencies(latencies)


async def enter(task: Task, stack: AsyncExitStack) -> None:
    await stack.enter_async_context(new_client(task))


async def hold_idle(task: Task, meter: Meter) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    try:
        await idle(task, meter, enter)
    except MemoryError:
        limit = f"{MEMORY_BYTES // 1024**3} GiB"
        sys.exit(f"{limit} were full after {IDLE_WARM_UP + meter.count} clients")


if __name__ == "__main__":
    main(
        version("aiomqtt"),
        {
            "receive": receive,
            "publish": publish,
            "publish-window": publish_window,
            "latency": latency,
            "idle": hold_idle,
        },
        enter,
        protocol=5,
    )
