"""What a receipt says of a message, by the state of its delivery."""

from aiomqtt.protocol.changes import StoredDelivery
from aiomqtt.protocol.delivery import DONE, END_WORDS, QUEUED
from aiomqtt.standard.names import FIRST_FAILURE

from .base import ReceiptState, StoredReceipt


def unfinished(delivery: StoredDelivery, changed_at: float) -> StoredReceipt:
    """Return the receipt of a delivery that has not ended.

    Args:
        delivery: The delivery.
        changed_at: When it was added or sent, in seconds since the epoch.
    """
    word = word_of_unfinished(delivery.state)
    return StoredReceipt(delivery.receipt_id, word, None, changed_at)


def word_of_unfinished(state: int) -> ReceiptState:
    """Return the word for a delivery that has not ended.

    Args:
        state: Its state: QUEUED, SENT or RELEASED.
    """
    return "queued" if state == QUEUED else "in flight"


def ended(
    receipt_id: str, state: int, reason_code: int, changed_at: float
) -> StoredReceipt:
    """Return the receipt of a delivery that has ended.

    Args:
        receipt_id: Its identifier.
        state: The state in which it ended: DONE, LOST and so on.
        reason_code: Its reason code.
        changed_at: When it ended, in seconds since the epoch.
    """
    if state != DONE:
        return StoredReceipt(receipt_id, END_WORDS[state], None, changed_at)
    is_refused = reason_code >= FIRST_FAILURE
    word: ReceiptState = "refused" if is_refused else "acknowledged"
    return StoredReceipt(receipt_id, word, reason_code, changed_at)
