"""Runs the examples of our pages, each in a process of its own."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import aiomqtt
from aiomqtt.broker import Broker
from tests.integration.programs import SOON
from tests.until import until

RUNNER = Path(__file__).with_name("example.py")

# Around an example that is no program of its own, and what makes a connected client.
AROUND = """
import asyncio, logging, os, socket, ssl, time
import aiomqtt
async def main():
{body}
asyncio.run(main())
"""
CONNECTED = 'async with aiomqtt.Client("localhost") as client:'
PUBLISH = 'await client.publish("example/ran", "yes", qos=1)'
CONNECT = f"async with client:\n    {PUBLISH}"


def to_program(text: str, *, within: str = "", then: str = "") -> str:
    """Return an example as a program: with the code around it, if it is none."""
    if "asyncio.run(" in text:
        return text
    body = f"{text}\n{then}\n"
    if within:
        body = f"{within}\n{textwrap.indent(body, '    ')}"
    return AROUND.format(body=textwrap.indent(body, "    "))


class Program:
    """An example that runs, as its user sees it."""

    def __init__(self, process: asyncio.subprocess.Process, errors: Path) -> None:
        self.process = process
        self._errors = errors

    @property
    def errors(self) -> str:
        return self._errors.read_text()

    async def line(self) -> str:
        """The next line that it prints; empty when it has ended."""
        assert self.process.stdout is not None
        async with asyncio.timeout(2 * SOON):
            return (await self.process.stdout.readline()).decode().rstrip()

    async def interrupt(self) -> None:
        """Press Ctrl-C, and wait for its end."""
        self.process.send_signal(signal.SIGINT)
        await self.end()
        assert self.errors.splitlines()[-1] == "KeyboardInterrupt"

    async def end(self) -> int:
        async with asyncio.timeout(2 * SOON):
            return await self.process.wait()


@contextlib.asynccontextmanager
async def running(
    text: str, directory: Path, ports: dict[int, int], **environment: str
) -> AsyncIterator[Program]:
    """Run a program whose broker is at these ports."""
    file = directory / "example.py"
    file.write_text(text)
    errors = directory / "errors"
    leads_to = ",".join(f"{port}={target}" for port, target in ports.items())
    options = ("-X", "dev", "-W", "error", "-u")
    with errors.open("wb") as writing:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *options, str(RUNNER), leads_to, str(file)),
            cwd=directory,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=writing,
        )
    try:
        yield Program(process, errors)
    except BaseException as error:
        error.add_note(
            f"The exit code of the program is {process.returncode} (None: it runs)."
            f" It wrote: {errors.read_text()}"
        )
        raise
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def listening(broker: Broker) -> AsyncIterator[aiomqtt.Client]:
    """A client that gets all that is published."""
    async with aiomqtt.Client(broker.name, transport="memory") as client:
        await client.subscribe("#", qos=1)
        yield client


async def received(client: aiomqtt.Client, count: int) -> list[tuple[str, str]]:
    messages: list[tuple[str, str]] = []
    async with asyncio.timeout(2 * SOON):
        while len(messages) < count:
            message = await anext(client.messages)
            messages.append((str(message.topic), message.payload.decode()))
    return messages


async def subscribed(broker: Broker) -> None:
    """Wait until somebody has subscribed."""
    await until(
        lambda: broker.statistics.subscriptions, 2 * SOON, lambda: "nobody subscribed"
    )
