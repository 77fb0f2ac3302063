"""Refuses blocking calls in the thread of the event loop.

The interpreter reports most of them by audit events, whoever makes them; the others are
replaced while the check runs.
"""

import concurrent.futures
import contextlib
import functools
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

# The audit events of calls that may block. `socket.connect` only if the socket does.
EVENTS = {
    "open",
    "os.listdir",
    "os.posix_spawn",
    "os.scandir",
    "os.system",
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostbyaddr",
    "socket.gethostbyname",
    "socket.getnameinfo",
    "sqlite3.connect",
    "subprocess.Popen",
}
# Blocking calls without an audit event, and when they don't block.
CALLS: list[tuple[Any, str, Callable[..., bool]]] = [
    *(
        (ssl.SSLContext, name, lambda *_: False)
        for name in (
            "load_cert_chain",
            "load_verify_locations",
            "load_default_certs",
            "set_default_verify_paths",
        )
    ),
    (time, "sleep", lambda *_: False),
    *(
        (os, name, lambda *_: False)
        for name in ("stat", "lstat", "fsync", "read", "readlink", "unlink")
    ),
    *(
        (socket.socket, name, lambda sock, *_: sock.gettimeout() == 0)
        for name in ("accept", "recv", "recv_into", "send", "sendall", "sendto")
    ),
    (concurrent.futures.Future, "result", lambda future, *_: future.done()),
    (concurrent.futures.Future, "exception", lambda future, *_: future.done()),
    (threading.Thread, "join", lambda thread, *_: not thread.is_alive()),
]
# The first import of a module reads its file, as it does everywhere in Python. In debug
# mode, asyncio notes where each callback was made, for which `linecache` looks for
# changed sources.
ALLOWED = ("<frozen importlib._bootstrap>", "linecache.py")


class BlockingCallError(AssertionError):
    """A call in the thread of the event loop that may block it."""


class Watch:
    """Refuses the blocking calls of a thread.

    Attributes:
        found: What was refused, in case that an error handler caught the exception.
    """

    def __init__(self, thread: int) -> None:
        self.thread = thread
        self.found: list[str] = []

    def refuse(self, call: str) -> None:
        if threading.get_ident() != self.thread or is_allowed():
            return
        self.found.append(call)
        raise BlockingCallError(f"{call} blocks the event loop")


def is_allowed() -> bool:
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename.endswith(ALLOWED):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


# The one that runs; an audit hook stays for ever.
watches: list[Watch] = []


def audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not watches or event not in EVENTS:
        return
    if event == "socket.connect" and arguments[0].gettimeout() == 0:
        return
    watches[-1].refuse(f"{event}{arguments!r}")


add_hook = functools.cache(lambda: sys.addaudithook(audit))


@contextlib.contextmanager
def no_blocking_calls() -> Iterator[Watch]:
    """Have blocking calls of this thread raise an error, and fail at the end too."""
    watch = Watch(threading.get_ident())
    add_hook()
    with pytest.MonkeyPatch.context() as patch:
        for owner, name, is_harmless in CALLS:
            patch.setattr(owner, name, refusing(watch, owner, name, is_harmless))
        watches.append(watch)
        try:
            yield watch
        finally:
            watches.remove(watch)
    assert watch.found == []


def refusing(
    watch: Watch, owner: Any, name: str, is_harmless: Callable[..., bool]
) -> Callable[..., Any]:
    real = getattr(owner, name)

    @functools.wraps(real)
    def call(*arguments: Any, **options: Any) -> Any:
        if not is_harmless(*arguments):
            watch.refuse(f"{owner.__name__}.{name}")
        return real(*arguments, **options)

    return call
