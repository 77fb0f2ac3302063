"""Log readings to a table, and publish them: `sensor.py HOST PORT FILE [SECONDS]`.

Each reading is stored and published in one transaction: kill it at any moment, and
there is no row without a message, and no message without a row.
"""

import asyncio
import json
import random
import sys

import aiomqtt

TABLE = """
CREATE TABLE IF NOT EXISTS readings (
    number INTEGER PRIMARY KEY, temperature REAL NOT NULL
)
"""


def read_temperature() -> float:
    return round(random.uniform(15, 25), 1)


async def log(session: aiomqtt.SQLiteSession) -> None:
    async with session.transaction() as tx:
        insert = "INSERT INTO readings (temperature) VALUES (?) RETURNING *"
        [(number, temperature)] = await tx.execute(insert, (read_temperature(),))
        tx.publish("sensors/1/temperature", json.dumps([number, temperature]), qos=2)


async def main(host: str, port: str, file: str, seconds: str = "1") -> None:
    session = aiomqtt.SQLiteSession(file)
    client = aiomqtt.Client(
        host,
        int(port),
        identifier="sensor-1",
        session=session,
        reconnect=aiomqtt.Reconnect(initial=True),
        # Without a connection, only the disk limits how much is logged.
        offline=aiomqtt.OfflineQueue(max_messages=None, max_bytes=None),
    )
    async with client:
        async with session.transaction() as tx:
            await tx.execute(TABLE)
        print("ready", flush=True)
        while True:
            await log(session)
            await asyncio.sleep(float(seconds))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
