"""Traps that shipped MQTT clients fell into, as far as the engine decides them."""

import pytest

from aiomqtt.properties import Properties

from .client_and_broker import (
    CONNACK,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    connect,
    connected,
    lasting,
    octets,
    reconnect,
    strangers,
)

# --- 1: an acknowledgement for somebody who has gone ---------------------------


@pytest.mark.parametrize("qos", [1, 2])
def test_an_acknowledgement_finds_its_flow_also_when_nobody_waits(version, qos):
    client, broker = connected(version)
    delivery = client.publish("t", b"", qos)
    request = client.subscribe("f")
    # The program has given both up; the engine goes on, and tells when it is done.
    delivery.observer = request.observer = None
    assert not client.engine.withdraw(delivery, client.now)
    broker.sends(SUBACK(2, 0))
    broker.sends(*[PUBACK(1)] if qos == 1 else [PUBREC(1), PUBCOMP(1)])
    assert client.events() == [request, delivery]
    assert not client.is_closed


# --- 2: who owns the packet identifier and the quota ---------------------------


def test_what_may_be_on_the_wire_keeps_its_identifier_and_its_quota(version):
    client, broker = connected(version, maximum_in_flight=1)
    written = client.publish("t", b"1", 1)
    assert not client.engine.withdraw(written, client.now)
    waits = client.publish("t", b"2", 1)
    broker.gets(PUBLISH("t", b"1", 1, 1))
    assert waits.packet_id == 0
    broker.sends(PUBACK(1))
    broker.gets(PUBLISH("t", b"2", 1, 2))


def test_what_was_not_written_frees_all_that_it_held(version):
    client, broker = connected(version, maximum_in_flight=1, maximum_queued=2)
    client.publish("t", b"1", 1)
    for _ in range(5):
        waits = client.publish("t", b"2", 2)
        assert client.engine.withdraw(waits, client.now)
    broker.sends(PUBACK(1))
    broker.gets(PUBLISH("t", b"1", 1, 1))
    assert client.publish("t", b"3", 1).packet_id == 2


# --- 3: messages that come right after the CONNACK -----------------------------


@pytest.mark.parametrize("version", [4, 5])
def test_messages_that_are_replayed_with_the_connack_are_handed_over(version):
    client, broker = strangers(version, client_id="c", clean_start=False)
    client.connect()
    broker.read()
    broker.sends(
        CONNACK(session_present=True),
        PUBLISH("t", b"1", 1, 1, dup=True),
        PUBLISH("t", b"2", 2, 2, dup=True),
    )
    broker.gets(PUBACK(1), PUBREC(2))
    assert client.payloads() == [b"1", b"2"]


# --- 4: Session Present is not what we think -----------------------------------


@pytest.mark.parametrize("version", [4, 5])
def test_no_old_qos_2_flow_goes_on_in_a_new_session(version):
    client, broker = lasting(version)
    at_publish = client.publish("t", b"1", 2)
    at_pubrel = client.publish("t", b"2", 2)
    broker.sends(PUBREC(2))
    broker.read()
    reconnect(client, broker, session_present=False)
    # No PUBREL, no DUP, and an identifier of the new session.
    broker.gets(PUBLISH("t", b"1", 2, 1))
    assert client.events() == [at_pubrel]
    broker.sends(PUBREC(1), PUBCOMP(1))
    assert client.events() == [at_publish]


@pytest.mark.parametrize("late", [PUBACK(1), PUBCOMP(1), SUBACK(2, 0), PUBREL(3)])
def test_a_stale_packet_does_not_end_the_fresh_connection(version, late):
    client, broker = lasting(version)
    client.publish("t", b"", 1)
    client.subscribe("f")
    broker.sends(PUBACK(1), SUBACK(2, 0))
    reconnect(client, broker)
    broker.sends(late)
    assert not client.is_closed


def test_a_session_that_we_never_had_is_refused_and_then_cleared():
    client, broker = strangers(client_id="c", clean_start=True)
    client.connect()
    broker.read()
    broker.sends(CONNACK(session_present=True))
    assert client.closed_with() == 0x82
    connect(client, broker)
    assert not client.is_closed


# --- 5: packet identifiers -----------------------------------------------------


