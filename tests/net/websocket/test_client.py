"""The opening handshake, and each reason why it fails."""

import asyncio
import logging
import sys
from typing import Any

import pytest

from aiomqtt import Client, MqttError, TLSParameters
from aiomqtt.net.connect import open_connection
from aiomqtt.net.target import WebSocketTarget
from aiomqtt.net.websocket.client import make_request
from tests.net.websocket.peer import (
    BINARY,
    CLOSE,
    agreement,
    frame,
    serve,
)
from tests.raw_scripts import within


def new_client(port: int, **options: Any) -> Client:
    return Client("127.0.0.1", port, transport="websockets", **options)


async def headers_of(**options: Any) -> tuple[str, dict[str, str]]:
    """The request line and the headers that a client sends."""
    requests = []

    async def script(peer):
        requests.append(await peer.read_request())
        peer.agree()
        await peer.expect(BINARY)
        peer.send(frame(BINARY, b"\x20\x02\x00\x00"))
        await peer.goodbye()

    async with serve(script) as port, new_client(port, **options):
        pass
    line, *rest = requests[0].decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    headers = dict(header.split(": ", 1) for header in rest)
    assert len(headers) == len(rest)
    if headers.get("Host") == f"127.0.0.1:{port}":
        headers["Host"] = "HOST"
    if headers.get("Origin") == f"http://127.0.0.1:{port}":
        headers["Origin"] = "ORIGIN"
    return line, headers


async def failure(port: int, path: str = "/mqtt", **options: Any) -> str:
    """Why a client can't connect, without the address, which is checked."""
    client = new_client(port, **options)
    with pytest.raises(MqttError) as caught:
        await within(client.__aenter__())
    assert "secret" not in str(caught.value)
    start = f"Could not connect to ws://127.0.0.1:{port}{path}: "
    assert str(caught.value).startswith(start)
    return str(caught.value).removeprefix(start)


@pytest.mark.conformance("5.0", "MQTT-6.0.0-3")
@pytest.mark.conformance("3.1.1", "MQTT-6.0.0-3")
async def test_the_request():
    line, headers = await headers_of()
    assert line == "GET /mqtt HTTP/1.1"
    assert len(headers.pop("Sec-WebSocket-Key")) == 24
    assert headers == {
        "Host": "HOST",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": "mqtt",
        "Origin": "ORIGIN",
    }


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/", "GET / HTTP/1.1"),
        ("ws", "GET /ws HTTP/1.1"),
        ("/a?b=c%20d&e=[f]", "GET /a?b=c%20d&e=[f] HTTP/1.1"),
        ("/\xe4", "GET /%C3%A4 HTTP/1.1"),
    ],
)
async def test_the_path(path, line):
    assert (await headers_of(websocket_path=path))[0] == line


async def test_a_dict_of_headers():
    given = {"Authorization": "Bearer token", "origin": "null"}
    _, headers = await headers_of(websocket_headers=given)
    assert headers["Authorization"] == "Bearer token"
    assert headers["origin"] == "null"
    assert "Origin" not in headers


async def test_a_callable_for_the_headers_is_called_for_each_connection():
    tokens = iter(["one", "two"])

    def add(headers):
        del headers["Origin"]
        headers["Authorization"] = next(tokens)
        return headers

    for token in ("one", "two"):
        _, headers = await headers_of(websocket_headers=add)
        assert headers["Authorization"] == token
        assert "Origin" not in headers


async def test_a_callable_that_fails():
    def fail(headers):
        raise LookupError("no token")

    client = new_client(1, websocket_headers=fail)
    with pytest.raises(MqttError) as caught:
        await client.__aenter__()
    assert str(caught.value) == (
        "Could not connect to ws://127.0.0.1:1/mqtt: the callable for"
        " websocket_headers raised LookupError"
    )
    assert isinstance(caught.value.__cause__, LookupError)
    client = new_client(1, websocket_headers=lambda _: 5)
    with pytest.raises(TypeError, match="websocket_headers must be a dict"):
        await client.__aenter__()


