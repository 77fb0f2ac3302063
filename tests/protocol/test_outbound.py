"""The sender's half of QoS 1 and 2 by itself: its states, and either role."""

import pytest

from aiomqtt.protocol.changes import SessionState
from aiomqtt.protocol.codec.fast import encode_publish
from aiomqtt.protocol.codec.framing import Decoder
from aiomqtt.protocol.delivery import (
    DISPLACED,
    DONE,
    EXPIRED,
    LOST,
    OUTDATED,
    QUEUED,
    RELEASED,
    SENT,
    WITHDRAWN,
    Delivery,
)
from aiomqtt.protocol.outbound import MAXIMUM_IN_FLIGHT, Outbound
from aiomqtt.protocol.packets import Ack, Publish
from aiomqtt.protocol.wire import PacketError
from aiomqtt.standard.tables import PacketType, ProtocolVersion, Role

V311 = ProtocolVersion.V311


def snapshot(outbound: Outbound) -> SessionState:
    state = SessionState()
    outbound.save(state)
    return state


class Sender:
    """An outbound half with an open connection, and what it has written."""

    def __init__(self, limit: int = 10, role: Role = Role.CLIENT) -> None:
        self.outbound = Outbound(role)
        self.now = 0.0
        self.out: list[bytes] = []
        self.role = role
        self.open(limit)

    def open(self, limit: int = 10) -> None:
        self.outbound.open(V311, self.encode, limit)

    def send(
        self, payload: bytes = b"", qos: int = 1, expires: float | None = None
    ) -> Delivery:
        delivery = Delivery("t", payload, qos, False, None, 0)
        delivery.size = 2 + len(b"".join(self.encode(delivery, self.now)))
        delivery.expires = expires
        self.outbound.send(delivery, self.out, self.now)
        return delivery

    def encode(self, delivery: Delivery, now: float) -> tuple[bytes, bytes]:
        assert now == self.now
        return encode_publish(
            delivery.topic,
            delivery.payload,
            delivery.qos,
            delivery.retain,
            delivery.properties,
            V311,
            self.role,
        )

    def acknowledge(self, kind: PacketType, packet_id: int) -> Delivery | None:
        delivery = self.outbound.acknowledge(Ack(kind, packet_id), self.out, self.now)
        self.outbound.pump(self.out, self.now)
        return delivery

    def written(self) -> list[str]:
        """Return the packets written since the last call: kind, identifier, payload."""
        lines = []
        stream = b"".join(self.out)
        while stream:
            data, stream = stream[: 2 + stream[1]], stream[2 + stream[1] :]
            kind = PacketType(data[0] >> 4).name
            if kind == "PUBLISH":
                dup = " DUP" if data[0] & 8 else ""
                packet_id = int.from_bytes(data[5:7], "big")
                lines.append(f"{kind} {packet_id} {data[7:].decode()}{dup}".strip())
            else:
                lines.append(f"{kind} {int.from_bytes(data[2:4], 'big')}")
        self.out.clear()
        return lines


def allow(delivery: Delivery, now: float) -> int:
    return 0


def test_a_delivery_goes_through_its_states():
    sender = Sender(limit=1)
    first, second = sender.send(qos=1), sender.send(qos=2)
    assert (first.state, second.state) == (SENT, QUEUED)
    assert (first.packet_id, second.packet_id) == (1, 0)
    assert sender.acknowledge(PacketType.PUBACK, 1) is first
    assert (first.state, second.state) == (DONE, SENT)
    assert sender.acknowledge(PacketType.PUBREC, 2) is None
    assert second.state == RELEASED
    assert sender.acknowledge(PacketType.PUBCOMP, 2) is second
    assert second.state == DONE
    assert sender.written() == ["PUBLISH 1", "PUBLISH 2", "PUBREL 2"]


def test_it_counts_what_is_unfinished_in_flight_and_queued():
    sender = Sender(limit=2)
    for _ in range(5):
        sender.send(qos=2)

    def counts() -> tuple[int, int, int]:
        outbound = sender.outbound
        return len(outbound), outbound.in_flight, outbound.queued

    assert counts() == (5, 2, 3)
    sender.acknowledge(PacketType.PUBREC, 1)
    assert counts() == (5, 2, 3)
    sender.acknowledge(PacketType.PUBCOMP, 1)
    assert counts() == (4, 2, 2)
    sender.outbound.close()
    sender.open(1)
    sender.outbound.resume(sender.out, allow, sender.now)
    assert counts() == (4, 1, 2)


