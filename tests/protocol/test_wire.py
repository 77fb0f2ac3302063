"""The data representation of MQTT 5.0 §1.5, both ways."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiomqtt.protocol import wire
from aiomqtt.protocol.wire import PacketError, Reader
from tests.examples import examples

# MQTT 5.0 table 1-1, the first and last value of each length.
VARIABLE = [
    (0, "00"),
    (127, "7f"),
    (128, "8001"),
    (16_383, "ff7f"),
    (16_384, "808001"),
    (2_097_151, "ffff7f"),
    (2_097_152, "80808001"),
    (268_435_455, "ffffff7f"),
]

ILL_FORMED = {
    "surrogate": b"\xed\xa0\x80",
    "surrogate pair": b"\xed\xa0\xbd\xed\xb8\x80",
    "overlong slash": b"\xc0\xaf",
    "overlong NUL": b"\xc0\x80",
    "overlong in three bytes": b"\xe0\x80\xaf",
    "overlong in four bytes": b"\xf0\x80\x80\xaf",
    "above U+10FFFF": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "cut short": b"a\xc3",
    "a lone continuation": b"\x80",
    "0xFF": b"\xff",
}


def malformed():
    return pytest.raises(PacketError, check=lambda error: error.reason_code == 0x81)


def prefixed(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


# --- integers ------------------------------------------------------------------


def test_integers_are_big_endian():
    reader = Reader(b"\x01\x02\x03\x04\x05\x06\x07")
    assert reader.byte() == 1
    assert reader.two_bytes() == 0x0203
    assert reader.four_bytes() == 0x04050607
    reader.finish()
    assert wire.encode_two_bytes(0x0203) == b"\x02\x03"


@pytest.mark.conformance("5.0", "MQTT-1.5.5-1")
@pytest.mark.parametrize(("value", "encoded"), VARIABLE)
def test_a_variable_byte_integer_takes_its_shortest_form(value, encoded):
    assert wire.encode_variable(value).hex() == encoded
    reader = Reader(bytes.fromhex(encoded))
    assert reader.variable() == value
    reader.finish()


@examples(50)
@given(st.integers(0, 268_435_455))
def test_every_variable_byte_integer_comes_back(value):
    assert Reader(wire.encode_variable(value)).variable() == value


@pytest.mark.parametrize("value", [-1, 268_435_456, 1 << 40])
def test_a_variable_byte_integer_out_of_range_is_refused(value):
    with pytest.raises(ValueError, match=r"more than|must be in range"):
        wire.encode_variable(value)


@pytest.mark.conformance("5.0", "MQTT-1.5.5-1")
@pytest.mark.parametrize("encoded", ["8000", "ff00", "808000", "80808000", "ffffff00"])
def test_a_variable_byte_integer_that_is_not_minimal_is_malformed(encoded):
    with malformed():
        Reader(bytes.fromhex(encoded)).variable()


@pytest.mark.parametrize("encoded", ["8080808001", "ffffffff7f", "ffffffffff"])
def test_a_variable_byte_integer_of_more_than_four_bytes_is_malformed(encoded):
    with malformed():
        Reader(bytes.fromhex(encoded)).variable()


# --- strings -------------------------------------------------------------------


@examples(50)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_every_string_comes_back(text):
    assert Reader(wire.encode_string(text, "it")).string() == text


@pytest.mark.conformance("5.0", "MQTT-1.5.4-1")
@pytest.mark.conformance("3.1.1", "MQTT-1.5.3-1")
@pytest.mark.parametrize("text", ["\ud800", "a\udfff", "\ud83d\ude00"])
def test_a_surrogate_is_not_sent(text):
    with pytest.raises(ValueError, match=r"^the field must be well-formed UTF-8"):
        wire.encode_string(text, "the field")


@pytest.mark.conformance("5.0", "MQTT-1.5.4-1")
@pytest.mark.conformance("3.1.1", "MQTT-1.5.3-1")
@pytest.mark.parametrize("encoded", ILL_FORMED.values(), ids=ILL_FORMED.keys())
def test_ill_formed_utf_8_is_malformed(encoded):
    with malformed():
        Reader(prefixed(encoded)).string()


@pytest.mark.conformance("5.0", "MQTT-1.5.4-2")
@pytest.mark.conformance("3.1.1", "MQTT-1.5.3-2")
@pytest.mark.parametrize("text", ["\0", "a\0", "\0b"])
def test_u_0000_is_neither_sent_nor_taken(text):
    with pytest.raises(ValueError, match=r"^the field must not contain U\+0000"):
        wire.encode_string(text, "the field")
    with malformed():
        Reader(prefixed(text.encode())).string()


@pytest.mark.conformance("5.0", "MQTT-1.5.4-3")
@pytest.mark.conformance("3.1.1", "MQTT-1.5.3-3")
@pytest.mark.parametrize("text", ["\ufeff", "\ufeffabc", "a\ufeffb"])
def test_a_byte_order_mark_is_a_character(text):
    encoded = wire.encode_string(text, "it")
    assert b"\xef\xbb\xbf" in encoded
    assert Reader(encoded).string() == text


def test_characters_of_four_bytes_are_taken():
    # MQTT 5.0 §1.5.4, the example: A and U+2A6D4.
    assert wire.encode_string("A\U0002a6d4", "it").hex() == "000541f0aa9b94"
    assert Reader(bytes.fromhex("000541f0aa9b94")).string() == "A\U0002a6d4"


def test_a_string_ends_at_65535_bytes():
    longest = "é" * 32_767 + "e"
    assert Reader(wire.encode_string(longest, "it")).string() == longest
    with pytest.raises(ValueError, match="the field must be at most 65535 bytes"):
        wire.encode_string(longest + "e", "the field")


def test_binary_data_is_any_bytes_up_to_65535():
    longest = bytes(range(256)) * 255 + bytes(255)
    assert Reader(wire.encode_binary(longest, "it")).binary() == longest
    assert wire.encode_binary(b"", "it") == b"\0\0"
    with pytest.raises(ValueError, match="the field must be at most 65535 bytes"):
        wire.encode_binary(longest + b"x", "the field")


# --- reading -------------------------------------------------------------------

READS = {
    "byte": b"\x01",
    "two_bytes": b"\x01\x02",
    "four_bytes": b"\x01\x02\x03\x04",
    "variable": b"\x80\x80\x80\x01",
    "binary": b"\x00\x02ab",
    "string": b"\x00\x02ab",
    "packet_id": b"\x00\x01",
}


@pytest.mark.parametrize("kind", READS)
def test_a_field_that_is_cut_short_is_malformed(kind):
    whole = READS[kind]
    getattr(Reader(whole), kind)()
    for size in range(len(whole)):
        with malformed():
            getattr(Reader(whole[:size]), kind)()


@pytest.mark.parametrize("kind", READS)
def test_a_field_leaves_what_follows(kind):
    reader = Reader(READS[kind] + b"rest")
    getattr(reader, kind)()
    with malformed():
        reader.finish()
    assert reader.rest() == b"rest"
    reader.finish()


@pytest.mark.conformance("5.0", "MQTT-2.2.1-4")
@pytest.mark.conformance("3.1.1", "MQTT-2.3.1-4")
def test_a_packet_identifier_of_zero_is_malformed():
    assert Reader(b"\xff\xff").packet_id() == 65535
    with malformed():
        Reader(b"\0\0").packet_id()


@examples(50)
@given(st.binary(max_size=40), st.lists(st.sampled_from(sorted(READS)), max_size=8))
def test_garbage_raises_nothing_else(data, kinds):
    reader = Reader(data)
    with contextlib.suppress(PacketError):
        for kind in kinds:
            getattr(reader, kind)()
        reader.finish()


def test_the_error_carries_the_code_and_the_text():
    error = PacketError(0x81, "a packet is cut short")
    assert (error.reason_code, error.text) == (0x81, "a packet is cut short")
    assert str(error) == error.text
