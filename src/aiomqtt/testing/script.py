"""A scripted broker: a conversation that a client has to have, packet by packet.

    script = Script()
    script.expect(CONNECT).reply(CONNACK)
    script.expect(PUBLISH, topic="t", qos=1).drop_connection()
    script.expect(CONNECT, clean_start=False).reply(CONNACK, session_present=True)
    script.expect(PUBLISH, dup=True).reply(PUBACK)

    async with script:
        async with aiomqtt.Client(script.host, script.port) as client:
            ...

What the client does otherwise fails the test, with all that was said before.
"""

import asyncio
import itertools
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from aiomqtt.exceptions import MqttError
from aiomqtt.net import memory
from aiomqtt.protocol.codec.decode import decode
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.protocol.packets import Connect, Packet
from aiomqtt.protocol.wire import PacketError
from aiomqtt.standard.tables import PacketType, ProtocolVersion, Role

from .packets import answer_to, field_of, fields_of, make, spelt_out, told
from .raw_peer import Peer, listen_in_memory

PINGREQ: Final = PacketType.PINGREQ
PINGRESP: Final = PacketType.PINGRESP

# What a client may see of a script that has failed.
CONSEQUENCES: Final = (MqttError, OSError, EOFError, asyncio.CancelledError)

_numbers = itertools.count(1)
_Step = Callable[["_Run"], object]


class Script:
    """A conversation, written down before it is had; an asynchronous context manager.

    The steps are had in their order, on one connection after the other: after
    `drop_connection` or `close` the next one is waited for. Entering listens; leaving
    waits until the script has come to its end. What a client says after that is not
    heard, but one connection more fails the test.

    Args:
        ssl_context: The context for TLS, made for a server; ``None``: no TLS.
        timeout: How many seconds each step may take.
        answer_pings: Whether a PINGREQ that is not expected is answered.

    Attributes:
        host: The address to connect to.
        port: Its port.
        name: What ``Client(name, transport="memory")`` connects to.

    Raises:
        AssertionError: The conversation went otherwise; when left. What the client saw
            of that, if it is raised by the block, is the cause. Other errors of the
            block get a note of where the script is.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext | None = None,
        timeout: float = 5.0,
        answer_pings: bool = True,
    ) -> None:
        """Start without a step."""
        self.port: int = 0
        self.name: str = f"script-{next(_numbers)}"
        self._ssl_context = ssl_context
        self._timeout = timeout
        self._answer_pings = answer_pings
        self._steps: list[tuple[str, _Step]] = []
        self._run: _Run | None = None
        self._task: asyncio.Task[None] | None = None
        self._listener: asyncio.Server | None = None
        self._in_memory: memory.MemoryServer | None = None

    # --- writing the script -----------------------------------------------------------

    def expect(self, kind: PacketType | int, **fields: object) -> Self:
        """Wait for a packet.

        Args:
            kind: What it has to be, such as `PUBLISH`.
            **fields: What it has to hold: its fields (``topic``, ``payload``, ``qos``,
                ``retain``, ``dup``, ``packet_id``, ``client_id``, ``clean_start``,
                ``filters``, ``reason_code``, ...) and properties (``content_type``,
                ...). Others may be anything.

        Raises:
            TypeError: No such packet has such a field.
        """
        expected, fields = PacketType(kind), spelt_out(fields)
        unknown = set(fields) - fields_of(expected)
        if unknown:
            msg = f"{expected.name} has no {', '.join(sorted(unknown))}"
            raise TypeError(msg)
        wanted = f"expect({told(expected, fields)})"
        self._steps.append((wanted, lambda run: run.expect(expected, fields)))
        return self

    def reply(self, kind: PacketType | int | None = None, **fields: object) -> Self:
        """Answer the packet that came last, with its packet identifier.

        Args:
            kind: With what; ``None``: with what the standard says, at success.
            **fields: What else than success it holds: ``reason_code``,
                ``session_present``, ``reason_codes``, ``packet_id``, ``properties``.
        """
        answer = None if kind is None else PacketType(kind)
        fields = spelt_out(fields)
        text = f"reply({'' if answer is None else told(answer, fields)})"
        self._steps.append((text, lambda run: run.reply(answer, fields)))
        return self

    def reply_by(self, function: Callable[..., object]) -> Self:
        """Answer the packet that came last with what a function makes of it.

        Args:
            function: It gets the packet, with its fields as attributes, and returns
                bytes, a packet of `aiomqtt.protocol.packets`, a list of these, or
                ``None`` for no answer. If it is a coroutine function, it is waited for.
        """
        text = f"reply_by({function})"
        self._steps.append((text, lambda run: run.reply_by(function)))
        return self

    def send(self, what: PacketType | int | bytes, **fields: object) -> Self:
        """Send a packet of its own, or bytes as they are.

        Args:
            what: Its kind, such as `PUBLISH` or `DISCONNECT`; or bytes.
            **fields: Its fields.
        """
        if isinstance(what, bytes):
            data = what
            self._steps.append((f"send({data!r})", lambda run: run.write(data)))
            return self
        kind, fields = PacketType(what), spelt_out(fields)
        self._steps.append(
            (f"send({told(kind, fields)})", lambda run: run.send(kind, fields))
        )
        return self

    def wait(self, seconds: float) -> Self:
        """Say nothing for so many seconds."""
        self._steps.append((f"wait({seconds})", lambda run: asyncio.sleep(seconds)))
        return self

    def call(self, function: Callable[[], object]) -> Self:
        """Call a function of the test; if it is a coroutine function, wait for it."""
        self._steps.append((f"call({function})", lambda run: function()))
        return self

    def close(self) -> Self:
        """Close the connection: the client reads what was sent, then the end."""
        self._steps.append(("close()", lambda run: run.close()))
        return self

    def drop_connection(self) -> Self:
        """Reset the connection."""
        self._steps.append(("drop_connection()", lambda run: run.abort()))
        return self

    def expect_end(self) -> Self:
        """Wait until the client closes the connection, without a further packet."""
        self._steps.append(("expect_end()", lambda run: run.expect_end()))
        return self

    # --- having the conversation ----------------------------------------------

    async def __aenter__(self) -> Self:
        """Listen."""
        self._run = run = _Run(self._timeout, self._answer_pings)
        self._listener = await asyncio.start_server(
            run.connected, self.host, 0, ssl=self._ssl_context
        )
        self.port = self._listener.sockets[0].getsockname()[1]
        self._in_memory = listen_in_memory(self.name, run.connected)
        self._task = asyncio.get_running_loop().create_task(run.all(self._steps))
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Wait for the end of the script, at once if the block failed."""
        assert self._run is not None
        assert self._task is not None
        assert self._listener is not None
        assert self._in_memory is not None
        try:
            if exc is not None:
                # It may be about to fail for the same reason.
                await asyncio.wait((self._task,), timeout=0.05)
                self._task.cancel()
            await asyncio.wait((self._task,))
            failed = None
            if not self._task.cancelled():
                failed = self._task.exception() or self._run.too_many()
            # Another error of the block is not for the script to explain.
            if failed is not None and (exc is None or isinstance(exc, CONSEQUENCES)):
                raise failed from exc
            if exc is not None and self._run.at:
                exc.add_note(self._run.told("the script was waiting"))
        finally:
            self._task.cancel()
            self._listener.close()
            self._in_memory.close()
            await self._run.end()
            await self._listener.wait_closed()