def test_a_delivery_that_is_done_holds_no_payload():
    sender = Sender()
    delivery = sender.send(b"x" * 1000, 2)
    assert delivery.size == sender.outbound.size == len(b"".join(sender.out))
    # What is encoded is kept no longer than until it is written.
    assert (delivery.topic, len(delivery.payload)) == ("t", 1000)
    assert delivery.head == delivery.tail == b""
    sender.acknowledge(PacketType.PUBREC, 1)
    # After the PUBREC only its identifier counts.
    assert (delivery.topic, delivery.payload, delivery.size) == ("", b"", 0)
    assert sender.outbound.size == 0


def test_the_size_is_that_of_all_packets_that_are_kept():
    sender = Sender(limit=2)
    first, second, third, fourth = (
        sender.send(b"x" * n, qos) for n, qos in ((10, 1), (20, 2), (30, 1), (40, 1))
    )
    outbound = sender.outbound
    assert outbound.size == sum(d.size for d in (first, second, third, fourth))
    outbound.withdraw(fourth)
    sender.acknowledge(PacketType.PUBACK, 1)
    assert outbound.size == second.size + third.size
    outbound.close()
    sender.open(2)
    outbound.requeue()
    outbound.resume(sender.out, allow, sender.now)
    assert outbound.size == second.size + third.size
    outbound.close()
    sender.open(2)
    outbound.resume(sender.out, lambda delivery, now: 0x95 * (delivery.size > 37), 0.0)
    assert outbound.size == second.size + third.size
    sender.acknowledge(PacketType.PUBREC, second.packet_id)
    assert outbound.size == third.size
    outbound.clear()
    assert outbound.size == 0


@pytest.mark.parametrize("role", Role)
def test_both_roles_send_alike(role):
    sender = Sender(limit=2, role=role)
    for n in range(3):
        sender.send(b"%d" % n, 1 + n % 2)
    sender.acknowledge(PacketType.PUBREC, 2)
    sender.acknowledge(PacketType.PUBACK, 1)
    assert sender.written() == ["PUBLISH 1 0", "PUBLISH 2 1", "PUBREL 2", "PUBLISH 3 2"]
    sender.outbound.close()
    sender.open(2)
    assert sender.outbound.resume(sender.out, allow, sender.now) == []
    assert sender.written() == ["PUBREL 2", "PUBLISH 3 2 DUP"]


def test_without_a_connection_deliveries_wait():
    sender = Sender()
    sender.outbound.close()
    delivery = sender.send(b"x")
    assert (sender.written(), delivery.state) == ([], QUEUED)
    sender.open()
    sender.outbound.resume(sender.out, allow, sender.now)
    assert sender.written() == ["PUBLISH 1 x"]


def test_identifiers_for_requests_are_freed_with_the_connection():
    sender = Sender()
    outbound = sender.outbound
    assert [outbound.assign_to_request() for _ in range(3)] == [1, 2, 3]
    outbound.free_from_request(2)
    assert outbound.assign_to_request() == 4
    sender.send()
    outbound.close()
    sender.open()
    # 5 is the publish's; the count goes on, and around.
    reserved = [outbound.assign_to_request() for _ in range(65_534)]
    assert reserved[:3] == [6, 7, 8]
    assert reserved[-1] == 4
    assert 5 not in reserved
    assert outbound.assign_to_request() == 0


def test_publishing_leaves_identifiers_for_requests():
    sender = Sender(limit=65_535)
    for _ in range(65_535):
        sender.send()
    assert sender.outbound.in_flight == MAXIMUM_IN_FLIGHT
    assert sender.outbound.assign_to_request() > 0


def test_a_delivery_waits_for_an_identifier_when_none_is_free():
    sender = Sender()
    for _ in range(65_535):
        sender.outbound.assign_to_request()
    delivery = sender.send(b"x")
    assert (delivery.state, sender.written()) == (QUEUED, [])
    sender.outbound.free_from_request(7)
    sender.outbound.pump(sender.out, sender.now)
    assert sender.written() == ["PUBLISH 7 x"]


def test_clear_returns_all_that_was_not_done():
    sender = Sender(limit=3)
    done, released, sent, queued = (sender.send(qos=q) for q in (1, 2, 1, 1))
    sender.acknowledge(PacketType.PUBREC, 2)
    sender.acknowledge(PacketType.PUBACK, 1)
    more = sender.send()
    assert sender.outbound.clear() == [released, sent, queued, more]
    assert {d.state for d in (done, released, sent, queued, more)} == {DONE, LOST}
    assert done.state == DONE
    assert len(sender.outbound) == 0
    assert sender.send().packet_id == 1


