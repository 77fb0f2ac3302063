"""The handshake with a proxy, byte by byte, and each reason why it fails."""

import asyncio
import base64
import re
import socket
import traceback
from pathlib import Path
from typing import Any

import pytest

from aiomqtt import MqttError
from aiomqtt.client.causes import to_action
from aiomqtt.net.dial import Address
from tests.net.proxy import peer as proxy_peer
from tests.net.proxy.peer import (
    GRANTED,
    GRANTED_4,
    GREETING,
    GREETING_WITH_PASSWORD,
    NO_METHOD_NEEDED,
    OK,
    PASSWORD_NEEDED,
    PORT,
    REQUEST,
    new_client,
    read,
    read_head,
    send_bytewise,
    serve_as_broker,
)
from tests.peer import serve
from tests.raw_scripts import accept, goodbye, within

PASSWORD = {"proxy_username": "me", "proxy_password": "secret"}
KINDS = {1: "socks4", 2: "socks5", 3: "http"}


async def fails(server: Any, kind: int, **options: Any) -> str:
    """Why a client can't connect, without the addresses, which are checked."""
    client = new_client(server, kind, **options)
    with pytest.raises(MqttError) as caught:
        await within(client.__aenter__())
    said = str(caught.value)
    host = options.get("host", "broker.example")
    through = f"{KINDS[kind]}://127.0.0.1:{server.port}"
    start = f"Could not connect to {host}:1883 through {through}: the "
    assert said.startswith(start), said
    assert "secret" not in said
    assert not secrets_in(caught.value)
    # To repeat a wrong password may lock the account.
    needs_password = any(part in said for part in ("password:", "only Basic"))
    expected = "stop" if needs_password else "retry"
    assert to_action(caught.value, "raise") == expected
    return said.removeprefix(start)


def secrets_in(error: BaseException) -> list[str]:
    """The lines of a traceback with the variables of the library that have a secret."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    found: list[str] = []
    pending: list[traceback.TracebackException | None] = [shown]
    while pending:
        one = pending.pop()
        if one is None:
            continue
        pending += [one.__cause__, one.__context__, *(one.exceptions or ())]
        found += [
            f"{frame.filename}:{frame.lineno} {name} = {value}"
            for frame in one.stack
            if "tests" not in Path(frame.filename).parts
            for name, value in (frame.locals or {}).items()
            if "secret" in value or base64.b64encode(b"me:secret").decode() in value
        ]
    return found


async def failure(kind: int, answer: bytes, *, after: int = 1, **options: Any) -> str:
    """Why a client can't connect if that is the answer to its first bytes."""

    async def script(peer):
        await peer._reader.readexactly(after)
        peer.send(answer)
        await peer.discard_until_end()

    async with serve(script) as server:
        return await fails(server, kind, **options)


# --- it works --------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_a_name_is_left_to_the_proxy(kind):
    async def script(peer):
        await proxy_peer.agree(peer, kind)
        await serve_as_broker(peer)

    async with serve(script, script) as server:
        client = new_client(server, kind)
        for _ in range(2):
            async with client:
                assert client.is_connected()


@pytest.mark.parametrize(
    ("kind", "host", "request_"),
    [
        (1, "192.0.2.1", b"\x04\x01" + PORT + b"\xc0\x00\x02\x01\0"),
        (2, "192.0.2.1", b"\x05\x01\0\x01\xc0\x00\x02\x01" + PORT),
        (
            2,
            "2001:db8::1",
            b"\x05\x01\0\x04\x20\x01\x0d\xb8" + bytes(11) + b"\1" + PORT,
        ),
        (3, "2001:db8::1", b"CONNECT [2001:db8::1]:1883 HTTP/1.1\r\n"),
        (3, "192.0.2.1", b"CONNECT 192.0.2.1:1883 HTTP/1.1\r\n"),
        (
            1,
            "b\xfccher.example",
            b"\x04\x01" + PORT + b"\0\0\0\1\0xn--bcher-kva.example\0",
        ),
        (2, "b\xfccher.example", b"\x05\x01\0\x03\x15xn--bcher-kva.example" + PORT),
        (3, "b\xfccher.example", b"CONNECT xn--bcher-kva.example:1883 HTTP/1.1\r\n"),
    ],
)
async def test_the_request(kind, host, request_):
    async def script(peer):
        if kind == 2:
            await read(peer, GREETING)
            peer.send(NO_METHOD_NEEDED)
        await read(peer, request_)
        if kind == 3:
            await read_head(peer)
        peer.send({1: GRANTED_4, 2: GRANTED, 3: OK}[kind])
        await serve_as_broker(peer)

    async with serve(script) as server, new_client(server, kind, host=host):
        pass


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rdns", [False, None])
async def test_a_name_is_resolved_here(kind, rdns, monkeypatch):
    asked = []

    async def resolved(hostname, port):
        asked.append(hostname)
        return [
            Address(socket.AF_INET6, ("2001:db8::1", port)) for _ in range(kind == 1)
        ] + [Address(socket.AF_INET, ("192.0.2.7", port))]

    monkeypatch.setattr("aiomqtt.net.proxy.tunnel.resolve", resolved)

    async def script(peer):
        if kind == 2:
            await read(peer, GREETING)
            peer.send(NO_METHOD_NEEDED)
            await read(peer, b"\x05\x01\0\x01\xc0\x00\x02\x07", PORT)
        elif kind == 1:
            await read(peer, b"\x04\x01", PORT, b"\xc0\x00\x02\x07\0")
        else:
            assert (await read_head(peer)).startswith(b"CONNECT 192.0.2.7:1883 ")
        peer.send({1: GRANTED_4, 2: GRANTED, 3: OK}[kind])
        await serve_as_broker(peer)

    async with (
        serve(script) as server,
        new_client(server, kind, proxy={"proxy_rdns": rdns}),
    ):
        pass
    assert asked == ["broker.example"]


