"""One run of a script: its steps, carried out on the connections of a client."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from aiomqtt.protocol.codec.decode import decode
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.protocol.packets import Connect, Packet
from aiomqtt.protocol.wire import PacketError
from aiomqtt.standard.tables import PacketType, ProtocolVersion, Role

from .packets import answer_to, field_of, make
from .raw_peer import RawPeer

PINGREQ: Final = PacketType.PINGREQ
PINGRESP: Final = PacketType.PINGRESP

# A step as the script has it, for messages, and a function that carries it out.
Step: TypeAlias = tuple[str, Callable[["ScriptRun"], object]]


class ScriptRun:
    """One run of a script.

    Attributes:
        current_step: The step that is running, for messages; "": none.
    """

    def __init__(self, timeout: float, answer_pings: bool) -> None:
        self._timeout = timeout
        self._answer_pings = answer_pings
        # Valid for the run.
        self.current_step: str = ""
        self._new_peers: asyncio.Queue[RawPeer] = asyncio.Queue()
        self._peers: list[RawPeer] = []
        # The packets so far, a line for each.
        self._transcript: list[str] = []
        self._is_done = False
        # Discards the rest of what the client sends, once the script is done.
        self._discarding: asyncio.Task[None] | None = None
        self._surplus_connections = 0
        # Valid for the connection.
        self._peer: RawPeer | None = None
        self._version = ProtocolVersion.V5
        self._last_packet: Packet | None = None

    def connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Accept a connection; a step will use it."""
        peer = RawPeer(reader, writer)
        peer.timeout = self._timeout
        self._peers.append(peer)
        self._new_peers.put_nowait(peer)
        if self._is_done:
            self._refuse_connections()

    async def run_steps(self, steps: list[Step]) -> None:
        """Carry out all steps.

        Raises:
            AssertionError: The client did not do what the script expects.
        """
        for number, (text, step) in enumerate(steps, 1):
            self.current_step = f"at step {number}, {text}"
            try:
                result = step(self)
                if asyncio.iscoroutine(result):
                    await result
            except AssertionError as error:
                self._abort_all()
                raise AssertionError(self.report(f"{error}\n")) from None
            except BaseException as error:
                self._abort_all()
                error.add_note(self.report("the script failed"))
                raise
        self.current_step = ""
        self._is_done = True
        self._refuse_connections()
        if self._peer is not None:
            discard = self._peer.discard_until_end()
            self._discarding = asyncio.get_running_loop().create_task(discard)

    def report(self, summary: str) -> str:
        """Return a message with the current step and the packets so far."""
        transcript = "\n".join(self._transcript) or "  (nothing)"
        return f"{summary}\n{self.current_step or 'at its end'}, after:\n{transcript}"

    def _refuse_connections(self) -> None:
        """Abort connections that were made after the end of the script."""
        while not self._new_peers.empty():
            self._new_peers.get_nowait().abort()
            self._surplus_connections += 1

    def surplus_error(self) -> AssertionError | None:
        """Return the error for more connections than the script has, or None."""
        if not self._surplus_connections:
            return None
        number = self._surplus_connections
        summary = f"{number} more connected than the script has connections\n"
        return AssertionError(self.report(summary))

    def _abort_all(self) -> None:
        """Abort the connections, or the client would wait for an answer."""
        for peer in self._peers:
            peer.abort()

    async def end(self) -> None:
        """Close all connections, and return when they are closed."""
        if self._discarding is not None:
            self._discarding.cancel()
            await asyncio.wait((self._discarding,))
        for peer in self._peers:
            peer.close()
        for peer in self._peers:
            try:
                async with asyncio.timeout(self._timeout):
                    await peer.closed()
            except TimeoutError:
                # The client does not read.
                peer.abort()
                await peer.closed()

    # --- the steps ----------------------------------------------------------------

    async def expect(self, kind: PacketType, fields: dict[str, object]) -> None:
        """Read a packet, and compare it with what the script expects."""
        packet = await self._read_packet(kind)
        while packet.kind is PINGREQ and kind is not PINGREQ and self._answer_pings:
            await self.send(PINGRESP, {})
            packet = await self._read_packet(kind)
        if packet.kind is not kind:
            msg = f"expected {kind.name}, got {packet.kind.name}"
            raise AssertionError(msg)
        for name, expected in fields.items():
            found = field_of(packet, name)
            if found != expected:
                msg = f"expected {kind.name} with {name}={expected!r}, got {found!r}"
                raise AssertionError(msg)
        self._last_packet = packet

    async def reply(self, kind: PacketType | None, fields: dict[str, object]) -> None:
        """Answer the last packet."""
        await self.send(*answer_to(self._packet_to_answer(), kind, fields))

    async def reply_by(self, function: Callable[..., Any]) -> None:
        """Answer the last packet with the result of a function."""
        answer = function(self._packet_to_answer())
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer is None:
            answer = []
        for item in answer if isinstance(answer, list | tuple) else [answer]:
            if isinstance(item, bytes):
                await self.write(item)
            else:
                await self._send_packet(item)

    async def send(self, kind: PacketType, fields: dict[str, object]) -> None:
        """Send a packet."""
        await self._send_packet(make(kind, fields))

    async def write(self, data: bytes) -> None:
        """Send raw bytes."""
        await self._write(data, repr(data))

    async def close(self) -> None:
        """Close the connection."""
        (await self._end_connection("  <- (closed)")).close()

    async def abort(self) -> None:
        """Reset the connection."""
        (await self._end_connection("  <- (dropped)")).abort()

    async def expect_end(self) -> None:
        """Wait until the client closes the connection, and close it too."""
        await (await self._current_peer()).expect_end()
        (await self._end_connection("  -> (closed)")).close()

    # --- one connection -----------------------------------------------------------

    async def _current_peer(self) -> RawPeer:
        """Return the current connection, or wait for the next one."""
        if self._peer is None:
            try:
                async with asyncio.timeout(self._timeout):
                    self._peer = await self._new_peers.get()
            except TimeoutError:
                raise AssertionError(
                    f"no client connected within {self._timeout} s"
                ) from None
            self._transcript.append("  a client connected")
        return self._peer

    async def _end_connection(self, line: str) -> RawPeer:
        """Forget the current connection and return it, for the caller to close."""
        peer = await self._current_peer()
        self._transcript.append(line)
        self._peer = None
        return peer

    async def _read_packet(self, kind: PacketType) -> Packet:
        peer = await self._current_peer()
        first, body = await peer.read_packet(kind.name)
        try:
            packet = decode(first, body, self._version, Role.CLIENT)
        except (PacketError, ValueError) as error:
            raw = f"{first:02x} .. {body.hex(' ')}"
            msg = f"expected {kind.name}, got what breaks a rule: {error}: {raw}"
            raise AssertionError(msg) from None
        if isinstance(packet, Connect):
            self._version = packet.version
        self._transcript.append(f"  -> {packet.kind.name} {packet!r}")
        return packet

    def _packet_to_answer(self) -> Packet:
        if self._last_packet is None:
            msg = "there is nothing to reply to"
            raise AssertionError(msg)
        return self._last_packet

    async def _send_packet(self, packet: Packet) -> None:
        data = encode(packet, self._version, Role.SERVER)
        await self._write(data, f"{packet.kind.name} {packet!r}")

    async def _write(self, data: bytes, text: str) -> None:
        peer = await self._current_peer()
        self._transcript.append(f"  <- {text}")
        peer.send(data)
