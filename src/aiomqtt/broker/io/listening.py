"""Sockets that listen: on all addresses of a name, on one port."""

import asyncio
import errno
import os
import socket
import sys
from typing import Any, Final

# The number of attempts, if the system chooses a port that is not free on all
# addresses.
ATTEMPTS: Final = 20
# This host has no such address, or does not know its family, such as ::1 without IPv6.
_ABSENT: Final = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


async def open_sockets(host: str, port: int, backlog: int) -> list[socket.socket]:
    """Listen on all addresses of a name that this host has.

    Args:
        host: The name or the address; "": all addresses of the host.
        port: The port; 0: one that is free on all of them.
        backlog: The maximum number of connections that wait to be accepted, on each.

    Returns:
        The sockets, at least one.

    Raises:
        OSError: Listening on an address failed, or the host has none of them.
    """
    addresses = await _resolve(host, port)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _open_all(addresses, port, backlog)
        except OSError as error:
            is_taken = error.errno == errno.EADDRINUSE
            if port or not is_taken or attempt == ATTEMPTS:
                raise
    raise AssertionError  # the last attempt returns or raises


async def _resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, Any]]:
    """Return the addresses of a name, with their families."""
    found = await asyncio.get_running_loop().getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    # Some systems name an address twice.
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _open_all(
    addresses: list[tuple[socket.AddressFamily, Any]], port: int, backlog: int
) -> list[socket.socket]:
    opened: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for family, address in addresses:
            host, _, *rest = address
            try:
                sock = _open(family, (host, port, *rest), backlog)
            except OSError as error:
                reason = os.strerror(error.errno) if error.errno else str(error)
                error.strerror = f"can't listen on {host}, port {port}: {reason}"
                if error.errno not in _ABSENT:
                    raise
                absent = error
                continue
            opened.append(sock)
            port = sock.getsockname()[1]
    except BaseException:
        for sock in opened:
            sock.close()
        raise
    if absent is not None and not opened:
        raise absent
    return opened


def _open(family: socket.AddressFamily, address: Any, backlog: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix" and sys.platform != "cygwin":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # The IPv4 addresses have sockets of their own.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(backlog)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock
