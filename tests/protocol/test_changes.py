"""The state of a session as plain values, and changes to it."""

import pytest

from aiomqtt.properties import Properties, SubscribeOptions
from aiomqtt.protocol.changes import (
    Change,
    ChangeKind,
    SessionState,
    StoredDelivery,
    StoredSubscription,
    restore,
    shift_expiry,
    store,
)
from aiomqtt.protocol.delivery import QUEUED, RELEASED, SENT, Delivery, Origin


def stored(sequence: int, packet_id: int = 0) -> StoredDelivery:
    delivery = Delivery("t", b"x", 2, False, Properties(content_type="c"), 8)
    delivery.sequence, delivery.packet_id = sequence, packet_id
    delivery.state = SENT if packet_id else QUEUED
    return store(delivery)


def state_after(*changes: Change) -> SessionState:
    state = SessionState("c")
    for change in changes:
        state.apply(change)
    return state


def added(*deliveries: StoredDelivery) -> list[Change]:
    return [Change(ChangeKind.ADDED, item.sequence, item) for item in deliveries]


def test_a_delivery_is_restored_as_it_was_stored():
    delivery = Delivery(
        "t",
        b"x",
        1,
        True,
        Properties(content_type="c"),
        9,
        expires=3.5,
        identifiers=(1, 2),
    )
    delivery.sequence, delivery.packet_id, delivery.state = 4, 5, SENT
    delivery.origin = Origin("reading 4", share="$share/s/t", published=3)
    assert store(delivery).receipt_id == "reading 4"
    assert store(restore(store(delivery))) == store(delivery)


def test_the_times_of_messages_are_converted_to_another_clock():
    expiring, lasting = stored(1), stored(2)
    expiring.expires = 3.5
    changes = [*added(expiring, lasting), Change(ChangeKind.SENT, 1, 7)]
    shift_expiry(changes, 1000.0)
    assert (expiring.expires, lasting.expires) == (1003.5, None)


def test_the_last_numbers_are_those_of_what_was_sent_last():
    state = state_after(*added(stored(1, 7), stored(2)))
    assert (state.last_sequence, state.last_packet_id) == (2, 7)
    state.apply(Change(ChangeKind.SENT, 2, 8))
    assert state.last_packet_id == 8
    state.apply(Change(ChangeKind.COUNTED, 9))
    assert state.last_packet_id == 9
    state.apply(Change(ChangeKind.ENDED, 1))
    assert [*state.deliveries] == [2]


def test_one_may_be_added_before_those_that_wait():
    state = state_after(*added(stored(1, 1), stored(2), stored(3)))
    state.apply(Change(ChangeKind.ADDED_FIRST, 4, stored(4)))
    assert [*state.deliveries] == [1, 4, 2, 3]
    assert state.last_sequence == 4


def test_what_the_peer_has_is_in_the_order_in_which_it_said_so():
    changes = added(stored(1, 1), stored(2, 2), stored(3, 3))
    released = [Change(ChangeKind.RELEASED, key, 0) for key in (2, 1)]
    state = state_after(*changes, *released)
    received, unreceived = state.in_order
    assert [item.sequence for item in received] == [2, 1]
    assert [item.sequence for item in unreceived] == [3]
    assert {item.payload for item in received} == {b""}
    assert {item.state for item in received} == {RELEASED}
    other = state_after(*changes, *reversed(released))
    assert state != other
    assert state == state_after(*changes, *released)


@pytest.mark.parametrize("kind", ["REQUEUED", "OUTBOUND_CLEARED"])
def test_identifiers_begin_anew(kind):
    state = state_after(
        *added(stored(1, 1), stored(2)),
        Change(ChangeKind.BLOCKED, 9),
        Change(getattr(ChangeKind, kind)),
    )
    assert (state.last_packet_id, state.blocked) == (0, set())
    kept = [1, 2] if kind == "REQUEUED" else []
    assert [*state.deliveries] == kept
    assert {item.packet_id for item in state.deliveries.values()} <= {0}


def test_the_other_values():
    subscription = StoredSubscription(SubscribeOptions(1), 5)
    state = state_after(
        Change(ChangeKind.IDENTIFIED, None, ("d", True, True)),
        Change(ChangeKind.BLOCKED, 1),
        Change(ChangeKind.BLOCKED, 2),
        Change(ChangeKind.UNBLOCKED, 1),
        Change(ChangeKind.RECEIVED, 3),
        Change(ChangeKind.RECEIVED, 4),
        Change(ChangeKind.COMPLETED, 3),
        Change(ChangeKind.SUBSCRIBED, "a", subscription),
        Change(ChangeKind.SUBSCRIBED, "b", subscription),
        Change(ChangeKind.UNSUBSCRIBED, "a"),
    )
    assert (state.client_id, state.exists, state.connected_before) == ("d", True, True)
    assert (state.blocked, state.received) == ({2}, {4})
    assert state.subscriptions == {"b": subscription}
    state.apply(Change(ChangeKind.INBOUND_CLEARED))
    assert state.received == set()


def test_changing_one_state_changes_no_other_that_came_of_the_same_changes():
    changes = added(stored(1, 1))
    state, other = state_after(*changes), state_after(*changes)
    state.apply(Change(ChangeKind.RELEASED, 1, 0))
    assert other == state_after(*changes)
