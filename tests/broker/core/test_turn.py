"""A turn counts the work that is done in it, and ends when that is enough."""

from aiomqtt.broker.core.turn import WORK_PER_TURN, Turn
from tests.broker.world import World


def test_a_turn_is_over_when_its_work_is_done():
    turn = Turn(1000)
    assert not turn.is_over
    turn.work += WORK_PER_TURN - 1
    assert not turn.is_over
    turn.work += 1
    assert turn.is_over


def test_each_call_begins_a_turn():
    turn = Turn(1000)
    turn.work += WORK_PER_TURN
    turn.begin(1001)
    assert turn.now == 1001
    assert not turn.is_over


def test_a_turn_with_a_limit_of_its_own():
    turn = Turn(1000, 20)
    turn.work += 19
    assert not turn.is_over
    turn.work += 1
    assert turn.is_over
    assert turn.limit_undivided == 22


def test_a_broker_has_the_default():
    assert World().state.turn.limit == WORK_PER_TURN
