"""Properties to bytes and back: each type, and each rule of MQTT 5.0 §2.2.2."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiomqtt.properties import Properties
from aiomqtt.protocol.codec.properties import (
    check_properties,
    decode_properties,
    encode_properties,
)
from aiomqtt.protocol.wire import PacketError, Reader
from aiomqtt.standard.tables import (
    PROPERTIES,
    PROPERTY,
    DataType,
    PacketType,
    ProtocolVersion,
    Role,
)
from tests.examples import examples
from tests.protocol.codec.strategies import value

V5 = ProtocolVersion.V5
CLIENT, SERVER = Role.CLIENT, Role.SERVER

# One value of each type, and how it is encoded.
ENCODED = {
    DataType.BYTE: (1, "01"),
    DataType.TWO_BYTE_INTEGER: (258, "0102"),
    DataType.FOUR_BYTE_INTEGER: (16_909_060, "01020304"),
    DataType.VARIABLE_BYTE_INTEGER: (128, "8001"),
    DataType.BINARY_DATA: (b"\xff\x00", "0002ff00"),
    DataType.UTF8_STRING: ("é", "0002c3a9"),
    DataType.UTF8_STRING_PAIR: (("a", ""), "0001610000"),
}

CARRIED = [
    pytest.param(row, packet, sender, id=f"{row.name}-{packet.name}-{sender.value}")
    for row in PROPERTIES
    for packet, senders in row.packets.items()
    for sender in sorted(senders, key=lambda role: role.value)
]
# Hundreds: one test for each property.
NOT_CARRIED = [
    (row, packet, sender)
    for row in PROPERTIES
    for packet in PacketType
    for sender in Role
    if sender not in row.packets.get(packet, ())
]


def one(row):
    """A value of a property, and the property encoded."""
    number, encoded = ENCODED[row.type]
    return number, bytes((row.identifier,)) + bytes.fromhex(encoded)


def companions(row):
    """Return the properties that must accompany a property."""
    if row.name == "authentication_data":
        return {"authentication_method": "m"}, b"\x15\0\x01m"
    return {}, b""


def section(*properties):
    body = b"".join(properties)
    assert len(body) < 128
    return bytes((len(body),)) + body


def decoded(data, packet=PacketType.CONNACK, sender=SERVER):
    reader = Reader(data)
    properties = decode_properties(reader, packet, V5, sender)
    reader.finish()
    return properties


def answered_with(code):
    return pytest.raises(PacketError, check=lambda error: error.reason_code == code)


@pytest.mark.parametrize(("row", "packet", "sender"), CARRIED)
def test_a_property_that_the_packet_carries(row, packet, sender):
    extra, extra_encoded = companions(row)
    number, encoded = one(row)
    properties = Properties(**extra)
    setattr(properties, row.name, [number] if row.repeats else number)
    data = section(extra_encoded, encoded)
    assert encode_properties(properties, packet, V5, sender) == data
    assert decoded(data, packet, sender) == properties


@pytest.mark.parametrize("name", [row.name for row in PROPERTIES])
def test_a_property_that_the_packet_does_not_carry(name):
    for row, packet, sender in NOT_CARRIED:
        if row.name != name:
            continue
        number, encoded = one(row)
        properties = Properties()
        setattr(properties, row.name, [number] if row.repeats else number)
        rule = f"^{row.name} is not allowed in the {packet.name} of a {sender.value}"
        with pytest.raises(ValueError, match=rule):
            encode_properties(properties, packet, V5, sender)
        # A packet that never has it is malformed; one that only the other side gives
        # it is a protocol error.
        with answered_with(0x82 if packet in row.packets else 0x81):
            decoded(section(encoded), packet, sender)


@pytest.mark.parametrize(("row", "packet", "sender"), CARRIED)
def test_a_property_that_stands_twice(row, packet, sender):
    _, extra_encoded = companions(row)
    number, encoded = one(row)
    data = section(extra_encoded, encoded, encoded)
    if packet in row.repeats:
        assert getattr(decoded(data, packet, sender), row.name) == [number, number]
    else:
        with answered_with(0x82):
            decoded(data, packet, sender)


def test_a_client_subscribes_with_one_identifier_only():
    properties = Properties(subscription_identifier=[1, 2])
    with pytest.raises(
        ValueError, match="subscription_identifier is allowed only once"
    ):
        encode_properties(properties, PacketType.SUBSCRIBE, V5, CLIENT)
    assert encode_properties(properties, PacketType.PUBLISH, V5, SERVER)


def test_properties_that_repeat_keep_their_order():
    pairs = [("b", "1"), ("a", "2"), ("b", "1")]
    properties = Properties(user_property=pairs)
    data = encode_properties(properties, PacketType.PUBLISH, V5, CLIENT)
    assert decoded(data, PacketType.PUBLISH, CLIENT).user_property == pairs


@pytest.mark.conformance("5.0", "MQTT-2.2.2-1")
def test_no_properties_are_a_length_of_zero():
    for properties in (None, Properties()):
        assert encode_properties(properties, PacketType.PUBLISH, V5, CLIENT) == b"\0"
    assert decoded(b"\0") == Properties()


@pytest.mark.parametrize("version", [3, 4])
def test_there_are_no_properties_below_5_0(version):
    for properties in (None, Properties()):
        assert encode_properties(properties, PacketType.PUBLISH, version, CLIENT) == b""
    properties = Properties(content_type="a", topic_alias=1)
    with pytest.raises(ValueError, match=r"MQTT 5\.0 only: content_type, topic_alias"):
        check_properties(properties, PacketType.PUBLISH, version)
    reader = Reader(b"\x05rest")
    assert decode_properties(reader, PacketType.PUBLISH, version, CLIENT) is None
    assert reader.position == 0


def test_properties_without_a_value_say_nothing():
    # An empty sequence means that the property is absent.
    properties = Properties(user_property=[], subscription_identifier=[])
    assert encode_properties(properties, PacketType.CONNACK, V5, SERVER) == b"\0"
    assert encode_properties(properties, PacketType.PUBLISH, 4, CLIENT) == b""


NUMBERS = [row for row in PROPERTIES if isinstance(ENCODED[row.type][0], int)]
SIZES = {DataType.BYTE: 1, DataType.TWO_BYTE_INTEGER: 2, DataType.FOUR_BYTE_INTEGER: 4}


@pytest.mark.conformance("5.0", "MQTT-3.3.2-8")
@pytest.mark.parametrize("row", NUMBERS, ids=lambda row: row.name)
def test_a_number_out_of_range_is_answered(row):
    packet, senders = next(iter(row.packets.items()))
    sender = min(senders, key=lambda role: role.value)
    size = SIZES.get(row.type, 1)

    def decode_number(number):
        encoded = bytes((row.identifier,)) + number.to_bytes(size, "big")
        return getattr(decoded(section(encoded), packet, sender), row.name)

    if row.name != "subscription_identifier":
        assert decode_number(row.minimum) == row.minimum
        assert decode_number(row.largest) == row.largest
    out_of_range = [row.minimum - 1] if row.minimum else []
    if row.largest < 256**size - 1 and row.name != "subscription_identifier":
        out_of_range += [row.largest + 1, 256**size - 1]
    for number in out_of_range:
        with answered_with(0x94 if row.name == "topic_alias" else 0x82):
            decode_number(number)


@pytest.mark.conformance("5.0", "MQTT-1.5.7-1", "MQTT-1.5.4-1", "MQTT-1.5.4-2")
@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.parametrize(
    ("bad", "encoded"), [("\ud800", b"\xed\xa0\x80"), ("\0", b"\0"), (None, b"\xff")]
)
def test_both_halves_of_a_user_property_are_strings(half, bad, encoded):
    if bad is not None:
        pair = ("a", bad) if half else (bad, "a")
        with pytest.raises(ValueError, match="user_property must"):
            Properties(user_property=[pair])
    halves = [b"a", b"a"]
    halves[half] = encoded
    data = b"".join(len(text).to_bytes(2, "big") + text for text in halves)
    with answered_with(0x81):
        decoded(section(b"\x26" + data))


@pytest.mark.conformance("5.0", "MQTT-3.3.2-13", "MQTT-3.3.2-14", "MQTT-3.3.2-19")
@pytest.mark.parametrize(
    "encoded",
    [b"\x08\0\x02a+", b"\x08\0\x01#", b"\x08\0\x01\xff", b"\x03\0\x01\xff"],
    ids=["response topic +", "response topic #", "response topic", "content type"],
)
def test_strings_of_a_publish_that_are_malformed(encoded):
    for sender in Role:
        with answered_with(0x81):
            decoded(section(encoded), PacketType.PUBLISH, sender)


def test_authentication_data_needs_a_method():
    properties = Properties(authentication_data=b"x")
    with pytest.raises(ValueError, match="authentication_data needs"):
        check_properties(properties, PacketType.CONNECT)
    with answered_with(0x82):
        decoded(section(b"\x16\0\x01x"))


# --- what is cut short or left over --------------------------------------------

CUT = {
    "no length": b"",
    "a length of five bytes": b"\x80\x80\x80\x80\x01",
    "a length that is not minimal": b"\x80\x00",
    "a length that runs past the packet": b"\x03\x24\x01",
    "an identifier alone": b"\x01\x24",
    "a number cut short": b"\x02\x21\x01",
    "a string cut short": b"\x04\x1f\x00\x02a",
    "a length of a string cut short": b"\x02\x1f\x00",
    "the second of a pair missing": b"\x04\x26\x00\x01a",
    "a property cut by the next field": b"\x02\x21\x00\x0a",
    "an identifier that is not minimal": b"\x03\xa4\x00\x01",
}


@pytest.mark.parametrize("data", CUT.values(), ids=CUT.keys())
def test_properties_that_are_cut_short_are_malformed(data):
    with answered_with(0x81):
        decoded(data)


def test_an_identifier_that_no_property_has_is_malformed():
    for identifier in set(range(128)) - set(PROPERTY):
        with answered_with(0x81):
            decoded(bytes((3, identifier, 0, 0)))


def test_identifiers_of_several_bytes_are_malformed():
    with answered_with(0x81):
        decoded(b"\x03\x80\x01\x00")


# --- generated -----------------------------------------------------------------


@examples(50)
@given(st.data())
def test_every_value_of_every_property_comes_back(data):
    row = data.draw(st.sampled_from(PROPERTIES))
    packet = data.draw(st.sampled_from(sorted(row.packets)))
    sender = data.draw(st.sampled_from(sorted(row.packets[packet], key=str)))
    extra, _ = companions(row)
    properties = Properties(**extra)
    setattr(properties, row.name, data.draw(value(row)))
    encoded = encode_properties(properties, packet, V5, sender)
    assert decoded(encoded, packet, sender) == properties


@examples(150)
@given(
    st.binary(max_size=30), st.sampled_from(sorted(PacketType)), st.sampled_from(Role)
)
def test_garbage_is_refused_or_says_what_it_says(data, packet, sender):
    reader = Reader(bytes((len(data),)) + data)
    try:
        properties = decode_properties(reader, packet, V5, sender)
    except PacketError as error:
        assert error.reason_code in (0x81, 0x82, 0x94)  # noqa: PT017
    else:
        encoded = encode_properties(properties, packet, V5, sender)
        assert decoded(encoded, packet, sender) == properties
