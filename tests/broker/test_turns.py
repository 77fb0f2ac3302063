"""How much is done for one client before it is the turn of others."""

import asyncio

import pytest

from aiomqtt.broker import Broker
from aiomqtt.broker.link import QUESTIONS
from aiomqtt.broker.peer import PORTION
from aiomqtt.broker.requests import FILTER_WORK
from aiomqtt.broker.session import WORK
from aiomqtt.properties import Properties, SubscribeOptions
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.protocol.packets import Connect, Ping, Publish, Signal, Subscribe
from aiomqtt.protocol.spec import ProtocolVersion, Role
from aiomqtt.topic import Topic
from tests.broker.conversation import Wire, World
from tests.broker.scenarios.talker import dial

PINGREQ = b"\xc0\0"
V5 = ProtocolVersion.V5
CLIENT = Role.CLIENT


def encoded(packet):
    return encode(packet, V5, CLIENT)


def publish(qos=0):
    return Publish(Topic("t"), b"", qos, False, qos, None, False)


def test_a_flood_of_pings_takes_several_turns(version):
    world = World()
    flood = world.client(version)
    flood.send(PINGREQ * (2 * PORTION + 1))
    assert len(flood.read()) == PORTION
    assert flood.peer.is_waiting  # nothing more is read meanwhile
    assert flood.peer.has_more
    flood.peer.go_on(world.now)
    assert len(flood.read()) == PORTION
    flood.peer.go_on(world.now)
    assert [type(packet) for packet in flood.read()] == [Ping]
    assert not flood.peer.is_waiting
    assert not flood.peer.has_more


def test_many_deliveries_of_one_client_take_several_turns(version):
    world = World()
    listeners = [world.client(version, client_id=f"{n}") for n in range(100)]
    for listener in listeners:
        listener.subscribe("t")
    speaker = world.client(version, client_id="speaker")
    count = 3 * WORK // len(listeners)
    speaker.send(*[publish() for n in range(count)])
    turns, received = 1, len(listeners[0].read())
    assert received < count
    while speaker.peer.has_more:
        speaker.peer.go_on(world.now)
        turns += 1
        received += len(listeners[0].read())
    assert received == count
    assert turns >= 3


def test_many_filters_take_several_turns():
    world = World()
    client = world.client(5)
    filters = [(f"{n}", SubscribeOptions()) for n in range(WORK // FILTER_WORK)]
    client.send(*[Subscribe(number, filters) for number in (1, 2, 3)])
    answers = 0
    for _ in range(2):
        answers += len(client.read())
        assert client.peer.has_more
        client.peer.go_on(world.now)
    answers += len(client.read())
    assert answers == 3


def test_what_is_left_is_forgotten_when_the_connection_ends(version):
    world = World()
    flood = world.client(version)
    flood.send(PINGREQ * (2 * PORTION))
    flood.lose()
    assert not flood.peer.has_more
    flood.peer.go_on(world.now)
    assert len(flood.read()) == PORTION


def test_a_question_is_answered_before_what_is_left(version):
    world = World()
    flood = world.client(version)
    world.core.asks_for_topics = True
    flood.send(publish(1), PINGREQ * (2 * PORTION))
    assert flood.read() == []
    assert flood.peer.is_waiting
    assert not flood.peer.has_more
    flood.peer.answer([None], world.now)
    count = len(flood.read())
    while flood.peer.has_more:
        flood.peer.go_on(world.now)
        count += len(flood.read())
    assert count == 2 * PORTION + 1


def test_too_many_filters_end_the_connection(version):
    world = World(maximum_packet_items=10)
    client = world.client(version)
    client.send(Subscribe(1, [("t", SubscribeOptions())] * 10))
    assert len(client.read_one().reason_codes) == 10
    client.send(Subscribe(2, [("t", SubscribeOptions())] * 11))
    assert client.ended == "a packet has more than 10 topic filters"
    if version == 5:
        assert client.read_one().reason_code == 0x97
    else:
        assert client.read() == []


def test_too_many_properties_of_a_connect_are_told():
    world = World(maximum_packet_items=10)
    client = Wire(world)
    properties = Properties(user_property=[("", "")] * 11)
    client.send(Connect(V5, "me", properties=properties))
    assert client.read_one().reason_code == 0x97
    assert client.ended == "a packet has more than 10 properties of one kind"


# Packets, how many of them, and how many of them one turn may answer.
FLOODS = {
    "PINGREQ": (PINGREQ, 40_000, PORTION),
    "PUBLISH": (encoded(publish(1)), 20_000, PORTION),
    "SUBSCRIBE": (encoded(Subscribe(1, [("t", SubscribeOptions())])), 8000, PORTION),
    "SUBSCRIBE of many": (
        encoded(Subscribe(1, [(f"{n}", SubscribeOptions()) for n in range(1000)])),
        20,
        WORK // (1000 * FILTER_WORK),
    ),
}


@pytest.mark.parametrize("name", FLOODS)
async def test_others_run_during_a_flood(name):
    """Counted in turns of the loop and answers, whatever time they take."""
    packet, count, portion = FLOODS[name]
    most = 0

    async def watch(broker):
        nonlocal most
        last = broker.statistics.bytes_sent
        while True:
            await asyncio.sleep(0)
            sent = broker.statistics.bytes_sent
            most, last = max(most, sent - last), sent

    async with Broker() as broker:
        talker = await dial(broker.host, broker.port, 5)
        await talker.hello("flood")
        before = broker.statistics.bytes_sent
        watching = asyncio.create_task(watch(broker))
        talker.send_bytes(packet * count)
        for _ in range(count):
            assert not isinstance(await talker.hear(), Signal)
        watching.cancel()
        size = (broker.statistics.bytes_sent - before) / count
        await talker.close()
    # A read and what an earlier one left may fall into one turn.
    assert most <= 2 * portion * size


async def test_a_hook_that_never_waits_does_not_stop_others():
    async def authorize(client, action, topic):
        return True

    most = turns = 0

    async def watch(broker):
        nonlocal most, turns
        last = broker.statistics.messages_received
        while True:
            await asyncio.sleep(0)
            turns += 1
            received = broker.statistics.messages_received
            most, last = max(most, received - last), received

    async with Broker(authorize=authorize) as broker:
        talker = await dial(broker.host, broker.port, 5)
        await talker.hello("flood")
        watching = asyncio.create_task(watch(broker))
        talker.send_bytes(FLOODS["PUBLISH"][0] * 5000)
        for _ in range(5000):
            await talker.hear()
        watching.cancel()
        await talker.close()
    assert most <= 2 * QUESTIONS
