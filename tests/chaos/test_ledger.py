"""What the ledger of the chaos calls wrong, and what not."""

import pytest

from tests.chaos.ledger import PROMISED, UNSURE, Ledger, Line, make_payload


def line_of(states, arrivals, **options):
    """A line whose messages ended in some states, and arrived in some order."""
    line = Line("t", **{"qos": 2, **options})
    for state in states:
        number = line.begin()
        if state is not None:
            line.settle(number, state)
    for number in arrivals:
        line.arrive(make_payload(number))
    return line


THREE = [PROMISED] * 3


@pytest.mark.parametrize(
    ("states", "arrivals", "options", "problems"),
    [
        (THREE, [0, 1, 2], {}, []),
        (THREE, [0, 1], {}, ["t: 1 lost: 2 ..."]),
        (THREE, [0, 2, 1], {}, ["t: 1 out of order: 1 ..."]),
        (THREE, [0, 1, 1, 2], {}, ["t: 1 doubled at QoS 2: 1 ..."]),
        # At QoS 1, a message may come again, also later; the first time counts.
        (THREE, [0, 1, 2, 0, 1], {"qos": 1}, []),
        # A cancelled call may have published the message or not.
        ([PROMISED, UNSURE, PROMISED], [0, 2], {}, []),
        ([PROMISED, UNSURE, PROMISED], [0, 1, 2], {}, []),
        ([PROMISED, UNSURE], [0, 1, 1], {}, ["t: 1 doubled at QoS 2: 1 ..."]),
        ([PROMISED, None], [0, 1], {}, ["t: 1 calls did not settle"]),
        (THREE, [0, 1, 2, 3], {}, ["t: 1 altered or never published"]),
        # The broker has forgotten the session: QoS 2 promises nothing, QoS 1 does.
        (THREE, [0, 0], {"keeps_session": False}, []),
        (THREE, [0], {"keeps_session": False, "qos": 1}, ["t: 2 lost: 1, 2 ..."]),
        # A client that receives misses what came meanwhile, and gets what comes later.
        (THREE, [0, 2], {"may_miss": True, "expected_from": 2}, []),
        (THREE, [0], {"may_miss": True, "expected_from": 2}, ["t: 1 lost: 2 ..."]),
    ],
)
def test_problems(states, arrivals, options, problems):
    line = line_of(states, arrivals, **options)
    assert line.find_problems() == problems
    assert line.is_complete == (not any("lost" in p or "settle" in p for p in problems))
    assert line.arrived == len({*arrivals} - {3})


def test_a_call_that_settles_twice():
    line = line_of([PROMISED], [0])
    line.settle(0, UNSURE)
    assert line.find_problems() == ["t: 0 settled twice"]


def test_an_altered_payload():
    line = line_of([PROMISED], [])
    line.arrive(make_payload(0) + b"x")
    assert line.find_problems() == [
        "t: 1 lost: 0 ...",
        "t: 1 altered or never published",
    ]


def test_the_ledger_has_all_lines():
    ledger = Ledger()
    ledger.open(line_of(THREE, [0, 1]))
    ledger.arrive("t", make_payload(2))
    assert ledger.is_complete
    assert ledger.arrived == 3
    ledger.arrive("another", make_payload(0))
    assert ledger.find_problems() == ["1 messages of topics that nobody published to"]
    counts = ledger.count()
    assert counts["QoS 2 published"] == counts["QoS 2 arrived"] == 3
    assert counts["QoS 2 lost"] == 0
