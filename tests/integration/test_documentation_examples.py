"""The examples of aiomqtt 2.5.1's documentation run unchanged.

They are taken from its source distribution, which pip downloads when this runs. Each
runs in a process of its own, with warnings as errors and asyncio's debug mode, and
the name of the broker that it connects to leads to one on loopback.

The seed page's "All examples in this documentation are self-contained and runnable
as-is" is held here.
"""

import asyncio
import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

import aiomqtt
from tests.brokers import Broker
from tests.forked_programs import ForkedProgram
from tests.integration.programs import SOON, start
from tests.once import made_once
from tests.own_broker import OwnBroker
from tests.ports import free_port
from tests.until import until

# The documentation is downloaded. Each example is a process, on asyncio.
pytestmark = [pytest.mark.timeout(300), pytest.mark.once("compiled")]

DISTRIBUTION = "aiomqtt==2.5.1"

OUTSIDE = ("temperature/outside", "28.4")
INSIDE = ("humidity/inside", "0.38")


@dataclass(frozen=True)
class Example:
    """The requirements of an example, and its expected result."""

    subscribes: int = 0  # so many times; then it gets `messages`
    messages: tuple[tuple[str, str], ...] = ()
    prints: tuple[str, ...] = ()
    # The program ends by itself; else it is interrupted when it has printed that.
    ends: bool = False
    # What a subscriber of everything receives from it.
    publishes: tuple[tuple[str, str], ...] = ()
    fragment: bool = False
    # After `messages` the broker goes away and comes back, and sends them again.
    restarts: bool = False
    raises: str = ""
    # A web application, which publishes when it is asked for a page.
    serves: bool = False
    # Printed in no particular order.
    unordered: bool = False


PUBLISHES = Example(publishes=(OUTSIDE,), ends=True)
LISTENS = Example(1, (OUTSIDE, ("temperature/x", "2")), ("b'28.4'", "b'2'"))
APPLICATION = Example(
    1, prints=("b'0.38'",), publishes=(("humidity/outside", "0.38"),), serves=True
)

# With Starlette, as that page's tip says: the client is in the state of the lifespan.
STARLETTE = """
import asyncio
from contextlib import asynccontextmanager
import aiomqtt
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route


@asynccontextmanager
async def lifespan(app):
    async with aiomqtt.Client("test.mosquitto.org") as client:
        await client.subscribe("humidity/#")
        yield {"client": client}


async def publish(request):
    client = request.state.client
    await client.publish("humidity/outside", 0.38)
    print((await anext(client.messages)).payload)
    return Response()


app = Starlette(lifespan=lifespan, routes=[Route("/", publish)])
"""

# By page, in the order of the page.
EXAMPLES: dict[str, list[Example]] = {
    "README.md": [
        Example(publishes=(OUTSIDE,), ends=True, fragment=True),
        Example(1, (OUTSIDE,), ("b'28.4'",), fragment=True),
        Example(publishes=(("application/ran", "yes"),), ends=True, fragment=True),
    ],
    "docs/alongside-fastapi-and-co.md": [
        APPLICATION,
    ],
    "docs/connecting-to-the-broker.md": [
        PUBLISHES,
        Example(publishes=(OUTSIDE, INSIDE), ends=True),
    ],
    "docs/migration-guide-v2.md": [
        PUBLISHES,
        PUBLISHES,
        # How it was done before 2.0; 2.5.1 refuses it with the same words.
        Example(
            1, ends=True, raises="TypeError: 'MessagesIterator' object is not call"
        ),
        LISTENS,
        Example(
            2,
            (OUTSIDE, INSIDE),
            (
                "[+/outside] b'28.4'",
                "[temperature/#] b'28.4'",
                "[humidity/inside] b'0.38'",
            ),
        ),
        Example(
            2,
            (OUTSIDE, INSIDE),
            ("[temperature/#] b'28.4'", "[humidity/#] b'0.38'"),
            unordered=True,
        ),
    ],
    "docs/publishing-a-message.md": [PUBLISHES],
    "docs/reconnection.md": [
        Example(
            1,
            (INSIDE,),
            (
                "b'0.38'",
                "Connection lost; Reconnecting in 5 seconds ...",
                "b'0.38'",
            ),
            restarts=True,
        ),
    ],
    "docs/subscribing-to-a-topic.md": [
        LISTENS,
        Example(2, (OUTSIDE, INSIDE), ("B: b'28.4'", "C: b'28.4'", "A: b'0.38'")),
        Example(2, (OUTSIDE, INSIDE), ("b'28.4'", "b'0.38'"), unordered=True),
        # Two workers take five seconds each for a message.
        Example(1, (OUTSIDE, OUTSIDE), ("b'28.4'", "b'28.4'")),
        Example(
            1,
            (OUTSIDE,),
            (
                "b'28.4'",
                *(f"Slept for {seconds} seconds!" for seconds in (1, 2, 3)),
            ),
            unordered=True,
        ),
        LISTENS,
        Example(1, (OUTSIDE,), ("b'28.4'",), ends=True),
        Example(1, (OUTSIDE,), ("b'28.4'",), ends=True),
    ],
}
CASES = [
    (page, number) for page, found in EXAMPLES.items() for number in range(len(found))
]


