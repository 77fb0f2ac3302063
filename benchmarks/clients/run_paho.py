"""The client program of paho-mqtt's own client: a network thread for each client.

Its callbacks run in that thread; what the program waits for is set from there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version

import paho.mqtt.client as paho
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
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

# Its thread waits by select(): a connection whose file has a number from 1,024 on never
# comes up.
CONNECT_SECONDS = 5.0


@asynccontextmanager
async def connected(task: Task) -> AsyncIterator[paho.Client]:
    """A connected client; its thread ends after it has sent what it has queued."""
    loop = asyncio.get_running_loop()
    acknowledged = asyncio.Event()
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        new_identifier(),
        protocol=MQTTProtocolVersion(task.protocol),
    )
    client.max_inflight_messages_set(max(task.in_flight, 20))

    def on_connect(*_: object) -> None:
        loop.call_soon_threadsafe(acknowledged.set)

    client.on_connect = on_connect
    client.connect(HOST, task.port)
    client.loop_start()
    async with asyncio.timeout(CONNECT_SECONDS):
        await acknowledged.wait()
    yield client
    client.disconnect()
    client.loop_stop()


def wait_for(published: paho.MQTTMessageInfo, task: Task) -> None:
    published.wait_for_publish(task.limit)
    if not published.is_published():
        raise TimeoutError


async def receive(task: Task, meter: Meter) -> None:
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    count = payload_bytes = 0
    mark = meter.first_mark

    def on_message(
        _client: paho.Client, _userdata: object, message: paho.MQTTMessage
    ) -> None:
        nonlocal count, payload_bytes, mark
        payload_bytes += len(message.payload)
        count += 1
        if count == mark:
            mark = meter.look(count)
            if not mark:
                loop.call_soon_threadsafe(done.set)

    async with connected(task) as client:
        client.on_message = on_message
        meter.start()
        try:
            client.subscribe(FILTER, task.qos)
            await done.wait()
        finally:
            meter.stop()
            meter.count, meter.payload_bytes = count, payload_bytes


async def publish(task: Task, meter: Meter) -> None:
    payload = task.payload
    async with connected(task) as client:
        meter.start()
        for index in range(task.messages):
            published = client.publish(TOPIC, payload, task.qos)
            if index % task.in_flight == 0:
                # `publish` only queues: a loop without a wait would gather every
                # message in memory.
                wait_for(published, task)
        meter.count = task.messages
    # After the exit: the thread writes what publish queued.
    meter.stop()


async def publish_window(task: Task, meter: Meter) -> None:
    payload = task.payload
    async with connected(task) as client:
        meter.start()
        while meter.count < task.messages:
            size = min(task.in_flight, task.messages - meter.count)
            group = [client.publish(TOPIC, payload, task.qos) for _ in range(size)]
            for published in group:
                wait_for(published, task)
            meter.count += size
        meter.stop()


async def latency(task: Task, meter: Meter) -> None:
    payload = task.payload
    latencies: list[int] = []
    async with connected(task) as client:
        for _ in range(LATENCY_WARM_UP):
            wait_for(client.publish(TOPIC, payload, task.qos), task)
        meter.start()
        for _ in range(task.messages):
            started = time.perf_counter_ns()
            wait_for(client.publish(TOPIC, payload, task.qos), task)
            latencies.append(time.perf_counter_ns() - started)
        meter.stop()
    meter.count = len(latencies)
    meter.record_latencies(latencies)


async def enter(task: Task, stack: AsyncExitStack) -> None:
    await stack.enter_async_context(connected(task))


if __name__ == "__main__":
    main(
        version("paho-mqtt"),
        {
            "receive": receive,
            "publish": publish,
            "publish-window": publish_window,
            "latency": latency,
        },
        enter,
    )
