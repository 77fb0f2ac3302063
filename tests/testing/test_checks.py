"""The published checks of transports: ours pass, broken ones are found out."""

import asyncio
import contextlib
import re
from pathlib import Path
from typing import Any

import pytest

from aiomqtt.net import memory
from aiomqtt.net.memory import MemoryTransport, listen, open_memory
from aiomqtt.net.target import UnixTarget
from aiomqtt.net.unix import open_unix
from aiomqtt.testing import check_transport
from aiomqtt.testing.transport_rules import RULES
from tests.checked_transports import SCHEMES, check_scheme

ROOT = Path(__file__).parents[2]


@contextlib.asynccontextmanager
async def over_memory(client, server):
    listener = listen("checked", server)
    try:
        await open_memory("checked", client)
        yield
    finally:
        listener.close()


async def test_memory_passes(anyio_backend):
    await check_transport(over_memory)


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_tcp_and_websocket_pass(scheme, certificates, anyio_backend):
    await check_scheme(scheme, certificates)


async def test_unix_passes(tmp_path, anyio_backend):
    factories: list[Any] = []
    path = str(tmp_path / "checked")
    listener = await asyncio.get_running_loop().create_unix_server(
        lambda: factories[-1](), path
    )

    @contextlib.asynccontextmanager
    async def connect(client, server):
        factories.append(server)
        await open_unix(UnixTarget(path, 0), client)
        yield

    async with listener:
        await check_transport(connect)


# --- broken transports --------------------------------------------------------------


def nothing(*_: object, **__: object) -> None:
    """Do nothing, in the place of a method."""


def lose_a_byte(transport: Any, data: Any) -> None:
    write(transport, data[:-1] if len(data) > 100 else data)


def lose_twice(transport: Any, error: Any) -> None:
    transport._protocol.connection_lost(error)
    lose(transport, error)


def lose_at_once(transport: Any, error: Any) -> None:
    transport._is_lost = True
    lose(transport, error)


def close_and_read_on(transport: Any) -> None:
    if transport._is_closing or transport._out.chunks:
        close(transport)
        return
    transport._is_closing = True
    transport._loop.call_soon(read_last, transport)


def read_last(transport: Any) -> None:
    if transport._in.chunks:
        transport._protocol.data_received(transport._in.read(100))
    transport._lose_soon(None)


write, lose = MemoryTransport.write, MemoryTransport._lose
close = MemoryTransport.close
COMPLETE = "data arrives complete and in order"
MARKS = "writing is paused at the high mark and resumed at the low mark"


@pytest.mark.parametrize(
    ("rule", "message", "method", "broken"),
    [
        (COMPLETE, r"\d+ bytes have to arrive", "write", lose_a_byte),
        (COMPLETE, "connection_lost has to be called, but", "_lose_soon", nothing),
        (COMPLETE, "connection_lost has to be called once", "_lose", lose_twice),
        (
            "no call of one end calls the other at once",
            "must not call data_received",
            "_read_soon",
            MemoryTransport._read,
        ),
        (
            "the protocol can be changed",
            "set_protocol has to change it",
            "set_protocol",
            nothing,
        ),
        (
            "get_extra_info knows the peer",
            "'peername'",
            "get_extra_info",
            lambda *_: None,
        ),
        (
            "reading can be paused",
            "while reading is paused",
            "pause_reading",
            nothing,
        ),
        (MARKS, "pause_writing has to be called", "_pause_if_full", nothing),
        (MARKS, "resume_writing has to be called", "_resume_if_drained", nothing),
        (
            "the limits of the write buffer can be set",
            "has to be|have to be",
            "set_write_buffer_limits",
            nothing,
        ),
        (
            "write_eof ends one direction",
            "a write after write_eof",
            "write_eof",
            nothing,
        ),
        (
            "close ends the connection",
            "is_closing has to be True",
            "is_closing",
            lambda _: False,
        ),
        (
            "close ends the connection",
            "close must not call connection_lost itself",
            "_lose_soon",
            lose_at_once,
        ),
        (
            "close sends everything first",
            "before the other end has read everything",
            "close",
            MemoryTransport.abort,
        ),
        (
            "a closed end receives nothing",
            "after close no data may be received",
            "close",
            close_and_read_on,
        ),
        (
            "abort drops unsent data",
            "connection_lost has to be called",
            "abort",
            MemoryTransport.close,
        ),
        (
            "an error of the protocol ends the connection",
            "connection_lost has to be called",
            "_fail",
            nothing,
        ),
        (
            "an error of the protocol ends the connection",
            "has to be reported",
            "_report",
            nothing,
        ),
    ],
)
async def test_a_broken_transport_is_found(
    anyio_backend, monkeypatch, rule, message, method, broken
):
    monkeypatch.setattr(MemoryTransport, method, broken)
    with pytest.raises(AssertionError) as caught:
        await check_transport(over_memory, timeout=1.0)
    found, _, text = str(caught.value).partition(": ")
    assert (found, message) == (rule, message), text
    assert re.search(message, text), text
    monkeypatch.undo()


async def test_an_exception_of_the_transport_is_found(anyio_backend, monkeypatch):
    monkeypatch.delattr(MemoryTransport, "write_eof")
    match = "write_eof ends one direction: NotImplementedError"
    with pytest.raises(AssertionError, match=match):
        await check_transport(over_memory, timeout=1.0)
    monkeypatch.undo()


async def test_data_that_is_not_copied_is_found(anyio_backend, monkeypatch):
    monkeypatch.setattr(memory, "_to_bytes", lambda data: data)
    with pytest.raises(AssertionError, match="data is sent as it was when written"):
        await check_transport(over_memory)


async def test_a_task_that_is_left_behind_is_found(anyio_backend):
    tasks = []

    @contextlib.asynccontextmanager
    async def connect(client, server):
        tasks.append(asyncio.ensure_future(asyncio.sleep(60)))
        async with over_memory(client, server):
            yield

    with pytest.raises(AssertionError, match="no task may be left behind"):
        await check_transport(connect)
    for task in tasks:
        task.cancel()


async def test_a_cancellation_that_fails_is_found(anyio_backend):
    @contextlib.asynccontextmanager
    async def connect(client, server):
        try:
            async with over_memory(client, server):
                yield
        except asyncio.CancelledError:
            raise ConnectionError from None

    match = "connecting can be cancelled: after 1 turns: cancelled, it must not fail"
    with pytest.raises(AssertionError, match=match):
        await check_transport(connect)


def test_each_rule_is_in_the_documentation():
    page = (ROOT / "docs" / "testing-transports.md").read_text("utf-8")
    for rule in [*RULES, "connecting can be cancelled"]:
        assert f"| {rule} |" in page, rule
