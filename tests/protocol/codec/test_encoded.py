"""Properties that are checked only: what is accepted, and what is decoded later."""

import copy
import pickle
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiomqtt.properties import Properties
from aiomqtt.protocol.codec.encoded import check_encoded
from aiomqtt.protocol.codec.framing import Decoder
from aiomqtt.protocol.codec.properties import decode_properties, encode_properties
from aiomqtt.protocol.codec.size import properties_size
from aiomqtt.protocol.packets import Publish
from aiomqtt.protocol.wire import PacketError, Reader
from aiomqtt.standard.tables import PacketType, ProtocolVersion, Role
from tests.examples import examples

V5 = ProtocolVersion.V5
LIMIT = 3

ALL = Properties(
    payload_format_indicator=0,
    message_expiry_interval=0x1_0001,
    content_type="text/\u00e4",
    response_topic="answers/1",
    correlation_data=b"\x00\xff+#\x00",
    subscription_identifier=[1, 128, 268_435_455],
    user_property=[("a", ""), ("", "\U0001f600")],
)


def encoded(properties: Properties) -> bytes:
    return encode_properties(properties, PacketType.PUBLISH, V5, Role.SERVER)


def decoded(data: bytes) -> tuple[Properties | None, int] | None:
    """Decode at once: the properties and where they end, or None."""
    reader = Reader(data, 0, None, LIMIT)
    try:
        properties = decode_properties(reader, PacketType.PUBLISH, V5, Role.SERVER)
    except PacketError:
        return None
    return properties, reader.position


def check(data: bytes) -> bool:
    """Compare with decoding at once; return whether they were accepted."""
    found = check_encoded(data, 0, len(data), LIMIT)
    if found is not None:
        assert decoded(data) == (found.decode(), found.size)
    return found is not None


def publish(properties: bytes) -> bytes:
    body = b"\x00\x01t" + properties + b"payload"
    assert len(body) < 0x80
    return bytes([0x30, len(body)]) + body


def feed(properties: bytes) -> Decoder:
    decoder = Decoder(V5, Role.SERVER, maximum_items=LIMIT)
    decoder.feed(publish(properties))
    return decoder


@pytest.mark.parametrize("name", sorted(ALL.present))
def test_each_property_is_accepted(name):
    assert check(encoded(Properties(**{name: ALL.present[name]})))


def test_all_of_them_are_accepted_together():
    assert check(encoded(ALL))


def test_a_length_of_two_bytes_is_accepted():
    assert check(encoded(Properties(content_type="x" * 5000)))


# What the standard says of each is held by test_inbound_rules.py.
WRONG = {
    "cut short": b"\x05\x03\x00\x03ab",
    "longer than the packet": b"\x20\x03\x00\x01a",
    "without its length": b"\x02\x03\x00",
    "without its value": b"\x01\x01",
    "a number cut short": b"\x04\x02\x00\x00\x00",
    "twice": b"\x08\x03\x00\x01a\x03\x00\x01a",
    "U+0000": b"\x04\x03\x00\x01\x00",
    "U+0000 beside binary data": b"\x08\x09\x00\x01\x00\x03\x00\x01\x00",
    "no UTF-8": b"\x04\x03\x00\x01\xff",
    "half a character": b"\x0b\x26\x00\x01\xc3\x00\x01\xa4\x01\x00\x01\x00",
    "a surrogate": b"\x06\x03\x00\x03\xed\xa0\x80",
    "a wildcard": b"\x05\x08\x00\x02a+",
    "many levels": b"\x05\x08\x00\x02a#",
    "a flag of 2": b"\x02\x01\x02",
    "an identifier of 0": b"\x02\x0b\x00",
    "an identifier that is not minimal": b"\x03\x0b\x81\x00",
    "an identifier that is too long": b"\x06\x0b\x80\x80\x80\x80\x01",
    "an identifier cut short": b"\x02\x0b\x80",
    "too many": b"\x08" + 4 * b"\x0b\x01",
    "of another packet": b"\x03\x21\x00\x01",
    "of none": b"\x02\x7f\x00",
    "half a pair": b"\x04\x26\x00\x01a",
}


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
def test_what_is_wrong_ends_the_stream_at_once(data):
    assert decoded(data) is None
    assert not check(data)
    reader = Reader(data, 0, None, LIMIT)
    with pytest.raises(PacketError) as raised:
        decode_properties(reader, PacketType.PUBLISH, V5, Role.SERVER)
    error = feed(data + bytes(40 - len(data))).error
    if data != WRONG["longer than the packet"]:
        assert error is not None
        assert error.reason_code == raised.value.reason_code


def test_a_topic_alias_is_decoded_at_once():
    assert not check(encoded(Properties(topic_alias=1)))


PIECES = st.sampled_from(
    [
        *(encoded(Properties(**{n: v}))[1:] for n, v in ALL.present.items()),
        b"\x23\x00\x01",
        b"\x00",
        b"\xff",
        b"\x80",
        b"\x26\x00\x00\x00\x00",
        b"\x08\x00\x01+",
    ]
)


@examples(50)
@given(st.lists(PIECES, max_size=8), st.data())
def test_nothing_is_accepted_that_decoding_refuses(pieces, data):
    section = bytearray(b"".join(pieces))
    for _ in range(data.draw(st.integers(0, 3))):
        if section:
            at = data.draw(st.integers(0, len(section) - 1))
            section[at] = data.draw(st.integers(0, 255))
    length = len(section) + data.draw(st.sampled_from([0, 0, 0, -1, 1]))
    if 0 <= length < 0x80:
        check(bytes([length]) + bytes(section))


@examples(50)
@given(st.binary(max_size=60))
def test_nor_of_any_bytes(data):
    check(data)


# --- the message -------------------------------------------------------------------


def received(properties: Properties) -> Publish:
    decoder = Decoder(V5, Role.SERVER)
    [message] = decoder.feed(publish(encoded(properties)))
    assert isinstance(message, Publish)
    assert message.payload == b"payload"
    return message


def test_a_message_decodes_them_when_they_are_read():
    message = received(ALL)
    assert message.encoded is not None
    properties = message.properties
    assert properties == ALL
    assert message.properties is properties
    assert message.encoded is None


def test_two_messages_share_no_properties():
    one, other = received(ALL), received(ALL)
    assert one.properties is not None
    assert other.properties is not None
    one.properties.content_type = "other"
    assert other.properties == ALL


def test_properties_that_are_set_take_their_place():
    message = received(ALL)
    message.properties = None
    assert message.properties is None


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_a_copy_has_them(copied):
    assert copied(received(ALL)).properties == ALL


def test_they_are_shown():
    assert "correlation_data" in repr(received(ALL))


@pytest.mark.parametrize("properties", [ALL, Properties(content_type="text")])
def test_they_count_as_if_they_were_decoded(properties):
    data = encoded(properties)
    found = check_encoded(data, 0, len(data), LIMIT)
    assert found is not None
    assert found.memory == properties_size(
        properties, not data[1:].isascii(), len(data)
    )
    assert sys.getsizeof(found) <= found.memory


def test_a_broker_decodes_them_at_once():
    data = encode_properties(
        Properties(content_type="text"), PacketType.PUBLISH, V5, Role.CLIENT
    )
    [message] = Decoder(V5, Role.CLIENT).feed(publish(data))
    assert isinstance(message, Publish)
    assert message.encoded is None
    assert message.carried == Properties(content_type="text")
