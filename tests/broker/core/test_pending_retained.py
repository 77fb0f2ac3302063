"""All retained messages reach a new subscriber, paced by its acknowledgements."""

import pytest

from aiomqtt.properties import Properties, SubscribeOptions
from aiomqtt.protocol.packets import Publish, Subscribe
from aiomqtt.standard.tables import PacketType
from tests.broker.world import World

FOREVER = Properties(session_expiry_interval=0xFFFF_FFFF)
RECEIVE_20 = Properties(session_expiry_interval=0xFFFF_FFFF, receive_maximum=20)


def world_with(count, qos=2, **limits):
    """A broker that retains r/0, r/1, ... with their number as payload."""
    world = World(**limits)
    speaker = world.client(5, client_id="speaker")
    for number in range(count):
        speaker.publish(f"r/{number}", b"%d" % number, qos, True, 1 if qos else 0)
        if qos == 2:
            speaker.ack(PacketType.PUBREL, 1)
    speaker.read()
    return world, speaker


def answer(client, packet):
    """Acknowledge one packet as a client does."""
    if isinstance(packet, Publish):
        if packet.qos:
            kind = PacketType.PUBACK if packet.qos == 1 else PacketType.PUBREC
            client.ack(kind, packet.mid)
    elif packet.kind is PacketType.PUBREL:
        client.ack(PacketType.PUBCOMP, packet.packet_id)


def drain(client, packets=(), turns=100_000, received=None):
    """Read and acknowledge all; return the messages in order."""
    received = [] if received is None else received
    packets = [*packets]
    for _ in range(turns):
        received += [packet for packet in packets if isinstance(packet, Publish)]
        for packet in packets:
            answer(client, packet)
        if client.connection.has_more:
            client.connection.go_on(client.world.now)
        packets = client.read()
        if not packets and not client.connection.has_more:
            return received
    return received


def numbers(packets):
    return [int(packet.payload) for packet in packets]


@pytest.mark.parametrize(("version", "qos"), [(5, 0), (5, 1), (5, 2), (4, 1), (3, 2)])
def test_more_come_than_a_queue_or_a_turn_has_room_for(version, qos):
    world, _ = world_with(1500, qos, work_per_turn=1000, maximum_queued_messages=1000)
    client = world.client(version, properties=RECEIVE_20 if version == 5 else None)
    client.subscribe("r/#", qos)
    # To find them was a turn's work.
    assert client.rest == []
    client.connection.go_on(world.now)
    first = client.read()
    window = 20 if version == 5 else 100
    if qos:
        assert len(first) == window
    outbound = client.connection.session.outbound
    # It is the store that they wait in.
    assert len(outbound) <= window + 1
    received = drain(client, first)
    assert sorted(numbers(received)) == [*range(1500)]
    assert all(packet.retain for packet in received)
    assert {packet.qos for packet in received} == {qos}
    assert world.state.statistics.messages_dropped == 0
    assert client.connection.session.pending_retained is None


@pytest.mark.parametrize("qos", [1, 2])
def test_they_go_on_when_the_client_is_back(qos):
    world, _ = world_with(500)
    client = world.client(5, properties=RECEIVE_20)
    client.subscribe("r/#", qos)
    received = drain(client, client.rest, turns=10)
    assert len(received) < 500
    client.lose()
    again = world.client(5, clean_start=False, properties=RECEIVE_20)
    received += drain(again, again.rest)
    # What the break caught on the way was read by nobody.
    assert sorted(numbers(received)) == [*range(500)]


def test_what_is_removed_meanwhile_does_not_come():
    world, speaker = world_with(100)
    client = world.client(5, properties=RECEIVE_20)
    client.subscribe("r/#", 1)
    first = {packet.topic.value for packet in client.rest}
    for number in range(100):
        speaker.publish(f"r/{number}", b"", 0, retain=True)
    received = drain(client, client.rest)
    kept = [packet for packet in received if packet.payload]
    # One was in the queue already.
    assert len(first) <= len(kept) <= len(first) + 1
    assert all(not packet.retain for packet in received if not packet.payload)


@pytest.mark.parametrize("qos", [0, 1])
def test_what_is_replaced_meanwhile_comes_once(qos):
    world, speaker = world_with(100)
    client = world.client(5, properties=RECEIVE_20)
    client.subscribe("r/#", 1)
    topics = [packet.topic.value for packet in client.rest]
    for number in range(50, 100):
        speaker.publish(f"r/{number}", b"%d" % (number + 1000), qos, retain=True)
    received = drain(client, client.rest)
    assert len(topics) == 20
    new = [packet for packet in received if int(packet.payload) >= 1000]
    assert sorted(numbers(new)) == [*range(1050, 1100)]
    assert not any(packet.retain for packet in new)  # they came as they were published
    old = [packet for packet in received if int(packet.payload) < 1000]
    assert set(range(50)) <= set(numbers(old))
    # None comes after its successor.
    last = {packet.topic.value: int(packet.payload) for packet in received}
    assert all(last[f"r/{number}"] == number + 1000 for number in range(50, 100))


def test_what_was_replaced_while_the_client_was_away_comes():
    """At QoS 0 nothing waits for who is away: the store has it."""
    world, speaker = world_with(100)
    client = world.client(5, properties=RECEIVE_20)
    client.subscribe("r/#", 1)
    client.lose()
    for number in range(100):
        speaker.publish(f"r/{number}", b"%d" % (number + 1000), 0, retain=True)
    again = world.client(5, clean_start=False, properties=RECEIVE_20)
    last = {}
    for packet in drain(again, again.rest):
        last[packet.topic.value] = int(packet.payload)
    missed = [
        number for number in range(100) if last.get(f"r/{number}") != number + 1000
    ]
    # Those that were under way stay what they were.
    assert len(missed) <= 21


def test_several_subscriptions_come_one_after_the_other():
    world, speaker = world_with(100)
    client = world.client(5, properties=RECEIVE_20)
    client.subscribe("r/#", 1)
    first = client.rest
    client.subscribe("+/5", 1, Properties(subscription_identifier=7))
    speaker.publish("r/6", b"1006", 1, retain=True, mid=1)
    received = drain(client, first + client.rest)
    assert sorted(numbers(received)) == sorted([*range(100), 5, 1006])
    identified = [
        packet
        for packet in received
        if packet.properties.subscription_identifier == [7]
    ]
    assert numbers(identified) == [5]


def test_subscribing_again_begins_again_and_unsubscribing_ends():
    world, _ = world_with(100)
    client = world.client(5, properties=RECEIVE_20)
    client.subscribe("r/#", 1)
    under_way = client.rest
    client.subscribe("r/#", 1)
    received = numbers(drain(client, under_way + client.rest))
    assert set(received) == {*range(100)}
    assert len(received) <= 121
    client.subscribe("r/#", 1)
    under_way = client.rest
    client.send(b"\xa2\x08\0\x63\0\0\x03r/#")
    received = drain(client, under_way + client.read())
    assert len(received) <= 21


def test_messages_larger_than_the_queue_come_one_by_one():
    world = World(maximum_queued_bytes=1000)
    speaker = world.client(5, client_id="speaker")
    for number in range(10):
        speaker.publish(f"r/{number}", b"%0700d" % number, 0, retain=True)
        speaker.publish(f"r/{number}", b"%0700d" % number, 1, retain=True, mid=1)
    client = world.client(5, properties=RECEIVE_20)
    client.subscribe("r/#", 1)
    assert len(client.rest) == 1
    assert not client.connection.has_more  # it waits, and not by trying again and again
    assert numbers(drain(client, client.rest)) == [*range(10)]


