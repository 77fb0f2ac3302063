"""The table against the standard, written down again, and against paho-mqtt's."""

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties
from paho.mqtt.reasoncodes import ReasonCode as PahoReasonCode

from aiomqtt import ProtocolVersion
from aiomqtt.standard import tables
from aiomqtt.standard.tables import DataType, PacketType, Role

# MQTT 5.0 §2.1.2 and §2.1.3: number, flags, and who sends it: client, server.
PACKETS = """
    CONNECT      1   0     C
    CONNACK      2   0     S
    PUBLISH      3   -     CS
    PUBACK       4   0     CS
    PUBREC       5   0     CS
    PUBREL       6   2     CS
    PUBCOMP      7   0     CS
    SUBSCRIBE    8   2     C
    SUBACK       9   0     S
    UNSUBSCRIBE  10  2     C
    UNSUBACK     11  0     S
    PINGREQ      12  0     C
    PINGRESP     13  0     S
    DISCONNECT   14  0     CS
    AUTH         15  0     CS
"""

# MQTT 5.0 table 2-4, with the packets' sections for who sends it, where it may
# repeat (*) and its range. A packet that only one side sends needs no mark; with
# :C or :S only that side may put the property into it.
PROPERTIES = """
    01 | Payload Format Indicator | Byte | PUBLISH WILL | 0 1
    02 | Message Expiry Interval | Four Byte Integer | PUBLISH WILL | 0 4294967295
    03 | Content Type | UTF-8 Encoded String | PUBLISH WILL |
    08 | Response Topic | UTF-8 Encoded String | PUBLISH WILL |
    09 | Correlation Data | Binary Data | PUBLISH WILL |
    0B | Subscription Identifier | Variable Byte Integer | PUBLISH:S* SUBSCRIBE | 1 268435455
    11 | Session Expiry Interval | Four Byte Integer | CONNECT CONNACK DISCONNECT:C | 0 4294967295
    12 | Assigned Client Identifier | UTF-8 Encoded String | CONNACK |
    13 | Server Keep Alive | Two Byte Integer | CONNACK | 0 65535
    15 | Authentication Method | UTF-8 Encoded String | CONNECT CONNACK AUTH |
    16 | Authentication Data | Binary Data | CONNECT CONNACK AUTH |
    17 | Request Problem Information | Byte | CONNECT | 0 1
    18 | Will Delay Interval | Four Byte Integer | WILL | 0 4294967295
    19 | Request Response Information | Byte | CONNECT | 0 1
    1A | Response Information | UTF-8 Encoded String | CONNACK |
    1C | Server Reference | UTF-8 Encoded String | CONNACK DISCONNECT:S |
    1F | Reason String | UTF-8 Encoded String | CONNACK PUBACK PUBREC PUBREL PUBCOMP SUBACK UNSUBACK DISCONNECT AUTH |
    21 | Receive Maximum | Two Byte Integer | CONNECT CONNACK | 1 65535
    22 | Topic Alias Maximum | Two Byte Integer | CONNECT CONNACK | 0 65535
    23 | Topic Alias | Two Byte Integer | PUBLISH | 1 65535
    24 | Maximum QoS | Byte | CONNACK | 0 1
    25 | Retain Available | Byte | CONNACK | 0 1
    26 | User Property | UTF-8 String Pair | CONNECT* CONNACK* PUBLISH* WILL* PUBACK* PUBREC* PUBREL* PUBCOMP* SUBSCRIBE* SUBACK* UNSUBSCRIBE* UNSUBACK* DISCONNECT* AUTH* |
    27 | Maximum Packet Size | Four Byte Integer | CONNECT CONNACK | 1 4294967295
    28 | Wildcard Subscription Available | Byte | CONNACK | 0 1
    29 | Subscription Identifier Available | Byte | CONNACK | 0 1
    2A | Shared Subscription Available | Byte | CONNACK | 0 1
"""  # noqa: E501

