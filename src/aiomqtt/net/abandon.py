"""Ends a connection whose event loop has been closed."""

import asyncio
import socket
from contextlib import suppress


def abandon(transport: asyncio.Transport) -> None:
    """End a connection without its event loop.

    A transport of asyncio can't close any more: Python closes it when it collects it,
    with a ResourceWarning, which is right, since the program left it open. This tells
    the broker at once.
    """
    sock = transport.get_extra_info("socket")
    try:
        transport.abort()
    except RuntimeError:
        # uvloop closed the socket together with the loop, and does not have this
        # method.
        if sock is not None:
            with suppress(OSError, TypeError):
                sock.shutdown(socket.SHUT_RDWR)
