"""SUBSCRIBE and UNSUBSCRIBE, and what the broker may answer."""

import pytest

from aiomqtt.exceptions import MqttError
from aiomqtt.properties import Properties, SubscribeOptions
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.protocol.packets import Subscribe
from aiomqtt.protocol.requests import (
    MOST_FILTERS,
    head_size,
    most_in_suback,
    to_portions,
)
from aiomqtt.standard.tables import PacketType, Role, reason_codes

from .client_and_broker import (
    CONNACK,
    PUBLISH,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    connected,
    octets,
)


def codes(packet, version):
    return sorted(reason_codes(packet, version, Role.SERVER))


def unlisted(packet, version):
    """Codes that are neither listed nor a failure."""
    return sorted(set(range(0x80)) - set(codes(packet, version)))


# --- what is written -----------------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-3.8.1-1", "MQTT-3.8.3-5", "MQTT-2.2.2-1")
@pytest.mark.conformance("3.1.1", "MQTT-3.8.1-1", "MQTT-3-8.3-4", "MQTT-2.3.1-1")
@pytest.mark.parametrize(
    ("version", "wanted"),
    [
        (3, "82 0c  00 01  00 01 61  02  00 01 62  00"),
        (4, "82 0c  00 01  00 01 61  02  00 01 62  00"),
        (5, "82 0d  00 01  00  00 01 61  02  00 01 62  00"),
    ],
)
def test_one_subscribe_holds_all_filters(version, wanted):
    client, broker = connected(version)
    client.engine.subscribe(
        [("a", SubscribeOptions(2)), ("b", SubscribeOptions(0))], None
    )
    client.handed_over()
    wanted = octets(wanted)
    # The remaining length is what follows.
    broker.gets(wanted[:1] + bytes([len(wanted) - 2]) + wanted[2:])


@pytest.mark.conformance("5.0", "MQTT-3.8.3-5")
@pytest.mark.parametrize(
    ("options", "bits"),
    [
        (SubscribeOptions(1), 0b00_0001),
        (SubscribeOptions(0, no_local=True), 0b00_0100),
        (SubscribeOptions(2, retain_as_published=True), 0b00_1010),
        (SubscribeOptions(0, retain_handling=2), 0b10_0000),
        (SubscribeOptions(2, True, True, 1), 0b01_1110),
    ],
)
def test_the_options_of_5_0_stand_behind_the_filter(options, bits):
    client, broker = connected()
    client.engine.subscribe([("a", options)], None)
    client.handed_over()
    broker.gets(octets("82 07  00 01  00  00 01 61") + bytes([bits]))


def test_options_of_5_0_are_refused_below():
    for version in (3, 4):
        client, broker = connected(version)
        with pytest.raises(ValueError, match=r"5\.0"):
            client.engine.subscribe([("a", SubscribeOptions(0, no_local=True))], None)
        broker.gets_nothing()


@pytest.mark.conformance("5.0", "MQTT-3.10.1-1")
@pytest.mark.conformance("3.1.1", "MQTT-3.10.1-1", "MQTT-2.3.1-1")
@pytest.mark.parametrize(
    ("version", "wanted"),
    [
        (3, "a2 08  00 01  00 01 61  00 01 62"),
        (4, "a2 08  00 01  00 01 61  00 01 62"),
        (5, "a2 09  00 01  00  00 01 61  00 01 62"),
    ],
)
def test_one_unsubscribe_holds_all_filters(version, wanted):
    client, broker = connected(version)
    client.unsubscribe("a", "b")
    broker.gets(octets(wanted))


def test_subscribe_and_unsubscribe_carry_their_properties():
    client, broker = connected()
    client.subscribe("a", subscription_identifier=[7], user_property=[("k", "v")])
    client.unsubscribe("a", user_property=[("k", "v")])
    broker.gets(
        SUBSCRIBE(1, "a", subscription_identifier=[7], user_property=[("k", "v")]),
        UNSUBSCRIBE(2, "a", user_property=[("k", "v")]),
    )


BAD_FILTERS = ["", "a#", "#/a", "a/#/b", "a+", "+a/b", "a\0", "\ud800", "f" * 65_536]
BAD_SHARES = ["$share//a", "$share/g", "$share/g/", "$share/+/a", "$share/#/a"]


