"""The error of a connection that the broker refused."""

from typing import Any

import pytest

from aiomqtt import Properties, ProtocolVersion, ReasonCode
from aiomqtt.net.refusals import refused_connection
from aiomqtt.protocol.packets import Connack

ADVICE = " (the broker does not speak MQTT 5.0: try protocol=ProtocolVersion.V311)"


@pytest.mark.parametrize(
    ("code", "told", "text"),
    [
        (0x87, None, "[code:135] Not authorized"),
        (0x87, {}, "[code:135] Not authorized"),
        (0x87, {"reason_string": "no"}, "[code:135] Not authorized: no"),
        (0x84, {}, f"[code:132] Unsupported protocol version{ADVICE}"),
        (
            0x84,
            {"reason_string": "3.1.1 only"},
            "[code:132] Unsupported protocol version: 3.1.1 only",
        ),
        (
            0x9C,
            {"server_reference": "b.example:1884"},
            "[code:156] Use another server (server reference: b.example:1884)",
        ),
        (
            0x9D,
            {"reason_string": "\r\n", "server_reference": "\x9b2J"},
            r"[code:157] Server moved: \r\n (server reference: \x9b2J)",
        ),
    ],
)
def test_a_refusal_has_the_brokers_words(code, told: dict[str, Any] | None, text):
    properties = None if told is None else Properties(**told)
    connack = Connack(False, ReasonCode(code), properties)
    error = refused_connection(connack, ProtocolVersion.V5, "a.example:1883")
    assert str(error) == text
    assert error.reason_code == code
    assert error.properties == (properties if told else None)
    assert error.reason_string == (told or {}).get("reason_string")
    assert error.__notes__ == ["The broker at a.example:1883 refused the connection."]


@pytest.mark.parametrize("version", [ProtocolVersion.V31, ProtocolVersion.V311])
def test_below_5_0_there_is_the_code_alone(version):
    connack = Connack(False, ReasonCode.of_connack(1), None)
    error = refused_connection(connack, version, "a.example:1883")
    assert str(error) == "[code:132] Unsupported protocol version"
    assert error.properties is None
