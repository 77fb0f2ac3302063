"""The limits of the messages that wait for a connection, with a time of the test."""

import pytest

from aiomqtt.client.offline import OfflineQueue
from aiomqtt.client.queued_messages import SPARE, QueuedMessages
from aiomqtt.exceptions import MqttCodeError
from aiomqtt.properties import Properties
from aiomqtt.protocol.delivery import (
    DELIVERY_SIZE,
    DISPLACED,
    EXPIRED,
    OMITTED,
    OUTDATED,
    QUEUED,
    SENT,
    WITHDRAWN,
    Delivery,
)
from aiomqtt.protocol.engine import Engine
from aiomqtt.protocol.output import Connected
from aiomqtt.protocol.session import Session
from aiomqtt.protocol.settings import Settings
from aiomqtt.standard.tables import ProtocolVersion

V5 = ProtocolVersion.V5
# A CONNACK that accepts, without properties.
ACCEPTED = bytes.fromhex("20 03 00 00 00")


class Queue:
    """Queued messages of a client without a connection."""

    def __init__(self, **limits):
        settings = Settings(V5, "c", properties=Properties(session_expiry_interval=9))
        self.engine = Engine(settings, Session("c"))
        self.engine.is_continuous = True
        self.engine.session.outbound.drops_expired = True
        self.messages = QueuedMessages(self.engine, OfflineQueue(**limits))
        self.now = 0.0

    def accept(self, payload=b"", qos=1, topic="t", **properties):
        values = Properties(**properties) if properties else None
        delivery = self.engine.prepare(topic, payload, qos, False, values)
        self.messages.accept(delivery, self.now)
        return delivery

    def send(self, qos=1):
        """Send a message on a connection, which ends before its acknowledgement."""
        self.engine.connect()
        self.engine.receive(ACCEPTED, self.now)
        sent = self.engine.publish("t", b"", qos, False, None, self.now)
        self.engine.connection_lost(MqttCodeError(4))
        self.happenings()
        return sent

    def happenings(self):
        """Return the deliveries that have ended since the last call."""
        taken = self.engine.take().happenings
        return [item for item in taken if isinstance(item, Delivery)]


def test_messages_wait_in_order():
    queue = Queue()
    deliveries = [queue.accept(b"%d" % n, n % 3) for n in range(5)]
    outbound = queue.engine.session.outbound
    assert outbound.unfinished() == deliveries
    assert queue.messages.deadline() is None
    assert queue.happenings() == []


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_full_queue_refuses(qos):
    queue = Queue(max_messages=2)
    queue.accept(qos=qos)
    queue.accept()
    with pytest.raises(MqttCodeError, match="2 messages wait, as many as max_messages"):
        queue.accept(qos=qos)
    assert len(queue.engine.session.outbound) == 2


def test_the_size_counts_what_is_kept():
    size = len(b"\x32\x09\x00\x01t\x00\x01\x00xxx") + DELIVERY_SIZE
    queue = Queue(max_bytes=2 * size)
    queue.accept(b"xxx")
    with pytest.raises(MqttCodeError, match=f"{size} of the {2 * size} bytes that max"):
        queue.accept(b"xxxx")
    queue.accept(b"xxx")
    assert queue.happenings() == []
    with pytest.raises(MqttCodeError, match=rf"^\[code:15\] .* takes {size + 998} byt"):
        queue.accept(b"x" * 1000)


def test_the_oldest_make_way_for_a_new_message():
    queue = Queue(max_messages=3, overflow="drop_oldest")
    first, second, third = (queue.accept(qos=qos) for qos in (1, 0, 2))
    fourth = queue.accept()
    assert queue.happenings() == [first]
    fifth = queue.accept()
    assert queue.happenings() == [second]
    assert (first.state, second.state) == (DISPLACED, DISPLACED)
    assert queue.engine.session.outbound.unfinished() == [third, fourth, fifth]
    assert queue.engine.session.outbound.dropped == 2


