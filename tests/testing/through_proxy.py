"""A connection through a fault proxy to a server that sends back what it gets."""

import asyncio
import contextlib
from typing import Any, Self

from aiomqtt.testing import FaultProxy
from tests.until import until

SOON = 5.0
CONNECT_BYTES = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01x"


class Echo:
    """A server of bytes: it sends back what it gets, and keeps how it came."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.ends: list[str] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await self._server.wait_closed()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._writers.append(writer)
        try:
            while data := await reader.read(65_536):
                self.chunks.append(data)
                writer.write(data)
            self.ends.append("closed")
        except ConnectionError:
            self.ends.append("reset")
        writer.close()


@contextlib.asynccontextmanager
async def through(**options: Any) -> Any:
    """A proxy before an echo, and a connection through it."""
    async with (
        Echo() as echo,
        FaultProxy("127.0.0.1", echo.port, **options) as proxy,
    ):
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        try:
            yield echo, proxy, reader, writer
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def rest(reader: asyncio.StreamReader) -> bytes:
    """Return all bytes up to the end, however it ends."""
    data = bytearray()
    async with asyncio.timeout(SOON):
        try:
            while more := await reader.read(1000):
                data += more
        except ConnectionError:
            data += b"(reset)"
    return bytes(data)


async def until_triggered(proxy: FaultProxy, count: int) -> None:
    await until(lambda: proxy.triggered >= count)


def publish(payload: bytes) -> bytes:
    return b"\x30" + bytes([3 + len(payload)]) + b"\x00\x01t" + payload
