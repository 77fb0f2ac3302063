"""The state of a broker in an open file: reads it, and writes groups of records.

All methods block: call them in the thread of the file.
"""

import sqlite3
import sys
from collections.abc import Sequence
from typing import Any, Final

from aiomqtt.properties import SubscribeOptions
from aiomqtt.protocol.changes import SessionState, StoredDelivery, StoredSubscription
from aiomqtt.protocol.delivery import RELEASED
from aiomqtt.protocol.packets import WillMessage
from aiomqtt.standard.names import MAXIMUM_REMAINING_LENGTH
from aiomqtt.standard.tables import PacketType
from aiomqtt.stores.broker import (
    Record,
    SessionAttributes,
    StoredBroker,
    StoredMessage,
    StoredSession,
)
from aiomqtt.stores.checks import check_expiry, check_number, check_time

from .broker_group import BrokerGroup, Inserts, SessionNumbers
from .file import DatabaseFile, damage
from .schema import check_message, reading, to_delivery

# A Session Expiry Interval that means never (MQTT 5.0 §3.1.2.11.2).
_LONGEST_EXPIRY: Final = 0xFFFF_FFFF


class BrokerTables:
    """The tables of one broker.

    Args:
        file: The file, not open yet.
    """

    def __init__(self, file: DatabaseFile) -> None:
        self._file = file
        # Valid while the file is open.
        self._numbers = SessionNumbers()
        self._inserts = Inserts(0)

    def open(self) -> StoredBroker:
        """Open the file: see `BrokerStore.open`."""
        connection = self._file.open()
        try:
            self._numbers = SessionNumbers()
            self._inserts = Inserts(
                connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
            )
            # This fails at once if the file can't be written.
            with self._file.transaction():
                return self._read(connection)
        except BaseException:
            self._file.close()
            raise

    def write(self, records: Sequence[Record]) -> None:
        """Store a group of records: see `BrokerStore.commit`."""
        with self._file.group() as connection:
            step = self._file.step
            group = BrokerGroup(connection, self._numbers, self._inserts, step)
            group.apply(records)
            group.write()

    # --- reading ------------------------------------------------------------------

    def _read(self, connection: sqlite3.Connection) -> StoredBroker:
        self._file.step("read sessions")
        sessions: dict[int, StoredSession] = {}
        for number, client_id, *values in connection.execute(
            "SELECT number, client_id, is_v5, expiry, ends, will_due, will_qos,"
            " will_retain, will_topic, will_properties, will_payload, checksum"
            " FROM aiomqtt_sessions ORDER BY number"
        ):
            with reading(self._file.path, number):
                check_number("a number", number, sys.maxsize)
                attributes = _read_attributes(values)
            state = SessionState(client_id)
            state.exists = state.connected_before = True
            sessions[number] = StoredSession(state, attributes)
            self._numbers.load(client_id, number)
        states = {number: session.state for number, session in sessions.items()}
        try:
            self._read_outgoing(connection, states)
            self._read_others(connection, states)
        except KeyError as error:
            what = f"there is no session {error}"
            raise damage(self._file.path, what) from error
        return StoredBroker([*sessions.values()], self._read_retained(connection))

    def _read_outgoing(
        self, connection: sqlite3.Connection, states: dict[int, SessionState]
    ) -> None:
        self._file.step("read outgoing")
        released: list[tuple[int, SessionState, StoredDelivery]] = []
        # A message that waits for many sessions takes memory once.
        payloads: dict[bytes, bytes] = {}
        for row in connection.execute(
            "SELECT session, released, sequence, topic, payload, qos, retain,"
            " properties, expires, identifiers, share, packet_id, state, reason_code,"
            " checksum, published FROM aiomqtt_outgoing ORDER BY session, sequence"
        ):
            state, order = states[row[0]], row[1]
            with reading(self._file.path, row[2]):
                delivery = _read_delivery(row[2:])
            delivery.payload = payloads.setdefault(delivery.payload, delivery.payload)
            state.last_sequence = delivery.sequence
            if delivery.packet_id:
                state.last_packet_id = delivery.packet_id
            if delivery.state == RELEASED:
                released.append((order or 0, state, delivery))
            else:
                state.deliveries[delivery.sequence] = delivery
        released.sort(key=lambda one: one[0])
        for order, state, delivery in released:
            state.deliveries[delivery.sequence] = delivery
            self._numbers.released = order

    def _read_others(
        self, connection: sqlite3.Connection, states: dict[int, SessionState]
    ) -> None:
        self._file.step("read subscriptions")
        for number, name, *options, identifier in connection.execute(
            "SELECT session, filter, qos, no_local, retain_as_published, identifier"
            " FROM aiomqtt_subscriptions"
        ):
            qos, no_local, retain_as_published = options
            with reading(self._file.path, number):
                check_number("an identifier", identifier, MAXIMUM_REMAINING_LENGTH)
                states[number].subscriptions[name] = StoredSubscription(
                    SubscribeOptions(qos, bool(no_local), bool(retain_as_published)),
                    identifier,
                )
        for number, name, sent, newest in connection.execute(
            "SELECT session, filter, sent, newest FROM aiomqtt_pending_retained"
        ):
            with reading(self._file.path, number):
                check_number("a number", sent, newest)
                states[number].pending_retained[name] = (sent, newest)
        for number, packet_id in connection.execute(
            "SELECT session, packet_id FROM aiomqtt_blocked"
        ):
            states[number].blocked.add(packet_id)
        for number, packet_id in connection.execute(
            "SELECT session, packet_id FROM aiomqtt_received"
        ):
            states[number].received.add(packet_id)

    def _read_retained(self, connection: sqlite3.Connection) -> list[StoredMessage]:
        self._file.step("read retained")
        retained = []
        for (
            number,
            topic,
            qos,
            expires,
            properties,
            payload,
            sum_,
        ) in connection.execute(
            "SELECT number, topic, qos, expires, properties, payload, checksum"
            " FROM aiomqtt_retained ORDER BY number"
        ):
            with reading(self._file.path, number):
                check_number("a number", number, sys.maxsize)
                check_number("a QoS", qos, 2)
                decoded = check_message(topic, properties, payload, sum_)
                check_expiry(expires, decoded)
            retained.append(
                StoredMessage(topic, payload, qos, decoded, expires, number)
            )
        return retained


def _read_attributes(values: Sequence[Any]) -> SessionAttributes:
    is_v5, expiry, ends, will_due, qos, retain, topic, properties, payload, sum_ = (
        values
    )
    will = None
    check_number("an expiry", expiry, _LONGEST_EXPIRY)
    check_time(ends)
    check_time(will_due)
    if topic is not None:
        check_number("a QoS", qos, 2)
        decoded = check_message(topic, properties, payload, sum_, PacketType.WILL)
        will = WillMessage(topic, payload, qos, bool(retain), decoded)
    return SessionAttributes(bool(is_v5), expiry, ends, will, will_due)


def _read_delivery(values: Sequence[Any]) -> StoredDelivery:
    sequence, topic, payload, qos, retain, properties, expires = values[:7]
    identifiers, share, packet_id, state, reason_code, sum_, published = values[7:]
    delivery = to_delivery(
        (sequence, packet_id, state, reason_code),
        (topic, properties, payload, sum_),
        (qos, retain, expires, identifiers, share, None),
    )
    # QoS and RETAIN.
    check_number("a flag", published, 5)
    delivery.published = published
    return delivery
