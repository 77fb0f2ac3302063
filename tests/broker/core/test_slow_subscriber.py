"""The time that publishers wait for a slow subscriber."""

from aiomqtt.broker.core.slow_subscriber import (
    NEGLIGIBLE_WAIT,
    SLOW_SUBSCRIBER_WAIT,
    SLOW_SUBSCRIBER_WINDOW,
    WaitAllowance,
)


def test_a_second_in_ten():
    allowance = WaitAllowance()
    assert allowance.remaining(1000) == SLOW_SUBSCRIBER_WAIT
    allowance.spend(1000, 1000.75)
    assert allowance.remaining(1001) == 0.25
    allowance.spend(1001, 1001.25)
    assert allowance.remaining(1002) == 0
    # The first one is out of sight ten seconds after its end.
    assert allowance.remaining(1000.75 + SLOW_SUBSCRIBER_WINDOW) == 0.75
    assert allowance.remaining(1001.25 + SLOW_SUBSCRIBER_WINDOW) == SLOW_SUBSCRIBER_WAIT


def test_a_short_wait_does_not_count():
    allowance = WaitAllowance()
    for number in range(1000):
        allowance.spend(number, number + NEGLIGIBLE_WAIT / 2)
    assert allowance.remaining(1000) == SLOW_SUBSCRIBER_WAIT
