"""Streams of a client that reconnects, on real brokers."""

import asyncio

import pytest

from aiomqtt import MqttError
from aiomqtt.testing import FaultProxy
from tests.integration.programs import SOON, client_of, start, unique
from tests.integration.reconnecting import (
    OVER_TCP,
    VERSIONS,
    connected_again,
    new_client,
)
from tests.until import until


async def taken(stream, last):
    """The payloads up to that one."""
    found = [""]
    async with asyncio.timeout(3 * SOON):
        while found[-1] != last:
            found.append((await anext(stream)).payload.decode())
    return found[1:]


@OVER_TCP
@VERSIONS
@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "lost"])
async def test_streams_go_on_and_get_each_message_once(broker, version, is_kept):
    """NEEDS 1, 2 and 13: overlapping filters too, over three lost connections."""
    base = unique("t")
    options = {"identifier": unique("me"), "persistent": True} if is_kept else {}
    async with (
        FaultProxy(broker.host, broker.port) as network,
        new_client(broker, version, port=network.port, **options) as client,
        client_of(broker, version) as publisher,
        # At QoS 0, as the broker may rightly repeat others.
        client.stream(f"{base}/1") as exact,
        client.stream(f"{base}/+", f"{base}/#") as several,
        client.stream(f"{base}/1", f"{base}/2") as two,
    ):
        for number in range(3):
            async with connected_again(client):
                network.reset()
            # What is restored has been, once this is answered.
            await client.subscribe("restored")
            for topic in (1, 2):
                await publisher.publish(f"{base}/{topic}", f"{number} {topic}", 1)
            assert await taken(exact, f"{number} 1") == [f"{number} 1"]
            both = [f"{number} 1", f"{number} 2"]
            assert await taken(several, both[1]) == both
            assert await taken(two, both[1]) == both
        assert len(exact) == len(several) == len(two) == len(client.messages) == 0


@pytest.mark.parametrize("broker_kind", ["own"], indirect=True)
async def test_a_stream_ends_if_its_subscription_is_not_restored(start_broker):
    """By the library's own broker: mosquitto lets anybody subscribe to anything."""
    broker = await start_broker(rules={"a": "readwrite", "b": "readwrite"})
    async with (
        new_client(broker, 5) as client,
        client.stream("a", qos=1) as first,
        client.stream("b", "a", qos=1) as second,
    ):
        await client.publish("a", "before", qos=1)
        broker.kill()
        del broker.rules["b"]
        await start(broker)
        reason = r"The broker refused to subscribe to 'b' \(Not authorized\)"
        # What came before is there first.
        with pytest.raises(MqttError, match=f"^The stream has ended: .*{reason}$") as e:
            await taken(second, "after")
        assert e.value.reason_code == 135
        # Another connection changes nothing.
        broker.kill()
        await start(broker)
        with pytest.raises(MqttError, match="^The stream has ended: "):
            await anext(second)
        await client.publish("a", "after", qos=1)
        assert await taken(first, "after") == ["before", "after"]


@OVER_TCP
@VERSIONS
async def test_streams_that_are_opened_and_left_without_a_connection(broker, version):
    base = unique("t")
    async with (
        FaultProxy(broker.host, broker.port) as network,
        new_client(broker, version, port=network.port) as client,
        client_of(broker, version) as publisher,
        client.stream(f"{base}/kept", qos=1) as kept,
    ):
        left = client.stream(f"{base}/left", qos=1)
        await left.__aenter__()
        network.reset()
        network.stall()
        await until(lambda: not client.is_connected())
        new = client.stream(f"{base}/new", qos=1)
        opening = asyncio.create_task(new.__aenter__())
        leaving = asyncio.create_task(left.__aexit__(None, None, None))
        given_up = asyncio.create_task(client.stream(f"{base}/x").__aenter__())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait([given_up])
        assert given_up.cancelled()
        network.resume()
        async with asyncio.timeout(3 * SOON):
            stream = await opening
            await leaving
        await client.subscribe("restored")
        for name in ("left", "x", "kept", "new"):
            await publisher.publish(f"{base}/{name}", name, 1)
        assert await taken(kept, "kept") == ["kept"]
        assert await taken(stream, "new") == ["new"]
        assert len(client.messages) == 0
        await new.__aexit__(None, None, None)