def test_one_publish_that_is_never_acknowledged_is_not_overtaken_by_its_identifier():
    client, broker = connected()
    stuck = [client.publish("t", b"", 2), client.publish("t", b"", 1)]
    for _ in range(3):
        client.have_used_identifiers(65_500)
        sent = [client.publish("t", b"", 1).packet_id for _ in range(70)]
        assert sent == [*range(65_501, 65_536), *range(3, 38)]
        broker.sends(*map(PUBACK, sent))
        broker.read()
        client.events()
    broker.sends(PUBACK(2), PUBREC(1), PUBCOMP(1))
    assert client.events() == stuck[::-1]


def test_subscribe_and_publish_never_share_an_identifier(version):
    client, _ = connected(version)
    seen = set()
    for _ in range(5):
        seen.add(client.publish("t", b"", 1).packet_id)
        seen.add(client.subscribe("f").packet_id)
        seen.add(client.unsubscribe("f").packet_id)
    assert seen == set(range(1, 16))


def test_both_directions_may_use_one_identifier_at_once(version):
    client, broker = connected(version)
    mine = client.publish("t", b"", 2)
    broker.sends(PUBLISH("t", b"theirs", 2, 1), PUBREC(1))
    broker.gets(PUBLISH("t", b"", 2, 1), PUBREC(1), PUBREL(1))
    broker.sends(PUBCOMP(1))
    assert client.events() == [mine]
    broker.sends(PUBLISH("t", b"theirs", 2, 1, dup=True), PUBREL(1))
    broker.gets(PUBREC(1), PUBCOMP(1))
    assert client.payloads() == [b"theirs"]


# --- 6: QoS 2 ------------------------------------------------------------------


def test_a_duplicate_publish_is_delivered_once(version):
    client, broker = lasting(version)
    broker.sends(PUBLISH("t", b"x", 2, 1))
    broker.sends(PUBLISH("t", b"x", 2, 1, dup=True))
    reconnect(client, broker)
    broker.sends(PUBLISH("t", b"x", 2, 1, dup=True), PUBREL(1))
    assert client.payloads() == [b"x"]


def test_a_publish_is_not_sent_again_after_its_pubrel(version):
    client, broker = lasting(version)
    client.publish("t", b"x", 2)
    broker.sends(PUBREC(1))
    broker.read()
    for _ in range(3):
        reconnect(client, broker)
        broker.gets(octets("62 02 00 01"))


def test_a_session_that_resumes_at_pubrel_completes_and_goes_on(version):
    client, broker = lasting(version, maximum_in_flight=1)
    first = client.publish("t", b"1", 2)
    second = client.publish("t", b"2", 2)
    broker.sends(PUBREC(1))
    broker.read()
    reconnect(client, broker)
    broker.gets(PUBREL(1))
    broker.sends(PUBCOMP(1))
    broker.gets(PUBLISH("t", b"2", 2, 2))
    broker.sends(PUBREC(2), PUBCOMP(2))
    assert client.events() == [first, second]


def test_a_broker_that_repeats_its_pubrec_on_resuming_gets_its_pubrel(version):
    client, broker = lasting(version)
    delivery = client.publish("t", b"1", 2)
    broker.sends(PUBREC(1))
    reconnect(client, broker)
    broker.read()
    broker.sends(PUBREC(1))
    broker.gets(PUBREL(1))
    broker.sends(PUBCOMP(1), PUBCOMP(1))
    assert client.events() == [delivery]


# --- 7: Receive Maximum across reconnects --------------------------------------


def test_what_is_sent_again_obeys_the_receive_maximum_of_the_new_connection():
    client, broker = lasting(connack=CONNACK(receive_maximum=10))
    for n in range(10):
        client.publish("t", b"%d" % n, 1)
    broker.read()
    reconnect(client, broker, receive_maximum=3)
    broker.gets(*[PUBLISH("t", b"%d" % n, 1, n + 1, dup=True) for n in range(3)])


