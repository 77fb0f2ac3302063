"""Where a broker accepts connections: its name, and the addresses it listens on."""

import asyncio
import ssl
from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple, TypeAlias

from aiomqtt.net import memory

from .io.connection_protocol import ConnectionProtocol
from .io.connection_set import ConnectionSet
from .io.listening import open_sockets
from .io.servers import UnixListener, start_servers, start_unix_server
from .io.tls_listener import TlsListener

NOT_RUNNING: Final = "The broker is not running."
# The maximum number of connections that wait in the system to be accepted.
BACKLOG: Final = 1024

Server: TypeAlias = asyncio.Server | TlsListener | UnixListener


class Listener(NamedTuple):
    """An address that a broker listens on."""

    host: str
    port: int
    url: str


class Listeners:
    """Opens listeners while a broker runs, and closes all of them.

    Attributes:
        opened: The addresses, in the order in which they were opened.
    """

    def __init__(self) -> None:
        # Valid while the broker runs.
        self.opened: list[Listener] = []
        self._servers: list[Server] = []
        self._memory: memory.MemoryServer | None = None
        # None: it does not run.
        self._running: ConnectionSet | None = None

    def begin(self, connection_set: ConnectionSet, name: str) -> None:
        """Begin with a broker that was started: accept connections by its name.

        Raises:
            ValueError: The name is already used.
        """
        self._running = connection_set
        self._memory = memory.listen(name, partial(ConnectionProtocol, connection_set))

    async def listen(
        self,
        connection_set: ConnectionSet,
        host: str,
        port: int,
        ssl_context: ssl.SSLContext | None,
        websocket: bool,
    ) -> Listener:
        """Listen on an address; see `Broker.listen`."""
        sockets = await open_sockets(host, port, BACKLOG)
        port = sockets[0].getsockname()[1]
        servers = await start_servers(
            connection_set, sockets, BACKLOG, ssl_context, websocket
        )
        scheme = "ws" if websocket else "mqtt"
        if ssl_context is not None:
            scheme += "s"
        shown = f"[{host}]" if ":" in host else host
        path = "/mqtt" if websocket else ""
        listener = Listener(host, port, f"{scheme}://{shown}:{port}{path}")
        return self._keep(connection_set, servers, listener)

    async def listen_unix(self, connection_set: ConnectionSet, path: str) -> Listener:
        """Listen on a Unix socket; see `Broker.listen_unix`."""
        server = await start_unix_server(connection_set, path, BACKLOG)
        # Most programs need it never.
        from urllib.parse import quote

        slashes = "//" if path.startswith("/") else ""
        listener = Listener(path, 0, f"unix:{slashes}{quote(path)}")
        return self._keep(connection_set, [server], listener)

    def _keep(
        self,
        connection_set: ConnectionSet,
        servers: Sequence[Server],
        listener: Listener,
    ) -> Listener:
        """Keep servers that were started.

        Raises:
            RuntimeError: The broker was stopped meanwhile; they are closed.
        """
        if connection_set is not self._running:
            for server in servers:
                server.close()
            raise RuntimeError(NOT_RUNNING)
        self._servers += servers
        self.opened.append(listener)
        return listener

    def close(self) -> list[Server]:
        """Accept no more connections; return the servers, which are closing."""
        self._running = None
        if self._memory is not None:
            self._memory.close()
            self._memory = None
        closing, self._servers = self._servers, []
        self.opened.clear()
        for server in closing:
            server.close()
        return closing
