"""A session that is stored: at every moment, what was stored is what there is.

Each client of `client_and_broker` has a durable session, and `handed_over` compares it
with what its changes have made of an empty one.
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiomqtt.properties import Properties, SubscribeOptions
from aiomqtt.protocol.changes import StoredSubscription
from aiomqtt.protocol.delivery import QUEUED, RELEASED, SENT, Delivery
from aiomqtt.protocol.engine import Engine
from aiomqtt.protocol.output import Arrived, Closed, Connected, Happening
from aiomqtt.protocol.requests import Request
from aiomqtt.protocol.session import Session
from aiomqtt.protocol.settings import Settings
from aiomqtt.standard.tables import PacketType, ProtocolVersion
from tests.examples import examples

from .client_and_broker import (
    CONNACK,
    PUBACK,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    UNSUBACK,
    Broker,
    Client,
    connect,
    connected,
    lasting,
    reconnect,
)
from .test_totality import STEPS, Watched


def leave(client: Client) -> None:
    """The program leaves the client: nobody will use what is reserved."""
    client.engine.session.outbound.free_reserved()
    client.handed_over()


def restart(client: Client, **settings: Any) -> None:
    """Another process goes on, with what is stored and nothing else."""
    leave(client)
    engine = client.engine
    session = Session.restore(client.stored, is_durable=True)
    client.engine = Engine(engine.settings._replace(**settings), session)


def brief(happening: Happening) -> object:
    """Describe a happening, to compare it with one of another engine."""
    if isinstance(happening, Arrived):
        return [(message.payload, message.mid) for message in happening.messages]
    if isinstance(happening, Delivery):
        code, answer = happening.reason_code, happening.answer
        return happening.sequence, happening.state, int(code), answer
    if isinstance(happening, Connected):
        return happening.connack
    if isinstance(happening, Closed):
        return str(happening.error)
    assert isinstance(happening, Request)
    return happening.packet_id, happening.is_answered, happening.reason_codes


class Recorded(Watched):
    """A client whose bytes and happenings are recorded."""

    def __init__(self, version: int) -> None:
        self.record: list[object] = []
        super().__init__(version)

    def step(self, name: str, which: int) -> None:
        client, broker = self.client, self.broker
        if name == "wait":
            client.now += 1.7
        elif not client.is_closed:
            if name == "message" and client.version == 5:
                qos = 1 + which % 2
                expiry = 5 if which < 4 else None
                client.publish(
                    "a/b",
                    b"y",
                    qos,
                    retain=which == 3,
                    message_expiry_interval=expiry,
                    user_property=[("a", "b")],
                )
            elif name == "receive":
                broker.sends(PUBLISH("r", b"z", 2, 1 + which))
            elif name == "release":
                broker.sends(PUBREL(1 + which))
        super().step(name, which)

    def note(self) -> None:
        client = self.client
        self.record.append((client.written, list(map(brief, client._happenings))))
        super().note()
        # What it has acknowledged is not waiting for an answer.
        self.unanswered = [
            packet
            for packet in self.unanswered
            if packet.kind not in (PacketType.PUBREC, PacketType.PUBCOMP)
        ]


ALL_STEPS = st.tuples(
    st.one_of(
        STEPS,
        st.sampled_from(["message", "receive", "release", "wait"]),
    ),
    st.integers(0, 5),
)


@examples(50)
@given(st.sampled_from([3, 4, 5]), st.lists(ALL_STEPS, min_size=1, max_size=12))
def test_at_every_step_a_stored_session_goes_on_as_the_one_that_was(version, steps):
    for cut in range(len(steps) + 1):
        same, other = Recorded(version), Recorded(version)
        for watched in (same, other):
            for step in steps[:cut]:
                watched.step(*step)
            watched.step("vanish", 0)
        leave(same.client)
        restart(other.client)
        for watched in (same, other):
            for step in [*steps[cut:], ("connect", 0)]:
                watched.step(*step)
        assert same.record == other.record
        assert same.client.stored == other.client.stored


@examples(100)
@given(st.sampled_from([3, 4, 5]), st.lists(ALL_STEPS, min_size=10, max_size=80))
def test_at_every_step_the_changes_make_of_what_was_stored_what_there_is(
    version, steps
):
    # See `Client.handed_over`.
    watched = Recorded(version)
    for step in steps:
        watched.step(*step)
        if watched.client.is_closed:
            restart(watched.client)


def in_each_state(version: int) -> tuple[Client, Broker]:
    """A client with a delivery that is released, one sent and one queued."""
    client, broker = lasting(version, maximum_in_flight=2)
    client.publish("t", b"1", 2)
    broker.sends(PUBREC(1))
    client.publish("t", b"2", 1, retain=True)
    client.publish("t", b"3", 2)
    broker.read()
    return client, broker


def test_what_is_stored_of_messages(version):
    client, _ = in_each_state(version)
    stored = client.engine.session.snapshot()
    [received], [sent, queued] = stored.in_order
    assert (received.state, sent.state, queued.state) == (RELEASED, SENT, QUEUED)
    assert (received.packet_id, sent.packet_id, queued.packet_id) == (1, 2, 0)
    # Of what the broker has, only the identifier counts.
    assert [item.payload for item in (received, sent, queued)] == [b"", b"2", b"3"]
    assert [item.qos for item in (received, sent, queued)] == [2, 1, 2]
    assert (sent.topic, sent.retain, queued.retain) == ("t", True, False)


def test_a_snapshot_stays_as_it_is(version):
    client, broker = in_each_state(version)
    session = client.engine.session
    before, same = session.snapshot(), session.snapshot()
    assert before == same
    broker.sends(PUBACK(2), PUBREC(3))
    assert before == same
    assert session.snapshot() != before


@pytest.mark.conformance("5.0", "MQTT-4.4.0-1", "MQTT-3.3.1-1", "MQTT-4.6.0-1")
def test_another_process_sends_again_what_was_not_acknowledged(version):
    client, broker = in_each_state(version)
    broker.vanishes()
    restart(client)
    reconnect(client, broker)
    broker.gets(PUBREL(1), PUBLISH("t", b"2", 1, 2, dup=True, retain=True))
    broker.sends(PUBACK(2))
    broker.gets(PUBLISH("t", b"3", 2, 3))


def test_a_session_does_not_depend_on_the_version():
    client, broker = lasting(5)
    client.publish("t", b"1", 1, content_type="c", message_expiry_interval=9)
    client.publish("t", b"2", 2)
    broker.read()
    broker.vanishes()
    restart(client, version=ProtocolVersion.V311, clean_start=False, properties=None)
    client.version = broker.version = ProtocolVersion.V311
    connect(client, broker, CONNACK(0, True))
    broker.gets(PUBLISH("t", b"1", 1, 1, dup=True), PUBLISH("t", b"2", 2, 2, dup=True))


def test_what_a_session_knows_of_a_topic_alias_is_the_topic():
    client, broker = lasting(connack=CONNACK(topic_alias_maximum=1, receive_maximum=1))
    client.publish("t", b"1", 1, topic_alias=1)
    client.publish("", b"2", 1, topic_alias=1)
    broker.vanishes()
    restart(client)
    reconnect(client, broker)
    broker.read()
    _, unreceived = client.stored.in_order
    assert [stored.topic for stored in unreceived] == ["t", "t"]
    assert [stored.properties for stored in unreceived] == [None, None]


def test_a_message_is_not_delivered_twice_by_another_process(version):
    client, broker = lasting(version)
    broker.sends(PUBLISH("t", b"", 2, 7))
    assert len(client.messages()) == 1
    broker.vanishes()
    restart(client)
    reconnect(client, broker)
    broker.sends(PUBLISH("t", b"", 2, 7, dup=True))
    assert client.messages() == []


def test_the_changes_come_with_the_bytes_that_depend_on_them(version):
    client, _ = lasting(version)
    client.engine.publish("t", b"", 1, False, None, 0.0)
    output = client.engine.take()
    assert output.changes is not None
    assert [change.kind for change in output.changes] == ["added"]
    assert b"".join(output.data)
    assert client.engine.take().changes is None


def test_a_session_that_is_not_durable_records_nothing(version):
    engine = Engine(Settings(ProtocolVersion(version), "c"))
    engine.connect()
    assert engine.take().changes is None
    assert not engine.session.has_changes
    assert engine.session.take_changes() == []


# --- subscriptions ---------------------------------------------------------------


def test_the_subscriptions_are_those_that_were_granted(version):
    client, broker = lasting(version)
    options = SubscribeOptions(1)
    session = client.engine.session
    client.subscribe("a", "b", "c", qos=1)
    assert session.subscriptions == {}
    broker.sends(SUBACK(1, 0, 0x80, 1))
    granted = StoredSubscription(options, 0)
    assert session.subscriptions == {"a": granted, "c": granted}
    client.unsubscribe("a", "b")
    assert session.subscriptions == {"a": granted, "c": granted}
    broker.sends(UNSUBACK(2, *((0, 0x11) if version == 5 else ())))
    assert session.subscriptions == {"c": granted}


def test_a_subscription_that_the_broker_does_not_end_goes_on():
    client, broker = lasting()
    client.subscribe("a", "b")
    client.unsubscribe("a", "b")
    broker.sends(SUBACK(1, 0, 0), UNSUBACK(2, 0x87, 0))
    assert [*client.engine.session.subscriptions] == ["a"]


def test_a_subscription_has_its_options_and_its_identifier():
    client, broker = lasting()
    options = SubscribeOptions(2, no_local=True, retain_handling=2)
    properties = Properties(subscription_identifier=5)
    client.engine.subscribe([("a", options)], properties)
    broker.sends(SUBACK(1, 2))
    assert client.engine.session.subscriptions == {"a": StoredSubscription(options, 5)}
    # The last one counts.
    client.subscribe("a")
    broker.sends(SUBACK(2, 0))
    broker.vanishes()
    restart(client)
    expected = {"a": StoredSubscription(SubscribeOptions(), 0)}
    assert client.engine.session.subscriptions == expected


def test_subscriptions_stay_where_the_broker_has_lost_the_session(version):
    """It is for the caller to ask for them again."""
    client, broker = lasting(version)
    client.subscribe("a")
    broker.sends(SUBACK(1, 0))
    reconnect(client, broker, session_present=False)
    assert [*client.engine.session.subscriptions] == ["a"]


def test_subscriptions_end_with_the_session(version):
    client, broker = connected(version)
    client.subscribe("a")
    broker.sends(SUBACK(1, 0))
    broker.vanishes()
    assert client.engine.session.subscriptions == {}
