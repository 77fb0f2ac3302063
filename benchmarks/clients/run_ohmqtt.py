"""The client program of ohmqtt: a network thread for each client, as paho-mqtt has.

Its callbacks run in that thread; what the program waits for is set from there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
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
from ohmqtt import Client, MQTTPublishPacket

CONNECT_SECONDS = 5.0


@asynccontextmanager
async def connected(task: Task) -> AsyncIterator[Client]:
    """A connected client; its thread ends after it has sent what it has queued."""
    with Client() as client:
        client.connect(
            f"mqtt://{HOST}:{task.port}", client_id=new_identifier(), clean_start=True
        )
        client.wait_for_connect(CONNECT_SECONDS)
        yield client
        client.disconnect()
        client.wait_for_disconnect(task.limit)


async def receive(task: Task, meter: Meter) -> None:
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    count = payload_bytes = 0
    mark = meter.first_mark

    def on_message(_client: Client, message: MQTTPublishPacket) -> None:
        nonlocal count, payload_bytes, mark
        payload_bytes += len(message.payload)
        count += 1
        if count == mark:
            mark = meter.look(count)
            if not mark:
                loop.call_soon_threadsafe(done.set)

    async with connected(task) as client:
        meter.start()
        try:
            client.subscribe(FILTER, on_message, task.qos)
            await done.wait()
        finally:
            meter.stop()
            meter.count, meter.payload_bytes = count, payload_bytes


async def publish(task: Task, meter: Meter) -> None:
    payload = task.payload
    async with connected(task) as client:
        meter.start()
        for _ in range(task.messages):
            # It only queues, and has nothing to wait for at QoS 0.
            client.publish(TOPIC, payload, qos=task.qos)
        meter.count = task.messages
    # After the exit: the thread writes what publish queued.
    meter.stop()


async def publish_window(task: Task, meter: Meter) -> None:
    payload = task.payload
    async with connected(task) as client:
        meter.start()
        while meter.count < task.messages:
            size = min(task.in_flight, task.messages - meter.count)
            group = [client.publish(TOPIC, payload, qos=task.qos) for _ in range(size)]
            for published in group:
                published.wait_for_ack(task.limit)
            meter.count += size
        meter.stop()


async def latency(task: Task, meter: Meter) -> None:
    payload = task.payload
    latencies: list[int] = []
    async with connected(task) as client:
        for _ in range(LATENCY_WARM_UP):
            client.publish(TOPIC, payload, qos=task.qos).wait_for_ack(task.limit)
        meter.start()
        for _ in range(task.messages):
            started = time.perf_counter_ns()
            client.publish(TOPIC, payload, qos=task.qos).wait_for_ack(task.limit)
            latencies.append(time.perf_counter_ns() - started)
        meter.stop()
    meter.count = len(latencies)
    meter.record_latencies(latencies)


async def enter(task: Task, stack: AsyncExitStack) -> None:
    await stack.enter_async_context(connected(task))


if __name__ == "__main__":
    main(
        version("ohmqtt"),
        {
            "receive": receive,
            "publish": publish,
            "publish-window": publish_window,
            "latency": latency,
        },
        enter,
        protocol=5,
    )
