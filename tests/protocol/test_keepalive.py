"""The ping clock by itself: a keep alive of 100 seconds, a PINGREQ at 90."""

import pytest

from aiomqtt.protocol.keepalive import KeepAlive

# What may happen: bytes come; bytes before the PINGREQ leave, or none do; it leaves; it
# is answered; time passes.
RECEIVE, DRAIN, STUCK, LEAVE, ANSWER, TICK = (
    "receive",
    "drain",
    "stuck",
    "leave",
    "answer",
    "tick",
)


def given_up(*story: tuple[float, str]) -> float | None:
    """Return the time when the connection is given up, checking the clock when due.

    Args:
        story: What happens, and when. The program lets nothing run between a "busy" and
            the next thing that happens.
    """
    clock = KeepAlive(100, now=0)
    received = 0.0
    is_busy = False
    for now, event in story:
        while not is_busy and (due := clock.due) is not None and due < now:
            if clock.is_over(due, received):
                return due
            if clock.next_ping is not None and clock.next_ping <= due:
                clock.on_pingreq(due)
            elif clock._next_look is not None and clock._next_look <= due:
                clock.on_waiting(False, due)
        is_busy = event == "busy"
        if event == RECEIVE:
            received = now
        elif event in (DRAIN, STUCK):
            clock.on_waiting(event == DRAIN, now)
        elif event == LEAVE:
            clock.on_left(now)
        elif event == ANSWER:
            clock.on_pingresp(now)
        if clock.is_over(now, received):
            return now
    return None


LATER = (10_000.0, TICK)


def every(seconds: int, event: str, start: int, stop: int) -> list[tuple[float, str]]:
    return [(float(now), event) for now in range(start, stop, seconds)]


@pytest.mark.parametrize(
    ("story", "end"),
    [
        pytest.param([LATER], 140, id="silent from the start"),
        pytest.param([(95, LEAVE), LATER], 145, id="it leaves later"),
        pytest.param([(100, RECEIVE), LATER], 150, id="silent 10 s after the PINGREQ"),
        pytest.param(
            [(89, RECEIVE), LATER], 140, id="what came before it says nothing"
        ),
        pytest.param([(138, RECEIVE), LATER], 188, id="bytes in the last look"),
        pytest.param([(100, STUCK), LATER], 140, id="nothing before it leaves"),
        pytest.param([(100, DRAIN), LATER], 150, id="some of it leaves, then none"),
        pytest.param(
            [*every(20, DRAIN, 91, 600), (600, LEAVE), LATER],
            650,
            id="it drains slowly",
        ),
        pytest.param([(100, ANSWER), LATER], 230, id="the next one is not answered"),
        pytest.param([*every(20, RECEIVE, 91, 500), LATER], 541, id="bytes for long"),
    ],
)
def test_when_a_peer_is_given_up(story, end):
    assert given_up(*story) == pytest.approx(end)


def test_bytes_without_an_answer_have_an_end():
    """Ten keep alives after the PINGREQ has left, and a last look."""
    assert given_up(*every(20, RECEIVE, 91, 5000), LATER) == pytest.approx(1095)


def test_draining_without_an_end_has_one():
    assert given_up(*every(1, DRAIN, 91, 5000), LATER) == pytest.approx(1095)


@pytest.mark.parametrize("woke", [136, 141, 300, 1000])
def test_a_busy_program_reads_before_it_gives_up(woke):
    """Bytes or the answer that came meanwhile are read within the last look."""
    assert given_up((91, "busy"), (woke, TICK), (woke + 1, RECEIVE)) is None
    assert given_up((91, "busy"), (woke, TICK), (woke + 1, ANSWER)) is None


def test_a_busy_program_notices_a_silent_peer_all_the_same():
    assert given_up((91, "busy"), (300, TICK), LATER) == pytest.approx(305)


def test_a_program_that_is_busy_again_and_again_gives_up_in_the_end():
    """Each time it is too late to tell, until ten keep alives are over."""
    busy = [pair for now in range(100, 5000, 20) for pair in ((now, "busy"),)]
    end = given_up(*busy, LATER)
    assert end is not None
    assert 1000 <= end <= 1140


@pytest.mark.parametrize("keep_alive", [1, 2, 60, 65_535])
def test_a_silent_peer_is_noticed_within_one_and_a_half_keep_alives(keep_alive):
    """At whatever time it goes silent: the PINGREQ leaves at once, or after a check."""
    for waited in (0.0, 0.02 * keep_alive):
        clock = KeepAlive(keep_alive, now=0)
        due = clock.due
        assert due is not None
        clock.on_pingreq(due)
        clock.on_left(due + waited)
        while not clock.is_over(due, 0.0):
            assert clock.deadline is not None
            due = clock.deadline
        assert 1.3 * keep_alive < due < 1.5 * keep_alive


def test_a_second_ping_does_not_move_the_deadline_of_the_first():
    clock = KeepAlive(10, now=0)
    clock.on_pingreq(9)
    deadline = clock.deadline
    clock.on_pingreq(10)
    assert clock.deadline == deadline


def test_an_answer_ends_the_wait():
    clock = KeepAlive(100, now=1000)
    assert clock.due == 1090
    clock.on_pingreq(1090)
    clock.on_waiting(False, 1090)
    assert clock.due == 1092
    clock.on_pingresp(1091)
    assert clock.deadline is None
    assert clock.due == 1180


def test_a_keep_alive_of_0_never_wants_anything():
    assert KeepAlive(0, now=5).due is None
