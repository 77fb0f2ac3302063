"""Opening a connection through a proxy."""

import socket
from typing import Final

from aiomqtt.exceptions import MqttError
from aiomqtt.net.dial import ATTEMPT_DELAY, Address, dial, interleave, race, resolve
from aiomqtt.net.explain import explain
from aiomqtt.net.interruption import waiting
from aiomqtt.net.target import Proxy, TcpTarget

from .answers import ProxyError, ProxyPasswordError, explain_silence
from .handshake import ask

# What SOCKS5 has room for, in bytes (RFC 1928 §5); names in DNS are shorter.
LONGEST_NAME: Final = 255


async def open_tunnel(target: TcpTarget, proxy: Proxy) -> socket.socket:
    """Return a socket that is connected to a proxy, and by the proxy to a host.

    If the client resolves the host's name, its addresses are tried as in `dial`.

    A cancellation or an error leaves no socket behind.

    Args:
        target: The host, and the local side of the connection to the proxy.
        proxy: The proxy.

    Raises:
        MqttError: It failed; the message names host, proxy and the reason, `__cause__`
            is the error of the operating system or of python-socks.
    """
    missing = f"{target} was not connected by the proxy"
    try:
        with waiting(missing, explain_silence(proxy.scheme)):
            return await _open(target, proxy)
    except (OSError, ProxyError, UnicodeError) as error:
        msg = f"Could not connect to {target}: {explain(error)}"
        is_final = isinstance(error, ProxyPasswordError)
        cause = None if is_final else error.__cause__
        raise MqttError(msg) from cause or error


async def _open(target: TcpTarget, proxy: Proxy) -> socket.socket:
    if proxy.scheme == "socks4" and ":" in target.hostname:
        msg = "SOCKS4 has no IPv6: use SOCKS5"
        raise ProxyError(msg)
    if proxy.resolves:
        return await _connect(target, proxy, _to_ascii(target.hostname))

    async def attempt(address: Address) -> socket.socket:
        return await _connect(target, proxy, str(address))

    addresses = await _resolve(target, proxy)
    if len(addresses) == 1:
        return await attempt(addresses[0])
    # From one local port there can't be two connections to the proxy.
    delay = None if target.bind_port else ATTEMPT_DELAY
    return await race(interleave(addresses), attempt, delay)


async def _resolve(target: TcpTarget, proxy: Proxy) -> list[Address]:
    """Return the addresses of the host that the proxy takes."""
    addresses = await resolve(target.hostname, target.port)
    if proxy.scheme == "socks4":
        addresses = [each for each in addresses if each.family == socket.AF_INET]
        if not addresses:
            msg = (
                f"the name {target.hostname!r} has no address of IPv4, and SOCKS4 takes"
                " no other: use SOCKS5"
            )
            raise ProxyError(msg)
    return addresses


def _to_ascii(hostname: str) -> str:
    """Return a name as DNS has it.

    Raises:
        ProxyError: No host has this name.
    """
    try:
        name = hostname.encode("idna").decode("ascii")
    except UnicodeError as error:
        msg = f"the host name can't be encoded for the proxy: {error}"
        raise ProxyError(msg) from error
    if len(name) > LONGEST_NAME or " " in name or not name.isprintable():
        msg = f"{hostname!r} is no host name"
        raise ProxyError(msg)
    return name


async def _connect(target: TcpTarget, proxy: Proxy, hostname: str) -> socket.socket:
    try:
        sock = await dial(
            proxy.hostname,
            proxy.port,
            target.bind_address,
            target.bind_port,
            target.socket_options,
        )
    except (OSError, UnicodeError) as error:
        msg = (
            f"the proxy can't be reached: {explain(error)}: are proxy_addr and"
            " proxy_port right?"
        )
        raise ProxyError(msg) from error
    try:
        await ask(sock, proxy, hostname, target.port)
    except BaseException:
        sock.close()
        raise
    return sock
