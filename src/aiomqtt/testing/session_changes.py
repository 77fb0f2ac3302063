"""Random changes of a session, as a client makes them and some that it never makes.

They are for the checks of stores: see `check_store`.
"""

import random
from typing import Any

from aiomqtt.properties import Properties, SubscribeOptions
from aiomqtt.protocol.changes import (
    Change,
    ChangeKind,
    SessionState,
    StoredDelivery,
    StoredSubscription,
)
from aiomqtt.protocol.delivery import DONE, DROPPED, QUEUED, RELEASED, SENT


def delivery(
    sequence: int,
    packet_id: int = 0,
    receipt_id: str = "",
    *,
    topic: str = "t",
    payload: bytes | None = None,
    qos: int = 1,
    **values: Any,
) -> StoredDelivery:
    """Return a delivery that waits, or with a packet identifier one that was sent."""
    fields: dict[str, Any] = {
        "sequence": sequence,
        "topic": topic,
        "payload": b"%d" % sequence if payload is None else payload,
        "qos": qos,
        "retain": False,
        "properties": None,
        "expires": None,
        "identifiers": (),
        "share": "",
        "packet_id": packet_id,
        "state": SENT if packet_id else QUEUED,
        "reason_code": 0,
        "receipt_id": receipt_id,
    }
    return StoredDelivery(**{**fields, **values})


def added(
    sequence: int, packet_id: int = 0, receipt_id: str = "", **values: Any
) -> Change:
    """Return the change that adds such a delivery."""
    stored = delivery(sequence, packet_id, receipt_id, **values)
    return Change(ChangeKind.ADDED, sequence, stored)


class Conversation:
    """Makes changes, and applies them to a state.

    Args:
        seed: The seed of all choices.
        is_strange: Whether to send and to end deliveries in any order.
    """

    def __init__(self, seed: int, *, is_strange: bool = False) -> None:
        self.state: SessionState = SessionState("me")
        self.changes: list[Change] = []
        self._random = random.Random(seed)
        self._is_strange = is_strange
        self._receipts = 0

    def go_on(self, count: int) -> list[Change]:
        """Return so many further changes, which are applied to the state."""
        self.changes = []
        while len(self.changes) < count:
            self._take_step()
        return self.changes

    def reserve(self) -> None:
        """Reserve packet identifiers, by one more of the last changes."""
        first = self._next_packet_id()
        self._do(ChangeKind.RESERVED, first + 1023, first)

    def _do(
        self, kind: str, key: int | str | None = None, value: object = None
    ) -> None:
        change = Change(kind, key, value)
        self.state.apply(change)
        self.changes.append(change)

    def _take_step(self) -> None:
        choose = self._random
        roll = choose.random()
        waiting = [one for one in self.state.deliveries.values() if one.state == QUEUED]
        sent = [one for one in self.state.deliveries.values() if one.state == SENT]
        released = [
            one for one in self.state.deliveries.values() if one.state == RELEASED
        ]
        if roll < 0.35:
            self._add(is_sent=not waiting or self._is_strange)
        elif roll < 0.5 and waiting:
            one = choose.choice(waiting) if self._is_strange else waiting[0]
            self._do(ChangeKind.SENT, one.sequence, self._next_packet_id())
        elif roll < 0.6 and sent:
            one = choose.choice(sent)
            self._do(ChangeKind.RELEASED, one.sequence, choose.choice([0, 0, 0x10]))
        elif roll < 0.85 and self.state.deliveries:
            self._end(
                choose.choice([*self.state.deliveries.values(), *sent, *released])
            )
        elif roll < 0.88:
            self._do(ChangeKind.COUNTED, self._next_packet_id())
        elif roll < 0.98:
            self._take_other_step(choose.randint(0, 9))
        elif roll < 0.985:
            self._do(ChangeKind.OUTBOUND_CLEARED)
        elif roll < 0.99:
            self._do(ChangeKind.INBOUND_CLEARED)
        else:
            for one in released if not self._is_strange else ():
                self._end(one)
            self._do(ChangeKind.REQUEUED)

    def _add(self, *, is_sent: bool) -> None:
        choose = self._random
        sequence = self.state.last_sequence + choose.choice([1, 1, 1, 5])
        receipt_id = ""
        if choose.random() < 0.3:
            self._receipts += 1
            receipt_id = f"receipt {self._receipts}"
        is_first = choose.random() < 0.05
        stored = delivery(
            sequence,
            self._next_packet_id() if is_sent and not is_first else 0,
            receipt_id,
            topic=choose.choice(["t", "a/ä/€", "x" * 300]),
            payload=choose.choice([b"", b"\0\xff", b"y" * 9000, b"%d" % sequence]),
            qos=choose.choice([1, 2]),
            retain=choose.random() < 0.5,
            expires=choose.choice([None, 1234.5]),
            identifiers=choose.choice([(), (), (), (1, 268_435_455)]),
            share=choose.choice(["", "", "", "$share/g/t"]),
            properties=choose.choice(
                [
                    None,
                    Properties(
                        message_expiry_interval=9,
                        user_property=[("a", "b"), ("a", "")],
                        correlation_data=b"\0\1",
                        content_type="ü",
                    ),
                ]
            ),
        )
        if stored.properties is None:
            # It has no Message Expiry Interval.
            stored.expires = None
        kind = ChangeKind.ADDED_FIRST if is_first else ChangeKind.ADDED
        self._do(kind, sequence, stored)

    def _end(self, one: StoredDelivery) -> None:
        end = None
        if one.receipt_id:
            code = self._random.choice([0, 0x10, 0x87])
            end = (DONE, code) if one.state != QUEUED else (DROPPED, 0x80)
        self._do(ChangeKind.ENDED, one.sequence, end)

    def _take_other_step(self, which: int) -> None:
        number = self._random.randint(1, 5)
        options = SubscribeOptions(number % 3, number > 2, number > 3, number % 2)
        name = f"filter/{number}/#"
        if which == 0:
            self._do(ChangeKind.BLOCKED, number)
        elif which == 1:
            self._do(ChangeKind.UNBLOCKED, number)
        elif which in (2, 3):
            self._do(ChangeKind.RECEIVED, number)
        elif which == 4:
            self._do(ChangeKind.COMPLETED, number)
        elif which == 9:
            self._do(ChangeKind.RESERVED, number - 1, min(number - 1, 1))
        elif which == 8:
            self._do(ChangeKind.NAMED, number, f"flow {self._random.randint(0, 99)}")
        elif which == 5 or name not in self.state.subscriptions:
            subscription = StoredSubscription(options, number - 1, number > 2)
            self._do(ChangeKind.SUBSCRIBED, name, subscription)
        elif which == 6:
            self._do(ChangeKind.UNSUBSCRIBED, name)
        else:
            self._do(ChangeKind.IDENTIFIED, None, ("me", True, number > 3))

    def _next_packet_id(self) -> int:
        return self.state.last_packet_id % 65_535 + 1
