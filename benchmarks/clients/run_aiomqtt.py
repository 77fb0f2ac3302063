"""The client program of aiomqtt 2's API: for this checkout and for aiomqtt 2.5.1."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from importlib.metadata import version
from typing import Any

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

import aiomqtt


def place_of(task: Task) -> dict[str, Any]:
    """Return where to connect to, as arguments of the client."""
    if task.transport == "unix":
        return {"hostname": task.file, "transport": "unix"}
    place: dict[str, Any] = {"hostname": HOST, "port": task.port}
    if task.transport in ("ws", "wss"):
        place["transport"] = "websockets"
    if context := task.tls_context:
        place["tls_context"] = context
    return place


def new_client(task: Task) -> aiomqtt.Client:
    client = aiomqtt.Client(
        **place_of(task),
        identifier=new_identifier(),
        protocol=aiomqtt.ProtocolVersion(task.protocol),
        max_inflight_messages=max(task.in_flight, 20),
    )
    # A warning per publish call above the threshold would measure the logging.
    client.pending_calls_threshold = task.in_flight + 1
    return client


async def receive(task: Task, meter: Meter) -> None:
    count = payload_bytes = 0
    async with new_client(task) as client:
        meter.start()
        mark = meter.first_mark
        try:
            await client.subscribe(FILTER, qos=task.qos)
            async for message in client.messages:
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
    async with new_client(task) as client:
        meter.start()
        for _ in range(task.messages):
            await client.publish(TOPIC, payload, task.qos)
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
                *(client.publish(TOPIC, payload, task.qos) for _ in range(size))
            )
            meter.count += size
        meter.stop()


async def publish_many(task: Task, meter: Meter) -> None:
    payload = task.payload
    async with new_client(task) as client:
        meter.start()
        meter.count = await client.publish_many(
            ((TOPIC, payload, task.qos) for _ in range(task.messages)),
            window=task.in_flight,
        )
        meter.stop()


async def latency(task: Task, meter: Meter) -> None:
    payload = task.payload
    latencies: list[int] = []
    async with new_client(task) as client:
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


async def enter(task: Task, stack: AsyncExitStack) -> None:
    await stack.enter_async_context(new_client(task))


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main(
        version("aiomqtt"),
        {
            "receive": receive,
            "publish": publish,
            "publish-window": publish_window,
            "publish-many": publish_many,
            "latency": latency,
        },
        enter,
        build=getattr(aiomqtt, "__build__", "pure"),
    )
