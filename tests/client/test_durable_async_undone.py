"""What was stored last is undone, as when the power is lost: nothing later is lost."""

import asyncio
import shutil
from pathlib import Path

import pytest

from aiomqtt import Client, MqttError, SQLiteSession
from aiomqtt.protocol.identifiers import RESERVED_AT_A_TIME
from aiomqtt.testing import (
    CONNACK,
    CONNECT,
    DISCONNECT,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBSCRIBE,
    Script,
)
from tests.raw_scripts import turns, within

BLOCK = RESERVED_AT_A_TIME


def durable(script: Script, path: Path, level: int) -> Client:
    return Client(
        script.name,
        transport="memory",
        identifier="me",
        protocol=level,
        session=SQLiteSession(path),
    )


@pytest.fixture(params=[4, 5], ids=["3.1.1", "5.0"])
def level(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


async def lose_power(directory: Path, level: int) -> Path:
    """Publish three messages at QoS 2, of which the last two are undone."""
    path, undone = directory / "session.db", directory / "undone.db"
    is_kept = asyncio.Event()

    def keep() -> None:
        for end in ("", "-wal"):
            shutil.copy(f"{path}{end}", f"{undone}{end}")
        is_kept.set()

    script = Script()
    script.expect(CONNECT).reply(CONNACK)
    # The first one reserves identifiers, so the disk has what the file has.
    script.expect(PUBLISH, payload=b"kept", qos=2, packet_id=1).call(keep)
    script.expect(PUBLISH, payload=b"undone 1", qos=2, packet_id=2)
    script.expect(PUBLISH, payload=b"undone 2", qos=2, packet_id=3)
    script.drop_connection()
    async with script:
        client = durable(script, path, level)
        async with client:
            client.publish_nowait("t", "kept", 2)
            await within(is_kept.wait())
            client.publish_nowait("t", "undone 1", 2)
            client.publish_nowait("t", "undone 2", 2)
            with pytest.raises(MqttError):
                await within(anext(client.messages))
    return undone


async def test_no_identifier_is_used_again_that_the_broker_may_hold(tmp_path, level):
    path = await lose_power(tmp_path, level)
    script = Script()
    script.expect(CONNECT).reply(CONNACK, session_present=True)
    # It does not know whether the broker has these: it may complete them.
    for packet_id in range(2, BLOCK + 1):
        script.expect(PUBREL, packet_id=packet_id)
    script.expect(PUBLISH, payload=b"kept", packet_id=1, dup=True)
    script.expect(PUBLISH, payload=b"new", packet_id=BLOCK + 1, dup=False)
    for packet_id in range(2, BLOCK + 1):
        script.send(PUBCOMP, packet_id=packet_id)
    for packet_id in (1, BLOCK + 1):
        script.send(PUBREC, packet_id=packet_id)
        script.expect(PUBREL, packet_id=packet_id).reply()
    script.expect(SUBSCRIBE, packet_id=BLOCK + 2).reply()
    script.expect(DISCONNECT)
    async with script, durable(script, path, level) as client:
        await within(client.publish("t", "new", 2))
        await within(client.subscribe("t"))
    # It was left, so nothing is in doubt any more.
    script = Script()
    script.expect(CONNECT).reply(CONNACK, session_present=True)
    script.expect(PUBLISH, packet_id=BLOCK + 3).reply()
    script.expect(PUBREL, packet_id=BLOCK + 3).reply()
    script.expect(DISCONNECT)
    async with script, durable(script, path, level) as client:
        await within(client.publish("t", "", 2))


async def test_a_broker_that_ends_the_connection_for_that_is_not_asked_again(
    tmp_path, level
):
    path = await lose_power(tmp_path, level)
    script = Script()
    script.expect(CONNECT).reply(CONNACK, session_present=True)
    script.expect(PUBREL, packet_id=2).drop_connection()
    script.expect(CONNECT).reply(CONNACK, session_present=True)
    script.expect(PUBLISH, payload=b"kept", packet_id=1, dup=True).reply(PUBREC)
    script.expect(PUBREL, packet_id=1).reply()
    script.expect(DISCONNECT)
    async with script:
        client = durable(script, path, level)
        async with client:
            with pytest.raises(MqttError):
                await within(anext(client.messages))
        # So also by another process.
        async with durable(script, path, level):
            await turns(20)
