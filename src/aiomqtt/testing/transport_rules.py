"""The rules that every transport has to keep, each with its check."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from .recorder import Recorder, reported_errors, require

# More than a socket takes from a writer whose peer does not read, in bytes.
MUCH: Final = 8 * 1024 * 1024
# The sizes of chunks that are written one after the other, in bytes.
SIZES: Final = (1, 2, 3, 100, 4095, 4096, 4097, 20_000, 65_536, 300_000, 1)


class Pair(NamedTuple):
    """The two ends of a connection."""

    client: Recorder
    server: Recorder
    timeout: float

    @property
    def directions(self) -> list[tuple[Recorder, Recorder]]:
        """The writing and the reading end, for each direction."""
        return [(self.client, self.server), (self.server, self.client)]


async def _turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def _pattern(size: int) -> bytes:
    """Return bytes in which an exchange of two pieces shows."""
    block = bytes(range(251))
    return (block * (size // len(block) + 1))[:size]


# --- data -------------------------------------------------------------------------


async def _check_order(pair: Pair) -> None:
    sent: dict[int, bytes] = {}
    for direction, (writer, _) in enumerate(pair.directions):
        data = _pattern(sum(SIZES) + direction)
        position = 0
        for size in SIZES:
            writer.transport.write(data[position : position + size])
            position += size
        writer.transport.write(b"")
        writer.transport.write(data[position:])
        sent[direction] = data
    for direction, (_, reader) in enumerate(pair.directions):
        await reader.expect(sent[direction])


async def _check_kinds(pair: Pair) -> None:
    for writer, reader in pair.directions:
        writer.transport.writelines([b"a", bytearray(b"b"), memoryview(b"cd")[1:]])
        writer.transport.writelines([])
        writer.transport.write(bytearray(b"e"))
        writer.transport.write(memoryview(b"fgh")[:2])
        await reader.expect(b"abdefg")


async def _check_copies(pair: Pair) -> None:
    for writer, reader in pair.directions:
        data = bytearray(b"abc")
        writer.transport.write(data)
        writer.transport.write(memoryview(data)[1:])
        data[:] = b"xyz"
        await reader.expect(b"abcbc")


async def _check_later(pair: Pair) -> None:
    for writer, reader in pair.directions:
        writer.transport.write(b"a")
        writer.transport.writelines([b"b"])
        require(
            not reader.received, "write must not call data_received of the other end"
        )
        await reader.expect(b"ab")


async def _check_answers(pair: Pair) -> None:
    client, server = pair.client, pair.server
    server.actions["data_received"] = lambda: server.transport.write(b"answer")
    client.actions["data_received"] = lambda: client.transport.close()
    client.transport.write(b"question")
    await client.wait_until_lost()
    await server.wait_until_lost()
    require(
        client.received == b"answer", f"the answer has to arrive: {client.received!r}"
    )
    require(client.error is None, f"the error has to be None, not {client.error!r}")


async def _check_protocol(pair: Pair) -> None:
    for writer, reader in pair.directions:
        require(
            reader.transport.get_protocol() is reader, "get_protocol has to return it"
        )
        other = Recorder(pair.timeout)
        reader.transport.set_protocol(other)
        require(
            reader.transport.get_protocol() is other, "set_protocol has to change it"
        )
        writer.transport.write(b"a")
        await other.expect(b"a")
        reader.transport.set_protocol(reader)


async def _check_extra_info(pair: Pair) -> None:
    for end in (pair.client, pair.server):
        transport, default = end.transport, object()
        require(
            transport.get_extra_info("peername") is not None,
            "get_extra_info('peername') must not be None",
        )
        require(
            transport.get_extra_info("no such name", default) is default,
            "get_extra_info has to return the default for an unknown name",
        )


# --- flow control -----------------------------------------------------------------


async def _check_pausing_reading(pair: Pair) -> None:
    for writer, reader in pair.directions:
        reader.transport.pause_reading()
        writer.transport.write(b"a")
        await _turns()
        await asyncio.sleep(0.02)
        require(not reader.received, "while reading is paused, no data may arrive")
        reader.transport.resume_reading()
        await reader.expect(b"a")
        reader.transport.pause_reading()
        reader.transport.resume_reading()
        writer.transport.write(b"b")
        await reader.expect(b"ab")


async def _fill(writer: Recorder, piece: bytes) -> int:
    """Write until `pause_writing` is called; return how many bytes were written."""
    written = 0
    while writer.names[-1] != "pause_writing":
        require(
            written < 8 * MUCH,
            f"pause_writing has to be called: {written} bytes are not read, and"
            f" {writer.transport.get_write_buffer_size()} in the buffer",
        )
        writer.transport.write(piece)
        written += len(piece)
        await asyncio.sleep(0)
    return written


async def _check_pausing_writing(pair: Pair) -> None:
    for writer, reader in pair.directions:
        await _check_marks(writer, reader)


async def _check_marks(writer: Recorder, reader: Recorder) -> None:
    piece = _pattern(200_000)
    reader.transport.pause_reading()
    low, high = writer.transport.get_write_buffer_limits()
    written = await _fill(writer, piece)
    name, size = writer.log[-1]
    message = f"{name} was called with {size} bytes in the buffer, and the mark is"
    require(isinstance(size, int) and size >= high, f"{message} {high}")
    await _turns()
    reader.transport.resume_reading()
    text = "resume_writing has to be called when the other end reads"
    await writer.wait_for(lambda: writer.names[-1] == "resume_writing", text)
    # What is between the ends may take more before the other end reads.
    for name, size in writer.log:
        if name == "resume_writing":
            message = f"{name} was called with {size} bytes in the buffer, and the mark"
            require(isinstance(size, int) and size <= low, f"{message} is {low}")
    await reader.expect(piece * (written // len(piece)))
    await _turns()
    require(
        writer.transport.get_write_buffer_size() == 0,
        "get_write_buffer_size has to be 0 when everything was read",
    )


async def _check_limits(pair: Pair) -> None:
    for end in (pair.client, pair.server):
        transport = end.transport
        low, high = transport.get_write_buffer_limits()
        require(0 <= low <= high, f"the limits make no sense: {low}, {high}")
        transport.set_write_buffer_limits(high=1000, low=100)
        limits = transport.get_write_buffer_limits()
        require(
            limits == (100, 1000), f"the limits have to be (100, 1000), not {limits}"
        )
        for wrong_high, wrong_low in ((1, 2), (1, -1)):
            try:
                transport.set_write_buffer_limits(high=wrong_high, low=wrong_low)
            except ValueError:
                continue
            raise AssertionError(
                f"limits of high={wrong_high}, low={wrong_low} have to be a ValueError"
            )


# --- the end of the file ----------------------------------------------------------


async def _check_eof(pair: Pair) -> None:
    client, server = pair.client, pair.server
    data = _pattern(MUCH)
    if not client.transport.can_write_eof():
        try:
            client.transport.write_eof()
        except NotImplementedError:
            return
        raise AssertionError("write_eof needs can_write_eof, or NotImplementedError")
    server.keep_open = True
    server.transport.pause_reading()
    client.transport.write(data)
    client.transport.write_eof()
    client.transport.write_eof()
    try:
        client.transport.write(b"a")
    except RuntimeError:
        pass
    else:
        raise AssertionError("a write after write_eof has to be a RuntimeError")
    await _turns()
    require("eof_received" not in server.names, "eof_received came before the data")
    server.transport.resume_reading()
    text = "eof_received has to be called"
    await server.wait_for(lambda: "eof_received" in server.names, text)
    await server.expect(data)
    await _turns()
    require(not server.is_lost, "an end whose eof_received returns True stays open")
    require(not server.transport.is_closing(), "it must not be closing either")
    server.transport.write(b"more")
    await client.expect(b"more")
    server.transport.close()
    await client.wait_until_lost()
    await server.wait_until_lost()


async def _check_eof_closes(pair: Pair) -> None:
    client, server = pair.client, pair.server
    if client.transport.can_write_eof():
        client.transport.write_eof()
    else:
        client.transport.close()
    for end in (server, client):
        await end.wait_until_lost()
        require(end.error is None, f"the error has to be None, not {end.error!r}")
    require("eof_received" in server.names, "eof_received has to be called")


# --- closing ----------------------------------------------------------------------


async def _check_close(pair: Pair) -> None:
    client, server = pair.client, pair.server
    require(not client.transport.is_closing(), "is_closing has to be False when open")
    client.transport.close()
    client.transport.close()
    require(client.transport.is_closing(), "is_closing has to be True after close")
    require(not client.is_lost, "close must not call connection_lost itself")
    await client.wait_until_lost()
    require(client.error is None, f"the error has to be None, not {client.error!r}")
    await server.wait_until_lost()
    require("eof_received" in server.names, "eof_received has to be called")
    require(server.error is None, f"the error has to be None, not {server.error!r}")


async def _check_close_flushes(pair: Pair) -> None:
    client, server = pair.client, pair.server
    data = _pattern(MUCH)
    server.transport.pause_reading()
    client.transport.write(data)
    client.transport.write(b"last")
    client.transport.close()
    await _turns()
    require(not client.is_lost, "it is lost before the other end has read everything")
    server.transport.resume_reading()
    await server.wait_until_lost()
    await server.expect(data + b"last")
    await client.wait_until_lost()
    require(client.error is None, f"the error has to be None, not {client.error!r}")


async def _check_closed_reads_nothing(pair: Pair) -> None:
    client, server = pair.client, pair.server
    client.transport.close()
    server.transport.write(b"late")
    await client.wait_until_lost()
    require(not client.received, "after close no data may be received")
    await server.wait_until_lost()


async def _check_writes_after_close(pair: Pair) -> None:
    client, server = pair.client, pair.server
    client.transport.write(b"a")
    client.transport.close()
    client.transport.write(b"late")
    await client.wait_until_lost()
    client.transport.close()
    client.transport.abort()
    await server.wait_until_lost()
    # A transport that still has data to send may send more, as asyncio's own do.
    received = bytes(server.received)
    require(received in (b"a", b"alate"), f"b'a' has to arrive, not {received!r}")


async def _check_abort(pair: Pair) -> None:
    client, server = pair.client, pair.server
    server.transport.pause_reading()
    written = await _fill(client, _pattern(200_000))
    client.transport.write(_pattern(MUCH))
    client.transport.abort()
    client.transport.abort()
    require(client.transport.is_closing(), "is_closing has to be True after abort")
    require(not client.is_lost, "abort must not call connection_lost itself")
    await client.wait_until_lost()
    require(client.error is None, f"the error has to be None, not {client.error!r}")
    server.transport.resume_reading()
    await server.wait_until_lost()
    require(
        len(server.received) < written + MUCH, "abort has to drop what was not read"
    )


async def _check_abort_after_close(pair: Pair) -> None:
    client, server = pair.client, pair.server
    server.transport.pause_reading()
    await _fill(client, _pattern(200_000))
    client.transport.write(_pattern(MUCH))
    client.transport.close()
    await _turns()
    require(not client.is_lost, "it is lost before the other end has read everything")
    client.transport.abort()
    await client.wait_until_lost()


async def _check_both_close(pair: Pair) -> None:
    for end in (pair.client, pair.server):
        end.transport.close()
    for end in (pair.client, pair.server):
        await end.wait_until_lost()
        require(end.error is None, f"the error has to be None, not {end.error!r}")


# --- errors of the protocol ---------------------------------------------------------


class _PlannedError(Exception):
    """An exception of a protocol, which a check has planned."""


def _fail() -> None:
    raise _PlannedError


async def _check_failing_protocol(pair: Pair) -> None:
    client, server = pair.client, pair.server
    with reported_errors() as reported:
        client.actions["data_received"] = _fail
        server.transport.write(b"a")
        await client.wait_until_lost()
        await server.wait_until_lost()
    found = [context.get("exception") for context in reported]
    require(
        any(isinstance(error, _PlannedError) for error in found),
        f"the exception has to be reported to the loop's exception handler: {found}",
    )


async def _check_failing_flow(pair: Pair) -> None:
    client, server = pair.client, pair.server
    piece = _pattern(200_000)
    with reported_errors() as reported:
        client.actions = {"pause_writing": _fail, "resume_writing": _fail}
        server.transport.pause_reading()
        written = await _fill(client, piece)
        server.transport.resume_reading()
        await server.expect(piece * (written // len(piece)))
        text = "resume_writing has to be called"
        await client.wait_for(lambda: client.names[-1] == "resume_writing", text)
    found = [context.get("exception") for context in reported]
    calls = [name for name in client.names if name.endswith("_writing")]
    require(
        len([error for error in found if isinstance(error, _PlannedError)])
        == len(calls),
        f"each exception has to be reported to the loop's exception handler: {found}",
    )


RULES: Final[dict[str, Callable[[Pair], Awaitable[None]]]] = {
    "data arrives complete and in order": _check_order,
    "all bytes-like data can be written": _check_kinds,
    "data is sent as it was when written": _check_copies,
    "no call of one end calls the other at once": _check_later,
    "callbacks may write and close": _check_answers,
    "the protocol can be changed": _check_protocol,
    "get_extra_info knows the peer": _check_extra_info,
    "reading can be paused": _check_pausing_reading,
    "writing is paused at the high mark and resumed at the low mark": (
        _check_pausing_writing
    ),
    "the limits of the write buffer can be set": _check_limits,
    "write_eof ends one direction": _check_eof,
    "the end of the file closes": _check_eof_closes,
    "close ends the connection": _check_close,
    "close sends everything first": _check_close_flushes,
    "a closed end receives nothing": _check_closed_reads_nothing,
    "writing to a closed transport is harmless": _check_writes_after_close,
    "abort drops unsent data": _check_abort,
    "abort ends a transport that is closing": _check_abort_after_close,
    "both ends may close at once": _check_both_close,
    "an error of the protocol ends the connection": _check_failing_protocol,
    "an error in pause_writing or resume_writing is reported": _check_failing_flow,
}
