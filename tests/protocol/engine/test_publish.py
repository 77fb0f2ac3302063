"""Publishing: the flows of QoS 0, 1 and 2, packet identifiers, the send quota."""

import pytest

from aiomqtt.exceptions import MqttCodeError
from aiomqtt.properties import Properties
from aiomqtt.standard.tables import PacketType, Role, reason_codes

from .client_and_broker import (
    CONNACK,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    connected,
    octets,
    strangers,
)


def failures(packet):
    codes = reason_codes(packet, 5, Role.SERVER)
    return [pytest.param(code, id=hex(code)) for code in sorted(codes) if code >= 0x80]


# --- the flows -----------------------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-2.2.1-2", "MQTT-3.3.1-2", "MQTT-4.3.1-1")
@pytest.mark.conformance("3.1.1", "MQTT-2.3.1-5", "MQTT-3.3.1-2", "MQTT-4.3.1-1")
@pytest.mark.parametrize(
    ("version", "wanted"),
    [
        (3, "30 06  00 03 61 2f 62  78"),
        (4, "30 06  00 03 61 2f 62  78"),
        (5, "30 07  00 03 61 2f 62  00  78"),
    ],
)
def test_qos_0_is_written_and_forgotten(version, wanted):
    client, broker = connected(version)
    assert client.publish("a/b", b"x") is None
    broker.gets(octets(wanted))
    assert client.events() == []


@pytest.mark.conformance("5.0", "MQTT-3.3.2-1", "MQTT-4.3.2-1", "MQTT-4.3.2-2")
@pytest.mark.conformance("5.0", "MQTT-4.3.2-3", "MQTT-2.2.1-3")
@pytest.mark.conformance("3.1.1", "MQTT-2.3.1-1", "MQTT-4.3.2-1", "MQTT-3.3.2-1")
@pytest.mark.parametrize(
    ("version", "wanted"),
    [
        (3, "33 08  00 03 61 2f 62  00 01  78"),
        (4, "33 08  00 03 61 2f 62  00 01  78"),
        (5, "33 09  00 03 61 2f 62  00 01  00  78"),
    ],
)
def test_qos_1_is_done_with_its_puback(version, wanted):
    client, broker = connected(version)
    delivery = client.publish("a/b", b"x", 1, retain=True)
    broker.gets(octets(wanted))
    assert client.events() == []
    broker.sends(octets("40 02 00 01"))
    assert client.events() == [delivery]
    assert delivery.reason_code == 0
    broker.gets_nothing()


@pytest.mark.conformance("5.0", "MQTT-4.3.3-1", "MQTT-4.3.3-2", "MQTT-4.3.3-3")
@pytest.mark.conformance("5.0", "MQTT-4.3.3-4", "MQTT-4.3.3-5", "MQTT-3.6.1-1")
@pytest.mark.conformance("3.1.1", "MQTT-4.3.3-1", "MQTT-3.6.1-1", "MQTT-2.3.1-6")
def test_qos_2_is_done_with_its_pubcomp(version):
    client, broker = connected(version)
    delivery = client.publish("t", b"x", 2)
    broker.gets(PUBLISH("t", b"x", 2, 1))
    broker.sends(octets("50 02 00 01"))
    broker.gets(octets("62 02 00 01"))
    assert client.events() == []
    broker.sends(octets("70 02 00 01"))
    assert client.events() == [delivery]
    broker.gets_nothing()


@pytest.mark.parametrize(("qos", "last"), [(1, PUBACK), (2, PUBCOMP)])
def test_an_acknowledgement_counts_in_all_of_its_forms(qos, last):
    client, broker = connected()
    for packet_id, written_out in ((1, "02 {}"), (2, "03 {} 00"), (3, "04 {} 00 00")):
        delivery = client.publish("t", b"", qos)
        octet = octets(written_out.format(f"00 {packet_id:02x}"))
        if qos == 2:
            broker.sends(b"\x50" + octet)
            assert client.events() == []
        broker.sends(bytes([last(1).kind << 4]) + octet)
        assert client.events() == [delivery]


@pytest.mark.conformance("5.0", "MQTT-4.4.0-2", "MQTT-3.4.2-1")
@pytest.mark.parametrize("code", failures(PacketType.PUBACK))
def test_a_failing_puback_ends_the_flow_with_its_reason(code):
    client, broker = connected()
    delivery = client.publish("t", b"", 1)
    broker.read()
    broker.sends(PUBACK(1, code, reason_string="because"))
    assert client.events() == [delivery]
    assert delivery.reason_code == code
    assert delivery.answer == Properties(reason_string="because")
    broker.gets_nothing()
    client.publish("t", b"", 1)
    broker.gets(PUBLISH("t", b"", 1, 2))


