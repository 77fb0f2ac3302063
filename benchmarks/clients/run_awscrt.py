"""The client program of awscrt: it is in C, with threads and callbacks of its own."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from importlib.metadata import version

from awscrt import mqtt, mqtt5
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


def new_connection(task: Task) -> mqtt.Connection:
    """Its MQTT 5.0 client can be used by the interface of the 3.1.1 one."""
    if task.protocol == 5:
        options = mqtt5.ClientOptions(
            HOST,
            task.port,
            connect_options=mqtt5.ConnectPacket(client_id=new_identifier()),
            disable_metrics=True,
        )
        return mqtt5.Client(options).new_connection()
    return mqtt.Connection(
        mqtt.Client(), HOST, task.port, new_identifier(), disable_metrics=True
    )


async def connected(task: Task, stack: AsyncExitStack) -> mqtt.Connection:
    """A connected client that disconnects when the stack unwinds."""
    connection = new_connection(task)
    await asyncio.wrap_future(connection.connect())

    async def disconnect() -> None:
        await asyncio.wrap_future(connection.disconnect())

    stack.push_async_callback(disconnect)
    return connection


async def receive(task: Task, meter: Meter) -> None:
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    count = payload_bytes = 0
    mark = meter.first_mark

    def on_message(topic: str, payload: bytes, **_rest: object) -> None:
        nonlocal count, payload_bytes, mark
        payload_bytes += len(payload)
        count += 1
        if count == mark:
            mark = meter.look(count)
            if not mark:
                loop.call_soon_threadsafe(done.set)

    async with AsyncExitStack() as stack:
        connection = await connected(task, stack)
        meter.start()
        try:
            connection.subscribe(FILTER, mqtt.QoS(task.qos), on_message)
            await done.wait()
        finally:
            meter.stop()
            meter.count, meter.payload_bytes = count, payload_bytes


async def publish(task: Task, meter: Meter) -> None:
    payload, qos = task.payload, mqtt.QoS(task.qos)
    async with AsyncExitStack() as stack:
        connection = await connected(task, stack)
        meter.start()
        for index in range(task.messages):
            written, _ = connection.publish(TOPIC, payload, qos)
            if index % task.in_flight == 0:
                # `publish` only queues: a loop without a wait would gather every
                # message in memory.
                await asyncio.wrap_future(written)
        # What is queued when it disconnects is dropped.
        await asyncio.wrap_future(written)
        meter.count = task.messages
    meter.stop()


async def publish_window(task: Task, meter: Meter) -> None:
    payload, qos = task.payload, mqtt.QoS(task.qos)
    async with AsyncExitStack() as stack:
        connection = await connected(task, stack)
        meter.start()
        while meter.count < task.messages:
            size = min(task.in_flight, task.messages - meter.count)
            group = [connection.publish(TOPIC, payload, qos)[0] for _ in range(size)]
            for acknowledged in group:
                await asyncio.wrap_future(acknowledged)
            meter.count += size
        meter.stop()


async def latency(task: Task, meter: Meter) -> None:
    payload, qos = task.payload, mqtt.QoS(task.qos)
    latencies: list[int] = []
    async with AsyncExitStack() as stack:
        connection = await connected(task, stack)
        for _ in range(LATENCY_WARM_UP):
            await asyncio.wrap_future(connection.publish(TOPIC, payload, qos)[0])
        meter.start()
        for _ in range(task.messages):
            started = time.perf_counter_ns()
            await asyncio.wrap_future(connection.publish(TOPIC, payload, qos)[0])
            latencies.append(time.perf_counter_ns() - started)
        meter.stop()
    meter.count = len(latencies)
    meter.record_latencies(latencies)


if __name__ == "__main__":
    main(
        version("awscrt"),
        {
            "receive": receive,
            "publish": publish,
            "publish-window": publish_window,
            "latency": latency,
        },
        connected,
    )
