"""The rules of reconnecting, as the program gives them."""

import math

import pytest

from aiomqtt.client.reconnect import Reconnect, to_reconnect


async def decide_later(cause):
    return None


@pytest.mark.parametrize("value", [None, False])
def test_a_client_need_not_reconnect(value):
    assert to_reconnect(value) is None


def test_true_means_the_default_rules():
    assert to_reconnect(True) == Reconnect(
        min_delay=1,
        max_delay=60,
        multiplier=2,
        attempts=None,
        stable_after=30,
        initial=False,
        takeover="raise",
        decide=None,
        return_to_first=None,
    )


def test_rules_stay_as_they_are():
    rules = Reconnect(min_delay=0, max_delay=0, multiplier=1, attempts=1)
    assert to_reconnect(rules) is rules


@pytest.mark.parametrize("value", [1, "true", {"min_delay": 1}])
def test_anything_else_is_refused(value):
    with pytest.raises(TypeError, match="reconnect must be True, False or an aiomqtt"):
        to_reconnect(value)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"min_delay": -1}, ValueError, "min_delay must be a finite number, 0 or more"),
        ({"min_delay": math.nan}, ValueError, "min_delay must be a finite number"),
        ({"max_delay": math.inf}, ValueError, "max_delay must be a finite number"),
        ({"min_delay": 61}, ValueError, "max_delay must not be below min_delay: 60 s"),
        ({"multiplier": 0.5}, ValueError, "multiplier must be a finite number, 1 or"),
        ({"stable_after": -1}, ValueError, "stable_after must be a finite number, 0"),
        (
            {"attempts": 0},
            ValueError,
            "attempts must be 1 or more, not 0: for a client",
        ),
        ({"takeover": "stop"}, ValueError, 'takeover must be "raise" or "retry", not'),
        (
            {"return_to_first": 0},
            ValueError,
            "return_to_first must be a finite",
        ),
        ({"return_to_first": -1}, ValueError, "return_to_first must be a finite"),
        ({"min_delay": "1"}, TypeError, "min_delay must be a number, not str"),
        ({"max_delay": None}, TypeError, "max_delay must be a number, not NoneType"),
        ({"multiplier": True}, TypeError, "multiplier must be a number, not bool"),
        ({"attempts": 1.5}, TypeError, "attempts must be int or None, not float"),
        ({"initial": 1}, TypeError, "initial must be bool, not int"),
        ({"decide": "stop"}, TypeError, "decide must be a callable, not str"),
        ({"decide": decide_later}, TypeError, "a plain function, not a coroutine"),
        ({"return_to_first": "1"}, TypeError, "return_to_first must be a number"),
    ],
)
def test_a_rule_that_can_not_be_kept_is_refused(arguments, error, match):
    with pytest.raises(error, match=match):
        Reconnect(**arguments)


def test_rules_are_given_by_name():
    with pytest.raises(TypeError, match="positional"):
        Reconnect(1, 60)  # type: ignore[misc]
