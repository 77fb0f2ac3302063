"""The client program of zmqtt."""

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
from zmqtt import MQTTClient, QoS


def new_client(task: Task) -> MQTTClient:
    return MQTTClient(
        HOST,
        task.port,
        client_id=new_identifier(),
        version="5.0" if task.protocol == 5 else "3.1.1",
    )


async def receive(task: Task, meter: Meter) -> None:
    count = payload_bytes = 0
    async with new_client(task) as client:
        subscription = client.subscribe(FILTER, qos=QoS(task.qos))
        meter.start()
        mark = meter.first_mark
        try:
            # The matching `stop` is not called: the peer sends no UNSUBACK.
            await subscription.start()
            async for message in subscription:
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
    payload, qos = task.payload, QoS(task.qos)
    async with new_client(task) as client:
        meter.start()
        for _ in range(task.messages):
            await client.publish(TOPIC, payload, qos=qos)
        meter.count = task.messages
    # After the exit: it writes what publish only queued.
    meter.stop()


async def publish_window(task: Task, meter: Meter) -> None:
    payload, qos = task.payload, QoS(task.qos)
    async with new_client(task) as client:
        meter.start()
        while meter.count < task.messages:
            size = min(task.in_flight, task.messages - meter.count)
            await asyncio.gather(
                *(client.publish(TOPIC, payload, qos=qos) for _ in range(size))
            )
            meter.count += size
        meter.stop()


async def latency(task: Task, meter: Meter) -> None:
    payload, qos = task.payload, QoS(task.qos)
    latencies: list[int] = []
    async with new_client(task) as client:
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


async def enter(task: Task, stack: AsyncExitStack) -> None:
    await stack.enter_async_context(new_client(task))


if __name__ == "__main__":
    main(
        version("zmqtt"),
        {
            "receive": receive,
            "publish": publish,
            "publish-window": publish_window,
            "latency": latency,
        },
        enter,
    )
