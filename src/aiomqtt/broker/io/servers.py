"""Servers that accept the broker's connections: TCP, TLS, WebSocket, Unix sockets."""

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from .connection_protocol import ConnectionProtocol, address_of
from .connection_set import ConnectionSet
from .tls_listener import TlsListener

# Makes the protocol of a connection that was accepted at a time of the loop's clock.
Factory: TypeAlias = Callable[[float], asyncio.Protocol]


async def start_servers(
    connection_set: ConnectionSet,
    sockets: list[socket.socket],
    backlog: int,
    ssl_context: ssl.SSLContext | None,
    websocket: bool,
) -> list["asyncio.Server | TlsListener"]:
    """Accept the connections of sockets that listen; if cancelled, close all of them.

    Raises:
        ImportError: The package for WebSocket is missing.
    """
    try:
        factory = make_factory(connection_set, websocket)
    except ImportError:
        for sock in sockets:
            sock.close()
        raise
    if ssl_context is not None:
        return [
            TlsListener(connection_set, ssl_context, sock, factory) for sock in sockets
        ]
    loop = asyncio.get_running_loop()
    # It returns at once, and then there is a server to close.
    servers = [
        await loop.create_server(
            lambda: factory(loop.time()),
            sock=sock,
            backlog=backlog,
            start_serving=False,
        )
        for sock in sockets
    ]
    try:
        for server in servers:
            await server.start_serving()
    except BaseException:
        for server in servers:
            server.close()
        raise
    return [*servers]


def make_factory(connection_set: ConnectionSet, websocket: bool) -> Factory:
    """Return the factory for the protocols of accepted connections."""

    def make(accepted_at: float) -> ConnectionProtocol:
        return ConnectionProtocol(connection_set, accepted_at)

    if not websocket:
        return make
    try:
        from aiomqtt.net.websocket.server import ServerHandshake
    except ImportError as error:
        msg = 'WebSocket needs a package: pip install "aiomqtt[websockets]"'
        raise ImportError(msg) from error

    def make_handshake(accepted_at: float) -> ServerHandshake:
        return ServerHandshake(
            lambda: make(accepted_at),
            connection_set.state.limits.connect_timeout,
            begin,
            end,
        )

    names: dict[ServerHandshake, str] = {}

    def begin(handshake: ServerHandshake, transport: asyncio.BaseTransport) -> bool:
        name = address_of(transport)
        if not connection_set.admits(name):
            return False
        names[handshake] = name
        connection_set.upgrades.add(handshake)
        return True

    def end(handshake: ServerHandshake, reason: str | None) -> None:
        connection_set.upgrades.discard(handshake)
        name = names.pop(handshake)
        if reason is not None:
            connection_set.logger.info(
                "WebSocket handshake with %s failed: %s", name, reason
            )

    return make_handshake


class UnixListener:
    """Accepts the connections of a Unix socket; its path goes when it is closed."""

    def __init__(self, server: asyncio.Server, path: Path) -> None:
        self._server = server
        self._path = path
        self._inode = path.stat().st_ino

    def close(self) -> None:
        """Accept no more connections, and remove the path."""
        self._server.close()
        with contextlib.suppress(OSError):
            # Another process may have a socket there by now.
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()

    async def wait_closed(self) -> None:
        """Wait until the socket is closed."""
        await self._server.wait_closed()


async def start_unix_server(
    connection_set: ConnectionSet, path: str, backlog: int
) -> UnixListener:
    """Accept the connections of a Unix socket, which is made.

    A socket that another process has left behind at the path is replaced. If cancelled,
    the socket is closed and its path removed.

    Raises:
        OSError: It is impossible to listen on the path.
    """
    loop = asyncio.get_running_loop()
    factory = make_factory(connection_set, websocket=False)
    sock = _open_unix(path, backlog)
    server = await loop.create_unix_server(
        lambda: factory(loop.time()), sock=sock, backlog=backlog, start_serving=False
    )
    listener = UnixListener(server, Path(path))
    try:
        await server.start_serving()
    except BaseException:
        listener.close()
        raise
    return listener


def _open_unix(path: str, backlog: int) -> socket.socket:
    """Return a socket that listens on a path."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            sock.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _is_left_behind(path):
                raise
            Path(path).unlink()
            sock.bind(path)
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        reason = os.strerror(error.errno) if error.errno else str(error)
        error.strerror = f"can't listen on {path}: {reason}"
        raise
    return sock


def _is_left_behind(path: str) -> bool:
    """Whether a path is a socket that no process listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return Path(path).is_socket()
        except OSError:
            return False
    return False
