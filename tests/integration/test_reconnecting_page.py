"""Every example of docs/reconnecting.md runs."""

import asyncio
import re
import time
from pathlib import Path

import pytest

from aiomqtt.broker import Broker
from tests.documentation import blocks_by_heading
from tests.integration.page_examples import (
    CONNECT,
    PUBLISH,
    listening,
    received,
    running,
    subscribed,
    to_program,
)
from tests.integration.programs import SOON
from tests.ports import free_port

pytestmark = pytest.mark.once("pure")

PAGE = "docs/reconnecting.md"


@pytest.fixture
def anyio_backend():
    """One loop for the test is enough: the examples choose their own."""
    return "asyncio", {"debug": True}


def example(heading: str, number: int = 0) -> str:
    return blocks_by_heading(PAGE)[heading][number]


def test_every_example_is_run():
    asked = {
        (heading, int(number or 0))
        for heading, number in re.findall(
            r'\bexample\(\s*"([^"]+)"(?:,\s*(\d+))?', Path(__file__).read_text()
        )
    }
    assert asked == {
        (heading, number)
        for heading, found in blocks_by_heading(PAGE).items()
        for number in range(len(found))
    }


async def test_in_short(tmp_path):
    async with Broker(port=free_port()) as broker:
        text, ports = example("In short"), {1883: broker.port}
        async with running(text, tmp_path, ports) as program:
            await subscribed(broker)
            broker.publish("temperature/outside", "28.4", qos=1)
            assert await program.line() == "temperature/outside 28.4"
            await broker.stop()
            broker.clear()
            await broker.start()
            await subscribed(broker)
            broker.publish("temperature/outside", "28.5", qos=1)
            assert await program.line() == "temperature/outside 28.5"
            await program.interrupt()


# What an example that makes a client then does, while its connection is lost.
OUTLIVE = f"""
async with client:
    states = client.states()
    await client.publish("example/began", qos=1)
    async for change in states:
        if change.state == "waiting":
            break
    {PUBLISH}
"""


@pytest.mark.parametrize(
    "text",
    [example("In short", 1), example("Delays"), example("What it tries again")],
    ids=["a session", "delays", "decide"],
)
async def test_a_client_outlives_its_connection(tmp_path, text):
    async with Broker() as broker, listening(broker) as listener:
        others = {*broker.clients}
        program = to_program(text, then=OUTLIVE)
        async with running(program, tmp_path, {1883: broker.port}) as running_one:
            assert await received(listener, 1) == [("example/began", "")]
            (client_id,) = {*broker.clients} - others
            broker.abort(client_id)
            assert await received(listener, 1) == [("example/ran", "yes")]
            assert await running_one.end() == 0


async def test_the_first_connection(tmp_path):
    port = free_port()
    program = to_program(example("The first connection"), then=CONNECT)
    async with (
        running(program, tmp_path, {1883: port}) as running_one,
        Broker(port=port) as broker,
    ):
        assert await running_one.end() == 0
        assert broker.statistics.messages_received == 1


async def test_the_state_of_the_connection(tmp_path):
    port = free_port()
    async with Broker(port=port) as broker:
        text = example("The state of the connection")
        async with running(text, tmp_path, {1883: port}) as program:
            lines = [await program.line() for _ in range(2)]
            assert lines == ["connecting", "connected"]
            await subscribed(broker)
            broker.abort()
            lost = await program.line()
            assert re.fullmatch(
                r"Connection to .* lost: .*; trying again in [01] s", lost
            )
            assert await program.line() == "connecting"
            assert await program.line() == "connected"
            await subscribed(broker)
            broker.publish("temperature/outside", "28.4", qos=1)
            assert await program.line() == "temperature/outside 28.4"
            assert await program.line() == "left"
            assert (await program.end(), program.errors.count("Traceback")) == (0, 0)


async def test_a_birth_message(tmp_path):
    text = example("A birth message")
    async with Broker() as broker, listening(broker) as listener:
        others = {*broker.clients}
        program = to_program(text, then=OUTLIVE)
        async with running(program, tmp_path, {1883: broker.port}) as running_one:
            came = await received(listener, 2)
            assert came == [("sensors/cellar", "online"), ("example/began", "")]
            (client_id,) = {*broker.clients} - others
            broker.abort(client_id)
            assert await received(listener, 3) == [
                ("sensors/cellar", "offline"),
                ("sensors/cellar", "online"),
                ("example/ran", "yes"),
            ]
            assert await running_one.end() == 0


async def test_several_brokers(tmp_path):
    """The example waits 300 seconds; here it is shorter."""
    text = example("Several brokers").replace("300", "0.05")
    assert text != example("Several brokers")
    first, second = free_port(), free_port()
    program = to_program(
        text,
        then="async with client:\n"
        '    await client.publish("example/began", qos=1)\n'
        "    await asyncio.sleep(3600)",
    )
    async with Broker(port=second) as fallback, listening(fallback) as listener:
        ports = {1883: first, 1884: second}
        async with running(program, tmp_path, ports) as running_one:
            assert await received(listener, 1) == [("example/began", "")]
            async with Broker(port=first) as broker:
                deadline = time.monotonic() + 2 * SOON
                while not broker.statistics.clients_connected:
                    assert time.monotonic() < deadline, "it has not returned"
                    await asyncio.sleep(0.01)
            await running_one.interrupt()
