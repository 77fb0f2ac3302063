"""The journal of a broker: all that changes is handed over once, and in order."""

import time
from typing import Any

import pytest

from aiomqtt.broker.core.journal import Journal
from aiomqtt.broker.core.message import MessagePool
from aiomqtt.properties import Properties
from aiomqtt.protocol.changes import ChangeKind, SessionState
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.protocol.delivery import Delivery
from aiomqtt.protocol.packets import Publish, WillMessage
from aiomqtt.standard.tables import PacketType, Role
from aiomqtt.stores.broker import (
    Record,
    RetainedChanged,
    SessionAttributes,
    SessionChanged,
    SessionEnded,
    StoredMessage,
    StoredSession,
)
from aiomqtt.topic import Topic

from ..conversation import snapshot
from ..world import Wire, World

LASTING = Properties(session_expiry_interval=1000)


@pytest.fixture
def world() -> World:
    world = World()
    world.state.record(Journal())
    return world


def take(world: World) -> list[Record]:
    assert world.state.journal is not None
    return world.state.journal.take()


def kinds(world: World) -> dict[str, list[str]]:
    """The kinds of what has changed in each session, and in nothing else."""
    found: dict[str, list[str]] = {}
    for entry in take(world):
        assert isinstance(entry, SessionChanged)
        found[entry.client_id] = [change.kind for change in entry.changes]
    return {client_id: changes for client_id, changes in found.items() if changes}


def retained(world: World) -> dict[str, bytes | None]:
    """What has changed in the retained messages."""
    return {
        entry.topic: None if entry.message is None else entry.message.payload
        for entry in take(world)
        if isinstance(entry, RetainedChanged)
    }


def lasting(world: World, client_id: str, **connect: Any) -> Wire:
    return world.client(client_id=client_id, properties=LASTING, **connect)


def test_a_new_session_is_handed_over_before_anything_has_happened_in_it(world):
    lasting(world, "me")
    (entry,) = take(world)
    assert isinstance(entry, SessionChanged)
    assert entry.client_id == "me"
    assert take(world) == []


def test_a_message_is_handed_over_with_its_reception_for_all_sessions(world):
    publisher = lasting(world, "publisher")
    connected, away = lasting(world, "connected"), lasting(world, "away")
    for client in (connected, away):
        client.subscribe("t", 2)
    away.lose()
    take(world)
    publisher.publish("t", b"x", 2, mid=1)
    assert kinds(world) == {
        "publisher": [ChangeKind.RECEIVED],
        "connected": [ChangeKind.ADDED],
        "away": [ChangeKind.ADDED],
    }
    publisher.ack(PacketType.PUBREL, 1)
    assert kinds(world) == {"publisher": [ChangeKind.COMPLETED]}


def test_all_that_a_client_does_is_handed_over(world):
    client, publisher = lasting(world, "me"), lasting(world, "publisher")
    take(world)
    client.subscribe("t", 1)
    assert kinds(world) == {
        "me": [
            ChangeKind.SUBSCRIBED,
            ChangeKind.RETAINED_PENDING,
            ChangeKind.RETAINED_PENDING,
        ]
    }
    publisher.publish("t", b"x", 1)
    take(world)
    client.ack(PacketType.PUBACK, 1)
    assert kinds(world) == {"me": [ChangeKind.ENDED]}
    world.state.subscriptions.remove(world.state.sessions["me"], "t")
    assert kinds(world) == {"me": [ChangeKind.UNSUBSCRIBED]}


def test_what_is_sent_to_a_client_that_is_back_is_handed_over(world):
    client, publisher = lasting(world, "me"), lasting(world, "publisher")
    client.subscribe("t", 1)
    client.lose()
    publisher.publish("t", b"x", 1)
    take(world)
    world.client(client_id="me", clean_start=False, properties=LASTING)
    assert kinds(world) == {"me": [ChangeKind.SENT]}


def test_the_end_of_a_session_comes_before_the_next_one_of_its_client(world):
    client = lasting(world, "me")
    client.subscribe("t", 1)
    client.lose()
    lasting(world, "me").subscribe("u", 1)
    ended, changed = take(world)
    assert isinstance(ended, SessionEnded)
    assert isinstance(changed, SessionChanged)
    assert ended.client_id == changed.client_id == "me"
    state = SessionState("me")
    for change in changed.changes:
        state.apply(change)
    assert list(state.subscriptions) == ["u"]


