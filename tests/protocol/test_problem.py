"""The broker's explanation of a problem, as shown and as kept."""

from typing import Any

import pytest

from aiomqtt import MqttError, Properties, ReasonCode
from aiomqtt.protocol.problem import add_properties, describe_problem


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ({}, "Server moved"),
        ({"reason_string": ""}, "Server moved"),
        ({"reason_string": "for good"}, "Server moved: for good"),
        ({"server_reference": "b:1"}, "Server moved (server reference: b:1)"),
        (
            {"reason_string": "for good", "server_reference": "b:1 c:2"},
            "Server moved: for good (server reference: b:1 c:2)",
        ),
        ({"user_property": ("a", "b"), "server_keep_alive": 5}, "Server moved"),
        (
            {"reason_string": "a\nb", "server_reference": "\x1b[2J"},
            r"Server moved: a\nb (server reference: \x1b[2J)",
        ),
    ],
)
def test_what_is_shown(told: dict[str, Any], shown):
    assert describe_problem(ReasonCode(0x9D), Properties(**told)) == shown


def test_without_properties_the_name_is_all():
    assert describe_problem(ReasonCode(0x9D), None) == "Server moved"


@pytest.mark.parametrize(
    "told",
    [
        {"reason_string": "\x1b[2J"},
        {"server_reference": "b"},
        {"user_property": [("a", "1"), ("a", "2")]},
        {"reason_string": "", "maximum_qos": 1},
    ],
)
def test_an_error_has_all_as_it_came(told: dict[str, Any]):
    error = MqttError("text")
    add_properties(error, Properties(**told))
    assert error.properties == Properties(**told)
    assert error.reason_string == told.get("reason_string")


@pytest.mark.parametrize("none", [None, Properties()])
def test_an_error_without_properties_has_none(none):
    error = MqttError("text")
    add_properties(error, none)
    assert error.properties is None
    assert error.reason_string is None
