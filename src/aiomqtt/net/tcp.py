"""Connecting by TCP: first dialing, perhaps through a proxy, then TLS if asked for."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Final

from aiomqtt.exceptions import MqttError

from .buffers import keep_large_blocks
from .dial import dial
from .explain import TLS_EXPECTED, explain, explain_handshake
from .interruption import waiting
from .target import TcpTarget

# The handshake ends with the attempt to connect, whose timeout may be longer than that
# of the event loop, in seconds.
NO_LIMIT: Final = 1e9


async def open_tcp(target: TcpTarget, factory: Callable[[], asyncio.Protocol]) -> None:
    """Connect a protocol to a target; return when TLS is established, too.

    A cancellation or an error leaves no socket behind, unless the protocol already has
    its transport: then the protocol must close it.

    Raises:
        MqttError: The connection failed; the message names the target and the reason,
            `__cause__` is the OSError or ssl.SSLError.
        CallableError: The callable for `tls_context` raised an exception.
    """
    keep_large_blocks()
    loop = asyncio.get_running_loop()
    describe_error = explain
    try:
        context = await _load_context(target) if target.uses_tls else None
        sock = await _open_socket(target)
        if context is not None:
            describe_error = explain_handshake
        await _start(loop, target, sock, context, factory)
    except OSError as error:
        msg = f"Could not connect to {target}: {describe_error(error)}"
        raise MqttError(msg) from error
    except UnicodeError as error:
        # Python's text for it depends on the version.
        reason = "the host name is malformed: its parts must have 1 to 63 characters"
        raise MqttError(f"Could not connect to {target}: {reason}") from error


async def _load_context(target: TcpTarget) -> ssl.SSLContext | None:
    # Connections without TLS have no need of it.
    from .tls import load_context

    return await load_context(
        target.tls_context, target.tls_params, target.tls_insecure
    )


async def _open_socket(target: TcpTarget) -> socket.socket:
    """Return a socket that is connected to the host, if need be through the proxy."""
    local = (target.bind_address, target.bind_port, target.socket_options)
    proxy = target.proxy
    if proxy is None:
        return await dial(target.hostname, target.port, *local)
    try:
        from .proxy.tunnel import open_tunnel
    except ImportError as error:
        reason = 'a proxy needs a package: pip install "aiomqtt[proxy]"'
        raise MqttError(f"Could not connect to {target}: {reason}") from error

    return await open_tunnel(target, proxy)


async def _start(
    loop: asyncio.AbstractEventLoop,
    target: TcpTarget,
    sock: socket.socket,
    context: ssl.SSLContext | None,
    factory: Callable[[], asyncio.Protocol],
) -> None:
    """Connect a protocol to a socket, whose transport closes it, whatever happens."""
    if context is None:
        await loop.create_connection(factory, sock=sock)
        return
    missing = f"{target} did not complete the TLS handshake"
    with waiting(missing, TLS_EXPECTED):
        await loop.create_connection(
            factory,
            sock=sock,
            ssl=context,
            server_hostname=target.tls_name,
            ssl_handshake_timeout=NO_LIMIT,
        )
