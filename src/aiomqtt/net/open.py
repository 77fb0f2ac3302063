"""Opening a connection, by whichever transport.

Each transport is a module with one function; it is imported when it is first used.
"""

import asyncio
from collections.abc import Callable

from .target import Target


async def open_connection(
    target: Target, factory: Callable[[], asyncio.Protocol]
) -> None:
    """Connect a protocol to a target; returns when bytes can be sent.

    `connection_made` has been called then. When cancelled, or on an error, nothing is
    left behind, unless the protocol has its transport already: then it is the
    protocol's to close.

    Raises:
        MqttError: It failed; the message says to where and why.
    """
    if target.transport == "memory":
        from .memory import open_memory

        await open_memory(target.hostname, factory)
    else:
        from .tcp import open_tcp

        await open_tcp(target, factory)
