"""The work for one client before others have their turn.

All counts in turns. In most tests one has a tenth of the work that it has by default,
so that a tenth of the messages and filters needs as many.
"""

import asyncio

import pytest

from aiomqtt.broker import Broker
from aiomqtt.broker.core.distribution import Distribution
from aiomqtt.broker.core.inbound_packets import PACKETS_PER_TURN
from aiomqtt.broker.core.journal import Journal
from aiomqtt.broker.core.message import ApplicationMessage
from aiomqtt.broker.core.turn import FILTER_COST, UNDIVIDED_PART
from aiomqtt.broker.core.turn import WORK_PER_TURN as ALL_WORK_PER_TURN
from aiomqtt.broker.io.hook_runner import REQUESTS_PER_TURN
from aiomqtt.properties import Properties, SubscribeOptions
from aiomqtt.protocol.changes import ChangeKind
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.protocol.packets import (
    Ack,
    Connect,
    Ping,
    Publish,
    Signal,
    Suback,
    Subscribe,
    Unsubscribe,
    WillMessage,
)
from aiomqtt.standard.tables import ProtocolVersion, Role
from aiomqtt.stores.broker import SessionChanged
from aiomqtt.topic import Topic
from tests.broker.scenarios.talker import dial
from tests.broker.world import Wire, World, payloads

PINGREQ = b"\xc0\0"
V5 = ProtocolVersion.V5
CLIENT = Role.CLIENT

WORK_PER_TURN = ALL_WORK_PER_TURN // 10
# A message to so many more is not divided.
UNDIVIDED = WORK_PER_TURN // UNDIVIDED_PART


def small_world(**limits):
    """A broker whose turns have less work."""
    return World(work_per_turn=WORK_PER_TURN, **limits)


def encoded(packet):
    return encode(packet, V5, CLIENT)


def publish(qos=0, topic="t", payload=b""):
    return Publish(Topic(topic), payload, qos, False, qos, None, False)


def test_a_flood_of_pings_takes_several_turns(version):
    world = World()
    flood = world.client(version)
    flood.send(PINGREQ * (2 * PACKETS_PER_TURN + 1))
    assert len(flood.read()) == PACKETS_PER_TURN
    assert flood.connection.is_waiting  # nothing more is read meanwhile
    assert flood.connection.has_more
    flood.connection.go_on(world.now)
    assert len(flood.read()) == PACKETS_PER_TURN
    flood.connection.go_on(world.now)
    assert [type(packet) for packet in flood.read()] == [Ping]
    assert not flood.connection.is_waiting
    assert not flood.connection.has_more


def test_many_deliveries_of_one_client_take_several_turns(version):
    world = small_world()
    listeners = [world.client(version, client_id=f"{n}") for n in range(100)]
    for listener in listeners:
        listener.subscribe("t")
    speaker = world.client(version, client_id="speaker")
    count = 3 * WORK_PER_TURN // len(listeners)
    speaker.send(*[publish() for n in range(count)])
    turns, received = 1, len(listeners[0].read())
    assert received < count
    while speaker.connection.has_more:
        speaker.connection.go_on(world.now)
        turns += 1
        received += len(listeners[0].read())
    assert received == count
    assert turns >= 3


