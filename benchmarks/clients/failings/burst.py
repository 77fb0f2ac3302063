"""Receive a burst of QoS 0 messages: `burst.py WAY PORT MESSAGES`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

HOST, FILTER = "127.0.0.1", "bench/#"

# The messages come at once; this is long after the last one.
SECONDS = 5.0


async def with_aiomqtt(port: int, messages: int) -> int:
    import aiomqtt

    count = 0
    async with aiomqtt.Client(
        HOST, port, protocol=aiomqtt.ProtocolVersion.V5
    ) as client:
        await client.subscribe(FILTER)
        try:
            async with asyncio.timeout(SECONDS):
                async for _ in client.messages:
                    count += 1
                    if count == messages:
                        break
        except TimeoutError:
            pass
    return count


async def with_aiomqtt_3(port: int, messages: int) -> int:
    import aiomqtt

    api: Any = aiomqtt  # the names are those of version 3
    count = 0
    async with api.Client(hostname=HOST, port=port, clean_start=True) as client:
        await client.subscribe(FILTER, max_qos=api.QoS.AT_MOST_ONCE)
        try:
            async with asyncio.timeout(SECONDS):
                async for _ in client.messages():
                    count += 1
                    if count == messages:
                        break
        except TimeoutError:
            pass
    return count


WAYS = {"aiomqtt": with_aiomqtt, "aiomqtt-3": with_aiomqtt_3}


if __name__ == "__main__":
    way, port, messages = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    count = asyncio.run(WAYS[way](port, messages))
    print(f"{count:,} of {messages:,} arrived")
    sys.exit(count != messages)
