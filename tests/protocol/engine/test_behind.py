"""Messages that wait, and that only the store has: the engine reads them later."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiomqtt.exceptions import MqttCodeError
from aiomqtt.protocol.changes import SessionState, StoredDelivery
from aiomqtt.protocol.delivery import DONE, DROPPED, LOST, QUEUED, WITHDRAWN, Delivery
from aiomqtt.protocol.engine import Engine
from aiomqtt.protocol.session import Session
from tests.examples import examples

from .client_and_broker import (
    CONNACK,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    Broker,
    Client,
    connect,
    lasting,
    reconnect,
)


def waiting(
    version: int, payloads: list[bytes], window: int, qos: int = 1, **options: Any
) -> tuple[Client, Broker]:
    """A client that was started again, and has read only the first messages."""
    client, broker = lasting(version, **options)
    broker.vanishes()
    for payload in payloads:
        client.engine.session.enqueue(
            client.engine.prepare("t", payload, qos, False, None), 0.0
        )
        client.handed_over()
    client.events()
    start_again(client, window)
    return client, broker


def start_again(client: Client, window: int) -> None:
    read = SessionState(client.stored.client_id)
    for name in ("exists", "connected_before", "last_packet_id", "last_sequence"):
        setattr(read, name, getattr(client.stored, name))
    left: list[StoredDelivery] = []
    for sequence, delivery in client.stored.deliveries.items():
        if delivery.state == QUEUED and not window:
            left.append(delivery)
            continue
        window -= delivery.state == QUEUED
        read.deliveries[sequence] = delivery
    size = sum(len(one.topic) + len(one.payload) for one in left)
    settings = client.engine.settings
    client.engine = Engine(settings, Session(settings.client_id, is_durable=True))
    qos0 = sum(not one.qos for one in left)
    client.engine.restore(read, len(left), size, qos0)


def load(client: Client, count: int = 1) -> list[Delivery]:
    """Read the next ones from the store."""
    known = {one.sequence for one in client.engine.session.outbound.unfinished()}
    page = [
        one
        for sequence, one in client.stored.deliveries.items()
        if one.state == QUEUED and sequence not in known
    ]
    loaded = client.engine.load_behind(page[:count], client.now)
    client.handed_over()
    return loaded


def test_they_leave_in_order_and_before_what_is_published_since(version):
    client, broker = waiting(version, [b"1", b"2", b"3"], 1)
    outbound = client.engine.session.outbound
    assert (len(outbound), outbound.queued, outbound.behind) == (1, 3, 2)
    assert outbound.behind_size == 4
    reconnect(client, broker)
    broker.gets(PUBLISH("t", b"1", 1, 1))
    # The quota has room, but the second one goes before the fourth.
    fourth = client.publish("t", b"4", 1)
    assert fourth.state == QUEUED
    broker.gets_nothing()
    load(client)
    broker.gets(PUBLISH("t", b"2", 1, 2))
    load(client)
    broker.gets(PUBLISH("t", b"3", 1, 3), PUBLISH("t", b"4", 1, 4))
    assert (outbound.behind, outbound.behind_size, outbound.queued) == (0, 0, 0)
    client.publish("t", b"5", 1)
    broker.gets(PUBLISH("t", b"5", 1, 5))


def test_qos_0_does_not_overtake_them(version):
    client, broker = waiting(version, [b"1", b"2"], 0, qos=0)
    reconnect(client, broker)
    third = client.publish("t", b"3")
    assert third.state == QUEUED
    broker.gets_nothing()
    load(client, 2)
    broker.gets(PUBLISH("t", b"1"), PUBLISH("t", b"2"), PUBLISH("t", b"3"))
    assert third.state == DONE
    assert client.publish("t", b"4") is None


def test_qos_0_does_not_wait_for_others(version):
    client, broker = waiting(version, [b"1", b"2"], 0)
    reconnect(client, broker)
    assert client.publish("t", b"3") is None
    broker.gets(PUBLISH("t", b"3"))


@pytest.mark.parametrize("version", [4, 5])
def test_what_was_sent_and_a_birth_message_go_first(version):
    client, broker = waiting(version, [b"1", b"2", b"3"], 1)
    reconnect(client, broker)
    broker.gets(PUBLISH("t", b"1", 1, 1))
    broker.vanishes()
    client.engine.is_continuous = True
    client.engine.birth = client.engine.prepare("t", b"birth", 1, False, None)
    # The broker has lost the session.
    connect(client, broker, CONNACK())
    broker.gets(PUBLISH("t", b"birth", 1, 1), PUBLISH("t", b"1", 1, 2))
    load(client, 2)
    broker.gets(PUBLISH("t", b"2", 1, 3), PUBLISH("t", b"3", 1, 4))


def test_those_that_the_broker_does_not_accept_end_when_they_are_read():
    client, broker = waiting(5, [b"1", b"1" * 100, b"3"], 1)
    reconnect(client, broker, maximum_packet_size=50)
    broker.gets(PUBLISH("t", b"1", 1, 1))
    [third] = load(client, 2)
    broker.gets(PUBLISH("t", b"3", 1, 2))
    [refused] = client.events()
    assert isinstance(refused, Delivery)
    assert (refused.reason_code, third.payload) == (0x95, b"3")


def test_what_waits_behind_them_can_be_taken_back(version):
    client, broker = waiting(version, [b"1", b"2"], 1)
    reconnect(client, broker)
    broker.gets(PUBLISH("t", b"1", 1, 1))
    third, fourth = client.publish("t", b"3", 1), client.publish("t", b"4", 1)
    assert client.withdraw(third)
    assert client.drop(fourth)
    assert (third.state, fourth.state) == (WITHDRAWN, DROPPED)
    load(client)
    broker.gets(PUBLISH("t", b"2", 1, 2))
    assert client.engine.session.outbound.queued == 0


def test_all_are_dropped(version):
    client, broker = waiting(version, [b"1", b"2", b"3", b"4"], 1)
    reconnect(client, broker)
    broker.gets(PUBLISH("t", b"1", 1, 1))
    fifth = client.publish("t", b"5", 1)
    assert client.engine.drop_all(client.now) == 5
    client.handed_over()
    client.publish("t", b"6", 1)
    assert fifth.state == DROPPED
    assert load(client) == load(client) == load(client) == []
    broker.gets(PUBLISH("t", b"6", 1, 2))
    outbound = client.engine.session.outbound
    assert (outbound.behind, outbound.drops_behind, outbound.dropped) == (0, False, 5)
    assert [*client.stored.deliveries] == [6]


def test_they_end_with_their_session(version):
    client, _ = waiting(version, [b"1", b"2", b"3"], 1)
    client.engine.session.clear()
    outbound = client.engine.session.outbound
    assert (outbound.behind, outbound.behind_size, outbound.queued_qos0) == (0, 0, 0)
    assert outbound.lost == 3
    client.handed_over()
    assert not client.stored.deliveries


def test_those_that_could_not_be_stored_are_lost(version):
    client, _ = waiting(version, [b"1", b"2"], 1)
    engine = client.engine
    third = engine.prepare("t", b"3", 1, False, None)
    engine.enqueue(third, 0.0)
    engine.session.forget_unstored(engine.take().changes or [])
    assert third.state == LOST


def test_they_count_towards_the_limit(version):
    client, broker = waiting(version, [b"1", b"2"], 1, maximum_queued=4)
    reconnect(client, broker)
    for payload in (b"3", b"4"):
        client.publish("t", payload, 1)
    with pytest.raises(MqttCodeError, match="4 are unfinished already"):
        client.publish("t", b"5", 1)


STEPS = st.lists(
    st.sampled_from(["publish 0", "publish 1", "publish 2", "answer", "new", "same"]),
    max_size=30,
)


@pytest.mark.parametrize("version", [4, 5])
@examples(30)
@given(
    steps=STEPS,
    count=st.integers(0, 12),
    window=st.integers(0, 4),
    page=st.integers(1, 3),
    quota=st.integers(1, 3),
)
def test_the_broker_does_not_see_how_many_were_read(
    version, steps, count, window, page, quota
):
    payloads = [b"%d" % number for number in range(count)]
    options = {"maximum_in_flight": quota}
    sides = [
        waiting(version, payloads, size, 1 + count % 2, **options)
        for size in (count, window)
    ]
    for number, step in enumerate(["same", *steps]):
        written = [take_step(*side, step, b"new %d" % number, page) for side in sides]
        assert written[0] == written[1]
    for client, _ in sides:
        load_all(client, 100)
    one, other = (client.stored for client, _ in sides)
    assert one == other


def take_step(
    client: Client, broker: Broker, step: str, payload: bytes, page: int
) -> bytes:
    """Take a step, and return what the broker got."""
    kind, _, qos = step.partition(" ")
    if kind == "publish":
        client.publish("t", payload, int(qos))
    elif kind == "answer":
        for delivery in client.engine.session.outbound.unfinished():
            if delivery.packet_id:
                kinds = [PUBREC, PUBCOMP] if delivery.qos == 2 else [PUBACK]
                broker.sends(*(kind(delivery.packet_id) for kind in kinds))
                break
    else:
        reconnect(client, broker, session_present=kind == "same")
    load_all(client, page)
    return broker.read()


def load_all(client: Client, page: int) -> None:
    """Read on, until some can't be sent yet."""
    outbound = client.engine.session.outbound
    while outbound.behind and not outbound.next_queued:
        load(client, page)