def test_as_many_make_way_as_a_large_message_needs():
    small = 11 + DELIVERY_SIZE
    queue = Queue(max_bytes=4 * small, overflow="drop_oldest")
    kept = [queue.accept(b"xxx") for _ in range(4)]
    large = queue.accept(b"x" * (2 + small))
    assert queue.happenings() == kept[:2]
    with pytest.raises(MqttCodeError, match="that max_bytes allows are in use"):
        queue.accept(b"x" * 4 * small)
    # Nothing was dropped for what does not fit in any case.
    assert queue.engine.session.outbound.unfinished() == [*kept[2:], large]


@pytest.mark.parametrize("overflow", ["fail", "drop_oldest"])
def test_what_was_sent_counts_and_is_not_dropped(overflow):
    queue = Queue(max_messages=2, overflow=overflow)
    sent = [queue.send(), queue.send(2)]
    with pytest.raises(MqttCodeError, match="2 messages wait, as many as max_messages"):
        queue.accept()
    assert [delivery.state for delivery in sent] == [SENT, SENT]
    assert queue.engine.session.outbound.unfinished() == sent


def test_qos_0_may_be_dropped_at_once():
    queue = Queue(qos0="drop", max_messages=1)
    first, kept, third = queue.accept(qos=0), queue.accept(qos=1), queue.accept(qos=0)
    assert (first.state, kept.state, third.state) == (OMITTED, QUEUED, OMITTED)
    outbound = queue.engine.session.outbound
    assert (outbound.unfinished(), outbound.dropped) == ([kept], 2)
    assert queue.happenings() == []


def test_a_message_is_dropped_when_it_gets_too_old():
    queue = Queue(max_age=10)
    first = queue.accept(qos=0)
    queue.now = 4.0
    second = queue.accept(qos=2)
    assert queue.messages.deadline() == 10.0
    queue.messages.expire(9.9)
    assert queue.happenings() == []
    queue.messages.expire(10.0)
    assert queue.happenings() == [first]
    assert queue.messages.deadline() == 14.0
    queue.messages.expire(20.0)
    assert queue.happenings() == [second]
    assert (first.state, second.state) == (OUTDATED, OUTDATED)
    assert queue.messages.deadline() is None


def test_the_message_expiry_interval_may_come_first():
    queue = Queue(max_age=10)
    later = queue.accept(message_expiry_interval=11)
    sooner = queue.accept(message_expiry_interval=9)
    queue.messages.expire(10.0)
    assert queue.happenings() == [sooner, later]
    assert (sooner.state, later.state) == (EXPIRED, OUTDATED)
    outbound = queue.engine.session.outbound
    assert (outbound.expired, outbound.dropped) == (1, 1)


def test_a_message_that_has_expired_makes_room():
    queue = Queue(max_messages=1)
    expired = queue.accept(message_expiry_interval=5)
    queue.now = 5.0
    kept = queue.accept()
    assert queue.happenings() == [expired]
    assert queue.engine.session.outbound.unfinished() == [kept]


def test_what_was_sent_in_time_does_not_get_too_old():
    queue = Queue(max_age=10)
    sent, withdrawn = queue.accept(), queue.accept()
    assert queue.engine.withdraw(withdrawn, queue.now)
    queue.engine.connect()
    queue.engine.receive(ACCEPTED, 1.0)
    happened = queue.engine.take().happenings
    assert [type(item) for item in happened] == [Delivery, Connected]
    assert (sent.state, withdrawn.state) == (SENT, WITHDRAWN)
    assert queue.messages.deadline() is None
    queue.messages.expire(20.0)
    assert sent.state == SENT


def test_times_of_messages_that_are_gone_are_forgotten():
    queue = Queue(max_age=1000, max_messages=10, overflow="drop_oldest")
    for _ in range(3 * SPARE):
        queue.accept()
    assert len(queue.messages._due) <= SPARE + 2 * 10 + 1
    assert queue.messages.deadline() == 1000.0


def test_a_topic_alias_needs_a_topic_without_a_connection():
    queue = Queue(max_messages=1, overflow="drop_oldest")
    kept = queue.accept(topic_alias=1)
    with pytest.raises(ValueError, match="a topic is needed without a connection"):
        queue.accept(topic="", topic_alias=1)
    assert queue.happenings() == []
    assert kept.state == QUEUED
