"""Whatever a proxy answers, the handshake ends in one of its own errors, or agrees."""

import asyncio
import contextlib
import socket

from hypothesis import example, given
from hypothesis import strategies as st

from aiomqtt.net.proxy.answers import HostError, ProxyError
from aiomqtt.net.proxy.handshake import ask
from aiomqtt.net.target import Proxy
from tests.examples import examples
from tests.net.proxy.peer import GRANTED, GRANTED_4, OK

BEHIND = b"bytes of the broker"
BEGINNINGS = [
    b"",
    b"\x00\x5a",
    b"\x05\x00",
    b"\x05\x02",
    b"\x05\x02\x01\x00",
    b"\x05\x00\x05\x00\x00",
    b"\x05\x00\x05\x00\x00\x03",
    b"HTTP/1.1 ",
    b"HTTP/1.1 407 \r\nProxy-Authenticate: ",
    b"HTTP/1.1 200 \r\n",
]


def handshake(scheme: str, answer: bytes) -> bytes | None:
    """Return what is left to read after an answer that agrees; None: it failed."""

    async def run() -> bytes | None:
        client, server = socket.socketpair()
        with client, server:
            client.setblocking(False)
            server.sendall(answer)
            server.shutdown(socket.SHUT_WR)
            proxy = Proxy(scheme, "proxy", 1, "user", "secret")
            with contextlib.suppress(HostError, ProxyError):
                async with asyncio.timeout(5):
                    await ask(client, proxy, "broker.example", 1883)
                return client.recv(1000)
        return None

    return asyncio.run(run())


@examples(50)
@given(
    st.sampled_from(["socks4", "socks5", "http"]),
    st.sampled_from(BEGINNINGS),
    st.binary(max_size=40) | st.text(max_size=20).map(str.encode),
    st.sampled_from([b"", b"\r\n\r\n"]),
)
@example("socks5", b"\x05\x00\x05\x00\x00\x03", b"\x02\xff\xff\x00\x00", b"")
def test_any_answer(scheme, beginning, middle, end):
    handshake(scheme, beginning + middle + end)


def test_what_is_behind_an_answer_is_left():
    for scheme, answer in (
        ("socks4", GRANTED_4),
        ("socks5", b"\x05\x00" + GRANTED),
        ("socks5", b"\x05\x02\x01\x00" + GRANTED),
        ("http", OK),
    ):
        assert handshake(scheme, answer + BEHIND) == BEHIND
        for size in range(len(answer)):
            assert handshake(scheme, answer[:size]) is None
