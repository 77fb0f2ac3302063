"""The receiver's half of QoS 1 and 2 by itself."""

from typing import Any

import pytest

from aiomqtt.protocol.changes import Change, ChangeKind, SessionState
from aiomqtt.protocol.inbound import Inbound
from aiomqtt.protocol.packets import Ack, Publish
from aiomqtt.protocol.wire import PacketError
from aiomqtt.standard.tables import PacketType, ProtocolVersion
from aiomqtt.topic import Topic

TOPIC = Topic("t")


class Receiver:
    """An inbound half with an open connection, and what it has written."""

    def __init__(self, version: int = 5, receive_maximum: int = 65_535) -> None:
        self.version = ProtocolVersion(version)
        self.receive_maximum = receive_maximum
        self.inbound = Inbound()
        self.out: list[bytes] = []
        self.open()

    def open(self) -> None:
        self.inbound.open(self.version, self.receive_maximum)

    def gets(self, qos: int, packet_id: int, dup: bool = False) -> bool:
        """Handle a PUBLISH; whether it is to be delivered."""
        packet = Publish(TOPIC, b"", qos, False, packet_id, None, dup)
        return self.inbound.accept(packet, self.out)

    def release(self, packet_id: int) -> None:
        self.inbound.release(Ack(PacketType.PUBREL, packet_id), self.out)

    def written(self) -> str:
        data = b"".join(self.out)
        self.out.clear()
        return data.hex(" ")


def test_qos_1_is_delivered_every_time(version):
    receiver = Receiver(version)
    assert receiver.gets(1, 258)
    assert receiver.gets(1, 258, dup=True)
    assert receiver.written() == "40 02 01 02 40 02 01 02"


def test_qos_2_is_delivered_once_until_its_pubrel(version):
    receiver = Receiver(version)
    assert receiver.gets(2, 258)
    assert not receiver.gets(2, 258, dup=True)
    assert not receiver.gets(2, 258)
    receiver.release(258)
    assert receiver.gets(2, 258, dup=True)
    assert receiver.written() == " ".join(
        ["50 02 01 02"] * 3 + ["70 02 01 02", "50 02 01 02"]
    )


@pytest.mark.parametrize(
    ("version", "answer"),
    [(3, "70 02 00 05"), (4, "70 02 00 05"), (5, "70 03 00 05 92")],
)
def test_an_unknown_pubrel_is_completed(version, answer):
    receiver = Receiver(version)
    receiver.release(5)
    assert receiver.written() == answer


def test_qos_2_is_remembered_over_connections():
    receiver = Receiver()
    assert receiver.gets(2, 1)
    receiver.open()
    assert not receiver.gets(2, 1, dup=True)


def test_clear_forgets():
    receiver = Receiver()
    assert receiver.gets(2, 1)
    receiver.inbound.clear()
    assert receiver.gets(2, 1)


@pytest.mark.parametrize("maximum", [1, 2, 10])
def test_qos_2_counts_against_the_receive_maximum_until_its_pubrel(maximum):
    receiver = Receiver(receive_maximum=maximum)
    for packet_id in range(1, maximum + 1):
        receiver.gets(2, packet_id)
        receiver.gets(2, packet_id, dup=True)
        receiver.gets(1, 100 + packet_id)
    receiver.release(1)
    receiver.gets(2, 50)
    receiver.written()
    with pytest.raises(PacketError) as raised:
        receiver.gets(2, 51)
    assert raised.value.reason_code == 0x93
    assert receiver.written() == ""


def test_one_message_too_many_is_not_taken_over():
    # It comes again on the next connection, and is new then.
    receiver = Receiver(receive_maximum=1)
    receiver.gets(2, 1)
    with pytest.raises(PacketError):
        receiver.gets(2, 2)
    receiver.open()
    receiver.release(1)
    assert receiver.gets(2, 2, dup=True)


