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
from aiomqtt.properties import Properties, ReasonCode
from aiomqtt.protocol.codec.decode import decode
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.protocol.packets import (
    Ack,
    Connack,
    Connect,
    Packet,
    Ping,
    Publish,
    Signal,
    Suback,
    Subscribe,
    Unsubscribe,
)
from aiomqtt.protocol.spec import PacketType, ProtocolVersion, Role
from aiomqtt.protocol.wire import PacketError
from aiomqtt.topic import Topic

from .peer import Peer, listen_in_memory

CONNECT: Final = PacketType.CONNECT
PINGREQ: Final = PacketType.PINGREQ
PINGRESP: Final = PacketType.PINGRESP

# What answers a packet without being told: its kind may be left out of `reply`.
ANSWERS: Final = {
    PacketType.CONNECT: PacketType.CONNACK,
    PacketType.SUBSCRIBE: PacketType.SUBACK,
    PacketType.UNSUBSCRIBE: PacketType.UNSUBACK,
    PacketType.PINGREQ: PacketType.PINGRESP,
    PacketType.PUBREC: PacketType.PUBREL,
    PacketType.PUBREL: PacketType.PUBCOMP,
    PacketType.AUTH: PacketType.AUTH,
}

# What a client may see of a script that has failed.
CONSEQUENCES: Final = (MqttError, OSError, EOFError, asyncio.CancelledError)

_numbers = itertools.count(1)
_Step = Callable[["_Run"], Any]


