"""Sessions, routing, wills and slow clients, on a clock of the test's own."""

from typing import Any

import pytest

from aiomqtt.broker.core.message import ApplicationMessage
from aiomqtt.broker.core.session import BACKLOG_HIGH, IN_FLIGHT_V3
from aiomqtt.broker.core.slow_subscriber import (
    SLOW_SUBSCRIBER_WAIT,
    SLOW_SUBSCRIBER_WINDOW,
)
from aiomqtt.broker.hooks import Refusal
from aiomqtt.properties import Properties
from aiomqtt.protocol.packets import Ping, Publish, Signal, WillMessage
from aiomqtt.standard.tables import PacketType
from tests.broker.world import V5, V311, Wire, World, payloads


def lasting(version: int, seconds: int = 600) -> dict[str, Any]:
    """Return the arguments of a client whose session outlives its connection."""
    if version == 5:
        return {"properties": Properties(session_expiry_interval=seconds)}
    return {"clean_start": False}


# --- sessions ------------------------------------------------------------------------


def test_a_session_waits_for_its_client(version):
    world = World()
    wire = world.client(version, **lasting(version))
    wire.subscribe("t", 2)
    wire.lose()
    other = world.client(version, client_id="other")
    for qos in (0, 1, 2):
        other.publish(payload=str(qos).encode(), qos=qos)
    again = Wire(world, version)
    connack = again.connect(**(lasting(version) | {"clean_start": False}))
    assert connack.session_present == (version > 3)
    # QoS 0 is not kept.
    assert payloads(again.rest) == [b"1", b"2"]
    again.lose()
    # What was not acknowledged comes again, marked as that.
    third = Wire(world, version)
    third.connect(**(lasting(version) | {"clean_start": False}))
    assert payloads(third.rest) == [b"1", b"2"]
    assert all(packet.dup for packet in third.rest if isinstance(packet, Publish))


def test_a_clean_start_ends_the_session(version):
    world = World()
    wire = world.client(version, **lasting(version))
    wire.subscribe("t", 1)
    wire.lose()
    again = Wire(world, version)
    assert not again.connect().session_present
    again.publish()
    assert again.read() == []
    assert len(world.state.subscriptions) == 0


def test_another_connection_takes_over(version):
    world = World()
    first = world.client(version, **lasting(version))
    first.subscribe("t")
    second = Wire(world, version)
    second.connect(**(lasting(version) | {"clean_start": False}))
    assert first.ended == "another connection uses the identifier"
    if version == 5:
        packet = first.read_one()
        assert isinstance(packet, Signal)
        assert packet.reason_code == 0x8E
    # What the first one still sends is nobody's.
    first.publish()
    second.publish(payload=b"mine")
    assert payloads(second.read()) == [b"mine"]
    first.lose()
    assert list(world.state.connections) == ["me"]


def test_there_are_only_so_many_sessions():
    world = World(maximum_sessions=1)
    world.client(client_id="one")
    wire = Wire(world)
    assert wire.connect(client_id="two").reason_code == 0x97
    assert list(world.state.sessions) == ["one"]


def test_a_session_outlasts_as_long_as_it_may():
    world = World(maximum_session_expiry=10)
    for version in (V311, V5):
        wire = world.client(version, **lasting(version, 0xFFFF_FFFF))
        wire.lose()
        world.pass_time(9)
        assert list(world.state.sessions) == ["me"]
        world.pass_time(2)
        assert not world.state.sessions


def test_a_session_that_is_resumed_does_not_expire():
    world = World()
    for _ in range(3):
        wire = world.client(clean_start=False, **lasting(5, 10))
        world.pass_time(100)
        wire.lose()
        world.pass_time(9)
    assert list(world.state.sessions) == ["me"]
    world.pass_time(2)
    assert not world.state.sessions
    assert world.state.deadline() is None


