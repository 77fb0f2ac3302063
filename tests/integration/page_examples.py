"""Runs the examples of our pages, each in a process of its own."""

import asyncio
import contextlib
import os
import signal
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import aiomqtt
from aiomqtt.broker import Broker
from tests.forked_programs import ForkedProgram
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

    def __init__(self, process: ForkedProgram, output: Path, errors: Path) -> None:
        self.process = process
        self._output = output
        self._errors = errors
        self._lines_read = 0

    @property
    def errors(self) -> str:
        return self._errors.read_text()

    async def line(self) -> str:
        """The next line that it prints; empty when it has ended."""
        await until(
            lambda: self._next_line() or self.process.poll() is not None,
            2 * SOON,
            lambda: "it printed nothing",
        )
        line = self._next_line()
        self._lines_read += 1
        return line.rstrip()

    def _next_line(self) -> str:
        """The next line if it is there, with its end."""
        lines = self._output.read_text().splitlines(keepends=True)
        lines = [line for line in lines if line.endswith("\n")]
        return "".join(lines[self._lines_read : self._lines_read + 1])

    async def interrupt(self) -> None:
        """Press Ctrl-C, and wait for its end."""
        self.process.send_signal(signal.SIGINT)
        await self.end()
        assert self.errors.splitlines()[-1] == "KeyboardInterrupt"

    async def end(self) -> int:
        await until(
            lambda: self.process.poll() is not None,
            2 * SOON,
            lambda: "it has not ended",
        )
        assert self.process.returncode is not None
        return self.process.returncode


@contextlib.asynccontextmanager
async def running(
    text: str, directory: Path, ports: dict[int, int], **environment: str
) -> AsyncIterator[Program]:
    """Run a program whose broker is at these ports."""
    file = directory / "example.py"
    file.write_text(text)
    output, errors = directory / "output", directory / "errors"
    leads_to = ",".join(f"{port}={target}" for port, target in ports.items())
    with output.open("wb") as printing, errors.open("wb") as writing:
        process = ForkedProgram(
            *(RUNNER, leads_to, file),
            stdout=printing,
            stderr=writing,
            cwd=directory,
            env={**os.environ, **environment},
        )
    try:
        yield Program(process, output, errors)
    except BaseException as error:
        error.add_note(
            f"The exit code of the program is {process.poll()} (None: it runs)."
            f" It wrote: {errors.read_text()}"
        )
        raise
    finally:
        process.kill()


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
