"""Writes of many bytes leave in parts, and nothing else changes."""

import asyncio
import contextlib
import os
import ssl
from typing import Any

import pytest

import aiomqtt
from aiomqtt.broker import Broker, Limits
from aiomqtt.net import large_writes
from aiomqtt.net.large_writes import PartsTransport, with_parts
from aiomqtt.net.memory import listen, open_memory
from aiomqtt.net.target import TcpTarget
from aiomqtt.net.tcp import open_tcp
from aiomqtt.net.writing import LARGEST_WRITE, write_pieces
from aiomqtt.testing import check_transport
from tests.certificates import make_certificates
from tests.driving import driver_of

SOON = 10.0
MEBIBYTE = 1024 * 1024


class InParts(asyncio.Protocol):
    """Gives a protocol a transport that writes in parts."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self.protocol = protocol

    def connection_made(self, transport: Any) -> None:
        transport.set_protocol(self.protocol)
        self.protocol.connection_made(PartsTransport(transport, is_paused=False))


@pytest.fixture
def contexts(tmp_path):
    certificates = make_certificates(tmp_path)
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(certificates.server.certificate, certificates.server.key)
    return ssl.create_default_context(cafile=certificates.ca_file), theirs


async def check(server_context: ssl.SSLContext | None = None, **options: Any):
    factories: list[Any] = []
    listener = await asyncio.get_running_loop().create_server(
        lambda: InParts(factories[-1]()), "127.0.0.1", 0, ssl=server_context
    )
    target = TcpTarget(*listener.sockets[0].getsockname()[:2], **options)

    @contextlib.asynccontextmanager
    async def connect(client, server):
        factories.append(server)
        await open_tcp(target, lambda: InParts(client()))
        yield

    async with listener:
        await check_transport(connect)


@pytest.mark.parametrize("size", [1000, LARGEST_WRITE])
async def test_it_is_a_transport(anyio_backend, monkeypatch, size):
    monkeypatch.setattr(large_writes, "LARGEST_WRITE", size)
    await check()


async def test_it_is_a_transport_over_tls(anyio_backend, monkeypatch, contexts):
    monkeypatch.setattr(large_writes, "LARGEST_WRITE", 1000)
    await check(contexts[1], tls_context=contexts[0], server_hostname="localhost")


class Below:
    """A transport whose test says how much of its buffer is left."""

    def __init__(self) -> None:
        self.buffer = 0
        self.sizes: list[int] = []

    def write(self, data: Any) -> None:
        self.sizes.append(len(data))
        self.buffer += len(data)

    def get_write_buffer_size(self) -> int:
        return self.buffer

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return 10, 100

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


async def test_a_part_is_written_when_the_one_before_has_left(anyio_backend):
    below: Any = Below()
    transport = PartsTransport(below, is_paused=False)
    transport.writelines([b"head", bytes(2 * LARGEST_WRITE)])
    transport.write(b"last")
    for count in (1, 2, 3):
        assert below.sizes == [LARGEST_WRITE, LARGEST_WRITE, 8][:count]
        size = 2 * LARGEST_WRITE + 8 - sum(below.sizes) + below.buffer
        assert transport.get_write_buffer_size() == size
        below.buffer = 0
        transport.resume_writing()
    assert transport.get_write_buffer_size() == 0
    transport.write(b"small")
    assert below.sizes[-1] == 5


@pytest.mark.parametrize(
    ("pieces", "is_written"),
    [
        ([bytes(LARGEST_WRITE)], True),
        ([bytes(LARGEST_WRITE + 1)], False),
        ([b"", bytes(LARGEST_WRITE)], True),
        ([b"x", bytes(LARGEST_WRITE)], False),
        ([bytes(LARGEST_WRITE), b""], True),
        ([bytes(LARGEST_WRITE), b"x"], False),
    ],
)
def test_only_the_total_decides(pieces, is_written):
    class Written(Below):
        def writelines(self, pieces: Any) -> None:
            self.write(b"".join(pieces))

    transport: Any = Written()
    size = write_pieces(transport, pieces, LARGEST_WRITE)
    assert size == sum(transport.sizes) == (LARGEST_WRITE if is_written else 0)


async def test_a_transport_in_memory_takes_any_size(anyio_backend):
    made: list[Any] = []

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            made.append(transport)

    listener = listen("parts", Protocol)
    await open_memory("parts", Protocol)
    listener.close()
    assert with_parts(made[1], is_paused=False) is made[1]
    made[1].close()
    await asyncio.sleep(0)


@pytest.fixture
async def place(request, anyio_backend, tmp_path):
    """A broker, and the arguments of a client for it."""
    limits = Limits(maximum_packet_size=None)
    async with Broker(limits=limits) as broker:
        if request.param == "tcp":
            yield (broker.host, broker.port), {}
        elif request.param == "unix":
            path = str(tmp_path / "broker.sock")
            await broker.listen_unix(path)
            yield (path,), {"transport": "unix"}
        elif request.param == "websockets":
            listener = await broker.listen(websocket=True)
            place = (broker.host, listener.port)
            yield place, {"transport": "websockets"}
        else:
            yield (broker.name,), {"transport": "memory"}


everywhere = pytest.mark.parametrize(
    "place", ["tcp", "unix", "websockets", "memory"], indirect=True
)


@everywhere
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_large_message_is_whole(place, qos):
    """In both directions, between small ones, and though the client leaves at once."""
    arguments, options = place
    # No size of a part divides that of what repeats.
    some = os.urandom(1_000_003)
    payloads = [b"first", some * 8, b"between", some]
    async with aiomqtt.Client(*arguments, **options) as subscriber:
        await subscriber.subscribe("large", qos)
        async with aiomqtt.Client(*arguments, **options) as client:
            for payload in payloads:
                client.publish_nowait("large", payload, qos)
            client.publish_nowait("large", b"last", qos)
        async with asyncio.timeout(3 * SOON):
            for payload in [*payloads, b"last"]:
                assert (await anext(subscriber.messages)).payload == payload


async def test_a_broker_that_does_not_read(anyio_backend):
    """What waits is not copied, and the connection can be lost."""
    made: list[asyncio.Transport] = []

    class Deaf(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            made.append(transport)

        def data_received(self, data: bytes) -> None:
            if len(made) == 1 and data[0] == 0x10:
                made[0].write(b"\x20\x02\x00\x00")
                made[0].pause_reading()

    loop = asyncio.get_running_loop()
    async with await loop.create_server(Deaf, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        with pytest.raises(aiomqtt.MqttError):
            async with aiomqtt.Client("127.0.0.1", port) as client:
                payload = bytes(32 * MEBIBYTE)
                await client.publish("large", payload)
                transport = driver_of(client).writer.transport
                waiting = transport.get_write_buffer_size()
                assert 16 * MEBIBYTE < waiting <= len(payload) + 20
                below = transport._below.get_write_buffer_size()
                assert below <= 2 * LARGEST_WRITE
                # Another publisher waits.
                waiter = asyncio.ensure_future(client.publish("small", b"", 1))
                await asyncio.sleep(0)
                made[0].abort()
                await waiter
        assert transport.get_write_buffer_size() == 0