async def test_the_password_of_socks_5():
    async def script(peer):
        await read(peer, GREETING_WITH_PASSWORD)
        peer.send(PASSWORD_NEEDED)
        await read(peer, b"\x01\x03m\xc3\xa4\x06s\xe2\x82\xaccr")
        peer.send(b"\x01\x00")
        await read(peer, REQUEST)
        peer.send(GRANTED)
        await serve_as_broker(peer)

    password = {"proxy_username": "m\xe4", "proxy_password": "s\u20accr"}
    async with serve(script) as server, new_client(server, 2, proxy=password):
        pass


async def test_a_password_that_socks_5_does_not_ask_for():
    async def script(peer):
        await read(peer, GREETING_WITH_PASSWORD)
        peer.send(NO_METHOD_NEEDED)
        await read(peer, REQUEST)
        peer.send(GRANTED)
        await serve_as_broker(peer)

    async with serve(script) as server, new_client(server, 2, proxy=PASSWORD):
        pass


@pytest.mark.parametrize(
    ("name", "word"), [("me", "secret"), ("m\xe4", "s\u20ac:cr"), ("token", "")]
)
async def test_the_password_of_http(name, word):
    async def script(peer):
        head = await read_head(peer)
        basic = base64.b64encode(f"{name}:{word}".encode())
        assert b"\r\nProxy-Authorization: Basic " + basic + b"\r\n" in head
        peer.send(OK)
        await serve_as_broker(peer)

    password = {"proxy_username": name, "proxy_password": word}
    async with serve(script) as server, new_client(server, 3, proxy=password):
        pass


async def test_the_user_of_socks_4():
    async def script(peer):
        await read(peer, b"\x04\x01", PORT, b"\0\0\0\1me\0broker.example\0")
        peer.send(GRANTED_4)
        await serve_as_broker(peer)

    async with (
        serve(script) as server,
        new_client(server, 1, proxy={"proxy_username": "me"}),
    ):
        pass


ANSWERS = [
    (1, GRANTED_4),
    (2, GRANTED),
    (2, b"\x05\x00\x00\x04" + bytes(18)),
    (2, b"\x05\x00\x00\x03\x05proxy\x00\x00"),
    (3, OK),
    (3, b"HTTP/1.0 200\r\n\r\n"),
    (3, b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
    (3, b"HTTP/1.1 200 OK\r\nA: \r\r\n\r\r\n\r\n"),
]


@pytest.mark.parametrize(("kind", "answer"), ANSWERS)
@pytest.mark.parametrize("how", ["byte by byte", "with bytes of the broker"])
async def test_an_answer_in_pieces_and_one_with_more_behind_it(kind, answer, how):
    """The broker's first bytes may come with the answer; none is lost."""
    connack = b"\x20\x02\x00\x00"

    async def script(peer):
        if kind == 2:
            await read(peer, GREETING)
            if how == "byte by byte":
                await send_bytewise(peer, NO_METHOD_NEEDED)
            else:
                peer.send(NO_METHOD_NEEDED)
            await read(peer, REQUEST)
        elif kind == 1:
            await peer._reader.readuntil(b"broker.example\0")
        else:
            await read_head(peer)
        if how == "byte by byte":
            await send_bytewise(peer, answer)
            await accept(peer)
        else:
            peer.send(answer + connack)
            await peer.read_packet()
        await goodbye(peer)

    async with serve(script) as server, new_client(server, kind):
        pass


# --- it fails --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (1, "general failure: the log of the proxy may say"),
        (2, "not allowed: its rules forbid it: have its administrator allow"),
        (3, "network unreachable: is the hostname right"),
        (4, "host unreachable: is the hostname right"),
        (5, "connection refused: does the broker run, and on this port"),
        (6, "time to live expired: is the hostname right"),
        (7, "command not supported: use another proxy"),
        (8, "address type not supported: with proxy_rdns=False"),
        (99, "unknown code"),
    ],
)
async def test_socks_5_refuses(code, meaning):
    async def script(peer):
        await read(peer, GREETING)
        peer.send(NO_METHOD_NEEDED)
        await read(peer, REQUEST)
        # Some proxies send no more than that.
        peer.send(bytes([5, code]))
        await peer.discard_until_end()

    async with serve(script) as server:
        said = await fails(server, 2)
    start = f"proxy did not connect to the host (SOCKS5 reply {code}): "
    assert said.startswith(start)
    assert re.match(meaning, said.removeprefix(start)), said


