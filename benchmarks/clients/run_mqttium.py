"""The client program of mqttium."""

from __future__ import annotations

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
from mqttium.api import AsyncClient
from mqttium.enums import MQTTProtocolVersion


def new_client(task: Task) -> AsyncClient:
    return AsyncClient(
        new_identifier(),
        protocol=MQTTProtocolVersion(task.protocol),
        max_outbound_inflight=max(task.in_flight, 20),
    )


async def connected(task: Task, stack: AsyncExitStack) -> AsyncClient:
    """A connected client that disconnects when the stack unwinds."""
    client = new_client(task)
    context = task.tls_context
    if task.transport == "unix":
        await client.connect_unix(task.file)
    elif task.transport in ("ws", "wss"):
        url = f"{task.transport}://{HOST}:{task.port}/mqtt"
        await client.connect_ws(url, ssl=context)
    else:
        await client.connect(HOST, task.port, ssl=context)
    stack.push_async_callback(client.disconnect)
    return client


async def receive(task: Task, meter: Meter) -> None:
    count = payload_bytes = 0
    async with AsyncExitStack() as stack:
        client = await connected(task, stack)
        meter.start()
        mark = meter.first_mark
        try:
            await client.subscribe(FILTER, qos=task.qos)
            async for message in client.messages():
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
            await client.publish(TOPIC, payload, qos=task.qos)
        meter.count = task.messages
    # After the exit: it writes what publish only queued.
    meter.stop()


async def publish_window(task: Task, meter: Meter) -> None:
    """Its own way to have many in flight: keep the receipts, then wait for them."""
    payload = task.payload
    async with AsyncExitStack() as stack:
        client = await connected(task, stack)
        meter.start()
        while meter.count < task.messages:
            size = min(task.in_flight, task.messages - meter.count)
            receipts = [
                await client.publish(TOPIC, payload, qos=task.qos) for _ in range(size)
            ]
            for receipt in receipts:
                await receipt.wait()
            meter.count += size
        meter.stop()


async def latency(task: Task, meter: Meter) -> None:
    payload = task.payload
    latencies: list[int] = []
    async with AsyncExitStack() as stack:
        client = await connected(task, stack)
        for _ in range(LATENCY_WARM_UP):
            await (await client.publish(TOPIC, payload, qos=task.qos)).wait()
        meter.start()
        for _ in range(task.messages):
            started = time.perf_counter_ns()
            receipt = await client.publish(TOPIC, payload, qos=task.qos)
            await receipt.wait()
            latencies.append(time.perf_counter_ns() - started)
        meter.stop()
    meter.count = len(latencies)
    meter.record_latencies(latencies)


if __name__ == "__main__":
    main(
        version("mqttium"),
        {
            "receive": receive,
            "publish": publish,
            "publish-window": publish_window,
            "latency": latency,
        },
        connected,
    )
