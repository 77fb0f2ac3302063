"""A broker whose scripts read and write raw bytes.

    async def script(peer):
        await peer.expect(CONNECT)
        peer.connack(4)
        first, body = await peer.expect(PUBLISH)
        peer.abort()

    async with serve(script) as server:
        async with aiomqtt.Client(server.host, server.port) as client:
            ...

It does not use the library's codec, so that it can send what no real broker would. For
conversations that follow the standard, `Script` is shorter.

When a script ends, its connection stays open until the server ends. An error in a
script fails the test, and so does a script that is still running after the test.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

from aiomqtt.net import memory
from aiomqtt.standard.tables import PacketType


class RawPeer:
    """The broker's end of one connection.

    Attributes:
        timeout: For how many seconds a read waits, and a script may run after the test.
    """

    timeout: float = 5.0

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader = reader
        self._writer = writer

    async def read_packet(self, waiting_for: str = "a packet") -> tuple[int, bytes]:
        """Return the next packet: its first byte, and its body without the length.

        Args:
            waiting_for: The packet that is expected, for the message.

        Raises:
            AssertionError: No packet came in time, or the client closed.
        """
        raw = bytearray()
        try:
            async with asyncio.timeout(self.timeout):
                raw += await self._reader.readexactly(1)
                length = shift = 0
                while True:
                    raw += await self._reader.readexactly(1)
                    length |= (raw[-1] & 0x7F) << shift
                    shift += 7
                    if raw[-1] < 0x80:
                        break
                    if shift >= 28:
                        msg = f"no length in {raw.hex(' ')}"
                        raise AssertionError(msg)
                body = await self._reader.readexactly(length)
        except TimeoutError:
            raise AssertionError(
                f"waited {self.timeout} s for {waiting_for}; "
                f"came: {raw.hex(' ') or 'nothing'}"
            ) from None
        except asyncio.IncompleteReadError as error:
            came = (raw + error.partial).hex(" ") or "nothing more"
            raise AssertionError(
                f"the client closed, waiting for {waiting_for}; came: {came}"
            ) from None
        except ConnectionError as error:
            raise AssertionError(
                f"the client cut the connection, waiting for {waiting_for}"
            ) from error
        return raw[0], body

    async def expect(self, kind: int) -> tuple[int, bytes]:
        """Read a packet and check its kind: ``expect(PUBLISH)``.

        Raises:
            AssertionError: Another packet or none came, or the client closed.
        """
        name = PacketType(kind).name
        first, body = await self.read_packet(name)
        if first >> 4 != kind:
            came = PacketType(first >> 4).name if first >> 4 else "0"
            raise AssertionError(
                f"expected {name}, got {came}: {first:02x} .. {body.hex(' ')}"
            )
        return first, body

    async def expect_end(self) -> None:
        """Wait until the client closes without sending another byte.

        Raises:
            AssertionError: The client sent something, or did not close in time.
        """
        try:
            async with asyncio.timeout(self.timeout):
                data = await self._reader.read(1000)
        except TimeoutError:
            raise AssertionError(
                f"the connection is still open after {self.timeout} s"
            ) from None
        except ConnectionError:
            return
        if data:
            msg = f"expected the end, got: {data.hex(' ')}"
            raise AssertionError(msg)

    async def discard_until_end(self) -> None:
        """Discard everything until the client closes, then close."""
        with contextlib.suppress(ConnectionError):
            while await self._reader.read(65_536):
                pass
        self.close()

    def send(self, data: bytes) -> None:
        """Send raw bytes."""
        self._writer.write(data)

    async def drain(self) -> None:
        """Wait until the write buffer has room again."""
        await self._writer.drain()

    def packet(self, first: int, body: bytes = b"") -> None:
        """Send a packet: its first byte, the length of its body, and the body."""
        self.send(bytes([first]) + varint(len(body)) + body)

    def connack(
        self,
        version: int,
        session_present: int = 0,
        code: int = 0,
        properties: bytes = b"",
    ) -> None:
        """Send a CONNACK; pass the properties (5.0) without their length."""
        body = bytes([session_present, code])
        if version == 5:
            body += varint(len(properties)) + properties
        self.packet(PacketType.CONNACK << 4, body)

    def close(self) -> None:
        """Close after sending everything: the client reads it, then the end."""
        self._writer.close()

    def abort(self) -> None:
        """Reset the connection (RST)."""
        raw = self._writer.get_extra_info("socket")
        if raw is not None:
            with contextlib.suppress(OSError):  # the socket is already closed
                raw.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
        self._writer.transport.abort()

    async def closed(self) -> None:
        """Wait until the connection is closed."""
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


RawScript: TypeAlias = Callable[[RawPeer], Awaitable[None]]


class RawServer:
    """A server that runs a script on each connection.

    Attributes:
        host: The address of the server.
        port: Its port.
        name: Its name for the memory transport; None: it has none.
        peers: The connections so far, in order.
    """

    host = "127.0.0.1"
    port = 0

    def __init__(self, scripts: tuple[RawScript, ...], again: bool) -> None:
        self.name: str | None = None
        self.peers: list[RawPeer] = []
        self._scripts = scripts
        self._again = again
        self._runs: list[asyncio.Task[None]] = []

    def connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Run the next script on a new connection."""
        self.peers.append(RawPeer(reader, writer))
        run = self._run(len(self.peers) - 1)
        self._runs.append(asyncio.get_running_loop().create_task(run))

    async def _run(self, number: int) -> None:
        peer = self.peers[number]
        if self._again:
            number = min(number, len(self._scripts) - 1)
        try:
            if number >= len(self._scripts):
                msg = f"connection {number + 1} is unexpected"
                raise AssertionError(msg)
            await self._scripts[number](peer)
        except BaseException:
            peer.abort()  # or the client would wait for an answer
            raise

    async def finish(self, wait: bool) -> list[BaseException]:
        """End the scripts and connections; return the errors of the scripts."""
        pending: set[asyncio.Task[None]] = set()
        if self._runs:
            _, pending = await asyncio.wait(
                self._runs, timeout=RawPeer.timeout if wait else 0
            )
        for run in pending:
            run.cancel()
        results = await asyncio.gather(*self._runs, return_exceptions=True)
        for peer in self.peers:
            peer.close()
            await peer.closed()
        errors = [
            error
            for error in results
            if error is not None and not isinstance(error, asyncio.CancelledError)
        ]
        if pending and wait:
            errors.append(AssertionError("a script didn't come to its end"))
        return errors


