"""The end of a connection, whoever causes it, reaches everybody at once and once."""

import asyncio
import resource
from typing import Any, NamedTuple

import pytest

from aiomqtt import MqttCodeError, MqttError, Properties
from tests.peer import CONNECT, DISCONNECT, PINGREQ, PUBLISH, serve
from tests.raw_scripts import (
    CEILING,
    accept,
    gone,
    new_client,
    polite,
    publish_bytes,
    stop_reading,
    turns,
    within,
)


class Ending(NamedTuple):
    """A way to end a connection, and what a waiter's error says about it."""

    versions: tuple[int, ...]
    data: bytes = b""
    how: str = "close"  # then: close, abort, or wait (for the client to close)
    reason_code: int | None = None
    reason_string: str | None = None
    properties: Properties | None = None


ENDINGS = {
    "DISCONNECT with a reason": Ending(
        (5,),
        b"\xe0\x0b\x8b\x09\x1f\x00\x06upkeep",
        "wait",
        0x8B,
        "upkeep",
        Properties(reason_string="upkeep"),
    ),
    "DISCONNECT: use another server": Ending(
        (5,),
        b"\xe0\x0d\x9c\x0b\x1c\x00\x01b\x26\x00\x01k\x00\x01v",
        "wait",
        0x9C,
        None,
        Properties(server_reference="b", user_property=("k", "v")),
    ),
    "DISCONNECT: session taken over": Ending((5,), b"\xe0\x01\x8e", "wait", 0x8E),
    "DISCONNECT and the end": Ending((5,), b"\xe0\x01\x98", "close", 0x98),
    "DISCONNECT without a reason": Ending((5,), b"\xe0\x00", "wait", 0),
    "the end": Ending((3, 4, 5)),
    "a reset": Ending((3, 4, 5), how="abort"),
    "half a packet and the end": Ending((3, 4, 5), b"\x30\x7f\x00\x01t"),
    "malformed bytes": Ending((3, 4, 5), b"\x00\x00", "wait", 0x81),
    "malformed bytes and the end": Ending((3, 4, 5), b"\x00\x00", "close", 0x81),
    "malformed bytes and a reset": Ending((3, 4, 5), b"\x00\x00", "abort"),
    "a second CONNACK": Ending((3, 4), b"\x20\x02\x00\x00", "wait", 0x82),
    "a second CONNACK in 5.0": Ending((5,), b"\x20\x03\x00\x00\x00", "wait", 0x82),
    "an alias that was not offered": Ending(
        (5,), b"\x30\x07\x00\x01t\x03\x23\x00\x01", "wait", 0x94
    ),
}
CASES = [
    pytest.param(level, ENDINGS[name], id=f"{level}-{name}")
    for name in ENDINGS
    for level in ENDINGS[name].versions
]


async def end(peer, level, ending):
    peer.send(ending.data)
    if ending.how == "close":
        peer.close()
    elif ending.how == "abort":
        await peer.drain()
        peer.abort()
    else:
        protocol_error = level == 5 and ending.data[0] != 0xE0
        if protocol_error:  # 5.0 says why; below it and to a DISCONNECT: nothing
            first, body = await peer.expect(DISCONNECT)
            assert (first, body[0]) == (0xE0, ending.reason_code)
        await peer.expect_end()
        peer.close()


