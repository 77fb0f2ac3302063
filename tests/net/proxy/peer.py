"""A proxy, and the broker behind it, that send the bytes that a test tells them to."""

import asyncio
from typing import Any

from aiomqtt import Client, ProxySettings
from tests.peer import RawPeer, RawServer
from tests.raw_scripts import accept, goodbye

# The host as the client names it: nothing is connected to it.
HOST = "broker.example"
NAME = bytes([len(HOST)]) + HOST.encode()
PORT = (1883).to_bytes(2)

GREETING = b"\x05\x01\x00"
GREETING_WITH_PASSWORD = b"\x05\x02\x00\x02"
NO_METHOD_NEEDED = b"\x05\x00"
PASSWORD_NEEDED = b"\x05\x02"
REQUEST = b"\x05\x01\x00\x03" + NAME + PORT
GRANTED = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"
GRANTED_4 = b"\x00\x5a\x00\x50\x7f\x00\x00\x01"
OK = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n"


def settings(server: RawServer, kind: int, **options: Any) -> ProxySettings:
    return ProxySettings(
        proxy_type=kind, proxy_addr=server.host, proxy_port=server.port, **options
    )


def new_client(
    server: RawServer, kind: int, *, host: str = HOST, proxy: Any = None, **options: Any
) -> Client:
    return Client(host, proxy=settings(server, kind, **(proxy or {})), **options)


async def read(peer: RawPeer, *expected: bytes) -> bytes:
    """Read so many bytes as are expected, and compare them."""
    data = b"".join(expected)
    async with asyncio.timeout(5):
        found = await peer._reader.readexactly(len(data))
    assert found == data
    return found


async def read_head(peer: RawPeer) -> bytes:
    async with asyncio.timeout(5):
        return await peer._reader.readuntil(b"\r\n\r\n")


async def send_bytewise(peer: RawPeer, data: bytes) -> None:
    """Send one byte at a time, each in a segment of its own."""
    for byte in data:
        peer.send(bytes([byte]))
        await peer.drain()
        await asyncio.sleep(0.001)


async def serve_as_broker(peer: RawPeer) -> None:
    await accept(peer)
    await goodbye(peer)


async def agree(peer: RawPeer, kind: int) -> None:
    """Grant a request to `HOST`, without a password."""
    if kind == 1:
        await read(peer, b"\x04\x01", PORT, b"\0\0\0\1", b"\0", HOST.encode(), b"\0")
        peer.send(GRANTED_4)
    elif kind == 2:
        await read(peer, GREETING)
        peer.send(NO_METHOD_NEEDED)
        await read(peer, REQUEST)
        peer.send(GRANTED)
    else:
        head = await read_head(peer)
        assert head.startswith(b"CONNECT broker.example:1883 HTTP/1.1\r\n")
        assert b"\r\nHost: broker.example:1883\r\n" in head
        peer.send(OK)