@pytest.mark.conformance("5.0", "MQTT-4.4.0-2", "MQTT-4.3.3-4", "MQTT-3.5.2-1")
@pytest.mark.parametrize("code", failures(PacketType.PUBREC))
def test_a_failing_pubrec_ends_the_flow_without_a_pubrel(code):
    client, broker = connected()
    delivery = client.publish("t", b"", 2)
    broker.read()
    broker.sends(PUBREC(1, code, reason_string="because"))
    assert client.events() == [delivery]
    assert delivery.reason_code == code
    assert delivery.answer == Properties(reason_string="because")
    broker.gets_nothing()


def test_no_matching_subscribers_is_told_and_is_no_failure():
    client, broker = connected()
    first, second = client.publish("t", b"", 1), client.publish("t", b"", 2)
    broker.read()
    broker.sends(PUBACK(1, 0x10), PUBREC(2, 0x10))
    broker.gets(octets("62 02 00 02"))
    broker.sends(PUBCOMP(2))
    assert client.events() == [first, second]
    assert [first.reason_code, second.reason_code] == [0x10, 0x10]
    assert str(second.reason_code) == "No matching subscribers"


def test_a_pubcomp_that_knows_no_such_identifier_ends_the_flow():
    client, broker = connected()
    delivery = client.publish("t", b"", 2)
    broker.sends(PUBREC(1), PUBCOMP(1, 0x92))
    assert client.events() == [delivery]
    assert not client.is_closed


@pytest.mark.conformance("5.0", "MQTT-4.3.3-6")
def test_a_repeated_pubrec_gets_another_pubrel_and_nothing_else(version):
    client, broker = connected(version)
    delivery = client.publish("t", b"", 2)
    broker.read()
    broker.sends(PUBREC(1), PUBREC(1))
    broker.gets(PUBREL(1), PUBREL(1))
    broker.sends(PUBCOMP(1), PUBCOMP(1))
    assert client.events() == [delivery]
    broker.gets_nothing()


@pytest.mark.conformance("5.0", "MQTT-4.6.0-4")
@pytest.mark.conformance("3.1.1", "MQTT-4.6.0-4")
def test_pubrels_go_in_the_order_of_the_pubrecs(version):
    client, broker = connected(version)
    for _ in range(3):
        client.publish("t", b"", 2)
    broker.read()
    broker.sends(PUBREC(2), PUBREC(3), PUBREC(1))
    broker.gets(PUBREL(2), PUBREL(3), PUBREL(1))


def test_rabbitmq_acknowledges_qos_2_with_puback_below_5_0():
    for version in (3, 4):
        client, broker = connected(version)
        delivery = client.publish("t", b"", 2)
        broker.sends(PUBACK(1))
        assert client.events() == [delivery]


# --- acknowledgements that nobody waits for ------------------------------------


def test_a_puback_or_pubcomp_of_an_unknown_identifier_is_ignored(version):
    client, broker = connected(version)
    broker.sends(PUBACK(7), PUBCOMP(8))
    broker.gets_nothing()
    assert client.events() == []
    assert not client.is_closed


@pytest.mark.parametrize(
    ("version", "answer"),
    [(3, "62 02 00 07"), (4, "62 02 00 07"), (5, "62 03 00 07 92")],
)
@pytest.mark.conformance("5.0", "MQTT-3.6.2-1")
def test_a_pubrec_of_an_unknown_identifier_is_answered_with_pubrel(version, answer):
    client, broker = connected(version)
    broker.sends(PUBREC(7))
    broker.gets(octets(answer))
    broker.sends(PUBCOMP(7))
    broker.gets_nothing()
    assert not client.is_closed


@pytest.mark.conformance("5.0", "MQTT-4.3.3-4")
def test_a_failing_pubrec_of_an_unknown_identifier_is_ignored():
    client, broker = connected()
    broker.sends(PUBREC(7, 0x97))
    broker.gets_nothing()
    assert not client.is_closed


