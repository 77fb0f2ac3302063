"""The order of acknowledgements that the program decides on, by itself."""

import random

import pytest

from aiomqtt import MqttError, ProtocolVersion
from aiomqtt.protocol.acknowledgements import Acknowledgements, AckTicket

V5 = ProtocolVersion.V5


def take(acknowledgements: Acknowledgements) -> list[AckTicket]:
    return acknowledgements.take_pubacks() + acknowledgements.take_pubrecs()


def ids(acknowledgements: Acknowledgements) -> list[int]:
    """The identifiers of what may be written now."""
    return [ticket.packet_id for ticket in take(acknowledgements)]


@pytest.mark.parametrize(
    ("decided", "taken"),
    [
        # After each decision, the identifiers that may be written.
        ([1, 2, 3], [[1], [2], [3]]),
        ([3, 2, 1], [[], [], [1, 2, 3]]),
        ([2, 1, 3], [[], [1, 2], [3]]),
        ([1, 3, 2], [[1], [], [2, 3]]),
    ],
)
@pytest.mark.parametrize("qos", [1, 2])
def test_they_leave_in_the_order_of_the_messages(qos, decided, taken):
    acknowledgements = Acknowledgements(V5)
    tickets = {number: acknowledgements.expect(number, qos) for number in (1, 2, 3)}
    found: list[list[int]] = []
    for number in decided:
        tickets[number].decide(0)
        assert acknowledgements.is_due == bool(taken[len(found)])
        found.append(ids(acknowledgements))
    assert found == taken


def test_pubacks_do_not_wait_for_pubrecs_nor_these_for_them():
    acknowledgements = Acknowledgements(V5)
    first, second, third, fourth = (
        acknowledgements.expect(number, qos)
        for number, qos in ((1, 1), (2, 2), (3, 1), (4, 2))
    )
    fourth.decide(0)
    third.decide(0)
    assert not acknowledgements.is_due
    second.decide(0)
    assert ids(acknowledgements) == [2, 4]
    first.decide(0)
    assert ids(acknowledgements) == [1, 3]


def test_any_order_of_decisions_gives_the_order_of_the_messages():
    chance = random.Random(4)
    acknowledgements = Acknowledgements(V5)
    expected: dict[int, list[int]] = {1: [], 2: []}
    written: dict[int, list[int]] = {1: [], 2: []}
    open_tickets: list[AckTicket] = []
    for number in range(1, 6000):
        qos = chance.choice((1, 2))
        expected[qos].append(number)
        open_tickets.append(acknowledgements.expect(number, qos))
        # Now and then one stays undecided for so long that thousands wait behind it.
        while len(open_tickets) > (2500 if number % 5000 < 3000 else 10):
            index = chance.randrange(1, len(open_tickets))
            open_tickets.pop(index).decide(0)
        for ticket in take(acknowledgements):
            written[ticket.qos].append(ticket.packet_id)
    for ticket in open_tickets:
        ticket.decide(0)
    for ticket in take(acknowledgements):
        written[ticket.qos].append(ticket.packet_id)
    assert written == expected


def test_the_first_decision_of_a_turn_is_reported_once():
    calls: list[str] = []
    acknowledgements = Acknowledgements(V5, lambda: calls.append("due"))
    first, second, third = (acknowledgements.expect(number, 1) for number in (1, 2, 3))
    second.decide(0)
    assert calls == []
    first.decide(0)
    third.decide(0)
    assert calls == ["due"]
    assert ids(acknowledgements) == [1, 2, 3]
    acknowledgements.expect(4, 1).decide(0)
    assert calls == ["due", "due"]


def test_what_can_not_be_reported_is_not_decided():
    def fail() -> None:
        raise RuntimeError

    acknowledgements = Acknowledgements(V5, fail)
    ticket = acknowledgements.expect(1, 1)
    with pytest.raises(RuntimeError):
        ticket.decide(0)
    assert not ticket.is_decided
    assert not acknowledgements.is_due
    acknowledgements.on_due = None
    ticket.decide(0)
    assert ids(acknowledgements) == [1]


def test_a_decision_is_final():
    acknowledgements = Acknowledgements(V5)
    ticket = acknowledgements.expect(1, 1)
    ticket.decide(0x80)
    for _ in range(2):
        with pytest.raises(MqttError, match="acknowledged already"):
            ticket.decide(0)
        ticket.finish()
    assert [ticket.reason_code for ticket in take(acknowledgements)] == [0x80]
    with pytest.raises(MqttError, match="acknowledged already"):
        ticket.decide(0)
    assert take(acknowledgements) == []


@pytest.mark.parametrize(
    ("version", "code", "text"),
    [
        (5, 0x85, r"one of 0x00 \(Success\), 0x10 .*, not 133"),
        (5, -1, "not -1"),
        (5, 0x92, "not 146"),
        (4, 0x80, "can't be refused below MQTT 5.0"),
        (3, 0x10, "can't be refused below MQTT 5.0"),
    ],
)
def test_a_wrong_reason_code_decides_nothing(version, code, text):
    acknowledgements = Acknowledgements(ProtocolVersion(version))
    ticket = acknowledgements.expect(1, 1)
    with pytest.raises(ValueError, match=text):
        ticket.decide(code)
    assert not ticket.is_decided
    ticket.decide(0)
    assert ids(acknowledgements) == [1]


def test_after_the_connection_nothing_is_decided():
    calls: list[str] = []
    acknowledgements = Acknowledgements(V5, lambda: calls.append("due"))
    decided = acknowledgements.expect(1, 1)
    undecided = acknowledgements.expect(2, 1)
    decided.reason_code = 0
    acknowledgements.end()
    assert not decided.is_void
    assert undecided.is_void
    with pytest.raises(MqttError, match="connection on which it came has ended"):
        undecided.decide(0)
    undecided.finish()
    assert not undecided.is_decided
    assert not acknowledgements.is_due
    assert take(acknowledgements) == []
    assert calls == []


def test_repetitions_are_recognized_until_their_puback():
    acknowledgements = Acknowledgements(V5)
    first, second = (acknowledgements.expect(number, 1) for number in (1, 2))
    acknowledgements.expect(3, 2)
    assert [acknowledgements.expects(number) for number in range(4)] == [
        False,
        True,
        True,
        False,
    ]
    third = acknowledgements.expect(4, 1)
    third.decide(0)
    first.decide(0)
    assert ids(acknowledgements) == [1]
    assert not acknowledgements.expects(1)
    assert acknowledgements.expects(4)
    second.decide(0)
    assert ids(acknowledgements) == [2, 4]
    assert not acknowledgements.expects(4)
