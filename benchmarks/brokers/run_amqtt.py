"""amqtt's broker with the one plug-in that it needs: anybody may connect.

By default it also logs each packet and publishes its counts.
"""

from __future__ import annotations

import asyncio
import json
import logging
from importlib.metadata import version
from typing import Any

from amqtt.broker import Broker

CONFIGURATION: dict[str, Any] = {
    "listeners": {"default": {"type": "tcp", "bind": "127.0.0.1:0"}},
    "plugins": {
        "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}
    },
}


async def serve() -> None:
    broker = Broker(CONFIGURATION)
    await broker.start()
    port = broker._servers["default"].instance.sockets[0].getsockname()[1]
    print(json.dumps({"port": port, "version": version("amqtt")}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    asyncio.run(serve())