@pytest.mark.parametrize(("first", "then"), [(V311, V5), (V5, V311)])
def test_a_session_goes_on_in_another_version(first, then):
    world = World()
    wire = world.client(first, **lasting(first))
    wire.subscribe("t", 2)
    properties = Properties(content_type="text/plain", message_expiry_interval=100)
    other = world.client(client_id="other")
    other.publish(payload=b"sent", qos=1, properties=properties)
    wire.read()
    wire.lose()
    other.publish(payload=b"queued", qos=2, properties=properties)
    again = Wire(world, then)
    again.connect(**(lasting(then) | {"clean_start": False}))
    assert payloads(again.rest) == [b"sent", b"queued"]
    for packet in again.rest:
        assert isinstance(packet, Publish)
        if then == 5:
            assert packet.properties == properties
        else:
            assert packet.properties is None


# --- wills ---------------------------------------------------------------------------


def watched(world: World, **will: int) -> tuple[Wire, Wire]:
    """Return a client that subscribes to the will, and the client that has the will."""
    watcher = world.client(client_id="watcher")
    watcher.subscribe("will", 1)
    delay = will.pop("delay", None)
    properties = None
    if delay is not None:
        properties = Properties(will_delay_interval=delay, content_type="c")
    message = WillMessage("will", b"gone", 1, properties=properties)
    expiry = Properties(session_expiry_interval=will.pop("expiry", 0))
    return watcher, world.client(will=message, properties=expiry)


def test_a_will_is_published_when_the_connection_breaks(version):
    world = World()
    watcher = world.client(version, client_id="watcher")
    watcher.subscribe("will", 1)
    wire = world.client(version, will=WillMessage("will", b"gone", 1))
    wire.lose()
    assert payloads(watcher.read()) == [b"gone"]


@pytest.mark.parametrize(("code", "expected"), [(0, []), (4, [b"gone"])])
def test_a_will_is_taken_back_by_leaving(code, expected):
    watcher, wire = watched(World())
    wire.disconnect(code)
    assert payloads(watcher.read()) == expected


def test_a_broken_rule_publishes_the_will():
    watcher, wire = watched(World())
    wire.send(b"\xf1\x00")
    assert payloads(watcher.read()) == [b"gone"]


def test_a_will_waits_for_its_delay():
    world = World()
    watcher, wire = watched(world, delay=5, expiry=100)
    wire.lose()
    world.pass_time(4.9)
    assert watcher.read() == []
    world.pass_time(0.2)
    (packet,) = watcher.read()
    assert isinstance(packet, Publish)
    # The delay itself is not part of the message.
    assert packet.properties == Properties(content_type="c")
    world.pass_time(1000)
    assert watcher.read() == []


def test_a_will_comes_no_later_than_the_session_ends():
    world = World()
    watcher, wire = watched(world, delay=50, expiry=5)
    wire.lose()
    world.pass_time(5.1)
    assert payloads(watcher.read()) == [b"gone"]


