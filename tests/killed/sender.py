"""A program that sends what its session has; it is killed again and again.

python -m tests.killed.sender HOST PORT FILE VERSION

It says "done" when all of it is acknowledged.
"""

import asyncio
import sys

import aiomqtt
from tests.until import until


async def main(host: str, port: str, path: str, version: str) -> None:
    client = aiomqtt.Client(
        host,
        int(port),
        identifier="killed-sender",
        protocol=int(version),
        session=aiomqtt.SQLiteSession(path),
    )
    async with client:
        print("entered", flush=True)
        await until(lambda: not client.statistics.unfinished_messages, 60)
    print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
