"""A scripted broker on a loopback socket, as a conversation in raw bytes.

It knows nothing of the library's codec, so that it can say what no broker says:

    async def script(peer):
        await peer.expect(CONNECT)
        peer.connack(version)
        first, body = await peer.expect(PUBLISH)
        peer.abort()

    async with serve(script) as server:
        async with aiomqtt.Client(server.host, server.port) as client:
            ...

A script that ends leaves its connection open until the server goes. An error in
a script fails the test; so does one that still waits when the test is over.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = range(1, 8)
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK = range(8, 12)
PINGREQ, PINGRESP, DISCONNECT, AUTH = range(12, 16)

NAMES = [
    *("0", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP"),
    *("SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK"),
    *("PINGREQ", "PINGRESP", "DISCONNECT", "AUTH"),
]


class Peer:
    """One connection, seen from the broker's end."""

    # How long a read waits, and a script may go on after the test, in seconds.
    timeout = 5.0

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader = reader
        self._writer = writer

    async def read_packet(self, waiting_for: str = "a packet") -> tuple[int, bytes]:
        """The next packet's first byte and what comes after its length."""
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
                    assert shift < 28, f"no length in {raw.hex(' ')}"
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
        return raw[0], body

    async def expect(self, kind: int) -> tuple[int, bytes]:
        """Read a packet, which has to be of this kind: `expect(PUBLISH)`."""
        first, body = await self.read_packet(NAMES[kind])
        if first >> 4 != kind:
            raise AssertionError(
                f"expected {NAMES[kind]}, got {NAMES[first >> 4]}: "
                f"{first:02x} .. {body.hex(' ')}"
            )
        return first, body

    async def expect_end(self) -> None:
        """Wait until the client closes, without a further byte."""
        try:
            async with asyncio.timeout(self.timeout):
                data = await self._reader.read(1000)
        except TimeoutError:
            raise AssertionError(
                f"the connection is still open after {self.timeout} s"
            ) from None
        except ConnectionError:
            return
        assert not data, f"expected the end, got: {data.hex(' ')}"

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def drain(self) -> None:
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
        """Send CONNACK; `properties` (5.0) without their length."""
        body = bytes([session_present, code])
        if version == 5:
            body += varint(len(properties)) + properties
        self.packet(CONNACK << 4, body)

    def close(self) -> None:
        """Close after what was sent: the client reads it, then the end."""
        self._writer.close()

    def abort(self) -> None:
        """Reset the connection (RST)."""
        raw = self._writer.get_extra_info("socket")
        with contextlib.suppress(OSError):  # it is closed already
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def closed(self) -> None:
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


Script = Callable[[Peer], Awaitable[None]]


class Server:
    """What listens: `host`, `port`, and the connections so far in `peers`."""

    host = "127.0.0.1"
    port = 0

    def __init__(self, scripts: tuple[Script, ...], again: bool) -> None:
        self.peers: list[Peer] = []
        self._scripts = scripts
        self._again = again
        self._runs: list[asyncio.Task[None]] = []

    def connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.peers.append(Peer(reader, writer))
        run = self._run(len(self.peers) - 1)
        self._runs.append(asyncio.get_running_loop().create_task(run))

    async def _run(self, number: int) -> None:
        peer = self.peers[number]
        if self._again:
            number = min(number, len(self._scripts) - 1)
        try:
            assert number < len(self._scripts), f"connection {number + 1} is unexpected"
            await self._scripts[number](peer)
        except BaseException:
            peer.abort()  # so that the client doesn't wait for what won't come
            raise

    async def finish(self, wait: bool) -> list[BaseException]:
        """End the scripts and connections; the errors of the scripts."""
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
) -> AsyncIterator[Server]:
    """Listen; each connection runs the next script.

    A port of 0 is one that the system chooses.

    A connection more than there are scripts fails the test, unless `again` lets
    the last script serve all further ones.
    """
    server = Server(scripts, again)
    server.host = host
    listener = await asyncio.start_server(server.connected, host, port, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        try:
            yield server
        finally:
            listener.close()
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


def varint(value: int) -> bytes:
    """A variable byte integer."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
