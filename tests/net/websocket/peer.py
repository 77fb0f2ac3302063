"""A WebSocket server whose scripts read and write raw frames."""

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(opcode: int, payload: bytes = b"", *, first: int = 0x80) -> bytes:
    """A frame of a server, which is not masked."""
    size = len(payload)
    if size < 126:
        length = bytes([size])
    elif size < 65_536:
        length = b"\x7e" + size.to_bytes(2, "big")
    else:
        length = b"\x7f" + size.to_bytes(8, "big")
    return bytes([first | opcode]) + length + payload


def masked_frame(opcode: int, payload: bytes = b"", mask: bytes = b"\1\2\3\4") -> bytes:
    """A frame of a client."""
    plain = frame(opcode, payload)
    start = len(plain) - len(payload)
    head = bytes([plain[0], plain[1] | 0x80]) + plain[2:start]
    return head + mask + unmask(payload, mask)


def unmask(data: bytes, mask: bytes) -> bytes:
    plain = bytearray(data)
    for start, key in enumerate(mask):
        table = bytes(byte ^ key for byte in range(256))
        plain[start::4] = data[start::4].translate(table)
    return bytes(plain)


def accept_key(request: bytes) -> bytes:
    for line in request.split(b"\r\n"):
        name, _, value = line.partition(b": ")
        if name.lower() == b"sec-websocket-key":
            return base64.b64encode(hashlib.sha1(value + GUID).digest())
    raise AssertionError("no Sec-WebSocket-Key")


def agreement(request: bytes, *more: bytes, protocol: bytes | None = b"mqtt") -> bytes:
    """The answer that opens the WebSocket."""
    lines = [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + accept_key(request),
        *more,
    ]
    if protocol is not None:
        lines.append(b"Sec-WebSocket-Protocol: " + protocol)
    return b"\r\n".join(lines) + b"\r\n\r\n"


class Peer:
    """The server's end of one connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader = reader
        self._writer = writer
        self.request = b""

    async def read_request(self) -> bytes:
        self.request = await self._reader.readuntil(b"\r\n\r\n")
        return self.request

    def agree(self, *more: bytes, **options: Any) -> None:
        self.send(agreement(self.request, *more, **options))

    async def open(self) -> None:
        await self.read_request()
        self.agree()

    async def accept(self) -> None:
        """Open, and accept the MQTT connection."""
        await self.open()
        opcode, payload = await self.read_frame()
        assert (opcode, payload[0]) == (BINARY, 0x10)
        self.send(frame(BINARY, b"\x20\x02\x00\x00"))

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def drain(self) -> None:
        await self._writer.drain()

    async def read_frame(self) -> tuple[int, bytes]:
        """The opcode and the payload of the next frame, which has to be masked."""
        first, second = await self._reader.readexactly(2)
        assert first & 0xF0 == 0x80
        assert second & 0x80, "the frame is not masked"
        size = second & 0x7F
        if size == 126:
            size = int.from_bytes(await self._reader.readexactly(2), "big")
        elif size == 127:
            size = int.from_bytes(await self._reader.readexactly(8), "big")
        mask = await self._reader.readexactly(4)
        return first & 15, unmask(await self._reader.readexactly(size), mask)

    async def read_bytes(self, size: int) -> bytes:
        """The next bytes of MQTT, of as many frames as it takes."""
        got = b""
        while len(got) < size:
            opcode, payload = await self.read_frame()
            assert opcode == BINARY
            got += payload
        assert len(got) == size
        return got

    async def expect(self, opcode: int) -> bytes:
        came, payload = await self.read_frame()
        assert came == opcode, (came, payload)
        return payload

    async def goodbye(self) -> None:
        """Take the DISCONNECT and the Close frame, and answer that."""
        assert (await self.expect(BINARY))[0] == 0xE0
        self.send(frame(CLOSE, await self.expect(CLOSE)))

    async def read_rest(self) -> bytes:
        with contextlib.suppress(ConnectionError):
            return await self._reader.read()
        return b""

    def close(self) -> None:
        self._writer.close()


Script = Callable[[Peer], Awaitable[object]]


@contextlib.asynccontextmanager
async def serve(script: Script, *, tls: Any = None) -> AsyncIterator[int]:
    """Run a script on each connection; gives the port."""
    runs: list[asyncio.Task[None]] = []
    writers = []

    async def run(peer: Peer) -> None:
        async with asyncio.timeout(5):
            await script(peer)

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        runs.append(asyncio.ensure_future(run(Peer(reader, writer))))

    listener = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    try:
        yield listener.sockets[0].getsockname()[1]
        for done in runs:
            await done
    finally:
        listener.close()
        for done in runs:
            done.cancel()
        await asyncio.gather(*runs, return_exceptions=True)
        for writer in writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await listener.wait_closed()
