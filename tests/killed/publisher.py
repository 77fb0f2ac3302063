"""A program that numbers its messages; it is killed again and again.

python -m tests.killed.publisher HOST PORT FILE COUNT VERSION

It publishes with QoS 1 and 2, and goes on after the last number that the session knows.
It says "done" when all of them are acknowledged.
"""

import asyncio
import sys

import aiomqtt

WINDOW = 50


async def main(host: str, port: str, path: str, count: str, version: str) -> None:
    session = aiomqtt.SQLiteSession(path)
    client = aiomqtt.Client(
        host,
        int(port),
        identifier="killed-publisher",
        protocol=int(version),
        session=session,
        reconnect=aiomqtt.Reconnect(min_delay=0.01, max_delay=0.1, initial=True),
        timeout=60,
    )
    async with client:
        # Leaving waits until everything is acknowledged.
        numbers = [int(receipt.id) for receipt in await session.receipts()]
        print("entered", flush=True)
        receipts: list[aiomqtt.Receipt] = []
        for number in range(max(numbers, default=-1) + 1, int(count)):
            topic = f"killed/{1 + number % 2}"
            if len(receipts) >= WINDOW:
                await receipts.pop(0)
            await client.connected()
            receipts.append(
                client.publish_nowait(
                    topic, str(number), qos=1 + number % 2, id=str(number)
                )
            )
    print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