@pytest.mark.parametrize(
    ("answer", "options", "meaning"),
    [
        (b"\x05\xff", {}, "needs a password: pass proxy_username and proxy_password"),
        (b"\x05\x02", {}, "needs a password: pass proxy_username and proxy_password"),
        (b"\x05\xff", PASSWORD, "accepts neither a password nor"),
        (b"\x05\x01", PASSWORD, "asks for authentication method 1, which is not"),
        (b"\x05\x77", {}, "asks for authentication method 119, which is not"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", {}, "speaks HTTP: pass proxy_type=3"),
        (b"\x15\x03\x01\x00\x02\x02\x16", {}, "speaks TLS, which is not supported"),
        (b"\x00\x5b\0\0\0\0\0\0", {}, "answer is no SOCKS5"),
        (b"SSH-2.0-x\r\n", {}, "answer is no SOCKS5: is it a proxy, and are proxy_typ"),
    ],
)
async def test_socks_5_greets_otherwise(answer, options, meaning):
    assert meaning in await failure(2, answer, proxy=options)


@pytest.mark.parametrize("answer", [b"\x01\x01", b"\x01\xff", b"\x05\x00"])
async def test_the_wrong_password_of_socks_5(answer):
    async def script(peer):
        await read(peer, GREETING_WITH_PASSWORD)
        peer.send(PASSWORD_NEEDED)
        await read(peer, b"\x01\x02me\x06secret")
        peer.send(answer)
        await peer.discard_until_end()

    async with serve(script) as server:
        said = await fails(server, 2, proxy=PASSWORD)
    assert "did not accept the user name and password: check proxy_username" in said


@pytest.mark.parametrize(
    "answer",
    [
        b"\x05\x00\x00\x07",
        b"\x05\x00\x01\x01" + bytes(6),
        b"\x05\x00\x00\x03\x02\xff\xff\x00\x00",
    ],
)
async def test_a_malformed_answer_of_socks_5(answer):
    async def script(peer):
        await read(peer, GREETING)
        peer.send(NO_METHOD_NEEDED)
        await read(peer, REQUEST)
        peer.send(answer)
        await peer.discard_until_end()

    async with serve(script) as server:
        assert "answer is malformed" in await fails(server, 2)


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        (b"\x00\x5b", "(SOCKS4 reply 91): rejected or failed: does the broker run"),
        (b"\x00\x5b", "it may take no names: with proxy_rdns=False it gets an add"),
        (b"\x00\x5c\0\0\0\0\0\0", "it can't ask identd on this machine"),
        (b"\x00\x5d\0\0\0\0\0\0", "names another user: check proxy_username"),
        (b"\x00\x11\0\0\0\0\0\0", "(SOCKS4 reply 17): unknown code"),
        (b"\x05\xff", "answer is no SOCKS4"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "speaks HTTP: pass proxy_type=3"),
    ],
)
async def test_socks_4_refuses(answer, meaning):
    assert meaning in await failure(1, answer)


async def test_socks_4_refuses_an_address():
    said = await failure(1, b"\x00\x5b", host="192.0.2.1")
    assert "rejected or failed" in said
    assert "proxy_rdns" not in said


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        ("301 Moved", "is this an HTTP proxy?"),
        ("400 Bad Request", "is this an HTTP proxy?"),
        ("401 Unauthorized", "the proxy needs a password: pass proxy_username"),
        ("403 Forbidden", "its rules forbid it: have its administrator allow"),
        ("404 Not Found", "this is a web server, or it can't find the host"),
        ("405 Method Not Allowed", "it does not support CONNECT"),
        ("407 No", "the proxy needs a password: pass proxy_username"),
        ("429 Too Many Requests", "try again later"),
        ("500 Unable to connect", "it could not connect to the host, or failed"),
        ("501 Not Implemented", "it does not support CONNECT"),
        ("502 Bad Gateway", "it could not connect to the host: does the broker run on"),
        ("503 Service Unavailable", "it could not connect to the host, or is not"),
        ("504 Gateway Timeout", "the host did not answer it in time"),
        ("599", "is this an HTTP proxy?"),
    ],
)
async def test_http_refuses(status, meaning):
    # The body never ends: it is not waited for.
    answer = f"HTTP/1.1 {status}\r\nContent-Length: 9\r\n\r\n<html>"
    said = await failure(3, answer.encode())
    assert said.startswith(f"proxy answered {status}: ")
    assert meaning in said


