"""The broker of this checkout, as `async with aiomqtt.Broker()` gives it.

With two arguments, a file and a durability, it has a store.
"""

from __future__ import annotations

import asyncio
import json
import sys
from importlib.metadata import version

import aiomqtt


async def serve() -> None:
    store = None
    if sys.argv[1:]:
        path, durability = sys.argv[1:]
        store = aiomqtt.SQLiteStore(
            path, durability="full" if durability == "full" else "normal"
        )
    async with aiomqtt.Broker(store=store) as broker:
        about = {
            "port": broker.port,
            "version": version("aiomqtt"),
            "build": getattr(aiomqtt, "__build__", "pure"),
        }
        print(json.dumps(about), flush=True)
        await asyncio.Event().wait()


def main() -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve())
    else:
        uvloop.run(serve())


if __name__ == "__main__":
    main()
