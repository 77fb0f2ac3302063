"""Needs 2, 10 and 22 of a client that reconnects, on real brokers.

What the broker has is told by what it sends: it takes nobody's word for it.
"""

import asyncio
from dataclasses import replace

import pytest

import aiomqtt
from aiomqtt import Publication
from aiomqtt.testing import BROKER, CLIENT, PUBLISH, SUBACK, SUBSCRIBE, FaultProxy
from tests.integration.programs import SOON, client_of, payloads, start, stop, unique
from tests.integration.reconnecting import (
    OVER_TCP,
    QUICKLY,
    STORED,
    VERSIONS,
    connected_again,
    lasting,
    new_client,
)
from tests.until import until


async def check_subscriptions(client, broker, version, wanted, others):
    """Publish to each topic: those that are wanted come, once, and no others."""
    async with client_of(broker, version) as publisher:
        for topic in [*others, *wanted]:
            await publisher.publish(topic, topic, 1)
        # The last one, so that nothing comes behind it.
        await client.subscribe(f"{wanted[0]}/end", 1)
        await publisher.publish(f"{wanted[0]}/end", "end", 1)
    came = []
    async with asyncio.timeout(SOON):
        async for message in client.messages:
            came.append(message.payload.decode())
            if came[-1] == "end":
                break
    assert sorted(came[:-1]) == sorted(wanted)


# --- need 2: {session kept, lost} x {SUBACK received, pending} ------------------------


@OVER_TCP
@VERSIONS
@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "lost"])
async def test_need_2_granted_subscriptions_are_those_of_the_broker(
    broker, version, is_kept
):
    a, b, c = (unique(name) for name in "abc")
    options = {"identifier": unique("me"), "persistent": True} if is_kept else {}
    async with (
        FaultProxy(broker.host, broker.port) as network,
        new_client(broker, version, port=network.port, **options) as client,
    ):
        await client.subscribe([(a, 1), (b, 1), (c, 1)])
        await client.unsubscribe(c)
        for _ in range(3):
            async with connected_again(client):
                network.reset()
        # Once by the program, and when the broker had lost the session.
        assert network.packets[CLIENT, SUBSCRIBE] == (1 if is_kept else 4)
        await check_subscriptions(client, broker, version, [a, b], [c])


@OVER_TCP
@VERSIONS
@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "lost"])
@pytest.mark.parametrize("lost", ["SUBSCRIBE", "SUBACK"])
async def test_need_2_a_pending_subscribe_is_completed(broker, version, is_kept, lost):
    a, b = unique("a"), unique("b")
    options = {"identifier": unique("me"), "persistent": True} if is_kept else {}
    async with (
        FaultProxy(broker.host, broker.port) as network,
        new_client(broker, version, port=network.port, **options) as client,
    ):
        await client.subscribe(a, 1)
        if lost == "SUBSCRIBE":
            network.before(CLIENT, SUBSCRIBE, 2).reset()
        else:
            network.before(BROKER, SUBACK, 2).reset()
        assert list(await client.subscribe(b, 1)) == [1]
        assert network.triggered == 1
        await check_subscriptions(client, broker, version, [a, b], [])


@OVER_TCP
@VERSIONS
async def test_need_2_a_restoration_that_breaks_again_and_again(broker, version):
    """Also if the broker has made a session before it got the SUBSCRIBE."""
    filters = [unique(str(n)) for n in range(20)]
    name = unique("me")
    async with FaultProxy(broker.host, broker.port) as network:
        client = new_client(
            broker,
            version,
            # The broker says that another client has taken over.
            rules=replace(QUICKLY, takeover="retry"),
            port=network.port,
            identifier=name,
            persistent=True,
        )
        async with client:
            await client.subscribe([(each, 1) for each in filters])
            # The session is lost: another client with the name has ended it.
            network.stall()
            async with client_of(broker, version, identifier=name):
                pass
            network.resume()
            network.before(CLIENT, SUBSCRIBE, 2).times(3).reset()
            network.reset()
            # It is subscribed when this is answered.
            await client.unsubscribe("none")
            async with asyncio.timeout(3 * SOON):
                while client.statistics.waiting_calls:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await check_subscriptions(client, broker, version, filters, [])
            assert network.triggered == 3


@pytest.mark.parametrize("broker_kind", ["own"], indirect=True)
async def test_need_2_a_refused_restoration_is_reported(start_broker, caplog):
    """By the library's own broker: mosquitto lets anybody subscribe to anything."""
    broker = await start_broker(rules={"a": "readwrite", "b": "readwrite"})
    async with new_client(broker, 5) as client:
        await client.subscribe([("a", 1), ("b", 1)])
        async with connected_again(client):
            broker.kill()
            del broker.rules["b"]
            await start(broker)
        await client.unsubscribe("none")
        assert client.statistics.subscriptions == 1
    assert "refused to subscribe to 'b'" in caplog.text


# --- need 10: QoS 1 and 2 across reconnections ----------------------------------------


