"""The memory of this process, and of an idle client in it.

python -m tests.soak.memory HOST PORT CLIENTS    prints bytes for each client
"""

import asyncio
import contextlib
import gc
import os
import sys
from pathlib import Path

import aiomqtt

WARM_UP = 50  # clients; the first ones pay for what all of them share


def resident() -> int:
    """The resident memory of this process, in bytes."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


async def measure(host: str, port: int, count: int) -> int:
    async with contextlib.AsyncExitStack() as stack:

        async def connect(number: int) -> list[aiomqtt.Client]:
            return [
                await stack.enter_async_context(aiomqtt.Client(host, port))
                for _ in range(number)
            ]

        kept = await connect(WARM_UP)
        gc.collect()
        before = resident()
        kept += await connect(count)
        gc.collect()
        return (resident() - before) // count


if __name__ == "__main__":
    print(asyncio.run(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
