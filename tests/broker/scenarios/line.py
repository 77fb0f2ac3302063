"""A connection of packets, and the record of what was said and heard on it."""

import asyncio
import contextlib
import socket
import struct
from collections import deque
from typing import Any

from aiomqtt.properties import Properties
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.protocol.codec.framing import Decoder
from aiomqtt.protocol.packets import Packet, Ping, Publish
from aiomqtt.standard.tables import PROPERTY_NAMES, PacketType, ProtocolVersion, Role
from aiomqtt.topic import Topic

CONNECT, CONNACK = PacketType.CONNECT, PacketType.CONNACK
PUBLISH, PUBACK = PacketType.PUBLISH, PacketType.PUBACK
PUBREC, PUBREL, PUBCOMP = PacketType.PUBREC, PacketType.PUBREL, PacketType.PUBCOMP
SUBSCRIBE, SUBACK = PacketType.SUBSCRIBE, PacketType.SUBACK
UNSUBSCRIBE, UNSUBACK = PacketType.UNSUBSCRIBE, PacketType.UNSUBACK
PINGREQ, PINGRESP = PacketType.PINGREQ, PacketType.PINGRESP
DISCONNECT, AUTH = PacketType.DISCONNECT, PacketType.AUTH

# How many seconds later than on an idle machine something may come.
BUSY = 5.0


class ClosedError(AssertionError):
    """The broker closed the connection, where something else was expected."""