@pytest.mark.parametrize(
    ("begin", "packet"),
    [
        ("qos 1", PUBREC(1)),
        ("qos 1", PUBCOMP(1)),
        ("qos 1", SUBACK(1, 0)),
        ("qos 2", PUBCOMP(1)),
        ("qos 2", SUBACK(1, 0)),
        ("released", PUBACK(1)),
        ("released", SUBACK(1, 0)),
        ("subscribe", PUBACK(1)),
        ("subscribe", PUBREC(1)),
        ("subscribe", PUBCOMP(1)),
    ],
    ids=lambda value: getattr(getattr(value, "kind", None), "name", value),
)
def test_an_acknowledgement_of_another_kind_of_flow_is_a_protocol_error(
    version, begin, packet
):
    client, broker = connected(version)
    if begin == "subscribe":
        client.subscribe("t")
    else:
        client.publish("t", b"", 1 if begin == "qos 1" else 2)
    if begin == "released":
        broker.sends(PUBREC(1))
    broker.read()
    broker.sends(packet)
    assert client.closed_with() == 0x82
    broker.gets(*[octets("e0 01 82")] * (version == 5))


def test_a_puback_for_qos_2_is_a_protocol_error_in_5_0():
    client, broker = connected(5)
    client.publish("t", b"", 2)
    broker.sends(PUBACK(1))
    assert client.closed_with() == 0x82


# --- packet identifiers --------------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-2.2.1-3")
@pytest.mark.conformance("3.1.1", "MQTT-2.3.1-1", "MQTT-2.3.1-2")
def test_identifiers_count_up_from_1_for_all_kinds_of_packets(version):
    client, broker = connected(version)
    client.publish("t", b"", 1)
    client.subscribe("f")
    client.publish("t", b"", 2)
    client.publish("t", b"", 0)
    assert client.unsubscribe("f").packet_id == 4
    assert broker.read().startswith(b"\x32")
    broker.sends(PUBACK(1), SUBACK(2, 0))
    # An identifier that is free is not taken again before the others had their turn.
    assert client.publish("t", b"", 1).packet_id == 5


@pytest.mark.conformance("5.0", "MQTT-2.2.1-3", "MQTT-4.3.2-1", "MQTT-4.3.3-1")
@pytest.mark.conformance("3.1.1", "MQTT-2.3.1-2")
def test_after_65535_comes_the_first_identifier_that_is_not_in_use():
    client, broker = connected()
    in_use = {
        client.publish("t", b"", 1).packet_id,
        client.publish("t", b"", 2).packet_id,
        client.publish("t", b"", 2).packet_id,
        client.subscribe("f").packet_id,
    }
    assert in_use == {1, 2, 3, 4}
    broker.sends(PUBREC(3))
    sent = [client.publish("t", b"", 1).packet_id for _ in range(50)]
    assert sent == [*range(5, 55)]
    broker.sends(*map(PUBACK, sent))
    client.have_used_identifiers(65_500)
    sent = [client.publish("t", b"", 1).packet_id for _ in range(35)]
    assert sent == [*range(65_501, 65_536)]
    broker.sends(*map(PUBACK, sent))
    assert client.publish("t", b"", 1).packet_id == 5
    # What is done in the meantime is free in the next round.
    broker.sends(PUBCOMP(3))
    assert client.subscribe("f").packet_id == 6


def test_the_identifiers_of_the_two_directions_are_independent(version):
    client, broker = connected(version)
    delivery = client.publish("t", b"out", 2)
    broker.sends(PUBLISH("t", b"in", 2, 1))
    broker.gets(PUBLISH("t", b"out", 2, 1), PUBREC(1))
    broker.sends(PUBREC(1), PUBREL(1))
    broker.gets(PUBREL(1), PUBCOMP(1))
    broker.sends(PUBCOMP(1))
    assert client.payloads() == [b"in"]
    assert client.events() == [delivery]


def test_many_publishes_leave_identifiers_for_subscribing():
    client, broker = connected()
    for _ in range(65_535):
        client.engine.publish("t", b"", 1, False, None, 0.0)
    client.handed_over()
    broker.read()
    assert client.engine.session.outbound.queued > 0
    packet_id = client.subscribe("f").packet_id
    broker.gets(SUBSCRIBE(packet_id, "f"))


# --- the send quota ------------------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-3.3.4-7", "MQTT-4.9.0-1", "MQTT-4.9.0-2")
def test_at_most_receive_maximum_publishes_are_in_flight():
    client, broker = connected(connack=CONNACK(receive_maximum=2))
    deliveries = [client.publish("t", b"%d" % n, 1 + n % 2) for n in range(5)]
    broker.gets(PUBLISH("t", b"0", 1, 1), PUBLISH("t", b"1", 2, 2))
    assert [delivery.packet_id for delivery in deliveries] == [1, 2, 0, 0, 0]
    broker.sends(PUBACK(1))
    broker.gets(PUBLISH("t", b"2", 1, 3))
    # A PUBREC frees nothing: the flow goes on.
    broker.sends(PUBREC(2))
    broker.gets(PUBREL(2))
    broker.sends(PUBCOMP(2))
    broker.gets(PUBLISH("t", b"3", 2, 4))
    # But a failing one does.
    broker.sends(PUBREC(4, 0x80))
    broker.gets(PUBLISH("t", b"4", 1, 5))
    broker.sends(PUBACK(3, 0x80), PUBACK(5))
    broker.gets_nothing()
    assert client.events() == [deliveries[n] for n in (0, 1, 3, 2, 4)]


