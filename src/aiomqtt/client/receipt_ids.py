"""The ``id`` of a message, by which its receipt is found."""

from aiomqtt.argument_checks import check_type
from aiomqtt.protocol.delivery import Origin
from aiomqtt.protocol.outbound import Outbound


def to_origin(receipt_id: str, qos: int, outbound: Outbound, is_stored: bool) -> Origin:
    """Return what a store keeps of a message that has an ``id``.

    Args:
        receipt_id: The ``id``.
        qos: The QoS of the message.
        outbound: The messages that are unfinished.
        is_stored: Whether the session is kept in a store.

    Raises:
        ValueError: There is no store, or no message that it would keep; or an
            unfinished message has the same ``id``.
        TypeError: It is no string.
    """
    check_type("id", receipt_id, str)
    if not receipt_id:
        msg = "id must not be empty; None stands for no id"
        raise ValueError(msg)
    if not is_stored:
        msg = "id needs a session that is stored: pass session= to the client"
        raise ValueError(msg)
    if not qos:
        msg = "id needs QoS 1 or 2: nothing is known of a message with QoS 0"
        raise ValueError(msg)
    check_unused(receipt_id, outbound.receipt_ids)
    return Origin(receipt_id)


def check_unused(receipt_id: str, used: set[str]) -> None:
    """Raise ValueError if an ``id`` is one of those of unfinished messages."""
    if receipt_id in used:
        msg = f"id {receipt_id!r} belongs to a message that is unfinished"
        raise ValueError(msg)
