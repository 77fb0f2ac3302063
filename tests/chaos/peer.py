"""An MQTT client that shares no code with the one under test.

It keeps the ledgers: it publishes what the client under test should receive, and
receives what that publishes. It speaks 3.1.1 and 5.0, has a session that outlives its
connections, and connects again by itself when the broker was restarted.
"""

import asyncio
import contextlib
import logging
import struct
from collections.abc import Callable

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = range(1, 8)
SUBSCRIBE, SUBACK = 8, 9
DISCONNECT = 14

# So many of its own messages are in flight at most.
WINDOW = 100


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("!H", len(data)) + data


def packet(kind: int, flags: int, body: bytes) -> bytes:
    size, length = len(body), b""
    while True:
        size, low = divmod(size, 128)
        length += bytes([low | (0x80 if size else 0)])
        if not size:
            return bytes([kind << 4 | flags]) + length + body


def skip_properties(body: bytes, at: int) -> int:
    """The index after the properties that begin there."""
    size = shift = 0
    while True:
        byte = body[at]
        size |= (byte & 0x7F) << shift
        at += 1
        shift += 7
        if byte < 0x80:
            return at + size


class Peer:
    """A client of its own kind; `run` keeps it connected until it is cancelled."""

    def __init__(
        self,
        host: str,
        port: int,
        name: str,
        version: int,
        arrive: Callable[[str, bytes], None],
        subscription: str = "",
    ) -> None:
        self.address = host, port
        self.name = name
        self.version = version
        self._arrive = arrive
        # Called with the kind, the flags and the rest of each packet that comes.
        self.see: Callable[[int, int, bytes], None] = lambda *_: None
        self._subscription = subscription
        # Valid for the session: by packet identifier, what was sent and not answered
        # yet, with the future of its call; the identifiers of QoS 2 that came.
        self._sent: dict[int, tuple[int, bytes, asyncio.Future[None]]] = {}
        self._received: set[int] = set()
        self._last_id = 0
        self._room = asyncio.Semaphore(WINDOW)
        self._log = logging.getLogger(f"chaos.peer-{name}")
        # Valid for the connection.
        self._writer: asyncio.StreamWriter | None = None
        self.ready = asyncio.Event()
        self.connections = 0
        self.lost_sessions = 0

    async def run(self) -> None:
        """Connect, and connect again."""
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._connect_once()
            self._writer = None
            self.ready.clear()
            await asyncio.sleep(0.02)

    async def publish(self, topic: str, payload: bytes, qos: int) -> None:
        """Publish; return when the flow is complete, over how many connections ever."""
        await self._room.acquire()
        try:
            while True:
                self._last_id = self._last_id % 65535 + 1
                if self._last_id not in self._sent:
                    break
            packet_id = self._last_id
            properties = b"\0" if self.version == 5 else b""
            body = text(topic) + struct.pack("!H", packet_id) + properties + payload
            future = asyncio.get_running_loop().create_future()
            self._sent[packet_id] = (PUBLISH, packet(PUBLISH, qos << 1, body), future)
            if self.ready.is_set():
                self._write(self._sent[packet_id][1])
            await future
        finally:
            self._room.release()

    def _write(self, data: bytes) -> None:
        self._log.debug("-> %r", data[:60])
        if self._writer is not None:
            self._writer.write(data)

    async def _connect_once(self) -> None:
        reader, writer = await asyncio.open_connection(*self.address)
        self._writer = writer
        try:
            writer.write(connect(self.name, self.version, clean=False))
            kind, _, body = await read(reader)
            if kind != CONNACK or body[1]:
                raise ConnectionError(f"refused: {body!r}")
            if not body[0]:
                # These identifiers are those of other messages from now on.
                self._received.clear()
                self.lost_sessions += self.connections > 0
            self.connections += 1
            self._log.info("connected, session present: %d", body[0])
            self._resume()
            if self._subscription:
                options = b"\0" if self.version == 5 else b""
                filters = text(self._subscription) + b"\2"
                writer.write(packet(SUBSCRIBE, 2, b"\xff\xff" + options + filters))
            else:
                self.ready.set()
            while True:
                self._handle(*await read(reader))
                if writer.transport.get_write_buffer_size():
                    await writer.drain()
        finally:
            writer.transport.abort()

    def _resume(self) -> None:
        """Send again, in order, what was not answered (§4.4)."""
        for state, data, _ in [*self._sent.values()]:
            again = bytes([data[0] | 0x08]) + data[1:] if state == PUBLISH else data
            self._write(again)

    def _handle(self, kind: int, flags: int, body: bytes) -> None:
        self._log.debug("<- %d %d %r", kind, flags, body[:40])
        self.see(kind, flags, body)
        if kind == PUBLISH:
            self._handle_publish(flags, body)
            return
        packet_id = int.from_bytes(body[:2]) if len(body) >= 2 else 0
        if kind == SUBACK:
            assert body[-1] == 2, body
            self.ready.set()
        elif kind == PUBREL:
            self._received.discard(packet_id)
            self._write(packet(PUBCOMP, 0, body[:2]))
        elif kind == PUBREC and packet_id in self._sent:
            _, _, future = self._sent.pop(packet_id)
            release = packet(PUBREL, 2, body[:2])
            # At the end: PUBREL packets are sent in the order of the PUBRECs.
            self._sent[packet_id] = (PUBREL, release, future)
            self._write(release)
        elif kind in (PUBACK, PUBCOMP) and packet_id in self._sent:
            _, _, future = self._sent.pop(packet_id)
            if not future.done():
                future.set_result(None)
        elif kind == DISCONNECT:
            raise ConnectionError("disconnected")

    def _handle_publish(self, flags: int, body: bytes) -> None:
        end = 2 + int.from_bytes(body[:2])
        topic = body[2:end].decode()
        qos = flags >> 1 & 3
        packet_id = body[end : end + 2]
        at = end + 2 if qos else end
        if self.version == 5:
            at = skip_properties(body, at)
        payload = body[at:]
        if qos == 2:
            number = int.from_bytes(packet_id)
            if number not in self._received:
                self._received.add(number)
                self._arrive(topic, payload)
            self._write(packet(PUBREC, 0, packet_id))
            return
        self._arrive(topic, payload)
        if qos == 1:
            self._write(packet(PUBACK, 0, packet_id))


def connect(name: str, version: int, *, clean: bool) -> bytes:
    body = text("MQTT") + bytes([version, 2 if clean else 0, 0, 0])
    if version == 5:
        # The Session Expiry Interval: never; if clean, at once.
        body += b"\0" if clean else b"\x05\x11\xff\xff\xff\xff"
    return packet(CONNECT, 0, body + text(name))


async def read(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    """The next packet: its kind, its flags, and the rest."""
    first = (await reader.readexactly(1))[0]
    size = shift = 0
    while True:
        byte = (await reader.readexactly(1))[0]
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    return first >> 4, first & 15, await reader.readexactly(size)


async def drop_session(host: str, port: int, name: str, version: int) -> None:
    """Let the broker forget the session of a client."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(connect(name, version, clean=True))
    kind, _, body = await read(reader)
    assert (kind, body[:2]) == (CONNACK, b"\0\0"), body
    writer.write(packet(DISCONNECT, 0, b""))
    await writer.drain()
    with contextlib.suppress(OSError):
        await reader.read()
    writer.close()
