"""Need 7: no way to a broker blocks the event loop, however slow names and files."""

import asyncio
import concurrent.futures
import contextlib
import logging
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pytest

from aiomqtt import Broker, Client, MqttError, ProxySettings, TLSParameters
from tests.blocking import BlockingCallError, no_blocking_calls
from tests.certificates import Certificates
from tests.dns_server import serve_names
from tests.integration.programs import SOON
from tests.net.proxy.peer import HOST, agree
from tests.own_broker import server_context
from tests.peer import RawPeer, serve
from tests.proxies import Microsocks
from tests.raw_scripts import polite

# In debug mode asyncio reports a step that took so many seconds. Blocking calls take
# longer here; a busy machine does not.
SLOW_STEP = 5.0


class Place(NamedTuple):
    """What a way needs."""

    certificates: Certificates
    directory: Path


Way: TypeAlias = Callable[[Place], contextlib.AbstractAsyncContextManager[Client]]


def parameters(certificates: Certificates) -> TLSParameters:
    return TLSParameters(
        ca_certs=str(certificates.ca_file),
        certfile=str(certificates.client.certificate),
        keyfile=str(certificates.client.key),
        keyfile_password=certificates.client_key_password,
    )


def by_tcp(websocket: bool = False, tls: str = "") -> Way:
    """A host by its name; `tls` is the argument of `Client` for it."""

    @contextlib.asynccontextmanager
    async def way(place: Place) -> AsyncIterator[Client]:
        certificates = place.certificates
        options: dict[str, Any] = {}
        if tls == "tls_params":
            options = {"tls_params": parameters(certificates)}
        elif tls == "tls_context":
            options = {
                "tls_context": lambda: ssl.create_default_context(
                    cafile=certificates.ca_file
                )
            }
        context = server_context(certificates.server) if tls else None
        transport: Any = "websockets" if websocket else "tcp"
        async with Broker(None) as broker:
            listener = await broker.listen(ssl_context=context, websocket=websocket)
            yield Client("localhost", listener.port, transport=transport, **options)

    return way


@contextlib.asynccontextmanager
async def by_unix_socket(place: Place) -> AsyncIterator[Client]:
    async with Broker(None) as broker:
        path = str(place.directory / "mqtt.sock")
        await broker.listen_unix(path)
        yield Client(path, transport="unix")


@contextlib.asynccontextmanager
async def in_memory(_: Place) -> AsyncIterator[Client]:
    async with Broker(None) as broker:
        yield Client(broker.name, transport="memory")


def by_proxy(kind: int) -> Way:
    """A proxy by its name."""

    @contextlib.asynccontextmanager
    async def way(_: Place) -> AsyncIterator[Client]:
        async def script(peer: RawPeer) -> None:
            await agree(peer, kind)
            await polite()(peer)

        async with serve(script, again=True) as server:
            proxy = ProxySettings(
                proxy_type=kind, proxy_addr="localhost", proxy_port=server.port
            )
            yield Client(HOST, proxy=proxy)

    return way


@contextlib.asynccontextmanager
async def by_proxy_and_address(place: Place) -> AsyncIterator[Client]:
    """A proxy and a host by their names, both of which the client resolves."""
    proxy = Microsocks(place.directory)
    proxy.start()
    try:
        async with Broker(None) as broker:
            port = (await broker.listen()).port
            settings = proxy.settings(2, proxy_rdns=False, proxy_addr="localhost")
            yield Client("localhost", port, proxy=settings)
    finally:
        proxy.stop()


@contextlib.asynccontextmanager
async def by_srv(_: Place) -> AsyncIterator[Client]:
    with pytest.MonkeyPatch.context() as patch:
        async with Broker(None) as broker, serve_names(patch, {}) as names:
            port = (await broker.listen()).port
            names.zone["_mqtt._tcp.home.example"] = [f"0 0 {port} localhost."]
            yield Client("home.example", srv=True)


WAYS: dict[str, Way] = {
    "TCP": by_tcp(),
    "TLS": by_tcp(tls="tls_params"),
    "TLS, context by a function": by_tcp(tls="tls_context"),
    "ws": by_tcp(websocket=True),
    "wss": by_tcp(websocket=True, tls="tls_params"),
    "Unix socket": by_unix_socket,
    "memory": in_memory,
    "DNS SRV": by_srv,
    "SOCKS4": by_proxy(1),
    "SOCKS5": by_proxy(2),
    "HTTP": by_proxy(3),
    "SOCKS5 to an address": by_proxy_and_address,
}


async def use(client: Client) -> None:
    for _ in range(2):
        async with asyncio.timeout(SOON), client:
            await client.subscribe("a", 2)
            for qos in (0, 1, 2):
                await client.publish("a", bytes(100_000), qos)