@contextlib.asynccontextmanager
async def serve(
    *scripts: RawScript,
    again: bool = False,
    tls: ssl.SSLContext | None = None,
    host: str = RawServer.host,
    port: int = 0,
    name: str | None = None,
) -> AsyncIterator[RawServer]:
    """Listen for connections, and run the next script on each.

    Args:
        *scripts: One for each connection. One more connection fails the test.
        again: Whether the last script serves all later connections too.
        tls: The server's TLS context; ``None``: no TLS.
        host: The address to listen on.
        port: The port; 0: a free one.
        name: The name for ``Client(name, transport="memory")``; ``None``: it does not
            listen in memory.

    Raises:
        AssertionError: A script failed. It is raised when the block ends, in place of
            the block's own error, which becomes its cause.
    """
    server = RawServer(scripts, again)
    server.host = host
    listener = await asyncio.start_server(server.connected, host, port, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    in_memory: memory.MemoryServer | None = None
    if name is not None:
        in_memory = listen_in_memory(name, server.connected)
        server.name = name
    try:
        try:
            yield server
        finally:
            listener.close()
            if in_memory is not None:
                in_memory.close()
    except BaseException as error:
        # The script's failure explains the block's: the client lost its connection.
        for cause in await server.finish(wait=False):
            raise cause from error
        raise
    else:
        for cause in await server.finish(wait=True):
            raise cause
    finally:
        await listener.wait_closed()


def listen_in_memory(
    name: str, connected: Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]
) -> memory.MemoryServer:
    """Listen under a name of the memory transport; accept connections as streams."""

    def factory() -> asyncio.StreamReaderProtocol:
        reader = asyncio.StreamReader()
        return asyncio.StreamReaderProtocol(reader, connected)

    return memory.listen(name, factory)


def varint(value: int) -> bytes:
    """Return the bytes of a variable byte integer (MQTT 5.0 §1.5.5)."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
