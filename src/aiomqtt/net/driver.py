"""The driver of one connection: moves bytes between a transport and the engine.

It keeps the engine's one timer, and reports what happens to its owner, in order.
"""

import asyncio
from typing import TYPE_CHECKING, cast

from aiomqtt.exceptions import MqttError
from aiomqtt.log import SafeLogger
from aiomqtt.properties import Properties
from aiomqtt.protocol.changes import Change
from aiomqtt.protocol.engine import Engine
from aiomqtt.protocol.output import Closed, Connected, Happening, Output

from .closing import LINGER, Closing
from .coalescing import Coalescer
from .owner import CLOSED, CLOSING, CONNECTED, LEAVING, OPENING, DriverState, Owner
from .packet_log import PacketLog
from .reading import ENOUGH, ReadingGate
from .timer import Timer
from .writer import Writer

if TYPE_CHECKING:
    from .commits import CommitQueue
    from .held import HeldOutputs


class Driver:
    """Drives an engine over one connection.

    It has the methods of an asyncio.Protocol but does not inherit from it: a compiled
    class can't. Once the connection is over, late calls of the transport, the timer and
    the owner no longer reach the engine.

    Args:
        engine: The engine.
        owner: Receives what happens.
        logger: Where packets are logged.
        target: Host and port, for messages.
        timeout: Seconds that the broker has to take what is written last.
        commits: Stores the changes of the session; None: it is not stored.
    """

    def __init__(
        self,
        engine: Engine,
        owner: Owner,
        logger: SafeLogger,
        target: str,
        timeout: float,
        commits: "CommitQueue[Change] | None" = None,
    ) -> None:
        # All fields are valid for the connection.
        self._engine = engine
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self.state: DriverState = OPENING
        self._target = target
        self.timeout: float = timeout
        # Resolves when the transport is closed.
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._packet_log = PacketLog(logger, engine.version)
        self.writer: Writer = Writer(engine, self._packet_log)
        self.reading: ReadingGate = ReadingGate(engine, owner)
        self._timer = Timer(self._loop, self._tick)
        # Decides when packets leave; closes the transport, once the connection is over.
        self.coalescer: Coalescer = Coalescer(self._loop, self._end_turn)
        self._closing: Closing | None = None
        # What waits until it is stored; None: the session is not stored.
        self._held: HeldOutputs | None = None
        if commits is not None:
            from . import held

            self._held = held.HeldOutputs(commits, self._release)
        # The happenings that are being handled, and those that came meanwhile.
        self._happenings: list[Happening] = []

    # --- what the event loop calls ------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; `process` lets the CONNECT out."""
        # Transports of other loops have a base of their own.
        self.writer.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Handle a chunk of bytes and its effects."""
        if self.is_over:
            return
        self.coalescer.start_turn()
        self._engine.counts.bytes_received += len(data)
        now = self._loop.time()
        self._packet_log.received(data, self._engine.is_inside_packet, now)
        self._engine.receive(data, now)
        self.process()

    def eof_received(self) -> None:
        """The broker writes no more: the transport closes by itself."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the end of the connection, if it is not over yet."""
        transport = self.writer.pop_transport()
        if not self.is_over:
            from .explain import explain_loss

            is_accepted = self.state is CONNECTED
            error = explain_loss(self._target, exc, transport, is_accepted)
            self._engine.connection_lost(error)
            self.process()
        if self._closing is not None:
            self._closing.stop()
        self.state = CLOSED
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        """The transport's buffer is above its high-water mark."""
        self.writer.is_paused = True
        if not self.is_over:
            self._owner.on_pause_writing()

    def resume_writing(self) -> None:
        """The transport's buffer has drained."""
        self.writer.is_paused = False
        if not self.is_over:
            if not self._is_held_up():
                self._owner.on_resume_writing()
        elif self.state is LEAVING:
            self._loop.call_soon(self._half_close)

    # --- what the owner calls -----------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether the connection has ended."""
        return self.state is not CONNECTED and self.state is not OPENING

    def push(self, size: int) -> None:
        """Send the last packet, now or with others: see `Coalescer.add`."""
        if self.coalescer.add(size):
            self.process()

    def hold(self) -> None:
        """Let packets gather until this turn of the loop ends, or until `flush`."""
        if not self.is_over:
            self.coalescer.hold()

    def flush(self) -> None:
        """Send the gathered packets now."""
        if not self.is_over:
            self.coalescer.reset()
            self.process()

    def disconnect(self, reason_code: int, properties: Properties | None) -> None:
        """Send the DISCONNECT, and close the connection when it is written."""
        if not self.is_over:
            self._engine.disconnect(reason_code, properties)
            self.process()

    def abort(self) -> None:
        """Cut the connection, if it is still there; nothing more is written."""
        transport = self.writer.pop_transport()
        if not self.is_over:
            self._engine.connection_lost(MqttError("The connection was cut"))
            self.process()
            self.state = CLOSED
        if transport is not None:
            transport.abort()

    def abandon(self, error: MqttError) -> None:
        """Forget the connection: its event loop was closed while it was there."""
        transport = self.writer.pop_transport()
        if not self.is_over:
            self.state = CLOSED
            self._engine.connection_lost(error)
            self._engine.take()
        if transport is not None:
            from .abandon import abandon

            abandon(transport)

    def pause_or_resume_reading(self) -> None:
        """Read only while there is room for messages: see `ReadingGate`."""
        transport = self.writer.transport
        if transport is None or transport.is_closing() or self.is_over:
            return
        self.reading.update(transport, self._is_held_up())

    def _is_held_up(self) -> bool:
        return self._held is not None and self._held.bytes.are_too_many

    def process(self) -> None:
        """Write the output of the engine, then report the happenings."""
        if self.is_over or (
            self.writer.transport is None and not self._engine.is_closed
        ):
            # Without a transport, the CONNECT would be lost: it waits for one.
            return
        output = self._engine.take()
        if self._held is not None and self._held.holds(output):
            self._hold(output, self._held)
        else:
            self._pass_on(output)
        self._arm()
        self._look_around()

    def _pass_on(self, output: Output) -> None:
        if output.data and self.writer.write(output.data):
            self._loop.call_soon(self.process)
        if output.happenings:
            self._report(output.happenings)

    def _look_around(self) -> None:
        """Check what depends on the messages and calls that are handled now."""
        owner = self._owner
        if owner.room is not ENOUGH or self.reading.is_paused:
            self.pause_or_resume_reading()
        if owner.follows_progress:
            owner.on_progress()

    # --- a session that is stored -----------------------------------------------------

    def _hold(self, output: Output, held: "HeldOutputs") -> None:
        if self._engine.is_closed:
            # The owner learns it later, in order, but nothing may be sent any more.
            self.state = LEAVING
            self._timer.stop()
            self._owner.on_pause_writing()
        if held.add(output):
            self._owner.on_pause_writing()
            self.pause_or_resume_reading()

    def _release(self, output: Output, goes_on: bool) -> None:
        self._pass_on(output)
        if goes_on and not self.is_over and not self.writer.is_paused:
            self._owner.on_resume_writing()
        self._look_around()

    # --- between the engine and the transport ---------------------------------------

    def _report(self, happenings: list[Happening]) -> None:
        if self._happenings:
            # The program made a call from its queue or log handler: finish the others.
            self._happenings.extend(happenings)
            return
        self._happenings = happenings
        try:
            # The list may grow meanwhile.
            for happening in happenings:
                if isinstance(happening, Closed):
                    self._end(happening)
                    continue
                if isinstance(happening, Connected) and self.state is OPENING:
                    self.state = CONNECTED
                self._owner.handle(happening)
        finally:
            self._happenings = []

    def _end(self, event: Closed) -> None:
        if self.state is not CLOSED:
            self.state = LEAVING
        self._timer.stop()
        self._owner.handle(event)
        transport = self.writer.transport
        if transport is None or transport.is_closing():
            if self.state is not CLOSED:
                self.state = CLOSING
            return
        self.reading.open(transport)
        self._closing = Closing(transport)
        # Only a clean exit has to flush all accepted messages.
        if not self._closing.flush(self.timeout if event.error is None else LINGER):
            self._half_close()

    def _half_close(self) -> None:
        if self._closing is not None and self.writer.transport is not None:
            self.state = CLOSING
            self._closing.half_close()

    def _end_turn(self) -> None:
        self.coalescer.end_turn()
        if not self.is_over:
            self.process()
            self._owner.on_turn_end()

    def _arm(self) -> None:
        if not self.is_over:
            self._timer.set(self._engine.deadline())

    def _tick(self, now: float) -> None:
        if self.is_over:
            return
        keep_alive = self._engine.keep_alive
        self.writer.check_progress(now)
        was_awaited = keep_alive.is_awaited
        self._engine.tick(now)
        self.process()
        if keep_alive.is_awaited and not was_awaited:
            self.writer.on_pingreq(now)
        self._arm()
