"""Private attributes of aiomqtt 2.5: they work, and warn."""

# mypy: disable-error-code="attr-defined"

import subprocess
import sys
import warnings
from typing import Any

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties

from aiomqtt import Client, Message, MqttError, Properties, ProtocolVersion
from tests.peer import CONNECT, serve
from tests.raw_scripts import accept, gone, new_client, polite, within

deprecated = pytest.deprecated_call


def test_the_address():
    client = Client("broker.example", 1884)
    with deprecated(match="client._hostname is private"):
        assert client._hostname == "broker.example"
    with deprecated(match="client._port is private"):
        assert client._port == 1884


def test_the_warning_is_where_the_program_reads_or_sets():
    client = Client("broker.example")
    for name in ("_hostname", "_properties", "_client", "_queue"):
        with deprecated() as caught:
            getattr(client, name)
        assert caught[0].filename == __file__, name
    with deprecated() as caught:
        client._properties = None
    assert caught[0].filename == __file__


def test_what_they_give_is_imported_when_one_is_reached_for():
    code = """if True:
        import sys, aiomqtt
        client = aiomqtt.Client("broker.example")
        assert "aiomqtt.client.legacy_values" not in sys.modules
        assert client._port == 1883
        assert "aiomqtt.client.legacy_values" in sys.modules
    """
    subprocess.run([sys.executable, "-c", code], check=True)


async def test_the_properties_of_the_next_connect():
    seen = []

    async def script(peer):
        seen.append((await peer.expect(CONNECT))[1])
        peer.send(b"\x20\x03\x00\x00\x00")
        await gone(peer)

    async with serve(script, again=True) as server:
        client = new_client(server, 5)
        with deprecated(match=r"use Client\(properties=...\)"):
            assert client._properties is None
        ours = Properties(session_expiry_interval=7)
        theirs = PahoProperties(PacketTypes.CONNECT)
        theirs.SessionExpiryInterval = 8
        for properties in (ours, theirs):
            with deprecated():
                client._properties = properties
            async with client:
                pass
    assert b"\x11\x00\x00\x00\x07" in seen[0]
    assert b"\x11\x00\x00\x00\x08" in seen[1]


async def test_the_client_of_paho():
    client = Client("broker.example")
    with deprecated():
        paho = client._client
    assert not paho.is_connected()
    paho.username_pw_set("me", "secret")
    assert client._engine.settings.username == "me"
    assert client._engine.settings.password == b"secret"
    with pytest.raises(ValueError, match="transport 'tcp' has no path"):
        paho.ws_set_options("/mqtt")
    client = Client("broker.example", transport="websockets")
    with deprecated():
        client._client.ws_set_options("/other", {"A": "1"})
    target: Any = client._addresses.targets[0]
    assert (target.websocket_path, target.websocket_headers) == ("/other", {"A": "1"})
    with pytest.raises(AttributeError, match="no paho-mqtt beneath"):
        paho.max_inflight_messages_set(3)
    async with serve(polite()) as server, new_client(server) as entered:
        with deprecated():
            assert entered._client.is_connected()


async def test_the_futures():
    async def script(peer):
        await accept(peer)
        peer.close()

    def states():
        with deprecated():
            return client._connected.done(), client._disconnected.done()

    async with serve(script) as server:
        client = new_client(server)
        assert states() == (False, False)
        await client.__aenter__()
        with pytest.raises(MqttError, match="Disconnected"):
            await within(anext(client.messages))
        assert states() == (True, True)
        await client.__aexit__(None, None, None)
        assert states() == (False, False)
    async with serve(polite()) as server, new_client(server) as client:
        assert states() == (True, False)


async def test_the_queue():
    async with serve(polite()) as server, new_client(server) as client:
        with deprecated():
            queue = client._queue
        assert (queue.qsize(), queue.empty()) == (0, True)
        message = Message("a", b"1", 0, False, 0, None)
        await queue.put(message)
        queue.put_nowait(message)
        assert (queue.qsize(), queue.empty()) == (2, False)
        assert await within(anext(client.messages)) is message


def test_what_a_subclass_has_itself_goes_first():
    class Own(Client):
        def __init__(self):
            self._properties = {"mine": 1}
            self._client = "mine"
            self._port = 5
            super().__init__("broker.example", protocol=ProtocolVersion.V5)
            self._hostname = "mine"
            self._queue = []

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        own = Own()
        assert own._properties == {"mine": 1}
        assert (own._client, own._port, own._hostname) == ("mine", 5, "mine")
        assert own._queue == []


def test_nothing_of_it_is_used_by_the_client_itself():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        client = Client("broker.example")
        repr(client)
        assert not client.is_connected()
        assert len(client.messages) == 0