def test_the_quota_is_whole_again_on_every_connection():
    client, broker = lasting(connack=CONNACK(receive_maximum=2))
    for _ in range(5):
        # Both are acknowledged only after the next connection has begun.
        client.publish("t", b"", 1)
        client.publish("t", b"", 2)
        broker.read()
        reconnect(client, broker, receive_maximum=2)
        packets = broker.read()
        assert packets.count(b"\x00\x01t") == 2
        last = client.engine.session.outbound
        assert last.in_flight == 2
        first, second = int.from_bytes(packets[5:7]), int.from_bytes(packets[13:15])
        broker.sends(PUBACK(first), PUBREC(second))
        broker.gets(PUBREL(second))
        broker.sends(PUBCOMP(second))
        assert (last.in_flight, len(last)) == (0, 0)


def test_an_unlimited_flood_of_qos_2_is_stopped_at_our_receive_maximum():
    client, broker = connected(properties=Properties(receive_maximum=10))
    broker.sends(*[PUBLISH("t", b"x", 2, n) for n in range(1, 1000)])
    assert client.closed_with() == 0x93
    assert len(client.messages()) == 10


# --- 8: keep alive -------------------------------------------------------------


def test_received_messages_do_not_postpone_a_ping(version):
    client, broker = connected(version, keep_alive=10)
    for tenth in range(91):
        client.tick(tenth / 10)
        broker.sends(PUBLISH("t", b"busy"))
    broker.gets(octets("c0 00"))


def test_published_messages_do_not_hide_a_dead_broker(version):
    client, _ = connected(version, keep_alive=10)
    while not client.is_closed:
        client.publish("t", b"into the void")
        client.tick(client.now + 0.25)
        assert client.now <= 15
    assert client.closed_with() == 0x8D


def test_a_pingresp_has_a_deadline_that_a_late_one_does_not_meet(version):
    client, broker = connected(version, keep_alive=10)
    client.tick(9)
    client.tick(13.5)
    client.tick(14)
    broker.sends(PINGRESP)
    assert client.closed_with() == 0x8D


# --- 9: acknowledgements do not depend on the program --------------------------


def test_acknowledgements_and_pings_go_on_while_nobody_takes_messages(version):
    client, broker = connected(version, keep_alive=10)
    for n in range(1, 1001):
        broker.sends(PUBLISH("t", b"x", 1, n))
        broker.gets(PUBACK(n))
    client.tick(9)
    broker.gets(octets("c0 00"))
    broker.sends(PINGRESP)
    client.subscribe("f")
    broker.gets(SUBSCRIBE(1, "f"))
    assert len(client.messages()) == 1000


# --- 10: topic aliases, hostile acknowledgements -------------------------------


def test_topic_aliases_do_not_outlive_the_connection():
    client, broker = lasting(connack=CONNACK(topic_alias_maximum=5))
    client.publish("long/topic", b"1", 1, topic_alias=5)
    client.publish("", b"2", 1, topic_alias=5)
    broker.read()
    # The next broker knows no aliases at all.
    reconnect(client, broker)
    broker.gets(
        PUBLISH("long/topic", b"1", 1, 1, dup=True),
        PUBLISH("long/topic", b"2", 1, 2, dup=True),
    )


@pytest.mark.parametrize("topic", ["", "t"])
def test_an_unsolicited_alias_is_a_clean_error(topic):
    client, broker = connected()
    broker.sends(PUBLISH(topic, b"x", 1, 1, topic_alias=1))
    assert client.closed_with() == 0x94
    assert client.messages() == []
    broker.gets(octets("e0 01 94"))


@pytest.mark.parametrize(
    "hostile",
    [
        SUBACK(1, 0),
        SUBACK(1, 0, 0, 0),
        SUBACK(2, 0),
        SUBACK(3, 0, 0),
        SUBACK(4, 0),
        SUBACK(65_535, *[0] * 1000),
    ],
    ids=repr,
)
def test_a_hostile_suback_resolves_nobody(version, hostile):
    client, broker = connected(version)
    requests = [client.subscribe("a", "b"), client.unsubscribe("a")]
    deliveries = [client.publish("t", b"", 1), client.publish("t", b"", 2)]
    broker.read()
    broker.sends(hostile)
    assert client.is_closed == (hostile.packet_id != 65_535)
    # What ends does so as the connection does.
    assert client.events()[1:] == (requests + deliveries if client.is_closed else [])
    assert not any(request.is_answered for request in requests)
