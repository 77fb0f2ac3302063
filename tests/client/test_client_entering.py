"""Entering and leaving, and entering again after whatever went wrong."""

import asyncio
import socket

import pytest

from aiomqtt import Client, MqttCodeError, MqttError, MqttReentrantError
from aiomqtt.exceptions import MqttConnectError
from tests.peer import CONNECT, serve
from tests.ports import free_port
from tests.raw_scripts import (
    accept,
    cancelled_after,
    expect_publish,
    fails,
    gone,
    good,
    goodbye,
    new_client,
    polite,
    publish_bytes,
    turns,
    within,
    works,
)

# --- entering, leaving, entering again -----------------------------------------


@pytest.mark.conformance("5.0", "MQTT-3.1.0-1", "MQTT-3.1.0-2")
@pytest.mark.conformance("3.1.1", "MQTT-3.1.0-1", "MQTT-3.1.0-2")
async def test_a_client_can_be_entered_again(version):
    async with serve(good(version), again=True) as server:
        client = new_client(server, version)
        for _ in range(3):
            await works(client)
        assert len(server.peers) == 3


async def test_entering_returns_the_client():
    async with serve(polite()) as server:
        client = new_client(server)
        async with client as entered:
            assert entered is client


async def test_by_hand(version):
    async with serve(polite(version), again=True) as server:
        client = new_client(server, version)
        assert await client.__aenter__() is client
        await client.publish("a", b"", 1)
        await client.__aexit__(None, None, None)
        await client.__aexit__(None, None, None)  # twice
        await client.__aenter__()
        await client.__aexit__(None, None, None)


async def test_leaving_without_having_entered_is_harmless():
    client = Client("localhost")
    await client.__aexit__(None, None, None)
    await client.__aexit__(ValueError, ValueError(), None)


async def test_leaving_after_a_failed_entry_is_harmless():
    async def refuses(peer):
        await accept(peer, code=5)
        await peer.expect_end()

    async with serve(refuses, good(4)) as server:
        client = new_client(server)
        await fails(client, MqttConnectError)
        await client.__aexit__(None, None, None)
        await works(client)


async def test_it_is_not_reentrant(version):
    async with serve(polite(version)) as server:
        client = new_client(server, version)
        async with client:
            with pytest.raises(MqttReentrantError, match="not reentrant"):
                async with client:
                    pass
            assert client.is_connected()
            await client.publish("a", b"", 1)


async def test_it_is_not_reentrant_while_it_connects():
    asked, answer = asyncio.Event(), asyncio.Event()

    async def script(peer):
        await peer.expect(CONNECT)
        asked.set()
        await answer.wait()
        peer.connack(4)
        await goodbye(peer)

    async with serve(script) as server:
        client = new_client(server)
        entering = asyncio.create_task(client.__aenter__())
        await within(asked.wait())
        with pytest.raises(MqttReentrantError):
            await client.__aenter__()
        assert not client.is_connected()
        answer.set()
        await within(entering)
        assert client.is_connected()
        await client.__aexit__(None, None, None)


async def test_leaving_while_another_task_enters_ends_both():
    asked = asyncio.Event()

    async def script(peer):
        await peer.expect(CONNECT)
        asked.set()
        await gone(peer)

    async with serve(script, good(4)) as server:
        client = new_client(server)
        entering = asyncio.create_task(client.__aenter__())
        await within(asked.wait())
        await within(client.__aexit__(None, None, None))
        with pytest.raises(MqttError):
            await within(entering)
        await works(client)


# --- the broker is not there ---------------------------------------------------


async def test_nobody_listens(version):
    port = free_port()
    client = Client("127.0.0.1", port, protocol=version)
    error = await fails(
        client, MqttError, f"127.0.0.1:{port}: .*(refused|Connect call)"
    )
    assert isinstance(error.__cause__, OSError)
    async with serve(good(version), port=port):
        await works(client)


