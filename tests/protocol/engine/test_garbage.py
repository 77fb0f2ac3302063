"""Arbitrary bytes: no exception, one end, and nothing after it."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiomqtt.exceptions import MqttCodeError
from aiomqtt.properties import Properties
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.protocol.codec.framing import Decoder
from aiomqtt.protocol.delivery import LOST, Delivery
from aiomqtt.protocol.dispatch import State
from aiomqtt.protocol.output import Closed
from aiomqtt.protocol.packets import Publish
from aiomqtt.protocol.requests import Request
from aiomqtt.standard.tables import Role
from tests.examples import examples

from .client_and_broker import (
    AUTH,
    CONNACK,
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    UNSUBACK,
    Client,
    strangers,
)

VERSIONS = st.sampled_from([3, 4, 5])
CODES = {0x81, 0x82, 0x93, 0x94, 0x95}


def with_everything_in_flight(version):
    """A connection with each kind of flow, begun in both directions."""
    settings = {}
    if version == 5:
        settings["properties"] = Properties(
            receive_maximum=5, topic_alias_maximum=3, session_expiry_interval=10
        )
    client, broker = strangers(version, client_id="c", clean_start=False, **settings)
    client.connect()
    broker.sends(CONNACK())
    client.publish("t", b"1", 1)
    client.publish("t", b"2", 2)
    client.publish("t", b"3", 2)
    client.subscribe("a", "b")
    client.unsubscribe("a")
    broker.sends(PUBREC(3), PUBLISH("t", b"in", 2, 1))
    client.tick(54)
    client.events()
    broker.read()
    return client, broker


def check(client: Client) -> None:
    """It is closed for a reason that was told just once, or it goes on as before."""
    events = client.events()
    ends = [event for event in events if isinstance(event, Closed)]
    written = Decoder(client.version, Role.CLIENT)
    packets = written.feed(client.written)
    assert written.error is None
    kinds = [packet.kind.name for packet in packets]
    if not client.is_closed:
        assert ends == []
        assert "DISCONNECT" not in kinds
        # It still works.
        before = len(client.written)
        client.publish("still/there", b"x")
        assert client.written[before:] != b""
        client.tick(client.now + 1)
        client.disconnect()
        assert client.closed() is None
    else:
        [end] = ends
        # Behind it is what ended with it.
        for event in events[events.index(end) + 1 :]:
            if isinstance(event, Request):
                assert not event.is_answered
            else:
                assert isinstance(event, Delivery)
                assert event.state == LOST
        assert isinstance(end.error, MqttCodeError)
        # Either we have told the broker, last of all, or it has told us.
        if kinds[-1:] == ["DISCONNECT"]:
            assert client.version == 5 or end.error is None
            assert client.written[-3:-1] == b"\xe0\x01"
            assert client.written[-1] == end.error.rc
            assert end.error.rc in CODES
        assert kinds.count("DISCONNECT") <= 1
    # Nothing comes after the end.
    client.written = b""
    client.engine.receive(b"\x30\x04\x00\x01t\x00", client.now)
    client.tick(client.now + 1000)
    client.handed_over()
    assert client.written == b""
    assert client.events() == []


@examples(150)
@given(VERSIONS, st.lists(st.binary(max_size=30), max_size=5))
def test_any_bytes_instead_of_a_connack(version, chunks):
    client, broker = strangers(version)
    client.connect()
    broker.read()
    broker.sends_separately(*chunks)
    if client.state() is State.CONNECTED:
        check(client)
    elif client.is_closed:
        assert isinstance(client.closed(), MqttCodeError)


@examples(150)
@given(VERSIONS, st.lists(st.binary(max_size=30), max_size=5))
def test_any_bytes_on_a_connection(version, chunks):
    client, broker = with_everything_in_flight(version)
    broker.sends_separately(*chunks)
    check(client)


@examples(150)
@given(
    VERSIONS,
    st.integers(0, 255),
    st.binary(max_size=20),
)
def test_any_body_in_a_packet_of_any_kind(version, first, body):
    client, broker = with_everything_in_flight(version)
    broker.sends(bytes([first, len(body)]) + body)
    check(client)


# --- what a broker sends, damaged ------------------------------------------------

IDS = st.integers(1, 8)


def broker_packets(version: int) -> st.SearchStrategy[bytes]:
    packets = st.one_of(
        st.builds(PUBLISH, st.sampled_from(["t", "a/b"]), st.binary(max_size=5)),
        st.builds(
            PUBLISH,
            st.just("t"),
            st.binary(max_size=5),
            st.integers(1, 2),
            IDS,
            dup=st.booleans(),
        ),
        *[st.builds(kind, IDS) for kind in (PUBACK, PUBREC, PUBREL, PUBCOMP)],
        st.builds(SUBACK, IDS, st.just(0), st.just(0)),
        st.builds(UNSUBACK, IDS, st.just(0)),
        st.sampled_from([PINGRESP, CONNACK()]),
    )
    if version == 5:
        alias = st.integers(1, 4)
        packets |= st.one_of(
            st.builds(PUBLISH, st.sampled_from(["", "t"]), topic_alias=alias),
            st.builds(PUBACK, IDS, st.just(0x87), reason_string=st.just("no")),
            st.builds(PUBREC, IDS, st.sampled_from([0x10, 0x97])),
            st.builds(PUBCOMP, IDS, st.just(0x92)),
            st.builds(SUBACK, IDS, st.just(1), st.just(0x87)),
            st.builds(DISCONNECT, st.just(0x8B), reason_string=st.just("bye")),
            st.just(AUTH(authentication_method="m")),
        )
    return packets.map(lambda packet: encode(packet, version, Role.SERVER))


# One byte changed, left out or added, or all from there on cut off; or nothing.
DAMAGES: list[Callable[[bytes, int, int], bytes]] = [
    lambda data, at, byte: data,
    lambda data, at, byte: data[:at] + bytes([byte]) + data[at + 1 :],
    lambda data, at, byte: data[:at] + bytes([byte]) + data[at:],
    lambda data, at, byte: data[:at] + data[at + 1 :],
    lambda data, at, byte: data[:at],
]


def damaged(packets: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """The packets, each with a damage at any of its bytes."""
    return st.builds(
        lambda data, damage, at, byte: damage(data, at % len(data), byte),
        packets,
        st.sampled_from(DAMAGES),
        st.integers(0, 0xFFFF),
        st.integers(0, 255),
    )


CONVERSATIONS = st.one_of(
    *[
        st.tuples(
            st.just(version),
            st.lists(damaged(broker_packets(version)), min_size=1, max_size=12),
        )
        for version in (3, 4, 5)
    ]
)


@examples(150)
@given(CONVERSATIONS)
def test_damaged_packets(conversation):
    version, packets = conversation
    client, broker = with_everything_in_flight(version)
    broker.sends_separately(*packets)
    check(client)


@examples(150)
@given(CONVERSATIONS, st.data())
def test_where_the_bytes_are_cut_makes_no_difference(conversation, data):
    version, packets = conversation
    stream = b"".join(packets)
    cut = data.draw(st.integers(0, len(stream)))
    results = []
    for chunks in (
        [stream],
        [stream[:cut], stream[cut:]],
        [stream[i : i + 1] for i in range(len(stream))],
    ):
        client, broker = with_everything_in_flight(version)
        # Acknowledgements leave between chunks, so the Receive Maximum is out of it.
        client.engine.session.inbound.open(client.version)
        broker.sends_separately(*chunks)
        messages: list[Publish] = client.messages()
        events = [
            (type(event), getattr(event, "reason_code", None))
            for event in client.events()
        ]
        data_written = client.written
        if client.is_closed:
            # Two faults in one packet: which is told may depend on the cut.
            data_written = data_written.removesuffix(data_written[-3:])
        results.append(
            (
                [(message.topic.value, message.payload) for message in messages],
                events,
                data_written if version == 5 else client.written,
                client.is_closed,
            )
        )
    assert results[0] == results[1] == results[2]


# --- memory ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", [PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK])
def test_acknowledgements_that_nobody_waits_for_leave_nothing_behind(version, kind):
    client, broker = strangers(version)
    client.connect()
    broker.sends(CONNACK())
    codes = (0,) if kind in (SUBACK, UNSUBACK) else ()
    broker.sends(*[kind(n, *codes) for n in range(1, 301)])
    assert not client.is_closed
    broker.read()
    client.events()
    # Every identifier is still free.
    assert client.publish("t", b"", 1).packet_id == 1
    assert len(client.engine.session.outbound) == 1


def test_a_client_never_answers_a_ping(version):
    client, broker = strangers(version)
    client.connect()
    broker.sends(CONNACK())
    broker.read()
    broker.sends(encode(PINGREQ, version, Role.CLIENT))
    assert client.closed_with() == 0x82
