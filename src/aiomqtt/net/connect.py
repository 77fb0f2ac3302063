"""Connecting, by any transport: one row for each.

A transport has a class of targets, which says what arguments it takes, and a function
that connects. The module of the function is imported when it is first used.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple, TypeAlias

from .target import MemoryTarget, Target, TcpTarget, UnixTarget

Factory: TypeAlias = Callable[[], asyncio.Protocol]


async def _open_memory(target: MemoryTarget, factory: Factory) -> None:
    from .memory import open_memory

    await open_memory(target.hostname, factory)


async def _open_tcp(target: TcpTarget, factory: Factory) -> None:
    from .tcp import open_tcp

    await open_tcp(target, factory)


async def _open_unix(target: UnixTarget, factory: Factory) -> None:
    from .unix import open_unix

    await open_unix(target, factory)


class Transport(NamedTuple):
    """A way to connect."""

    target: type[Target]
    # Connects a protocol to a target of that class, as `open_connection` does.
    open: Callable[[Any, Factory], Coroutine[Any, Any, None]]


# By the name that `Client` takes as `transport`; None: not implemented yet.
TRANSPORTS: Final[dict[str, Transport | None]] = {
    "tcp": Transport(TcpTarget, _open_tcp),
    "websockets": None,
    "unix": Transport(UnixTarget, _open_unix),
    "memory": Transport(MemoryTarget, _open_memory),
}


async def open_connection(target: Target, factory: Factory) -> None:
    """Connect a protocol to a target; return when bytes can be sent.

    `connection_made` has been called then. When cancelled or on an error, nothing is
    left behind, unless the protocol already has its transport: then the protocol has to
    close it.

    Args:
        target: The target; its `transport` is a key of `TRANSPORTS`.
        factory: Makes the protocol.

    Raises:
        MqttError: It failed; the message says to where and why.
    """
    transport = TRANSPORTS[target.transport]
    assert transport is not None
    await transport.open(target, factory)
