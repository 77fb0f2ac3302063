"""Every example of docs/streams.md runs."""

import pytest

from aiomqtt.broker import Broker
from tests.documentation import blocks, blocks_by_heading
from tests.integration.page_examples import running, subscribed

pytestmark = pytest.mark.once("pure")

PAGE = "docs/streams.md"


@pytest.fixture
def anyio_backend():
    """One loop for the test is enough: the examples choose their own."""
    return "asyncio", {"debug": True}


async def test_the_examples(tmp_path):
    examples = {
        "In short": (
            [("temperature/x", "20"), ("lamp/set", "on"), ("temperature/y", "2")],
            ["measured temperature/x 20", "lamp on", "measured temperature/y 2"],
        ),
        "Values": (
            [("reading/1", '{"celsius": 20.5}'), ("reading/2", "x"), ("reading/3", "")],
            ["reading/1 20.5", "reading/2 is wrong: ", "reading/3 is wrong: "],
        ),
        "When a message counts as handled": (
            [("jobs/1", "paint"), ("jobs/2", "clean")],
            ["doing jobs/1 paint", "doing jobs/2 clean"],
        ),
    }
    found = blocks_by_heading(PAGE)
    assert {name: len(parts) for name, parts in found.items()} == dict.fromkeys(
        examples, 1
    )
    assert len(blocks(PAGE)) == len(examples)
    for heading, (messages, lines) in examples.items():
        async with Broker() as broker:
            text, ports = found[heading][0], {1883: broker.port}
            async with running(text, tmp_path, ports) as program:
                await subscribed(broker)
                for (topic, payload), line in zip(messages, lines, strict=True):
                    broker.publish(topic, payload, qos=1)
                    assert (await program.line()).startswith(line)
                await program.interrupt()