def test_restart_puts_what_was_sent_before_what_waited():
    sender = Sender(limit=3)
    released = sender.send(b"0", 2)
    for n in range(1, 5):
        sender.send(b"%d" % n)
    sender.acknowledge(PacketType.PUBREC, 1)
    sender.written()
    sender.outbound.close()
    sender.open(3)
    assert sender.outbound.requeue() == [released]
    assert sender.outbound.resume(sender.out, allow, sender.now) == []
    assert sender.written() == ["PUBLISH 1 1", "PUBLISH 2 2", "PUBLISH 3 3"]


@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "lost"])
def test_what_is_refused_on_resuming_is_returned(is_kept):
    sender = Sender(limit=2)
    deliveries = [sender.send(b"x" * n) for n in (1, 100, 2, 200)]
    sender.written()
    sender.outbound.close()
    sender.open(2)

    def refuse_large(delivery: Delivery, now: float) -> int:
        return 0x95 if delivery.size > 50 else 0

    if not is_kept:
        assert sender.outbound.requeue() == []
    ended = sender.outbound.resume(sender.out, refuse_large, sender.now)
    assert ended == [deliveries[1], deliveries[3]]
    assert [delivery.reason_code for delivery in ended] == [0x95, 0x95]
    dup = " DUP" if is_kept else ""
    assert sender.written()[0] == f"PUBLISH 1 x{dup}"
    assert len(sender.outbound) == 2


def test_the_identifier_of_what_is_refused_on_resuming_is_not_used_again():
    sender = Sender(limit=3)
    for qos in (1, 2):
        sender.send(b"x", qos)
    sender.outbound.close()
    sender.open(3)
    refused = sender.outbound.resume(sender.out, lambda *_: 0x95, sender.now)
    assert [delivery.packet_id for delivery in refused] == [1, 2]
    # At QoS 2 the peer may have received it, and take another one for the same.
    assert snapshot(sender.outbound).blocked == {2}


@pytest.mark.parametrize(
    ("qos", "steps", "wrong"),
    [
        (1, (), PacketType.PUBREC),
        (1, (), PacketType.PUBCOMP),
        (2, (), PacketType.PUBCOMP),
        (2, (PacketType.PUBREC,), PacketType.PUBACK),
    ],
)
def test_an_acknowledgement_of_the_wrong_kind_is_a_protocol_error(qos, steps, wrong):
    sender = Sender()
    delivery = sender.send(qos=qos)
    for kind in steps:
        sender.acknowledge(kind, 1)
    with pytest.raises(PacketError) as raised:
        sender.acknowledge(wrong, 1)
    assert raised.value.reason_code == 0x82
    assert delivery.state != DONE


def test_withdrawing_is_for_what_waits():
    sender = Sender(limit=1)
    first, second, third = (sender.send(b"%d" % n) for n in range(3))
    assert [sender.outbound.withdraw(d) for d in (first, second)] == [False, True]
    assert second.state == WITHDRAWN
    sender.acknowledge(PacketType.PUBACK, 1)
    assert sender.written() == ["PUBLISH 1 0", "PUBLISH 2 2"]
    assert not sender.outbound.withdraw(third)


@pytest.mark.parametrize("opens_later", [True, False])
def test_a_broker_hands_over_what_expires_while_it_waits(opens_later):
    sender = Sender(limit=1, role=Role.SERVER)
    first, second, third = (
        sender.send(payload, expires=10.0) for payload in (b"1", b"2", b"3")
    )
    fourth = sender.send(b"4")
    sender.now = 10.0
    if opens_later:
        sender.outbound.close()
        sender.open(2)
        assert sender.outbound.resume(sender.out, allow, sender.now) == []
        # What was sent once does not expire.
        assert first.state == SENT
    else:
        sender.acknowledge(PacketType.PUBACK, 1)
        assert first.state == DONE
    assert sender.outbound.ended == [second, third]
    assert (second.state, third.state) == (EXPIRED, EXPIRED)
    # They have used no identifier.
    assert (fourth.state, fourth.packet_id) == (SENT, 2)
    assert sender.outbound.queued == 0
    assert sender.outbound.size == sum(
        delivery.size for delivery in (first, fourth) if delivery.state == SENT
    )


@pytest.mark.parametrize("drops_expired", [False, True])
def test_a_client_leaves_it_to_the_broker_to_drop_what_has_expired(drops_expired):
    sender = Sender(limit=1)
    sender.outbound.drops_expired = drops_expired
    sender.send(b"1")
    second = sender.send(b"2", expires=10.0)
    sender.now = 10.0
    sender.acknowledge(PacketType.PUBACK, 1)
    if drops_expired:
        assert sender.written() == ["PUBLISH 1 1"]
        assert sender.outbound.take_ended() == [second]
        assert (second.state, second.reason_code) == (EXPIRED, 0x80)
    else:
        assert sender.written() == ["PUBLISH 1 1", "PUBLISH 2 2"]
    assert sender.outbound.ended == []


