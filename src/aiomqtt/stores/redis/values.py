"""Changes of a session as the scripts take them, and the values that they return."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from struct import Struct
from typing import Any, Final, TypeAlias

from aiomqtt.properties import SubscribeOptions
from aiomqtt.protocol.changes import (
    Change,
    ChangeKind,
    SessionState,
    StoredDelivery,
    StoredSubscription,
)
from aiomqtt.protocol.delivery import LOST
from aiomqtt.stores.base import StoredReceipt
from aiomqtt.stores.checks import check_delivery, check_receipt, check_state
from aiomqtt.stores.encoding import decode_properties, encode_properties
from aiomqtt.stores.receipts import ended

Field: TypeAlias = bytes | str | int

# Changes are put together up to about this size, in bytes: the server limits the number
# of the arguments of a script.
_TEXT_SIZE: Final = 65_536
_LENGTH: Final = Struct(">I")
# The lengths of the topic and of the properties; -1: there are none.
_MESSAGE: Final = Struct(">Hi")


def to_texts(changes: Iterable[Change]) -> list[bytes]:
    """Return changes as texts for the script that stores them, in order."""
    texts: list[bytes] = []
    parts: list[bytes] = []
    size = 0
    for change in changes:
        for field in _to_fields(change):
            encoded = field if isinstance(field, bytes) else str(field).encode()
            parts += (_LENGTH.pack(len(encoded)), encoded)
            size += len(encoded) + _LENGTH.size
        if size > _TEXT_SIZE:
            texts.append(b"".join(parts))
            parts, size = [], 0
    if parts:
        texts.append(b"".join(parts))
    return texts


def _to_fields(change: Change) -> Sequence[Field]:
    return _FIELDS[change.kind](change.kind, change.key, change.value)


def _identify(kind: str, key: object, value: Any) -> Sequence[Field]:
    client_id, exists, connected_before = value
    return (kind, client_id, int(exists), int(connected_before))


def _add(kind: str, key: int, value: StoredDelivery) -> Sequence[Field]:
    topic = value.topic.encode()
    properties = b""
    length = -1
    if value.properties is not None:
        properties = encode_properties(value.properties)
        length = len(properties)
    head = _MESSAGE.pack(len(topic), length)
    rest = (
        value.qos,
        int(value.retain),
        value.expires,
        value.identifiers,
        value.share,
    )
    return (
        kind,
        key,
        value.state,
        value.packet_id,
        value.reason_code,
        value.receipt_id,
        len(topic) + len(value.payload),
        json.dumps(rest),
        b"".join((head, topic, properties, value.payload)),
    )


def _with_key(kind: str, key: int | str, value: object) -> Sequence[Field]:
    return (kind, key)


def _with_number(kind: str, key: int, value: int) -> Sequence[Field]:
    return (kind, key, int(value))


def _with_text(kind: str, key: int, value: str) -> Sequence[Field]:
    return (kind, key, value)


def _end(kind: str, key: int, value: tuple[int, int] | None) -> Sequence[Field]:
    if value is None:
        return (kind, key, "", "-")
    receipt = ended("", *value, 0.0)
    code = receipt.reason_code
    return (kind, key, receipt.state, "-" if code is None else code)


def _alone(kind: str, key: object, value: object) -> Sequence[Field]:
    return (kind,)


def _clear_outbound(kind: str, key: object, value: object) -> Sequence[Field]:
    return (kind, ended("", LOST, 0, 0.0).state)


def _subscribe(kind: str, key: str, value: StoredSubscription) -> Sequence[Field]:
    options = value.options
    values = (
        options.qos,
        options.no_local,
        options.retain_as_published,
        options.retain_handling,
        value.identifier,
        value.is_confirmed,
    )
    return (kind, key, json.dumps([int(one) for one in values]))


def _nothing(kind: str, key: object, value: object) -> Sequence[Field]:
    return ()


_FIELDS: Final[Mapping[str, Callable[[str, Any, Any], Sequence[Field]]]] = {
    ChangeKind.IDENTIFIED: _identify,
    ChangeKind.ADDED: _add,
    ChangeKind.ADDED_FIRST: _add,
    ChangeKind.SENT: _with_number,
    ChangeKind.RELEASED: _with_number,
    ChangeKind.ENDED: _end,
    ChangeKind.REQUEUED: _alone,
    ChangeKind.OUTBOUND_CLEARED: _clear_outbound,
    ChangeKind.COUNTED: _with_key,
    ChangeKind.RESERVED: _with_number,
    ChangeKind.BLOCKED: _with_key,
    ChangeKind.UNBLOCKED: _with_key,
    ChangeKind.RECEIVED: _with_key,
    ChangeKind.NAMED: _with_text,
    ChangeKind.COMPLETED: _with_key,
    ChangeKind.INBOUND_CLEARED: _alone,
    ChangeKind.SUBSCRIBED: _subscribe,
    ChangeKind.UNSUBSCRIBED: _with_key,
    # There are no transactions of the program here that could stage messages.
    ChangeKind.UNSTAGED: _nothing,
}


def to_state(
    values: Mapping[bytes, bytes],
    blocked: Iterable[bytes],
    received: Iterable[bytes],
    flows: Mapping[bytes, bytes],
    subscriptions: Mapping[bytes, bytes],
) -> SessionState:
    """Return the state of a session, without its deliveries.

    Args:
        values: The hash of the session.
        blocked: The packet identifiers that are blocked.
        received: The packet identifiers that were received.
        flows: The names of flows by packet identifier.
        subscriptions: Their values by topic filter.

    Raises:
        ValueError: They can't be.
    """
    state = SessionState(values[b"client_id"].decode())
    state.exists = values.get(b"exists") == b"1"
    state.connected_before = values.get(b"connected_before") == b"1"
    state.last_packet_id = int(values.get(b"last_packet_id", 0))
    state.reserved_first = int(values.get(b"reserved_first", 0))
    state.reserved_last = int(values.get(b"reserved_last", 0))
    state.last_sequence = int(values.get(b"last_sequence", 0))
    state.blocked.update(map(int, blocked))
    state.received.update(map(int, received))
    state.flows = {int(key): name.decode() for key, name in flows.items()}
    found: list[tuple[int, str, StoredSubscription]] = []
    for name, value in subscriptions.items():
        number, _, rest = value.partition(b" ")
        qos, no_local, as_published, handling, identifier, is_confirmed = json.loads(
            rest
        )
        options = SubscribeOptions(qos, bool(no_local), bool(as_published), handling)
        subscription = StoredSubscription(options, identifier, bool(is_confirmed))
        found.append((int(number), name.decode(), subscription))
    # The numbers are different.
    state.subscriptions = {name: one for _, name, one in sorted(found)}
    check_state(state)
    return state


def to_delivery(sequence: int, values: bytes, message: bytes | None) -> StoredDelivery:
    """Return a delivery.

    Args:
        sequence: Its sequence.
        values: What may change of it.
        message: Its message; None: the broker has it, so it is not kept.

    Raises:
        PacketError, ValueError: They can't be.
    """
    head, _, text = values.partition(b":")
    state, packet_id, reason_code, _, length = map(int, head.split())
    qos, retain, expires, identifiers, share = json.loads(text[length:])
    topic, payload, properties = "", b"", None
    if message is not None:
        topic_length, properties_length = _MESSAGE.unpack_from(message)
        start = _MESSAGE.size + topic_length
        topic = message[_MESSAGE.size : start].decode()
        if properties_length >= 0:
            end = start + properties_length
            properties = decode_properties(message[start:end])
            start = end
        payload = message[start:]
    delivery = StoredDelivery(
        sequence,
        topic,
        payload,
        qos,
        bool(retain),
        properties,
        expires,
        tuple(identifiers),
        share,
        packet_id,
        state,
        reason_code,
        text[:length].decode(),
    )
    check_delivery(delivery)
    return delivery


def to_receipt(receipt_id: bytes, values: bytes) -> tuple[int, StoredReceipt]:
    """Return the sequence of a message and its receipt.

    Args:
        receipt_id: The identifier of the receipt.
        values: Its values.

    Raises:
        ValueError: They can't be.
    """
    code, changed_at, sequence, word = values.decode().split(" ", 3)
    number = None if code == "-" else int(code)
    state: Any = word
    receipt = StoredReceipt(receipt_id.decode(), state, number, float(changed_at))
    check_receipt(receipt)
    return int(sequence), receipt


def pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return a hash, from the list in which a script returns it."""
    return dict(zip(flat[::2], flat[1::2], strict=True))
