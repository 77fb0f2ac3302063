"""Dropping what the session owes: when its packet identifier may be used again."""

import pytest

from aiomqtt.protocol.delivery import DROPPED
from aiomqtt.protocol.output import Closed

from .client_and_broker import (
    CONNACK,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    connected,
    lasting,
    reconnect,
)

WITH_SESSION_PRESENT = pytest.mark.parametrize("version", [4, 5], ids=["3.1.1", "5.0"])


def use_next(client, packet_id):
    """Have the next publish begin its search for an identifier at this one."""
    client.engine.session.outbound._last_id = packet_id - 1
    client.stored.last_packet_id = packet_id - 1


def test_what_was_not_sent_leaves_no_trace(version):
    client, broker = connected(version, client_id="c", maximum_in_flight=1)
    first, second, third = (client.publish("t", b"%d" % n, 1) for n in range(3))
    broker.gets(PUBLISH("t", b"0", 1, 1))
    assert client.drop(second)
    assert second.state == DROPPED
    assert client.events() == [second]
    broker.sends(PUBACK(1))
    broker.gets(PUBLISH("t", b"2", 1, 2))
    broker.sends(PUBACK(2))
    assert client.events() == [first, third]
    assert not client.drop(second)
    assert not client.drop(first)


@WITH_SESSION_PRESENT
@pytest.mark.parametrize("qos", [1, 2])
def test_what_was_sent_is_not_sent_again(version, qos):
    client, broker = lasting(version)
    dropped, kept = client.publish("t", b"a", qos), client.publish("t", b"b", qos)
    broker.read()
    broker.vanishes()
    client.events()
    assert client.drop(dropped)
    assert client.events() == [dropped]
    assert client.engine.session.outbound.size == kept.size
    reconnect(client, broker)
    broker.gets(PUBLISH("t", b"b", qos, 2, dup=True))


@pytest.mark.parametrize("limit", [1, 2])
def test_a_dropped_message_counts_towards_the_quota(limit):
    client, broker = connected(5, CONNACK(receive_maximum=limit))
    dropped = [client.publish("t", b"a", 1 + n % 2) for n in range(limit)]
    broker.read()
    for delivery in dropped:
        assert client.drop(delivery)
    client.publish("t", b"b", 1)
    broker.gets_nothing()
    broker.sends(PUBACK(1))
    broker.gets(PUBLISH("t", b"b", 1, limit + 1))
    assert client.events() == dropped


@pytest.mark.conformance("5.0", "MQTT-2.2.1-3")
@pytest.mark.conformance("3.1.1", "MQTT-2.3.1-2")
def test_qos_1_keeps_its_identifier_until_it_is_acknowledged(version):
    client, broker = connected(version)
    client.drop(client.publish("t", b"a", 1))
    broker.read()
    use_next(client, 1)
    client.publish("t", b"b", 1)
    broker.gets(PUBLISH("t", b"b", 1, 2))
    broker.sends(PUBACK(1))
    broker.sends(PUBACK(1))  # nothing waits for this one
    use_next(client, 1)
    client.publish("t", b"c", 1)
    broker.gets(PUBLISH("t", b"c", 1, 1))


@WITH_SESSION_PRESENT
def test_qos_1_keeps_its_identifier_until_the_connection_ends(version):
    client, broker = lasting(version)
    client.drop(client.publish("t", b"a", 1))
    broker.read()
    reconnect(client, broker)
    broker.gets_nothing()
    use_next(client, 1)
    client.publish("t", b"b", 1)
    broker.gets(PUBLISH("t", b"b", 1, 1))


@WITH_SESSION_PRESENT
def test_qos_1_that_was_not_sent_again_yet_frees_its_identifier_at_once(version):
    client, broker = lasting(version, client_id="c", maximum_in_flight=1)
    client.publish("t", b"a", 1)
    broker.read()
    broker.vanishes()
    # Sent on a connection that was less patient.
    client.engine.settings = client.engine.settings._replace(maximum_in_flight=2)
    reconnect(client, broker)
    second = client.publish("t", b"b", 1)
    broker.read()
    broker.vanishes()
    client.engine.settings = client.engine.settings._replace(maximum_in_flight=1)
    reconnect(client, broker)
    broker.gets(PUBLISH("t", b"a", 1, 1, dup=True))
    client.drop(second)
    use_next(client, 2)
    client.publish("t", b"c", 1)
    broker.sends(PUBACK(1))
    broker.gets(PUBLISH("t", b"c", 1, 2))


