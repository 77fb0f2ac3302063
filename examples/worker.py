"""Process each reading exactly once: `worker.py HOST PORT FILE`.

The row and the acknowledgement of its message are committed in one transaction. If the
process is killed before that, the broker sends the message again; if it is killed
afterwards, the message is known, and not processed again.
"""

import asyncio
import json
import sys

import aiomqtt

TABLE = """
CREATE TABLE IF NOT EXISTS processed (
    number INTEGER NOT NULL, temperature REAL NOT NULL
)
"""


async def process(session: aiomqtt.SQLiteSession, message: aiomqtt.Message) -> None:
    number, temperature = json.loads(message.payload)
    async with session.transaction() as tx:
        if tx.acknowledge(message):
            insert = "INSERT INTO processed VALUES (?, ?)"
            await tx.execute(insert, (number, temperature))


async def main(host: str, port: str, file: str) -> None:
    session = aiomqtt.SQLiteSession(file)
    client = aiomqtt.Client(
        host,
        int(port),
        identifier="worker-1",
        session=session,
        ack="manual",
        reconnect=aiomqtt.Reconnect(initial=True),
    )
    async with client:
        async with session.transaction() as tx:
            await tx.execute(TABLE)
        await client.subscribe("sensors/+/temperature", qos=2)
        print("ready", flush=True)
        async for message in client.messages:
            await process(session, message)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
