"""Publish temperatures and receive them: `temperature.py [HOST PORT]`.

Without a broker's address it starts one of its own, inside this process.
"""

import asyncio
import sys

import aiomqtt

TEMPERATURES = {
    "temperature/outside": 28.4,
    "temperature/inside": 21.7,
    "temperature/cellar": 14.2,
    "temperature/attic": 31.0,
    "temperature/fridge": 4.5,
}


async def receive_temperatures(host: str, port: int, ready: asyncio.Event) -> None:
    async with aiomqtt.Client(host, port) as client:
        await client.subscribe("temperature/#")
        ready.set()
        missing = len(TEMPERATURES)
        async for message in client.messages:
            print(f"received {message.topic}: {message.payload.decode()}")
            missing -= 1
            if not missing:
                break


async def publish_temperatures(host: str, port: int) -> None:
    async with aiomqtt.Client(host, port) as client:
        for topic, temperature in TEMPERATURES.items():
            print(f"publishing {topic}: {temperature}")
            await client.publish(topic, payload=temperature, qos=1)


async def exchange(host: str, port: int) -> None:
    ready = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(receive_temperatures(host, port, ready))
        # What is published before the subscription is there would be missed.
        await ready.wait()
        tasks.create_task(publish_temperatures(host, port))


async def main(arguments: list[str]) -> None:
    if arguments:
        host, port = arguments
        await exchange(host, int(port))
    else:
        async with aiomqtt.Broker() as broker:
            print(f"a broker listens on {broker.url}")
            await exchange(broker.host, broker.port)


asyncio.run(main(sys.argv[1:]))
