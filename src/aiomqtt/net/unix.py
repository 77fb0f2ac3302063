"""Connecting by a Unix socket."""

import asyncio
import errno
import os
import socket
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from aiomqtt.exceptions import MqttError
from aiomqtt.types import SocketOption

from .buffers import keep_large_blocks
from .explain import explain
from .target import UnixTarget

# Between two attempts while the queue of the listening socket is full, in seconds.
RETRY_INTERVAL: Final = 0.01

_NOT_A_SOCKET: Final = "the path is not a socket: pass the path of the broker's socket"
# The explanation for a Unix socket, with advice, by the number of the error.
_REASONS: Final = {
    errno.ENOENT: "there is no socket at this path: is it right, and does the broker"
    " run?",
    errno.ENOTDIR: "a part of the path is not a directory: is it right?",
    errno.EACCES: "permission denied: this user needs write permission on the socket,"
    " and search permission on its directories",
    errno.EPERM: "permission denied: this user needs write permission on the socket,"
    " and search permission on its directories",
    errno.ECONNREFUSED: "no process listens on this socket: does the broker run?",
    errno.EPROTOTYPE: "the socket is not a stream socket: pass the path of the broker's"
    " socket",
}


async def open_unix(
    target: UnixTarget, factory: Callable[[], asyncio.Protocol]
) -> None:
    """Connect a protocol to a Unix socket.

    When cancelled or on an error, no socket is left behind, unless the protocol
    already has its transport: then the protocol has to close it.

    Raises:
        MqttError: It failed; the message says to where and why, `__cause__` is the
            OSError.
    """
    keep_large_blocks()
    if not hasattr(socket, "AF_UNIX"):
        reason = "Python has no Unix sockets on this system"
        raise MqttError(f"Could not connect to {target}: {reason}")
    loop = asyncio.get_running_loop()
    try:
        sock = await _dial(target.hostname, target.socket_options)
        # From here on the transport closes the socket, whatever happens.
        await loop.create_unix_connection(factory, sock=sock)
    # UnicodeError: a path that the file system can't encode.
    except (OSError, UnicodeError) as error:
        reason = _explain(error, target.hostname)
        msg = f"Could not connect to {target}: {reason}"
        raise MqttError(msg) from error


async def _dial(path: str, options: Iterable[SocketOption]) -> socket.socket:
    """Return a socket that is connected to a path."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        for option in options:
            sock.setsockopt(*option)
        while True:
            try:
                sock.connect(path)
            except BlockingIOError:
                # Such a connect is never under way: the queue is full, so try again.
                # asyncio's `sock_connect` takes it for connected.
                await asyncio.sleep(RETRY_INTERVAL)
            else:
                return sock
    except BaseException:
        sock.close()
        raise


def _explain(error: OSError | UnicodeError, path: str) -> str:
    """Return why a socket could not be connected to, and what to do about it."""
    if not isinstance(error, OSError):
        return explain(error)
    if error.errno is None:
        # Python's own, without a number.
        size = len(os.fsencode(path))
        return f"{error}: it has {size} bytes, and systems take about 100"
    if error.errno == errno.ECONNREFUSED and not _is_socket(path):
        return _NOT_A_SOCKET
    return _REASONS.get(error.errno) or explain(error)


def _is_socket(path: str) -> bool:
    """Whether there is a socket at a path; also if that can't be found out."""
    try:
        return stat.S_ISSOCK(Path(path).stat().st_mode)
    except OSError:
        return True
