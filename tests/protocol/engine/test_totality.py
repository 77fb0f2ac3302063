"""Every delivery and every request ends in exactly one happening, however it ends."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiomqtt.exceptions import MqttError
from aiomqtt.protocol.codec.framing import Decoder
from aiomqtt.protocol.delivery import (
    DONE,
    DROPPED,
    LOST,
    QUEUED,
    RELEASED,
    SENT,
    WITHDRAWN,
    Delivery,
)
from aiomqtt.protocol.dispatch import State
from aiomqtt.protocol.output import Closed, Connected, Happening
from aiomqtt.protocol.packets import Ack, Packet, Publish, Subscribe, Unsubscribe
from aiomqtt.protocol.requests import Request
from aiomqtt.standard.tables import PacketType, Role
from tests.examples import examples

from .client_and_broker import (
    CONNACK,
    DISCONNECT,
    PUBACK,
    PUBCOMP,
    PUBREC,
    SUBACK,
    UNSUBACK,
    Broker,
    Client,
    connected,
    lasting,
    octets,
)

WITH_SESSION_PRESENT = pytest.mark.parametrize("version", [4, 5], ids=["3.1.1", "5.0"])


class Flows:
    """A client with a delivery in each state, and a request of each kind."""

    def __init__(self, client: Client, broker: Broker) -> None:
        self.client = client
        self.released = client.publish("t", b"r", 2)
        broker.sends(PUBREC(1))
        self.sent = client.publish("t", b"s", 1)
        self.queued = client.publish("t", b"q", 1)
        self.requests = [client.subscribe("a"), client.unsubscribe("a")]
        states = [self.released.state, self.sent.state, self.queued.state]
        assert states == [RELEASED, SENT, QUEUED]
        assert client.happenings() == []

    @property
    def deliveries(self) -> list[Delivery]:
        return [self.released, self.sent, self.queued]


def time_out(client: Client, broker: Broker) -> None:
    """Let time go on until the client gives up."""
    while not client.is_closed:
        now = client.engine.deadline()
        assert now is not None
        client.tick(now)


def fail(client: Client, broker: Broker) -> None:
    client.engine.fail(0x93, "of the caller's")
    client.handed_over()


END = Callable[[Client, Broker], None]
ENDS: dict[str, END] = {
    "the connection is lost": lambda client, broker: broker.vanishes(),
    "the program leaves": lambda client, broker: client.disconnect(),
    "the caller gives up": fail,
    "no PINGRESP comes": time_out,
    "the broker breaks a rule": lambda client, broker: broker.sends(octets("f0 00 36")),
    "an answer is of another kind": lambda client, broker: broker.sends(SUBACK(1, 0)),
}
ENDS_5: dict[str, END] = {
    "the broker says so": lambda client, broker: broker.sends(DISCONNECT(0x8B)),
}
EACH_END = pytest.mark.parametrize(
    ("version", "end"),
    [(version, end) for version in (3, 4, 5) for end in ENDS]
    + [(5, end) for end in ENDS_5],
)


@EACH_END
def test_without_a_session_all_ends_with_the_connection(version, end):
    """And behind it: who handles them knows why."""
    client, broker = connected(version, maximum_in_flight=2)
    flows = Flows(client, broker)
    (ENDS | ENDS_5)[end](client, broker)
    closed, *rest = client.happenings()
    assert isinstance(closed, Closed)
    assert rest == flows.requests + flows.deliveries
    assert not any(request.is_answered for request in flows.requests)
    assert [delivery.state for delivery in flows.deliveries] == [LOST] * 3
    client.connect()
    assert client.happenings() == []


@EACH_END
def test_with_a_session_the_deliveries_go_on(version, end):
    client, broker = lasting(version, maximum_in_flight=2)
    flows = Flows(client, broker)
    (ENDS | ENDS_5)[end](client, broker)
    closed, *rest = client.happenings()
    assert isinstance(closed, Closed)
    assert rest == flows.requests


def test_a_session_that_the_disconnect_ends():
    client, broker = lasting(5, maximum_in_flight=2)
    flows = Flows(client, broker)
    client.disconnect(session_expiry_interval=0)
    closed, *rest = client.happenings()
    assert isinstance(closed, Closed)
    assert rest == flows.requests + flows.deliveries


def test_a_session_that_the_program_begins_anew(version):
    client, broker = lasting(version, maximum_in_flight=2)
    flows = Flows(client, broker)
    broker.vanishes()
    client.happenings()
    client.engine.settings = client.engine.settings._replace(clean_start=True)
    client.connect()
    assert client.happenings() == flows.deliveries
    assert [delivery.state for delivery in flows.deliveries] == [LOST] * 3


@WITH_SESSION_PRESENT
def test_a_session_that_the_broker_has_lost(version):
    """Messages that it had received are done; others are sent again, and end once."""
    client, broker = lasting(version, maximum_in_flight=2)
    flows = Flows(client, broker)
    broker.vanishes()
    client.happenings()
    client.connect()
    broker.sends(CONNACK())
    connected, *rest = client.happenings()
    assert isinstance(connected, Connected)
    assert rest == [flows.released]
    broker.sends(PUBACK(1), PUBACK(2))
    assert client.happenings() == [flows.sent, flows.queued]


@pytest.mark.parametrize("is_connected", [True, False])
def test_what_is_dropped(version, is_connected):
    """Without a connection too: `take` hands it over when it is asked."""
    client, broker = lasting(version, maximum_in_flight=2)
    flows = Flows(client, broker)
    if not is_connected:
        broker.vanishes()
        client.happenings()
    for delivery in flows.deliveries:
        assert client.drop(delivery)
        assert not client.drop(delivery)
    assert client.happenings() == flows.deliveries
    assert [delivery.state for delivery in flows.deliveries] == [DROPPED] * 3


def test_what_happened_without_a_connection_waits_for_take(version):
    client, broker = lasting(version, maximum_in_flight=2)
    flows = Flows(client, broker)
    broker.vanishes()
    client.happenings()
    assert client.engine.drop(flows.sent, client.now)
    client.engine.connect()
    output = client.engine.take()
    assert output.happenings == [flows.sent]
    assert Decoder(client.version, Role.CLIENT).feed(b"".join(output.data))


@pytest.mark.parametrize("is_connected", [True, False])
def test_what_is_withdrawn(version, is_connected):
    client, broker = lasting(version, maximum_in_flight=2)
    flows = Flows(client, broker)
    if not is_connected:
        broker.vanishes()
        client.happenings()
    results = [client.withdraw(delivery) for delivery in flows.deliveries]
    assert results == [False, False, True]
    assert not client.withdraw(flows.queued)
    assert client.happenings() == [flows.queued]
    assert flows.queued.state == WITHDRAWN


@pytest.mark.parametrize("answer", ["SUBACK", "UNSUBACK"])
def test_what_is_answered(version, answer):
    client, broker = connected(version)
    requests = [client.subscribe("a"), client.unsubscribe("a")]
    code = (0,) if version == 5 else ()
    broker.sends(SUBACK(1, 0) if answer == "SUBACK" else UNSUBACK(2, *code))
    answered, other = requests if answer == "SUBACK" else requests[::-1]
    assert client.happenings() == [answered]
    assert (answered.is_answered, other.is_answered) == (True, False)
    broker.vanishes()
    assert client.happenings()[1:] == [other]


# --- whatever happens --------------------------------------------------------------

STEPS = st.sampled_from(
    (
        "publish 1",
        "publish 2",
        "subscribe",
        "unsubscribe",
        "answer",
        "answer",
        "refuse",
        "drop",
        "withdraw",
        "vanish",
        "leave",
        "end session",
        "connect",
        "connect anew",
    )
)


class Watched:
    """A client of which is known what it has begun, and what of that has ended."""

    def __init__(self, version: int) -> None:
        self.client, self.broker = lasting(version, maximum_in_flight=2)
        self.begun: list[Delivery | Request] = []
        self.ended: list[Happening] = []
        # What the broker has not answered, on this connection.
        self.unanswered: list[Packet] = []
        self.note()

    def step(self, name: str, which: int) -> None:
        engine, client, broker = self.client.engine, self.client, self.broker
        kind, _, rest = name.partition(" ")
        unfinished = engine.session.outbound.unfinished()
        if kind == "connect":
            if client.is_closed:
                client.connect()
                # What was published goes on where the broker has the session.
                has_session = engine.session.exists and rest != "anew"
                is_told = has_session and client.version >= 4
                broker.sends(CONNACK(0, is_told))
                assert engine.state is State.CONNECTED
        elif kind == "drop" and unfinished:
            assert client.drop(unfinished[which % len(unfinished)])
        elif kind == "withdraw" and unfinished:
            client.withdraw(unfinished[which % len(unfinished)])
        elif client.is_closed:
            pass
        elif kind == "publish":
            self.begun.append(client.publish("t", b"x", int(rest)))
        elif kind == "subscribe":
            self.begun.append(client.subscribe("a"))
        elif kind == "unsubscribe":
            self.begun.append(client.unsubscribe("a"))
        elif kind in ("answer", "refuse") and self.unanswered:
            packet = self.unanswered.pop(which % len(self.unanswered))
            broker.sends(self.answer(packet, 0x80 if kind == "refuse" else 0))
        elif kind == "vanish":
            broker.vanishes()
        elif kind == "leave":
            client.disconnect()
        elif name == "end session" and client.version == 5:
            client.disconnect(session_expiry_interval=0)
        self.note()

    def answer(self, packet: Packet, code: int) -> Packet:
        if self.client.version < 5:
            code = 0
        if isinstance(packet, Publish):
            reply = PUBACK if packet.qos == 1 else PUBREC
            return reply(packet.mid, code)
        if isinstance(packet, Subscribe):
            return SUBACK(packet.packet_id, code)
        if isinstance(packet, Unsubscribe):
            codes = (code,) if self.client.version == 5 else ()
            return UNSUBACK(packet.packet_id, *codes)
        assert isinstance(packet, Ack)
        assert packet.kind is PacketType.PUBREL
        return PUBCOMP(packet.packet_id)

    def note(self) -> None:
        """See what was written and what happened, and that it is all of it."""
        happenings = self.client.happenings()
        for packet in Decoder(self.client.version, Role.CLIENT).feed(
            self.broker.read()
        ):
            if packet.kind is PacketType.CONNECT:
                self.unanswered.clear()
            elif packet.kind is not PacketType.DISCONNECT:
                self.unanswered.append(packet)
        if self.client.is_closed:
            self.unanswered.clear()
        self.ended += [
            item for item in happenings if isinstance(item, Delivery | Request)
        ]
        assert len(self.ended) == len(set(map(id, self.ended)))
        requests = self.client.engine._requests._requests.values()
        for item in self.begun:
            if isinstance(item, Delivery):
                is_over = item.state >= DONE
            else:
                is_over = item not in requests
            assert is_over == (item in self.ended)


@examples(150)
@given(
    st.sampled_from([3, 4, 5]),
    st.lists(st.tuples(STEPS, st.integers(0, 5)), min_size=5, max_size=60),
)
def test_whatever_happens_all_that_was_begun_ends_once(version, steps):
    watched = Watched(version)
    for name, which in steps:
        watched.step(name, which)
    # The session ends, and with it all that is left.
    client = watched.client
    client.engine.settings = client.engine.settings._replace(clean_start=True)
    client.engine.connection_lost(MqttError("lost"))
    client.connect()
    watched.note()
    assert {id(item) for item in watched.begun} == {id(item) for item in watched.ended}