class _Run:
    """A script that is being had."""

    def __init__(self, timeout: float, answer_pings: bool) -> None:
        self._timeout = timeout
        self._answer_pings = answer_pings
        self._came: asyncio.Queue[Peer] = asyncio.Queue()
        self._peers: list[Peer] = []
        # Valid for the connection.
        self._peer: Peer | None = None
        self._version = ProtocolVersion.V5
        self._last: Packet | None = None
        # The step that is being taken, "": none; and what was said so far.
        self.at = ""
        self._said: list[str] = []
        self._is_done = False
        self._seeing_off: asyncio.Task[None] | None = None
        self._too_many = 0

    def connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        peer = Peer(reader, writer)
        peer.timeout = self._timeout
        self._peers.append(peer)
        self._came.put_nowait(peer)
        if self._is_done:
            self._refuse()

    async def all(self, steps: list[tuple[str, _Step]]) -> None:
        """Take all steps."""
        for number, (text, step) in enumerate(steps, 1):
            self.at = f"at step {number}, {text}"
            try:
                done = step(self)
                if asyncio.iscoroutine(done):
                    await done
            except AssertionError as error:
                self._abort_all()
                raise AssertionError(self.told(f"{error}\n")) from None
            except BaseException as error:
                self._abort_all()
                error.add_note(self.told("the script failed"))
                raise
        self.at = ""
        self._is_done = True
        self._refuse()
        if self._peer is not None:
            see_off = self._peer.see_off()
            self._seeing_off = asyncio.get_running_loop().create_task(see_off)

    def told(self, what: str) -> str:
        """Return a message with where the script is, and all that was said."""
        said = "\n".join(self._said) or "  (nothing)"
        return f"{what}\n{self.at or 'at its end'}, after:\n{said}"

    def _refuse(self) -> None:
        """Let go who connects now that the script is over."""
        while not self._came.empty():
            self._came.get_nowait().abort()
            self._too_many += 1

    def too_many(self) -> AssertionError | None:
        """Return the failure that connections are which the script does not have."""
        if not self._too_many:
            return None
        what = f"{self._too_many} more connected than the script has connections\n"
        return AssertionError(self.told(what))

    def _abort_all(self) -> None:
        # So that the client does not wait for what won't come.
        for peer in self._peers:
            peer.abort()

    async def end(self) -> None:
        if self._seeing_off is not None:
            self._seeing_off.cancel()
            await asyncio.wait((self._seeing_off,))
        for peer in self._peers:
            peer.close()
        for peer in self._peers:
            try:
                async with asyncio.timeout(self._timeout):
                    await peer.closed()
            except TimeoutError:
                # The client does not read what was sent.
                peer.abort()
                await peer.closed()

    async def _connection(self) -> Peer:
        if self._peer is None:
            try:
                async with asyncio.timeout(self._timeout):
                    self._peer = await self._came.get()
            except TimeoutError:
                raise AssertionError(
                    f"no client connected within {self._timeout} s"
                ) from None
            self._said.append("  a client connected")
        return self._peer

    async def expect(self, kind: PacketType, fields: dict[str, object]) -> None:
        packet = await self._next(kind)
        while packet.kind is PINGREQ and kind is not PINGREQ and self._answer_pings:
            await self.send(PINGRESP, {})
            packet = await self._next(kind)
        if packet.kind is not kind:
            msg = f"expected {kind.name}, got {packet.kind.name}"
            raise AssertionError(msg)
        for name, expected in fields.items():
            found = field_of(packet, name)
            if found != expected:
                msg = f"expected {kind.name} with {name}={expected!r}, got {found!r}"
                raise AssertionError(msg)
        self._last = packet

    async def _next(self, kind: PacketType) -> Packet:
        peer = await self._connection()
        first, body = await peer.read_packet(kind.name)
        try:
            packet = decode(first, body, self._version, Role.CLIENT)
        except (PacketError, ValueError) as error:
            raw = f"{first:02x} .. {body.hex(' ')}"
            msg = f"expected {kind.name}, got what breaks a rule: {error}: {raw}"
            raise AssertionError(msg) from None
        if isinstance(packet, Connect):
            self._version = packet.version
        self._said.append(f"  -> {packet.kind.name} {packet!r}")
        return packet

    def _to_answer(self) -> Packet:
        if self._last is None:
            msg = "there is nothing to reply to"
            raise AssertionError(msg)
        return self._last

    async def reply(self, kind: PacketType | None, fields: dict[str, object]) -> None:
        await self.send(*answer_to(self._to_answer(), kind, fields))

    async def reply_by(self, function: Callable[..., Any]) -> None:
        answer = function(self._to_answer())
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer is None:
            answer = []
        for each in answer if isinstance(answer, list | tuple) else [answer]:
            if isinstance(each, bytes):
                await self.write(each)
            else:
                await self.write(encode(each, self._version, Role.SERVER), each)

    async def send(self, kind: PacketType, fields: dict[str, object]) -> None:
        packet = make(kind, fields)
        await self.write(encode(packet, self._version, Role.SERVER), packet)

    async def write(self, data: bytes, packet: Packet | None = None) -> None:
        peer = await self._connection()
        told = repr(data) if packet is None else f"{packet.kind.name} {packet!r}"
        self._said.append(f"  <- {told}")
        peer.send(data)

    async def close(self) -> None:
        peer = await self._connection()
        self._said.append("  <- (closed)")
        self._peer = None
        peer.close()

    async def abort(self) -> None:
        peer = await self._connection()
        self._said.append("  <- (dropped)")
        self._peer = None
        peer.abort()

    async def expect_end(self) -> None:
        peer = await self._connection()
        await peer.expect_end()
        self._said.append("  -> (closed)")
        self._peer = None
        peer.close()
