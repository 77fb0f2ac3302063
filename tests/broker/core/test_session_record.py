"""The record of a session: what its store has not got yet."""

import pytest

from aiomqtt.broker.core.journal import Journal
from aiomqtt.broker.core.session_record import SessionRecord
from aiomqtt.properties import Properties
from aiomqtt.protocol.changes import ChangeKind
from aiomqtt.protocol.packets import Unsubscribe

from ..world import World

LASTING = Properties(session_expiry_interval=1000)


@pytest.fixture
def world() -> World:
    world = World()
    world.state.record(Journal())
    return world


def record_of(world: World, client_id: str = "me") -> SessionRecord:
    record = world.state.sessions[client_id].record
    assert record is not None
    return record


def test_what_was_taken_is_not_taken_again(world):
    world.client(client_id="me", properties=LASTING)
    taken = record_of(world).take()
    assert taken is not None
    assert taken.client_id == "me"
    assert taken.attributes is not None
    assert (taken.attributes.is_v5, taken.attributes.expiry) == (True, 1000)
    assert record_of(world).take() is None


def test_attributes_are_taken_when_they_have_changed(world):
    client = world.client(client_id="me", properties=LASTING)
    record = record_of(world)
    record.take()
    client.lose()
    taken = record.take()
    assert taken is not None
    assert taken.attributes is not None
    # It ends so long after the connection.
    assert taken.attributes.ends == world.now + 1000
    assert taken.changes == []


def test_subscriptions_are_recorded_in_order(world):
    client = world.client(client_id="me", properties=LASTING)
    record = record_of(world)
    record.take()
    client.subscribe("a", 1)
    client.subscribe("a", 2)
    client.send(Unsubscribe(9, ["a"]))
    taken = record.take()
    assert taken is not None
    assert taken.attributes is None
    # Between them is which retained messages are still to be sent.
    wanted = (ChangeKind.SUBSCRIBED, ChangeKind.UNSUBSCRIBED)
    kinds = [change.kind for change in taken.changes if change.kind in wanted]
    assert kinds == [
        ChangeKind.SUBSCRIBED,
        ChangeKind.SUBSCRIBED,
        ChangeKind.UNSUBSCRIBED,
    ]
    assert record.take() is None


def test_a_session_that_has_ended_has_none(world):
    client = world.client(client_id="me")
    session = world.state.sessions["me"]
    client.lose()
    assert "me" not in world.state.sessions
    assert session.record is None
