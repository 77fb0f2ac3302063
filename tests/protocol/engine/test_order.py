"""The engine reports happenings in order."""

import pytest

from aiomqtt.protocol.codec.size import MESSAGE_SIZE
from aiomqtt.protocol.delivery import Delivery
from aiomqtt.protocol.output import Arrived, Happening
from aiomqtt.protocol.packets import Packet, Publish
from aiomqtt.protocol.requests import Request

from .client_and_broker import (
    CONNACK,
    DISCONNECT,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    UNSUBACK,
    connected,
    lasting,
    octets,
    strangers,
)


def retained(number: int) -> Packet:
    return PUBLISH("t", b"%d" % number, retain=True)


def named(happenings: list[Happening]) -> list[str]:
    """Describe happenings; show messages that arrived together by their payloads."""
    names = []
    for happening in happenings:
        if isinstance(happening, Arrived):
            payloads = [message.payload.decode() for message in happening.messages]
            names.append(f"arrived {' '.join(payloads)}")
        elif isinstance(happening, Delivery | Request):
            names.append(f"{type(happening).__name__} {happening.packet_id}")
        else:
            names.append(type(happening).__name__)
    return names


# A client that has published with QoS 1 and 2 (1 and 2), subscribed and unsubscribed
# (3 and 4): what the broker sends at once, and what that makes happen.
CHUNKS = [
    ([retained(1)], ["arrived 1"]),
    ([retained(1), retained(2)], ["arrived 1 2"]),
    ([SUBACK(3, 0), retained(1)], ["Request 3", "arrived 1"]),
    ([retained(1), SUBACK(3, 0)], ["arrived 1", "Request 3"]),
    ([UNSUBACK(4, 0), retained(1)], ["Request 4", "arrived 1"]),
    ([PUBACK(1), retained(1)], ["Delivery 1", "arrived 1"]),
    (
        [retained(1), retained(2), PUBACK(1), retained(3), SUBACK(3, 0), retained(4)],
        ["arrived 1 2", "Delivery 1", "arrived 3", "Request 3", "arrived 4"],
    ),
    # Nothing that happens lies between these.
    ([retained(1), PINGRESP, retained(2)], ["arrived 1 2"]),
    ([retained(1), PUBREC(2), retained(2)], ["arrived 1 2"]),
    ([PUBLISH("t", b"1", 2, 7), PUBREL(7), retained(2)], ["arrived 1 2"]),
    ([PUBLISH("t", b"1", 2, 7), PUBLISH("t", b"1", 2, 7)], ["arrived 1"]),
    (
        [PUBREC(2), retained(1), PUBCOMP(2), retained(2)],
        ["arrived 1", "Delivery 2", "arrived 2"],
    ),
    ([SUBACK(3, 0), PUBACK(1)], ["Request 3", "Delivery 1"]),
    ([PUBACK(1), SUBACK(3, 0)], ["Delivery 1", "Request 3"]),
]


@pytest.mark.parametrize(("chunk", "expected"), CHUNKS)
def test_what_one_chunk_brings_happens_in_its_order(version, chunk, expected):
    client, broker = connected(version)
    client.publish("t", b"", 1)
    client.publish("t", b"", 2)
    client.subscribe("t")
    client.unsubscribe("u")
    if version < 5:
        chunk = [UNSUBACK(4) if item == UNSUBACK(4, 0) else item for item in chunk]
    broker.sends(*chunk)
    assert named(client.happenings()) == expected


ENDS = [
    (DISCONNECT(0x8B), 5),
    (octets("f0 00"), 4),
    (octets("36 00"), 5),
    (CONNACK(), 4),
]


@pytest.mark.parametrize(("end", "version"), ENDS)
def test_what_came_before_the_end_happens_before_it(end, version):
    client, broker = connected(version)
    broker.sends(retained(1), retained(2), end, retained(3))
    assert named(client.happenings()) == ["arrived 1 2", "Closed"]


def test_the_connection_is_there_before_its_first_message(version):
    client, broker = strangers(version)
    client.connect()
    broker.sends(CONNACK(), retained(1), retained(2))
    assert named(client.happenings()) == ["Connected", "arrived 1 2"]


@pytest.mark.parametrize("version", [4, 5], ids=["3.1.1", "5.0"])
def test_what_ends_with_the_connack_happens_between_it_and_messages(version):
    """PUBREC came, so the delivery is done when the broker has lost the session."""
    client, broker = lasting(version)
    client.publish("t", b"", 2)
    broker.sends(PUBREC(1))
    broker.vanishes()
    client.happenings()
    client.connect()
    broker.sends(CONNACK(), retained(1))
    expected = ["Connected", "Delivery 1", "arrived 1"]
    assert named(client.happenings()) == expected


def test_a_run_goes_on_over_chunks_until_it_is_taken(version):
    client, broker = connected(version)
    for number in (1, 2):
        client.engine.receive(broker._encoded(retained(number)), 0.0)
    client.handed_over()
    broker.sends(retained(3))
    assert named(client.happenings()) == ["arrived 1 2", "arrived 3"]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_sizes_of_the_runs_add_up(version, count):
    """However they are divided: the bytes of the chunk and a constant per message."""
    client, broker = connected(version)
    client.subscribe("t")
    before = [retained(number) for number in range(count)]
    chunk = [*before, SUBACK(1, 0), PUBLISH("t", bytes(1000))]
    broker.sends(*chunk)
    runs = [item for item in client.happenings() if isinstance(item, Arrived)]
    length = sum(len(broker._encoded(packet)) for packet in chunk)
    assert sum(run.size for run in runs) == length + MESSAGE_SIZE * (count + 1)
    assert [len(run.messages) for run in runs] == ([count, 1] if count else [1])


def test_what_was_received_without_a_message_is_not_counted_later(version):
    client, broker = connected(version)
    client.subscribe("t")
    broker.sends(SUBACK(1, 0))
    broker.sends(retained(1))
    [_, run] = client.happenings()
    assert isinstance(run, Arrived)
    [message] = run.messages
    assert isinstance(message, Publish)
    assert run.size == MESSAGE_SIZE + len(broker._encoded(message))