@pytest.mark.parametrize(
    ("challenge", "options", "meaning"),
    [
        ("Basic realm=x", {}, "the proxy needs a password"),
        ("Basic realm=x", PASSWORD, "did not accept the user name and password"),
        ("Digest realm=x\r\nProxy-Authenticate: basic", PASSWORD, "did not accept"),
        (
            "Negotiate\r\nproxy-authenticate: NTLM",
            PASSWORD,
            "asks for Negotiate, NTLM authentication, and only Basic is supported",
        ),
    ],
)
async def test_http_needs_a_password(challenge, options, meaning):
    head = f"HTTP/1.1 407 Needed\r\nProxy-Authenticate: {challenge}\r\n\r\n"
    assert meaning in await failure(3, head.encode(), proxy=options)


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        (b"\x05\xff", "answer is no HTTP: is it a proxy"),
        (b"HTTPS? never heard of it", "answer is no HTTP: is it a proxy"),
        (b"HTTP/2 200\r\n\r\n", "answer is no HTTP: is it a proxy"),
        (b"HTTP/1.1 200 OK\r\nA: " + bytes(70_000), "answer is no HTTP: is it a proxy"),
        (b"\x15\x03\x01\x00\x02\x02\x16", "speaks TLS, which is not supported"),
    ],
)
async def test_no_http(answer, meaning):
    assert meaning in await failure(3, answer, after=100)


async def test_the_answer_is_escaped():
    said = await failure(3, b"HTTP/1.1 502 \x1b[31m\x9bred\r\n\r\n")
    assert said.isprintable()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sent", [0, 1])
async def test_a_proxy_that_closes(kind, sent):
    async def script(peer):
        await peer._reader.readexactly(3)
        peer.send({1: b"\0", 2: b"\5", 3: b"HTTP/1.1 200"}[kind][: 99 * sent])
        peer.close()

    async with serve(script) as server:
        said = await fails(server, kind)
    name = KINDS[kind].upper()
    assert (
        f"closed the connection during the handshake: is it a proxy for {name}" in said
        or "connection to the proxy was lost during the handshake" in said
    )


async def test_a_proxy_that_resets_the_connection():
    async def script(peer):
        await read(peer, GREETING)
        peer.abort()

    async with serve(script) as server:
        said = await fails(server, 2)
    assert said.startswith("connection to the proxy was lost during the handshake: ")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_proxy_that_does_not_answer(kind):
    async def script(peer):
        await peer.discard_until_end()

    async with serve(script) as server:
        client = new_client(server, kind, timeout=0.1)
        with pytest.raises(MqttError, match="Operation timed out") as caught:
            await client.__aenter__()
    through = f"through {KINDS[kind]}://127.0.0.1:{server.port}"
    said = f"{through} was not connected by the proxy within 0.1 seconds: does the prox"
    assert f"broker.example:1883 {said}" in str(caught.value.__cause__)


@pytest.mark.parametrize("kind", KINDS)
async def test_cancelled_at_each_step(kind):
    async def script(peer):
        await proxy_peer.agree(peer, kind)
        await peer.discard_until_end()

    async def give_up(peer):
        try:
            await script(peer)
        except (asyncio.IncompleteReadError, ConnectionError):
            peer.close()

    async with serve(give_up, again=True) as server:
        for turns in range(20):
            entering = asyncio.ensure_future(new_client(server, kind).__aenter__())
            for _ in range(turns):
                await asyncio.sleep(0)
            entering.cancel()
            with pytest.raises(asyncio.CancelledError):
                await within(entering)


@pytest.mark.parametrize(
    "host", ["a..b", "a b", "a\r\nX y", f"{'a.' * 200}b", "01.2.3.4"]
)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_host_that_has_no_name(kind, host):
    async def script(peer):
        if await peer._reader.read(3):
            peer.send(NO_METHOD_NEEDED)
        await peer.discard_until_end()

    if host == "01.2.3.4" and kind == 3:
        return  # a matter of the proxy
    async with serve(script, again=True) as server:
        client = new_client(server, kind, host=host)
        with pytest.raises(MqttError, match="host name|no host name"):
            await within(client.__aenter__())
