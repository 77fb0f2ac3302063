"""Connecting, by any transport: one row for each.

A transport has a class of targets, which lists the arguments that it accepts, and a
function that connects. The module of the function is imported on first use.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple, TypeAlias

from aiomqtt.exceptions import MqttError

from .target import MemoryTarget, Target, TcpTarget, UnixTarget, WebSocketTarget

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


async def _open_websocket(target: WebSocketTarget, factory: Factory) -> None:
    try:
        from .websocket.client import open_websocket
    except ImportError as error:
        reason = 'WebSocket needs a package: pip install "aiomqtt[websockets]"'
        raise MqttError(f"Could not connect to {target}: {reason}") from error

    await open_websocket(target, factory)


class Transport(NamedTuple):
    """A way to connect."""

    target: type[Target]
    # Connects a protocol to a target of that class, as `open_connection` does.
    open: Callable[[Any, Factory], Coroutine[Any, Any, None]]


# By the value of `Client`'s argument `transport`.
TRANSPORTS: Final[dict[str, Transport]] = {
    "tcp": Transport(TcpTarget, _open_tcp),
    "websockets": Transport(WebSocketTarget, _open_websocket),
    "unix": Transport(UnixTarget, _open_unix),
    "memory": Transport(MemoryTarget, _open_memory),
}


async def open_connection(target: Target, factory: Factory) -> None:
    """Connect a protocol to a target; return when bytes can be sent.

    By then, `connection_made` has been called. A cancellation or an error leaves
    nothing behind, unless the protocol already has its transport: then the protocol
    must close it.

    Args:
        target: The target; its `transport` is a key of `TRANSPORTS`.
        factory: Creates the protocol.

    Raises:
        MqttError: The connection failed; the message names the target and the reason.
        CallableError: A callable of the program raised an exception.
    """
    await TRANSPORTS[target.transport].open(target, factory)
