"""Between a program and its broker: finds packet identifiers that are used again.

It forwards bytes, and reads the packets with the codec of the independent peer.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, NamedTuple, Self

from tests.chaos.peer import (
    CONNACK,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    packet,
    read,
    skip_properties,
)
from tests.chaos.wire import DUP, ReleaseWatch

ERROR: Final = 0x80
# With so many packets withheld, a session has something to continue.
ENOUGH: Final = 3
# The length of the properties, and the first of them.
EXPIRY: Final = b"\x05\x02"


class Published(NamedTuple):
    topic: str
    payload: bytes


class IdentifierWatch:
    """What the broker may hold of one session, by packet identifier.

    Args:
        version: 4 or 5.
    """

    def __init__(self, version: int) -> None:
        self._version = version
        # Valid for the session.
        self._held: dict[bytes, Published] = {}
        # The identifiers of these at QoS 1.
        self._at_qos_1: set[bytes] = set()
        self.published = 0
        self.reused: list[str] = []
        # The identifiers of PUBRELs: the program knows that the broker has these.
        self._released: set[bytes] = set()
        # What the broker has acknowledged, and what it has forgotten of which the
        # program may not know that.
        self.acknowledged: set[Published] = set()
        self.forgotten: set[Published] = set()
        # The longest Message Expiry Interval that was sent, in seconds.
        self.longest_expiry = 0

    def see_program(self, kind: int, flags: int, body: bytes) -> None:
        """Look at a packet from the program."""
        qos = flags >> 1 & 3
        if kind == PUBREL:
            self._released.add(body[:2])
        if kind != PUBLISH or not qos:
            return
        end = 2 + int.from_bytes(body[:2])
        packet_id, at = body[end : end + 2], end + 2
        if self._version == 5:
            at = skip_properties(body, at)
        message = Published(body[2:end].decode(), body[at:])
        held = self._held.get(packet_id)
        if held is not None and (held != message or not flags & DUP):
            number = int.from_bytes(packet_id)
            self.reused.append(f"identifier {number} of {held} for {message}")
        self.published += 1
        self._held[packet_id] = message
        (self._at_qos_1.add if qos == 1 else self._at_qos_1.discard)(packet_id)
        if self._version == 5:
            self.longest_expiry = max(self.longest_expiry, read_expiry(body, end + 2))

    def holds(self, packet_id: bytes) -> bool:
        """Whether the broker may hold a message with this identifier."""
        return packet_id in self._held

    def forget_qos_1(self) -> None:
        """The connection has ended: the broker holds only what came with QoS 2.

        A program that the store has forgotten messages of can't know the identifiers
        that these had at QoS 1, and need not (MQTT 5.0 §4.1).
        """
        for packet_id in self._at_qos_1:
            self._held.pop(packet_id, None)
        self._at_qos_1.clear()

    def see_broker(self, kind: int, _: int, body: bytes) -> None:
        """Look at a packet from the broker."""
        if kind == CONNACK and not body[1] and not body[0]:
            self.forgotten.update(
                message
                for packet_id, message in self._held.items()
                if packet_id not in self._released
            )
            self._held.clear()
            self._released.clear()
        is_refusal = kind == PUBREC and len(body) > 2 and body[2] >= ERROR
        if kind in (PUBACK, PUBREC) and body[:2] in self._held and not is_refusal:
            self.acknowledged.add(self._held[body[:2]])
        if kind in (PUBACK, PUBCOMP) or is_refusal:
            self._held.pop(body[:2], None)
            self._released.discard(body[:2])


def read_expiry(body: bytes, at: int) -> int:
    """Return the Message Expiry Interval, if it is the only property; else 0."""
    return int.from_bytes(body[at + 2 : at + 6]) if body[at : at + 2] == EXPIRY else 0


class Wire:
    """A port that leads to the broker.

    Args:
        port: The port of the broker.
        version: 4 or 5.
        excuse: Called for each message that the broker repeats after its PUBREL.
    """

    def __init__(
        self, port: int, version: int, excuse: Callable[[str, bytes], None]
    ) -> None:
        self._broker_port = port
        self.watch = IdentifierWatch(version)
        self._releases = ReleaseWatch(version, excuse)
        self.subscribed = asyncio.Event()
        # Set when the broker has accepted a connection; whoever waits clears it.
        self.connected = asyncio.Event()
        # The kinds of packets from the broker that are not passed on, until the
        # connection ends; set when ENOUGH were not.
        self.withheld: frozenset[int] = frozenset()
        self.has_withheld = asyncio.Event()
        self._withheld_count = 0
        self._server: asyncio.Server | None = None
        self._open = 0
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    @property
    def is_idle(self) -> bool:
        """Whether everything of the connections that ended was passed on."""
        return not self._open

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._open += 1
        with contextlib.suppress(OSError):
            try:
                up = await asyncio.open_connection("127.0.0.1", self._broker_port)
            except OSError:
                writer.transport.abort()
            else:
                await self._forward((reader, writer), up)
        self._open -= 1

    async def _forward(
        self,
        program: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        broker: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        there = asyncio.create_task(copy(program[0], broker[1], self._see_program))
        back = asyncio.create_task(copy(broker[0], program[1], self._see_broker))
        try:
            # What a program has sent before it was killed still arrives.
            await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (there, back):
                task.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
            for writer in (program[1], broker[1]):
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    def _see_program(self, kind: int, flags: int, body: bytes) -> bool:
        self.watch.see_program(kind, flags, body)
        return True

    def _see_broker(self, kind: int, flags: int, body: bytes) -> bool:
        # The program also asks to release identifiers that no message had.
        is_of_message = kind != PUBCOMP or self.watch.holds(body[:2])
        if kind in self.withheld and is_of_message:
            self._withheld_count += 1
            if self._withheld_count >= ENOUGH:
                self.has_withheld.set()
            return False
        self.watch.see_broker(kind, flags, body)
        self._releases.see(kind, flags, body)
        if kind == SUBACK:
            self.subscribed.set()
        elif kind == CONNACK:
            self.connected.set()
        return True


async def copy(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    see: Callable[[int, int, bytes], bool],
) -> None:
    """Pass on the packets that are to be, until the connection ends."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while True:
            kind, flags, body = await read(reader)
            if see(kind, flags, body):
                writer.write(packet(kind, flags, body))
                await writer.drain()