def test_much_that_is_retained_takes_several_turns():
    work = 1000
    world, _ = world_with(work // 2, qos=0, work_per_turn=work)
    client = world.client(5)
    client.send(
        Subscribe(1, [(f"{'+/' * n}#", SubscribeOptions()) for n in range(2)] * 10)
    )
    turns, count = 1, len(client.read())
    while client.connection.has_more:
        client.connection.go_on(world.now)
        turns += 1
        received = len(client.read())
        assert received <= work
        count += received
    # The last one of those to the same filter counts.
    assert count == 1 + 2 * work // 2
    assert turns > 2


def test_a_session_that_ends_forgets_them():
    world, _ = world_with(100)
    client = world.client(5, properties=RECEIVE_20)
    client.subscribe("r/#", 1)
    client.lose()
    again = world.client(5, clean_start=True, properties=FOREVER)
    assert again.rest == []
    assert again.connection.session.pending_retained is None


def test_they_come_in_the_order_in_which_they_were_retained():
    world, speaker = world_with(50)
    for number in (30, 7):
        speaker.publish(f"r/{number}", b"%d" % (number + 1000), 0, retain=True)
    client = world.client(5, properties=RECEIVE_20)
    client.subscribe("r/#", 1)
    expected = [number for number in range(50) if number not in (7, 30)]
    assert numbers(drain(client, client.rest)) == [*expected, 1030, 1007]


@pytest.mark.parametrize("qos", [1, 2])
def test_what_was_published_while_the_client_was_away_comes_once(qos):
    world, speaker = world_with(100)
    client = world.client(5, properties=RECEIVE_20)
    client.subscribe("r/#", 2)
    client.subscribe("+/5", 2)
    client.subscribe("new", 2)
    client.lose()
    for topic in ("r/50", "r/5", "new"):
        speaker.publish(topic, b"1000", qos, retain=True, mid=1)
        speaker.ack(PacketType.PUBREL, 1)
    again = world.client(5, clean_start=False, properties=RECEIVE_20)
    received = drain(again, again.rest)
    assert numbers(received).count(1000) == 3


def test_what_was_missed_comes_for_each_subscription():
    world, speaker = world_with(100)
    client = world.client(5, properties=RECEIVE_20)
    client.subscribe("r/#", 1)
    client.subscribe("+/50", 1)
    client.lose()
    for payload in (b"1000", b"1001"):
        speaker.publish("r/50", payload, 0, retain=True)
    again = world.client(5, clean_start=False, properties=RECEIVE_20)
    received = numbers(drain(again, again.rest))
    assert received.count(1001) == 2
    assert 1000 not in received
    assert 50 not in received


def test_the_memory_that_they_take_is_counted():
    world, speaker = world_with(100)
    used = []
    for payload in (b"1000", b"1001"):
        listener = world.client(
            5, client_id="listener", clean_start=False, properties=RECEIVE_20
        )
        listener.subscribe("r/#", 1)
        listener.subscribe("+/5", 1)
        listener.lose()
        speaker.publish("r/50", payload, 0, retain=True)
        again = world.client(
            5, client_id="listener", clean_start=False, properties=RECEIVE_20
        )
        drain(again, again.rest)
        assert again.connection.session.pending_retained is None
        again.lose()
        used.append(world.state.memory.used)
    assert used[0] == used[1]


def test_a_subscription_whose_suback_was_not_sent_has_its_retained_messages():
    """The client asks again, with "not if the subscription exists" (§3.8.3.1)."""
    world, _ = world_with(1, 1)
    client = world.client(5, properties=RECEIVE_20)
    options = SubscribeOptions(1, retain_handling=1)
    many = [(f"{'t/' * 40}{number}", options) for number in range(900)]
    client.send(Subscribe(1, [("r/0", options), *many]))
    assert client.read() == []
    # It is not sent before the SUBACK.
    client.connection.go_on(world.now)
    assert client.read() == []
    client.lose()
    again = world.client(5, clean_start=False, properties=RECEIVE_20)
    received = drain(again, again.rest)
    again.subscribe("r/0", 1, retain_handling=1)
    received += drain(again, again.rest)
    assert [message.retain for message in received] == [True]
