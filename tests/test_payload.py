"""The types of payloads, and their bytes."""

import pytest

from aiomqtt.payload import encode_payload


@pytest.mark.parametrize(
    ("payload", "encoded"),
    [
        (None, b""),
        ("", b""),
        ("é", b"\xc3\xa9"),
        ("a\0b", b"a\0b"),
        (b"\xff\0", b"\xff\0"),
        (bytearray(b"\xff\0"), b"\xff\0"),
        (0, b"0"),
        (-42, b"-42"),
        (38.5, b"38.5"),
        (1e100, b"1e+100"),
        (float("nan"), b"nan"),
        # As in aiomqtt 2.5: a bool is an int.
        (True, b"True"),
    ],
)
def test_a_payload_is_encoded(payload, encoded):
    result = encode_payload(payload)
    assert type(result) is bytes
    assert result == encoded


@pytest.mark.parametrize(
    "payload", [["a"], {"a": 1}, ("a",), object(), memoryview(b"x"), 1j, {b"x"}]
)
def test_a_payload_of_another_type_is_refused(payload):
    rule = f"^payload must be .*, not {type(payload).__name__}$"
    with pytest.raises(TypeError, match=rule):
        encode_payload(payload)


def test_a_payload_with_a_surrogate_is_refused():
    with pytest.raises(ValueError, match="surrogate"):
        encode_payload("\ud800")


def test_a_bytearray_is_not_kept():
    payload = bytearray(b"on")
    encoded = encode_payload(payload)
    payload[:] = b"of"
    assert encoded == b"on"