@pytest.mark.conformance("5.0", "MQTT-3.8.3-1", "MQTT-3.10.3-1", "MQTT-4.7.1-1")
@pytest.mark.conformance("5.0", "MQTT-4.7.1-2", "MQTT-4.7.3-1", "MQTT-4.7.3-2")
@pytest.mark.conformance("5.0", "MQTT-4.7.3-3", "MQTT-4.8.2-1", "MQTT-4.8.2-2")
@pytest.mark.conformance("3.1.1", "MQTT-3.8.3-1", "MQTT-3.10.3-1", "MQTT-4.7.1-2")
@pytest.mark.conformance("3.1.1", "MQTT-4.7.1-3", "MQTT-4.7.3-1", "MQTT-4.7.3-2")
@pytest.mark.conformance("3.1.1", "MQTT-4.7.3-3")
@pytest.mark.parametrize(
    ("version", "name"),
    [(version, name) for version in (3, 4, 5) for name in BAD_FILTERS]
    + [(5, name) for name in BAD_SHARES],
    ids=lambda value: repr(value)[:12],
)
def test_an_invalid_filter_changes_nothing(version, name):
    client, broker = connected(version)
    for call in (client.subscribe, client.unsubscribe):
        with pytest.raises(ValueError, match="topic filter"):
            call("good", name)
    broker.gets_nothing()
    assert client.subscribe("good").packet_id == 1


@pytest.mark.conformance("5.0", "MQTT-3.8.3-2", "MQTT-3.10.3-2", "MQTT-3.8.3-4")
@pytest.mark.conformance("3.1.1", "MQTT-3.8.3-3", "MQTT-3.10.3-2")
def test_at_least_one_filter_and_no_local_on_no_shared_one(version):
    client, broker = connected(version)
    with pytest.raises(ValueError, match="at least one topic filter"):
        client.subscribe()
    with pytest.raises(ValueError, match="at least one topic filter"):
        client.unsubscribe()
    with pytest.raises(ValueError, match="no_local|5.0"):
        client.engine.subscribe(
            [("$share/g/a", SubscribeOptions(0, no_local=True))], None
        )
    broker.gets_nothing()


# --- what is answered ----------------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-3.9.3-1")
@pytest.mark.conformance("3.1.1", "MQTT-3.9.3-1")
@pytest.mark.parametrize("version", [3, 4, 5])
def test_the_codes_come_in_the_order_of_the_filters(version):
    client, broker = connected(version)
    every = codes(PacketType.SUBACK, version)
    request = client.subscribe(*[f"f/{code}" for code in every], qos=2)
    broker.sends(SUBACK(1, *every))
    assert client.events() == [request]
    assert request.reason_codes == every
    assert all(
        code.name == reason_codes(PacketType.SUBACK, version, Role.SERVER)[code]
        for code in request.reason_codes
    )


@pytest.mark.conformance("5.0", "MQTT-3.11.3-1")
def test_unsuback_has_codes_in_5_0():
    client, broker = connected()
    every = codes(PacketType.UNSUBACK, 5)
    request = client.unsubscribe(*[f"f/{code}" for code in every])
    broker.sends(UNSUBACK(1, *every, reason_string="why"))
    assert client.events() == [request]
    assert request.reason_codes == every
    assert request.properties == Properties(reason_string="why")


@pytest.mark.parametrize(
    "told", [{}, {"reason_string": "why", "user_property": ("a", "b")}]
)
def test_a_suback_says_why(told):
    client, broker = connected()
    request = client.subscribe("a")
    broker.sends(SUBACK(1, 0x87, **told))
    assert client.events() == [request]
    assert request.properties == Properties(**told)


def test_unsuback_has_no_codes_below():
    for version in (3, 4):
        client, broker = connected(version)
        request = client.unsubscribe("a", "b")
        broker.sends(octets("b0 02 00 01"))
        assert client.events() == [request]
        assert request.reason_codes == []


def test_several_requests_may_be_answered_in_any_order(version):
    client, broker = connected(version)
    requests = [client.subscribe("a"), client.unsubscribe("b"), client.subscribe("c")]
    broker.sends(SUBACK(3, 0), UNSUBACK(2, 0), SUBACK(1, 0))
    assert client.events() == requests[::-1]


def test_messages_may_come_before_the_suback(version):
    client, broker = connected(version)
    request = client.subscribe("a")
    broker.sends(PUBLISH("a", b"retained", retain=True), SUBACK(1, 0))
    assert client.payloads() == [b"retained"]
    assert client.events() == [request]


# --- hostile answers -----------------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-2.2.1-6")
@pytest.mark.conformance("3.1.1", "MQTT-2.3.1-7")
def test_an_answer_for_nobody_is_ignored(version):
    client, broker = connected(version)
    request = client.subscribe("a")
    broker.sends(SUBACK(7, 0, 1, 2), UNSUBACK(8, 0))
    assert not client.is_closed
    assert client.events() == []
    broker.sends(SUBACK(1, 0), SUBACK(1, 0))
    assert client.events() == [request]


@pytest.mark.conformance("5.0", "MQTT-3.8.4-6")
@pytest.mark.conformance("3.1.1", "MQTT-3.8.4-5")
@pytest.mark.parametrize("count", [1, 3])
def test_another_count_of_codes_than_filters_ends_the_connection(version, count):
    client, broker = connected(version)
    client.subscribe("a", "b")
    broker.read()
    broker.sends(SUBACK(1, *[0] * count))
    assert client.closed_with() == 0x82
    broker.gets(*[octets("e0 01 82")] * (version == 5))


