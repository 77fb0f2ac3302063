"""Every example of docs/connecting.md runs; each subject may have a file of its own."""

import asyncio
import contextlib
import re
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import scramp

from aiomqtt.broker import Authentication, Broker
from tests.certificates import Certificates
from tests.documentation import blocks_by_heading, section
from tests.integration.page_examples import (
    CONNECT,
    listening,
    received,
    running,
    to_program,
)

pytestmark = pytest.mark.once("pure")

PAGE = "docs/connecting.md"


@pytest.fixture
def anyio_backend():
    """One loop for the test is enough: the examples choose their own."""
    return "asyncio", {"debug": True}


def test_every_example_is_run():
    """A test runs an example when it asks for it by its heading."""
    asked: set[tuple[str, int]] = set()
    for file in Path(__file__).parent.glob("test_connecting*.py"):
        for heading, number in re.findall(
            r'\bsection\(\s*"([^"]+)"(?:,\s*(\d+))?', file.read_text()
        ):
            asked.add((heading, int(number or 0)))
    assert asked == {
        (heading, number)
        for heading, found in blocks_by_heading(PAGE).items()
        for number in range(len(found))
    }


async def check(text: str, directory: Path, ports: dict[int, int], broker: Broker):
    """Run an example that makes a client, enter the client, and publish."""
    async with listening(broker) as listener:
        program = to_program(text, then=CONNECT)
        async with running(program, directory, ports, TOKEN="renewed") as example:
            assert await received(listener, 1) == [("example/ran", "yes")]
            assert (await example.end(), example.errors) == (0, "")


@pytest.fixture
def server_context(certificates: Certificates, tmp_path) -> ssl.SSLContext:
    """The broker's context; the examples find the authority in `ca.crt`."""
    shutil.copy(certificates.ca_file, tmp_path / "ca.crt")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server.certificate, certificates.server.key)
    return context


async def test_tcp(tmp_path):
    async with Broker() as broker:
        await check(section("TCP"), tmp_path, {1883: broker.port}, broker)


async def test_tcp_from_a_local_address(tmp_path):
    async with Broker() as broker:
        await check(section("TCP", 1), tmp_path, {1883: broker.port}, broker)


async def test_tls(tmp_path, server_context):
    async with Broker(ssl_context=server_context) as broker:
        for text in (section("TLS"), section("TLS", 1)):
            await check(text, tmp_path, {8883: broker.port}, broker)


@contextlib.asynccontextmanager
async def recording(port: int, sent: list[bytes]) -> AsyncIterator[int]:
    """Forward to a port of loopback; keep the bytes that the client sends."""

    async def forward(reader, writer, keep=None):
        while data := await reader.read(65_536):
            if keep is not None:
                keep.append(data)
            writer.write(data)
        writer.close()

    async def accept(reader, writer):
        there = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(forward(reader, there[1], sent), forward(there[0], writer))

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_websocket(tmp_path):
    async with Broker() as broker:
        port = (await broker.listen(websocket=True)).port
        for text, token in (
            (section("WebSocket"), "my-token"),
            (section("WebSocket", 1), "renewed"),
        ):
            sent: list[bytes] = []
            async with recording(port, sent) as leads_to:
                await check(text, tmp_path, {9001: leads_to}, broker)
            head = b"".join(sent).partition(b"\r\n\r\n")[0].decode().splitlines()
            assert head[0] == "GET /mqtt HTTP/1.1"
            assert f"Authorization: Bearer {token}" in head


async def test_secure_websocket(tmp_path, server_context):
    async with Broker() as broker:
        listener = await broker.listen(websocket=True, ssl_context=server_context)
        text, ports = section("Secure WebSocket"), {8081: listener.port}
        await check(text, tmp_path, ports, broker)


async def test_a_unix_socket(tmp_path):
    async with Broker() as broker:
        await broker.listen_unix(str(tmp_path / "mosquitto.sock"))
        await check(section("Unix sockets"), tmp_path, {1883: broker.port}, broker)


async def test_in_memory(tmp_path):
    async with running(section("In memory"), tmp_path, {1883: 1}) as example:
        assert (await example.end(), example.errors) == (0, "")


async def test_enhanced_authentication(tmp_path):
    async def has_token(exchange: Authentication) -> bool:
        return (exchange.method, exchange.data) == ("my-token", b"renewed")

    async with Broker(enhanced_authentication=has_token) as broker:
        text, ports = section("Enhanced authentication", 1), {1883: broker.port}
        await check(text, tmp_path, ports, broker)


async def test_scram(tmp_path):
    mechanism = scramp.ScramMechanism("SCRAM-SHA-256")
    account = mechanism.make_auth_info("my-password", iteration_count=4096)

    async def authenticate(exchange: Authentication) -> bytes:
        server = mechanism.make_server({"ann": account}.__getitem__)
        server.set_client_first((exchange.data or b"").decode())
        final = await exchange.challenge(server.get_server_first().encode())
        server.set_client_final((final or b"").decode())
        return bytes(server.get_server_final(), "ascii")

    async with Broker(enhanced_authentication=authenticate) as broker:
        text, ports = section("Enhanced authentication"), {1883: broker.port}
        await check(text, tmp_path, ports, broker)


async def test_a_failure(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and does not listen
        ports = {1884: unused.getsockname()[1]}
        program = to_program(section("When it fails"))
        async with running(program, tmp_path, ports) as example:
            line = await example.line()
            assert (await example.end(), example.errors) == (0, "")
    assert line.startswith("Could not connect to localhost:1884: ")
    assert "Connection refused" in line
