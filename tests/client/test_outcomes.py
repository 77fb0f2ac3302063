"""How a message has ended: one word, and an error unless it was delivered."""

import pytest

from aiomqtt.client.outcomes import to_failure, to_outcome
from aiomqtt.exceptions import MqttCodeError
from aiomqtt.properties import Properties, ReasonCode
from aiomqtt.protocol.delivery import (
    DISPLACED,
    DONE,
    DROPPED,
    EXPIRED,
    LOST,
    OMITTED,
    OUTDATED,
    QUEUED,
    RELEASED,
    SENT,
    WITHDRAWN,
    Delivery,
)


def delivery(state: int, code: int = 0) -> Delivery:
    made = Delivery("t", b"x", 1, False, None, 8)
    made.state = state
    made.reason_code = ReasonCode(code)
    return made


@pytest.mark.parametrize("state", [QUEUED, SENT, RELEASED])
def test_what_has_not_ended_has_no_outcome(state):
    assert to_outcome(delivery(state)) is None


@pytest.mark.parametrize("code", [0, 0x10])
def test_what_the_broker_has_taken_is_delivered(code):
    assert to_outcome(delivery(DONE, code)) == "delivered"


@pytest.mark.parametrize(
    ("state", "outcome", "told"),
    [
        (LOST, "session lost", "The session ended before the message was acknowledged"),
        (DROPPED, "dropped", "The message was dropped from the session"),
        (WITHDRAWN, "withdrawn", "The message was withdrawn before it was sent"),
        (EXPIRED, "expired", "its message_expiry_interval passed while it waited"),
        (DISPLACED, "dropped", 'the queue was full .* overflow is "drop_oldest"'),
        (OUTDATED, "dropped", "for longer than the max_age of the queue"),
        (OMITTED, "dropped", 'there is no connection, and the queue has qos0="drop"'),
    ],
)
def test_the_other_ends_without_an_answer(state, outcome, told):
    ended = delivery(state, 0x80)
    assert to_outcome(ended) == outcome
    error = to_failure(ended)
    assert not isinstance(error, MqttCodeError)
    assert not error.is_in_session
    with pytest.raises(type(error), match=told):
        raise error


def test_what_the_broker_refused_has_its_code_and_its_reason():
    ended = delivery(DONE, 0x87)
    ended.answer = Properties(reason_string="not today")
    assert to_outcome(ended) == "refused"
    error = to_failure(ended)
    assert (error.reason_code, error.reason_string) == (0x87, "not today")
    assert str(error).endswith("Could not publish message: Not authorized: not today")