def test_many_filters_take_several_turns():
    world = small_world()
    client = world.client(5)
    filters = [
        (f"{n}", SubscribeOptions()) for n in range(WORK_PER_TURN // FILTER_COST)
    ]
    client.send(*[Subscribe(number, filters) for number in (1, 2, 3)])
    answers = 0
    for _ in range(2):
        answers += len(client.read())
        assert client.connection.has_more
        client.connection.go_on(world.now)
    answers += len(client.read())
    assert answers == 3


# Filters that share no level but the first, of as many levels as there may be.
DEEP = ["/".join(["deep", *[f"{n}"] * 119]) for n in range(30)]


def deep(packet_id=1, qos=1):
    return Subscribe(packet_id, [(name, SubscribeOptions(qos)) for name in DEEP])


def portions(client, count):
    """Let a client's work go on to its end; what `count` grew by in each turn."""
    world = client.world
    grown, last = [], count()
    while client.connection.has_more:
        client.connection.go_on(world.now)
        grown.append(abs(count() - last))
        last = count()
    return grown


def levels(world):
    return world.state.subscriptions._trie.levels


def test_deep_filters_take_several_turns(version):
    """Both a SUBSCRIBE and an UNSUBSCRIBE; each answer says all codes."""
    world = small_world()
    client = world.client(version)
    client.send(deep())
    assert 0 < levels(world) <= WORK_PER_TURN
    assert client.read() == []
    turns = portions(client, lambda: levels(world))
    assert max(turns) <= WORK_PER_TURN
    assert levels(world) == 119 * len(DEEP) + 1
    suback = client.read_one()
    assert suback.reason_codes == [1] * len(DEEP)

    client.send(Unsubscribe(2, [*DEEP[1:], "none"]))
    assert client.read() == []
    assert max(portions(client, lambda: levels(world))) <= WORK_PER_TURN
    assert levels(world) == 120
    unsuback = client.read_one()
    if version == 5:
        assert unsuback.reason_codes == [0] * (len(DEEP) - 1) + [0x11]


def test_packets_wait_for_filters_that_take_several_turns(version):
    """They are answered in their order, also when they come in between."""
    world = small_world()
    client = world.client(version)
    client.send(deep(1), Unsubscribe(2, DEEP), PINGREQ)
    client.send(publish(1))
    assert client.connection.is_waiting  # nothing more is read meanwhile
    answers = client.read()
    while client.connection.has_more:
        client.connection.go_on(world.now)
        answers += client.read()
    assert [type(answer) for answer in answers] == [Suback, Suback, Ping, Ack]
    assert not client.connection.is_waiting


def test_messages_arrive_by_filters_that_are_handled_already(version):
    world = small_world()
    client, other = world.client(version), world.client(version, client_id="other")
    client.send(deep())
    other.publish(DEEP[0], b"first")
    other.publish(DEEP[-1], b"last")
    assert payloads(client.read()) == [b"first"]


def test_retained_messages_come_after_the_answer_to_all_filters(version):
    world = small_world()
    world.client(version, client_id="other").publish(DEEP[0], b"kept", retain=True)
    client = world.client(version)
    client.send(deep())
    assert client.read() == []
    portions(client, lambda: 0)
    suback, *rest = client.read()
    assert isinstance(suback, Suback)
    assert payloads(rest) == [b"kept"]


def test_filters_of_a_client_that_leaves_are_handled_no_further(version):
    world = small_world()
    client = world.client(version)
    client.send(deep(), PINGREQ)
    client.lose()
    assert not client.connection.has_more
    client.connection.go_on(world.now)
    assert client.read() == []
    world.pass_time(1)
    assert levels(world) == 0


def test_an_answer_that_is_too_large_ends_the_connection():
    world = small_world()
    client = world.client(5, properties=Properties(maximum_packet_size=30))
    client.send(deep())
    portions(client, lambda: 0)
    assert client.ended is not None
    assert client.ended.startswith("the answer, SUBACK, of 35 bytes exceeds")


def test_filters_that_were_asked_about_take_several_turns(version):
    """Packets that a client sent before it went are handled completely."""
    world = small_world()
    world.state.asks_for_topics = True
    client = world.client(version, clean_start=False)
    client.send(deep())
    client.lose()
    client.connection.answer([None] * len(DEEP), world.now)
    assert not client.connection.is_closed
    portions(client, lambda: 0)
    assert client.connection.is_closed
    assert isinstance(client.read_one(), Suback)


def test_subscriptions_of_a_session_that_ends_go_over_several_turns(version):
    world = small_world()
    used = world.state.memory.used
    client, other = world.client(version), world.client(version, client_id="other")
    client.send(deep())
    portions(client, lambda: 0)
    client.read()
    other.subscribe(DEEP[0])
    client.lose()
    # The session is gone at once, and its memory as it is removed.
    assert len(world.state.subscriptions) == 1
    other.publish(DEEP[0], b"once")
    assert payloads(other.read()) == [b"once"]
    removed, last = [], 119 * len(DEEP) + 1
    while world.state.deadline() is not None and levels(world) > 120:
        removed.append(last - levels(world))
        last = levels(world)
        world.pass_time(0.001)
    assert len(removed) > 2
    assert max(removed) <= WORK_PER_TURN
    other.lose()
    assert levels(world) == 0
    assert world.state.memory.used == used
    assert world.state.deadline() is None


def test_a_session_begins_anew_while_the_last_one_is_removed(version):
    world = small_world()
    client = world.client(version)
    for _ in range(3):
        client.send(deep())
        portions(client, lambda: 0)
        # It takes over from the connection before.
        client = world.client(version)
        assert len(world.state.subscriptions) == 0
    client.subscribe(DEEP[0])
    client.publish(DEEP[0], b"once")
    assert payloads(client.read()) == [b"once"]
    world.pass_time(1)
    assert levels(world) == 120
    client.publish(DEEP[0], b"once more")
    assert payloads(client.read()) == [b"once more"]


def test_shared_subscriptions_go_on_without_a_session_that_has_ended(version):
    world = small_world()
    shared = [f"$share/g/{name}" for name in DEEP]
    client, other = world.client(version), world.client(version, client_id="other")
    speaker = world.client(version, client_id="speaker")
    for member in (client, other):
        for name in shared if member is client else shared[:1]:
            member.subscribe(name)
    client.lose()
    assert levels(world) > 120
    for _ in range(3):
        speaker.publish(DEEP[0], b"shared")
        speaker.publish(DEEP[1], b"nobody's")
    assert payloads(other.read()) == [b"shared"] * 3
    world.pass_time(1)
    speaker.publish(DEEP[0], b"shared")
    assert payloads(other.read()) == [b"shared"]
    other.lose()
    world.pass_time(1)
    assert levels(world) == 0


# Filters of as many levels that all match one topic.
WIDE_TOPIC = "/".join(["a"] * 120)
WIDE = [
    "/".join([*("+" if number >> bit & 1 else "a" for bit in range(6)), *["+"] * 114])
    for number in range(64)
]


def with_wide_filters(world, version):
    """A client that has subscribed to all of them."""
    listener = world.client(version, client_id="listener")
    listener.send(Subscribe(1, [(name, SubscribeOptions()) for name in WIDE]))
    portions(listener, lambda: 0)
    listener.read()
    return listener


def test_to_find_many_filters_takes_several_turns(version):
    """Each message once, in their order, and to whom is still subscribed."""
    world = small_world()
    listener = with_wide_filters(world, version)
    other = world.client(version, client_id="other")
    other.subscribe("#")
    speaker = world.client(version, client_id="speaker")
    speaker.send(publish(1, WIDE_TOPIC, b"1"), publish(1, WIDE_TOPIC, b"2"), PINGREQ)
    assert speaker.read() == []
    assert speaker.connection.is_waiting
    other.send(Unsubscribe(1, ["#"]))
    assert len(portions(speaker, lambda: 0)) >= 1
    assert payloads(listener.read()) == [b"1", b"2"]
    assert [type(packet) for packet in speaker.read()] == [Ack, Ack, Ping]
    assert [type(packet) for packet in other.read()] == [Suback]


def test_who_subscribes_during_a_search_gets_the_next_message(version):
    world = small_world()
    with_wide_filters(world, version)
    speaker, late = world.client(version), world.client(version, client_id="late")
    speaker.publish(WIDE_TOPIC, b"1")
    late.subscribe("#")
    portions(speaker, lambda: 0)
    late.read()
    speaker.publish(WIDE_TOPIC, b"2")
    portions(speaker, lambda: 0)
    assert payloads(late.read()) == [b"2"]


def test_a_publish_of_a_client_that_leaves_is_searched_no_further(version):
    world = small_world()
    listener = with_wide_filters(world, version)
    speaker = world.client(version)
    speaker.publish(WIDE_TOPIC)
    speaker.lose()
    assert not speaker.connection.has_more
    world.pass_time(1)
    assert listener.read() == []


def test_to_find_retained_topics_takes_several_turns(version):
    """Many levels, of which the filter matches all but the last one."""
    world = small_world()
    speaker = world.client(version, client_id="speaker")
    topics = [name.replace("deep", f"{n}") for n, name in enumerate(DEEP * 2)]
    for topic in topics:
        speaker.publish(topic, b"kept", retain=True)
    client = world.client(version)
    client.subscribe("/".join(["+"] * 119) + f"/{len(DEEP) - 1}")
    assert client.rest == []
    assert client.connection.has_more
    # What is retained, or published, meanwhile comes as it is then.
    speaker.publish(topics[len(DEEP) - 1], b"new", retain=True)
    speaker.publish(topics[-1], b"", retain=True)
    portions(client, lambda: 0)
    assert payloads(client.read()) == [b"new", b""]
    assert not client.connection.has_more


def test_what_is_left_is_forgotten_when_the_connection_ends(version):
    world = World()
    flood = world.client(version)
    flood.send(PINGREQ * (2 * PACKETS_PER_TURN))
    flood.lose()
    assert not flood.connection.has_more
    flood.connection.go_on(world.now)
    assert len(flood.read()) == PACKETS_PER_TURN


def test_a_question_is_answered_before_what_is_left(version):
    world = World()
    flood = world.client(version)
    world.state.asks_for_topics = True
    flood.send(publish(1), PINGREQ * (2 * PACKETS_PER_TURN))
    assert flood.read() == []
    assert flood.connection.is_waiting
    assert not flood.connection.has_more
    flood.connection.answer([None], world.now)
    count = len(flood.read())
    while flood.connection.has_more:
        flood.connection.go_on(world.now)
        count += len(flood.read())
    assert count == 2 * PACKETS_PER_TURN + 1


def test_too_many_filters_end_the_connection(version):
    world = small_world(maximum_packet_items=10)
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
    world = small_world(maximum_packet_items=10)
    client = Wire(world)
    properties = Properties(user_property=[("", "")] * 11)
    client.send(Connect(V5, "me", properties=properties))
    assert client.read_one().reason_code == 0x97
    assert client.ended == "a packet has more than 10 properties of one kind"


# As many shared subscriptions of one client, each of which gets its own copy.
MANY = 3 * WORK_PER_TURN


# It takes long, and turns count alike in each version: most of these tests have one.
def world_of_many(version, qos=0):
    """A broker, a listener with many subscriptions to "t", and a speaker."""
    world = small_world(
        maximum_subscriptions=MANY + 1, maximum_queued_messages=10 * MANY
    )
    listener = world.client(version, client_id="listener")
    for first in range(0, MANY, 1000):
        names = [f"$share/{number}/t" for number in range(first, first + 1000)]
        options = SubscribeOptions(qos)
        listener.send(Subscribe(1, [(name, options) for name in names]))
        portions(listener, lambda: 0)
    listener.read()
    return world, listener, world.client(version, client_id="speaker")


def received_in_turns(world, client, seconds=1):
    """Let timers run; the payloads that a client receives in each turn."""
    turns = [payloads(client.read())]
    end = world.now + seconds
    while (due := world.state.deadline()) is not None and due <= end:
        world.pass_time(due - world.now)
        turns.append(payloads(client.read()))
    return turns


def test_a_message_for_very_many_subscribers_takes_several_turns(version):
    world, listener, speaker = world_of_many(version)
    used = world.state.memory.used
    speaker.publish(payload=b"1" * 1000, qos=1)
    # The publisher has to wait, and the message is kept and counted.
    assert speaker.read() == []
    assert speaker.connection.is_waiting
    assert not speaker.connection.has_more
    assert world.state.memory.used > used + 1000
    turns = received_in_turns(world, listener)
    assert max(map(len, turns)) <= WORK_PER_TURN
    assert sum(map(len, turns)) == MANY
    assert speaker.connection.has_more
    speaker.connection.go_on(world.now)
    assert isinstance(speaker.read_one(), Ack)
    assert not speaker.connection.is_waiting
    assert world.state.memory.used <= used + 1000


def test_sessions_get_a_message_in_several_turns():
    world = small_world()
    count = WORK_PER_TURN + UNDIVIDED + 50
    listeners = [world.client(5, client_id=f"{n}") for n in range(count)]
    for listener in listeners:
        listener.subscribe("t")
    speaker = world.client(5, client_id="speaker")
    speaker.publish()
    first = [len(listener.read()) for listener in listeners]
    assert sum(first) == WORK_PER_TURN
    # Who leaves in between does without; who comes is not among them.
    late = world.client(5, client_id="late")
    late.subscribe("t")
    listeners[-1].disconnect()
    world.pass_time(1)
    second = [len(listener.read()) for listener in listeners]
    assert sum(second) == count - WORK_PER_TURN - 1
    assert max(map(sum, zip(first, second, strict=True))) == 1
    assert late.read() == []


def test_messages_for_very_many_subscribers_keep_their_order():
    """Both the messages of one publisher and those of one topic."""
    world, listener, speaker = world_of_many(5)
    other = world.client(5, client_id="other")
    listener.subscribe("small")
    speaker.send(publish(payload=b"1"), publish(topic="small", payload=b"2"))
    speaker.send(publish(payload=b"3"))
    other.publish(payload=b"4")
    # Another topic of another publisher need not wait.
    other_one = world.client(5, client_id="another")
    other_one.publish("small", b"0")
    turns = [payloads(listener.read())]
    while len(turns) < 20:
        world.pass_time(0.001)
        for client in (speaker, other):
            if client.connection.has_more:
                client.connection.go_on(world.now)
        turns.append(payloads(listener.read()))
    assert max(map(len, turns)) <= WORK_PER_TURN + UNDIVIDED
    received = [payload for turn in turns for payload in turn]
    assert received.index(b"0") == WORK_PER_TURN
    received.remove(b"0")
    ones = [b"1"] * MANY
    assert received[:MANY] == ones
    rest = received[MANY:]
    assert rest.index(b"2") < rest.index(b"3")
    assert rest.count(b"3") == rest.count(b"4") == MANY
    # What came first is complete before the next one of the topic begins.
    big = [payload for payload in rest if payload != b"2"]
    assert big in ([b"4"] * MANY + [b"3"] * MANY, [b"3"] * MANY + [b"4"] * MANY)


def test_a_message_reaches_everybody_though_its_publisher_leaves():
    world, listener, speaker = world_of_many(5)
    speaker.publish()
    speaker.lose()
    assert sum(map(len, received_in_turns(world, listener))) == MANY


def test_a_will_comes_after_the_last_message():
    world, listener, _ = world_of_many(5)
    listener.subscribe("will")
    will = WillMessage("will", b"gone")
    speaker = world.client(5, client_id="mortal", will=will)
    speaker.publish(payload=b"last")
    speaker.lose()
    turns = received_in_turns(world, listener)
    received = [payload for turn in turns for payload in turn]
    assert received == [b"last"] * MANY + [b"gone"]


# Packets, how many of them, and how many of them one turn may answer.
FLOOD = 3 * PACKETS_PER_TURN
FLOODS = {
    "PINGREQ": (PINGREQ, FLOOD, PACKETS_PER_TURN),
    "PUBLISH": (encoded(publish(1)), FLOOD, PACKETS_PER_TURN),
    "SUBSCRIBE": (
        encoded(Subscribe(1, [("t", SubscribeOptions())])),
        FLOOD,
        PACKETS_PER_TURN,
    ),
    "SUBSCRIBE of many": (
        encoded(Subscribe(1, [(f"{n}", SubscribeOptions()) for n in range(1000)])),
        6,
        ALL_WORK_PER_TURN // (1000 * FILTER_COST),
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
        talker.send_bytes(FLOODS["PUBLISH"][0] * 1000)
        for _ in range(1000):
            await talker.hear()
        watching.cancel()
        await talker.close()
    assert most <= 2 * REQUESTS_PER_TURN


async def test_a_hook_that_never_waits_is_not_asked_about_all_filters_at_once():
    calls = most = 0

    async def authorize(client, action, topic):
        nonlocal calls
        calls += 1
        return True

    async def watch():
        nonlocal most
        last = calls
        while True:
            await asyncio.sleep(0)
            most, last = max(most, calls - last), calls

    async with Broker(authorize=authorize) as broker:
        talker = await dial(broker.host, broker.port, 5)
        await talker.hello("many")
        watching = asyncio.create_task(watch())
        filters = [(f"{n}", SubscribeOptions()) for n in range(1000)]
        talker.send(Subscribe(1, filters), Subscribe(2, filters))
        for _ in range(2):
            assert isinstance(await talker.hear(), Suback)
        watching.cancel()
        await talker.close()
    assert calls == 2000
    assert most <= 2 * REQUESTS_PER_TURN


def publish_with_id(packet_id, qos):
    return encoded(Publish(Topic("t"), b"x", qos, False, packet_id, None, False))


def divided(world, publisher):
    """Let a client publish with QoS 1 and 2 to so many that they need several turns."""
    for number in range(WORK_PER_TURN * 19 // 100):
        world.client(client_id=f"{number}").subscribe("t")
    # The first ones use up most of the turn.
    publisher.send(5 * encoded(publish()) + publish_with_id(1, 2))


def go_on(world, *clients):
    for client in clients:
        if client.connection.has_more:
            client.connection.go_on(world.now)
    world.pass_time(0.002)


def ids(client):
    return [packet.packet_id for packet in client.read() if isinstance(packet, Ack)]


@pytest.mark.parametrize("is_stored", [False, True])
def test_messages_behind_another_one_are_all_acknowledged(is_stored):
    world = small_world()
    if is_stored:
        world.state.record(Journal())
    one, two = world.client(client_id="one"), world.client(client_id="two")
    divided(world, one)
    # All of these have to wait for it.
    two.send(*(publish_with_id(packet_id, 1) for packet_id in range(1, 4)))
    two.send(publish_with_id(4, 2), publish_with_id(5, 1), encoded(publish()))
    answers = []
    for _ in range(100):
        go_on(world, one, two)
        answers += ids(two)
    assert answers == [1, 2, 3, 4, 5]
    assert ids(one) == [1]


def test_a_store_gets_each_message_of_qos_2_before_the_next_begins():
    world = small_world()
    world.state.record(Journal())
    clients = [world.client(client_id=f"publisher {n}") for n in range(3)]
    divided(world, clients[0])
    for client in clients[1:]:
        client.send(*(publish_with_id(packet_id, 2) for packet_id in (1, 2)))
    assert world.state.is_amid_message
    groups: list[list[tuple[str, object]]] = []
    for _ in range(100):
        go_on(world, *clients)
        if not world.state.is_amid_message:
            records = world.state.journal.take()
            groups.append(
                [
                    (record.client_id, change.key)
                    for record in records
                    if isinstance(record, SessionChanged)
                    for change in record.changes
                    if change.kind == ChangeKind.RECEIVED
                ]
            )
    # They are not divided, but wait for the one that is.
    assert groups[0] == [("publisher 0", 1)]
    assert sorted(one for group in groups[1:] for one in group) == [
        (f"publisher {n}", packet_id) for n in (1, 2) for packet_id in (1, 2)
    ]


@pytest.mark.parametrize(
    ("qos", "has_publisher", "expected"),
    [(0, True, 0), (1, True, 0), (2, True, 1), (0, False, 0), (1, False, 1)],
)
def test_of_which_messages_a_store_may_not_have_a_part(qos, has_publisher, expected):
    world = small_world()
    publisher = world.client().send_buffer if has_publisher else None
    message = ApplicationMessage("t", b"x", qos, False, None, world.now)
    matches = world.state.subscriptions.find("t")
    distribution = Distribution(message, None, publisher, matches)
    assert distribution.is_undivided == bool(expected)
