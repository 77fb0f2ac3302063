"""Keep alive: PINGREQ goes out whatever the traffic, PINGRESP has a deadline."""

import pytest

from .client_and_broker import (
    CONNACK,
    PINGRESP,
    PUBLISH,
    connected,
    octets,
    reconnect,
    strangers,
)

PING = octets("c0 00")


def pings(client, broker, until, step=0.5, answer=True):
    """Return the times of the pings up to a time, with a coarse clock."""
    came = []
    while client.now < until and not client.is_closed:
        client.tick(client.now + step)
        if PING in broker.read():
            came.append(client.now)
            if answer:
                broker.sends(PINGRESP)
    return came


@pytest.mark.conformance("5.0", "MQTT-3.1.2-20")
@pytest.mark.conformance("3.1.1", "MQTT-3.1.2-23")
@pytest.mark.parametrize("keep_alive", [1, 2, 10, 60, 65_535])
def test_a_ping_goes_out_well_within_the_keep_alive(version, keep_alive):
    client, broker = connected(version, keep_alive=keep_alive)
    first = client.engine.deadline()
    assert first is not None
    assert 0 < first < keep_alive
    client.tick(first - 0.01)
    broker.gets_nothing()
    client.tick(first)
    broker.gets(PING)
    broker.sends(PINGRESP)
    second = client.engine.deadline()
    assert second is not None
    assert first < second < first + keep_alive
    client.tick(second)
    broker.gets(PING)


def test_pings_go_on_for_as_long_as_they_are_answered(version):
    client, broker = connected(version, keep_alive=10)
    assert pings(client, broker, 46) == [9, 18, 27, 36, 45]
    assert not client.is_closed


@pytest.mark.conformance("5.0", "MQTT-3.1.2-20")
@pytest.mark.conformance("3.1.1", "MQTT-3.1.2-23")
def test_traffic_in_neither_direction_postpones_a_ping(version):
    client, broker = connected(version, keep_alive=10)
    came = []
    for second in range(1, 30):
        client.tick(second)
        if PING in broker.read():
            came.append(second)
            broker.sends(PINGRESP)
        broker.sends(PUBLISH("t", b"in"))
        client.publish("t", b"out")
        broker.read()
    assert came == [9, 18, 27]


@pytest.mark.conformance("5.0", "MQTT-3.12.4-1")
@pytest.mark.conformance("3.1.1", "MQTT-3.12.4-1")
def test_no_pingresp_in_time_ends_the_connection(version):
    client, broker = connected(version, keep_alive=10)
    client.tick(9)
    broker.gets(PING)
    assert client.engine.keep_alive.is_awaited
    # A last look, so that what has come is read; then it is over.
    assert client.engine.deadline() == 13.5
    client.tick(13.5)
    assert client.engine.deadline() == 14
    client.tick(13.9)
    assert not client.is_closed
    client.tick(14)
    assert client.closed_with() == 0x8D
    # A client has no DISCONNECT for that, and the broker is to publish the will.
    broker.gets_nothing()
    assert client.engine.deadline() is None


def test_what_is_published_does_not_replace_a_pingresp(version):
    client, broker = connected(version, keep_alive=10)
    client.tick(9)
    broker.read()
    while client.now < 14:
        client.publish("t", b"busy")
        client.tick(client.now + 0.5)
    assert client.closed_with() == 0x8D


def test_bytes_that_come_are_life_for_ten_keep_alives(version):
    """Also those of a packet that is not whole: the PINGRESP can only come after it."""
    client, broker = connected(version, keep_alive=10)
    client.tick(9)
    large = PUBLISH("t", bytes(1000))
    data = broker._encoded(large)
    for number in range(90):
        client.tick(9 + number)
        broker.sends(data[number : number + 1])
        assert not client.is_closed
    broker.sends(data[90:] + broker._encoded(PINGRESP))
    assert client.payloads() == [large.payload]
    assert not client.engine.keep_alive.is_awaited
    # A peer that sends and never answers is given up in the end.
    while not client.is_closed:
        client.tick(client.now + 0.5)
        broker.sends(PUBLISH("t", b"alive"))
    assert client.closed_with() == 0x8D
    assert 195 <= client.now <= 205


def test_the_wait_begins_when_the_pingreq_leaves(version):
    client, broker = connected(version, keep_alive=10)
    client.tick(9)
    broker.gets(PING)
    client.engine.keep_alive.on_waiting(False, 9)
    for now in (11, 13, 15, 17):  # what is before it leaves bit by bit
        client.engine.keep_alive.on_waiting(True, now)
        client.tick(now)
    client.engine.keep_alive.on_left(18)
    client.tick(22)
    assert not client.is_closed
    client.tick(22.5)
    client.tick(23)
    assert client.closed_with() == 0x8D


def test_a_pingreq_that_never_leaves_is_given_up(version):
    client, broker = connected(version, keep_alive=10)
    client.tick(9)
    broker.read()
    while not client.is_closed:
        client.engine.keep_alive.on_waiting(False, client.now)
        client.tick(client.now + 0.1)
    assert client.now < 15


def test_a_dead_broker_is_noticed_within_one_and_a_half_keep_alives(version):
    client, broker = connected(version, keep_alive=10)
    assert pings(client, broker, 30, answer=False) == [9]
    assert client.is_closed
    assert client.now <= 15


def test_a_keep_alive_of_0_turns_it_off(version):
    client, broker = connected(version, keep_alive=0)
    assert client.engine.deadline() is None
    client.tick(1e9)
    broker.gets_nothing()
    assert not client.is_closed


@pytest.mark.conformance("5.0", "MQTT-3.1.2-21", "MQTT-3.2.2-21")
@pytest.mark.parametrize(
    ("own", "servers", "first"), [(60, 10, 9), (10, 60, 54), (0, 10, 9), (60, 0, None)]
)
def test_the_server_keep_alive_counts(own, servers, first):
    connack = CONNACK(server_keep_alive=servers)
    client, broker = connected(connack=connack, keep_alive=own)
    assert client.engine.deadline() == first
    # On the next connection one's own is asked for again.
    broker.vanishes()
    client.connect()
    assert broker.gets_connect().keep_alive == own


def test_the_clock_starts_with_the_connack(version):
    client, broker = strangers(version, keep_alive=10)
    assert client.engine.deadline() is None
    client.connect()
    assert client.engine.deadline() is None
    client.tick(100)
    broker.gets_connect()
    broker.sends(CONNACK())
    assert client.engine.deadline() == 109


def test_a_late_tick_sends_one_ping(version):
    client, broker = connected(version, keep_alive=10)
    client.tick(50)
    broker.gets(PING)
    assert client.engine.deadline() == 54.5
    broker.sends(PINGRESP)
    assert client.engine.deadline() == 59


def test_a_pingresp_that_nobody_asked_for_is_harmless(version):
    client, broker = connected(version, keep_alive=10)
    broker.sends(PINGRESP, PINGRESP)
    assert pings(client, broker, 20) == [9, 18]


def test_a_ping_of_the_last_connection_is_not_awaited_on_the_next(version):
    client, broker = connected(version, keep_alive=10)
    client.tick(9)
    client.tick(12)
    broker.read()
    reconnect(client, broker, session_present=False)
    assert not client.engine.keep_alive.is_awaited
    assert client.engine.deadline() == 21
    client.tick(15)
    assert not client.is_closed