@pytest.mark.conformance("5.0", "MQTT-4.13.2-1", "MQTT-3.1.2-27")
@pytest.mark.conformance("5.0", "MQTT-3.2.0-2", "MQTT-3.14.4-2")
@pytest.mark.conformance("3.1.1", "MQTT-4.8.0-1", "MQTT-2.2.2-2")
@pytest.mark.parametrize(("level", "ending"), CASES)
async def test_the_end_reaches_every_waiter(level, ending):
    asked = asyncio.Event()

    async def script(peer):
        await accept(peer, level)
        for _ in range(5):
            await peer.read_packet()
        asked.set()
        await turns()
        await end(peer, level, ending)

    async with serve(script, polite(level)) as server:
        client = new_client(server, level)
        async with asyncio.timeout(CEILING):
            await client.__aenter__()
            messages = client.messages
            calls = [
                client.publish("a", b"", 1),
                client.publish("a", b"", 2),
                client.subscribe("a"),
                client.subscribe(["b", "c"]),
                client.unsubscribe("a"),
                anext(messages),
                anext(messages),
                anext(client.messages),
            ]
            tasks: list[Any] = [asyncio.ensure_future(call) for call in calls]
            await asked.wait()
            errors = await asyncio.gather(*tasks, return_exceptions=True)
            assert not client.is_connected()
            for error in errors:
                assert isinstance(error, MqttError), repr(error)
                if ending.reason_code is not None:
                    assert error.reason_code == ending.reason_code
                assert error.reason_string == ending.reason_string
                assert error.properties == ending.properties
            # Each has an error of its own: tracebacks add up.
            assert len(set(map(id, errors))) == len(errors)
            for error in errors[:5]:
                if ending.reason_string:
                    assert ending.reason_string in str(error)
                if isinstance(error, MqttCodeError):
                    assert error.rc == error.reason_code
            for error in errors[5:]:
                assert str(error) == "Disconnected during message iteration"
                assert isinstance(error.__cause__, MqttError)
            # Those who come later learn it too, with the reason.
            with pytest.raises(MqttCodeError, match="not currently connected") as late:
                await client.publish("a")
            assert late.value.rc == 4
            assert isinstance(late.value.__cause__, MqttError)
            with pytest.raises(MqttError, match="Disconnected during"):
                await anext(messages)
            # Leaving is silent, and the client can be entered again.
            await client.__aexit__(None, None, None)
            async with client:
                await client.publish("a", b"", 1)


@pytest.mark.conformance("5.0", "MQTT-3.1.4-3")
@pytest.mark.conformance("3.1.1", "MQTT-3.1.4-2")
async def test_two_clients_of_one_identifier_do_not_fight(version):
    """The one that was thrown out says so and does not come back by itself."""

    async def script(peer):
        await accept(peer, version)
        if version == 5:
            peer.send(b"\xe0\x01\x8e")
        peer.close()

    async with serve(script) as server:  # a second connection would fail the test
        client = new_client(server, version, identifier="me")
        with pytest.raises(MqttError) as caught:
            async with asyncio.timeout(CEILING), client:
                await anext(client.messages)
        assert caught.value.reason_code == (0x8E if version == 5 else None)
        await asyncio.sleep(0.1)
        assert len(server.peers) == 1


async def test_every_call_of_a_crowd_ends(version):
    async def script(peer):
        await accept(peer, version)
        await peer.expect(PUBLISH)
        peer.close()

    async with serve(script) as server:
        client = new_client(server, version)
        async with client:
            tasks = [
                asyncio.create_task(client.publish("a", b"", n % 2 + 1))
                for n in range(300)
            ]
            results = await within(asyncio.gather(*tasks, return_exceptions=True))
            assert all(isinstance(result, MqttError) for result in results)


async def test_those_who_wait_for_their_turn_end_too(version):
    async def script(peer):
        await accept(peer, version)
        await peer.expect(PUBLISH)
        peer.close()

    async with serve(script) as server:
        client = new_client(server, version, max_concurrent_outgoing_calls=1)
        async with client:
            calls = [client.publish("a", b"", 1) for _ in range(5)]
            results = await within(asyncio.gather(*calls, return_exceptions=True))
            assert all(isinstance(result, MqttError) for result in results)


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("qos", [0, 1])
async def test_those_who_wait_for_room_to_write_end_too(how, qos):
    """A peer that reads nothing, until it ends the connection."""
    stalled = asyncio.Event()

    async def script(peer):
        await accept(peer)
        stop_reading(peer)
        await within(stalled.wait())
        getattr(peer, how)()

    async with serve(script) as server:
        client = new_client(server, max_inflight_messages=1000)
        async with client:
            payload = bytes(100_000)
            tasks = [
                asyncio.create_task(client.publish("a", payload, qos))
                for _ in range(300)
            ]
            pending, before = len(tasks), 0
            while pending != before:  # until none goes on any more
                before = pending
                _, rest = await asyncio.wait(tasks, timeout=0.3)
                pending = len(rest)
            assert pending
            stalled.set()
            results = await within(asyncio.gather(*tasks, return_exceptions=True))
            errors = [result for result in results if result is not None]
            assert len(errors) >= pending
            assert all(isinstance(error, MqttError) for error in errors)