# MQTT 5.0 table 2-6, with the senders of the tables in §3.
REASON_CODES = """
    00 | Success | CONNACK PUBACK PUBREC PUBREL PUBCOMP UNSUBACK AUTH:S
    00 | Normal disconnection | DISCONNECT
    00 | Granted QoS 0 | SUBACK
    01 | Granted QoS 1 | SUBACK
    02 | Granted QoS 2 | SUBACK
    04 | Disconnect with Will Message | DISCONNECT:C
    10 | No matching subscribers | PUBACK PUBREC
    11 | No subscription existed | UNSUBACK
    18 | Continue authentication | AUTH
    19 | Re-authenticate | AUTH:C
    80 | Unspecified error | CONNACK PUBACK PUBREC SUBACK UNSUBACK DISCONNECT
    81 | Malformed Packet | CONNACK DISCONNECT
    82 | Protocol Error | CONNACK DISCONNECT
    83 | Implementation specific error | CONNACK PUBACK PUBREC SUBACK UNSUBACK DISCONNECT
    84 | Unsupported Protocol Version | CONNACK
    85 | Client Identifier not valid | CONNACK
    86 | Bad User Name or Password | CONNACK
    87 | Not authorized | CONNACK PUBACK PUBREC SUBACK UNSUBACK DISCONNECT:S
    88 | Server unavailable | CONNACK
    89 | Server busy | CONNACK DISCONNECT:S
    8A | Banned | CONNACK
    8B | Server shutting down | DISCONNECT:S
    8C | Bad authentication method | CONNACK DISCONNECT:S
    8D | Keep Alive timeout | DISCONNECT:S
    8E | Session taken over | DISCONNECT:S
    8F | Topic Filter invalid | SUBACK UNSUBACK DISCONNECT:S
    90 | Topic Name invalid | CONNACK PUBACK PUBREC DISCONNECT
    91 | Packet Identifier in use | PUBACK PUBREC SUBACK UNSUBACK
    92 | Packet Identifier not found | PUBREL PUBCOMP
    93 | Receive Maximum exceeded | DISCONNECT
    94 | Topic Alias invalid | DISCONNECT
    95 | Packet too large | CONNACK DISCONNECT
    96 | Message rate too high | DISCONNECT
    97 | Quota exceeded | CONNACK PUBACK PUBREC SUBACK DISCONNECT
    98 | Administrative action | DISCONNECT
    99 | Payload format invalid | CONNACK PUBACK PUBREC DISCONNECT
    9A | Retain not supported | CONNACK DISCONNECT:S
    9B | QoS not supported | CONNACK DISCONNECT:S
    9C | Use another server | CONNACK DISCONNECT:S
    9D | Server moved | CONNACK DISCONNECT:S
    9E | Shared Subscriptions not supported | SUBACK DISCONNECT:S
    9F | Connection rate exceeded | CONNACK DISCONNECT:S
    A0 | Maximum connect time | DISCONNECT:S
    A1 | Subscription Identifiers not supported | SUBACK DISCONNECT:S
    A2 | Wildcard Subscriptions not supported | SUBACK DISCONNECT:S
"""  # noqa: E501

SENDERS = {
    "C": frozenset({Role.CLIENT}),
    "S": frozenset({Role.SERVER}),
    "CS": frozenset({Role.CLIENT, Role.SERVER}),
}


def rows(table: str, separator: str | None = None) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.split(separator)]
        for line in table.strip().splitlines()
    ]


PACKET_SENDERS = {name: SENDERS[who] for name, _, _, who in rows(PACKETS)}
PACKET_SENDERS["WILL"] = SENDERS["C"]


def packets(cell: str) -> dict[PacketType, frozenset[Role]]:
    """``DISCONNECT:C PUBLISH*`` as packets and their senders."""
    found = {}
    for word in cell.split():
        name, _, who = word.rstrip("*").partition(":")
        found[PacketType[name]] = SENDERS[who] if who else PACKET_SENDERS[name]
    return found