def test_every_connection_counts_anew():
    receiver = Receiver(receive_maximum=1)
    receiver.gets(2, 1)
    receiver.open()
    assert receiver.gets(2, 2)
    receiver.release(1)
    with pytest.raises(PacketError):
        receiver.gets(2, 3)


# --- flows that a database of the program knows by their names ------------------------


class NamingReceiver:
    """An inbound half whose program acknowledges, and the changes of its session."""

    def __init__(self, version: int = 5) -> None:
        self.changes: list[Change] = []
        self.inbound = Inbound(self.changes)
        self.inbound.set_manual(False)
        self.inbound.open(ProtocolVersion(version))

    def gets(self, packet_id: int) -> Any:
        """Handle a PUBLISH with QoS 2; return its ticket."""
        packet = Publish(TOPIC, b"", 2, False, packet_id, None, False)
        assert self.inbound.accept(packet, [])
        return packet.ticket

    def decide(self, ticket: Any, reason_code: int = 0) -> None:
        ticket.decide(reason_code)
        self.inbound.write_decided([])

    def release(self, packet_id: int) -> None:
        self.inbound.release(Ack(PacketType.PUBREL, packet_id), [])

    def kinds(self) -> list[tuple[str, object]]:
        return [(change.kind, change.key) for change in self.changes]


def test_a_flow_keeps_its_name_until_it_is_complete(version):
    receiver = NamingReceiver(version)
    ticket = receiver.gets(1)
    assert receiver.inbound.name_flow(ticket, "first") == "first"
    # The message comes again on another connection.
    receiver.inbound.close()
    receiver.inbound.open(ProtocolVersion(version))
    ticket = receiver.gets(1)
    assert receiver.inbound.name_flow(ticket, "second") == "first"
    receiver.decide(ticket)
    receiver.release(1)
    assert receiver.inbound.name_flow(receiver.gets(1), "third") == "third"
    named, received, completed = (
        (ChangeKind.NAMED, 1),
        ("received", 1),
        ("completed", 1),
    )
    assert receiver.kinds() == [named, received, completed, named]


def test_a_refusal_ends_the_flow():
    receiver = NamingReceiver()
    ticket = receiver.gets(1)
    receiver.inbound.name_flow(ticket, "first")
    receiver.decide(ticket, 0x83)
    assert receiver.inbound.name_flow(receiver.gets(1), "second") == "second"
    assert receiver.kinds() == [("named", 1), ("completed", 1), ("named", 1)]


def test_the_end_of_the_session_ends_its_flows():
    receiver = NamingReceiver()
    receiver.inbound.name_flow(receiver.gets(1), "first")
    receiver.inbound.clear()
    assert receiver.inbound.name_flow(receiver.gets(1), "second") == "second"
    assert receiver.kinds() == [("named", 1), ("inbound cleared", None), ("named", 1)]


def test_the_names_are_part_of_the_state():
    receiver = NamingReceiver()
    receiver.inbound.name_flow(receiver.gets(1), "first")
    state = SessionState("me")
    receiver.inbound.save(state)
    assert state.flows == {1: "first"}
    later = NamingReceiver()
    later.inbound.load(state)
    assert later.inbound.name_flow(later.gets(1), "second") == "first"
    applied = SessionState("me")
    for change in receiver.changes:
        applied.apply(change)
    assert applied == state


def test_a_stray_pubrel_leaves_no_name_behind():
    """Below 5.0 it completes the flow, although its message is undecided."""
    receiver = NamingReceiver(4)
    ticket = receiver.gets(1)
    receiver.release(1)
    assert receiver.inbound.name_flow(ticket, "first") == "first"
    assert receiver.inbound.name_flow(receiver.gets(1), "second") == "second"
    assert receiver.kinds() == [("named", 1)]


def test_a_stray_pubrel_does_not_end_the_flow_of_an_undecided_message():
    receiver = NamingReceiver()
    ticket = receiver.gets(1)
    receiver.inbound.name_flow(ticket, "first")
    receiver.release(1)
    assert receiver.inbound.name_flow(ticket, "second") == "first"
