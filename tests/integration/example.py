"""Runs a program with the documentation's broker at a port of loopback.

    python example.py PORT FILE [fragment]

The program is not changed: the name of its broker resolves to loopback, as if the
machine's resolver said so, and no other name resolves at all. A fragment, which is
not a program of its own, finds what its text takes for granted.
"""

import ast
import asyncio
import inspect
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import aiomqtt

HOST = "test.mosquitto.org"


def main(port: int, file: str, kind: str = "program") -> None:
    # Started from a job in the background, a program would inherit that it is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, service: Any, *args: Any, **options: Any) -> Any:
        if host != HOST:
            raise socket.gaierror(socket.EAI_NONAME, f"not for examples: {host}")
        assert service == 1883, service
        return resolve("127.0.0.1", port, *args, **options)

    socket.getaddrinfo = getaddrinfo  # type: ignore[assignment]
    names: dict[str, Any] = {"__name__": "__main__"}
    flags = 0
    if kind == "fragment":
        names |= {"asyncio": asyncio, "os": os, "sys": sys}
        names |= {"Client": aiomqtt.Client, "main": application}
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(Path(file).read_text(), file, "exec", flags)
    result = eval(code, names)
    if inspect.iscoroutine(result):
        asyncio.run(result)


async def application() -> None:
    """What a fragment calls `main`."""
    async with aiomqtt.Client(HOST) as client:
        await client.publish("application/ran", "yes")


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
