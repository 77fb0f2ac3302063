"""Await QoS 0 publishes, one by one: `publish_qos0.py WAY PORT MESSAGES`."""

from __future__ import annotations

import asyncio
import os
import sys

HOST, TOPIC = "127.0.0.1", "bench/temperature"

# Each of them takes less than a millisecond.
SECONDS = 5.0


class Progress:
    count = 0


async def with_aiomqtt(port: int, messages: int, progress: Progress) -> None:
    import aiomqtt

    async with aiomqtt.Client(HOST, port) as client:
        for _ in range(messages):
            await client.publish(TOPIC, b"21.5", qos=0)
            progress.count += 1


async def with_ctypes_mosquitto(port: int, messages: int, progress: Progress) -> None:
    from ctypes_mosquitto import Mosquitto
    from ctypes_mosquitto.aio import AIO

    async with AIO(Mosquitto()) as client:
        await client.connect(HOST, port)
        for _ in range(messages):
            await client.publish(TOPIC, b"21.5", qos=0)
            progress.count += 1


async def with_thread(port: int, messages: int, progress: Progress) -> None:
    from pymosquitto.aio import AsyncMosquitto

    async with AsyncMosquitto() as client:
        await client.connect(HOST, port)
        for _ in range(messages):
            await client.publish(TOPIC, b"21.5", qos=0)
            progress.count += 1


async def without_thread(port: int, messages: int, progress: Progress) -> None:
    from pymosquitto.aio import TrueAsyncMosquitto

    async with TrueAsyncMosquitto() as client:
        await client.connect(HOST, port)
        for _ in range(messages):
            await client.publish(TOPIC, b"21.5", qos=0)
            progress.count += 1


WAYS = {
    "aiomqtt": with_aiomqtt,
    "AIO": with_ctypes_mosquitto,
    "AsyncMosquitto": with_thread,
    "TrueAsyncMosquitto": without_thread,
}


async def main() -> None:
    way, port, messages = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    progress = Progress()
    task = asyncio.create_task(WAYS[way](port, messages, progress))
    await asyncio.wait([task], timeout=SECONDS)
    if not task.done():
        print(
            f"hangs: {progress.count} of {messages} returned in {SECONDS:.0f} s",
            flush=True,
        )
        os._exit(1)  # the exit of a client that hangs may hang
    task.result()
    print(f"{progress.count} of {messages} returned", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
