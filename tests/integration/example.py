"""Runs a program with the documentation's broker at a port of loopback.

    example.py PORT FILE [fragment]
    example.py PORT FILE application WEB_PORT

The program is not changed: the names of its broker resolve to loopback, as if the
machine's resolver said so, and no other name resolves at all. PORT is where port 1883
leads to; `1883=40001,8883=40002` is for more than one. A fragment, which is
not a program of its own, finds what its text takes for granted. The `app` of a web
application is served at WEB_PORT of loopback.
"""

import ast
import asyncio
import inspect
import os
import socket
import sys
from pathlib import Path
from typing import Any

import aiomqtt

HOST = "test.mosquitto.org"
HOSTS = (HOST, "localhost", "broker.local")


def main(ports: str, file: str, kind: str = "program", web_port: str = "") -> None:
    leads_to = {
        int(port): int(target)
        for port, _, target in (
            pair.rpartition("=")
            for pair in (ports if "=" in ports else f"1883={ports}").split(",")
        )
    }
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, service: Any, *args: Any, **options: Any) -> Any:
        if host not in HOSTS:
            raise socket.gaierror(socket.EAI_NONAME, f"not for examples: {host}")
        return resolve("127.0.0.1", leads_to[int(service)], *args, **options)

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
    if kind == "application":
        serve(names["app"], int(web_port))


def serve(app: Any, port: int) -> None:
    """Serve a web application, until Ctrl-C."""
    import uvicorn

    # The loop of asyncio is the one that resolves names as this program wants it.
    config = uvicorn.Config(app, loop="asyncio", log_level="error")
    # It accepts from now on, and answers when the application has started.
    with socket.create_server(("127.0.0.1", port)) as listener:
        uvicorn.Server(config).run(sockets=[listener])


async def application() -> None:
    """Stand for the `main` that a fragment calls."""
    async with aiomqtt.Client(HOST) as client:
        await client.publish("application/ran", "yes")


if __name__ == "__main__":
    main(*sys.argv[1:])
