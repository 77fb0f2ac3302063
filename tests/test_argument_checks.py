"""The checks of arguments. Those who use them have tests of their own."""

import math

import pytest

from aiomqtt.argument_checks import (
    check_finite,
    check_number,
    check_range,
    check_type,
)


def test_types():
    check_type("a", None, int, type(None))
    check_type("a", True, int)
    with pytest.raises(TypeError, match="^a must be int or None, not str$"):
        check_type("a", "1", int, type(None))


@pytest.mark.parametrize("value", [1, 65535])
def test_in_range(value):
    assert check_range("a", value, 1) == value


@pytest.mark.parametrize("value", [0, 65536, -1])
def test_out_of_range(value):
    with pytest.raises(ValueError, match=f"^a must be 1 to 65535, not {value}$"):
        check_range("a", value, 1)


@pytest.mark.parametrize("value", [0, -1.5, math.inf, -math.inf])
def test_a_number(value):
    assert check_number("a", value) == value


@pytest.mark.parametrize("check", [check_number, check_finite])
@pytest.mark.parametrize(
    ("value", "type_name"), [("1", "str"), (None, "NoneType"), (True, "bool")]
)
def test_no_number(check, value, type_name):
    with pytest.raises(TypeError, match=f"^a must be a number, not {type_name}$"):
        check("a", value)


def test_nan_is_no_number():
    with pytest.raises(ValueError, match="^a must be a number, not nan$"):
        check_number("a", math.nan)


def test_a_finite_number():
    assert check_finite("a", 0) == 0
    assert check_finite("a", 1.5, 1.5) == 1.5
    assert check_finite("a", 1e-9, is_above=True) == 1e-9


@pytest.mark.parametrize(
    ("value", "lowest", "is_above", "allowed"),
    [
        (-0.5, 0, False, ", 0 or more"),
        (math.inf, 0, False, ", 0 or more"),
        (math.nan, 0, False, ", 0 or more"),
        (1, 1.5, False, ", 1.5 or more"),
        (0, 0, True, " above 0"),
        (math.nan, 0, True, " above 0"),
    ],
)
def test_no_finite_number_or_too_small(value, lowest, is_above, allowed):
    text = f"^a must be a finite number{allowed}, not {value}$"
    with pytest.raises(ValueError, match=text):
        check_finite("a", value, lowest, is_above=is_above)
