"""Connections in memory, where `check_transport` does not reach.

A conversation that sockets can have too runs over both, with one outcome.
"""

import asyncio
import contextvars
import gc
import socket
import weakref
from typing import Any

import pytest

from aiomqtt import MqttError
from aiomqtt.net.memory import MemoryTransport, listen, open_memory
from tests.raw_scripts import turns, within

# More than what a socket takes at once, from a peer that does not read.
MUCH = 4 * 1024 * 1024


class End(asyncio.Protocol):
    """An end of a connection that notes what happens to it.

    Bytes that follow each other are one entry: how they are cut is nobody's to know.
    """

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.keep_open = False
        self.transport: Any = None
        # Methods to call in the middle of one, by its name.
        self.then: dict[str, Any] = {}
        self._changed = asyncio.Event()

    def _note(self, entry: Any, method: str) -> None:
        if isinstance(entry, bytes) and self.log and isinstance(self.log[-1], bytes):
            self.log[-1] += entry
        else:
            self.log.append(entry)
        self._changed.set()
        if method in self.then:
            self.then[method]()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._note("made", "made")

    def data_received(self, data: bytes) -> None:
        assert type(data) is bytes
        self._note(data, "data")

    def eof_received(self) -> bool:
        self._note("eof", "eof")
        return self.keep_open

    def pause_writing(self) -> None:
        self._note("pause", "pause")

    def resume_writing(self) -> None:
        self._note("resume", "resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self._note(("lost", type(exc).__name__ if exc else None), "lost")

    @property
    def is_lost(self) -> bool:
        return isinstance(self.log[-1] if self.log else None, tuple)

    async def _until(self, reached: Any) -> bool:
        try:
            async with asyncio.timeout(5):
                while not reached():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def until(self, *entries: Any) -> None:
        """Wait until the log is "made" and these."""
        await self._until(lambda: self.log == ["made", *entries])
        assert self.log == ["made", *entries]

    async def until_lost(self) -> None:
        assert await self._until(lambda: self.is_lost), self.log

    async def gone(self) -> None:
        """Abort, unless that is over."""
        self.then.clear()
        if not self.is_lost:
            self.transport.abort()
            await self.until_lost()


LOST = ("lost", None)


async def over_memory(near: End, far: End) -> None:
    server = listen("pair", lambda: far)
    try:
        await open_memory("pair", lambda: near)
    finally:
        server.close()


async def over_sockets(near: End, far: End) -> None:
    loop = asyncio.get_running_loop()
    here, there = socket.socketpair()
    for sock in (here, there):
        sock.setblocking(False)
    await loop.connect_accepted_socket(lambda: far, there)
    await loop.create_unix_connection(lambda: near, sock=here)


@pytest.fixture(params=[over_memory, over_sockets])
async def pair(request, anyio_backend):
    """Two ends, connected; aborted after the test, if they are still there."""
    near, far = End(), End()
    await request.param(near, far)
    yield near, far
    await near.gone()
    await far.gone()


@pytest.fixture
def asyncio_pair(pair):
    """Return `pair`, for tests of behaviour that uvloop's sockets do not have."""
    if type(pair[0].transport).__module__.startswith("uvloop"):
        pytest.skip("uvloop's own sockets do otherwise")
    return pair


@pytest.fixture
async def memory(anyio_backend):
    """Two ends, connected in memory."""
    near, far = End(), End()
    await over_memory(near, far)
    yield near, far
    await near.gone()
    await far.gone()


# --- bytes ------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["text", None, 5])
async def test_what_is_no_bytes(asyncio_pair, wrong):
    near, far = asyncio_pair
    with pytest.raises(TypeError):
        near.transport.write(wrong)
    with pytest.raises(TypeError):
        near.transport.writelines([b"lost", wrong])
    near.transport.write(b"a")
    await far.until(b"a")


async def test_large_chunks_are_not_copied(memory):
    near, far = memory
    seen: list[bytes] = []
    far.data_received = seen.append
    large, small = b"x" * 1_000_000, b"y" * 100
    near.transport.writelines([small, small, large, small])
    await turns(1)
    assert [len(data) for data in seen] == [200, 1_000_000]
    assert seen[1] is large
    await turns()
    assert [len(data) for data in seen] == [200, 1_000_000, 100]


async def test_a_batch_of_writes_is_one_call(memory, monkeypatch):
    near, far = memory
    scheduled = []
    loop = asyncio.get_running_loop()
    call_soon = loop.call_soon

    class Counting:
        """A loop that counts; uvloop's own has no attributes to replace."""

        def call_soon(self, callback, *args, context=None):
            scheduled.append(callback)
            return call_soon(callback, *args, context=context)

    monkeypatch.setattr(far.transport, "_loop", Counting())
    monkeypatch.setattr(near.transport, "_loop", Counting())
    seen: list[bytes] = []
    far.data_received = seen.append
    for _ in range(1000):
        near.transport.write(b"x" * 20)
    await turns()
    assert seen == [b"x" * 20_000]
    assert len(scheduled) == 1


async def test_one_turn_reads_no_more_than_a_socket_would(memory):
    """Others get their turn while much comes."""
    near, far = memory
    for _ in range(64):
        near.transport.write(b"x" * 10_000)
    await turns(1)
    assert 256 * 1024 <= len(far.log[-1]) <= 256 * 1024 + 10_000
    await far.until(b"x" * 640_000)


# --- flow control -----------------------------------------------------------------


async def test_reading_pauses_in_the_middle(memory):
    near, far = memory
    far.then["data"] = far.transport.pause_reading
    large = b"x" * 20_000
    near.transport.writelines([large, large])
    await turns(5)
    assert far.log == ["made", large]
    assert near.transport.get_write_buffer_size() == 20_000
    far.transport.resume_reading()
    await turns(5)
    assert far.log == ["made", large * 2]


async def test_the_limits(memory):
    near, far = memory
    assert near.transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
    far.transport.pause_reading()
    near.transport.write(b"x" * 64 * 1024)
    assert near.log == ["made"]
    near.transport.write(b"x")
    assert near.log == ["made", "pause"]
    near.transport.write(b"x" * 100_000)
    assert near.log == ["made", "pause"]
    assert near.transport.get_write_buffer_size() == 64 * 1024 + 1 + 100_000
    far.transport.resume_reading()
    await turns()
    assert near.log == ["made", "pause", "resume"]


async def test_it_resumes_at_the_low_mark(memory):
    near, far = memory
    near.transport.set_write_buffer_limits(30_000, 20_000)
    large = b"x" * 20_000
    far.then["data"] = far.transport.pause_reading
    near.transport.writelines([large, large, large])
    for expected in (["pause"], ["pause", "resume"], ["pause", "resume"]):
        await turns(5)
        assert near.log[1:] == expected
        far.transport.resume_reading()


@pytest.mark.parametrize(
    ("arguments", "limits"),
    [
        ({}, (16 * 1024, 64 * 1024)),
        ({"high": 0}, (0, 0)),
        ({"high": 1000}, (250, 1000)),
        ({"low": 100}, (100, 400)),
        ({"high": 200, "low": 100}, (100, 200)),
    ],
)
async def test_limits_are_set(pair, arguments, limits):
    near, _ = pair
    near.transport.set_write_buffer_limits(**arguments)
    assert near.transport.get_write_buffer_limits() == limits


async def test_lower_limits_pause_at_once(memory):
    near, far = memory
    near.transport.write(b"x")
    near.transport.set_write_buffer_limits(0)
    assert near.log == ["made", "pause"]
    await far.until(b"x")
    await near.until("pause", "resume")


async def test_it_may_write_when_it_resumes(memory):
    near, far = memory
    near.transport.set_write_buffer_limits(0)
    rest = [b"b", b"c"]
    near.then["resume"] = lambda: rest and near.transport.write(rest.pop(0))
    near.transport.write(b"a")
    await far.until(b"abc")
    await near.until(*["pause", "resume"] * 3)


# --- the end of the file ----------------------------------------------------------


async def test_both_say_that_it_is_the_end(pair):
    near, far = pair
    near.keep_open = far.keep_open = True
    near.transport.write(b"a")
    near.transport.write_eof()
    far.transport.write(b"b")
    far.transport.write_eof()
    await near.until(b"b", "eof")
    await far.until(b"a", "eof")
    near.transport.close()
    far.transport.close()
    await near.until(b"b", "eof", LOST)
    await far.until(b"a", "eof", LOST)


# --- closing ----------------------------------------------------------------------


async def test_close(asyncio_pair):
    near, far = asyncio_pair
    assert not near.transport.is_closing()
    near.transport.close()
    near.transport.close()
    assert near.transport.is_closing()
    assert not near.transport.is_reading()
    assert near.log == ["made"]
    await near.until(LOST)
    await far.until("eof", LOST)
    # All of it is harmless now.
    near.transport.write(b"a")
    near.transport.write_eof()
    near.transport.close()
    near.transport.abort()


async def test_both_close_with_something_to_say(pair):
    near, far = pair
    near.transport.write(b"a")
    far.transport.write(b"b")
    near.transport.close()
    far.transport.close()
    await near.until(LOST)
    await far.until(LOST)


async def test_close_when_made(anyio_backend):
    for connect in (over_memory, over_sockets):
        near, far = End(), End()
        far.then["made"] = lambda far=far: far.transport.close()
        await connect(near, far)
        await near.until("eof", LOST)
        await far.until(LOST)


# --- what is written to an end that is closed ---------------------------------------


async def test_bytes_that_nobody_read_are_reported(pair):
    near, far = pair
    near.transport.pause_reading()
    far.transport.write(b"lost")
    await turns(5)
    near.transport.write(b"a")
    near.transport.close()
    await near.until(LOST)
    await far.until(b"a", ("lost", "ConnectionResetError"))


async def test_a_write_after_the_end_is_reported(pair):
    near, far = pair
    far.keep_open = True
    near.transport.close()
    await far.until("eof")
    await near.until(LOST)
    far.transport.write(b"lost")
    await far.until("eof", ("lost", "BrokenPipeError"))


async def test_a_write_that_crosses_the_end_is_reported(memory):
    near, far = memory
    near.transport.write(b"goodbye")
    near.transport.close()
    far.transport.write(b"lost")
    await far.until(b"goodbye", ("lost", "ConnectionResetError"))
    await near.until(LOST)


async def test_a_write_is_reported_to_who_does_not_read(memory):
    near, far = memory
    far.transport.pause_reading()
    near.transport.close()
    await near.until(LOST)
    far.transport.write(b"lost")
    assert far.log == ["made"]
    await far.until(("lost", "BrokenPipeError"))


async def test_who_waited_for_room_goes_on(memory):
    near, far = memory
    near.transport.pause_reading()
    far.transport.write(b"x" * MUCH)
    near.transport.close()
    await far.until("pause", "resume", ("lost", "ConnectionResetError"))


async def test_who_was_to_write_the_rest_is_done_when_nobody_reads_it(memory):
    near, far = memory
    near.transport.pause_reading()
    far.transport.write(b"x" * MUCH)
    far.transport.close()
    await turns(5)
    assert far.log == ["made", "pause"]
    near.transport.abort()
    await far.until("pause", "resume", LOST)


# --- protocols --------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", ["data_received", "eof_received", "pause_writing", "resume_writing"]
)
async def test_an_error_of_a_protocol(asyncio_pair, method):
    near, far = asyncio_pair
    reported = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context))

    def fail(*_):
        raise LookupError(method)

    setattr(near, method, fail)
    try:
        if method in ("data_received", "eof_received"):
            far.transport.write(b"a")
            far.transport.write_eof()
            lost: Any = ("lost", "LookupError")
        else:
            near.transport.write(b"x" * MUCH)
            near.transport.write(b"x")
            near.transport.close()
            lost = LOST
        await near.until_lost()
        assert near.log[-1] == lost
    finally:
        loop.set_exception_handler(None)
    assert [str(context["exception"]) for context in reported] == [method]
    assert reported[0]["transport"] is near.transport
    assert reported[0]["protocol"] is near