# --- keep alive ----------------------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-3.1.2-20", "MQTT-3.12.4-1")
@pytest.mark.conformance("3.1.1", "MQTT-3.1.2-23", "MQTT-3.12.4-1")
async def test_trap_8_a_broker_that_answers_no_ping_is_dead():
    """Trap 8: traffic hides nothing: what comes gives the broker time, and no more."""
    # At once, as it takes a while.
    async with asyncio.TaskGroup() as tasks:
        for version in (3, 4, 5):
            tasks.create_task(check_that_it_is_dead(version, "none"))
        tasks.create_task(check_that_it_is_dead(4, "from the broker"))
        tasks.create_task(check_that_it_is_dead(5, "from the client"))


async def check_that_it_is_dead(version, traffic):
    async def script(peer):
        await accept(peer, version)
        pinged = False
        while not pinged:
            first, _ = await peer.read_packet()
            pinged = first >> 4 == PINGREQ
        for _ in range(100 if traffic == "from the broker" else 0):
            peer.send(publish_bytes("t", version=version))
            await asyncio.sleep(0.02)
        await gone(peer)

    async with serve(script) as server:
        client = new_client(server, version, keepalive=1)
        with pytest.raises(MqttError) as caught:
            async with asyncio.timeout(CEILING), client:
                if traffic == "from the client":
                    while True:
                        await client.publish("a")
                        await asyncio.sleep(0.02)
                async for _ in client.messages:
                    pass
        error, cause = caught.value, caught.value.__cause__
        assert isinstance(cause, MqttError) or "from the client" in traffic
        # A publish that comes too late has the reason as its cause.
        assert 0x8D in (error.reason_code, getattr(cause, "reason_code", None))
        assert "Keep Alive timeout" in f"{error} {cause}"


@pytest.mark.conformance("5.0", "MQTT-3.1.2-21", "MQTT-3.2.2-21")
async def test_the_servers_keep_alive_counts():
    async def script(peer):
        await accept(peer, 5, properties=b"\x13\x00\x01")
        await peer.expect(PINGREQ)
        await gone(peer)

    async with serve(script) as server:
        client = new_client(server, 5, keepalive=3600)
        with pytest.raises(MqttError) as caught:
            async with asyncio.timeout(CEILING), client:
                await anext(client.messages)
        assert caught.value.reason_code == 0x8D


async def test_without_a_keep_alive_there_are_no_pings(version):
    async def script(peer):
        body = await accept(peer, version)
        assert b"MQTT" in body[:8] or b"MQIsdp" in body[:8]
        await peer.expect(DISCONNECT)
        peer.close()

    async with serve(script) as server, new_client(server, version, keepalive=0):
        await asyncio.sleep(0.1)


# --- hostile bytes -------------------------------------------------------------

