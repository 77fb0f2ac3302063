"""Opening a TCP connection, with or without TLS."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable

from aiomqtt.exceptions import MqttError
from aiomqtt.types import SocketOption

from .open import Target
from .reading import ease_reading
from .tls import load_context


async def open_tcp(target: Target, factory: Callable[[], asyncio.Protocol]) -> None:
    """Connect a protocol to a target; returns when TLS is established too.

    When cancelled, or on an error, no socket is left behind, unless the protocol
    has its transport already: then it is the protocol's to close.

    Raises:
        MqttError: It failed; the message says to where and why, `__cause__` is the
            OSError or ssl.SSLError.
    """
    ease_reading()
    loop = asyncio.get_running_loop()
    try:
        context = await load_context(
            target.tls_context, target.tls_params, target.tls_insecure
        )
        family, local = await _local_address(target)
        transport, _ = await loop.create_connection(
            factory,
            target.hostname,
            target.port,
            ssl=context,
            server_hostname=target.hostname if context is not None else None,
            family=family,
            local_addr=local,
        )
        _set_options(transport, target.socket_options)
    # UnicodeError: a host name that can't be encoded for the resolver.
    except (OSError, UnicodeError) as error:
        msg = f"Could not connect to {target}: {_reason(error)}"
        raise MqttError(msg) from error


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate was not accepted: {error.verify_message}"
    if isinstance(error, socket.gaierror):
        return f"the host name can't be resolved: {error.strerror}"
    return str(error) or type(error).__name__


async def _local_address(target: Target) -> tuple[int, tuple[str, int] | None]:
    """Return the address family to use and the local address to bind to."""
    if not target.bind_address and not target.bind_port:
        return 0, None
    if target.bind_address:
        return 0, (target.bind_address, target.bind_port)
    # A port alone is bound on the wildcard address of the broker's family.
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(
        target.hostname, target.port, type=socket.SOCK_STREAM
    )
    family = found[0][0]
    wildcard = "::" if family == socket.AF_INET6 else "0.0.0.0"
    return family, (wildcard, target.bind_port)


def _set_options(
    transport: asyncio.BaseTransport, options: Iterable[SocketOption]
) -> None:
    sock = transport.get_extra_info("socket")
    for option in options:
        sock.setsockopt(*option)
