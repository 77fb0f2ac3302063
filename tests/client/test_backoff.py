"""The delays before attempts to connect: rules without a clock."""

import random

import pytest

from aiomqtt.client.backoff import Backoff
from aiomqtt.client.causes import Action
from aiomqtt.client.reconnect import Reconnect

RETRY, SLOW, REDIRECT = Action.RETRY, Action.SLOW, Action.REDIRECT


def delays(backoff, *actions):
    return [backoff.next_delay(action) for action in actions]


def longest(**rules):
    """Return delays that are as long as they can be."""
    return Backoff(Reconnect(**rules), lambda: 1.0)


@pytest.mark.parametrize(
    ("rules", "actions", "expected"),
    [
        ({}, [RETRY] * 8, [1, 2, 4, 8, 16, 32, 60, 60]),
        ({"min_delay": 4, "max_delay": 8, "multiplier": 1.5}, [RETRY] * 3, [4, 6, 8]),
        ({"multiplier": 1}, [RETRY] * 3, [1, 1, 1]),
        ({"min_delay": 0}, [RETRY] * 3, [0, 0, 0]),
        # A broker that is overloaded does not recover within the next delay.
        ({}, [RETRY, SLOW, RETRY], [1, 60, 60]),
        ({"min_delay": 0}, [RETRY, SLOW, RETRY], [0, 60, 60]),
        # Another server is asked at once, but brokers may send a client in a circle.
        ({}, [REDIRECT, REDIRECT, REDIRECT, RETRY], [0, 1, 2, 4]),
        ({}, [RETRY, REDIRECT], [1, 2]),
    ],
)  # fmt: skip
def test_the_bounds_of_the_delays(rules, actions, expected):
    assert delays(longest(**rules), *actions) == expected


@pytest.mark.parametrize("before", [[RETRY] * 5, [SLOW], [REDIRECT, RETRY]])
def test_after_a_stable_connection_they_begin_again(before):
    backoff = longest()
    delays(backoff, *before)
    backoff.on_stable()
    assert delays(backoff, REDIRECT, RETRY, RETRY) == [0, 1, 2]


def test_a_delay_is_anything_from_0_to_its_bound():
    # Full jitter: clients that lost their broker at once are spread evenly.
    source = random.Random(16).random
    rules = Reconnect(min_delay=8, max_delay=8)
    found = [Backoff(rules, source).next_delay(RETRY) for _ in range(8000)]
    for begin in range(8):
        assert 900 < sum(begin <= delay < begin + 1 for delay in found) < 1100


def test_thousands_of_attempts_overflow_nothing():
    backoff = longest(multiplier=1e300)
    assert delays(backoff, *[RETRY] * 5000)[-1] == 60
