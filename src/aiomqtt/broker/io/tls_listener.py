"""Where connections with TLS come in: the handshake, before there is a link."""

import asyncio
import contextlib
import socket
import ssl
from functools import partial
from typing import TYPE_CHECKING

from aiomqtt.escaping import escape

from .connection_protocol import ConnectionProtocol

if TYPE_CHECKING:
    from .server import ConnectionSet

# After an error of the system, such as too many open files, in seconds.
PAUSE = 0.1


class TlsListener:
    """Accepts TCP connections and lets in who completes a TLS handshake.

    `loop.create_server` would do the same, but it does not count who never completes
    one, and says nothing of a handshake that fails.
    """

    def __init__(
        self, server: "ConnectionSet", context: ssl.SSLContext, sock: socket.socket
    ) -> None:
        """Accept the connections of a socket that listens; close it at the end."""
        self._server = server
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        self._task = self._loop.create_task(self._accept())

    def close(self) -> None:
        """Accept nothing more."""
        self._task.cancel()
        self._task.add_done_callback(lambda _: self._socket.close())

    async def wait_closed(self) -> None:
        """Wait until the address is free again."""
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._socket.close()

    async def _accept(self) -> None:
        server = self._server
        while True:
            try:
                accepted, address = await self._loop.sock_accept(self._socket)
            except OSError as error:
                server.logger.warning("A connection could not be accepted: %s", error)
                await asyncio.sleep(PAUSE)
                continue
            name = f"{address[0]}:{address[1]}"
            if server.is_full:
                server.refused(name)
                accepted.close()
                continue
            task = self._loop.create_task(self._greet(accepted, name))
            server.handshakes.add(task)
            task.add_done_callback(server.handshakes.discard)

    async def _greet(self, accepted: socket.socket, name: str) -> None:
        """Complete a handshake."""
        server = self._server
        try:
            await self._loop.connect_accepted_socket(
                partial(ConnectionProtocol, server, self._loop.time()),
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=server.core.limits.connect_timeout,
            )
        except OSError as error:
            accepted.close()
            server.logger.info(
                "TLS handshake with %s failed: %s",
                name,
                escape(str(error) or repr(error)),
            )
        except asyncio.CancelledError:
            accepted.close()
            raise
