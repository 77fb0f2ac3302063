"""Checks of values that were stored: somebody else may have changed them."""

from types import UnionType
from typing import Final, get_args

from aiomqtt.properties import Properties
from aiomqtt.protocol.changes import SessionState, StoredDelivery
from aiomqtt.protocol.delivery import QUEUED, RELEASED
from aiomqtt.standard.names import MAXIMUM_PACKET_ID, MAXIMUM_REMAINING_LENGTH

from .base import ReceiptState, StoredReceipt

_MAXIMUM_REASON_CODE: Final = 255
_WORDS: Final = get_args(ReceiptState)


def check_state(state: SessionState) -> None:
    """Raise ValueError if a session that was read has numbers that can't be.

    Args:
        state: The session; its deliveries are not looked at.
    """
    check_number("a packet identifier", state.last_packet_id, MAXIMUM_PACKET_ID)
    check_number("a reserved identifier", state.reserved_first, MAXIMUM_PACKET_ID)
    check_number("a reserved identifier", state.reserved_last, MAXIMUM_PACKET_ID)
    if (state.reserved_first == 0) != (state.reserved_last == 0):
        msg = f"{state.reserved_first} to {state.reserved_last} are not reserved"
        raise ValueError(msg)
    check_kind("a sequence", state.last_sequence, int)
    for packet_id in (*state.blocked, *state.received, *state.flows):
        check_number("a packet identifier", packet_id, MAXIMUM_PACKET_ID, least=1)
    for name in state.flows.values():
        check_kind("the name of a flow", name, str)


def check_delivery(delivery: StoredDelivery) -> None:
    """Raise ValueError if a delivery that was read has values that can't be.

    Args:
        delivery: The delivery; its message is not looked at.
    """
    check_kind("a sequence", delivery.sequence, int)
    check_number("a state", delivery.state, RELEASED)
    check_number("a packet identifier", delivery.packet_id, MAXIMUM_PACKET_ID)
    check_number("a QoS", delivery.qos, 2)
    check_number("a reason code", delivery.reason_code, _MAXIMUM_REASON_CODE)
    for identifier in delivery.identifiers:
        what = "a subscription identifier"
        # A Variable Byte Integer too (MQTT 5.0 §3.8.2.1.2).
        check_number(what, identifier, MAXIMUM_REMAINING_LENGTH, least=1)
    check_kind("the id of a receipt", delivery.receipt_id, str)
    check_kind("a share", delivery.share, str)
    # Of a message that was released, the properties are not kept.
    if delivery.state == RELEASED:
        check_time(delivery.expires)
    else:
        check_expiry(delivery.expires, delivery.properties)
    if (delivery.packet_id > 0) != (delivery.state != QUEUED):
        msg = "only what waits has no packet identifier"
        raise ValueError(msg)


def check_expiry(expires: object, properties: Properties | None) -> None:
    """Raise ValueError if a value that was stored is not when a message expires.

    Args:
        expires: The value; None: never.
        properties: The properties of the message, or None.
    """
    check_time(expires)
    if expires is not None and (
        properties is None or properties.message_expiry_interval is None
    ):
        msg = "it expires, but has no Message Expiry Interval"
        raise ValueError(msg)


def check_receipt(receipt: StoredReceipt) -> None:
    """Raise ValueError if a receipt that was read has values that can't be."""
    check_kind("the id of a receipt", receipt.id, str)
    if receipt.state not in _WORDS:
        msg = f"{receipt.state!r:.80} is not a state of a message"
        raise ValueError(msg)
    if receipt.reason_code is not None:
        check_number("a reason code", receipt.reason_code, _MAXIMUM_REASON_CODE)
    check_kind("a time", receipt.changed_at, int | float)


def check_number(what: str, value: object, most: int, *, least: int = 0) -> None:
    """Raise ValueError if a value that was stored is no number in these bounds."""
    if not isinstance(value, int) or not least <= value <= most:
        msg = f"{value!r} is not {what}"
        raise ValueError(msg)


def check_kind(what: str, value: object, kind: type | UnionType) -> None:
    """Raise ValueError if a value that was stored is not of a type."""
    if not isinstance(value, kind):
        # It may be long.
        msg = f"{value!r:.80} is not {what}"
        raise ValueError(msg)


def check_time(value: object) -> None:
    """Raise ValueError if a value that was stored is no time, nor None."""
    if value is not None:
        check_kind("a time", value, int | float)
