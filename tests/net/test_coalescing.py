"""The time when packets leave, with a clock that the test sets."""

from typing import Any

from aiomqtt.net.coalescing import (
    COALESCING_WINDOW,
    GATHERING_LIMIT,
    PACKET_COST,
    Coalescer,
)


class Turns:
    """An event loop whose turns and clock the test drives."""

    def __init__(self) -> None:
        self.now = 100.0
        self.due: list[Any] = []

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Any) -> None:
        self.due.append(callback)

    def turn(self) -> None:
        due, self.due = self.due, []
        for callback in due:
            callback()


def new_coalescer() -> tuple[Any, Turns]:
    loop: Any = Turns()
    coalescer: Any = None

    def end_turn() -> None:
        coalescer.end_turn()

    coalescer = Coalescer(loop, end_turn)
    return coalescer, loop


def test_the_first_packet_of_a_turn_leaves_at_once():
    coalescer, loop = new_coalescer()
    assert coalescer.add(100)
    assert not coalescer.is_gathering
    assert not loop.due


def test_those_after_it_gather_until_the_turn_ends():
    coalescer, loop = new_coalescer()
    coalescer.add(100)
    assert not coalescer.add(100)
    assert not coalescer.add(100)
    assert coalescer.is_gathering
    assert len(loop.due) == 1
    loop.turn()
    assert not coalescer.is_gathering
    assert coalescer.add(100)


def test_what_comes_later_is_of_another_turn():
    coalescer, loop = new_coalescer()
    assert coalescer.add(100)
    loop.now += COALESCING_WINDOW
    assert coalescer.add(100)


def test_what_was_received_begins_a_turn():
    coalescer, _ = new_coalescer()
    assert coalescer.add(100)
    coalescer.start_turn()
    assert coalescer.add(100)


def test_what_gathers_leaves_at_the_limit():
    coalescer, _ = new_coalescer()
    almost = GATHERING_LIMIT - PACKET_COST - 1
    coalescer.add(1)
    assert not coalescer.add(almost)
    assert coalescer.add(1)
    # And it counts from the beginning.
    assert not coalescer.add(almost)
    coalescer.reset()
    assert not coalescer.add(almost)


def test_small_packets_gather_up_to_a_number():
    """Each takes time, however small it is: other tasks have to run."""
    coalescer, _ = new_coalescer()
    coalescer.add(5)
    count = 1
    while not coalescer.add(5):
        count += 1
    assert 900 < count < 1100


def test_a_turn_is_full_when_it_has_taken_its_time_and_its_bytes():
    coalescer, loop = new_coalescer()
    coalescer.add(1)
    assert not coalescer.add(1)
    assert coalescer.add(GATHERING_LIMIT)
    assert not coalescer.is_turn_full
    loop.now += COALESCING_WINDOW
    assert not coalescer.add(1)
    assert not coalescer.is_turn_full
    assert coalescer.add(GATHERING_LIMIT)
    assert coalescer.is_turn_full
    loop.turn()
    assert not coalescer.is_turn_full


def test_held_not_even_the_first_leaves_at_once():
    coalescer, loop = new_coalescer()
    coalescer.hold()
    coalescer.hold()
    assert len(loop.due) == 1
    assert not coalescer.add(1)
