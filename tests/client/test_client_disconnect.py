"""Leaving with a reason code and properties, by `Client.disconnect`."""

import asyncio

import pytest

from aiomqtt import MqttCodeError, MqttError, MqttLimitError, Properties
from tests.peer import DISCONNECT, PUBACK, PUBLISH, RawPeer, serve
from tests.raw_scripts import (
    accept,
    ack_bytes,
    cancelled_after,
    expect_publish,
    goodbye,
    lasting,
    new_client,
    polite,
    publish_bytes,
    turns,
    within,
    works,
)


def expects(*disconnect):
    """A script that accepts and then sees just a DISCONNECT, byte by byte."""

    async def script(peer: RawPeer):
        await accept(peer, 5)
        assert await peer.expect(DISCONNECT) == (0xE0, bytes(disconnect))
        await peer.expect_end()
        peer.close()

    return script


async def again(peer: RawPeer):
    """Serve one message, for `works`."""
    await accept(peer, 5)
    peer.send(publish_bytes("t", b"again", version=5))
    await goodbye(peer)


@pytest.mark.conformance("5.0", "MQTT-3.14.2-1", "MQTT-3.14.4-1", "MQTT-3.14.4-2")
async def test_the_reason_code_goes_out_and_the_connection_ends():
    async with serve(expects(0x04), again) as server:
        client = new_client(server, 5)
        async with client:
            await within(client.disconnect(0x04))
            assert not client.is_connected()
            with pytest.raises(MqttCodeError, match="not currently connected"):
                await client.publish("t")
            with pytest.raises(MqttError, match="Disconnected"):
                await anext(client.messages)
        await works(client)


async def test_properties_go_out():
    body = b"\x00\x06\x1f\x00\x03bye"
    async with serve(expects(*body)) as server, new_client(server, 5) as client:
        await within(client.disconnect(properties=Properties(reason_string="bye")))


async def test_disconnecting_is_idempotent(version):
    async with serve(polite(version), polite(version)) as server:
        client = new_client(server, version)
        await client.disconnect()  # before it is entered
        async with client:
            await within(client.disconnect())
            await within(client.disconnect())
        await client.disconnect()
        async with client:
            assert client.is_connected()


async def test_several_tasks_disconnect_at_once():
    async with serve(expects(0x04)) as server, new_client(server, 5) as client:
        calls = [client.disconnect(0x04), client.disconnect(), client.disconnect(0x80)]
        await within(asyncio.gather(*calls))
        assert not client.is_connected()


async def test_two_tasks_disconnect_while_a_call_waits():
    leaving = asyncio.Event()

    async def script(peer):
        await accept(peer, 5)
        await expect_publish(peer, 5)
        await within(leaving.wait())
        peer.send(ack_bytes(PUBACK, 1))
        assert await peer.expect(DISCONNECT) == (0xE0, b"\x04")
        await peer.expect_end()
        peer.close()

    async with (
        serve(script) as server,
        new_client(server, 5, timeout=3600) as client,
    ):
        publishing = asyncio.create_task(client.publish("t", b"", 1))
        await turns()
        calls = [asyncio.create_task(client.disconnect(0x04)) for _ in range(2)]
        await turns()
        assert not publishing.done()
        leaving.set()
        await within(asyncio.gather(publishing, *calls))


async def test_an_unanswered_call_holds_it_for_the_timeout():
    async def script(peer):
        await accept(peer, 5)
        await peer.expect(PUBLISH)
        await goodbye(peer)

    async with (
        serve(script) as server,
        new_client(server, 5, timeout=3600) as client,
    ):
        publishing = asyncio.create_task(client.publish("t", b"", 1))
        await turns()
        await within(client.disconnect(timeout=0.05))
        with pytest.raises(MqttError):
            await within(publishing)


async def test_cancelled_the_connection_is_cut():
    for steps in range(8):
        async with serve(polite(5)) as server, new_client(server, 5) as client:
            await cancelled_after(steps, client.disconnect(0x04))
            # With no step it never began.
            assert client.is_connected() is (steps == 0)


async def test_one_of_two_tasks_is_cancelled():
    async def script(peer):
        await accept(peer, 5)
        await peer.expect(DISCONNECT)
        # Our side stays open: both wait for it.
        await peer.expect_end()
        await within(cut.wait())
        peer.close()

    cut = asyncio.Event()
    async with (
        serve(script) as server,
        new_client(server, 5, timeout=3600) as client,
    ):
        first, second = (asyncio.create_task(client.disconnect()) for _ in range(2))
        await turns()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await within(first)
        await within(second)
        assert not client.is_connected()
        cut.set()


WRONG = [
    ((0x8B,), {}, ValueError, "0x8b"),
    ((0x100,), {}, ValueError, "0x100"),
    (("4",), {}, TypeError, "reason_code"),
    ((0, {"reason_string": "bye"}), {}, TypeError, "properties"),
    ((0, Properties(server_reference="x")), {}, ValueError, "server_reference"),
    ((0, Properties(session_expiry_interval=1)), {}, ValueError, "MQTT-3.14.2-2"),
    ((0, Properties(reason_string="x" * 200)), {}, MqttLimitError, "too large"),
    ((), {"timeout": "1"}, TypeError, "timeout"),
]


@pytest.mark.parametrize(("args", "options", "error", "match"), WRONG)
async def test_wrong_arguments_leave_the_connection_as_it_is(
    args, options, error, match
):
    async with (
        serve(polite(5, properties=b"\x27\x00\x00\x00\x64")) as server,
        new_client(server, 5) as client,
    ):
        with pytest.raises(error, match=match):
            await client.disconnect(*args, **options)
        await within(client.publish("t", qos=1))


@pytest.mark.parametrize("args", [(4,), (0x80,), (0, Properties(reason_string="bye"))])
@pytest.mark.parametrize("level", [3, 4])
async def test_what_the_version_cannot_say(level, args):
    async with serve(polite(level)) as server, new_client(server, level) as client:
        with pytest.raises(ValueError, match=r"5\.0"):
            await client.disconnect(*args)
        assert client.is_connected()


async def test_it_can_end_a_session_that_would_last():
    async def first(peer):
        await accept(peer, 5)
        await expect_publish(peer, 5)
        body = b"\x00\x05\x11\x00\x00\x00\x00"
        assert await peer.expect(DISCONNECT) == (0xE0, body)
        await peer.expect_end()
        peer.close()

    async def second(peer):
        await accept(peer, 5)
        await goodbye(peer)  # nothing is sent again

    async with serve(first, second) as server:
        client = lasting(server, 5)
        async with client:
            with pytest.raises(MqttError, match="timed out"):
                await client.publish("t", b"", 1, timeout=0.01)
            properties = Properties(session_expiry_interval=0)
            await within(client.disconnect(properties=properties))
        async with client:
            pass