def slow_down(patch: pytest.MonkeyPatch) -> list[str]:
    """Have names and files wait for the loop to turn; which of them were called.

    uvloop resolves names by itself.
    """
    called: list[str] = []
    loop = asyncio.get_running_loop()

    def replace(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def wait(*arguments: Any, **options: Any) -> Any:
            called.append(name)
            turned = threading.Event()
            loop.call_soon_threadsafe(turned.set)
            assert turned.wait(2 * SLOW_STEP), "the loop did not turn"
            return real(*arguments, **options)

        patch.setattr(owner, name, wait)

    replace(socket, "getaddrinfo")
    replace(ssl.SSLContext, "load_cert_chain")
    replace(ssl.SSLContext, "load_verify_locations")
    return called


@pytest.mark.parametrize("way", WAYS)
async def test_need_7_nothing_blocks(way, certificates, tmp_path, monkeypatch, caplog):
    loop = asyncio.get_running_loop()
    loop.slow_callback_duration = SLOW_STEP
    async with WAYS[way](Place(certificates, tmp_path)) as client:
        called = slow_down(monkeypatch)
        with no_blocking_calls(), caplog.at_level(logging.WARNING, "asyncio"):
            await use(client)
    assert [each for each in caplog.messages if each.startswith("Executing ")] == []
    # The files, once for each connection.
    if way in ("TLS", "wss"):
        assert called.count("load_cert_chain") == 2
    if way.startswith(("TLS", "wss")):
        assert called.count("load_verify_locations") == 2
    if way not in ("Unix socket", "memory") and loop.get_debug():
        names = 2 if way == "SOCKS5 to an address" else 1
        assert called.count("getaddrinfo") == 2 * names


async def test_the_certificates_of_the_system(certificates):
    context = server_context(certificates.server)
    async with Broker(ssl_context=context) as broker:
        client = Client("localhost", broker.port, tls_params=TLSParameters())
        refused = pytest.raises(MqttError, match="the certificate was not accepted")
        with no_blocking_calls(), refused:
            await client.__aenter__()


# --- the check itself ----------------------------------------------------------------


def wait_for_future() -> None:
    with contextlib.suppress(TimeoutError):
        concurrent.futures.Future[None]().result(0)


def receive() -> None:
    first, second = socket.socketpair()
    with first, second:
        second.send(b"x")
        first.recv(1)


def connect() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()


def join_thread() -> None:
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    timer = threading.Timer(0.01, release.set)
    timer.start()
    try:
        thread.join()
    finally:
        release.set()


def read_through_descriptor() -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, b"x")
        os.read(reading, 1)
    finally:
        os.close(reading)
        os.close(writing)


BLOCKING: dict[str, Callable[[], Any]] = {
    "getaddrinfo": lambda: socket.getaddrinfo("localhost", 1883),
    "gethostbyname": lambda: socket.gethostbyname("localhost"),
    "connect": connect,
    "recv": receive,
    "sleep": lambda: time.sleep(0),
    "open": Path(__file__).read_bytes,
    "stat": Path(__file__).exists,
    "listdir": lambda: os.listdir("."),  # noqa: PTH208
    "read": read_through_descriptor,
    "load_default_certs": ssl.create_default_context,
    "load_verify_locations": lambda: ssl.create_default_context(cadata="x"),
    "Popen": lambda: subprocess.run(["true"], check=True),
    "result": wait_for_future,
    "join": join_thread,
}


@pytest.mark.parametrize("call", BLOCKING)
def test_a_blocking_call_is_refused(call):
    with pytest.raises(AssertionError), no_blocking_calls() as watch:
        with pytest.raises(BlockingCallError, match=call):
            BLOCKING[call]()
        assert len(watch.found) == 1
    # Afterwards, it is none of the check's business.
    with contextlib.suppress(ssl.SSLError):
        BLOCKING[call]()


@pytest.mark.parametrize("call", BLOCKING)
async def test_a_blocking_call_in_a_thread(call):
    with no_blocking_calls(), contextlib.suppress(ssl.SSLError):
        await asyncio.to_thread(BLOCKING[call])


async def test_a_client_that_blocks_is_caught(certificates):
    """A control: the program's own coroutine reads its certificates on the loop."""

    async def load() -> ssl.SSLContext:
        return ssl.create_default_context(cafile=certificates.ca_file)

    context = server_context(certificates.server)
    async with Broker(ssl_context=context) as broker:
        client = Client("localhost", broker.port, tls_context=load)
        with pytest.raises(AssertionError), no_blocking_calls() as watch:
            with pytest.raises(Exception, match="BlockingCallError"):
                await client.__aenter__()
            assert watch.found == ["SSLContext.load_verify_locations"]


async def test_imports_are_allowed():
    """The first import on the loop reads files, as it does everywhere in Python."""
    with no_blocking_calls():
        import tests.integration.page_examples

        assert tests.integration.page_examples
