"""Process each reading exactly once: `processor.py HOST PORT FILE DRIVER DATABASE`.

The session is in a file, and the rows are in a database of another kind, over one of
the drivers "sqlite3", "psycopg" and "asyncpg".
"""

import asyncio
import json
import sqlite3
import sys
from typing import Any

import aiomqtt

TABLE = "CREATE TABLE IF NOT EXISTS processed (id {}, number INTEGER NOT NULL)"
SERIAL = "SERIAL PRIMARY KEY"


async def connect(driver: str, database: str) -> tuple[Any, str]:
    """Connect, and create the tables; return the connection and a parameter's style."""
    if driver == "sqlite3":
        file = sqlite3.connect(database, check_same_thread=False)
        file.execute(aiomqtt.PROCESSED_TABLE)
        file.execute(TABLE.format("INTEGER PRIMARY KEY"))
        return file, "?"
    if driver == "psycopg":
        import psycopg

        server = psycopg.connect(database)
        server.execute(aiomqtt.PROCESSED_TABLE)
        server.execute(TABLE.format(SERIAL))
        server.commit()
        return server, "%s"
    import asyncpg

    connection = await asyncpg.connect(database)
    await connection.execute(f"{aiomqtt.PROCESSED_TABLE}; {TABLE.format(SERIAL)}")
    return connection, "$1"


async def main(host: str, port: str, file: str, driver: str, database: str) -> None:
    connection, parameter = await connect(driver, database)
    client = aiomqtt.Client(
        host,
        int(port),
        identifier="processor-1",
        session=aiomqtt.SQLiteSession(file),
        ack="manual",
        reconnect=aiomqtt.Reconnect(initial=True),
    )
    insert = f"INSERT INTO processed (number) VALUES ({parameter})"
    async with client:
        await client.subscribe("sensors/+/temperature", qos=2)
        print("ready", flush=True)
        async for message in client.messages:
            number, _ = json.loads(message.payload)
            async with message.transaction(connection) as tx:
                if not tx.repeated:
                    await tx.execute(insert, (number,))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
