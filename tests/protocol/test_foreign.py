"""Recognition of other protocols from the answer to a CONNECT."""

import pytest

from aiomqtt.protocol.foreign import foreign_protocol


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"HTTP/1.0 426 Upgrade Required\r\n", "HTTP"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "TLS"),
        (b"\x16\x03\x01", "TLS"),
        (b"SSH-2.0-x", "SSH"),
        (b"AMQP\x00\x01\x00\x00", "AMQP"),
    ],
)
def test_another_protocol(data, name):
    said = foreign_protocol(data)
    assert said is not None
    assert f"speaks {name}" in said


@pytest.mark.parametrize(
    "data", [b"", b"H", b"\x20\x02\x00\x00", b"\x20\x03\x00\x00\x00", b"\x15", b"\xff"]
)
def test_what_is_mqtt_or_anything(data):
    assert foreign_protocol(data) is None
