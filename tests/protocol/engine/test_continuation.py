"""A continuous engine: what outlasts a connection, whether the session does or not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiomqtt.exceptions import MqttCodeError, MqttError
from aiomqtt.properties import Properties, SubscribeOptions
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.protocol.codec.framing import Decoder
from aiomqtt.protocol.delivery import DONE, LOST, QUEUED, SENT
from aiomqtt.protocol.output import Closed, Connected
from aiomqtt.protocol.packets import Packet, Subscribe, Unsubscribe
from aiomqtt.protocol.requests import Request
from aiomqtt.standard.tables import PacketType, ProtocolVersion, Role
from tests.examples import examples

from .client_and_broker import (
    CONNACK,
    PUBACK,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    Broker,
    Client,
    connect,
    connected,
    lasting,
    reconnect,
)

VERSIONS = (3, 4, 5)


def continuous(
    version: int = 5, is_lasting: bool = True, **settings: Any
) -> tuple[Client, Broker]:
    """A connected client whose engine is continuous, and its broker."""
    client, broker = (lasting if is_lasting else connected)(version, **settings)
    client.engine.is_continuous = True
    return client, broker


def granted(client: Client, broker: Broker, *filters: str, **properties: Any) -> None:
    """Subscribe, and let the broker grant it."""
    request = client.subscribe(*filters, qos=1, **properties)
    broker.sends(SUBACK(request.packet_id, *[1] * len(filters)))
    client.events()
    broker.read()


def packets(client: Client, broker: Broker) -> list[Any]:
    """What the client has written."""
    return Decoder(client.version, Role.CLIENT).feed(broker.read())


def intent(client: Client) -> set[str]:
    return set(client.engine.session.subscriptions)


# --- subscriptions: {session kept, lost} x {answer received, pending} -------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("is_lasting", "is_kept"),
    [(True, True), (True, False), (False, False)],
    ids=["kept", "lost", "not lasting"],
)
def test_a_granted_subscription_is_restored_when_it_was_lost(
    version, is_lasting, is_kept
):
    client, broker = continuous(version, is_lasting)
    granted(client, broker, "a", "b")
    broker.vanishes()
    [closed] = client.happenings()
    assert isinstance(closed, Closed)
    assert intent(client) == {"a", "b"}
    reconnect(client, broker, session_present=is_kept)
    if is_kept and version > 3:
        broker.gets_nothing()
    else:
        # 3.1 does not say whether the session was kept.
        packet_id = 2 if is_lasting and version == 3 else 1
        broker.gets(SUBSCRIBE(packet_id, "a", "b", qos=1))
    assert intent(client) == {"a", "b"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "lost"])
def test_an_unanswered_subscribe_is_written_again(version, is_kept):
    client, broker = continuous(version)
    granted(client, broker, "old")
    request = client.subscribe("a", qos=1)
    assert request.packet_id == 2
    broker.vanishes()
    assert [type(item) for item in client.happenings()] == [Closed]
    reconnect(client, broker, session_present=is_kept)
    written = packets(client, broker)
    assert all(isinstance(packet, Subscribe) for packet in written)
    filters = [[name for name, _ in packet.subscriptions] for packet in written]
    restores = not is_kept or version == 3
    assert filters == [["old"]] * restores + [["a"]]
    # Its identifier is one of this connection.
    assert request.packet_id == written[-1].packet_id
    for packet in written:
        broker.sends(SUBACK(packet.packet_id, 1))
    assert client.events()[-1] is request
    assert request.is_answered
    assert intent(client) == {"old", "a"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "lost"])
def test_an_unanswered_unsubscribe_is_written_again_and_nothing_is_restored(
    version, is_kept
):
    client, broker = continuous(version)
    granted(client, broker, "a", "b")
    request = client.unsubscribe("a")
    reconnect(client, broker, session_present=is_kept)
    written = packets(client, broker)
    restores = not is_kept or version == 3
    if restores:
        restored = written.pop(0)
        assert isinstance(restored, Subscribe)
        assert [name for name, _ in restored.subscriptions] == ["b"]
        broker.sends(SUBACK(restored.packet_id, 1))
    [again] = written
    assert isinstance(again, Unsubscribe)
    assert again.filters == ["a"]
    broker.sends(UNSUBACK(again.packet_id, *[0] * (version == 5)))
    assert client.events()[-1] is request
    assert intent(client) == {"b"}


def test_an_unanswered_subscribe_replaces_the_subscription_that_was_lost():
    client, broker = continuous()
    granted(client, broker, "a")
    request = client.subscribe("a", qos=2)
    reconnect(client, broker, session_present=False)
    # "a" is not written twice.
    broker.gets(SUBSCRIBE(1, "a", qos=2))
    broker.sends(SUBACK(1, 0x87))
    assert client.events() == [request]
    # The broker has no subscription to "a" any more.
    assert intent(client) == set()


def test_requests_are_written_again_in_their_order():
    client, broker = continuous()
    client.subscribe("a")
    client.unsubscribe("a")
    client.subscribe("a", qos=1)
    reconnect(client, broker)
    broker.gets(SUBSCRIBE(4, "a"), UNSUBSCRIBE(5, "a"), SUBSCRIBE(6, "a", qos=1))


def test_a_request_without_a_connection_waits_for_one():
    client, broker = continuous()
    broker.vanishes()
    client.events()
    request = client.subscribe("a")
    client.unsubscribe("b")
    assert request.packet_id == 0
    broker.gets_nothing()
    # An attempt that fails changes nothing.
    client.connect()
    broker.gets_connect()
    broker.sends(CONNACK(0x88))
    assert [type(item) for item in client.happenings()] == [Closed]
    reconnect(client, broker)
    broker.gets(SUBSCRIBE(1, "a"), UNSUBSCRIBE(2, "b"))
    broker.sends(SUBACK(1, 0))
    assert client.events() == [request]


def test_a_request_without_a_connection_is_checked_at_once():
    client, broker = continuous()
    broker.vanishes()
    for refused in ("", "a#"):
        with pytest.raises(ValueError, match="topic"):
            client.subscribe(refused)
    client.events()
    reconnect(client, broker)
    broker.gets_nothing()


def test_an_engine_that_is_not_continuous_keeps_nothing():
    client, broker = lasting()
    request = client.subscribe("a")
    granted(client, broker, "b")
    broker.vanishes()
    assert client.events()[1:] == [request]
    with pytest.raises(MqttCodeError, match="not currently connected"):
        client.subscribe("a")
    reconnect(client, broker, session_present=False)
    broker.gets_nothing()


# --- requests that nobody waits for -----------------------------------------------


def test_an_abandoned_request_is_not_written_on_a_later_connection():
    client, broker = continuous()
    on_the_wire = client.subscribe("a")
    broker.vanishes()
    client.events()
    kept = client.subscribe("b")
    later = client.subscribe("c")
    for request in (on_the_wire, kept):
        client.engine.abandon(request)
    client.handed_over()
    assert client.events() == [on_the_wire, kept]
    assert not on_the_wire.is_answered
    reconnect(client, broker)
    broker.gets(SUBSCRIBE(2, "c"))
    # While its answer may come, it stays.
    client.engine.abandon(later)
    client.handed_over()
    assert client.events() == []
    broker.vanishes()
    assert client.events()[1:] == [later]
    reconnect(client, broker)
    broker.gets_nothing()


def test_an_answer_to_an_abandoned_request_counts():
    client, broker = continuous()
    request = client.subscribe("a")
    client.engine.abandon(request)
    broker.sends(SUBACK(1, 0))
    assert client.events() == [request]
    assert intent(client) == {"a"}


# --- order ------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_subscriptions_come_before_requests_and_these_before_messages(version):
    client, broker = continuous(version, maximum_in_flight=2)
    granted(client, broker, "s")
    client.publish("t", b"1", 1)
    client.publish("t", b"2", 1)
    client.publish("t", b"3", 1)
    client.subscribe("r")
    broker.vanishes()
    client.connect()
    broker.gets_connect()
    client.events()
    broker.sends(CONNACK())
    written = packets(client, broker)
    kinds = [packet.kind for packet in written]
    subscribe, publish = PacketType.SUBSCRIBE, PacketType.PUBLISH
    assert kinds == [subscribe, subscribe, publish, publish]
    assert [type(item) for item in client.happenings()] == [Connected]


# --- messages ---------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_without_a_lasting_session_messages_are_sent_again_as_new_ones(version):
    """Decision 0004: what the broker has received is done, the rest is sent again."""
    client, broker = continuous(version, False, maximum_in_flight=3)
    released = client.publish("t", b"released", 2)
    sent = client.publish("t", b"sent", 2)
    also = client.publish("t", b"also", 1)
    queued = client.publish("t", b"queued", 1)
    broker.sends(PUBREC(1))
    broker.gets(
        PUBLISH("t", b"released", 2, 1),
        PUBLISH("t", b"sent", 2, 2),
        PUBLISH("t", b"also", 1, 3),
        PUBREL(1),
    )
    broker.vanishes()
    assert [type(item) for item in client.happenings()] == [Closed]
    client.connect()
    broker.gets_connect()
    broker.sends(CONNACK())
    broker.gets(
        PUBLISH("t", b"sent", 2, 1),
        PUBLISH("t", b"also", 1, 2),
        PUBLISH("t", b"queued", 1, 3),
    )
    assert client.events()[0] is released
    assert released.state == DONE
    assert [each.packet_id for each in (sent, also, queued)] == [1, 2, 3]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_identifiers_that_the_broker_sent_end_with_its_session(version):
    """Trap 4: a message of the new session is not taken for one of the last."""
    client, broker = continuous(version, False)
    broker.sends(PUBLISH("t", b"old", 2, 7))
    assert client.payloads() == [b"old"]
    broker.read()
    reconnect(client, broker, session_present=False)
    broker.sends(PUBLISH("t", b"new", 2, 7))
    assert client.payloads() == [b"new"]


@pytest.mark.parametrize("version", [4, 5])
def test_trap_4_a_session_that_the_broker_must_not_have(version):
    client, broker = continuous(version, False)
    delivery = client.publish("t", b"x", 2)
    granted(client, broker, "a")
    broker.vanishes()
    client.events()
    client.connect()
    broker.gets_connect()
    broker.sends(CONNACK(session_present=True))
    if version == 5:
        assert client.closed_with() == 0x82
        broker.read()
        client.connect()
        # The next connection asks for a new session, and loses nothing.
        assert broker.gets_connect().clean_start
        broker.sends(CONNACK())
    broker.gets(SUBSCRIBE(1, "a", qos=1), PUBLISH("t", b"x", 2, 2))
    assert delivery.state == SENT


def test_trap_4_a_foreign_session_gets_no_retransmission():
    """Not even if the program vouches for a session that the broker says it has."""
    client, broker = continuous(5, False, clean_start=False, client_id="c")
    client.publish("t", b"x", 2)
    broker.vanishes()
    client.events()
    client.connect()
    broker.gets_connect()
    broker.sends(CONNACK(session_present=True))
    assert client.closed_with() == 0x82
    broker.read()
    connect(client, broker, CONNACK(session_present=True))
    broker.gets(PUBLISH("t", b"x", 2, 1))


def test_trap_7_receive_maximum_across_connections():
    client, broker = continuous()
    deliveries = [client.publish("t", b"%d" % n, 1) for n in range(6)]
    for session_present in (True, False, True):
        reconnect(client, broker, session_present, receive_maximum=2)
        written = packets(client, broker)
        assert len(written) == 2
        [first, _] = written
        broker.sends(PUBACK(first.packet_id))
        assert len(packets(client, broker)) == 1
    assert [each.state == DONE for each in deliveries] == [True] * 3 + [False] * 3
    reconnect(client, broker, True, receive_maximum=1000)
    for packet in packets(client, broker):
        broker.sends(PUBACK(packet.packet_id))
    assert {each.state for each in deliveries} == {DONE}


# --- the connection that restores ends as well --------------------------------------


@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "lost"])
def test_a_restoration_without_an_answer_is_repeated(is_kept):
    """Also if the broker has a session now: it may not have got the SUBSCRIBE."""
    client, broker = continuous()
    granted(client, broker, "a")
    granted(client, broker, "b", subscription_identifier=[7])
    reconnect(client, broker, session_present=False)
    broker.gets(
        SUBSCRIBE(1, "a", qos=1),
        SUBSCRIBE(2, "b", qos=1, subscription_identifier=[7]),
    )
    broker.sends(SUBACK(1, 1))
    reconnect(client, broker, session_present=is_kept)
    again = SUBSCRIBE(3, "b", qos=1, subscription_identifier=[7])
    if is_kept:
        broker.gets(again)
    else:
        broker.gets(
            SUBSCRIBE(1, "a", qos=1),
            SUBSCRIBE(2, "b", qos=1, subscription_identifier=[7]),
        )
    broker.sends(SUBACK(3 if is_kept else 2, 1), SUBACK(1, 1))
    reconnect(client, broker)
    broker.gets_nothing()


def test_a_restoration_during_which_connections_end_becomes_smaller():
    """A broker may allow fewer topic filters in a SUBSCRIBE than it says."""
    client, broker = continuous()
    granted(client, broker, *[f"f/{n}" for n in range(1000)])
    counts = []
    for _ in range(4):
        reconnect(client, broker, session_present=False)
        counts.append({len(each.subscriptions) for each in packets(client, broker)})
    assert counts == [{500}, {62, 8}, {8}, {8}]


@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "lost"])
def test_what_the_program_does_meanwhile_counts(is_kept):
    client, broker = continuous()
    granted(client, broker, "a", "b", "c")
    reconnect(client, broker, session_present=False)
    broker.read()
    client.unsubscribe("a")
    client.subscribe("b", qos=2)
    reconnect(client, broker, session_present=is_kept)
    first = 4 if is_kept else 1
    broker.gets(
        SUBSCRIBE(first, "c", qos=1),
        UNSUBSCRIBE(first + 1, "a"),
        SUBSCRIBE(first + 2, "b", qos=2),
    )


# --- refused ----------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_a_refused_restoration_is_reported(version):
    client, broker = continuous(version)
    granted(client, broker, "a", "b")
    reconnect(client, broker, session_present=False)
    broker.read()
    code = 0x87 if version == 5 else 0x80
    broker.sends(SUBACK(1, 1, code))
    [request] = client.events()
    assert isinstance(request, Request)
    assert request.is_restoration
    assert request.observer is None
    assert request.filters == ["a", "b"]
    assert list(request.reason_codes) == [1, code]
    assert intent(client) == {"a"}


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"wildcard_subscription_available": 0}, 0xA2),
        ({"shared_subscription_available": 0}, 0x9E),
        ({"subscription_identifier_available": 0}, 0xA1),
        ({"maximum_packet_size": 30}, 0x95),
    ],
)
def test_what_the_next_connection_forbids_is_not_written(limits, code):
    refused = {
        0xA2: "w/+",
        0x9E: "$share/g/s",
        0xA1: "i",
        0x95: "l" * 40,
    }[code]
    client, broker = continuous()
    granted(client, broker, "w/+", "$share/g/s", "l" * 40)
    granted(client, broker, "i", subscription_identifier=[1])
    properties: dict[str, Any] = {}
    if code == 0xA1:
        properties["subscription_identifier"] = [1]
    pending = client.subscribe(refused, "other", **properties)
    broker.vanishes()
    granted_before = intent(client)
    client.events()
    client.subscribe("kept")
    connect_again(client, broker, **limits)
    [connected_again, *reported] = client.events()
    assert isinstance(connected_again, Connected)
    assert reported[-1] is pending
    assert {int(each) for each in pending.reason_codes} == {code}
    # `refused` was to be changed by the request that is refused now.
    assert intent(client) == granted_before - {refused}
    names = [name for each in packets(client, broker) for name, _ in each.subscriptions]
    assert sorted(names) == sorted([*(granted_before - {refused}), "kept"])


def connect_again(client: Client, broker: Broker, **limits: Any) -> None:
    client.connect()
    broker.gets_connect()
    broker.sends(CONNACK(**limits))


@pytest.mark.parametrize(
    ("limits", "code", "refused"),
    [
        ({"wildcard_subscription_available": 0}, 0xA2, "w/+"),
        ({"shared_subscription_available": 0}, 0x9E, "$share/g/s"),
        ({"maximum_packet_size": 30}, 0x95, "l" * 40),
    ],
)
def test_a_restoration_that_the_next_connection_forbids_is_reported(
    limits, code, refused
):
    client, broker = continuous()
    granted(client, broker, "a", refused, "b")
    broker.vanishes()
    client.events()
    connect_again(client, broker, **limits)
    [_, report] = client.events()
    assert isinstance(report, Request)
    assert (report.filters, list(report.reason_codes)) == ([refused], [code])
    assert report.is_restoration
    assert not report.is_answered
    assert intent(client) == {"a", "b"}
    broker.gets(SUBSCRIBE(1, "a", "b", qos=1))


@pytest.mark.parametrize("is_available", [0, 1])
def test_identifiers_are_left_out_where_they_are_not_available(is_available):
    client, broker = continuous()
    granted(client, broker, "a", subscription_identifier=[7])
    for _ in range(2):
        # The second time shows that the session still knows it.
        broker.vanishes()
        client.events()
        available = {"subscription_identifier_available": 0}
        connect_again(client, broker, **({} if is_available else available))
        [_] = client.events()
        properties = {"subscription_identifier": [7]} if is_available else {}
        broker.gets(SUBSCRIBE(1, "a", qos=1, **properties))
        broker.sends(SUBACK(1, 1))
        [request] = client.events()
        assert isinstance(request, Request)
        assert request.is_answered
        assert client.engine.session.subscriptions["a"].identifier == 7
        is_available = 1


# --- few packets ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "maximum"),
    [
        (10_000, None),
        *((200, maximum) for maximum in (20, 60, 127, 128, 131, 1000)),
        (2500, 16_384),
        (2500, 10**6),
    ],
)
def test_many_subscriptions_are_restored_in_few_bytes(count, maximum):
    client, _ = continuous()
    filters = [f"f/{n:05}" for n in range(count)]
    options = [(name, SubscribeOptions(n % 3)) for n, name in enumerate(filters)]
    session = client.engine.session
    request = client.engine.subscribe(options, None)
    client.engine.take()
    client.engine.receive(_encoded(SUBACK(request.packet_id, *[0] * count)), 0.0)
    assert len(session.subscriptions) == count
    client.stored = session.snapshot()
    limits = {} if maximum is None else {"maximum_packet_size": maximum}
    client.engine.take()
    client.engine.connection_lost(MqttError("lost"))
    client.engine.take()
    client.engine.connect()
    client.engine.take()
    client.engine.receive(_encoded(CONNACK(**limits)), 0.0)
    data = b"".join(client.engine.take().data)
    # As few as there could be, in bytes: one fixed header and identifier.
    fewest = len(_written(Subscribe(1, options)))
    if maximum is not None and maximum < fewest:
        # Each of them is 10 bytes long: with the options and the length of the filter.
        in_each = (maximum - 2 - 3) // 10
        fewest = sum(
            len(_written(Subscribe(1, options[start : start + in_each])))
            for start in range(0, len(options), in_each)
        )
    assert len(data) <= 2 * fewest
    written: list[Any] = Decoder(ProtocolVersion.V5, Role.CLIENT).feed(data)
    restored = [each for packet in written for each in packet.subscriptions]
    assert restored == options
    sizes = [len(_written(packet)) for packet in written]
    if maximum is not None:
        assert max(sizes) <= maximum
    assert len({packet.packet_id for packet in written}) == len(written)


def _encoded(packet: Packet) -> bytes:
    return encode(packet, 5, Role.SERVER)


def _written(packet: Packet) -> bytes:
    return encode(packet, 5, Role.CLIENT)


def test_subscriptions_are_restored_by_their_identifiers():
    """And in the order of these, on which the streams of a client rely."""
    client, broker = continuous()
    granted(client, broker, "a", subscription_identifier=[300])
    granted(client, broker, "b")
    granted(client, broker, "c", subscription_identifier=[300])
    reconnect(client, broker, session_present=False)
    broker.gets(
        SUBSCRIBE(1, "b", qos=1),
        SUBSCRIBE(2, "a", "c", qos=1, subscription_identifier=[300]),
    )


def test_a_suback_is_not_to_be_larger_than_the_client_accepts():
    properties = Properties(session_expiry_interval=100, maximum_packet_size=20)
    client, broker = continuous(properties=properties)
    for n in range(30):
        granted(client, broker, f"{n}")
    reconnect(client, broker, session_present=False)
    for packet in packets(client, broker):
        assert isinstance(packet, Subscribe)
        codes = [1] * len(packet.subscriptions)
        assert len(_encoded(SUBACK(packet.packet_id, *codes))) <= 20
        broker.sends(SUBACK(packet.packet_id, *codes))
    assert not client.is_closed


def test_what_finds_no_packet_identifier_waits_for_one():
    client, broker = continuous()
    broker.vanishes()
    client.events()
    requests = [client.subscribe(f"{n}") for n in range(5)]
    client.connect()
    broker.gets_connect()
    for _ in range(65_533):
        client.engine.session.outbound.assign_to_request()
    broker.sends(CONNACK())
    broker.gets(SUBSCRIBE(65_534, "0"), SUBSCRIBE(65_535, "1"))
    broker.sends(SUBACK(65_535, 0))
    broker.gets(SUBSCRIBE(65_535, "2"))
    client.engine.abandon(requests[3])
    broker.sends(SUBACK(65_534, 0))
    broker.gets(SUBSCRIBE(65_534, "4"))
    reconnect(client, broker)
    assert [
        [name for name, _ in each.subscriptions] for each in packets(client, broker)
    ] == [["2"], ["4"]]


# --- the end ----------------------------------------------------------------------


@pytest.mark.parametrize("is_lasting", [True, False], ids=["lasting", "not lasting"])
def test_give_up_ends_what_was_kept(is_lasting):
    client, broker = continuous(5, is_lasting)
    granted(client, broker, "a")
    delivery = client.publish("t", b"", 1)
    request = client.subscribe("b")
    broker.vanishes()
    client.events()
    kept = client.subscribe("c")
    client.engine.give_up()
    client.handed_over()
    assert client.events() == [request, kept] + [delivery] * (not is_lasting)
    assert delivery.state == (SENT if is_lasting else LOST)
    assert intent(client) == ({"a"} if is_lasting else set())
    assert not client.engine.is_continuous
    reconnect(client, broker, session_present=is_lasting)
    if is_lasting:
        broker.gets(PUBLISH("t", b"", 1, 2, dup=True))
    else:
        broker.gets_nothing()


@pytest.mark.parametrize("is_lasting", [True, False], ids=["lasting", "not lasting"])
def test_give_up_with_a_connection_takes_effect_at_its_end(is_lasting):
    client, _ = continuous(5, is_lasting)
    delivery = client.publish("t", b"", 1)
    request = client.subscribe("b")
    client.engine.give_up()
    client.handed_over()
    assert client.events() == []
    client.disconnect()
    [closed, *ended] = client.events()
    assert isinstance(closed, Closed)
    assert ended == [request] + [delivery] * (not is_lasting)


def test_a_restoration_that_give_up_interrupted_is_made_by_the_next_connection():
    client, broker = continuous()
    granted(client, broker, "a")
    reconnect(client, broker, session_present=False)
    broker.gets(SUBSCRIBE(1, "a", qos=1))
    client.engine.give_up()
    client.disconnect()
    assert [type(item) for item in client.events()] == [Closed]
    client.engine.is_continuous = True
    reconnect(client, broker)
    broker.gets(SUBSCRIBE(2, "a", qos=1))


def test_a_queued_message_can_be_withdrawn_and_dropped_between_connections():
    client, broker = continuous(5, False, maximum_in_flight=1)
    sent, queued, last = (client.publish("t", b"%d" % n, 1) for n in range(3))
    broker.vanishes()
    client.events()
    assert queued.state == QUEUED
    assert client.withdraw(queued)
    assert client.drop(sent)
    assert client.events() == [queued, sent]
    broker.read()
    reconnect(client, broker, session_present=False)
    broker.gets(PUBLISH("t", b"2", 1, 1))
    broker.sends(PUBACK(1))
    assert client.events() == [last]


# --- any history --------------------------------------------------------------------

FILTERS = ("a", "b", "c/+")


class Model:
    """A broker that keeps its subscriptions, and what the program wants."""

    def __init__(self, version: int) -> None:
        self.client, self.broker = continuous(version)
        self.wanted: dict[str, int] = {}
        self.granted: dict[str, int] = {}
        # The answers that have not left.
        self.answers: list[Packet] = []

    def step(self, name: str, which: int) -> None:
        client = self.client
        topic_filter = FILTERS[which]
        if name == "subscribe":
            self.wanted[topic_filter] = which
            client.subscribe(topic_filter, qos=which)
        elif name == "unsubscribe":
            self.wanted.pop(topic_filter, None)
            client.unsubscribe(topic_filter)
        elif name == "read":
            self.read()
        elif name == "answer":
            self.read()
            self.answer()
        elif name == "lose":
            self.granted.clear()
            self.connect(False)
        else:
            self.connect(client.version >= ProtocolVersion.V311)

    def read(self) -> None:
        """Carry out what the client has written."""
        if self.client.is_closed:
            return
        for packet in packets(self.client, self.broker):
            if isinstance(packet, Subscribe):
                codes = [options.qos for _, options in packet.subscriptions]
                for topic_filter, options in packet.subscriptions:
                    self.granted[topic_filter] = options.qos
                self.answers.append(SUBACK(packet.packet_id, *codes))
            elif isinstance(packet, Unsubscribe):
                for topic_filter in packet.filters:
                    self.granted.pop(topic_filter, None)
                codes = [0] * len(packet.filters) * (self.client.version == 5)
                self.answers.append(UNSUBACK(packet.packet_id, *codes))

    def answer(self) -> None:
        answers, self.answers = self.answers, []
        self.broker.sends(*answers)

    def connect(self, session_present: bool) -> None:
        """Cut the connection, also inside what the broker has not read."""
        self.answers.clear()
        reconnect(self.client, self.broker, session_present)


@examples(100)
@given(
    st.sampled_from(VERSIONS),
    st.lists(
        st.tuples(
            st.sampled_from(
                ["subscribe", "unsubscribe", "read", "answer", "lose", "cut"]
            ),
            st.integers(0, 2),
        ),
        max_size=25,
    ),
)
def test_in_the_end_the_broker_has_what_the_program_wants(version, steps):
    model = Model(version)
    for step in steps:
        model.step(*step)
    model.connect(True)
    model.step("answer", 0)
    model.step("answer", 0)
    assert model.granted == model.wanted
    assert intent(model.client) == set(model.wanted)
