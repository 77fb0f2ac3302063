"""The journal of a broker: all that changes is handed over once, and in order."""

import pytest

from aiomqtt.broker.core.journal import (
    Journal,
    RetainedChanged,
    SessionChanged,
    SessionEnded,
)
from aiomqtt.properties import Properties
from aiomqtt.protocol.changes import ChangeKind, SessionState
from aiomqtt.standard.tables import PacketType

from ..world import Wire, World

LASTING = Properties(session_expiry_interval=1000)


@pytest.fixture
def world() -> World:
    world = World()
    world.state.record(Journal())
    return world


def take(world: World) -> list[SessionChanged | SessionEnded | RetainedChanged]:
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


def lasting(world: World, client_id: str) -> Wire:
    return world.client(client_id=client_id, properties=LASTING)


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
    assert kinds(world) == {"me": [ChangeKind.SUBSCRIBED]}
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
    stored = world.state.sessions["me"].snapshot()
    other = World()
    other.state.record(Journal())
    other.state.restore(stored)
    assert take(other) == []


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