def test_a_session_that_has_expired_is_over_and_nothing_else(world):
    lasting(world, "me").lose()
    take(world)
    world.pass_time(1001)
    (entry,) = take(world)
    assert isinstance(entry, SessionEnded)
    assert entry.client_id == "me"


def test_a_session_that_comes_from_the_store_has_not_changed(world):
    client = lasting(world, "me")
    client.subscribe("t", 1)
    client.lose()
    (changed,) = take(world)
    assert isinstance(changed, SessionChanged)
    assert changed.attributes is not None
    stored = snapshot(world.state.sessions["me"])
    other = World()
    other.state.record(Journal())
    restored = StoredSession(stored, changed.attributes)
    other.state.restore(restored, MessagePool())
    assert take(other) == []


def attributes(world: World) -> SessionAttributes | None:
    """The new attributes of the only session that has changed."""
    (entry,) = take(world)
    assert isinstance(entry, SessionChanged)
    return entry.attributes


def test_the_attributes_of_a_session_are_handed_over_when_they_change(world):
    will = WillMessage("w", b"x", 1, False, Properties(will_delay_interval=10))
    client = lasting(world, "me", will=will)
    assert attributes(world) == (True, 1000, None, will, None)
    client.subscribe("t", 1)
    assert attributes(world) is None
    world.pass_time(5)
    client.lose()
    assert attributes(world) == (True, 1000, world.now + 1000, will, world.now + 10)
    ends = world.now + 1000
    world.pass_time(11)
    assert attributes(world) == (True, 1000, ends, None, None)
    world.client(client_id="me", version=4, clean_start=False)
    found = attributes(world)
    assert found is not None
    assert not found.is_v5
    assert found.ends is None


def test_of_each_topic_the_last_retained_message_is_handed_over(world):
    client = lasting(world, "me")
    client.publish("t", b"1", retain=True)
    client.publish("t", b"2", retain=True)
    client.publish("u", b"3", retain=True)
    client.publish("v", b"4")
    assert retained(world) == {"t": b"2", "u": b"3"}
    client.publish("t", b"", retain=True)
    client.publish("none", b"", retain=True)
    assert retained(world) == {"t": None}
    world.state.clear(world.now)
    assert retained(world) == {"u": None}


def test_a_retained_message_that_has_expired_is_no_longer_kept(world):
    client = lasting(world, "me")
    properties = Properties(message_expiry_interval=2)
    client.publish("t", b"1", retain=True, properties=properties)
    take(world)
    world.pass_time(3)
    assert world.state.retained.all(world.now) == []
    assert retained(world) == {"t": None}


def test_the_topics_of_the_broker_itself_are_not_handed_over(world):
    world.state.show_statistics(world.now)
    assert take(world) == []


# --- what is restored -----------------------------------------------------------------


def restore(stored: StoredSession) -> tuple[World, Wire]:
    """A world with a session of a store, and a client that subscribed to all."""
    world = World()
    world.state.record(Journal())
    watcher = world.client(client_id="watcher")
    watcher.subscribe("#", 1)
    watcher.read()
    world.state.restore(stored, MessagePool())
    world.state.tick(world.now)
    return world, watcher


def topics(watcher: Wire) -> list[str]:
    return [
        packet.topic.value for packet in watcher.read() if isinstance(packet, Publish)
    ]


NOW = World().now
SOON = Properties(will_delay_interval=10)


@pytest.mark.parametrize(
    ("expiry", "ends", "properties", "due", "will_after", "end_after"),
    [
        # Its client was connected: it counts as disconnected now.
        (100, None, None, None, 0, 100),
        (100, None, SOON, None, 10, 100),
        (5, None, SOON, None, 5, 5),
        (0, None, None, None, 0, 0),
        (0, None, SOON, None, 0, 0),
        # It was not.
        (100, NOW + 50, SOON, NOW + 3, 3, 50),
        (100, NOW - 50, SOON, NOW - 90, 0, 0),
        # The clock was set back: it is no later than its delay.
        (100, NOW + 99, SOON, NOW + 95, 10, 99),
    ],
)
def test_times_of_a_stored_session_go_on(
    expiry, ends, properties, due, will_after, end_after
):
    will = WillMessage("gone", b"x", 0, False, properties)
    state = SessionState("me")
    world, watcher = restore(
        StoredSession(state, SessionAttributes(True, expiry, ends, will, due))
    )
    for second in range(102):
        has_ended = "me" not in world.state.sessions
        assert has_ended == (second >= end_after)
        assert topics(watcher) == (["gone"] if second == will_after else [])
        world.pass_time(1)


