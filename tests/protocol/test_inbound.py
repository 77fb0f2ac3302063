"""The receiver's half of QoS 1 and 2 by itself."""

import pytest

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
