"""The client over a connection in memory."""

import asyncio
import contextlib
import itertools
from typing import Any

import pytest

from aiomqtt import Client, MqttConnectError, MqttError
from tests import peer
from tests.peer import RawServer
from tests.raw_scripts import (
    accept,
    cancelled_after,
    expect_publish,
    fails,
    goodbye,
    polite,
    publish_bytes,
    turns,
    within,
    works,
)

numbers = itertools.count()


def serve(*scripts: Any, again: bool = False) -> Any:
    """Serve a script in memory, like `tests.peer.serve`."""
    return peer.serve(*scripts, again=again, name=f"peer-{next(numbers)}")


def new_client(server: RawServer, version: int = 4, **options: Any) -> Client:
    assert server.name is not None
    return Client(server.name, transport="memory", protocol=version, **options)


async def test_a_conversation(version):
    async def script(peer):
        await accept(peer, version)
        peer.send(publish_bytes("t", b"hello", version=version))
        published = await expect_publish(peer, version)
        assert published[:4] == ("t", b"x", 0, False)
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version) as client:
        assert client.is_connected()
        message = await within(anext(client.messages))
        assert message.payload == b"hello"
        await client.publish("t", b"x")
    assert not client.is_connected()


async def test_every_call(version):
    async with (
        serve(polite(version), again=True) as server,
        new_client(server, version) as client,
    ):
        await within(client.subscribe("t", 1))
        await within(client.unsubscribe("t"))
        for qos in range(3):
            await within(client.publish("t", b"x" * 300_000, qos))
        count = await within(
            client.publish_many([("t", b"x" * 10_000, 1)] * 500, window=50)
        )
        assert count == 500


async def test_it_can_be_entered_again():
    async with serve(polite(), again=True) as server:
        client = new_client(server)
        for _ in range(3):
            async with client:
                await client.publish("t", b"x", 1)


@pytest.mark.parametrize("port", [1883, 0, -1])
async def test_the_port_is_ignored(port):
    async with (
        serve(polite()) as server,
        Client(server.name, port, transport="memory") as client,
    ):
        assert client.is_connected()


async def test_no_broker_of_that_name():
    error = await fails(Client("nobody", transport="memory"))
    assert str(error) == (
        "Could not connect to memory:nobody:"
        " no broker of that name runs in this process"
    )


def test_a_broker_in_another_loop():
    async def enter(name):
        await fails(Client(name, transport="memory"), match="runs in another event")

    async def main():
        async with serve() as server:
            await asyncio.to_thread(asyncio.run, enter(server.name))

    asyncio.run(main())


async def test_the_name_is_in_errors(version):
    async def refuse(peer):
        await peer.read_packet()
        peer.connack(version, code=0x87 if version == 5 else 5)
        await peer.expect_end()
        peer.close()

    async def vanish(peer):
        await accept(peer, version)
        peer.abort()

    async def last(peer):
        await accept(peer, version)
        peer.send(publish_bytes("t", b"again", version=version))
        await goodbye(peer)

    async with serve(refuse, vanish, last) as server:
        client = new_client(server, version)
        await fails(client, MqttConnectError, match=rf"memory:{server.name} refused")
        with pytest.raises(MqttError) as caught:
            async with client:
                await within(anext(client.messages))
        lost = f"Connection to memory:{server.name} lost: the broker closed it"
        # Cut at once, the peer's CONNACK may be lost with the connection.
        assert str(caught.value) in (lost, f"{lost}, before its CONNACK")
        await works(client)


async def test_a_broker_that_says_nothing():
    async def script(peer):
        await peer.read_packet()
        await peer.expect_end()
        peer.close()

    async with serve(script) as server:
        # Enough for the CONNECT to be there on a busy machine.
        error = await fails(new_client(server, timeout=0.5))
        assert "sent no CONNACK" in str(error.__cause__)
        assert f"memory:{server.name}" in str(error.__cause__)


async def test_a_publisher_waits_for_a_broker_that_does_not_read(version):
    """The peer takes up to twice the limit of its reader; the rest waits."""
    count, size = 40, 16 * 1024

    async def script(peer):
        await accept(peer, version)
        await asked.wait()
        for _ in range(count):
            await expect_publish(peer, version)
        await goodbye(peer)

    asked = asyncio.Event()
    async with serve(script) as server, new_client(server, version) as client:

        async def publish():
            for _ in range(count):
                await client.publish("t", b"x" * size)

        task = asyncio.ensure_future(publish())
        await turns(3 * count)
        assert not task.done()
        asked.set()
        await within(task)


@pytest.mark.parametrize("steps", range(8))
async def test_entering_is_cancelled(steps, version):
    """The rest of it ends; the next entry works."""
    tried = 0

    async def script(peer):
        nonlocal tried
        tried += 1
        with contextlib.suppress(AssertionError, ConnectionError):
            await polite(version)(peer)
        peer.close()

    async with serve(script, again=True) as server:
        client = new_client(server, version)
        task = await cancelled_after(steps, client.__aenter__())
        if not task.cancelled():
            await client.__aexit__(None, None, None)
        async with client:
            await within(client.publish("t", b"x", 1))
    assert tried in (1, 2)