async def test_a_protocol_runs_in_its_own_context(anyio_backend):
    variable = contextvars.ContextVar("variable", default="none")
    seen = []

    class Asking(End):
        def _note(self, entry, method):
            seen.append((self is far, method, variable.get()))

    near, far = Asking(), Asking()
    variable.set("far")
    server = listen("contexts", lambda: far)
    variable.set("near")
    await open_memory("contexts", lambda: near)
    variable.set("other")
    near.transport.write(b"x" * 100_000)
    far.transport.write(b"a")
    await turns(5)
    near.transport.close()
    await turns(5)
    server.close()
    # It pauses in the middle of the write that was one too many, as asyncio has it.
    assert [name for _, method, name in seen if method == "pause"] == ["other"]
    rest = [(is_far, name) for is_far, method, name in seen if method != "pause"]
    assert set(rest) == {(True, "far"), (False, "near")}
    assert len(rest) == 8


async def test_what_is_known_of_it(memory):
    near, far = memory
    assert near.transport.get_extra_info("peername") == "memory"
    assert far.transport.get_extra_info("socket") is None
    assert far.transport.get_extra_info("nothing", 5) == 5
    near.transport.write(b"abc")
    assert repr(near.transport) == "<MemoryTransport open, reading, bufsize=3>"
    near.transport.close()
    assert repr(near.transport) == "<MemoryTransport closing, not reading, bufsize=3>"
    await turns(5)
    assert repr(near.transport) == "<MemoryTransport closed, not reading, bufsize=0>"