@OVER_TCP
@VERSIONS
@STORED
@pytest.mark.parametrize("sender", [CLIENT, BROKER], ids=["client's", "broker's"])
async def test_need_10_a_cut_at_each_packet_boundary(
    broker, version, sender, is_stored, tmp_path
):
    """QoS 1 arrives at least once, and QoS 2 exactly once, in order."""
    count = 3
    topic = unique("flow")
    async with client_of(broker, version) as listener:
        await listener.subscribe(f"{topic}/#", 2)
        boundary, has_triggered = 0, True
        while has_triggered:
            boundary += 1
            async with FaultProxy(broker.host, broker.port) as network:
                # The first packet is the CONNECT or the CONNACK.
                network.before(sender, None, boundary + 1).reset()
                client = new_client(
                    broker,
                    version,
                    port=network.port,
                    **lasting(tmp_path, unique("me"), is_stored),
                )
                async with client:
                    for qos in (1, 2):
                        messages = [
                            Publication(f"{topic}/{boundary}/{qos}", str(n), qos)
                            for n in range(count)
                        ]
                        assert await client.publish_many(messages) == count
                    assert client.pending_messages() == ()
                    has_triggered = network.triggered > 0
        # Some of these cuts are in the middle of each flow.
        assert boundary > 3 * count
        await listener.publish(f"{topic}/end", "", 2)
        came: dict[tuple[str, str], list[str]] = {}
        async with asyncio.timeout(3 * SOON):
            async for message in listener.messages:
                if message.topic.value == f"{topic}/end":
                    break
                _, number, quality = message.topic.value.rsplit("/", 2)
                came.setdefault((number, quality), []).append(message.payload.decode())
    wanted = [str(n) for n in range(count)]
    for round_number in map(str, range(1, boundary + 1)):
        at_least_once, exactly_once = came[round_number, "1"], came[round_number, "2"]
        assert list(dict.fromkeys(at_least_once)) == wanted
        assert exactly_once == wanted


@VERSIONS
@pytest.mark.parametrize("session", ["lasting", "stored", "not lasting"])
async def test_need_10_nothing_is_lost_when_the_broker_restarts(
    private_mosquitto, version, session, tmp_path
):
    """SIGTERM: the broker keeps its sessions; a client without one starts again."""
    broker = private_mosquitto
    count, restarts = 200, 2
    is_lasting, is_stored = session != "not lasting", session == "stored"
    options = lasting(tmp_path, "publisher", is_stored) if is_lasting else {}
    received: list[bytes] = []
    is_complete = asyncio.Event()

    async def publish(qos):
        for number in range(count):
            await publisher.publish("t", f"{qos}-{number}", qos)

    async def listen():
        async for message in listener.messages:
            received.append(message.payload)
            if message.payload == b"end":
                is_complete.set()

    async def break_it():
        for restart in range(restarts):
            wanted = (restart + 1) * count // 2
            await until(lambda: len(received) >= wanted, 6 * SOON)  # noqa: B023
            # It has noticed the restart before.
            await until(lambda: publisher.statistics.connections > restart)  # noqa: B023
            await stop(broker)
            await start(broker)

    async with (
        new_client(
            broker, version, **lasting(tmp_path, "listener", is_stored)
        ) as listener,
        new_client(broker, version, **options) as publisher,
    ):
        await listener.subscribe("t", 2)
        listening = asyncio.ensure_future(listen())
        async with asyncio.timeout(6 * SOON):
            await asyncio.gather(publish(1), publish(2), break_it())
            await publisher.publish("t", "end", 2)
            await is_complete.wait()
        assert publisher.statistics.connections == 1 + restarts
        assert not listening.done()
    with pytest.raises(aiomqtt.MqttError, match="Disconnected during"):
        await listening
    at_least_once, exactly_once = (
        [int(each[2:]) for each in received if each.startswith(b"%d-" % qos)]
        for qos in (1, 2)
    )
    assert list(dict.fromkeys(at_least_once)) == [*range(count)]
    if is_lasting:
        assert exactly_once == [*range(count)]
    else:
        # The broker forgets what it has taken over (PUBREC) with the session.
        assert sorted({*exactly_once}) == exactly_once
        assert len(exactly_once) >= count - restarts


# --- need 22: start-up storms ---------------------------------------------------------


@pytest.mark.parametrize("broker_kind", ["mosquitto"], indirect=True)
async def test_need_22_5_000_subscriptions_and_as_many_retained_messages(start_broker):
    """They are restored in few packets, within the size, and nothing is dropped."""
    count, size = 5000, 3000
    broker = await start_broker(limits={"max_packet_size": size})
    wanted = {b"%d" % number for number in range(count)}
    async with client_of(broker, 5) as publisher:
        await publisher.publish_many(
            Publication(f"s/{number}", number, 1, True) for number in range(count)
        )
    async with FaultProxy(broker.host, broker.port) as network:
        client = new_client(broker, 5, port=network.port, timeout=12 * SOON)
        async with client:
            filters = [(f"s/{number}", 1) for number in range(count)]
            for start_at in range(0, count, 200):
                await client.subscribe(filters[start_at : start_at + 200])
            assert set(await payloads(client, count)) == wanted
            made = network.packets[CLIENT, SUBSCRIBE]
            async with connected_again(client):
                network.reset()
            await client.unsubscribe("none")
            # About 9 bytes each.
            restored = network.packets[CLIENT, SUBSCRIBE] - made
            assert 1 < restored <= 2 * count * 10 // size
            assert set(await payloads(client, count)) == wanted
            assert client.messages.discarded == 0
            assert client.statistics.subscriptions == count
        assert network.packets[BROKER, PUBLISH] == 2 * count
