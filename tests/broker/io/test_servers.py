"""The broker over WebSocket and Unix sockets."""

import asyncio
import contextlib
import logging
import socket
import ssl
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from aiomqtt import Broker, Client, TLSParameters
from aiomqtt.broker import Limits
from aiomqtt.broker.io.listening import open_sockets
from aiomqtt.broker.io.servers import start_servers
from tests.raw_scripts import cancelled_after, turns, within


@pytest.fixture
def path():
    # The directories of pytest may be too long for it.
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        yield f"{directory}/broker.sock"


async def round_trip(broker: Broker, client: Client) -> None:
    async with client:
        await client.subscribe("topic", 2)
        for size in (0, 1, 200, 70_000, 1_000_000):
            for qos in (0, 1, 2):
                await client.publish("topic", bytes(size), qos)
                message = await within(anext(client.messages))
                assert (len(message.payload), message.qos) == (size, qos)
        assert len(broker.clients) == 1
    async with asyncio.timeout(5):
        while broker.clients:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_websocket(version, scheme, certificates):
    options: dict[str, Any] = {}
    context: ssl.SSLContext | None = None
    if scheme == "wss":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        pair = certificates.server
        context.load_cert_chain(pair.certificate, pair.key)
        options["tls_params"] = TLSParameters(ca_certs=str(certificates.ca_file))
    async with Broker() as broker:
        listener = await broker.listen(ssl_context=context, websocket=True)
        assert listener.url == f"{scheme}://127.0.0.1:{listener.port}/mqtt"
        client = Client(
            "127.0.0.1",
            listener.port,
            transport="websockets",
            protocol=version,
            **options,
        )
        await round_trip(broker, client)
        await round_trip(broker, client)
        async with client:
            [info] = broker.clients.values()
            assert info.address.startswith("127.0.0.1:")
            await broker.stop()
            with pytest.raises(Exception, match="lost|Disconnected"):
                await within(anext(client.messages))


async def test_a_handshake_that_fails_is_logged(caplog):
    caplog.set_level(logging.INFO)
    async with Broker() as broker:
        listener = await broker.listen(websocket=True)
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert (await within(reader.read())).startswith(b"HTTP/1.1 426 ")
        writer.close()
        await writer.wait_closed()
    assert "WebSocket handshake with 127.0.0.1:" in caplog.text
    assert "failed: missing Connection header" in caplog.text


async def read_to_the_end(reader: asyncio.StreamReader) -> bytes:
    with contextlib.suppress(ConnectionError):
        got: bytes = await within(reader.read())
        return got
    return b""


async def test_who_asks_for_nothing_counts_and_is_cut():
    limits = Limits(maximum_connections=1, connect_timeout=0.2)
    async with Broker(limits=limits) as broker:
        listener = await broker.listen(websocket=True)
        first, first_writer = await asyncio.open_connection("127.0.0.1", listener.port)
        other, other_writer = await asyncio.open_connection("127.0.0.1", listener.port)
        assert await read_to_the_end(other) == b""
        assert await read_to_the_end(first) == b""
        for writer in (first_writer, other_writer):
            writer.close()
        async with Client("127.0.0.1", listener.port, transport="websockets"):
            pass


@pytest.mark.parametrize("way", ["stop", "kill"])
async def test_a_handshake_ends_with_the_broker(way):
    broker = Broker()
    await broker.start()
    listener = await broker.listen(websocket=True)
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    await asyncio.sleep(0.02)
    if way == "stop":
        await broker.stop()
    else:
        broker.kill()
    assert await read_to_the_end(reader) == b""
    writer.close()


async def test_without_the_extra(monkeypatch):
    monkeypatch.delitem(sys.modules, "aiomqtt.net.websocket.server", raising=False)
    monkeypatch.setitem(sys.modules, "websockets.server", None)
    async with Broker() as broker:
        with pytest.raises(ImportError, match=r'pip install "aiomqtt\[websockets\]"'):
            await broker.listen(websocket=True)


# --- Unix sockets ---------------------------------------------------------------------

unix = pytest.mark.skipif(
    not hasattr(socket, "AF_UNIX"), reason="this system has no Unix sockets"
)


def exists(path: str) -> bool:
    return Path(path).exists()


@unix
async def test_a_unix_socket(version, path):
    async with Broker(None) as broker:
        listener = await broker.listen_unix(path)
        assert tuple(listener) == (path, 0, f"unix://{path}")
        await round_trip(broker, Client(path, transport="unix", protocol=version))
        async with Client(path, transport="unix", protocol=version):
            [info] = broker.clients.values()
            assert info.address == "unix"
    assert not exists(path)


@unix
async def test_the_url_of_a_unix_socket(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    async with Broker(None) as broker:
        listener = await broker.listen_unix("a b.sock")
        assert listener.url == "unix:a%20b.sock"
        async with Client.from_url(listener.url):
            pass


@unix
async def test_a_socket_that_was_left_behind_is_replaced(path):
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(path)
    async with Broker(None) as broker:
        await broker.listen_unix(path)
        async with Client(path, transport="unix"):
            pass


@unix
async def test_a_path_that_is_taken(path, tmp_path):
    async with Broker(None) as broker, Broker(None) as other:
        await broker.listen_unix(path)
        with pytest.raises(OSError, match=f"can't listen on {path}: Address already"):
            await other.listen_unix(path)
        file = str(tmp_path / "file")
        with open(file, "xb"):  # noqa: ASYNC230, PTH123
            pass
        with pytest.raises(OSError, match=r"can't listen on .*: Address already"):
            await other.listen_unix(file)
        assert exists(file)
        with pytest.raises(OSError, match=r"can't listen on /no/such: No such"):
            await other.listen_unix("/no/such")
    assert not exists(path)


@unix
async def test_a_socket_of_another_broker_stays(path):
    broker = Broker(None)
    await broker.start()
    await broker.listen_unix(path)
    Path(path).unlink()  # noqa: ASYNC240
    async with Broker(None) as other:
        await other.listen_unix(path)
        await broker.stop()
        async with Client(path, transport="unix"):
            pass


async def test_when_starting_is_cancelled_nothing_listens():
    async with Broker(host=None) as broker:
        assert broker._connection_set is not None
        steps = 1
        while True:
            sockets = await open_sockets("localhost", 0, 10)
            addresses = [sock.getsockname()[:2] for sock in sockets]
            task = await cancelled_after(
                steps, start_servers(broker._connection_set, sockets, 10, None, False)
            )
            if not task.cancelled():
                break
            await turns()
            for address in addresses:
                with pytest.raises(OSError, match="[Cc]onnect"):
                    await asyncio.open_connection(*address)
            steps += 1
        for server in task.result():
            server.close()
            await server.wait_closed()


@unix
async def test_when_starting_is_cancelled_no_unix_socket_is_left(path):
    async with Broker(host=None) as broker:
        task = await cancelled_after(1, broker.listen_unix(path))
        # On uvloop it is a single step.
        if task.cancelled():
            await turns()
            with pytest.raises(FileNotFoundError):
                await asyncio.open_unix_connection(path)
            await broker.listen_unix(path)
