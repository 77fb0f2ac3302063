"""The error that a program gets has the broker's explanation."""

import asyncio
import re
from typing import Any

import pytest

from aiomqtt import (
    Broker,
    Client,
    MqttCodeError,
    MqttConnectError,
    MqttError,
    Properties,
)
from aiomqtt.broker.hooks import Refusal
from tests.client.test_client_connection_errors import PAGE, documented
from tests.peer import CONNECT, serve
from tests.raw_scripts import accept, fails, gone, new_client, within

MOVED = Properties(reason_string="for good", server_reference="b.example:1883")
TEXT = "Server moved: for good (server reference: b.example:1883)"


@pytest.fixture(params=["tcp", "memory"])
def transport(request):
    return request.param


def broker_of(transport, **hooks):
    return Broker("127.0.0.1" if transport == "tcp" else None, **hooks)


def client_of(broker, transport, version=5):
    if transport == "memory":
        return Client(
            broker.name, transport="memory", identifier="me", protocol=version
        )
    return Client("127.0.0.1", broker.port, identifier="me", protocol=version)


async def moved(_):
    return Refusal(0x9D, MOVED.reason_string, MOVED.server_reference)


async def test_a_broker_that_refuses(transport, version):
    async with broker_of(transport, authenticate=moved) as broker:
        error = await fails(client_of(broker, transport, version), MqttConnectError)
    if version < 5:
        assert error.properties is None
        assert error.reason_string is None
    else:
        assert error.rc == 0x9D
        assert error.properties == MOVED
        assert error.reason_string == "for good"
        assert str(error) == f"[code:157] {TEXT}"


async def test_a_broker_that_sends_its_clients_elsewhere(transport, version):
    async with (
        broker_of(transport) as broker,
        client_of(broker, transport, version) as client,
    ):
        broker.disconnect(
            "me",
            0x9D,
            reason_string=MOVED.reason_string,
            server_reference=MOVED.server_reference,
        )
        with pytest.raises(MqttError) as caught:
            await within(anext(client.messages))
        with pytest.raises(MqttCodeError) as late:
            await client.publish("a")
    for cause in (caught.value.__cause__, late.value.__cause__):
        assert isinstance(cause, MqttError)
        assert cause.properties == (MOVED if version == 5 else None)
        if version == 5:
            assert str(cause) == f"[code:157] Disconnected by the broker: {TEXT}"
    assert caught.value.properties == (MOVED if version == 5 else None)


async def test_all_that_a_refusal_can_say():
    """Each property that a CONNACK may carry (MQTT 5.0 §3.2.2.3)."""
    told = Properties(
        reason_string="r",
        server_reference="a.example:1 b.example:2",
        user_property=[("retry", "5"), ("retry", "6")],
        session_expiry_interval=1,
        maximum_packet_size=100,
    )
    section = (
        b"\x1f\x00\x01r"
        b"\x1c\x00\x17a.example:1 b.example:2"
        b"\x26\x00\x05retry\x00\x015\x26\x00\x05retry\x00\x016"
        b"\x11\x00\x00\x00\x01"
        b"\x27\x00\x00\x00\x64"
    )

    async def script(peer):
        await peer.expect(CONNECT)
        peer.connack(5, code=0x9C, properties=section)
        peer.close()

    async with serve(script) as server:
        client = new_client(server, 5)
        error = await fails(client, MqttConnectError)
        # It is of the error alone.
        assert client.connack_properties is None
    assert error.properties == told
    # The names of paho-mqtt reach it too.
    assert error.properties.ServerReference == told.server_reference


async def test_each_who_waits_has_the_words():
    async def script(peer):
        await accept(peer, 5)
        for _ in range(3):
            await peer.read_packet()
        peer.packet(0xE0, b"\x9c\x05\x1c\x00\x02b:")
        await gone(peer)

    async with serve(script) as server, new_client(server, 5) as client:
        found = await within(
            asyncio.gather(
                client.publish("a", b"", 1),
                client.publish("a", b"", 2),
                client.subscribe("a"),
                anext(client.messages),
                return_exceptions=True,
            )
        )
    assert len(set(map(id, found))) == 4
    for error in found:
        assert isinstance(error, MqttError)
        assert error.reason_code == 0x9C
        assert error.properties == Properties(server_reference="b:")


async def test_the_page_has_the_words():
    async with broker_of("tcp", authenticate=moved) as broker:
        error = await fails(client_of(broker, "tcp"), MqttConnectError)
    shown = str(error).replace(": for good", "").replace("b.example:1883", "NAME")
    assert documented(shown)


async def test_the_example_of_the_page():
    [example] = re.findall(
        r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    names: dict[str, Any] = {}
    exec(example, names)
    async with broker_of("tcp", authenticate=moved) as broker:
        found = names["find_server"]("127.0.0.1", broker.port)
        assert await within(found) == "b.example:1883"
