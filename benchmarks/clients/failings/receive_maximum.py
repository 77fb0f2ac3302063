"""Publish more than a Receive Maximum allows in flight, at once.

Called as `receive_maximum.py WAY PORT MESSAGES OWN`. OWN is the client's own Receive
Maximum, which bounds what comes in; 0 is none.
"""

from __future__ import annotations

import asyncio
import sys

HOST, TOPIC = "127.0.0.1", "bench/temperature"

SECONDS = 5.0


async def with_aiomqtt(port: int, messages: int, own: int) -> None:
    import aiomqtt

    async with aiomqtt.Client(
        HOST,
        port,
        protocol=aiomqtt.ProtocolVersion.V5,
        properties=aiomqtt.Properties(receive_maximum=own) if own else None,
    ) as client:
        await asyncio.gather(
            *(client.publish(TOPIC, b"21.5", qos=1) for _ in range(messages))
        )


async def with_gmqtt(port: int, messages: int, own: int) -> None:
    import gmqtt
    from gmqtt.storage import PersistentStorage

    store = PersistentStorage()
    options = {"receive_maximum": own} if own else {}
    client = gmqtt.Client("gmqtt", persistent_storage=store, **options)
    await client.connect(HOST, port, version=5)
    try:
        for number in range(messages):
            try:
                client.publish(TOPIC, b"21.5", qos=1)
            except OverflowError as error:
                raise OverflowError(f"{error} (message {number + 1})") from error
        await store.wait_empty()
    finally:
        await client.disconnect()


WAYS = {"aiomqtt": with_aiomqtt, "gmqtt": with_gmqtt}


if __name__ == "__main__":
    way = sys.argv[1]
    port, messages, own = map(int, sys.argv[2:])
    asyncio.run(asyncio.wait_for(WAYS[way](port, messages, own), SECONDS))
    print(f"all {messages} acknowledged")
