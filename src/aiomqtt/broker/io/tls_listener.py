"""Accept connections with TLS, and complete their handshakes."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from aiomqtt.escaping import escape

if TYPE_CHECKING:
    from .connection_set import ConnectionSet

# The wait after an error of the system, such as too many open files, in seconds.
ACCEPT_RETRY_DELAY = 0.1


class TlsListener:
    """Accepts TCP connections that complete a TLS handshake.

    `loop.create_server` would do the same, but it does not count connections that never
    complete one, and doesn't report failed handshakes.
    """

    def __init__(
        self,
        connection_set: "ConnectionSet",
        context: ssl.SSLContext,
        sock: socket.socket,
        factory: Callable[[float], asyncio.Protocol],
    ) -> None:
        """Accept the connections of a socket that listens; close it at the end."""
        self._connection_set = connection_set
        self._context = context
        self._factory = factory
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        self._task = self._loop.create_task(self._accept())

    def close(self) -> None:
        """Accept no more connections."""
        self._task.cancel()
        self._task.add_done_callback(lambda _: self._socket.close())

    async def wait_closed(self) -> None:
        """Wait until the address is free again."""
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._socket.close()

    async def _accept(self) -> None:
        connection_set = self._connection_set
        while True:
            try:
                accepted, address = await self._loop.sock_accept(self._socket)
            except OSError as error:
                connection_set.logger.warning(
                    "A connection could not be accepted: %s", error
                )
                await asyncio.sleep(ACCEPT_RETRY_DELAY)
                continue
            name = f"{address[0]}:{address[1]}"
            if not connection_set.admits(name):
                accepted.close()
                continue
            task = self._loop.create_task(self._greet(accepted, name))
            connection_set.handshakes.add(task)
            task.add_done_callback(connection_set.handshakes.discard)

    async def _greet(self, accepted: socket.socket, name: str) -> None:
        """Complete a handshake."""
        connection_set = self._connection_set
        accepted_at = self._loop.time()
        try:
            await self._loop.connect_accepted_socket(
                lambda: self._factory(accepted_at),
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=connection_set.state.limits.connect_timeout,
            )
        except OSError as error:
            accepted.close()
            connection_set.logger.info(
                "TLS handshake with %s failed: %s",
                name,
                escape(str(error) or repr(error)),
            )
        except asyncio.CancelledError:
            accepted.close()
            raise
