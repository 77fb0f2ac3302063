"""Packets to bytes: each field at its place, and what the standard forbids refused."""

import pytest

from aiomqtt.properties import SUCCESS, Properties, ReasonCode, SubscribeOptions
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.protocol.packets import (
    NO_TOPIC,
    Ack,
    Connack,
    Connect,
    Ping,
    Publish,
    Signal,
    Suback,
    Subscribe,
    Unsubscribe,
)
from aiomqtt.standard.tables import PacketType, ProtocolVersion, Role
from aiomqtt.topic import Topic

V31, V311, V5 = ProtocolVersion
ALL = list(ProtocolVersion)
BELOW_5 = [V31, V311]
CLIENT, SERVER = Role.CLIENT, Role.SERVER
PUBACK, PUBREC, PUBREL, PUBCOMP = (PacketType(number) for number in (4, 5, 6, 7))
DISCONNECT, AUTH = PacketType.DISCONNECT, PacketType.AUTH


def publish(topic="a/b", payload=b"x", qos=0, mid=0, dup=False, retain=False, **values):
    return Publish(
        Topic(topic) if topic else NO_TOPIC,
        payload,
        qos,
        retain,
        mid,
        Properties(**values) if values else None,
        dup,
    )


def subscribe(*subscriptions, packet_id=1, properties=None):
    return Subscribe(packet_id, list(subscriptions), properties)


def unchecked_topic(value):
    """A Topic that was made past its validation."""
    topic = Topic.__new__(Topic)
    object.__setattr__(topic, "value", value)
    return topic


def encoded(packet, version, sender=CLIENT):
    return encode(packet, version, sender).hex(" ")


def refused(rule):
    return pytest.raises(ValueError, match=rule)


# --- PUBLISH -------------------------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-2.2.1-2", "MQTT-2.2.2-1", "MQTT-3.3.2-1")
@pytest.mark.conformance("5.0", "MQTT-4.3.1-1")
@pytest.mark.conformance("3.1.1", "MQTT-2.3.1-5", "MQTT-3.3.2-1", "MQTT-4.3.1-1")
@pytest.mark.parametrize("version", ALL)
def test_a_publish_of_qos_0_has_no_packet_identifier(version):
    expected = (
        "30 07 00 03 61 2f 62 00 78" if version == V5 else "30 06 00 03 61 2f 62 78"
    )
    assert encoded(publish(), version) == expected


@pytest.mark.conformance("3.1.1", "MQTT-2.3.1-1")
def test_a_publish_of_qos_1_and_2_has_one():
    assert encoded(publish(qos=1, mid=0x1234), V311) == "32 08 00 03 61 2f 62 12 34 78"
    assert encoded(publish(qos=2, mid=1), V5) == "34 09 00 03 61 2f 62 00 01 00 78"


def test_the_flags_of_publish():
    flags = {
        encode(publish(qos=qos, mid=bool(qos), dup=dup, retain=retain), V5, SERVER)[0]
        for qos, dup, retain in [
            (0, False, False),
            (0, False, True),
            (1, True, False),
            (2, True, True),
        ]
    }
    assert flags == {0x30, 0x31, 0x3A, 0x3D}


def test_a_topic_alias_stands_for_the_topic():
    assert encoded(publish("", topic_alias=2), V5) == "30 07 00 00 03 23 00 02 78"