# --- packets -------------------------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-2.1.3-1")
@pytest.mark.conformance("3.1.1", "MQTT-2.2.2-1")
@pytest.mark.parametrize(
    ("name", "number", "flags", "who"), rows(PACKETS), ids=lambda cell: cell
)
def test_each_packet_has_its_number_flags_and_senders(name, number, flags, who):
    row = tables.PACKET[PacketType(int(number))]
    assert row.packet.name == name
    assert row.flags == (None if flags == "-" else int(flags))
    assert row.senders == SENDERS[who]


def test_the_table_of_packets_has_no_other_row():
    assert [row.packet.name for row in tables.PACKETS] == [
        name for name, *_ in rows(PACKETS)
    ]
    assert len(tables.PACKET) == 15


def test_a_server_sends_disconnect_since_5_0_only():
    for version in (3, 4):
        assert tables.senders(PacketType.DISCONNECT, version) == SENDERS["C"]
    assert tables.senders(PacketType.DISCONNECT, 5) == SENDERS["CS"]


def test_auth_exists_since_5_0_only():
    for version in (3, 4):
        assert tables.senders(PacketType.AUTH, version) == frozenset()
    assert tables.senders(PacketType.AUTH, 5) == SENDERS["CS"]


def test_all_other_packets_have_the_same_senders_in_all_versions():
    for row in tables.PACKETS:
        if row.packet not in (PacketType.DISCONNECT, PacketType.AUTH):
            for version in ProtocolVersion:
                assert tables.senders(row.packet, version) == row.senders


# --- properties ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "title", "kind", "where", "limits"),
    rows(PROPERTIES, "|"),
    ids=lambda cell: cell if cell.istitle() else "",
)
def test_each_property_has_its_type_packets_and_range(
    number, title, kind, where, limits
):
    row = tables.PROPERTY[int(number, 16)]
    assert row.title == title
    assert row.type is DataType(kind)
    assert row.packets == packets(where)
    assert row.repeats == set(
        packets(" ".join(word for word in where.split() if word.endswith("*")))
    )
    if limits:
        assert [row.minimum, row.largest] == [int(limit) for limit in limits.split()]
    else:
        assert row.type not in tables.MAXIMA


def test_the_table_of_properties_has_no_other_row():
    expected = [int(number, 16) for number, *_ in rows(PROPERTIES, "|")]
    assert [row.identifier for row in tables.PROPERTIES] == expected
    assert len(expected) == 27


def test_the_names_of_a_property_are_made_of_the_standards():
    assert tables.PROPERTY_NAMES["session_expiry_interval"].identifier == 0x11
    assert tables.CAMEL_NAMES["SessionExpiryInterval"].identifier == 0x11
    assert tables.PROPERTY_NAMES["maximum_qos"].camel_name == "MaximumQoS"


@pytest.mark.conformance("5.0", "MQTT-3.3.2-8")
def test_what_a_value_out_of_range_is_answered_with():
    # MQTT 5.0 §3.3.4 names 0x94 for a topic alias of zero.
    assert {row.title for row in tables.PROPERTIES if row.range_error != 0x82} == {
        "Topic Alias"
    }
    assert tables.PROPERTY_NAMES["topic_alias"].range_error == 0x94


def test_only_the_response_topic_is_a_topic_name():
    assert [row.title for row in tables.PROPERTIES if row.is_topic] == [
        "Response Topic"
    ]


# --- reason codes --------------------------------------------------------------


@pytest.mark.conformance(
    "5.0",
    "MQTT-3.4.2-1",
    "MQTT-3.5.2-1",
    "MQTT-3.6.2-1",
    "MQTT-3.7.2-1",
    "MQTT-3.14.2-1",
    "MQTT-3.15.2-1",
)
def test_each_reason_code_has_its_name_packets_and_senders():
    assert [(row.code, row.name, row.packets) for row in tables.REASON_CODES] == [
        (int(code, 16), name, packets(where))
        for code, name, where in rows(REASON_CODES, "|")
    ]