# How the broker ends a connection, by a call of its own.
ENDINGS = {
    "end": lambda connection, now: connection.end(0x98, "", now),
    "refuse": lambda connection, now: connection.refuse(Refusal(0x87), now),
    "abandon": lambda connection, now: connection.abandon("", now),
    "connection_lost": lambda connection, now: connection.connection_lost("", now),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_expiry_and_delay_count_from_the_time_of_the_call(ending):
    """Not from the time of the call before: nothing may have come for a long time."""
    world = World()
    delayed = Properties(will_delay_interval=10)
    mortal = world.client(
        5,
        client_id="mortal",
        will=WillMessage("w", b"dead", properties=delayed),
        properties=Properties(session_expiry_interval=20),
    )
    listener = world.client(5, client_id="listener")
    listener.subscribe("w")
    world.now += 25
    ENDINGS[ending](mortal.connection, world.now)
    world.pass_time(9.9)
    assert listener.read() == []
    world.pass_time(0.1)
    assert payloads(listener.read()) == [b"dead"]
    world.pass_time(9.9)
    assert "mortal" in world.state.sessions
    world.pass_time(0.1)
    assert "mortal" not in world.state.sessions


def test_the_expiry_of_a_message_of_the_program_counts_from_its_call():
    world = World()
    listener = world.client(5)
    listener.subscribe("t")
    world.now += 25
    properties = Properties(message_expiry_interval=10)
    message = ApplicationMessage("t", b"", 0, False, properties, world.now)
    assert world.state.publish_own(message, world.now) == 1
    assert listener.read_one().properties.message_expiry_interval == 10


@pytest.mark.parametrize(("clean_start", "expected"), [(False, []), (True, [b"gone"])])
def test_a_client_that_is_back_in_time_keeps_its_will(clean_start, expected):
    world = World()
    watcher, wire = watched(world, delay=5, expiry=100)
    wire.lose()
    world.pass_time(3)
    back = Wire(world)
    back.connect(clean_start=clean_start)
    world.pass_time(100)
    assert payloads(watcher.read()) == expected


def test_clearing_publishes_no_will():
    world = World()
    watcher, wire = watched(world, delay=5, expiry=100)
    wire.lose()
    world.state.clear(world.now)
    world.pass_time(100)
    assert watcher.read() == []
    assert list(world.state.sessions) == ["watcher"]


# --- who gets what -------------------------------------------------------------------


def test_overlapping_subscriptions_give_one_copy_at_the_highest_qos(version):
    world = World()
    wire = world.client(version)
    wire.subscribe("a/+", 0)
    wire.subscribe("a/#", 2)
    wire.subscribe("a/b", 1)
    world.client(client_id="other").publish("a/b", qos=2)
    (packet,) = wire.read()
    assert isinstance(packet, Publish)
    assert packet.qos == 2


def test_a_copy_has_all_identifiers():
    world = World()
    wire = world.client()
    for number, name in enumerate(("a/+", "a/#", "a/b"), 1):
        properties = Properties(subscription_identifier=[number])
        wire.subscribe(name, 1, properties)
    for qos in (0, 1):
        world.client(client_id="other").publish("a/b", qos=qos)
        (packet,) = wire.read()
        assert isinstance(packet, Publish)
        assert packet.properties is not None
        assert sorted(packet.properties.subscription_identifier) == [1, 2, 3]


def test_no_local_counts_for_each_subscription():
    world = World()
    wire = world.client()
    wire.subscribe("a/#", 2, no_local=True)
    wire.publish("a/b")
    assert wire.read() == []
    wire.subscribe("a/b", 0)
    wire.publish("a/b", payload=b"by the other one", qos=1)
    packet, _ = wire.read()
    assert isinstance(packet, Publish)
    assert packet.qos == 0
    world.client(client_id="other").publish("a/b", qos=2)
    (packet,) = wire.read()
    assert isinstance(packet, Publish)
    assert packet.qos == 2


def test_shared_subscriptions_take_turns():
    world = World()
    wires = [world.client(client_id=f"worker-{number}") for number in range(3)]
    for wire in wires:
        assert wire.subscribe("$share/workers/jobs/+", 1) == [1]
    wires[0].subscribe("jobs/1")  # besides, one of its own
    other = world.client(client_id="other")
    for _ in range(30):
        other.publish("jobs/1")
    counts = [len(wire.read()) for wire in wires]
    assert counts == [40, 10, 10]


def test_a_shared_subscription_prefers_who_is_there():
    world = World()
    here = world.client(client_id="here")
    away = world.client(client_id="away", **lasting(5))
    for wire in (here, away):
        wire.subscribe("$share/workers/jobs", 1)
    away.lose()
    other = world.client(client_id="other")
    for _ in range(10):
        other.publish("jobs", qos=1)
    packets = here.read()
    assert len(packets) == 10
    for packet in packets:
        assert isinstance(packet, Publish)
        here.ack(PacketType.PUBACK, packet.mid)
    here.lose()
    for _ in range(3):
        other.publish("jobs", qos=1)
    back = Wire(world)
    back.connect(client_id="away", clean_start=False)
    assert len(back.rest) == 3


def test_a_shared_subscription_avoids_who_is_behind():
    world = World()
    wires = [world.client(client_id=f"worker-{number}") for number in range(2)]
    for wire in wires:
        wire.subscribe("$share/workers/jobs", 1)
    wires[0].send_buffer.is_paused = True
    other = world.client(client_id="other")
    for _ in range(10):
        other.publish("jobs")
    assert [len(wire.read()) for wire in wires] == [0, 10]


def test_the_last_one_to_leave_ends_a_shared_subscription():
    world = World()
    wires = [world.client(client_id=f"worker-{number}") for number in range(2)]
    for wire in wires:
        wire.subscribe("$share/workers/jobs")
    for number, wire in enumerate(wires):
        wire.lose()
        assert len(world.state.subscriptions) == 1 - number
    assert world.state.subscriptions.find("jobs").groups == []


# --- retained messages ----------------------------------------------------------------


def test_retained_messages_come_after_the_suback(version):
    world = World()
    wire = world.client(version)
    for name in ("a/1", "a/2", "b"):
        wire.publish(name, payload=name.encode(), retain=True)
    wire.subscribe("a/#", 1)
    assert payloads(wire.rest) == [b"a/1", b"a/2"]
    assert all(isinstance(p, Publish) and p.retain for p in wire.rest)
    wire.publish("a/1", payload=b"", retain=True)
    wire.read()
    wire.subscribe("a/#", 1)
    assert payloads(wire.rest) == [b"a/2"]


def test_a_retained_message_expires():
    world = World()
    wire = world.client()
    properties = Properties(message_expiry_interval=10)
    wire.publish("a", retain=True, properties=properties)
    world.pass_time(4)
    wire.subscribe("a")
    (packet,) = wire.rest
    assert isinstance(packet, Publish)
    assert packet.properties == Properties(message_expiry_interval=6)
    world.pass_time(6)
    wire.subscribe("a")
    assert wire.rest == []
    assert len(world.state.retained) == 0


def test_only_so_much_is_retained():
    world = World(maximum_retained_messages=2, maximum_retained_bytes=1200)
    wire = world.client()

    def retain(topic: str, size: int) -> int:
        wire.publish(topic, bytes(size), qos=1, retain=True)
        code = wire.read_one().reason_code
        return int(code if code.equivalent is None else code.equivalent)

    assert retain("a", 10) == 0x10
    assert retain("b", 10) == 0x10
    assert retain("c", 10) == 0x97
    # What is refused has not been said: the last one stays.
    assert retain("a", 95) == 0x97
    assert [len(m.payload) for m in world.state.retained.all(world.now)] == [10, 10]
    # Below QoS 1, and below 5.0, it can't be refused. It is passed on, and it would be
    # wrong to keep what "a" said before.
    wire.subscribe("a")
    wire.publish("a", bytes(95), retain=True)
    assert payloads(wire.read()) == [bytes(95)]
    assert [m.topic for m in world.state.retained.all(world.now)] == ["b"]
    assert retain("b", 0) == 0x10
    wire.publish("a", bytes(95), retain=True)
    assert len(world.state.retained) == 1


def test_what_has_expired_makes_room_for_others():
    # §3.3.2.3.3
    world = World(maximum_retained_messages=2)
    wire = world.client()

    def retain(topic: str, expiry: int | None = None) -> int:
        properties = Properties(message_expiry_interval=expiry)
        wire.publish(topic, qos=1, retain=True, properties=properties)
        code = wire.read_one().reason_code
        return int(code if code.equivalent is None else code.equivalent)

    assert retain("a", 5) == 0x10
    assert retain("b", 3) == 0x10
    # What it replaces expires no more, at least not then.
    assert retain("b", 9) == 0x10
    world.pass_time(4)
    assert retain("c") == 0x97
    world.pass_time(2)
    assert retain("c") == 0x10
    assert retain("d") == 0x97
    assert [m.topic for m in world.state.retained.all(world.now)] == ["b", "c"]


def test_messages_that_are_gone_leave_nothing_of_their_expiry():
    world = World()
    wire = world.client()
    for number in range(100):  # whose subscribers are cached
        wire.publish(f"a/{number}")
    before = world.state.memory.used
    for number in range(300):
        properties = Properties(message_expiry_interval=1000 + number)
        wire.publish(f"a/{number % 100}", retain=True, properties=properties)
    for number in range(100):
        wire.publish(f"a/{number}", b"", retain=True)
    assert world.state.memory.used == before
    # Their topics may be long.
    heap = world.state.retained._expiries._heap
    assert [timer for timer in heap if timer.action is not None] == []
    assert len(heap) <= 64 + 1
    properties = Properties(message_expiry_interval=1000)
    wire.publish("a/0", retain=True, properties=properties)
    world.state.retained.clear()
    assert world.state.memory.used == before


def test_the_counts_are_retained_but_do_not_count():
    world = World(maximum_retained_messages=1)
    world.state.show_statistics(world.now)
    wire = world.client()
    wire.publish("a", retain=True)
    assert len(world.state.retained) == 1
    wire.subscribe("#")
    assert payloads(wire.rest) == [b"x"]
    wire.subscribe("$SYS/broker/clients/+")
    assert payloads(wire.rest) == [b"0", b"0"]
    world.state.show_statistics(world.now)
    # Just what has changed.
    assert len(wire.read()) == 2


@pytest.mark.parametrize("how", ["expiry", "clean start", "clear"])
def test_what_a_leaving_member_has_not_acknowledged_goes_to_another(how):
    # §4.8.2, [MQTT-4.8.2-5]
    world = World()
    expiry = Properties(session_expiry_interval=5)
    leaving = world.client(client_id="leaving", properties=expiry)
    leaving.subscribe("$share/g/t/+", 2)
    leaving.subscribe("t/+", 1)  # what comes by this one is its own
    speaker = world.client(client_id="speaker")
    for qos in (1, 2):
        speaker.publish(f"t/{qos}", str(qos).encode(), qos)
        speaker.publish(f"t/{qos}", b"acknowledged", qos)
    for packet in leaving.read():
        if isinstance(packet, Publish) and packet.payload == b"acknowledged":
            kind = PacketType.PUBACK if packet.qos == 1 else PacketType.PUBREC
            leaving.ack(kind, packet.mid)
    leaving.lose()
    speaker.publish("t/1", b"while it is away", 1)
    speaker.publish("t/2", b"the same", 2)
    other = world.client(client_id="other")
    other.subscribe("$share/g/t/+", 1, Properties(subscription_identifier=[7]))
    assert other.read() == []
    if how == "expiry":
        world.pass_time(6)
    elif how == "clear":
        world.state.clear(world.now)
    else:
        world.client(client_id="leaving")
    packets = other.read()
    assert payloads(packets) == [b"1", b"while it is away", b"the same"]
    for packet in packets:
        assert isinstance(packet, Publish)
        assert (packet.qos, packet.dup) == (1, False)
        assert packet.properties == Properties(subscription_identifier=[7])


def test_a_bridge_tells_whether_it_is_connected():
    """Mosquitto's bridges do this, with a will for when they are not connected."""
    world = World(maximum_retained_messages=1)
    topic = "$SYS/broker/connection/a.bridge/state"
    bridge = world.client(V311, will=WillMessage(topic, b"0", 1, True))
    bridge.publish(topic, b"1", 1, retain=True)
    listener = world.client(client_id="listener")
    listener.subscribe("$SYS/broker/connection/#")
    assert payloads(listener.rest) == [b"1"]
    # It counts as any other message does.
    assert len(world.state.retained) == 1
    bridge.lose()
    assert payloads(listener.read()) == [b"0"]


def test_the_last_member_leaves():
    world = World()
    leaving = world.client(client_id="leaving")
    leaving.subscribe("$share/g/t", 1)
    world.client(client_id="speaker").publish(qos=1)
    leaving.lose()
    assert "leaving" not in world.state.sessions


# --- message expiry ------------------------------------------------------------------


def test_an_expiry_of_0_is_for_who_can_have_it_at_once(version):
    world = World()
    expiry = {"session_expiry_interval": 100} if version == 5 else {}
    here, away = (
        world.client(
            version,
            client_id=name,
            clean_start=False,
            properties=Properties(**expiry) if version == 5 else None,
        )
        for name in ("here", "away")
    )
    for wire in (here, away):
        wire.subscribe("t", 2)
    away.lose()
    speaker = world.client(client_id="speaker")
    properties = Properties(message_expiry_interval=0)
    for qos in (0, 1, 2):
        speaker.publish(payload=b"%d" % qos, qos=qos, properties=properties)
    speaker.publish("t", b"kept", retain=True, properties=properties)
    packets = here.read()
    assert payloads(packets) == [b"0", b"1", b"2", b"kept"]
    if version == 5:
        assert all(p.properties == properties for p in packets)  # type: ignore[union-attr]
    world.pass_time(0.1)
    again = Wire(world, version)
    again.connect(client_id="away", clean_start=False)
    assert again.rest == []
    late = world.client(version, client_id="late")
    late.subscribe("t")
    assert late.rest == []


def test_a_message_expires_in_the_queue():
    world = World()
    wire = world.client(**lasting(5))
    wire.subscribe("t", 1)
    wire.lose()
    other = world.client(client_id="other")
    for seconds in (5, 500):
        properties = Properties(message_expiry_interval=seconds)
        other.publish(payload=bytes((seconds & 7,)), qos=1, properties=properties)
    world.pass_time(10)
    again = Wire(world)
    again.connect(clean_start=False, properties=Properties(session_expiry_interval=9))
    (packet,) = again.rest
    assert isinstance(packet, Publish)
    assert packet.properties == Properties(message_expiry_interval=490)
    assert world.state.statistics.messages_expired == 1


def test_what_was_sent_once_does_not_expire():
    world = World()
    wire = world.client(**lasting(5))
    wire.subscribe("t", 1)
    properties = Properties(message_expiry_interval=5)
    world.client(client_id="other").publish(qos=1, properties=properties)
    assert len(wire.read()) == 1
    wire.lose()
    world.pass_time(10)
    again = Wire(world)
    again.connect(clean_start=False)
    (packet,) = again.rest
    assert isinstance(packet, Publish)
    assert packet.dup
    # It lasts no longer than what is left.
    assert packet.properties == Properties(message_expiry_interval=0)
    assert world.state.statistics.messages_expired == 0
    assert len(world.state.sessions["me"].outbound) == 1


# --- limits and slow clients --------------------------------------------------


@pytest.mark.parametrize("is_there", [True, False])
def test_a_queue_holds_only_so_many(version, is_there):
    world = World(maximum_queued_messages=10)
    wire = world.client(version, **lasting(version))
    wire.subscribe("t", 1)
    if not is_there:
        wire.lose()
    other = world.client(version, client_id="other")
    for number in range(50):
        other.publish(payload=bytes((number,)), qos=1)
    assert world.state.statistics.messages_dropped == 40
    if not is_there:
        again = Wire(world, version)
        again.connect(**(lasting(version) | {"clean_start": False}))
        assert payloads(again.rest) == [bytes((number,)) for number in range(10)]


def test_a_queue_holds_only_so_many_bytes(version):
    world = World(maximum_queued_bytes=10_000)
    wire = world.client(version, **lasting(version))
    wire.subscribe("t", 1)
    wire.lose()
    other = world.client(version, client_id="other")
    for _ in range(50):
        other.publish(payload=bytes(1000), qos=1)
    assert 40 <= world.state.statistics.messages_dropped <= 42


def test_what_is_not_written_is_bounded_at_qos_0(version):
    world = World(maximum_queued_bytes=10_000)
    wire = world.client(version)
    wire.subscribe("t")
    other = world.client(version, client_id="other")
    for _ in range(50):
        other.publish(payload=bytes(1000))
    assert world.state.statistics.messages_dropped >= 39
    assert wire.send_buffer.unsent < 12_000


def test_the_receive_maximum_of_the_client_is_kept(version):
    world = World()
    wire = Wire(world, version)
    wire.connect(properties=Properties(receive_maximum=3) if version == 5 else None)
    window = 3 if version == 5 else IN_FLIGHT_V3
    wire.subscribe("t", 1)
    other = world.client(version, client_id="other")
    for _ in range(window + 5):
        other.publish(qos=1)
    first = wire.read()
    assert len(first) == window
    assert isinstance(first[0], Publish)
    wire.ack(PacketType.PUBACK, first[0].mid)
    assert len(wire.read()) == 1


def test_what_is_too_large_for_a_client_is_not_sent():
    world = World()
    wire = Wire(world)
    wire.connect(properties=Properties(maximum_packet_size=100))
    wire.subscribe("t", 1)
    other = world.client(client_id="other")
    for qos in (0, 1):
        other.publish(payload=bytes(200), qos=qos)
        other.publish(payload=bytes(50), qos=qos)
    assert payloads(wire.read()) == [bytes(50)] * 2
    assert world.state.statistics.messages_dropped == 2


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("was_sent", [True, False])
def test_what_has_become_too_large_for_a_client_is_counted(qos, was_sent):
    """A client may come back with a smaller Maximum Packet Size."""
    world = World()
    wire = world.client(**lasting(V5))
    wire.subscribe("t", qos)
    if not was_sent:
        wire.lose()
    other = world.client(client_id="other")
    for size in (200, 50, 201):
        other.publish(payload=bytes(size), qos=qos)
    wire.read()
    if was_sent:
        wire.lose()
    assert world.state.statistics.messages_dropped == 0
    again = Wire(world)
    properties = Properties(session_expiry_interval=600, maximum_packet_size=100)
    again.connect(clean_start=False, properties=properties)
    assert payloads(again.rest) == [bytes(50)]
    assert world.state.statistics.messages_dropped == 2


def test_who_publishes_to_a_slow_client_waits_for_it(version):
    world = World()
    slow = world.client(version, client_id="slow")
    slow.subscribe("t")
    other = world.client(version, client_id="other")
    slow.send_buffer.is_paused = True
    other.publish()
    other.publish()
    assert other.connection.is_waiting
    world.state.ready.clear()
    slow.send_buffer.is_paused = False
    slow.send_buffer.release_if_drained(world.now)
    assert not other.connection.is_waiting
    # Its owner is told.
    assert other.send_buffer in world.state.ready


def test_nobody_waits_for_long(version):
    world = World()
    slow = world.client(version, client_id="slow")
    slow.subscribe("t")
    other = world.client(version, client_id="other", keep_alive=1)
    slow.send_buffer.is_paused = True
    other.publish()
    assert other.connection.is_waiting
    world.pass_time(SLOW_SUBSCRIBER_WAIT + 0.1)
    assert not other.connection.is_waiting
    assert other.ended is None  # its silence was ours
    other.publish()
    assert not other.connection.is_waiting
    # A client that has caught up is waited for again, but not soon.
    slow.send_buffer.is_paused = False
    slow.send_buffer.release_if_drained(world.now)
    slow.send_buffer.is_paused = True
    other.publish()
    assert not other.connection.is_waiting
    for _ in range(int(SLOW_SUBSCRIBER_WINDOW)):
        world.pass_time(1)
        other.send(Ping(PacketType.PINGREQ))
    other.publish()
    assert other.connection.is_waiting
    slow.lose()
    assert not other.connection.is_waiting


@pytest.mark.parametrize("pause", [0.2, 0.5, 0.9, 1.1, 3.0])
def test_a_client_that_reads_in_bursts_slows_nobody_for_over_a_second_in_ten(pause):
    world = World()
    slow = world.client(client_id="slow")
    slow.subscribe("t")
    other = world.client(client_id="other")
    waited: list[float] = []
    step = 0.05
    for number in range(600):
        if not other.connection.is_waiting:
            other.publish()
        slow.send_buffer.is_paused = number * step % pause < pause - step
        slow.send_buffer.release_if_drained(world.now)
        if other.connection.is_waiting:
            waited.append(world.now)
        world.pass_time(step)
        slow.send_buffer.data.clear()
    assert waited
    for began in waited:
        inside = [time for time in waited if began <= time < began + 10]
        # Seen in steps, a wait may seem longer by one of them.
        assert len(inside) * step <= SLOW_SUBSCRIBER_WAIT + 20 * step


def test_a_client_that_keeps_reading_is_waited_for_each_time():
    """Short waits are the usual flow control, and lose nothing."""
    world = World()
    slow = world.client(client_id="slow")
    slow.subscribe("t")
    other = world.client(client_id="other")
    for _ in range(1000):
        slow.send_buffer.is_paused = True
        other.publish()
        assert other.connection.is_waiting
        world.pass_time(0.03)
        slow.send_buffer.is_paused = False
        slow.send_buffer.release_if_drained(world.now)


def test_who_does_not_acknowledge_is_slow_too(version):
    world = World()
    slow = world.client(version, client_id="slow")
    slow.subscribe("t", 1)
    other = world.client(version, client_id="other")
    window = 0xFFFF if version == 5 else IN_FLIGHT_V3
    if version == 5:
        session = slow.world.state.sessions["slow"]
        session.outbound.open(V5, session._encode, 10)
        window = 10
    for number in range(window + BACKLOG_HIGH + 2):
        other.publish(qos=1, mid=number + 1)
    assert other.connection.is_waiting
    while other.connection.is_waiting:
        packets = slow.read()
        assert packets
        for packet in packets:
            assert isinstance(packet, Publish)
            slow.ack(PacketType.PUBACK, packet.mid)
    assert not slow.send_buffer.has_backlog


def test_a_client_that_leaves_while_it_waits(version):
    world = World()
    slow = world.client(version, client_id="slow")
    slow.subscribe("t")
    other = world.client(version, client_id="other")
    slow.send_buffer.is_paused = True
    other.publish()
    other.lose()
    slow.send_buffer.is_paused = False
    slow.send_buffer.release_if_drained(world.now)
    assert list(world.state.connections) == ["slow"]


# --- topic aliases -------------------------------------------------------------------


def test_a_client_that_allows_aliases_gets_them():
    world = World(topic_alias_maximum=1)
    wire = Wire(world)
    wire.connect(properties=Properties(topic_alias_maximum=10))
    wire.subscribe("#", 1)
    other = world.client(client_id="other")
    seen = []
    for topic, qos in (("a", 0), ("a", 1), ("b", 0), ("a", 0)):
        other.publish(topic, qos=qos)
        (packet,) = wire.read()
        assert isinstance(packet, Publish)
        assert packet.properties is not None
        seen.append((packet.topic.value, packet.properties.topic_alias))
    assert seen == [("a", 1), ("", 1), ("b", None), ("", 1)]


def test_an_alias_of_the_publisher_is_its_own():
    world = World()
    wire = world.client()
    wire.subscribe("#")
    other = world.client(client_id="other")
    alias = Properties(topic_alias=5, content_type="c")
    other.publish("a", properties=alias)
    other.send(b"\x30\x07\x00\x00\x03\x23\x00\x05x")
    topics = [p.topic.value for p in wire.read() if isinstance(p, Publish)]
    assert topics == ["a", "a"]


@pytest.mark.parametrize("interval", [1, 3, 90, 65_537, 0xFFFF_FFFF])
@pytest.mark.parametrize("qos", [0, 1])
def test_no_expiry_interval_grows(interval, qos):
    # [MQTT-3.3.2-6], for each way in which a broker may have to encode a message.
    world = World()
    speaker = world.client(5, client_id="speaker")
    with_aliases = world.client(
        5, client_id="aliases", properties=Properties(topic_alias_maximum=10)
    )
    with_aliases.subscribe("expiry", qos)
    identified = world.client(5, client_id="identified")
    identified.subscribe("expiry", qos, Properties(subscription_identifier=[1]))
    properties = Properties(message_expiry_interval=interval)
    # Many times: fractions of a second must not add up to one more.
    for _ in range(20):
        speaker.publish("expiry", b"1", qos, retain=True, properties=properties)
        speaker.read()
        world.pass_time(0.3)
        late = world.client(5, client_id="late")
        late.subscribe("expiry", qos)
        for packets in (with_aliases.read(), identified.read(), late.rest):
            (packet,) = packets
            assert isinstance(packet, Publish)
            assert packet.properties is not None
            remaining = packet.properties.message_expiry_interval
            assert remaining is not None
            assert interval - 1 <= remaining <= interval