@pytest.mark.conformance(
    "5.0", "MQTT-3.3.1-2", "MQTT-3.3.1-4", "MQTT-2.2.1-2", "MQTT-3.3.2-2"
)
@pytest.mark.conformance(
    "5.0", "MQTT-4.7.3-1", "MQTT-4.7.3-2", "MQTT-4.7.3-3", "MQTT-4.7.1-1"
)
@pytest.mark.conformance("3.1.1", "MQTT-3.3.1-2", "MQTT-2.3.1-5", "MQTT-3.3.2-2")
@pytest.mark.conformance(
    "3.1.1", "MQTT-4.7.1-1", "MQTT-4.7.3-1", "MQTT-4.7.3-2", "MQTT-4.7.3-3"
)
@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize(
    ("packet", "rule"),
    [
        (publish(qos=3, mid=1), "qos must be 0, 1 or 2, not 3"),
        (publish(dup=True), "QoS 0 has no DUP flag"),
        (publish(mid=1), "QoS 0 has no packet identifier"),
        (publish(qos=1), "packet identifier must be 1 to 65535, not 0"),
        (publish(qos=2, mid=65_536), "packet identifier must be 1 to 65535"),
        (publish(""), "topic must "),
        *(
            (
                Publish(unchecked_topic(name), b"", 0, False, 0, None, False),
                "^topic must (not contain|be)",
            )
            for name in ("a/+", "#", "a+b", "a#", "a\0b", "\ud800", "é" * 32_768)
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_publish_that_the_standard_forbids(version, packet, rule):
    with refused(rule):
        encode(packet, version, CLIENT)


@pytest.mark.parametrize("qos", ["1", None, 1.0, [1]])
def test_a_qos_is_an_int(qos):
    with pytest.raises(
        TypeError, match="^qos must be an int, not |^int object expected"
    ):
        encode(publish(qos=qos, mid=1), V311, CLIENT)


def test_a_topic_with_an_alias_is_checked_too():
    with refused("topic must not contain the wildcards"):
        message = publish(topic_alias=1)
        message.topic = unchecked_topic("a/#")
        encode(message, V5, CLIENT)


@pytest.mark.conformance("5.0", "MQTT-3.3.4-6")
def test_a_clients_publish_has_no_subscription_identifier():
    message = publish(subscription_identifier=[1])
    with refused("subscription_identifier is not allowed in the PUBLISH of a client"):
        encode(message, V5, CLIENT)
    assert encode(message, V5, SERVER)


# --- acknowledgements ----------------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-3.6.1-1")
@pytest.mark.conformance("3.1.1", "MQTT-3.6.1-1")
@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize(
    ("kind", "first"), [(PUBACK, "40"), (PUBREC, "50"), (PUBREL, "62"), (PUBCOMP, "70")]
)
def test_success_takes_the_shortest_form(kind, first, version):
    # MQTT 5.0 §3.4.2.1: the reason code and the property length go without saying.
    for properties in (None, Properties()):
        packet = Ack(kind, 0x0102, SUCCESS, properties)
        assert encoded(packet, version) == f"{first} 02 01 02"


def test_a_reason_code_without_properties_needs_no_property_length():
    assert encoded(Ack(PUBACK, 1, ReasonCode(0x10)), V5) == "40 03 00 01 10"


def test_a_success_with_properties_takes_all():
    packet = Ack(PUBACK, 1, SUCCESS, Properties(reason_string="x"))
    assert encoded(packet, V5) == "40 08 00 01 00 04 1f 00 01 78"


@pytest.mark.conformance(
    "5.0", "MQTT-3.4.2-1", "MQTT-3.5.2-1", "MQTT-3.6.2-1", "MQTT-3.7.2-1"
)
@pytest.mark.parametrize(
    ("kind", "code"), [(PUBACK, 0x92), (PUBREC, 0x81), (PUBREL, 0x80), (PUBCOMP, 0x10)]
)
def test_an_ack_uses_a_listed_reason_code(kind, code):
    with refused(f"{code:#04x} is not allowed in {kind.name}"):
        encode(Ack(kind, 1, ReasonCode(code)), V5, CLIENT)


@pytest.mark.parametrize("version", BELOW_5)
def test_an_ack_has_no_reason_code_below_5_0(version):
    with refused("PUBACK has no reason code below MQTT 5.0"):
        encode(Ack(PUBACK, 1, ReasonCode(0x87)), version, CLIENT)


@pytest.mark.parametrize("packet_id", [0, -1, 65_536])
@pytest.mark.parametrize(
    "make",
    [
        lambda packet_id: Ack(PUBACK, packet_id),
        lambda packet_id: subscribe(("a", SubscribeOptions()), packet_id=packet_id),
        lambda packet_id: Unsubscribe(packet_id, ["a"]),
    ],
    ids=["ack", "subscribe", "unsubscribe"],
)
@pytest.mark.conformance("3.1.1", "MQTT-2.3.1-1")
def test_a_packet_identifier_is_1_to_65535(make, packet_id):
    for version in ALL:
        with refused("packet identifier must be 1 to 65535"):
            encode(make(packet_id), version, CLIENT)


# --- SUBSCRIBE and UNSUBSCRIBE -------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-3.8.1-1", "MQTT-3.8.3-1", "MQTT-3.8.3-5")
@pytest.mark.conformance("3.1.1", "MQTT-3.8.1-1", "MQTT-3.8.3-1", "MQTT-3-8.3-4")
def test_subscribe():
    packet = subscribe(("a", SubscribeOptions(1)), ("é", SubscribeOptions(2)))
    assert encoded(packet, V311) == "82 0b 00 01 00 01 61 01 00 02 c3 a9 02"
    packet = subscribe(
        ("a", SubscribeOptions(2, True, True, 2)),
        properties=Properties(subscription_identifier=200),
    )
    assert encoded(packet, V5) == "82 0a 00 01 03 0b c8 01 00 01 61 2e"


@pytest.mark.parametrize(
    ("options", "bits"),
    [
        (SubscribeOptions(0), 0x00),
        (SubscribeOptions(2), 0x02),
        (SubscribeOptions(no_local=True), 0x04),
        (SubscribeOptions(retain_as_published=True), 0x08),
        (SubscribeOptions(retain_handling=1), 0x10),
        (SubscribeOptions(retain_handling=2), 0x20),
    ],
)
def test_each_option_has_its_bits(options, bits):
    assert encode(subscribe(("a", options)), V5, CLIENT)[-1] == bits
    if bits > 2:
        for version in BELOW_5:
            with refused("options other than qos exist since MQTT 5.0 only"):
                encode(subscribe(("a", options)), version, CLIENT)


@pytest.mark.conformance("5.0", "MQTT-3.10.1-1", "MQTT-3.10.3-1")
@pytest.mark.conformance("3.1.1", "MQTT-3.10.1-1", "MQTT-3.10.3-1")
def test_unsubscribe():
    packet = Unsubscribe(1, ["a", "é"])
    assert encoded(packet, V311) == "a2 09 00 01 00 01 61 00 02 c3 a9"
    assert encoded(packet, V5) == "a2 0a 00 01 00 00 01 61 00 02 c3 a9"


@pytest.mark.conformance("5.0", "MQTT-3.8.3-2", "MQTT-3.10.3-2")
@pytest.mark.conformance("3.1.1", "MQTT-3.8.3-3", "MQTT-3.10.3-2")
@pytest.mark.parametrize("version", ALL)
def test_there_is_at_least_one_filter(version):
    with refused("SUBSCRIBE needs at least one topic filter"):
        encode(subscribe(), version, CLIENT)
    with refused("UNSUBSCRIBE needs at least one topic filter"):
        encode(Unsubscribe(1, []), version, CLIENT)


@pytest.mark.conformance(
    "5.0",
    "MQTT-4.7.1-1",
    "MQTT-4.7.1-2",
    "MQTT-4.7.3-1",
    "MQTT-4.7.3-2",
    "MQTT-4.7.3-3",
    "MQTT-4.8.2-1",
    "MQTT-4.8.2-2",
    "MQTT-3.8.3-1",
    "MQTT-3.10.3-1",
)
@pytest.mark.conformance(
    "3.1.1",
    "MQTT-4.7.1-2",
    "MQTT-4.7.1-3",
    "MQTT-4.7.3-1",
    "MQTT-4.7.3-2",
    "MQTT-4.7.3-3",
    "MQTT-3.8.3-1",
    "MQTT-3.10.3-1",
)
@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize(
    "topic_filter",
    [
        "",
        "a+",
        "+a",
        "a/b+/c",
        "a#",
        "a/#/b",
        "#/a",
        "##",
        "a\0b",
        "\ud800",
        "x" * 65_536,
        "$share/",
        "$share//a",
        "$share/group",
        "$share/group/",
        "$share/gr+up/a",
        "$share/gr#up/a",
        "$share/#",
    ],
    ids=lambda text: ascii(text[:16]),
)
def test_an_invalid_filter_is_refused(version, topic_filter):
    with refused("Invalid topic filter"):
        encode(subscribe((topic_filter, SubscribeOptions())), version, CLIENT)
    with refused("Invalid topic filter"):
        encode(Unsubscribe(1, [topic_filter]), version, CLIENT)


@pytest.mark.parametrize(
    "topic_filter",
    [
        "/",
        "+",
        "#",
        "+/+",
        "a/+/b",
        "a/#",
        "$SYS/#",
        "$share/g/#",
        "$share/g//a",
        "$share",
    ],
)
def test_a_valid_filter_is_taken(topic_filter):
    assert encode(subscribe((topic_filter, SubscribeOptions())), V5, CLIENT)
    assert encode(Unsubscribe(1, [topic_filter]), V5, CLIENT)


@pytest.mark.conformance("5.0", "MQTT-3.8.3-4")
def test_no_local_is_not_for_a_shared_subscription():
    options = SubscribeOptions(no_local=True)
    with refused("no_local is not allowed on a shared subscription"):
        encode(subscribe(("$share/g/a", options)), V5, CLIENT)


def test_suback_and_unsuback():
    codes = [ReasonCode(1), ReasonCode(0x80)]
    assert encoded(Suback(PacketType.SUBACK, 1, codes), V311, SERVER) == (
        "90 04 00 01 01 80"
    )
    assert encoded(Suback(PacketType.SUBACK, 1, codes), V5, SERVER) == (
        "90 05 00 01 00 01 80"
    )
    assert encoded(Suback(PacketType.UNSUBACK, 1, []), V311, SERVER) == "b0 02 00 01"
    codes = [ReasonCode(0x11)]
    assert encoded(Suback(PacketType.UNSUBACK, 1, codes), V5, SERVER) == (
        "b0 04 00 01 00 11"
    )


@pytest.mark.conformance("5.0", "MQTT-3.8.4-7", "MQTT-3.9.3-2", "MQTT-3.11.3-2")
@pytest.mark.conformance("3.1.1", "MQTT-3.9.3-2")
@pytest.mark.parametrize(
    ("kind", "version", "codes", "rule"),
    [
        (PacketType.SUBACK, V5, [0, 3], "0x03 is not allowed in SUBACK"),
        (PacketType.SUBACK, V5, [0x11], "0x11 is not allowed in SUBACK"),
        (PacketType.SUBACK, V311, [0x87], "0x87 is not allowed in SUBACK"),
        (PacketType.UNSUBACK, V5, [1], "0x01 is not allowed in UNSUBACK"),
        (PacketType.SUBACK, V5, [], "SUBACK needs a reason code"),
        (PacketType.SUBACK, V311, [], "SUBACK needs a reason code"),
        (PacketType.UNSUBACK, V5, [], "UNSUBACK needs a reason code"),
    ],
)
def test_a_suback_that_the_standard_forbids(kind, version, codes, rule):
    with refused(rule):
        encode(Suback(kind, 1, list(map(ReasonCode, codes))), version, SERVER)


# --- PINGREQ, PINGRESP, DISCONNECT, AUTH ---------------------------------------


@pytest.mark.conformance("3.1.1", "MQTT-3.14.1-1")
@pytest.mark.parametrize("version", ALL)
def test_packets_without_a_body(version):
    assert encoded(Ping(PacketType.PINGREQ), version) == "c0 00"
    assert encoded(Ping(PacketType.PINGRESP), version, SERVER) == "d0 00"
    assert encoded(Signal(DISCONNECT), version) == "e0 00"


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (Signal(DISCONNECT, 0, Properties()), "e0 00"),
        (Signal(DISCONNECT, 4), "e0 01 04"),
        (
            Signal(DISCONNECT, 0, Properties(session_expiry_interval=1)),
            "e0 07 00 05 11 00 00 00 01",
        ),
        (
            Signal(AUTH, 0x18, Properties(authentication_method="m")),
            "f0 06 18 04 15 00 01 6d",
        ),
    ],
)
def test_disconnect_and_auth_in_5_0(packet, expected):
    assert encoded(packet, V5) == expected


@pytest.mark.conformance("5.0", "MQTT-3.14.2-1", "MQTT-3.15.2-1", "MQTT-3.14.2-2")
@pytest.mark.parametrize(
    ("packet", "sender", "rule"),
    [
        (Signal(DISCONNECT, 1), CLIENT, "0x01 is not allowed in DISCONNECT"),
        (Signal(DISCONNECT, 0x8E), CLIENT, "0x8e is not allowed in DISCONNECT"),
        (Signal(DISCONNECT, 4), SERVER, "0x04 is not allowed in DISCONNECT"),
        (Signal(AUTH, 0), CLIENT, "0x00 is not allowed in AUTH"),
        (Signal(AUTH, 0x19), SERVER, "0x19 is not allowed in AUTH"),
        (
            Signal(DISCONNECT, 0, Properties(session_expiry_interval=1)),
            SERVER,
            "session_expiry_interval is not allowed in the DISCONNECT of a server",
        ),
        (
            Signal(DISCONNECT, 0, Properties(server_reference="x")),
            CLIENT,
            "server_reference is not allowed in the DISCONNECT of a client",
        ),
    ],
)
def test_a_signal_that_the_standard_forbids(packet, sender, rule):
    with refused(rule):
        encode(packet, V5, sender)


@pytest.mark.parametrize(
    "packet", [Signal(AUTH, 0x18), Signal(AUTH, 0x18, Properties())]
)
def test_auth_names_its_method(packet):
    # MQTT 5.0 §3.15.2.2.2.
    with refused("authentication_method|Authentication Method"):
        encode(packet, V5, CLIENT)


@pytest.mark.parametrize("version", BELOW_5)
def test_disconnect_has_no_reason_below_5_0(version):
    with refused("DISCONNECT has no reason code below MQTT 5.0"):
        encode(Signal(DISCONNECT, 4), version, CLIENT)


# --- who sends what ------------------------------------------------------------


@pytest.mark.parametrize(
    ("packet", "version", "sender"),
    [
        (Connect(V5, "id"), V5, SERVER),
        (Connack(False, ReasonCode(0)), V311, CLIENT),
        (subscribe(("a", SubscribeOptions())), V5, SERVER),
        (Suback(PacketType.SUBACK, 1, [ReasonCode(0)]), V31, CLIENT),
        (Unsubscribe(1, ["a"]), V5, SERVER),
        (Suback(PacketType.UNSUBACK, 1, []), V311, CLIENT),
        (Ping(PacketType.PINGREQ), V5, SERVER),
        (Ping(PacketType.PINGRESP), V5, CLIENT),
        (Signal(DISCONNECT), V311, SERVER),
        (Signal(AUTH), V311, CLIENT),
        (Signal(AUTH), V31, SERVER),
    ],
    ids=lambda value: getattr(value, "name", None) or type(value).__name__,
)
def test_a_role_sends_only_its_packets(packet, version, sender):
    with refused(f"a {sender.value} sends no {packet.kind.name} in this version"):
        encode(packet, version, sender)


def test_a_packet_ends_at_the_largest_remaining_length():
    message = publish("a", bytes(268_435_455 - 2))
    with refused("the packet has 268435456 bytes; 268435455 are the most"):
        encode(message, V311, CLIENT)
