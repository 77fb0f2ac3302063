"""A broker that says, byte by byte, what a test tells it to.

    async def script(peer):
        await peer.expect(CONNECT)
        peer.connack(4)
        first, body = await peer.expect(PUBLISH)
        peer.abort()

    async with serve(script) as server:
        async with aiomqtt.Client(server.host, server.port) as client:
            ...

It knows nothing of the library's codec, so that it can say what no broker says. For
conversations that a broker could have, `script` is shorter.

A script that ends leaves its connection open until the server goes. An error in a
script fails the test; so does one that still waits when the test is over.
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


class Peer:
    """One connection, seen from the broker's end.

    Attributes:
        timeout: How many seconds a read waits, and a script may go on after the test.
    """

    timeout: float = 5.0

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Take both directions of the connection."""
        self._reader = reader
        self._writer = writer

    async def read_packet(self, waiting_for: str = "a packet") -> tuple[int, bytes]:
        """Return the next packet: its first byte, and what comes after its length.

        Args:
            waiting_for: What is hoped for, for the message.

        Raises:
            AssertionError: It does not come in time, or the client closed.
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
        """Read a packet, which has to be of this kind: ``expect(PUBLISH)``.

        Raises:
            AssertionError: It is another, does not come in time, or the client closed.
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
        """Wait until the client closes, without a further byte.

        Raises:
            AssertionError: Something came, or it does not close in time.
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

    async def see_off(self) -> None:
        """Take what comes until the client closes, and close then."""
        with contextlib.suppress(ConnectionError):
            while await self._reader.read(65_536):
                pass
        self.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)

    async def drain(self) -> None:
        """Wait until the client has taken enough of what was sent."""
        await self._writer.drain()

    def packet(self, first: int, body: bytes = b"") -> None:
        """Send a packet: its first byte, the length of the body, the body."""
        self.send(bytes([first]) + varint(len(body)) + body)

    def connack(
        self,
        version: int,
        session_present: int = 0,
        code: int = 0,
        properties: bytes = b"",
    ) -> None:
        """Send CONNACK; the properties (5.0) without their length."""
        body = bytes([session_present, code])
        if version == 5:
            body += varint(len(properties)) + properties
        self.packet(PacketType.CONNACK << 4, body)

    def close(self) -> None:
        """Close after what was sent: the client reads it, then the end."""
        self._writer.close()

    def abort(self) -> None:
        """Reset the connection (RST)."""
        raw = self._writer.get_extra_info("socket")
        if raw is not None:
            with contextlib.suppress(OSError):  # it is closed already
                raw.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
        self._writer.transport.abort()

    async def closed(self) -> None:
        """Wait until the connection is closed."""
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


Script: TypeAlias = Callable[[Peer], Awaitable[None]]


class Server:
    """What listens.

    Attributes:
        host: The address it listens on.
        port: Its port.
        name: Its name for the memory transport; None: it has none.
        peers: The connections so far.
    """

    host = "127.0.0.1"
    port = 0

    def __init__(self, scripts: tuple[Script, ...], again: bool) -> None:
        """Take a script for each connection."""
        self.name: str | None = None
        self.peers: list[Peer] = []
        self._scripts = scripts
        self._again = again
        self._runs: list[asyncio.Task[None]] = []

    def connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Run the next script on a connection."""
        self.peers.append(Peer(reader, writer))
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
            peer.abort()  # so that the client doesn't wait for what won't come
            raise

    async def finish(self, wait: bool) -> list[BaseException]:
        """End the scripts and connections; return the errors of the scripts."""
        pending: set[asyncio.Task[None]] = set()
        if self._runs:
            _, pending = await asyncio.wait(
                self._runs, timeout=Peer.timeout if wait else 0
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
    *scripts: Script,
    again: bool = False,
    tls: ssl.SSLContext | None = None,
    host: str = Server.host,
    port: int = 0,
    name: str | None = None,
) -> AsyncIterator[Server]:
    """Listen; each connection runs the next script.

    Args:
        *scripts: One for each connection. A connection more fails the test.
        again: Whether the last script serves all further connections.
        tls: The context for TLS, made for a server; ``None``: no TLS.
        host: The address to listen on.
        port: The port; 0: a free one.
        name: By which name ``Client(name, transport="memory")`` finds it; ``None``: it
            is not to be found there.

    Raises:
        AssertionError: A script failed; it is raised when the block ends, in the place
            of the block's own error, which is then its cause.
    """
    server = Server(scripts, again)
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
        # The script's failure is the cause: the client only saw the connection end.
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
    """Listen under a name of the memory transport, with streams."""

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
