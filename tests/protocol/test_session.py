"""The state that outlives a connection."""

import pytest

from aiomqtt.properties import Properties
from aiomqtt.protocol.changes import ChangeKind, SessionState, StoredDelivery
from aiomqtt.protocol.delivery import EXPIRED, LOST, QUEUED, Delivery, Origin
from aiomqtt.protocol.packets import Publish
from aiomqtt.protocol.session import Session
from aiomqtt.standard.tables import ProtocolVersion
from aiomqtt.topic import Topic

V5 = ProtocolVersion.V5


def test_a_session_begins_with_nothing():
    session = Session("c")
    assert session.client_id == "c"
    assert not session.exists
    assert not session.connected_before
    assert session.clear() == []


def test_clear_ends_the_session_in_both_directions():
    session = Session("c")
    session.exists = session.connected_before = True
    out: list[bytes] = []
    session.outbound.open(V5, lambda delivery, now: (b"\x32\x06\x00\x01t", b"\x00"))
    delivery = Delivery("t", b"", 1, False, None, 8)
    session.outbound.send(delivery, out, 0.0)
    message = Publish(Topic("t"), b"", 2, False, 1, None, False)
    assert session.inbound.accept(message, out)
    assert not session.inbound.accept(message, out)
    assert session.clear() == [delivery]
    assert delivery.state == LOST
    assert not session.exists
    # That it was ever accepted, and under which name, is not the session's state.
    assert (session.connected_before, session.client_id) == (True, "c")
    assert session.inbound.accept(message, out)


def test_a_message_that_is_queued_depends_on_no_connection():
    session = Session("c", is_durable=True)
    properties = Properties(message_expiry_interval=10)
    delivery = Delivery("t", b"x", 0, False, properties, 8, b"head", b"tail")
    delivery.alias = 1
    session.enqueue(delivery, 5.0)
    assert (delivery.alias, delivery.head, delivery.tail) == (0, b"", b"")
    assert (delivery.expires, delivery.state) == (15.0, QUEUED)
    assert session.outbound.queued_qos0 == 1
    # As it is stored, it is restored.
    state = SessionState("c")
    for change in session.take_changes():
        state.apply(change)
    assert state == session.snapshot()
    assert Session.restore(state).outbound.queued_qos0 == 1


def test_changes_have_what_a_store_needs_for_receipts():
    session = Session("c", is_durable=True)
    first, second = (Delivery("t", b"x", 1, False, None, 8) for _ in range(2))
    first.origin = Origin("reading 1", staged=7)
    for delivery in (first, second):
        session.enqueue(delivery, 0.0)
    added, unstaged, _ = session.take_changes()
    assert isinstance(added.value, StoredDelivery)
    assert added.value.receipt_id == "reading 1"
    assert (unstaged.kind, unstaged.key) == (ChangeKind.UNSTAGED, 7)
    for delivery in (first, second):
        session.outbound.withdraw(delivery, EXPIRED)
    ends = [(one.key, one.value) for one in session.take_changes()]
    assert ends == [(1, (EXPIRED, 0x80)), (2, None)]


def test_a_message_without_a_topic_is_not_queued():
    session = Session("c")
    delivery = Delivery("", b"x", 1, False, None, 8, b"head", b"tail")
    delivery.alias = 1
    with pytest.raises(ValueError, match="a topic is needed without a connection"):
        session.enqueue(delivery, 0.0)
    assert len(session.outbound) == 0