class Script:
    """A conversation, written down before it is had; an asynchronous context manager.

    The steps are had in their order, on one connection after the other: after
    `drop_connection` or `close` the next one is waited for. Entering listens; leaving
    waits until the script has come to its end.

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
            of that, if it is raised by the block, is the cause.
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
        self.port = 0
        self.name = f"script-{next(_numbers)}"
        self._ssl_context = ssl_context
        self._timeout = timeout
        self._answer_pings = answer_pings
        self._steps: list[tuple[str, _Step]] = []
        self._run: _Run | None = None
        self._task: asyncio.Task[None] | None = None
        self._listener: asyncio.Server | None = None
        self._in_memory: memory.MemoryServer | None = None

    # --- writing the script -----------------------------------------------------------

    def expect(self, kind: PacketType | int, **fields: Any) -> Self:
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
        expected = PacketType(kind)
        unknown = set(fields) - _fields_of(expected)
        if unknown:
            msg = f"{expected.name} has no {', '.join(sorted(unknown))}"
            raise TypeError(msg)
        wanted = f"expect({_told(expected, fields)})"
        self._steps.append((wanted, lambda run: run.expect(expected, fields)))
        return self

    def reply(self, kind: PacketType | int | None = None, **fields: Any) -> Self:
        """Answer the packet that came last, with its packet identifier.

        Args:
            kind: With what; ``None``: with what the standard says, at success.
            **fields: What else than success it holds: ``reason_code``,
                ``session_present``, ``reason_codes``, ``packet_id``, ``properties``.
        """
        answer = None if kind is None else PacketType(kind)
        told = f"reply({'' if answer is None else _told(answer, fields)})"
        self._steps.append((told, lambda run: run.reply(answer, fields)))
        return self

    def send(self, what: PacketType | int | bytes, **fields: Any) -> Self:
        """Send a packet of its own, or bytes as they are.

        Args:
            what: Its kind, such as `PUBLISH` or `DISCONNECT`; or bytes.
            **fields: Its fields.
        """
        if isinstance(what, bytes):
            data = what
            self._steps.append((f"send({data!r})", lambda run: run.write(data)))
            return self
        kind = PacketType(what)
        self._steps.append(
            (f"send({_told(kind, fields)})", lambda run: run.send(kind, fields))
        )
        return self

    def wait(self, seconds: float) -> Self:
        """Say nothing for so many seconds."""
        self._steps.append((f"wait({seconds})", lambda run: asyncio.sleep(seconds)))
        return self

    def call(self, function: Callable[[], Any]) -> Self:
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
            # Another error of the block is not for the script to explain.
            is_open = exc is None or isinstance(exc, CONSEQUENCES)
            failed = not self._task.cancelled() and self._task.exception()
            if failed and is_open:
                raise failed from exc
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
        # What was said so far, for the message of a failure.
        self._said: list[str] = []

    def connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        peer = Peer(reader, writer)
        peer.timeout = self._timeout
        self._peers.append(peer)
        self._came.put_nowait(peer)

    async def all(self, steps: list[tuple[str, _Step]]) -> None:
        """Take all steps."""
        for number, (told, step) in enumerate(steps, 1):
            try:
                done = step(self)
                if asyncio.iscoroutine(done):
                    await done
            except AssertionError as error:
                self._abort_all()
                said = "\n".join(self._said) or "  (nothing)"
                msg = f"{error}\n\nat step {number}, {told}, after:\n{said}"
                raise AssertionError(msg) from None
            except BaseException:
                self._abort_all()
                raise

    def _abort_all(self) -> None:
        # So that the client does not wait for what won't come.
        for peer in self._peers:
            peer.abort()

    async def end(self) -> None:
        for peer in self._peers:
            peer.close()
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

    async def expect(self, kind: PacketType, fields: dict[str, Any]) -> None:
        packet = await self._next(kind)
        while packet.kind is PINGREQ and kind is not PINGREQ and self._answer_pings:
            await self.send(PINGRESP, {})
            packet = await self._next(kind)
        if packet.kind is not kind:
            msg = f"expected {kind.name}, got {packet.kind.name}"
            raise AssertionError(msg)
        for name, expected in fields.items():
            found = _field(packet, name)
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

    async def reply(self, kind: PacketType | None, fields: dict[str, Any]) -> None:
        last = self._last
        if last is None:
            msg = "there is nothing to reply to"
            raise AssertionError(msg)
        if isinstance(last, Publish) and kind is None:
            kind = PacketType.PUBACK if last.qos == 1 else PacketType.PUBREC
        kind = kind or ANSWERS.get(last.kind)
        if kind is None:
            msg = f"nothing answers {last.kind.name}"
            raise AssertionError(msg)
        given = dict(fields)
        packet_id = last.mid if isinstance(last, Publish) else None
        packet_id = getattr(last, "packet_id", packet_id)
        if packet_id is not None and kind is not PacketType.PUBLISH:
            given.setdefault("packet_id", packet_id)
        if isinstance(last, Subscribe) and kind is PacketType.SUBACK:
            granted = [options.qos for _, options in last.subscriptions]
            given.setdefault("reason_codes", granted)
        if isinstance(last, Unsubscribe) and kind is PacketType.UNSUBACK:
            given.setdefault("reason_codes", [0] * len(last.filters))
        await self.send(kind, given)

    async def send(self, kind: PacketType, fields: dict[str, Any]) -> None:
        packet = _packet(kind, fields)
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


def _told(kind: PacketType, fields: dict[str, Any]) -> str:
    return ", ".join((kind.name, *(f"{k}={v!r}" for k, v in fields.items())))


def _packet(kind: PacketType, fields: dict[str, Any]) -> Packet:
    """Make a packet of a broker."""
    given = dict(fields)
    if isinstance(given.get("properties"), dict):
        given["properties"] = Properties(**given["properties"])
    if kind is PacketType.PUBLISH:
        payload = given.pop("payload", b"")
        return Publish(
            Topic(given.pop("topic", "topic")),
            payload.encode() if isinstance(payload, str) else payload,
            given.pop("qos", 0),
            given.pop("retain", False),
            given.pop("packet_id", 0),
            given.pop("properties", None),
            given.pop("dup", False),
        )
    if kind is PacketType.CONNACK:
        given["reason_code"] = ReasonCode(given.get("reason_code", 0))
        given.setdefault("session_present", False)
        return Connack(**given)
    if kind in (PacketType.SUBACK, PacketType.UNSUBACK):
        given["reason_codes"] = [ReasonCode(code) for code in given["reason_codes"]]
        return Suback(kind, **given)
    if kind is PINGRESP:
        return Ping(kind)
    if kind in (PacketType.DISCONNECT, PacketType.AUTH):
        return Signal(kind, **given)
    if "reason_code" in given:
        given["reason_code"] = ReasonCode(given["reason_code"])
    return Ack(kind, **given)


_SHAPES: Final[dict[PacketType, type]] = {
    PacketType.CONNECT: Connect,
    PacketType.SUBSCRIBE: Subscribe,
    PacketType.UNSUBSCRIBE: Unsubscribe,
    PacketType.PINGREQ: Ping,
    PacketType.DISCONNECT: Signal,
    PacketType.AUTH: Signal,
}
_PROPERTIES: Final = {name for name in vars(Properties) if not name.startswith("_")}


def _fields_of(kind: PacketType) -> set[str]:
    """Return what can be expected of a packet of a client."""
    if kind is PacketType.PUBLISH:
        own = {"topic", "payload", "qos", "retain", "dup", "packet_id", "properties"}
    else:
        own = set(getattr(_SHAPES.get(kind, Ack), "FIELDS", ()))
    if kind is PacketType.SUBSCRIBE:
        own.add("filters")
    return own | _PROPERTIES


def _field(packet: Packet, name: str) -> Any:
    """Return a field of a packet, or a property of it, as a test compares it."""
    if isinstance(packet, Publish) and name in ("topic", "packet_id"):
        return packet.topic.value if name == "topic" else packet.mid
    if isinstance(packet, Subscribe) and name == "filters":
        return [topic_filter for topic_filter, _ in packet.subscriptions]
    if name in _PROPERTIES:
        return getattr(getattr(packet, "properties", None) or Properties(), name)
    return getattr(packet, name)
