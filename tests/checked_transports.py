"""The published checks of transports, run over sockets of TCP on loopback."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any
from unittest import mock

from aiomqtt import TLSParameters
from aiomqtt.net import closing
from aiomqtt.net.connect import open_connection
from aiomqtt.net.target import Proxy, TcpTarget, WebSocketTarget
from aiomqtt.net.websocket.server import ServerHandshake
from aiomqtt.testing import check_transport
from aiomqtt.testing.checks import Connect
from tests.certificates import Certificates
from tests.own_broker import server_context
from tests.raw_scripts import SMALL_SEND_BUFFER

SCHEMES = ("mqtt", "mqtts", "ws", "wss")


async def check_scheme(
    scheme: str, certificates: Certificates, proxy: Proxy | None = None
) -> None:
    """Check the transport of a scheme, perhaps through a proxy."""
    # A machine that is busy may need more than a second for what is on its way.
    with mock.patch.object(closing, "LINGER", 30):
        await check_transport(connect_by(scheme, certificates, proxy))


def connect_by(
    scheme: str, certificates: Certificates, proxy: Proxy | None = None
) -> Connect:
    """Return what connects a protocol of a client and one of a server by a scheme."""
    context: ssl.SSLContext | None = None
    # A proxy has buffers too: it must not get everything in some turns of the loop.
    options: dict[str, Any] = {"proxy": proxy, "socket_options": SMALL_SEND_BUFFER}
    if scheme.endswith("s") and scheme != "ws":
        context = server_context(certificates.server)
        options["tls_params"] = TLSParameters(ca_certs=str(certificates.ca_file))
    target_of = WebSocketTarget if scheme.startswith("ws") else TcpTarget

    @contextlib.asynccontextmanager
    async def connect(client: Any, server: Any) -> AsyncIterator[None]:
        factory = server
        if target_of is WebSocketTarget:

            def factory() -> ServerHandshake:
                return ServerHandshake(server, 5, lambda *_: True, lambda *_: None)

        # Each connection has a port of its own: a proxy may connect to it after the
        # client was cancelled.
        async with listening(factory, context) as port:
            await open_connection(target_of("127.0.0.1", port, **options), client)
            yield

    return connect


@contextlib.asynccontextmanager
async def listening(factory: Any, context: ssl.SSLContext | None) -> AsyncIterator[int]:
    """Accept connections; yield the port.

    A server of asyncio, and its `sock_accept`, may leave a socket open if they are
    ended while they accept it. Here a connection that has come is accepted in any case.
    """
    loop = asyncio.get_running_loop()
    accepted: list[asyncio.Future[None]] = []

    def accept() -> None:
        sock, _ = listener.accept()
        accepted.append(asyncio.ensure_future(establish(sock)))

    async def establish(sock: socket.socket) -> None:
        # The client may be gone before TLS is established.
        with contextlib.suppress(OSError):
            await loop.connect_accepted_socket(factory, sock, ssl=context)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        loop.add_reader(listener, accept)
        try:
            yield listener.getsockname()[1]
        finally:
            loop.remove_reader(listener)
            if accepted:
                await asyncio.wait(accepted)