async def test_streams(anyio_backend):
    """asyncio's streams work on these transports."""

    async def echo(reader, writer):
        while data := await reader.read(1000):
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    def factory(reader, callback=None):
        return asyncio.StreamReaderProtocol(reader, callback)

    server = listen("echo", lambda: factory(asyncio.StreamReader(), echo))
    reader = asyncio.StreamReader()
    protocol = factory(reader)
    await open_memory("echo", lambda: protocol)
    server.close()
    loop = asyncio.get_running_loop()
    writer = asyncio.StreamWriter(protocol._transport, protocol, reader, loop)
    writer.write(b"hello")
    assert await within(reader.readexactly(5)) == b"hello"
    writer.write_eof()
    assert await within(reader.read()) == b""
    writer.close()
    await within(writer.wait_closed())
    await turns(5)


async def test_nothing_stays_in_memory(anyio_backend):
    near, far = End(), End()
    await over_memory(near, far)
    near.transport.write(b"x" * 100_000)
    near.transport.close()
    await far.until(b"x" * 100_000, "eof", LOST)
    await turns()
    ends = [weakref.ref(end) for end in (near, far)]
    transports = [weakref.ref(end.transport) for end in (near, far)]
    gc.disable()
    try:
        del near, far
        # Without the garbage collector: there are no cycles.
        assert [end() for end in ends] == [None, None]
        assert [transport() for transport in transports] == [None, None]
    finally:
        gc.enable()