def test_a_reason_code_is_named_by_its_packet():
    def name(packet, sender=Role.SERVER):
        return tables.reason_codes(packet, 5, sender)[0]

    assert name(PacketType.PUBACK) == "Success"
    assert name(PacketType.SUBACK) == "Granted QoS 0"
    assert name(PacketType.DISCONNECT) == "Normal disconnection"
    assert tables.REASON_NAMES[0] == "Success"


def test_the_return_codes_of_connack_below_5_0():
    # MQTT 3.1.1 §3.2.2.3, MQTT 3.1 §3.2.
    for version in (3, 4):
        codes = tables.reason_codes(PacketType.CONNACK, version, Role.SERVER)
        assert sorted(codes) == [0, 1, 2, 3, 4, 5]


@pytest.mark.conformance("3.1.1", "MQTT-3.9.3-2")
def test_the_return_codes_of_suback_below_5_0():
    for version in (3, 4):
        codes = tables.reason_codes(PacketType.SUBACK, version, Role.SERVER)
        assert sorted(codes) == [0, 1, 2, 0x80]


def test_no_other_packet_has_codes_below_5_0():
    for packet in set(PacketType) - {PacketType.CONNACK, PacketType.SUBACK}:
        for role in Role:
            assert tables.reason_codes(packet, 4, role) == {}


# --- the versions --------------------------------------------------------------


def test_the_versions_are_the_levels_of_connect():
    assert {version.name: int(version) for version in ProtocolVersion} == {
        "V31": 3,
        "V311": 4,
        "V5": 5,
    }
    assert ProtocolVersion(5) is ProtocolVersion.V5
    # Programs pass plain ints.
    assert list(ProtocolVersion) == [3, 4, 5]


@pytest.mark.conformance("5.0", "MQTT-3.1.2-1")
def test_the_protocol_names():
    assert tables.PROTOCOL_NAMES == {3: "MQIsdp", 4: "MQTT", 5: "MQTT"}


# --- the tables of paho-mqtt ---------------------------------------------------

PAHO_PACKETS = {number: PacketType(number) for number in PacketTypes.indexes}
PAHO_PACKETS[PacketTypes.WILLMESSAGE] = PacketType.WILL

# Table 2-6 has 0x99 in CONNACK, for a will; paho-mqtt's table forgot it.
PAHO_FORGETS = {(0x99, PacketType.CONNACK)}
# Words that paho-mqtt says in its own way; capitals are not compared.
PAHO_WORDS = {
    0x11: "no subscription found",
    0x9E: "shared subscription not supported",
    0xA2: "wildcard subscription not supported",
}


def test_the_properties_are_those_of_paho():
    theirs = PahoProperties(PacketTypes.PUBLISH)
    titles = {number: title for title, number in theirs.names.items()}
    assert {
        number: (titles[number], theirs.types[kind], {PAHO_PACKETS[p] for p in where})
        for number, (kind, where) in theirs.properties.items()
    } == {
        row.identifier: (row.title, row.type.value, set(row.packets))
        for row in tables.PROPERTIES
    }


def test_the_properties_that_repeat_are_those_of_paho():
    theirs = PahoProperties(PacketTypes.PUBLISH)
    for row in tables.PROPERTIES:
        assert bool(row.repeats) == theirs.allowsMultiple(row.camel_name)


def test_the_reason_codes_are_those_of_paho():
    theirs = {
        (code, name.lower(), PAHO_PACKETS[packet])
        for code, names in PahoReasonCode.names.items()
        for name, where in names.items()
        for packet in where
    }
    ours = {
        (row.code, PAHO_WORDS.get(row.code, row.name.lower()), packet)
        for row in tables.REASON_CODES
        for packet in row.packets
        if (row.code, packet) not in PAHO_FORGETS
    }
    assert ours == theirs
