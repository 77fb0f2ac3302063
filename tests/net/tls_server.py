"""A TLS server of blocking sockets, which decides what is in each record."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor

from tests.raw_scripts import CEILING


@contextlib.asynccontextmanager
async def serving(
    context: ssl.SSLContext, converse: Callable[[ssl.SSLSocket], None]
) -> AsyncIterator[int]:
    """Serve one connection in a thread; the port.

    Each `send` of up to 16 KiB makes one record. A failed handshake ends without a RST,
    so that the client gets the alert.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(CEILING)

    def serve() -> None:
        with listener.accept()[0] as accepted:
            accepted.settimeout(CEILING)
            tls = context.wrap_socket(
                accepted, server_side=True, do_handshake_on_connect=False
            )
            try:
                tls.do_handshake()
            except ssl.SSLError:
                with socket.socket(fileno=tls.detach()) as plain:
                    plain.settimeout(CEILING)
                    read_to_the_end(plain)
                return
            with tls:
                converse(tls)
                tls.settimeout(CEILING)
                read_to_the_end(tls)

    with listener, ThreadPoolExecutor(1) as pool:
        served = asyncio.wrap_future(pool.submit(serve))
        try:
            yield listener.getsockname()[1]
        finally:
            # The loop has to turn meanwhile, to close the client's socket.
            await asyncio.wait([served])
        await served


def read_to_the_end(sock: socket.socket) -> None:
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while sock.recv(65_536):
            pass


def read_packet(tls: ssl.SSLSocket) -> tuple[int, bytes]:
    """Read a packet of MQTT: its first byte, and its body."""
    first = read_exactly(tls, 1)[0]
    length = shift = 0
    while True:
        byte = read_exactly(tls, 1)[0]
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return first, read_exactly(tls, length)


def read_exactly(tls: ssl.SSLSocket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        more = tls.recv(size - len(data))
        assert more, "the client closed"
        data += more
    return bytes(data)