async def test_a_sub_protocol_of_the_program():
    async def script(peer):
        assert b"Protocol: mqttv3.1, mqtt\r\n" in await peer.read_request()
        peer.agree(protocol=b"mqttv3.1")
        await peer.expect(BINARY)
        peer.send(frame(BINARY, b"\x20\x02\x00\x00"))
        await peer.goodbye()

    headers = {"Sec-WebSocket-Protocol": "mqttv3.1, mqtt"}
    async with serve(script) as port, new_client(port, websocket_headers=headers):
        pass


async def test_options_after_construction():
    requests = []

    async def script(peer):
        requests.append(await peer.read_request())
        peer.agree()
        await peer.expect(BINARY)
        peer.send(frame(BINARY, b"\x20\x02\x00\x00"))
        await peer.goodbye()

    async with serve(script) as port:
        client = new_client(port, websocket_headers={"A": "1"})
        client.set_websocket_options("/other", {"B": "2"})
        async with client:
            pass
        client.set_websocket_options()
        async with client:
            pass
    assert requests[0].startswith(b"GET /other HTTP/1.1\r\n")
    assert b"\r\nB: 2\r\n" in requests[0]
    assert b"\r\nA: 1\r\n" not in requests[0]
    assert requests[1].startswith(b"GET /mqtt HTTP/1.1\r\n")
    assert b"\r\nB: " not in requests[1]


async def test_an_answer_byte_by_byte_and_one_with_a_frame_behind_it():
    async def script(peer):
        for byte in agreement(await peer.read_request(), b"X-Other: 1"):
            peer.send(bytes([byte]))
            await asyncio.sleep(0)
        await peer.expect(BINARY)
        peer.send(frame(BINARY, b"\x20\x02\x00\x00"))
        await peer.goodbye()

    async with serve(script) as port, new_client(port):
        pass

    class Protocol(asyncio.Protocol):
        def __init__(self):
            self.got = b""
            self.lost = asyncio.get_running_loop().create_future()

        def data_received(self, data):
            self.got += data

        def connection_lost(self, exc):
            self.lost.set_result(exc)

    async def at_once(peer):
        request = await peer.read_request()
        peer.send(agreement(request) + frame(BINARY, b"first") + frame(CLOSE))
        await peer.expect(CLOSE)

    async with serve(at_once) as port:
        protocol = Protocol()
        await open_connection(WebSocketTarget("127.0.0.1", port), lambda: protocol)
        assert await within(protocol.lost) is None
    assert protocol.got == b"first"


# --- failures -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        ("301 Moved Permanently", "connect to ws://other.example/ws instead"),
        ("401 Unauthorized", "pass credentials in websocket_headers"),
        ("403 Forbidden", "check the credentials"),
        ("404 Not Found", "nothing has the path '/mqtt'"),
        ("426 Upgrade Required", "another protocol than WebSocket"),
        ("500 Internal Server Error", "see its log"),
    ],
)
async def test_a_status(status, meaning):
    async def script(peer):
        await peer.read_request()
        head = f"HTTP/1.1 {status}\r\nLocation: ws://other.example/ws?secret\r\n\r\n"
        # The body never ends: it is not waited for.
        peer.send(head.encode() + b"<html>")
        assert await peer.read_rest() == b""

    async with serve(script) as port:
        headers = {"Authorization": "secret"}
        said = await failure(
            port, websocket_path="/mqtt?secret", websocket_headers=headers
        )
    assert said.startswith(f"it answered the WebSocket handshake with {status}: ")
    assert meaning in said


@pytest.mark.conformance("5.0", "MQTT-6.0.0-4")
@pytest.mark.conformance("3.1.1", "MQTT-6.0.0-4")
@pytest.mark.parametrize(
    ("protocol", "meaning"),
    [
        (None, "it left out the sub-protocol mqtt"),
        (b"chat", "unsupported subprotocol: chat"),
        (b"mqtt, chat", "multiple values"),
    ],
)
async def test_the_wrong_sub_protocol(protocol, meaning):
    async def script(peer):
        await peer.read_request()
        peer.agree(protocol=protocol)
        await peer.read_rest()

    async with serve(script) as port:
        assert meaning in await failure(port)


