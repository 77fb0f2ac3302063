"""The timers, with a clock that the test sets."""

from functools import partial

from aiomqtt.broker.core.timers import SWEEP, Timer, Timers


def test_they_run_in_the_order_of_their_times():
    timers = Timers()
    ran: list[tuple[float, float]] = []

    def note(when: float, now: float) -> None:
        ran.append((when, now))

    for when in (3.0, 1.0, 2.0, 1.0):
        timers.add(when, partial(note, when))
    assert len(timers) == 4
    assert timers.deadline() == 1.0
    timers.run(0.5)
    assert ran == []
    timers.run(2.0)
    assert ran == [(1.0, 2.0), (1.0, 2.0), (2.0, 2.0)]
    assert timers.deadline() == 3.0
    timers.run(3.0)
    assert timers.deadline() is None
    assert len(timers) == 0


def test_one_may_add_another():
    timers = Timers()
    ran: list[float] = []

    def again(now):
        ran.append(now)
        if len(ran) < 3:
            timers.add(now + 1, again)

    timers.add(1.0, again)
    for now in (1.0, 2.0, 3.0, 4.0):
        timers.run(now)
    assert ran == [1.0, 2.0, 3.0]


def test_what_is_cancelled_does_not_run():
    timers = Timers()
    ran: list[float] = []
    first = timers.add(1.0, ran.append)
    timers.add(2.0, ran.append)
    timers.cancel(first)
    timers.cancel(first)
    timers.cancel(None)
    assert len(timers) == 1
    assert timers.deadline() == 2.0
    timers.run(5.0)
    assert ran == [5.0]
    timers.cancel(first)
    assert len(timers) == 0


def test_one_may_cancel_another_of_the_same_time():
    timers = Timers()
    ran: list[float] = []
    second: list[Timer] = []
    timers.add(1.0, lambda now: timers.cancel(second[0]))
    second.append(timers.add(1.0, ran.append))
    timers.run(1.0)
    assert ran == []
    assert len(timers) == 0


def test_those_that_were_cancelled_are_dropped():
    timers = Timers()
    keep = timers.add(1e9, lambda now: None)
    for number in range(10_000):
        timers.cancel(timers.add(1e6 + number, lambda now: None))
        assert len(timers._heap) <= 2 * SWEEP + 2
    assert len(timers) == 1
    assert timers.deadline() == 1e9
    timers.cancel(keep)
    assert timers.deadline() is None
