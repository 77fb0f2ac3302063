"""The opening handshake of a server: what it agrees to, and what it refuses."""

import asyncio
import contextlib
from typing import Any

import pytest

from aiomqtt.net.websocket.server import ServerHandshake
from tests.net.websocket.peer import BINARY, CLOSE, accept_key, frame, masked_frame

KEY = b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
GOOD = (
    b"GET /mqtt HTTP/1.1",
    b"Host: a",
    b"Upgrade: websocket",
    b"Connection: keep-alive, Upgrade",
    b"Sec-WebSocket-Version: 13",
    KEY,
)
OFFER = b"Sec-WebSocket-Protocol: chat, mqtt"


def request(*lines: bytes) -> bytes:
    return b"\r\n".join([*lines, b"", b""])


class Echo(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Server:
    """Counts what its handshakes report."""

    def __init__(self, timeout: float, takes: bool) -> None:
        self.timeout = timeout
        self.takes = takes
        self.pending: list[ServerHandshake] = []
        self.reasons: list[str | None] = []
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()

    def begin(self, handshake: ServerHandshake, transport: Any) -> bool:
        assert transport.get_extra_info("peername")
        if self.takes:
            self.pending.append(handshake)
            self.begun.set()
        return self.takes

    def end(self, handshake: ServerHandshake, reason: str | None) -> None:
        self.pending.remove(handshake)
        self.reasons.append(reason)
        self.ended.set()

    def make(self) -> ServerHandshake:
        return ServerHandshake(Echo, self.timeout, self.begin, self.end)


@contextlib.asynccontextmanager
async def serve(timeout: float = 5, takes: bool = True):
    server = Server(timeout, takes)
    loop = asyncio.get_running_loop()
    async with await loop.create_server(server.make, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.timeout(5):
                yield server, reader, writer
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            await asyncio.sleep(0.01)
    assert server.pending == []


@pytest.mark.parametrize("step", [1, 1000])
@pytest.mark.parametrize("name", [b"mqtt", b"mqttv3.1"])
async def test_a_request_that_is_agreed_to(step, name):
    async with serve() as (server, reader, writer):
        asked = request(*GOOD, b"Sec-WebSocket-Protocol: chat, " + name)
        asked += masked_frame(BINARY, b"1")
        for start in range(0, len(asked), step):
            writer.write(asked[start : start + step])
            await asyncio.sleep(0)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert b"\r\nSec-WebSocket-Accept: " + accept_key(KEY) + b"\r\n" in answer
        assert b"\r\nSec-WebSocket-Protocol: " + name + b"\r\n" in answer
        assert await reader.readexactly(3) == frame(BINARY, b"1")
        writer.write(masked_frame(CLOSE, b"\x03\xe8"))
        assert await reader.read() == frame(CLOSE, b"\x03\xe8")
        assert server.reasons == [None]


REFUSED = {
    "no sub-protocol": (request(*GOOD), b"400 "),
    "other sub-protocol": (request(*GOOD, b"Sec-WebSocket-Protocol: chat"), b"400 "),
    "no upgrade": (request(*GOOD[:2], *GOOD[3:], OFFER), b"426 "),
    "old version": (
        request(*GOOD[:4], b"Sec-WebSocket-Version: 8", KEY, OFFER),
        b"400 ",
    ),
    "no key": (request(*GOOD[:5], OFFER), b"400 "),
}


@pytest.mark.parametrize(("asked", "status"), [*REFUSED.values()], ids=[*REFUSED])
async def test_a_request_that_is_refused(asked, status):
    async with serve() as (server, reader, writer):
        writer.write(asked)
        assert (await reader.read()).startswith(b"HTTP/1.1 " + status)
        [reason] = server.reasons
        assert reason


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (b"\x10\x0c\0\4MQTT", "the request is no HTTP"),
        (b"\x16\x03\x01\x02\x00\x01", "the request is no HTTP"),
        (b"\r\n\r\n", "the request is no HTTP"),
        (b"GET\r\n\r\n", "the request is malformed"),
        (b"GET /" + b"a" * 70_000, "the request is too large"),
    ],
)
async def test_what_is_no_request(asked, reason):
    async with serve() as (server, reader, writer):
        writer.write(asked)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        assert server.reasons == [reason]


async def test_a_client_that_asks_for_nothing_is_cut():
    async with serve(0.05) as (server, reader, _):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        assert server.reasons == ["no request came within 0.05 seconds"]


async def test_a_client_that_leaves():
    async with serve() as (server, _, writer):
        writer.close()
        await server.ended.wait()
        assert server.reasons == ["the client closed the connection"]


async def test_a_handshake_that_is_cut():
    async with serve() as (server, reader, _):
        await server.begun.wait()
        server.pending[0].abort()
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        assert server.reasons == ["the handshake was cut off"]


async def test_a_connection_that_is_not_accepted():
    async with serve(takes=False) as (server, reader, _):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        assert server.reasons == []