@pytest.fixture
def anyio_backend() -> Any:
    """One loop for the test is enough: the examples choose their own."""
    return "asyncio", {"debug": True}


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The Python examples of every page that has any, as they stand there."""
    directory = made_once(tmp_path_factory, "documentation", download)
    (archive,) = directory.glob("*.tar.gz")
    texts: dict[str, list[str]] = {}
    with tarfile.open(archive) as tar:
        for member in sorted(tar.getnames()):
            page = member.partition("/")[2]
            if page == "README.md" or re.fullmatch(r"docs/.*\.(md|rst)", page):
                file = tar.extractfile(member)
                assert file is not None
                blocks = python_blocks(file.read().decode())
                if blocks:
                    texts[page] = blocks
    return texts


def python_blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def download(directory: Path) -> None:
    """The source distribution; what builds it may come as wheels."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download"]
    options = ["--no-deps", "--no-binary", "aiomqtt", "--dest", str(directory)]
    result = subprocess.run(
        [*command, *options, DISTRIBUTION],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Of what builds it, pip would compile what is not imported.
        env=os.environ | {"PIP_NO_COMPILE": "1"},
        check=False,
    )
    assert result.returncode == 0, f"pip download {DISTRIBUTION}:\n{result.stdout}"


@pytest.fixture(params=["mosquitto", "own"])
def broker_kind(request: pytest.FixtureRequest) -> str:
    """A process of its own can't be joined in memory."""
    kind: str = request.param
    return kind


def test_no_example_is_lost(texts):
    assert {page: len(found) for page, found in texts.items()} == {
        page: len(found) for page, found in EXAMPLES.items()
    }
    assert sum(len(found) for found in texts.values()) == 22


@pytest.mark.parametrize(("page", "number"), CASES)
async def test_the_example_runs_unchanged(texts, start_broker, tmp_path, page, number):
    file = tmp_path / "example.py"
    file.write_text(texts[page][number])
    async with Running(EXAMPLES[page][number], file, await start_broker()) as running:
        await running.do_what_it_is_for()


async def test_with_starlette(start_broker, tmp_path):
    file = tmp_path / "example.py"
    file.write_text(STARLETTE)
    async with Running(APPLICATION, file, await start_broker()) as running:
        await running.do_what_it_is_for()


def get_page(port: int) -> None:
    """Ask a web server on loopback for its main page."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2 * SOON)
    connection.request("GET", "/")
    with contextlib.closing(connection):
        assert connection.getresponse().status == 200


class Running:
    """An example that runs, and a client that talks with it."""

    def __init__(
        self, example: Example, file: Path, broker: Broker | OwnBroker
    ) -> None:
        self.example = example
        self.broker = broker
        self.output = file.with_suffix(".out")
        self.errors = file.with_suffix(".err")
        self.log_start = len(broker.log)
        runner = Path(__file__).with_name("example.py")
        self.command = [
            *(str(runner), str(broker.port), str(file)),
            *(["fragment"] if example.fragment else []),
        ]
        self.web_port = free_port() if example.serves else 0
        if example.serves:
            self.command += ["application", str(self.web_port)]

    async def __aenter__(self) -> Self:
        self.listener = aiomqtt.Client(self.broker.host, self.broker.port)
        await self.listener.__aenter__()
        await self.listener.subscribe("#", qos=1)
        self.log_start = len(self.broker.log)
        with self.output.open("wb") as output, self.errors.open("wb") as errors:
            self.process = ForkedProgram(*self.command, stdout=output, stderr=errors)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.process.kill()
        await self.listener.__aexit__(None, None, None)

    @property
    def log(self) -> str:
        return self.broker.log[self.log_start :]

    @property
    def printed(self) -> list[str]:
        return self.output.read_text().splitlines()

    async def until(self, what: str, condition: Any) -> None:
        def describe() -> str:
            return (
                f"the example did not {what}\nprinted: {self.printed}\n"
                f"errors: {self.errors.read_text()}\nbroker: {self.log[-2000:]}"
            )

        await until(condition, 2 * SOON, describe)

    async def do_what_it_is_for(self) -> None:
        example = self.example
        received = asyncio.create_task(self.receive(len(example.publishes)))
        if example.subscribes:
            await self.feed()
        if example.serves:
            await asyncio.to_thread(get_page, self.web_port)
        if example.restarts:
            await self.until("print", lambda: len(self.printed) == 1)
            await self.listener.__aexit__(None, None, None)
            self.broker.kill()
            await start(self.broker)
            await self.listener.__aenter__()
            self.log_start = len(self.broker.log)
            await self.feed()
        await self.until("print", lambda: len(self.printed) >= len(example.prints))
        if not example.ends:
            self.process.send_signal(signal.SIGINT)
        await self.until("end", lambda: self.process.poll() is not None)
        assert await received == list(example.publishes)
        self.check_output()
        # It has said goodbye, whichever way it ended.
        await self.until("disconnect", lambda: "Received DISCONNECT from" in self.log)
        assert "closed its connection" not in self.log

    async def feed(self) -> None:
        await self.until(
            "subscribe",
            lambda: (
                self.log.count("Sending SUBACK to") == self.example.subscribes
                or self.process.poll() is not None
            ),
        )
        for topic, payload in self.example.messages:
            await self.listener.publish(topic, payload, qos=1)

    async def receive(self, count: int) -> list[tuple[str, str]]:
        """The next so many messages, which the example published."""
        received: list[tuple[str, str]] = []
        async with asyncio.timeout(2 * SOON):
            while len(received) < count:
                message = await anext(self.listener.messages)
                received.append((str(message.topic), message.payload.decode()))
        return received

    def check_output(self) -> None:
        example = self.example
        order = sorted if example.unordered else list
        assert order(self.printed) == order(example.prints)
        errors = self.errors.read_text()
        for complaint in (
            "Warning",
            "never retrieved",
            "Exception ignored",
            "Task was",
        ):
            assert complaint not in errors, errors
        last = errors.splitlines()[-1] if errors else ""
        if example.raises:
            assert last.startswith(example.raises), errors
            assert self.process.returncode == 1
        elif example.ends:
            assert errors == ""
            assert self.process.returncode == 0
        else:
            assert last == "KeyboardInterrupt", errors
            assert self.process.returncode == -signal.SIGINT
