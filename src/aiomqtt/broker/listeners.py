"""Where a broker accepts connections: its name, and the addresses it listens on."""

import asyncio
import ssl
from functools import partial
from typing import Final, NamedTuple, TypeAlias

from aiomqtt.net import memory

from .io.connection_protocol import ConnectionProtocol
from .io.connection_set import ConnectionSet
from .io.listening import open_sockets
from .io.servers import UnixListener, start_servers, start_unix_server
from .io.tls_listener import TlsListener

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

    def listen_in_memory(self, connection_set: ConnectionSet, name: str) -> None:
        """Accept the connections of this process by a name.

        Raises:
            ValueError: The name is already used.
        """
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
        self._servers += await start_servers(
            connection_set, sockets, BACKLOG, ssl_context, websocket
        )
        scheme = "ws" if websocket else "mqtt"
        if ssl_context is not None:
            scheme += "s"
        shown = f"[{host}]" if ":" in host else host
        path = "/mqtt" if websocket else ""
        listener = Listener(host, port, f"{scheme}://{shown}:{port}{path}")
        self.opened.append(listener)
        return listener

    async def listen_unix(self, connection_set: ConnectionSet, path: str) -> Listener:
        """Listen on a Unix socket; see `Broker.listen_unix`."""
        self._servers.append(await start_unix_server(connection_set, path, BACKLOG))
        # Most programs need it never.
        from urllib.parse import quote

        slashes = "//" if path.startswith("/") else ""
        listener = Listener(path, 0, f"unix:{slashes}{quote(path)}")
        self.opened.append(listener)
        return listener

    def close(self) -> list[Server]:
        """Accept no more connections; return the servers, which are closing."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None
        closing, self._servers = self._servers, []
        self.opened.clear()
        for server in closing:
            server.close()
        return closing
