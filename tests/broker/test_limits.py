"""The limits that a program sets."""

import inspect
from dataclasses import fields

import pytest

from aiomqtt.broker import Limits


def test_all_have_a_default_and_are_documented():
    limits = Limits()
    text = inspect.getdoc(Limits) or ""
    for field in fields(limits):
        assert f"    {field.name}: " in text
    assert limits == Limits(maximum_qos=2)
    assert limits.maximum_packet_size == 16 * 1024 * 1024


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("maximum_qos", 3),
        ("maximum_qos", -1),
        ("receive_maximum", 0),
        ("receive_maximum", 65_536),
        ("topic_alias_maximum", 65_536),
        ("maximum_packet_size", 0),
        ("server_keep_alive", 65_536),
        ("maximum_session_expiry", 2**32),
        ("maximum_queued_messages", -1),
        ("maximum_connections", 0),
        ("connect_timeout", -1.0),
        ("connect_timeout", 0),
        ("connect_timeout", float("nan")),
        ("packet_timeout", 0.0),
    ],
)
def test_a_value_out_of_range_is_refused(name, value):
    with pytest.raises(ValueError, match=name):
        Limits(**{name: value})


@pytest.mark.parametrize("name", [field.name for field in fields(Limits)])
def test_a_value_of_a_wrong_type_is_refused(name):
    with pytest.raises(TypeError, match=name):
        Limits(**{name: "many"})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["maximum_packet_size", "server_keep_alive", "maximum_session_expiry"]
)
def test_some_may_be_absent(name):
    assert getattr(Limits(**{name: None}), name) is None  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="maximum_qos"):
        Limits(maximum_qos=None)  # type: ignore[arg-type]
