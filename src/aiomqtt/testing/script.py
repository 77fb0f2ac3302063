"""A scripted broker: the conversation that a client is expected to have.

    script = Script()
    script.expect(CONNECT).reply(CONNACK)
    script.expect(PUBLISH, topic="t", qos=1).drop_connection()
    script.expect(CONNECT, clean_start=False).reply(CONNACK, session_present=True)
    script.expect(PUBLISH, dup=True).reply(PUBACK)

    async with script:
        async with aiomqtt.Client(script.host, script.port) as client:
            ...

If the client does anything else, the test fails with the conversation so far.
"""

import asyncio
import itertools
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from aiomqtt.exceptions import MqttError
from aiomqtt.net import memory
from aiomqtt.standard.tables import PacketType

from .packets import describe, fields_of, with_plain_topics
from .raw_peer import listen_in_memory
from .script_run import ScriptRun, Step

# The errors that a client may get when its script fails.
CONSEQUENCES: Final = (MqttError, OSError, EOFError, asyncio.CancelledError)

_numbers = itertools.count(1)


class Script:
    """A conversation, written down in advance; an asynchronous context manager.

    The steps run in order, on one connection after the other: after `drop_connection`
    or `close` the script waits for the next connection. Entering listens; leaving
    waits until the script has ended. Packets that the client sends after that are
    ignored, but another connection fails the test.

    Args:
        ssl_context: The server's TLS context; ``None``: no TLS.
        timeout: How many seconds each step may take.
        answer_pings: Whether to answer a PINGREQ that the script does not expect.

    Attributes:
        host: The address to connect to.
        port: Its port.
        name: The name for ``Client(name, transport="memory")``.

    Raises:
        AssertionError: The client did not do what the script expects. It is raised on
            leaving. If the block fails as a consequence, its error is the cause. Other
            errors of the block get a note with the current step.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext | None = None,
        timeout: float = 5.0,
        answer_pings: bool = True,
    ) -> None:
        self.port: int = 0
        self.name: str = f"script-{next(_numbers)}"
        self._ssl_context = ssl_context
        self._timeout = timeout
        self._answer_pings = answer_pings
        self._steps: list[Step] = []
        self._run: ScriptRun | None = None
        self._task: asyncio.Task[None] | None = None
        self._listener: asyncio.Server | None = None
        self._in_memory: memory.MemoryServer | None = None

    # --- writing the script -----------------------------------------------------------

    def expect(self, kind: PacketType | int, **fields: object) -> Self:
        """Wait for a packet.

        Args:
            kind: The kind of packet, such as `PUBLISH`.
            **fields: The expected values of fields (``topic``, ``payload``, ``qos``,
                ``retain``, ``dup``, ``packet_id``, ``client_id``, ``clean_start``,
                ``filters``, ``reason_code``, ...) and properties (``content_type``,
                ...). Other fields may have any value.

        Raises:
            TypeError: Packets of this kind have no such field.
        """
        expected, fields = PacketType(kind), with_plain_topics(fields)
        unknown = set(fields) - fields_of(expected)
        if unknown:
            msg = f"{expected.name} has no {', '.join(sorted(unknown))}"
            raise TypeError(msg)
        wanted = f"expect({describe(expected, fields)})"
        self._steps.append((wanted, lambda run: run.expect(expected, fields)))
        return self

    def reply(self, kind: PacketType | int | None = None, **fields: object) -> Self:
        """Answer the last packet, with its packet identifier.

        Args:
            kind: The kind of the answer; ``None``: the standard's answer.
            **fields: The fields that differ from those of a success: ``reason_code``,
                ``session_present``, ``reason_codes``, ``packet_id``, ``properties``.
        """
        answer = None if kind is None else PacketType(kind)
        fields = with_plain_topics(fields)
        text = f"reply({'' if answer is None else describe(answer, fields)})"
        self._steps.append((text, lambda run: run.reply(answer, fields)))
        return self

    def reply_by(self, function: Callable[..., object]) -> Self:
        """Answer the last packet with the result of a function.

        Args:
            function: A function, or a coroutine function, that is called with the
                packet. It returns bytes, a packet of `aiomqtt.protocol.packets`, a list
                of these, or ``None`` for no answer.
        """
        text = f"reply_by({function})"
        self._steps.append((text, lambda run: run.reply_by(function)))
        return self

    def send(self, what: PacketType | int | bytes, **fields: object) -> Self:
        """Send a packet, or raw bytes.

        Args:
            what: The kind of packet, such as `PUBLISH` or `DISCONNECT`; or bytes.
            **fields: The fields of the packet.
        """
        if isinstance(what, bytes):
            data = what
            self._steps.append((f"send({data!r})", lambda run: run.write(data)))
            return self
        kind, fields = PacketType(what), with_plain_topics(fields)
        self._steps.append(
            (f"send({describe(kind, fields)})", lambda run: run.send(kind, fields))
        )
        return self

    def wait(self, seconds: float) -> Self:
        """Wait for some seconds."""
        self._steps.append((f"wait({seconds})", lambda run: asyncio.sleep(seconds)))
        return self

    def call(self, function: Callable[[], object]) -> Self:
        """Call a function or a coroutine function of the test."""
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

    # --- running the script ---------------------------------------------------

    async def __aenter__(self) -> Self:
        """Listen, and start the script."""
        self._run = run = ScriptRun(self._timeout, self._answer_pings)
        self._listener = await asyncio.start_server(
            run.connected, self.host, 0, ssl=self._ssl_context
        )
        self.port = self._listener.sockets[0].getsockname()[1]
        self._in_memory = listen_in_memory(self.name, run.connected)
        self._task = asyncio.get_running_loop().create_task(run.run_steps(self._steps))
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Wait for the end of the script; stop it if the block failed."""
        assert self._run is not None
        assert self._task is not None
        assert self._listener is not None
        assert self._in_memory is not None
        try:
            if exc is not None:
                # The script may be about to fail for the same reason.
                await asyncio.wait((self._task,), timeout=0.05)
                self._task.cancel()
            await asyncio.wait((self._task,))
            failed = None
            if not self._task.cancelled():
                failed = self._task.exception() or self._run.surplus_error()
            # The script does not explain other errors of the block.
            if failed is not None and (exc is None or isinstance(exc, CONSEQUENCES)):
                raise failed from exc
            if exc is not None and self._run.current_step:
                exc.add_note(self._run.report("the script was waiting"))
        finally:
            self._task.cancel()
            self._listener.close()
            self._in_memory.close()
            await self._run.end()
            await self._listener.wait_closed()