async def test_the_name_is_not_known():
    client = Client("nonexistent.invalid", 1234)
    error = await fails(client, MqttError, "nonexistent.invalid:1234")
    assert isinstance(error.__cause__, socket.gaierror)


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".example", "."])
async def test_the_name_is_no_name(name):
    await fails(Client(name, 1234), MqttError, ":1234: ")


async def test_an_address_of_6_is_shown_in_brackets():
    port = free_port()
    await fails(Client("::1", port), MqttError, rf"\[::1\]:{port}: ")


# --- cancelled -----------------------------------------------------------------


async def test_cancelled_at_every_step_while_it_enters(version):
    """Need 5: cancelled anywhere, the client can be entered again."""

    async def served(peer):
        try:
            await accept(peer, version)
            peer.send(publish_bytes("t", b"again", version=version))
        except (AssertionError, ConnectionError):
            pass
        await gone(peer)

    async with serve(served, again=True) as server:
        client = new_client(server, version)
        entered = False
        steps = 0
        while not entered:
            task = await cancelled_after(steps, client.__aenter__())
            entered = not task.cancelled()
            if entered:
                assert task.result() is client
                await client.__aexit__(None, None, None)
            assert not client.is_connected()
            await client.__aexit__(None, None, None)
            await works(client)
            steps += 1
            assert steps < 1000
        assert steps > 3


async def test_cancelled_at_every_step_while_it_leaves(version):
    async def served(peer):
        await accept(peer, version)
        peer.send(publish_bytes("t", b"again", version=version))
        await gone(peer)

    async with serve(served, again=True) as server:
        client = new_client(server, version)
        left = False
        steps = 1  # at 0 it would not even begin
        while not left:
            await client.__aenter__()
            task = await cancelled_after(steps, client.__aexit__(None, None, None))
            left = not task.cancelled()
            assert not client.is_connected()
            await works(client)
            steps += 1
            assert steps < 1000


async def test_cancelled_while_nobody_answers():
    asked = asyncio.Event()

    async def silent(peer):
        await peer.expect(CONNECT)
        asked.set()
        await gone(peer)

    async with serve(silent, good(4)) as server:
        client = new_client(server)
        entering = asyncio.create_task(client.__aenter__())
        await within(asked.wait())
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        await works(client)


async def test_between_connections_nothing_can_be_asked(version):
    async with serve(good(version)) as server:
        client = new_client(server, version)
        for _ in range(2):
            for call in (
                client.publish("a"),
                client.publish("a", b"", 1),
                client.subscribe("a"),
                client.unsubscribe("a"),
            ):
                with pytest.raises(
                    MqttCodeError, match="not currently connected"
                ) as caught:
                    await call
                assert caught.value.rc == 4
            if not server.peers:
                await works(client)


@pytest.mark.conformance("5.0", "MQTT-3.1.3-6")
async def test_the_identifier_that_the_broker_assigns():
    async def assigns(peer):
        body = await accept(peer, 5, properties=b"\x12\x00\x05given")
        assert body.endswith(b"\x00\x00")
        await goodbye(peer)

    async def knows(peer):
        body = await accept(peer, 5)
        assert body.endswith(b"\x00\x05given")
        await goodbye(peer)

    async with serve(assigns, knows) as server:
        client = new_client(server, 5)
        for _ in range(2):
            async with client:
                assert client.identifier == "given"
            assert client.identifier == "given"


async def test_a_message_that_comes_with_the_connack_is_kept(version):
    async def script(peer):
        await peer.expect(CONNECT)
        accepted = b"\x20\x03\x00\x00\x00" if version == 5 else b"\x20\x02\x00\x00"
        peer.send(accepted + publish_bytes("t", b"early", version=version))
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version) as client:
        await turns()
        async for message in client.messages:
            assert message.payload == b"early"
            break


async def test_the_first_publish_follows_the_connack(version):
    async def script(peer):
        await accept(peer, version)
        assert (await expect_publish(peer, version)).payload == b"first"
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version) as client:
        await client.publish("t", b"first")