# --- who is connected to whom -------------------------------------------------------


async def test_both_are_made_before_opening_returns(anyio_backend):
    order = []
    near, far = End(), End()
    far.then["made"] = lambda: order.append("far")
    near.then["made"] = lambda: order.append("near")
    server = listen("a", lambda: far)
    assert server.name == "a"
    await open_memory("a", lambda: near)
    assert order == ["far", "near"]
    assert isinstance(near.transport, MemoryTransport)
    server.close()
    near.transport.close()
    await far.until("eof", LOST)


async def test_what_is_said_first_comes_after_all_is_made(anyio_backend):
    near, far = End(), End()
    far.then["made"] = lambda: far.transport.write(b"welcome")
    await over_memory(near, far)
    await near.until(b"welcome")
    near.transport.close()
    await far.until("eof", LOST)


async def test_a_name_is_taken_once(anyio_backend):
    server = listen("a", End)
    with pytest.raises(ValueError, match="memory:a is taken"):
        listen("a", End)
    server.close()
    again = listen("a", End)
    server.close()  # not his any more
    with pytest.raises(ValueError, match="memory:a is taken"):
        listen("a", End)
    again.close()


async def test_nobody_of_that_name(anyio_backend):
    match = "Could not connect to memory:b: no broker of that name runs in this process"
    with pytest.raises(MqttError, match=match):
        await open_memory("b", End)
    listen("b", End).close()
    with pytest.raises(MqttError, match=match):
        await open_memory("b", End)


def test_another_event_loop():
    async def connect():
        await open_memory("a", End)

    async def listening():
        return listen("a", End)

    first = asyncio.new_event_loop()
    try:
        server = first.run_until_complete(listening())
        with pytest.raises(MqttError, match="memory:a: the broker .* another event"):
            asyncio.run(connect())
    finally:
        first.close()
    # Nobody can connect to it any more, and the name is free.
    with pytest.raises(MqttError, match="memory:a: no broker of that name"):
        asyncio.run(connect())

    async def again():
        listen("a", End).close()

    asyncio.run(again())
    server.close()
