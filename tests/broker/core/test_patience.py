"""How long those who publish to a slow client wait for it."""

from aiomqtt.broker.core.patience import PATIENCE, SHORT, WINDOW, Patience


def test_a_second_in_ten():
    patience = Patience()
    assert patience.left(1000) == PATIENCE
    patience.spend(1000, 1000.75)
    assert patience.left(1001) == 0.25
    patience.spend(1001, 1001.25)
    assert patience.left(1002) == 0
    # The first one is out of sight ten seconds after its end.
    assert patience.left(1000.75 + WINDOW) == 0.75
    assert patience.left(1001.25 + WINDOW) == PATIENCE


def test_a_short_wait_does_not_count():
    patience = Patience()
    for number in range(1000):
        patience.spend(number, number + SHORT / 2)
    assert patience.left(1000) == PATIENCE