WRONG = {
    "no upgrade": b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\n\r\n",
    "other upgrade": b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "no connection": b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n",
    "wrong key": b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: AAAA\r\n\r\n",
}


@pytest.mark.parametrize("answer", [*WRONG.values()], ids=[*WRONG])
async def test_an_answer_that_breaks_a_rule(answer):
    async def script(peer):
        await peer.read_request()
        peer.send(answer)
        await peer.read_rest()

    async with serve(script) as port:
        assert "its answer to the WebSocket handshake is wrong" in await failure(port)


async def test_an_extension_that_was_not_offered():
    async def script(peer):
        await peer.read_request()
        peer.agree(b"Sec-WebSocket-Extensions: permessage-deflate")
        await peer.read_rest()

    async with serve(script) as port:
        assert "no extensions supported" in await failure(port)


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        (b"HTTP/1.1 101 X\r\nno colon\r\n\r\n", "is wrong"),
        (b"HTTP/1.1 101 X\r\nA: " + bytes(70_000), "is no HTTP"),
        (b"\x20\x02\x00\x00", "is no HTTP: does this port expect WebSocket?"),
        (b"\x15\x03\x01\x00\x02\x02\x16", "speaks TLS: pass tls_params"),
        (b"SSH-2.0-x\r\n", "speaks SSH"),
    ],
)
async def test_no_http(answer, meaning):
    async def script(peer):
        await peer.read_request()
        peer.send(answer)
        await peer.read_rest()

    async with serve(script) as port:
        assert meaning in await failure(port)


async def test_a_server_that_closes():
    async def script(peer):
        await peer.read_request()
        peer.close()

    async with serve(script) as port:
        said = await failure(port)
    assert said.startswith("it closed the connection, during the WebSocket handshake")


async def test_a_server_that_does_not_answer():
    async def script(peer):
        await peer.read_request()
        assert await peer.read_rest() == b""

    async with serve(script) as port:
        client = new_client(port, timeout=0.1)
        with pytest.raises(MqttError, match="Operation timed out") as caught:
            await client.__aenter__()
    said = str(caught.value.__cause__)
    assert f"ws://127.0.0.1:{port}/mqtt did not answer" in said


async def test_nothing_listens():
    async with serve(lambda peer: peer.read_rest()) as port:
        pass
    assert "Connection refused" in await failure(port)


async def test_cancelled_at_each_step():
    async def script(peer):
        await peer.read_rest()

    async with serve(script) as port:
        for turns in range(12):
            entering = asyncio.ensure_future(new_client(port).__aenter__())
            for _ in range(turns):
                await asyncio.sleep(0)
            entering.cancel()
            with pytest.raises(asyncio.CancelledError):
                await entering


async def test_without_the_extra(monkeypatch):
    for name in list(sys.modules):
        if name.startswith(("websockets", "aiomqtt.net.websocket.")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "websockets", None)
    said = await failure(1)
    assert 'pip install "aiomqtt[websockets]"' in said


async def test_headers_are_not_logged(caplog):
    caplog.set_level(logging.DEBUG)
    await headers_of(
        websocket_headers={"Authorization": "secret"}, websocket_path="/?secret"
    )
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("hostname", "port", "host"),
    [
        ("::1", 8080, "[::1]:8080"),
        ("broker.example", 80, "broker.example"),
        ("b\xfccher.example", 8080, "xn--bcher-kva.example:8080"),
    ],
)
def test_names_of_hosts(hostname, port, host):
    _, request = make_request(WebSocketTarget(hostname, port))
    assert request.headers["Host"] == host
    assert request.headers["Origin"] == f"http://{host}"


def test_the_address_in_messages():
    target = WebSocketTarget("::1", 80, "/a?secret", tls_params=TLSParameters())
    assert str(target) == "wss://[::1]:80/a"
