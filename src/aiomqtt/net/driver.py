"""The driver of one connection: moves bytes between a transport and the engine.

It keeps the engine's one timer, and reports what happens to its owner, in order.
"""

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from aiomqtt.escaping import escape
from aiomqtt.exceptions import MqttError
from aiomqtt.log import SafeLogger
from aiomqtt.properties import Properties
from aiomqtt.protocol.changes import Change
from aiomqtt.protocol.counts import Counts
from aiomqtt.protocol.engine import Engine
from aiomqtt.protocol.output import Arrived, Closed, Connected, Happening, Output

from .closing import LINGER, Closing
from .coalescing import Coalescer
from .owner import CLOSED, CLOSING, CONNECTED, LEAVING, OPENING, DriverState, Owner
from .packet_log import PacketLog
from .progress import Progress
from .sink import Room
from .writing import HELD_LIMIT, LARGEST_WRITE, NO_LIMIT, write_pieces

if TYPE_CHECKING:
    from .commits import CommitQueue

ENOUGH: Final = Room.ENOUGH


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
        self._counts: Counts = engine.counts
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self.state: DriverState = OPENING
        # The time at which the broker accepted the connection.
        self._connected_at = 0.0
        self._target = target
        self.timeout: float = timeout
        self._commits: CommitQueue[Change] | None = commits
        # The number of bytes that wait until changes are stored, in both directions,
        # and whether they are so many that nothing more is accepted.
        self._held = 0
        self._is_held_up = False
        self.transport: asyncio.Transport | None = None
        # Resolves when the transport is closed.
        self.closed: asyncio.Future[None] = self._loop.create_future()
        # The timer, and the deadline of the engine that it is set to.
        self._timer: asyncio.TimerHandle | None = None
        self._deadline: float | None = None
        # Decides when packets leave; closes the transport, once the connection is over.
        self.coalescer: Coalescer = Coalescer(self._loop, self._end_turn)
        self._closing: Closing | None = None
        # The happenings that are being handled, and those that came meanwhile.
        self._happenings: list[Happening] = []
        # The last request to the transport, and its last notification.
        self.is_reading_paused: bool = False
        self.is_writing_paused: bool = False
        # The largest number of bytes that the transport takes in one write.
        self._largest_write: int = LARGEST_WRITE
        self._progress = Progress()
        self._packet_log = PacketLog(logger, engine.version)

    # --- what the event loop calls ------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; `process` lets the CONNECT out."""
        # Transports of other loops have a base of their own.
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Handle a chunk of bytes and its effects."""
        if self.is_over:
            return
        self.coalescer.start_turn()
        self._counts.bytes_received += len(data)
        now = self._loop.time()
        self._packet_log.received(data, self._engine.is_inside_packet, now)
        self._engine.receive(data, now)
        self.process()

    def eof_received(self) -> None:
        """The broker writes no more: the transport closes by itself."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the end of the connection, if it is not over yet."""
        transport, self.transport = self.transport, None
        if not self.is_over:
            is_accepted = self.state is CONNECTED
            reason = "the broker closed it"
            if exc or not is_accepted:
                from .explain import explain_loss

                reason = explain_loss(exc, transport, is_accepted)
            error = MqttError(f"Connection to {self._target} lost: {escape(reason)}")
            error.__cause__ = exc
            self._engine.connection_lost(error)
            self.process()
        if self._closing is not None:
            self._closing.stop()
        self.state = CLOSED
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        """The transport's buffer is above its high-water mark."""
        self.is_writing_paused = True
        if not self.is_over:
            self._owner.on_pause_writing()

    def resume_writing(self) -> None:
        """The transport's buffer has drained."""
        self.is_writing_paused = False
        if not self.is_over:
            if not self._is_held_up:
                self._owner.on_resume_writing()
        elif self.state is LEAVING:
            self._loop.call_soon(self._half_close)

    # --- what the owner calls -----------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether the connection has ended."""
        return self.state is not CONNECTED and self.state is not OPENING

    @property
    def seconds_connected(self) -> float | None:
        """The duration of the connection in seconds; None: there is none."""
        if self.state is not CONNECTED or self._loop.is_closed():
            return None
        return self._loop.time() - self._connected_at

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
        transport, self.transport = self.transport, None
        if not self.is_over:
            self._engine.connection_lost(MqttError("The connection was cut"))
            self.process()
            self.state = CLOSED
        if transport is not None:
            transport.abort()

    def abandon(self, error: MqttError) -> None:
        """Forget the connection: its event loop was closed while it was there."""
        transport, self.transport = self.transport, None
        if not self.is_over:
            self.state = CLOSED
            self._engine.connection_lost(error)
            self._engine.take()
        if transport is not None:
            from .abandon import abandon

            abandon(transport)

    def pause_or_resume_reading(self) -> None:
        """Read only while there is room for messages.

        A PINGRESP, which has a deadline, is read as long as there is any room at all.
        """
        transport = self.transport
        if transport is None or transport.is_closing() or self.is_over:
            return
        room = self._owner.check_room()
        pause = (
            room is Room.USED_UP
            or self._is_held_up
            or (room is not ENOUGH and not self._engine.keep_alive.is_awaited)
        )
        if pause and not self.is_reading_paused:
            self.is_reading_paused = True
            transport.pause_reading()
        elif not pause and self.is_reading_paused:
            self.is_reading_paused = False
            transport.resume_reading()

    def process(self) -> None:
        """Write the output of the engine, then report the happenings."""
        if self.is_over or (self.transport is None and not self._engine.is_closed):
            # Without a transport, the CONNECT would be lost: it waits for one.
            return
        output = self._engine.take()
        if self._commits is not None and self._commits.holds(output.changes):
            self._hold(output, self._commits)
        else:
            if output.data:
                self._write(output.data)
            if output.happenings:
                self._report(output.happenings)
        self._arm()
        self._look_around()

    def _look_around(self) -> None:
        """Check what depends on the messages and calls that are handled now."""
        owner = self._owner
        if owner.room is not ENOUGH or self.is_reading_paused:
            self.pause_or_resume_reading()
        if owner.follows_progress:
            owner.on_progress()

    # --- a session that is stored -----------------------------------------------------

    def _hold(self, output: Output, commits: "CommitQueue[Change]") -> None:
        """Let an output wait until its changes are stored."""
        if self._engine.is_closed:
            # The owner learns it later, in order, but nothing may be sent any more.
            self.state = LEAVING
            self._cancel_timer()
            self._owner.on_pause_writing()
        self._held += output.size
        commits.add(output.changes, partial(self._release, output))
        if self._held > HELD_LIMIT and not self._is_held_up:
            self._is_held_up = True
            self._owner.on_pause_writing()
            self.pause_or_resume_reading()

    def _release(self, output: Output, is_stored: bool) -> None:
        """Write an output whose changes are stored, and report its happenings.

        If they are not, nothing leaves that depends on them, and no message is
        delivered: the broker sends those with QoS 1 and 2 again.
        """
        self._held -= output.size
        happenings = output.happenings
        if is_stored:
            if output.data:
                self._write(output.data)
        else:
            happenings = [
                happening
                for happening in happenings
                if not isinstance(happening, Arrived)
            ]
        if happenings:
            self._report(happenings)
        if self._is_held_up and self._held <= HELD_LIMIT // 2:
            self._is_held_up = False
            if not self.is_over and not self.is_writing_paused:
                self._owner.on_resume_writing()
        self._look_around()

    # --- between the engine and the transport ---------------------------------------

    def _write(self, data: list[bytes]) -> None:
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        progress = self._progress
        size = write_pieces(transport, data, self._largest_write)
        if not size:
            size = self._write_in_parts(transport, data)
        progress.add(size)
        self._counts.bytes_sent += size
        # Not before: a handler that publishes would overtake them.
        self._packet_log.sent(data)
        if self.is_writing_paused and progress.check_acks(
            self._engine, transport, data
        ):
            self._loop.call_soon(self.process)

    def _write_in_parts(self, transport: asyncio.Transport, data: list[bytes]) -> int:
        """Write many bytes; return their number."""
        # Most programs need it never.
        from .large_writes import with_parts

        transport = self.transport = with_parts(transport, self.is_writing_paused)
        self._largest_write = NO_LIMIT
        return write_pieces(transport, data, NO_LIMIT)

    def _report(self, happenings: list[Happening]) -> None:
        if self._happenings:
            # The program made a call from its queue or log handler: finish the others.
            self._happenings.extend(happenings)
            return
        self._happenings = happenings
        try:
            # The list may grow meanwhile.
            for happening in happenings:
                if isinstance(happening, Connected):
                    if self.state is OPENING:
                        self.state = CONNECTED
                    self._connected_at = self._loop.time()
                elif isinstance(happening, Closed):
                    self._end(happening)
                    continue
                self._owner.handle(happening)
        finally:
            self._happenings = []

    def _end(self, event: Closed) -> None:
        if self.state is not CLOSED:
            self.state = LEAVING
        self._cancel_timer()
        self._owner.handle(event)
        transport = self.transport
        if transport is None or transport.is_closing():
            if self.state is not CLOSED:
                self.state = CLOSING
            return
        if self.is_reading_paused:
            self.is_reading_paused = False
            transport.resume_reading()
        self._closing = Closing(transport)
        # Only a clean exit has to flush all accepted messages.
        if not self._closing.flush(self.timeout if event.error is None else LINGER):
            self._half_close()

    def _half_close(self) -> None:
        if self._closing is not None and self.transport is not None:
            self.state = CLOSING
            self._closing.half_close()

    def _end_turn(self) -> None:
        self.coalescer.end_turn()
        if not self.is_over:
            self.process()
            self._owner.on_turn_end()

    def _arm(self) -> None:
        deadline = self._engine.deadline()
        if deadline is self._deadline or self.is_over:
            return
        self._deadline = deadline
        self._cancel_timer()
        if deadline is not None:
            self._timer = self._loop.call_at(deadline, self._tick, deadline)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self, deadline: float) -> None:
        if self.is_over:
            return
        self._timer = self._deadline = None
        # The loop may be early by the resolution of its clock.
        now = max(deadline, self._loop.time())
        engine, progress = self._engine, self._progress
        progress.tick(engine, self.transport, now)
        was_awaited = engine.keep_alive.is_awaited
        engine.tick(now)
        self.process()
        if engine.keep_alive.is_awaited and not was_awaited:
            progress.on_pingreq()
            progress.tick(engine, self.transport, now)
        self._arm()