def test_a_session_that_never_ends_is_not_ended():
    state = SessionState("me")
    lasts = SessionAttributes(False, 0xFFFF_FFFF, None, None, None)
    world, _ = restore(StoredSession(state, lasts))
    world.pass_time(10_000)
    assert "me" in world.state.sessions
    # Nothing of it has changed.
    assert [
        entry
        for entry in take(world)
        if isinstance(entry, SessionChanged) and entry.client_id == "me"
    ] == []


def test_the_end_of_a_session_whose_client_was_connected_is_stored_again():
    state = SessionState("me")
    world, _ = restore(
        StoredSession(state, SessionAttributes(True, 100, None, None, None))
    )
    (changed,) = (
        entry
        for entry in take(world)
        if isinstance(entry, SessionChanged) and entry.client_id == "me"
    )
    assert changed.attributes == (True, 100, world.now + 100, None, None)


@pytest.mark.parametrize("how", ["expiry", "clean start"])
@pytest.mark.parametrize("is_known", [True, False])
def test_a_shared_message_goes_to_another_member_as_it_was_published(
    world, how, is_known
):
    """MQTT 5.0 §4.8.2: with the QoS and RETAIN flag of that member's subscription."""
    leaving, publisher = lasting(world, "leaving"), lasting(world, "publisher")
    leaving.subscribe("$share/g/t", 1)
    publisher.publish("t", b"x", 2, retain=True)
    publisher.publish("t", b"y", 1)
    state = snapshot(world.state.sessions["leaving"])
    if not is_known:
        # The file is that of an older version: they stay as they were.
        for delivery in state.deliveries.values():
            delivery.published = 0
    attributes = SessionAttributes(True, 10, None, None, None)
    other_world, member = restore(StoredSession(state, attributes))
    member.subscribe("$share/g/t", 2, retain_as_published=True)
    if how == "expiry":
        other_world.pass_time(11)
    else:
        other_world.client(client_id="leaving")
    messages = [one for one in member.read() if isinstance(one, Publish)]
    assert [(one.payload, one.qos, one.retain) for one in messages] == [
        (b"x", 2, True) if is_known else (b"x", 1, False),
        (b"y", 1, False),
    ]


def test_a_retained_message_is_there_again_with_what_is_left_of_its_time():
    world = World()
    world.state.record(Journal())
    expiring = Properties(message_expiry_interval=100)
    world.state.restore_retained(
        StoredMessage("t", b"x", 1, expiring, world.now + 30, 1)
    )
    assert take(world) == []
    client = world.client()
    world.pass_time(10)
    client.subscribe("t", 1)
    (message,) = client.rest
    assert isinstance(message, Publish)
    assert message.retain
    assert message.properties is not None
    assert message.properties.message_expiry_interval == 20
    world.pass_time(21)
    assert world.state.retained.all(world.now) == []


# --- messages of QoS 2 that take several turns ----------------------------------------


def test_a_message_of_qos_2_to_very_many_is_noted_as_received_at_once():
    world = World(work_per_turn=1000)
    world.state.record(Journal())
    publisher = lasting(world, "publisher")
    for number in range(190):
        lasting(world, f"{number}").subscribe("t", 2)
    take(world)
    # The first ones use up most of the turn.
    qos0, qos2 = (
        encode(Publish(Topic("t"), b"x", qos, False, qos, None, False), 5, Role.CLIENT)
        for qos in (0, 2)
    )
    publisher.send(5 * qos0 + qos2)
    assert world.state.is_amid_message
    # Its client is gone before all have it.
    publisher.lose()
    while world.state.is_amid_message:
        world.pass_time(0.01)
    found = kinds(world)
    assert found.pop("publisher") == [ChangeKind.RECEIVED]
    assert len(found) == 190
    again = world.client(client_id="publisher", clean_start=False, properties=LASTING)
    again.send(qos2)
    assert kinds(world) == {}


def test_many_messages_that_differ_in_their_properties_are_restored_soon():
    pool = MessagePool()
    started = time.process_time()
    messages = {
        pool.get(
            Delivery(
                "t",
                b"x",
                1,
                False,
                Properties(user_property=[("number", str(number // 2))]),
                0,
            )
        )
        for number in range(20_000)
    }
    assert len(messages) == 10_000
    assert pool.get(Delivery("t", b"x", 1, False, None, 0)) not in messages
    assert time.process_time() - started < 5
