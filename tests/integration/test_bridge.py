"""mosquitto as a bridge to our broker."""

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import aiomqtt
from tests.ports import free_port
from tests.until import until

CONFIGURATION = """\
listener {port} 127.0.0.1
allow_anonymous true
connection bridge
address 127.0.0.1:{remote}
topic # both 1
restart_timeout 1 2
"""


@contextlib.contextmanager
def bridge_to(remote: int, directory: Path) -> Iterator[int]:
    """A mosquitto that passes all messages on, both ways; its port."""
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    assert program is not None, "mosquitto is missing: scripts/test installs it"
    port = free_port()
    file = directory / "bridge.conf"
    file.write_text(CONFIGURATION.format(port=port, remote=remote))
    process = subprocess.Popen(
        [program, "-c", file], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield port
    finally:
        process.terminate()
        process.wait(10)


async def test_a_bridge_connects_as_it_is_by_default(tmp_path):
    """It begins with protocol level 0x84, and has a will below $SYS."""
    async with (
        aiomqtt.Broker() as broker,
        asyncio.timeout(40),
        aiomqtt.Client(broker.host, broker.port, identifier="far") as far,
    ):
        with bridge_to(broker.port, tmp_path) as port:
            await talk(broker, port, far)


async def talk(broker: aiomqtt.Broker, port: int, far: aiomqtt.Client) -> None:
    """Pass a message on, each way."""
    await far.subscribe("#", qos=1)
    await until(lambda: len(broker.clients) == 2, 30)
    async with aiomqtt.Client("127.0.0.1", port, identifier="near") as near:
        await near.subscribe("to/near", qos=1)
        await near.publish("to/far", b"1", 1)
        message = await anext(far.messages)
        assert (str(message.topic), message.payload) == ("to/far", b"1")
        await far.publish("to/near", b"2", 1)
        message = await anext(near.messages)
        assert (str(message.topic), message.payload) == ("to/near", b"2")