@WITH_SESSION_PRESENT
def test_qos_2_keeps_its_identifier_until_the_flow_is_complete(version):
    client, broker = lasting(version)
    client.drop(client.publish("t", b"a", 2))
    broker.read()
    reconnect(client, broker)
    use_next(client, 1)
    client.publish("t", b"b", 2)
    broker.gets(PUBLISH("t", b"b", 2, 2))
    # This broker does not forget that it has the message.
    broker.sends(PUBREC(1))
    broker.gets(PUBREL(1))
    broker.sends(PUBREC(1))
    broker.gets(PUBREL(1))
    broker.sends(PUBCOMP(1))
    use_next(client, 1)
    client.publish("t", b"c", 2)
    broker.gets(PUBLISH("t", b"c", 2, 1))
    assert client.events() == []


@WITH_SESSION_PRESENT
def test_qos_2_keeps_its_identifier_until_the_broker_loses_the_session(version):
    client, broker = lasting(version)
    client.drop(client.publish("t", b"a", 2))
    broker.read()
    reconnect(client, broker, session_present=False)
    client.publish("t", b"b", 2)
    broker.gets(PUBLISH("t", b"b", 2, 1))


def test_a_pubrec_that_refuses_frees_the_identifier():
    client, broker = connected()
    client.drop(client.publish("t", b"a", 2))
    broker.read()
    broker.sends(PUBREC(1, 0x97))
    use_next(client, 1)
    client.publish("t", b"b", 2)
    broker.gets(PUBLISH("t", b"b", 2, 1))


@WITH_SESSION_PRESENT
def test_what_the_broker_has_received_can_be_dropped(version):
    client, broker = lasting(version)
    delivery = client.publish("t", b"a", 2)
    broker.read()
    broker.sends(PUBREC(1))
    broker.gets(PUBREL(1))
    assert client.drop(delivery)
    assert client.events() == [delivery]
    reconnect(client, broker)
    broker.gets_nothing()  # no PUBREL
    use_next(client, 1)
    client.publish("t", b"b", 2)
    broker.gets(PUBLISH("t", b"b", 2, 2))


@pytest.mark.parametrize(
    ("qos", "packet"),
    [(2, PUBACK(1)), (1, PUBREC(1)), (1, PUBCOMP(1)), (1, SUBACK(1, 0))],
)
def test_an_answer_of_another_kind_is_still_a_protocol_error(qos, packet):
    client, broker = connected()
    client.drop(client.publish("t", b"a", qos))
    client.events()
    broker.read()
    broker.sends(packet)
    assert client.closed_with() == 0x82


def test_rabbitmq_answers_qos_2_with_puback():
    client, broker = connected(4)
    client.drop(client.publish("t", b"a", 2))
    broker.read()
    broker.sends(PUBACK(1))
    use_next(client, 1)
    client.publish("t", b"b", 1)
    broker.gets(PUBLISH("t", b"b", 1, 1))


def test_a_session_that_ends_forgets_all_of_it(version):
    client, broker = connected(version)
    client.drop(client.publish("t", b"a", 2))
    client.events()
    broker.read()
    broker.vanishes()
    [closed] = client.events()
    assert isinstance(closed, Closed)
    client.connect()
    broker.gets_connect()
    broker.sends(CONNACK())
    client.publish("t", b"b", 2)
    broker.gets(PUBLISH("t", b"b", 2, 1))


def test_a_delivery_of_another_client_is_left_alone():
    (client, _), (other, _) = connected(), connected()
    mine, theirs = client.publish("t", b"", 1), other.publish("t", b"", 1)
    assert not client.drop(theirs)
    assert client.drop(mine)
    assert other.drop(theirs)
