"""Packet identifiers in doubt: the store is older than the session of the broker.

QoS 2 uses identifiers only after they were reserved. What is reserved survives the loss
of power; what was stored since then may not.
"""

import pytest

from aiomqtt.protocol.changes import Change, ChangeKind, SessionState
from aiomqtt.protocol.engine import Engine
from aiomqtt.protocol.identifiers import MAXIMUM_IN_DOUBT, RESERVED_AT_A_TIME
from aiomqtt.protocol.outbound import Outbound
from aiomqtt.protocol.packets import Packet
from aiomqtt.protocol.session import Session
from aiomqtt.standard.names import MAXIMUM_PACKET_ID
from aiomqtt.standard.tables import ProtocolVersion, Role
from tests.protocol.engine.client_and_broker import (
    CONNACK,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    Broker,
    Client,
    connect,
    lasting,
    reconnect,
)

BLOCK = RESERVED_AT_A_TIME


def copied(state: SessionState) -> SessionState:
    return Session.restore(state).snapshot()


def go_on(client: Client, stored: SessionState) -> None:
    """Another process goes on with what is stored; the last one was not left."""
    client.stored = copied(stored)
    session = Session.restore(client.stored, is_durable=True)
    client.engine = Engine(client.engine.settings, session)
    # What it stores itself is checked by `handed_over`.
    client.handed_over()


def pubrels(first: int, last: int) -> list[Packet]:
    return [PUBREL(packet_id) for packet_id in range(first, last + 1)]


def pubcomps(first: int, last: int) -> list[Packet]:
    return [PUBCOMP(packet_id) for packet_id in range(first, last + 1)]


def reserved(client: Client) -> tuple[int, int]:
    return client.stored.reserved_first, client.stored.reserved_last


def undone(version: int = 5, messages: int = 2) -> tuple[Client, Broker]:
    """A client whose last messages at QoS 2 were undone, without a connection."""
    client, broker = lasting(version)
    client.publish("t", b"first", 2)
    stored = copied(client.stored)
    broker.sends(PUBREC(1), PUBCOMP(1))
    for number in range(messages):
        client.publish("t", b"%d" % number, 2)
    broker.vanishes()
    broker.read()
    client.events()
    go_on(client, stored)
    return client, broker


def test_the_first_message_at_qos_2_reserves_identifiers(version):
    client, _ = lasting(version)
    client.engine.publish("t", b"", 2, False, None, 0.0)
    output = client.engine.take()
    assert output.changes is not None
    assert output.changes[1:] == [Change(ChangeKind.RESERVED, BLOCK, 1)]


def test_they_are_reserved_before_one_behind_them_is_used():
    client, broker = lasting()
    for packet_id in range(1, BLOCK + 1):
        client.publish("t", b"", 2)
        assert reserved(client) == (1, BLOCK)
        broker.sends(PUBREC(packet_id), PUBCOMP(packet_id))
    client.publish("t", b"", 2)
    assert reserved(client) == (BLOCK + 1, 2 * BLOCK)


def test_a_message_that_waited_reserves_when_it_is_sent():
    client, broker = lasting(connack=CONNACK(receive_maximum=1))
    client.publish("t", b"1", 1)
    client.publish("t", b"2", 2)
    assert reserved(client) == (0, 0)
    broker.sends(PUBACK(1))
    assert reserved(client) == (2, BLOCK + 1)


def test_qos_1_and_requests_reserve_nothing(version):
    client, broker = lasting(version)
    client.publish("t", b"", 1)
    client.subscribe("a")
    assert reserved(client) == (0, 0)
    broker.vanishes()
    go_on(client, client.stored)
    reconnect(client, broker)
    broker.gets(PUBLISH("t", b"", 1, 1, dup=True))


def test_qos_1_behind_what_is_reserved_ends_that():
    client, broker = lasting()
    client.publish("t", b"", 2)
    broker.sends(PUBREC(1), PUBCOMP(1))
    for packet_id in range(2, BLOCK + 1):
        client.publish("t", b"", 1)
        broker.sends(PUBACK(packet_id))
        assert reserved(client) == (1, BLOCK)
    client.subscribe("a")
    assert reserved(client) == (0, 0)
    broker.sends(SUBACK(BLOCK + 1, 0))
    client.publish("t", b"", 2)
    assert reserved(client) == (BLOCK + 2, 2 * BLOCK + 1)


def test_nothing_is_in_doubt_if_the_client_was_left(version):
    client, broker = lasting(version)
    client.publish("t", b"", 2)
    broker.vanishes()
    broker.read()
    client.engine.session.outbound.free_reserved()
    client.handed_over()
    assert reserved(client) == (0, 0)
    go_on(client, client.stored)
    reconnect(client, broker)
    broker.gets(PUBLISH("t", b"", 2, 1, dup=True))
    client.publish("t", b"", 2)
    broker.gets(PUBLISH("t", b"", 2, 2))


@pytest.mark.parametrize("version", [4, 5])
def test_identifiers_in_doubt_are_released_before_anything_is_sent(version):
    client, broker = undone(version)
    reconnect(client, broker)
    # The first one is known.
    broker.gets(*pubrels(2, BLOCK), PUBLISH("t", b"first", 2, 1, dup=True))


@pytest.mark.parametrize("version", [4, 5])
def test_new_messages_get_identifiers_behind_those_in_doubt(version):
    client, broker = undone(version)
    reconnect(client, broker)
    broker.read()
    client.publish("t", b"new", 2)
    broker.gets(PUBLISH("t", b"new", 2, BLOCK + 1))
    # The whole range is in doubt if the power is lost now.
    assert reserved(client) == (1, 2 * BLOCK)
    broker.sends(*pubcomps(2, BLOCK - 1))
    assert reserved(client) == (1, 2 * BLOCK)
    broker.sends(PUBCOMP(BLOCK))
    assert reserved(client) == (BLOCK + 2, 2 * BLOCK)


