"""Sessions that were read, with numbers that can't be."""

from collections.abc import Callable
from typing import Any

import pytest

from aiomqtt import Properties
from aiomqtt.protocol.changes import SessionState, StoredDelivery, changed
from aiomqtt.protocol.delivery import RELEASED
from aiomqtt.stores.base import StoredReceipt
from aiomqtt.stores.checks import (
    check_delivery,
    check_kind,
    check_number,
    check_receipt,
    check_state,
    check_time,
)
from aiomqtt.testing.session_changes import added


def state() -> SessionState:
    state = SessionState("me")
    state.last_packet_id = 65_535
    state.reserved_first, state.reserved_last = 65_000, 488  # past the last one
    state.last_sequence = 1 << 40
    state.blocked.add(1)
    state.received.add(65_535)
    state.flows[65_535] = "flow"
    return state


def test_what_can_be():
    check_state(SessionState("me"))
    check_state(state())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: setattr(state, "last_packet_id", -1), "-1 is not a packet id"),
        (lambda state: setattr(state, "last_packet_id", 65_536), "65536 is not a pac"),
        (lambda state: setattr(state, "reserved_first", 0), "0 to 488 are not"),
        (lambda state: setattr(state, "reserved_last", 0), "65000 to 0 are not"),
        (lambda state: setattr(state, "reserved_last", 65_536), "65536 is not a res"),
        (lambda state: state.blocked.add(0), "0 is not a packet identifier"),
        (lambda state: state.received.add(65_536), "65536 is not a packet identifier"),
        (lambda state: state.received.add("x"), "'x' is not a packet identifier"),
        (lambda state: state.flows.update({0: "x"}), "0 is not a packet identifier"),
        (lambda state: state.flows.update({1: b"x"}), "b'x' is not the name of a flow"),
    ],
)
def test_what_can_not_be(change: Callable[[SessionState], None], message: str):
    changed = state()
    change(changed)
    with pytest.raises(ValueError, match=message):
        check_state(changed)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("state", 4, "4 is not a state"),
        ("packet_id", 65_536, "65536 is not a packet identifier"),
        ("qos", 3, "3 is not a QoS"),
        ("reason_code", 256, "256 is not a reason code"),
        ("expires", "x", "'x' is not a time"),
        ("sequence", "x", "'x' is not a sequence"),
        ("packet_id", 1, "only what waits has no packet identifier"),
        ("state", 1, "only what waits has no packet identifier"),
        ("identifiers", (0,), "0 is not a subscription identifier"),
        ("receipt_id", b"x", "b'x' is not the id of a receipt"),
        ("share", b"x", "b'x' is not a share"),
    ],
)
def test_deliveries(name: str, value: object, message: str):
    delivery = added(1).value
    assert isinstance(delivery, StoredDelivery)
    check_delivery(delivery)
    # What has another type is not even made by compiled code.
    refused = f"{message}|object expected; got"
    with pytest.raises((ValueError, TypeError), match=refused):
        check_delivery(changed(delivery, **{name: value}))


def test_a_time_without_a_message_expiry_interval():
    """It is what a message is sent with when the time has gone on."""
    delivery = added(1).value
    assert isinstance(delivery, StoredDelivery)
    expiring = changed(
        delivery, expires=7.5, properties=Properties(message_expiry_interval=9)
    )
    check_delivery(expiring)
    for properties in (None, Properties(content_type="x")):
        wrong = changed(expiring, properties=properties)
        with pytest.raises(ValueError, match="but has no Message Expiry Interval"):
            check_delivery(wrong)
    # Of what the broker has, neither is kept.
    check_delivery(changed(expiring, state=RELEASED, packet_id=1, properties=None))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("id", b"x", "b'x' is not the id of a receipt"),
        ("state", "lost", "'lost' is not a state of a message"),
        ("reason_code", 256, "256 is not a reason code"),
        ("reason_code", "0", "'0' is not a reason code"),
        ("changed_at", "now", "'now' is not a time"),
        ("changed_at", None, "None is not a time"),
    ],
)
def test_receipts(name: str, value: Any, message: str):
    receipt = StoredReceipt("order 1", "refused", 0x87, 1.5)
    check_receipt(receipt)
    check_receipt(receipt._replace(state="queued", reason_code=None))
    with pytest.raises(ValueError, match=message):
        check_receipt(receipt._replace(**{name: value}))


def test_bounds():
    check_number("a number", 0, 7)
    check_number("a number", 7, 7, least=7)
    for value in (-1, 8, "1", None):
        with pytest.raises(ValueError, match="is not a number"):
            check_number("a number", value, 7)


def test_types():
    check_kind("a topic", "", str)
    with pytest.raises(ValueError, match="b'x+ is not a topic"):
        check_kind("a topic", b"x" * 1000, str)


def test_times():
    check_time(None)
    check_time(1.5)
    with pytest.raises(ValueError, match="'1' is not a time"):
        check_time("1")