class Line:
    """One connection, seen from the client's end: packets, said and heard."""

    # How long a packet, or the end, may take to come, in seconds.
    timeout = 5.0

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, version: int
    ) -> None:
        self.version = ProtocolVersion(version)
        # What was said and heard last, for whoever has to find out what went wrong.
        self.record: deque[tuple[str, Packet | str]] = deque(maxlen=40)
        self._reader = reader
        self._writer = writer
        self._decoder = Decoder(self.version, Role.SERVER)
        self._heard: deque[Packet] = deque()

    # --- packets ------------------------------------------------------------------

    def send(self, *packets: Packet) -> None:
        """Say packets, which leave together."""
        for packet in packets:
            self.record.append(("->", packet))
        self._writer.write(
            b"".join(encode(packet, self.version, Role.CLIENT) for packet in packets)
        )

    def send_bytes(self, data: bytes) -> None:
        """Say what the codec would not."""
        self.record.append(("->", f"bytes {data[:100].hex(' ')}"))
        self._writer.write(data)

    async def hear(self, waiting_for: str = "a packet") -> Packet:
        """Return the next packet, whatever it is."""
        if self._heard:
            return self._heard.popleft()
        try:
            async with asyncio.timeout(self.timeout):
                while not self._heard:
                    await self._read(waiting_for)
        except TimeoutError:
            raise self.failure(
                f"waited {self.timeout} s for {waiting_for}; nothing came"
            ) from None
        return self._heard.popleft()

    async def _read(self, waiting_for: str) -> None:
        try:
            data = await self._reader.read(65536)
        except ConnectionError as error:
            failure = self.failure(f"{error!r}, waiting for {waiting_for}")
            raise ClosedError(*failure.args) from None
        if not data:
            failure = self.failure(f"the broker closed, waiting for {waiting_for}")
            raise ClosedError(*failure.args)
        for packet in self._decoder.feed(data):
            self.record.append(("<-", packet))
            self._heard.append(packet)
        if (fault := self._decoder.error) is not None:
            raise self.failure(f"the broker sent {fault.text}: {data[-100:].hex(' ')}")

    async def expect(self, kind: PacketType, /, **fields: Any) -> Any:
        """Return the next packet, which has to be of this kind.

        Args:
            kind: The type of the packet.
            **fields: Its fields and its properties by name; None: not there.
        """
        packet = await self.hear(kind.name)
        if packet.kind is not kind:
            raise self.failure(f"expected {kind.name}, came {describe(packet)}")
        for name, value in fields.items():
            found = field(packet, name)
            if found != value:
                raise self.failure(
                    f"expected {name}={value!r}, came {describe(packet)}"
                )
        return packet

    async def nothing(self) -> None:
        """Check that nothing is on its way to this client.

        Who published before has had an acknowledgement (QoS 0: an answer to a ping), so
        that the broker had the message in its hands before this ping.
        """
        self.send(Ping(PINGREQ))
        await self.expect(PINGRESP)

    def refuse_larger_packets(self, size: int) -> None:
        """Fail from now on when a larger packet comes, in bytes."""
        self._decoder.maximum_packet_size = size

    async def pick(self, kind: PacketType, packet_id: int) -> Any:
        """Return the packet that ends an exchange; what came before it stays."""
        looked_at = 0
        try:
            async with asyncio.timeout(self.timeout):
                while True:
                    for index in range(looked_at, len(self._heard)):
                        packet = self._heard[index]
                        if (
                            packet.kind is kind
                            and field(packet, "packet_id") == packet_id
                        ):
                            del self._heard[index]
                            return packet
                    looked_at = len(self._heard)
                    await self._read(kind.name)
        except TimeoutError:
            raise self.failure(
                f"waited {self.timeout} s for {kind.name} {packet_id}"
            ) from None

    async def expect_end(self) -> None:
        """Wait until the broker closes, without another packet."""
        while True:
            if self._heard:
                packet = describe(self._heard[0])
                raise self.failure(f"expected the end, came {packet}")
            try:
                async with asyncio.timeout(self.timeout):
                    data = await self._reader.read(65536)
            except TimeoutError:
                raise self.failure(f"it is still open after {self.timeout} s") from None
            except ConnectionError:
                return
            if not data:
                return
            self._heard.extend(self._decoder.feed(data))

    async def expect_closed(self) -> None:
        """Wait until the broker closes; it may say why, or just do it."""
        with contextlib.suppress(ClosedError):
            while True:
                packet = await self.hear("the end")
                if packet.kind not in (CONNACK, DISCONNECT):
                    raise self.failure(f"expected the end, came {describe(packet)}")
                if packet.kind is CONNACK and not field(packet, "reason_code"):
                    raise self.failure("expected the end, came a success")

    async def expect_refusal(self, *reason_codes: int) -> None:
        """Wait until the broker ends the connection for one of these reasons (5.0).

        Below 5.0 a broker closes without a word.
        """
        if self.version >= 5:
            packet = await self.expect(DISCONNECT)
            if packet.reason_code not in reason_codes:
                wanted = [hex(code) for code in reason_codes]
                raise self.failure(f"expected one of {wanted}")
        await self.expect_end()

    async def hear_bytes(self) -> bytes:
        """Return all bytes that come until the broker closes."""
        async with asyncio.timeout(self.timeout):
            return await self._reader.read()

    def failure(self, text: str) -> AssertionError:
        """Return an error with the conversation so far."""
        lines = [
            f"{way} {said if isinstance(said, str) else describe(said)}"
            for way, said in self.record
        ]
        return AssertionError("\n  ".join([text, *lines]))

    # --- the connection -----------------------------------------------------------

    def vanish(self) -> None:
        """End the connection without a DISCONNECT (RST)."""
        self.record.append(("->", "reset"))
        raw = self._writer.get_extra_info("socket")
        with contextlib.suppress(OSError):  # it is closed already
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def close(self) -> None:
        """Close, if it is open."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


def field(packet: Packet, name: str) -> Any:
    """Return a field or a property of a packet; None or () for one that is absent."""
    if name in PROPERTY_NAMES:
        properties: Properties | None = getattr(packet, "properties", None)
        return getattr(properties or Properties(), name)
    if name == "packet_id":  # a PUBLISH calls it mid, and a PINGRESP has none
        return getattr(packet, name, getattr(packet, "mid", 0))
    value = getattr(packet, name)
    return value.value if isinstance(value, Topic) else value


def describe(packet: Packet) -> str:
    """Return a packet for the record, the long ones cut."""
    if isinstance(packet, Publish):
        return f"PUBLISH dup={packet.dup} {packet!r}"
    text = repr(packet)
    return f"{packet.kind.name} {text if len(text) < 400 else text[:400] + '...'}"