@pytest.mark.conformance("5.0", "MQTT-3.3.4-8", "MQTT-4.9.0-3")
def test_a_full_quota_delays_only_publishes_with_qos_1_and_2():
    client, broker = connected(connack=CONNACK(receive_maximum=1))
    client.publish("t", b"", 2)
    client.publish("t", b"waits", 1)
    broker.read()
    client.publish("t", b"goes")
    broker.gets(PUBLISH("t", b"goes"))
    client.subscribe("f")
    broker.gets(SUBSCRIBE(2, "f"))
    broker.sends(PUBLISH("t", b"", 1, 1), PUBLISH("t", b"", 2, 2), PUBREL(2))
    broker.gets(PUBACK(1), PUBREC(2), PUBCOMP(2))
    broker.sends(PUBREC(1))
    broker.gets(PUBREL(1))
    client.tick(54)
    broker.gets(octets("c0 00"))
    broker.sends(PUBCOMP(1))
    broker.gets(PUBLISH("t", b"waits", 1, 3))


def test_surplus_acknowledgements_do_not_raise_the_quota():
    client, broker = connected(connack=CONNACK(receive_maximum=1))
    client.publish("t", b"", 1)
    broker.sends(PUBACK(1), PUBACK(1), PUBACK(1), PUBCOMP(9))
    broker.read()
    for _ in range(3):
        client.publish("t", b"", 1)
    broker.gets(PUBLISH("t", b"", 1, 2))


@pytest.mark.parametrize(
    ("version", "receive_maximum", "maximum_in_flight", "in_flight"),
    [
        (3, None, None, 20),
        (4, None, None, 20),
        (4, None, 3, 3),
        (4, None, 50, 50),
        (5, None, None, 100),
        (5, 7, None, 7),
        (5, 7, 3, 3),
        (5, 7, 50, 7),
        (5, None, 3, 3),
    ],
)
def test_the_program_may_set_a_lower_quota(
    version, receive_maximum, maximum_in_flight, in_flight
):
    properties = {"receive_maximum": receive_maximum} if receive_maximum else {}
    client, _ = connected(
        version, CONNACK(**properties), maximum_in_flight=maximum_in_flight
    )
    for _ in range(100):
        client.publish("t", b"", 1)
    assert client.engine.session.outbound.in_flight == in_flight


def test_the_program_may_bound_what_is_unfinished(version):
    client, broker = connected(version, maximum_in_flight=1, maximum_queued=3)
    for _ in range(3):
        client.publish("t", b"", 2)
    broker.read()
    with pytest.raises(MqttCodeError, match="3 are unfinished") as raised:
        client.publish("t", b"", 1)
    assert raised.value.rc == 15
    client.publish("t", b"QoS 0 is not counted")
    broker.gets(PUBLISH("t", b"QoS 0 is not counted"))
    broker.sends(PUBREC(1))
    with pytest.raises(MqttCodeError):
        client.publish("t", b"", 1)
    broker.sends(PUBCOMP(1))
    assert client.publish("t", b"", 1).packet_id == 0


# --- taking back ---------------------------------------------------------------


def test_a_publish_that_was_not_written_can_be_withdrawn(version):
    client, broker = connected(version, maximum_in_flight=1)
    first, second, third = (client.publish("t", b"%d" % n, 1) for n in range(3))
    broker.read()
    assert client.withdraw(second)
    assert not client.withdraw(second)
    assert not client.withdraw(first)
    assert client.events() == [second]
    broker.sends(PUBACK(1))
    # It took no packet identifier with it.
    broker.gets(PUBLISH("t", b"2", 1, 2))
    broker.sends(PUBACK(2))
    assert client.events() == [first, third]
    assert not client.withdraw(third)


def test_without_a_connection_nothing_can_be_asked_for(version):
    client, broker = strangers(version)
    for call in (
        lambda: client.publish("t"),
        lambda: client.publish("t", b"", 1),
        lambda: client.subscribe("t"),
        lambda: client.unsubscribe("t"),
    ):
        with pytest.raises(MqttCodeError, match="not currently connected") as raised:
            call()
        assert raised.value.rc == 4
    broker.gets_nothing()