def test_without_new_messages_nothing_is_reserved_once_they_are_released():
    client, broker = undone()
    reconnect(client, broker)
    assert reserved(client) == (1, BLOCK)
    broker.sends(*pubcomps(2, BLOCK))
    assert reserved(client) == (0, 0)
    client.publish("t", b"", 2)
    assert reserved(client) == (BLOCK + 1, 2 * BLOCK)


def test_a_broker_that_does_not_know_them_answers_so():
    client, broker = undone()
    reconnect(client, broker)
    not_found = (PUBCOMP(one, 0x92) for one in range(2, BLOCK + 1))
    broker.sends(*not_found)
    assert reserved(client) == (0, 0)
    assert not client.is_closed


def test_a_broker_that_sends_pubrec_again_gets_pubrel_again():
    client, broker = undone()
    reconnect(client, broker)
    broker.read()
    broker.sends(PUBREC(2))
    broker.gets(PUBREL(2))
    assert client.events() == []


def test_the_rest_is_released_on_the_next_connection():
    client, broker = undone()
    reconnect(client, broker)
    broker.sends(PUBCOMP(2), PUBCOMP(4))
    broker.read()
    reconnect(client, broker)
    known = PUBLISH("t", b"first", 2, 1, dup=True)
    broker.gets(PUBREL(3), *pubrels(5, BLOCK), known)


def test_a_broker_that_ends_the_connection_for_that_is_not_asked_again():
    client, broker = undone()
    reconnect(client, broker)
    broker.read()
    reconnect(client, broker)
    broker.gets(PUBLISH("t", b"first", 2, 1, dup=True))
    assert reserved(client) == (0, 0)
    # They come last.
    client.publish("t", b"new", 2)
    broker.gets(PUBLISH("t", b"new", 2, BLOCK + 1))


def test_nothing_is_released_if_the_broker_has_lost_the_session(version):
    client, broker = undone(version)
    if version == 3:
        pytest.skip("3.1 does not tell")
    reconnect(client, broker, session_present=False)
    broker.gets(PUBLISH("t", b"first", 2, 1))
    assert reserved(client) == (1, BLOCK)


def test_power_may_be_lost_several_times():
    client, broker = undone()
    known = [PUBLISH("t", b"first", 2, 1, dup=True)]
    for number in range(1, 4):
        reconnect(client, broker)
        broker.read()
        client.publish("t", b"kept", 2)
        stored = copied(client.stored)
        assert reserved(client) == (1, (number + 1) * BLOCK)
        client.publish("t", b"undone", 2)
        known.append(PUBLISH("t", b"kept", 2, number * BLOCK + 1, dup=True))
        go_on(client, stored)
    connect(client, broker, CONNACK(0, True))
    in_doubt = [one for one in range(1, 4 * BLOCK + 1) if one % BLOCK != 1]
    broker.gets(*map(PUBREL, in_doubt), *known)


def test_they_go_around():
    client, broker = lasting()
    start = MAXIMUM_PACKET_ID - 10
    client.engine.session.outbound._last_id = start - 1
    client.stored.last_packet_id = start - 1
    client.publish("t", b"first", 2)
    last = BLOCK - 11
    assert reserved(client) == (start, last)
    broker.vanishes()
    broker.read()
    go_on(client, client.stored)
    reconnect(client, broker)
    in_doubt = [*range(1, last + 1), *range(start + 1, MAXIMUM_PACKET_ID + 1)]
    known = PUBLISH("t", b"first", 2, start, dup=True)
    broker.gets(*map(PUBREL, in_doubt), known)
    broker.sends(*map(PUBCOMP, in_doubt))
    assert reserved(client) == (0, 0)
    client.publish("t", b"new", 2)
    broker.gets(PUBLISH("t", b"new", 2, last + 1))


def test_identifiers_in_doubt_are_left_out_when_they_come_around_again():
    client, broker = undone()
    reconnect(client, broker)
    broker.sends(PUBCOMP(2))
    outbound = client.engine.session.outbound
    outbound._last_id = client.stored.last_packet_id = MAXIMUM_PACKET_ID
    broker.sends(PUBREC(1), PUBCOMP(1))
    broker.read()
    found = [client.publish("t", b"", 1).packet_id for _ in range(3)]
    assert found == [1, 2, BLOCK + 1]


def test_not_all_identifiers_can_be_in_doubt():
    client, broker = undone()
    state = client.stored
    state.reserved_last = state.last_packet_id = MAXIMUM_IN_DOUBT - 10
    go_on(client, state)
    reconnect(client, broker)
    broker.read()
    client.publish("t", b"new", 2)
    first = MAXIMUM_IN_DOUBT - 9
    assert reserved(client) == (first, first + BLOCK - 1)


def test_a_known_client_has_nothing_in_doubt():
    client, broker = lasting()
    client.publish("t", b"1", 2)
    broker.read()
    reconnect(client, broker)
    broker.gets(PUBLISH("t", b"1", 2, 1, dup=True))
    client.publish("t", b"2", 2)
    broker.gets(PUBLISH("t", b"2", 2, 2))


def test_a_broker_reserves_nothing():
    changes: list[Change] = []
    outbound = Outbound(Role.SERVER, changes)
    outbound.open(ProtocolVersion.V5, lambda delivery, now: (b"h", b"t"), 10)
    client, _ = lasting()
    outbound.send(client.engine.prepare("t", b"", 2, False, None), [], 0.0)
    assert [change.kind for change in changes] == [ChangeKind.ADDED]
