"""The words of receipts."""

from typing import get_args

import pytest

from aiomqtt.protocol.delivery import (
    DISPLACED,
    DONE,
    DROPPED,
    EXPIRED,
    LOST,
    OMITTED,
    OUTDATED,
    WITHDRAWN,
)
from aiomqtt.stores.base import ReceiptState
from aiomqtt.stores.receipts import ended


@pytest.mark.parametrize(
    ("state", "reason_code", "word"),
    [
        (DONE, 0x00, "acknowledged"),
        (DONE, 0x10, "acknowledged"),
        (DONE, 0x80, "refused"),
        (LOST, 0x00, "session lost"),
        (DROPPED, 0x80, "dropped"),
        (WITHDRAWN, 0x00, "withdrawn"),
        (EXPIRED, 0x80, "expired"),
        (DISPLACED, 0x80, "dropped"),
        (OUTDATED, 0x80, "dropped"),
        (OMITTED, 0x80, "dropped"),
    ],
)
def test_every_end_has_a_word(state, reason_code, word):
    receipt = ended("a", state, reason_code, 5.0)
    assert receipt.state == word
    assert word in get_args(ReceiptState)
    assert receipt.reason_code == (reason_code if state == DONE else None)