HOSTILE = {
    "type 0": b"\x00\x00",
    "a length of five bytes": b"\x30\xff\xff\xff\xff\x01",
    "a length that is not minimal": b"\xd0\x80\x00",
    "QoS 3": b"\x36\x05\x00\x01t\x00\x01",
    "DUP at QoS 0": b"\x38\x03\x00\x01t",
    "a wildcard in a topic": b"\x30\x03\x00\x01#",
    "a topic that is no UTF-8": b"\x30\x03\x00\x01\xff",
    "a topic with U+0000": b"\x30\x03\x00\x01\x00",
    "a topic cut short": b"\x30\x03\x00\xfft",
    "identifier 0": b"\x32\x05\x00\x01t\x00\x00",
    "PUBREL with wrong flags": b"\x60\x02\x00\x01",
    "PUBACK with flags": b"\x41\x02\x00\x01",
    "PUBACK too short": b"\x40\x01\x00",
    "PUBACK of identifier 0": b"\x40\x02\x00\x00",
    "PINGRESP with a body": b"\xd0\x01\x00",
    "a CONNECT": b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x0a\x00\x01x",
    "a SUBSCRIBE": b"\x82\x06\x00\x01\x00\x01a\x00",
    "an UNSUBSCRIBE": b"\xa2\x05\x00\x01\x00\x01a",
    "a PINGREQ": b"\xc0\x00",
    "AUTH": b"\xf0\x00",
    "a SUBACK that is cut short": b"\x90\x01\x00",
    "a torrent of nonsense": b"\xde\xad\xbe\xef" * 100_000,
}


@pytest.mark.conformance("5.0", "MQTT-2.2.1-4", "MQTT-4.12.0-6")
@pytest.mark.conformance("3.1.1", "MQTT-2.3.1-4", "MQTT-3.3.1-4", "MQTT-4.8.0-1")
@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_bytes_end_in_an_error_with_its_code(version, name):
    async def script(peer):
        await accept(peer, version)
        peer.send(HOSTILE[name])
        if version == 5:
            first, body = await peer.expect(DISCONNECT)
            assert (first, body[0]) in ((0xE0, 0x81), (0xE0, 0x82))
        await peer.expect_end()
        peer.close()

    async with serve(script) as server:
        client = new_client(server, version)
        with pytest.raises(MqttError) as caught:
            async with asyncio.timeout(CEILING), client:
                await anext(client.messages)
        assert caught.value.reason_code in (0x81, 0x82)


async def test_hostile_bytes_one_by_one(version):
    """Cut anywhere, the same end."""

    async def script(peer):
        await peer.expect(CONNECT)
        none = b"\x00" if version == 5 else b""
        sent = b"\x20" + bytes([2 + len(none)]) + b"\x00\x00" + none
        sent += publish_bytes("t", b"good", version=version) + b"\x36\x05\x00\x01t"
        for number in range(len(sent)):
            peer.send(sent[number : number + 1])
            await peer.drain()
            await asyncio.sleep(0.001)
        await gone(peer)

    async with serve(script) as server:
        client = new_client(server, version)
        got = []
        with pytest.raises(MqttError) as caught:
            async with asyncio.timeout(CEILING), client:
                async for message in client.messages:
                    got.append(message.payload)  # noqa: PERF401 - it raises at the end
        assert got == [b"good"]
        assert caught.value.reason_code == 0x81


@pytest.mark.conformance("5.0", "MQTT-3.1.2-24")
async def test_a_packet_above_the_announced_maximum():
    from aiomqtt import Properties

    async def script(peer):
        await accept(peer, 5)
        peer.send(b"\x30\xff\xff\xff\x7f\x00\x01t")
        first, body = await peer.expect(DISCONNECT)
        assert (first, body[0]) == (0xE0, 0x95)
        await peer.expect_end()
        peer.close()

    async with serve(script) as server:
        limit = Properties(maximum_packet_size=1000)
        client = new_client(server, 5, properties=limit)
        with pytest.raises(MqttError) as caught:
            async with asyncio.timeout(CEILING), client:
                await anext(client.messages)
        assert caught.value.reason_code == 0x95


async def test_what_comes_after_the_end_is_dropped():
    """A peer that goes on sending after the error fills no memory."""
    payload = publish_bytes("t", bytes(65_000))

    async def script(peer):
        await accept(peer)
        peer.send(b"\x00\x00")
        try:
            for _ in range(2000):
                peer.send(payload)
                await peer.drain()
        except ConnectionError:
            pass
        peer.close()

    async with serve(script) as server:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        client = new_client(server)
        with pytest.raises(MqttError) as caught:
            async with asyncio.timeout(CEILING), client:
                await anext(client.messages)
        assert caught.value.reason_code == 0x81
        assert len(client.messages) == 0
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 40_000  # KiB