# --- QoS 0 that has to wait -------------------------------------------------------


def read(sender: Sender) -> list[tuple[int, int]]:
    """Return QoS and payload, a number, of each PUBLISH that was written."""
    packets = Decoder(V311, Role.CLIENT).feed(b"".join(sender.out))
    sender.out.clear()
    return [
        (packet.qos, int(packet.payload))
        for packet in packets
        if isinstance(packet, Publish)
    ]


def test_qos_0_waits_for_a_connection_in_its_place():
    sender = Sender(limit=2)
    sender.outbound.close()
    qos = [0, 1, 0, 2, 0, 1, 0]
    deliveries = [sender.send(b"%d" % n, q) for n, q in enumerate(qos)]
    assert (sender.outbound.queued, sender.outbound.queued_qos0) == (7, 4)
    assert sender.outbound.queued_size == sender.outbound.size
    sender.open(2)
    sender.outbound.resume(sender.out, allow, sender.now)
    # Only a message with an acknowledgement needs an identifier and the quota.
    assert read(sender) == [(0, 0), (1, 1), (0, 2), (2, 3), (0, 4)]
    assert sender.outbound.take_ended() == [deliveries[0], deliveries[2], deliveries[4]]
    assert sender.outbound.in_flight == 2
    sender.acknowledge(PacketType.PUBACK, 1)
    assert read(sender) == [(1, 5), (0, 6)]
    assert sender.outbound.take_ended() == [deliveries[6]]
    assert [delivery.state for delivery in deliveries if not delivery.qos] == [DONE] * 4
    assert (sender.outbound.queued, sender.outbound.queued_qos0) == (0, 0)
    assert sender.outbound.size == deliveries[3].size + deliveries[5].size
    assert sender.outbound.queued_size == 0


def test_qos_0_waits_for_what_is_sent_again():
    sender = Sender(limit=1)
    sender.send(b"0", 1)
    sender.send(b"1", 1)
    read(sender)
    sender.outbound.close()
    sender.send(b"2", 0)
    sender.open(1)
    sender.outbound.resume(sender.out, allow, sender.now)
    assert read(sender) == [(1, 0)]
    # Nothing leaves without a connection.
    sender.outbound.close()
    sender.outbound.pump(sender.out, sender.now)
    assert sender.out == []
    sender.open(2)
    sender.outbound.resume(sender.out, allow, sender.now)
    assert read(sender) == [(1, 0), (1, 1), (0, 2)]


@pytest.mark.parametrize("state", [WITHDRAWN, EXPIRED, DISPLACED, OUTDATED])
def test_what_waits_may_end_in_several_ways(state):
    sender = Sender(limit=1)
    sender.outbound.close()
    first, second = sender.send(b"1", 0), sender.send(b"2", 1)
    assert sender.outbound.oldest_queued is first
    assert sender.outbound.withdraw(first, state)
    assert not sender.outbound.withdraw(first, state)
    assert (first.state, first.payload) == (state, b"")
    assert first.reason_code == (0 if state == WITHDRAWN else 0x80)
    assert sender.outbound.oldest_queued is second
    assert (sender.outbound.queued_qos0, sender.outbound.size) == (0, second.size)
    assert sender.outbound.queued_size == second.size
    assert sender.outbound.drop(second)
    assert sender.outbound.oldest_queued is None


def test_qos_0_that_waits_expires():
    sender = Sender(limit=1)
    sender.outbound.drops_expired = True
    sender.outbound.close()
    kept, expired = sender.send(b"0", 0, expires=10.5), sender.send(b"1", 0, expires=10)
    sender.now = 10.0
    sender.open(1)
    sender.outbound.resume(sender.out, allow, sender.now)
    assert read(sender) == [(0, 0)]
    assert sender.outbound.take_ended() == [kept, expired]
    assert (kept.state, expired.state) == (DONE, EXPIRED)
    assert (sender.outbound.queued_qos0, sender.outbound.size) == (0, 0)


def test_clear_counts_qos_0_that_waits():
    sender = Sender()
    sender.outbound.close()
    delivery = sender.send(b"1", 0)
    assert sender.outbound.clear() == [delivery]
    assert delivery.state == LOST
    assert (sender.outbound.queued_qos0, sender.outbound.size) == (0, 0)
