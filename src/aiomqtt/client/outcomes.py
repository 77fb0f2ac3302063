"""How a published message has ended, as the program learns of it."""

from typing import Final, Literal, TypeAlias

from aiomqtt.exceptions import MqttCodeError, MqttError
from aiomqtt.protocol.delivery import (
    DISPLACED,
    DONE,
    DROPPED,
    END_WORDS,
    EXPIRED,
    LOST,
    OMITTED,
    OUTDATED,
    WITHDRAWN,
    Delivery,
)
from aiomqtt.protocol.problem import add_properties, describe_problem
from aiomqtt.standard.names import FIRST_FAILURE

Outcome: TypeAlias = Literal[
    "delivered", "expired", "dropped", "session lost", "refused", "withdrawn"
]

_TEXTS: Final = {
    LOST: "The session ended before the message was acknowledged",
    DROPPED: "The message was dropped from the session",
    WITHDRAWN: "The message was withdrawn before it was sent",
    EXPIRED: (
        "The message expired before it was sent: its message_expiry_interval passed"
        " while it waited"
    ),
    DISPLACED: (
        "The message was dropped: the queue was full without a connection, and its"
        ' overflow is "drop_oldest"'
    ),
    OUTDATED: (
        "The message was dropped: it waited for a connection for longer than the"
        " max_age of the queue"
    ),
    OMITTED: (
        'The message was dropped: there is no connection, and the queue has qos0="drop"'
    ),
}


def to_outcome(delivery: Delivery) -> Outcome | None:
    """Return how a delivery has ended; None: it has not."""
    if delivery.state < DONE:
        return None
    if delivery.state == DONE:
        return "refused" if delivery.reason_code >= FIRST_FAILURE else "delivered"
    return END_WORDS[delivery.state]


def to_failure(delivery: Delivery) -> MqttError:
    """Return the error for a message that has ended otherwise than delivered."""
    if delivery.state != DONE:
        return MqttError(_TEXTS[delivery.state])
    code, properties = delivery.reason_code, delivery.answer
    told = describe_problem(code, properties)
    error = MqttCodeError(code, f"Could not publish message: {told}")
    add_properties(error, properties)
    return error