def test_more_unsuback_codes_than_filters_end_the_connection():
    client, broker = connected()
    client.unsubscribe("a", "b")
    broker.read()
    broker.sends(UNSUBACK(1, 0, 0, 0))
    assert client.closed_with() == 0x82
    broker.gets(octets("e0 01 82"))


@pytest.mark.parametrize(
    "answer", ["90 03 00 01 00", "b0 03 00 01 00", "90 02 00 01", "b0 02 00 01"]
)
def test_no_codes_at_all_end_the_connection(answer):
    client, broker = connected()
    client.subscribe("a")
    client.unsubscribe("a")
    broker.read()
    broker.sends(octets(answer))
    assert client.closed_with() in (0x81, 0x82)


@pytest.mark.conformance("5.0", "MQTT-3.8.4-7", "MQTT-3.9.3-2")
@pytest.mark.conformance("3.1.1", "MQTT-3.9.3-2")
def test_an_unlisted_suback_code_ends_the_connection(version):
    for code in unlisted(PacketType.SUBACK, version):
        client, broker = connected(version)
        client.subscribe("a")
        broker.read()
        properties = b"\x00" * (version == 5)
        broker.sends(
            bytes([0x90, 3 + len(properties), 0, 1]) + properties + bytes([code])
        )
        assert client.closed_with() == 0x82
        broker.gets(*[octets("e0 01 82")] * (version == 5))


@pytest.mark.conformance("5.0", "MQTT-3.11.3-2")
def test_an_unlisted_unsuback_code_ends_the_connection():
    for code in unlisted(PacketType.UNSUBACK, 5):
        client, broker = connected()
        client.unsubscribe("a")
        broker.read()
        broker.sends(octets("b0 04 00 01 00") + bytes([code]))
        assert client.closed_with() == 0x82
        broker.gets(octets("e0 01 82"))


def test_the_answer_to_a_subscribe_is_no_unsuback(version):
    client, broker = connected(version)
    client.subscribe("a")
    broker.read()
    broker.sends(UNSUBACK(1, 0))
    assert client.closed_with() == 0x82


def test_the_answer_to_an_unsubscribe_is_no_suback(version):
    client, broker = connected(version)
    client.unsubscribe("a")
    broker.read()
    broker.sends(SUBACK(1, 0))
    assert client.closed_with() == 0x82


def test_a_request_ends_with_its_connection(version):
    client, broker = connected(version, CONNACK())
    client.subscribe("a")
    broker.vanishes()
    client.connect()
    broker.sends(CONNACK())
    client.events()
    broker.sends(SUBACK(1, 0))
    assert client.events() == []
    assert client.subscribe("a").packet_id == 1


def test_when_every_identifier_is_in_use_nothing_is_written(version):
    client, broker = connected(version)
    client.have_used_identifiers(76)
    client.subscribe("a")
    for _ in range(65_534):
        client.engine.session.outbound.assign_to_request()
    client.handed_over()
    client.written = b""
    for call in (client.subscribe, client.unsubscribe):
        with pytest.raises(MqttError, match="identifiers are in use"):
            call("a")
    broker.gets_nothing()
    broker.sends(SUBACK(77, 0))
    assert client.subscribe("a").packet_id == 77


# --- as few packets as possible ---------------------------------------------------


@pytest.mark.parametrize("identifier", [0, 1, 128, 268_435_455])
@pytest.mark.parametrize("most_bytes", [30, 127, 128, 129, 130, 131, 132, 16_387])
def test_portions_fill_packets_and_never_exceed_them(version, identifier, most_bytes):
    properties = None
    if version == 5 and identifier:
        properties = Properties(subscription_identifier=[identifier])
    # Each takes 8 bytes: at least two portions.
    names = [f"{number:05}" for number in range(most_bytes // 7 + 50)]

    def size_of(portion):
        subscriptions = [(name, SubscribeOptions()) for name in portion]
        packet = Subscribe(1, subscriptions, properties)
        return len(encode(packet, version, Role.CLIENT))

    head = head_size(version, identifier)
    portions = to_portions(names, str, head, most_bytes, 3000)
    assert [name for portion in portions for name in portion] == names
    assert all(size_of(portion) <= most_bytes for portion in portions)
    assert all(size_of([*portion, "00000"]) > most_bytes for portion in portions[:-1])


def test_portions_have_so_many_filters_and_at_least_one():
    portions = to_portions("abcde", str, 2, None, 2)
    assert portions == [["a", "b"], ["c", "d"], ["e"]]
    assert to_portions(["a", "b" * 50, "c"], str, 2, 20, 9) == [
        ["a"],
        ["b" * 50],
        ["c"],
    ]
    assert to_portions([], str, 2, None, 2) == []
    assert [most_in_suback(size) for size in (None, 1, 10, 10**6)] == [
        MOST_FILTERS,
        1,
        2,
        MOST_FILTERS,
    ]
