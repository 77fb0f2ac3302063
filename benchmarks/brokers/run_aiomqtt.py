"""The broker of this checkout, as `async with aiomqtt.Broker()` gives it."""

from __future__ import annotations

import asyncio
import json
from importlib.metadata import version

import aiomqtt


async def serve() -> None:
    async with aiomqtt.Broker() as broker:
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
