"""One bound for all that a broker keeps for its clients."""

import subprocess
import sys
from typing import Any

import pytest

from aiomqtt.broker.core.memory_account import MemoryAccount
from aiomqtt.broker.core.send_buffer import UNSENT_MAX
from aiomqtt.broker.core.session import UNSENT_HIGH
from aiomqtt.properties import Properties, SubscribeOptions
from aiomqtt.protocol.packets import Publish, Subscribe, Unsubscribe, WillMessage
from aiomqtt.standard.tables import PacketType
from tests.broker.attacks import ATTACKS
from tests.broker.world import World, payloads

MEBIBYTE = 1024 * 1024
MAXIMUM = 8 * MEBIBYTE
# What a process may grow besides: its heap is never quite full.
OVERHEAD = 16 * MEBIBYTE
LASTING = Properties(session_expiry_interval=1000)


# A minute where nothing is compiled and other tests run beside it.
@pytest.mark.once("compiled")
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "names", [[*ATTACKS], ["unread_answers"]], ids=["packets", "unread answers"]
)
def test_a_broker_under_attack_stays_within_its_bound(names):
    """Each attack would take 35 MiB and more, but for the caches, which are small."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.broker.attacks", str(MAXIMUM), *names],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    results = [line.split() for line in done.stdout.splitlines()]
    assert [name for name, _, _ in results] == names
    for name, grown, counted in results:
        assert int(grown) < MAXIMUM + OVERHEAD, name
        # One packet more may have been on its way.
        assert int(counted) < MAXIMUM + 8 * MEBIBYTE, name


def full(world=None):
    """A broker with a client that is connected and no room for more."""
    world = world or World(maximum_memory=100_000)
    speaker = world.client(5, client_id="speaker")
    number = 0
    code = 0x10
    while code == 0x10:
        number += 1
        speaker.publish(f"kept/{number}", bytes(1000), 1, True)
        code = int(speaker.read_one().reason_code)
    assert code == 0x97
    return world, speaker


def test_an_eighth_is_for_connections():
    memory = MemoryAccount(80_000)
    assert memory.has_room(70_000)
    assert not memory.has_room(70_001)
    memory.used = 69_000
    assert memory.takes_connections
    memory.used = 70_000
    assert not memory.takes_connections


@pytest.mark.parametrize("what", ["message", "retained", "qos 2"])
def test_what_there_is_no_room_for_is_refused(what):
    _, speaker = full()
    qos = 2 if what == "qos 2" else 1
    speaker.publish("t", bytes(20_000), qos, what == "retained")
    assert speaker.read_one().reason_code == 0x97


def test_a_subscription_is_refused(version):
    world, _ = full()
    client = world.client(version, client_id="speaker", clean_start=False)
    code = 0x97 if version == 5 else 0x80
    assert client.subscribe("x" * 30_000, 1) == [code]


def test_a_session_and_a_will_are_refused():
    world, _ = full()
    will = WillMessage("t", bytes(60_000))
    for number in range(20):
        client = world.client(5, client_id=f"{number}", will=will)
        if client.ended is not None:
            break
    assert "memory" in client.ended
    assert f"{number}" not in world.state.sessions


def test_who_comes_back_takes_what_waits_for_it():
    """There is room for the connection, and then for more."""
    world = World(maximum_memory=200_000)
    away = world.client(5, client_id="away", properties=LASTING)
    away.subscribe("t", 1)
    away.lose()
    speaker = world.client(5, client_id="speaker")
    accepted = 0
    while True:
        speaker.publish("t", bytes(1000), 1)
        if speaker.read_one().reason_code == 0x97:
            break
        accepted += 1
    assert accepted > 10
    again = world.client(5, client_id="away", clean_start=False, properties=LASTING)
    assert len(again.rest) == accepted
    for packet in again.rest:
        assert isinstance(packet, Publish)
        again.ack(PacketType.PUBACK, packet.mid)
    speaker.publish("t", b"again", 1)
    assert speaker.read_one().reason_code == 0
    assert payloads(again.read()) == [b"again"]


def test_messages_with_qos_0_pass_all_the_same():
    world = World(maximum_memory=100_000)
    listener = world.client(5, client_id="listener")
    listener.subscribe("t")
    _, speaker = full(world)
    speaker.publish("t", b"1")
    assert payloads(listener.read()) == [b"1"]
    # But not when it takes none of them.
    listener.send_buffer.set_unsent(UNSENT_HIGH + 1)
    speaker.publish("t", b"2")
    assert payloads(listener.read()) == []
    assert world.state.statistics.messages_dropped == 1


def test_a_message_for_many_sessions_counts_once():
    world = World(maximum_memory=400_000)
    for number in range(20):
        client = world.client(5, client_id=f"{number}", properties=LASTING)
        client.subscribe("t", 1)
        client.lose()
    speaker = world.client(5, client_id="speaker")
    before = world.state.memory.used
    speaker.publish("t", bytes(20_000), 1)
    assert speaker.read_one().reason_code == 0
    assert world.state.memory.used - before < 2 * 20_000 + 20 * 1000
    assert world.state.statistics.messages_dropped == 0


@pytest.mark.parametrize("end", ["acknowledged", "expired", "ended", "refused"])
def test_all_is_given_back(end):
    """Everything that is released was counted before, exactly once."""
    world = World()
    start = world.state.memory.used
    client = world.client(
        5, client_id="a", will=WillMessage("w", b"1"), properties=LASTING
    )
    speaker = world.client(5, client_id="speaker")
    base = world.state.memory.used
    client.subscribe("t/#", 2)
    client.subscribe("$share/g/u", 1)
    client.lose()
    expiry = Properties(message_expiry_interval=5) if end == "expired" else None
    for number in range(1, 10):
        topic = f"t/{number}"
        speaker.publish(topic, bytes(1000), number % 2 + 1, True, properties=expiry)
        speaker.read()
        speaker.ack(PacketType.PUBREL, speaker._last_id)
    if end == "expired":
        world.pass_time(10)
    speaker.read()
    assert world.state.memory.used > base + 9 * 1000
    if end != "ended":
        properties = Properties(
            session_expiry_interval=1000,
            maximum_packet_size=500 if end == "refused" else None,
        )
        client = world.client(
            5, client_id="a", clean_start=False, properties=properties
        )
        packets: list[Any] = client.rest
        while packets:
            for packet in packets:
                if packet.kind is PacketType.PUBLISH:
                    kind = PacketType.PUBACK if packet.qos == 1 else PacketType.PUBREC
                    client.ack(kind, packet.mid)
                elif packet.kind is PacketType.PUBREL:
                    client.ack(PacketType.PUBCOMP, packet.packet_id)
            packets = client.read()
        client.send(Unsubscribe(1, ["t/#", "$share/g/u"]))
        client.read()
        client.lose()
    for number in range(1, 10):
        speaker.publish(f"t/{number}", b"", 0, True)
    world.state.retained.matching("#", world.now)
    speaker.lose()
    world.pass_time(2000)
    assert world.state.sessions == {}
    world.state.subscriptions._forget_found()
    assert world.state.memory.used == start


def test_replaced_filters_and_pending_retained_are_given_back():
    world = World()
    speaker = world.client(5, client_id="speaker")
    for number in range(200):
        speaker.publish(f"t/{number}", b"1", 0, True)
    world.state.subscriptions._forget_found()
    before = world.state.memory.used
    client = world.client(5, client_id="a", properties=Properties(receive_maximum=5))
    for _ in range(3):
        client.send(Subscribe(1, [("t/#", SubscribeOptions(1))] * 2))
    client.send(Unsubscribe(2, ["t/#"]))
    client.send(Subscribe(1, [("t/#", SubscribeOptions(1))]))
    client.lose()
    assert world.state.memory.used == before
    world.state.clear(world.now)
    speaker.lose()
    assert world.state.memory.used == 0


def test_who_takes_no_answers_is_not_read_from_and_then_cut():
    world = World(packet_timeout=20)
    client = world.client(5, client_id="a")
    client.send_buffer.set_unsent(UNSENT_MAX + 1)
    bytes_taken = 0
    client.send_buffer.bytes_taken = lambda: bytes_taken
    assert client.connection.is_waiting
    # Slowly is fast enough.
    for _ in range(10):
        world.pass_time(15)
        bytes_taken += 1
    assert client.ended is None
    world.pass_time(100)
    assert client.ended == "it takes nothing of what is sent to it"


def test_who_takes_its_answers_is_read_from_again():
    world = World(packet_timeout=20)
    client = world.client(5, client_id="a")
    client.send_buffer.set_unsent(UNSENT_MAX + 1)
    world.pass_time(15)
    client.send_buffer.set_unsent(1000)
    assert not client.connection.is_waiting
    world.pass_time(100)
    assert client.ended is None
