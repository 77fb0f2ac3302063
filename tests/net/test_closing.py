"""The steps in which a connection closes: flush, half-close, linger, cut."""

import asyncio
import contextlib
import socket
from typing import Any

import pytest

from aiomqtt.net import closing
from aiomqtt.net.closing import Closing, has_unsent_tls
from tests.checked_transports import connect_by


class Transport:
    """A transport that notes what is asked of it."""

    def __init__(self, unsent: int = 0, *, has_half: bool = True) -> None:
        self.unsent = unsent
        self.has_half = has_half
        self.is_reset = False
        self.calls: list[str] = []

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def set_write_buffer_limits(self, high: int) -> None:
        self.calls.append(f"limits {high}")

    def get_extra_info(self, name: str) -> None:
        """Return None: it has neither TLS nor a socket."""

    def can_write_eof(self) -> bool:
        return self.has_half

    def write_eof(self) -> None:
        if self.is_reset:
            raise OSError
        self.calls.append("eof")

    def is_closing(self) -> bool:
        return "close" in self.calls or "abort" in self.calls

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")


def new_closing(**arguments: Any) -> tuple[Closing, Transport]:
    transport: Any = Transport(**arguments)
    return Closing(transport), transport


@pytest.fixture
def _short_linger(monkeypatch):
    monkeypatch.setattr(closing, "LINGER", 0.01)


async def test_with_nothing_to_write_the_next_step_is_to_half_close():
    closing, transport = new_closing()
    assert not closing.flush(10)
    closing.half_close()
    assert transport.calls == ["eof"]
    closing.stop()


async def test_what_is_written_leaves_first():
    closing, transport = new_closing(unsent=1)
    assert closing.flush(10)
    # From now on the buffer has drained when it is empty.
    assert transport.calls == ["limits 0"]
    closing.half_close()
    assert transport.calls == ["limits 0", "eof"]
    closing.stop()


async def test_a_peer_that_takes_nothing_is_cut():
    closing, transport = new_closing(unsent=1)
    closing.flush(0.01)
    await asyncio.sleep(0.05)
    assert transport.calls == ["limits 0", "abort"]


async def test_without_halves_the_transport_closes():
    closing, transport = new_closing(has_half=False)
    closing.half_close()
    assert transport.calls == ["close"]
    closing.stop()


async def test_a_peer_that_has_reset_the_connection_is_cut_at_once():
    closing, transport = new_closing()
    transport.is_reset = True
    closing.half_close()
    assert transport.calls == ["abort"]
    closing.stop()


@pytest.mark.usefixtures("_short_linger")
async def test_a_peer_that_keeps_its_side_open_is_cut():
    closing, transport = new_closing()
    closing.half_close()
    await asyncio.sleep(0.05)
    assert transport.calls == ["eof", "abort"]


@pytest.mark.usefixtures("_short_linger")
async def test_a_transport_that_has_closed_is_not_cut():
    closing, transport = new_closing()
    closing.half_close()
    closing.stop()
    await asyncio.sleep(0.05)
    assert transport.calls == ["eof"]


async def test_the_limit_holds_for_each_step_to_come():
    closing, transport = new_closing(unsent=1)
    closing.limit(0.01)
    closing.flush(10)
    closing.half_close()
    await asyncio.sleep(0.05)
    assert transport.calls == ["limits 0", "eof", "abort"]


SIZE = 1_000_000


class Leaving(asyncio.Protocol):
    """A client that writes, and closes as `net.driver` does."""

    def connection_made(self, transport: Any) -> None:
        self.closing = Closing(transport)
        transport.write(bytes(SIZE))
        if not self.closing.flush(10):
            self.closing.half_close()

    def resume_writing(self) -> None:
        self.closing.half_close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closing.stop()


class Slow(asyncio.Protocol):
    """A server that reads nothing until it is told to."""

    def __init__(self) -> None:
        self.size = 0
        self.is_made = asyncio.Event()
        self.is_lost = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.pause_reading()
        self.is_made.set()

    def data_received(self, data: bytes) -> None:
        self.size += len(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost.set()


@pytest.mark.parametrize("scheme", ["mqtts", "wss"])
async def test_a_server_that_reads_late_gets_everything_over_tls(
    scheme, certificates, monkeypatch
):
    # Long enough for a busy machine to read what has left.
    monkeypatch.setattr(closing, "LINGER", 0.2)
    checks = 0
    is_late = asyncio.Event()

    def counted(transport: asyncio.Transport) -> bool:
        nonlocal checks
        checks += 1
        if checks == 3:
            is_late.set()
        return has_unsent_tls(transport)

    monkeypatch.setattr(closing, "has_unsent_tls", counted)
    server = Slow()
    async with connect_by(scheme, certificates)(Leaving, lambda: server):
        await server.is_made.wait()
        # uvloop counts what the transport below holds: it may still flush.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(is_late.wait(), 1)
        server.transport.resume_reading()
        await server.is_lost.wait()
    assert server.size == SIZE


async def test_what_the_transport_below_tls_writes_late_arrives(monkeypatch):
    """The queue of the system may be empty just when it is looked at."""
    queued = [False, True, False, False]
    monkeypatch.setattr(closing, "has_unsent_tls", lambda _: queued.pop(0))
    monkeypatch.setattr(closing, "has_tls", lambda _: True)
    monkeypatch.setattr(closing, "LINGER", 0.01)
    monkeypatch.setattr(closing, "REFILL", 0.01)
    closing_one, transport = new_closing()
    closing_one.flush(10)
    closing_one.half_close()
    await asyncio.sleep(0.2)
    assert transport.calls == ["eof", "abort"]
    assert not queued


@pytest.mark.parametrize("is_there", [True, False])
async def test_a_transport_with_tls_that_can_not_be_asked_counts_as_sent(is_there):
    class Transport(asyncio.Transport):
        def get_extra_info(self, name: str, default: Any = None) -> Any:
            return {"ssl_object": object(), "socket": sock if is_there else None}[name]

    sock = socket.socket()
    sock.close()
    assert not has_unsent_tls(Transport())
