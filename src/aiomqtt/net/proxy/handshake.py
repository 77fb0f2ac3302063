"""Asks a proxy for a connection to a host.

The requests and the parsing of answers are those of python-socks. Reading is not: its
connectors take one read for an answer in HTTP, which may be a part of it, or hold
bytes of the broker too.
"""

import asyncio
import socket
from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any, Final

from python_socks._protocols import http, socks4, socks5
from python_socks._protocols.errors import ReplyError

from aiomqtt.net.explain import explain
from aiomqtt.net.target import Proxy, join_address

from .answers import (
    WRONG_PASSWORD,
    HostError,
    ProxyError,
    ProxyPasswordError,
    explain_closing,
    explain_http,
    explain_method,
    explain_socks4,
    explain_socks5,
)

# How much of an answer in HTTP is read before its headers must have ended, in bytes: it
# is read in very small pieces.
LONGEST_HEAD: Final = 16 * 1024

_HEAD_END: Final = b"\r\n\r\n"
_HTTP_START: Final = b"HTTP/"


async def ask(sock: socket.socket, proxy: Proxy, hostname: str, port: int) -> None:
    """Ask a proxy for a connection to a host; return when it has one.

    Nothing is read that the host sends.

    Args:
        sock: The connection to the proxy, non-blocking.
        proxy: The proxy.
        hostname: The host's address, or its name in ASCII.
        port: The host's port.

    Raises:
        ProxyError: The proxy gives no connection.
        HostError: The proxy gives no connection to this host.
    """
    stream = _Stream(sock, proxy.scheme)
    try:
        await _HANDSHAKES[proxy.scheme](stream, proxy, hostname, port)
    except HostError:
        raise
    except ValueError as error:
        msg = f"the host name can't be sent to the proxy: {error}"
        raise ProxyError(msg) from error
    except OSError as error:
        said = explain(error)
        msg = f"the connection to the proxy was lost during the handshake: {said}"
        raise HostError(msg) from error


class _Stream:
    """Sends to a proxy, and reads exactly the bytes of its answers."""

    def __init__(self, sock: socket.socket, scheme: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._scheme = scheme

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._sock, data)

    async def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            data += await self._read_some(count - len(data))
        return data

    async def read_head(self) -> bytes:
        """Read the head of an answer in HTTP, or as much as shows that it is none."""
        head = bytearray()
        while not head.endswith(_HEAD_END):
            start = head[: len(_HTTP_START)]
            if not _HTTP_START.startswith(start) or len(head) > LONGEST_HEAD:
                break
            head += await self._read_some(_missing(head))
        return bytes(head)

    async def _read_some(self, most: int) -> bytes:
        data = await self._loop.sock_recv(self._sock, most)
        if not data:
            raise HostError(explain_closing(self._scheme))
        return data


def _missing(head: bytearray) -> int:
    """Return how many bytes can be read without any from behind the end of a head."""
    for size in (3, 2, 1):
        if head.endswith(_HEAD_END[:size]):
            return len(_HEAD_END) - size
    return len(_HEAD_END)


def _parse(
    receive: Callable[[bytes], Any],
    answer: bytes,
    explain_answer: Callable[[bytes], Exception],
) -> Any:
    try:
        return receive(answer)
    # ValueError: an address in the answer is malformed.
    except (ReplyError, ValueError) as error:
        raise explain_answer(answer) from error


async def _ask_socks5(stream: _Stream, proxy: Proxy, hostname: str, port: int) -> None:
    """Follow RFC 1928 and RFC 1929."""
    connection = socks5.Connection()
    has_password = bool(proxy.username and proxy.password)
    # It only asks whether there are any, and tracebacks that show variables show these.
    shown = "*" if has_password else None
    await stream.send(connection.send(socks5.AuthMethodsRequest(shown, shown)))
    answer = await stream.read(socks5.AuthMethodReply.SIZE)
    reply = _parse(
        connection.receive, answer, lambda it: explain_method(it, has_password)
    )
    if reply.method == socks5.AuthMethod.USERNAME_PASSWORD:
        # The library's request has ASCII only.
        connection.send(socks5.AuthRequest("*", "*"))
        await stream.send(_to_password_request(proxy))
        answer = await stream.read(socks5.AuthReply.SIZE)
        _parse(connection.receive, answer, lambda _: ProxyPasswordError(WRONG_PASSWORD))
    await stream.send(connection.send(socks5.ConnectRequest(hostname, port)))
    answer = await stream.read(2)
    if answer == bytes([socks5.SOCKS_VER, socks5.ReplyCode.SUCCEEDED]):
        answer += await _read_bound_address(stream)
    _parse(connection.receive, answer, explain_socks5)


def _to_password_request(proxy: Proxy) -> bytes:
    """Return a user name and a password in UTF-8 (RFC 1929 §2)."""
    name, word = proxy.username.encode(), proxy.password.encode()
    sizes = bytes([len(name)]), bytes([len(word)])
    return b"".join((bytes([socks5.AuthRequest.VER]), sizes[0], name, sizes[1], word))


async def _read_bound_address(stream: _Stream) -> bytes:
    """Read the rest of an answer, which ends with an address of the proxy's host."""
    start = await stream.read(2)
    kind = start[1]
    if kind == socks5.AddressType.IPV4:
        return start + await stream.read(6)
    if kind == socks5.AddressType.IPV6:
        return start + await stream.read(18)
    if kind == socks5.AddressType.DOMAIN:
        size = await stream.read(1)
        return start + size + await stream.read(size[0] + 2)
    return start


async def _ask_socks4(stream: _Stream, proxy: Proxy, hostname: str, port: int) -> None:
    """Follow SOCKS4, and its extension 4A if the host is a name."""
    connection = socks4.Connection()
    request = socks4.ConnectRequest(hostname, port, proxy.username)
    await stream.send(connection.send(request))
    answer = await stream.read(2)
    if answer == bytes([socks4.RSV, socks4.ReplyCode.REQUEST_GRANTED]):
        answer += await stream.read(socks4.ConnectReply.SIZE - 2)
    # The last label of a name is not numeric (RFC 1123 §2.1).
    has_name = not hostname[-1].isdecimal()
    _parse(connection.receive, answer, lambda it: explain_socks4(it, has_name))


async def _ask_http(stream: _Stream, proxy: Proxy, hostname: str, port: int) -> None:
    """Follow RFC 9110 §9.3.6, and RFC 7617 for the password."""
    await stream.send(_to_http_request(proxy, hostname, port))
    # The library takes just the status 200 for success.
    error = explain_http(await stream.read_head(), bool(proxy.username))
    if error is not None:
        raise error


def _to_http_request(proxy: Proxy, hostname: str, port: int) -> bytes:
    # Without brackets in some versions of the library.
    host = join_address(hostname, port).removesuffix(f":{port}")
    request = http.Connection().send(http.ConnectRequest(host, port, None, None))
    if not proxy.username:
        return request
    # The library has Latin-1 only, and before 3.2 no empty password.
    login = b64encode(f"{proxy.username}:{proxy.password}".encode())
    end = b"\r\n"
    return b"".join(
        (request.removesuffix(end), b"Proxy-Authorization: Basic ", login, end, end)
    )


_HANDSHAKES: Final[dict[str, Callable[[_Stream, Proxy, str, int], Awaitable[None]]]] = {
    "socks4": _ask_socks4,
    "socks5": _ask_socks5,
    "http": _ask_http,
}
