"""Arbitrary bytes from clients: no exception, one end, and no effect on others."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aiomqtt.properties import Properties
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.protocol.codec.framing import Decoder
from aiomqtt.protocol.packets import Publish, WillMessage
from aiomqtt.standard.tables import ProtocolVersion, Role
from tests.broker.world import Wire, World, payloads
from tests.examples import examples
from tests.protocol.codec.strategies import packets

VERSIONS = st.sampled_from([3, 4, 5])


def written_by(wire: Wire) -> list[str]:
    """Return the packets that the broker wrote, which must be complete and valid."""
    decoder = Decoder(wire.version, Role.SERVER)
    data = b"".join(wire.send_buffer.pop())
    found = decoder.feed(data)
    assert decoder.error is None
    assert not decoder.is_partial
    return [packet.kind.name for packet in found]


def check(world: World, wire: Wire, other: Wire) -> None:
    """The one may be gone, for a reason that was told last; the other is well."""
    ends = [
        event for event in wire.connection.events if type(event).__name__ == "Ended"
    ]
    assert len(ends) == (1 if wire.connection.is_closed else 0)
    kinds = written_by(wire)
    assert "DISCONNECT" not in kinds[:-1]
    other.read()
    assert other.ended is None
    world.pass_time(0.1)
    other.publish("other/last", b"well")
    found = [p for p in other.read() if isinstance(p, Publish)]
    assert payloads(found)[-1:] == [b"well"]  # type: ignore[arg-type]
    # Nothing is left of a client whose session has ended.
    if wire.connection.is_closed:
        assert wire.connection.session is None
    wire.lose()
    world.pass_time(100)
    assert list(world.state.connections) in (["other"], [])


def connected(version: int) -> tuple[World, Wire, Wire]:
    """A client in the middle of everything, and another one."""
    world = World()
    other = world.client(version, client_id="other")
    other.subscribe("other/#")
    other.subscribe("#", 1)
    options: dict[str, Any] = {"will": WillMessage("will", b"gone", 1)}
    if version == 5:
        options["properties"] = Properties(
            session_expiry_interval=10, receive_maximum=2, topic_alias_maximum=2
        )
    wire = world.client(version, **options)
    wire.subscribe("#", 2)
    for number in range(4):
        other.publish("t", bytes((number,)), qos=number % 3)
    wire.publish("mine", qos=2, mid=5)
    wire.read()
    other.read()
    return world, wire, other


@examples(150)
@given(VERSIONS, st.binary(max_size=64))
def test_any_bytes_instead_of_a_connect(version, data):
    world = World()
    other = world.client(version, client_id="other")
    other.subscribe("other/#")
    wire = Wire(world, version)
    wire.send(data)
    if not wire.connection.is_closed:
        assert not wire.send_buffer.data
    wire.send_buffer.pop()
    check(world, wire, other)


@examples(150)
@given(VERSIONS, st.binary(min_size=1, max_size=64))
def test_any_bytes_of_a_connected_client(version, data):
    world, wire, other = connected(version)
    wire.send(data)
    check(world, wire, other)


@examples(200)
@given(st.data(), VERSIONS)
def test_any_packets_of_a_client_damaged_or_not(data, version):
    world, wire, other = connected(version)
    sent = bytearray()
    for packet in data.draw(
        st.lists(packets(ProtocolVersion(version), Role.CLIENT), max_size=6)
    ):
        sent += encode(packet, version, Role.CLIENT)
    if sent and data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(sent) - 1))
        sent[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(sent)))
    wire.send(bytes(sent[:cut]))
    wire.send(bytes(sent[cut:]))
    check(world, wire, other)


@examples(100)
@given(st.data(), VERSIONS)
def test_any_first_packets(data, version):
    world = World()
    other = world.client(version, client_id="other")
    other.subscribe("other/#")
    wire = Wire(world, version)
    for packet in data.draw(
        st.lists(packets(ProtocolVersion(version), Role.CLIENT), max_size=3)
    ):
        wire.send(encode(packet, version, Role.CLIENT))
    check(world, wire, other)
