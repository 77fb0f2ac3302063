"""One connection of the broker: what it takes, when it ends, and with which words."""

import pytest

from aiomqtt.broker.core.events import WillPermission
from aiomqtt.broker.hooks import Refusal
from aiomqtt.properties import Properties, SubscribeOptions
from aiomqtt.protocol.packets import (
    Ack,
    Connack,
    Connect,
    Ping,
    Publish,
    Signal,
    Subscribe,
    WillMessage,
)
from aiomqtt.standard.tables import PacketType, ProtocolVersion
from tests.broker.world import V5, V311, Wire, World, payloads

PINGREQ = Ping(PacketType.PINGREQ)
PINGRESP = Ping(PacketType.PINGRESP)


# --- time ------------------------------------------------------------------------


def test_a_connection_that_says_nothing_is_closed():
    world = World(connect_timeout=10)
    wire = Wire(world)
    world.pass_time(9.9)
    assert wire.ended is None
    world.pass_time(0.2)
    assert wire.ended == "it did not connect in time"
    assert wire.read() == []


def test_a_connect_byte_by_byte_has_no_more_time():
    """The time counts from the beginning, not from the last byte."""
    world = World(connect_timeout=10, packet_timeout=60)
    wire = Wire(world)
    for _ in range(9):
        wire.send(
            b"\x10\xff\xff\x7f" if not wire.connection._packets.opening else b"\x00"
        )
        world.pass_time(1)
        assert wire.ended is None
    wire.send(b"\x00")
    world.pass_time(1)
    assert wire.ended == "it did not connect in time"


@pytest.mark.parametrize("state", ["connecting", "connected", "partial"])
def test_a_pause_of_the_broker_does_not_count(version, state):
    world = World(connect_timeout=10, packet_timeout=20)
    wire = Wire(world, version)
    left = 10.0
    if state != "connecting":
        wire.connect(keep_alive=10 if state == "connected" else 0)
        left = 15.0
    if state == "partial":
        wire.send(b"\x30\x7f\x00\x01t")
        left = 20.0
    world.pass_time(left - 1)
    world.state.pause(world.now)
    world.pass_time(1000)
    world.state.resume(world.now)
    world.pass_time(0.9)
    assert wire.ended is None
    world.pass_time(31)
    assert wire.ended is not None


def test_the_timers_rest_while_the_broker_is_paused():
    world = World()
    world.client(keep_alive=1)
    world.pass_time(1.4999)
    world.state.pause(world.now)
    times = 0
    end = world.now + 10
    while (due := world.state.deadline()) is not None and due < end:
        world.now = due
        world.state.tick(due)
        times += 1
    assert times <= 50


def test_a_packet_byte_by_byte_is_given_up(version):
    world = World(packet_timeout=20)
    wire = world.client(version, keep_alive=5)
    other = world.client(version, client_id="other")
    wire.send(b"\x30\x7f\x00\x01t")
    seconds = 0
    while wire.ended is None:
        wire.send(b"x")
        world.pass_time(1)
        seconds += 1
    assert 20 <= seconds <= 60
    assert wire.ended == "the rest of a packet did not come in time"
    if version == 5:
        assert wire.read_one().reason_code == 0x82
    assert other.ended is None


def test_a_large_packet_in_many_pieces_is_taken(version):
    world = World(packet_timeout=20)
    wire = world.client(version, keep_alive=5)
    wire.subscribe("t")
    body = b"\x00\x01t" + (b"\x00" if version == 5 else b"") + bytes(1000)
    wire.send(b"\x30" + bytes((len(body) & 0x7F | 0x80, len(body) >> 7)))
    for start in range(0, len(body), 100):
        world.pass_time(1)
        wire.send(body[start : start + 100])
    assert payloads(wire.read()) == [bytes(1000)]


@pytest.mark.parametrize("keep_alive", [1, 60])
def test_a_silent_client_is_given_one_and_a_half_keep_alives(version, keep_alive):
    # 5.0 [MQTT-3.1.2-22]
    world = World()
    wire = world.client(version, keep_alive=keep_alive)
    world.pass_time(keep_alive)
    wire.send(PINGREQ)
    assert wire.read_one() == PINGRESP
    world.pass_time(1.4 * keep_alive)
    assert wire.ended is None
    world.pass_time(0.2 * keep_alive)
    assert wire.ended == "nothing came within 1.5 keep alives"
    if version == 5:
        assert wire.read_one().reason_code == 0x8D
    assert not world.state.connections


def test_any_packet_of_the_client_keeps_the_connection(version):
    """Packets that the broker sends do not."""
    world = World()
    speaker = world.client(version, client_id="speaker", keep_alive=10)
    listener = world.client(version, client_id="listener", keep_alive=10)
    listener.subscribe("busy")
    for _ in range(3):
        assert listener.ended is None
        world.pass_time(7)
        speaker.publish("busy", b"1")
        if listener.ended is None:
            assert payloads(listener.read()) == [b"1"]
    assert listener.ended == "nothing came within 1.5 keep alives"
    assert speaker.ended is None


def test_without_a_keep_alive_it_may_be_silent(version):
    world = World()
    wire = world.client(version)
    world.pass_time(1_000_000)
    assert wire.ended is None


def test_the_servers_keep_alive_counts():
    world = World(server_keep_alive=7)
    wire = Wire(world)
    connack = wire.connect(keep_alive=100)
    assert connack.properties is not None
    assert connack.properties.server_keep_alive == 7
    world.pass_time(10.6)
    assert wire.ended is not None
    # Below 5.0 it can't be told.
    old = Wire(world, V311)
    old.connect(keep_alive=100)
    world.pass_time(149)
    assert old.ended is None


# --- what can't be understood ------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        # No CONNECT: no answer.
        (b"\xc0\x00", []),
        (b"\x00\x00", []),
        (b"GET / HTTP/1.1\r\n", []),
        (b"\x16\x03\x01\x02\x00", []),  # TLS
        (b"\x10\x00", []),
        (b"\x10\x0c\x00\x04HTTP\x04\x02\x00\x00\x00\x00", []),
        # Below 5.0 a CONNECT that does not conform: no answer either.
        (b"\x10\x0c\x00\x04MQTT\x04\x03\x00\x00\x00\x00", []),
        (b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x00\x00", []),
        (b"\x10\x0c\x00\x04MQTT\x04\x06\x00\x00\x00\x00", []),
        # A version that nobody speaks.
        (b"\x10\x0c\x00\x04MQTT\x06\x02\x00\x00\x00\x00", 1),
        (b"\x10\x0c\x00\x04MQTT\x84\x02\x00\x00\x00\x00", 1),
        (b"\x10\x0c\x00\x04MQTT\x03\x02\x00\x00\x00\x00", 1),
        (b"\x10\x0e\x00\x06MQIsdp\x09\x02\x00\x00\x00\x00", 1),
        # A reserved flag; 5.0 can say so.
        (b"\x10\x0d\x00\x04MQTT\x05\x03\x00\x00\x00\x00\x00", 0x81),
    ],
)
def test_what_is_no_connect_ends_the_connection(data, answer):
    world = World()
    wire = Wire(world, V5 if answer and answer > 5 else V311)
    other = world.client(client_id="other")
    wire.send(data)
    assert wire.ended is not None
    if not answer:
        assert wire.read() == []
    else:
        connack = wire.read_one()
        assert isinstance(connack, Connack)
        assert connack.reason_code == answer
    assert other.ended is None
    # Nothing is handled after that.
    wire.send(Connect(V311, "me"))
    assert wire.read() == []


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x00", 0x82),  # again
        (b"\xf1\x00", 0x81),
        (b"\x00\x00", 0x81),
        (b"\x20\x03\x00\x00\x00", 0x82),  # a client sends no CONNACK
        (b"\x36\x05\x00\x01t\x00\x01", 0x81),  # QoS 3
        (b"\x30\x04\x00\x01#\x00", 0x81),
        (b"\x82\x03\x00\x01\x00", 0x82),  # no filter
        (b"\x32\x06\x00\x01t\x00\x00\x00", 0x81),  # packet identifier 0
        (b"\x30\x07\x00\x00\x03\x23\x00\x01x", 0x82),  # alias never set
    ],
)
def test_a_broken_rule_ends_the_connection_with_its_reason(data, code):
    world = World()
    wire, other = world.client(), world.client(client_id="other")
    other.subscribe("#")
    wire.send(data)
    packet = wire.read_one()
    assert isinstance(packet, Signal)
    assert packet.reason_code == code
    assert packet.properties is not None
    assert packet.properties.reason_string == wire.ended
    assert other.ended is None
    assert other.read() == []


def test_a_packet_over_the_maximum_ends_the_connection():
    world = World(maximum_packet_size=100)
    wire = Wire(world)
    connack = wire.connect()
    assert connack.properties is not None
    assert connack.properties.maximum_packet_size == 100
    wire.send(b"\x30\xff\xff\xff\x7f")
    assert wire.read_one().reason_code == 0x95


def test_a_reason_that_is_too_long_for_the_client_is_left_out():
    world = World()
    wire = world.client(properties=Properties(maximum_packet_size=20))
    wire.send(b"\xf1\x00")
    packet = wire.read_one()
    assert (packet.reason_code, packet.properties) == (0x81, None)


def connect_to_takes(maximum, **limits):
    """A client whose Maximum Packet Size is so many bytes."""
    wire = Wire(World(**limits))
    properties = Properties(maximum_packet_size=maximum)
    wire.send(Connect(V5, "me", properties=properties))
    data = b"".join(wire.send_buffer.pop())
    assert len(data) <= maximum
    return wire, data


@pytest.mark.parametrize("maximum", range(1, 30))
def test_no_connack_is_larger_than_the_client_takes(maximum):
    """5.0 [MQTT-3.1.2-24]: what can be left out is, or the connection ends."""
    wire, data = connect_to_takes(maximum, receive_maximum=7)
    # The Receive Maximum and the Maximum Packet Size it has to know.
    needed = 2 + 3 + 3 + 5
    if maximum < 5:
        assert data == b""
    elif maximum < needed:
        assert data == b"\x20\x03\x00\x95\x00"
    elif maximum < needed + 3:
        assert len(data) == needed
    else:
        assert len(data) == needed + 3
    assert (wire.ended is None) is (maximum >= needed)
    assert (list(wire.world.state.sessions) == ["me"]) is (maximum >= needed)


@pytest.mark.parametrize("maximum", range(1, 12))
def test_no_refusal_is_larger_than_the_client_takes(maximum):
    world = World()
    world.state.asks_to_connect = True
    wire = Wire(world)
    properties = Properties(maximum_packet_size=maximum)
    wire.send(Connect(V5, "me", properties=properties))
    wire.connection.answer([Refusal(0x87, "x" * maximum)], world.now)
    data = b"".join(wire.send_buffer.data)
    assert data == (b"\x20\x03\x00\x87\x00" if maximum >= 5 else b"")
    assert wire.ended is not None


def test_an_answer_that_is_larger_than_the_client_takes_ends_the_connection():
    """5.0 [MQTT-3.1.2-24]"""
    wire, _ = connect_to_takes(16)
    several = [(f"t/{number}", SubscribeOptions()) for number in range(20)]
    wire.send(Subscribe(1, several[:10]))
    assert len(wire.send_buffer.data[-1]) == 15
    wire.send_buffer.data.clear()
    wire.send(Subscribe(2, several))
    assert b"".join(wire.send_buffer.data) == b"\xe0\x01\x95"
    assert wire.ended is not None


def test_a_challenge_that_is_larger_than_the_client_takes_ends_the_connection():
    wire = Wire(World())
    properties = Properties(authentication_method="m", maximum_packet_size=10)
    wire.send(Connect(V5, "me", properties=properties))
    wire.connection.challenge(b"x" * 10, wire.world.now)
    assert b"".join(wire.send_buffer.data) == b"\x20\x03\x00\x95\x00"
    assert wire.ended is not None


def test_what_came_before_the_fault_is_done():
    world = World()
    wire, other = world.client(), world.client(client_id="other")
    other.subscribe("#")
    wire.send(b"\x30\x05\x00\x01t\x00x", b"\xff\xff")
    assert payloads(other.read()) == [b"x"]
    assert wire.ended is not None


# --- connecting ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "clean_start", "code"),
    [(3, True, 2), (3, False, 2), (4, False, 2), (4, True, 0), (5, False, 0)],
)
def test_an_empty_identifier(version, clean_start, code):
    world = World()
    wire = Wire(world, version)
    # By hand: our codec writes no such CONNECT below 5.0.
    name = b"\x00\x06MQIsdp" if version == 3 else b"\x00\x04MQTT"
    body = name + bytes((version, clean_start << 1, 0, 0))
    body += b"\x00\x00\x00" if version == 5 else b"\x00\x00"
    wire.send(bytes((0x10, len(body))) + body)
    connack = wire.read_one()
    assert connack.reason_code == code
    if code:
        assert wire.ended is not None
    else:
        assert list(world.state.connections) == ["assigned-0"]
    if version == 5:
        assert connack.properties.assigned_client_identifier == "assigned-0"


@pytest.mark.parametrize("code", [0x86, 0x87, 0x88, 0x97, 0x9C, 0x8A])
def test_a_refusal_is_said_as_the_version_can(version, code):
    world = World()
    world.state.asks_to_connect = True
    wire = Wire(world, version)
    wire.send(Connect(wire.version, "me"), PINGREQ)
    assert wire.read() == []
    wire.connection.answer([Refusal(code, "because", "elsewhere")], world.now)
    connack = wire.read_one()
    if version == 5:
        assert connack.reason_code == code
        assert connack.properties.reason_string == "because"
        assert connack.properties.server_reference == "elsewhere"
    else:
        expected = {0x86: 4, 0x87: 5, 0x88: 3, 0x97: 3, 0x9C: 3, 0x8A: 5}
        assert connack.reason_code == expected[code]
    assert wire.ended == "refused: because"
    assert not world.state.sessions


def test_what_is_sent_before_the_answer_waits_for_it(version):
    world = World()
    world.state.asks_to_connect = True
    wire = Wire(world, version)
    wire.send(Connect(wire.version, "me"), PINGREQ)
    wire.send(Subscribe(1, [("t", SubscribeOptions())]))
    # It is read, so that its end is noticed, but not without bound.
    assert not wire.connection.is_waiting
    wire.send(b"\x30\xff\xff\x7f" + bytes(64 * 1024))
    assert wire.connection.is_waiting
    world.pass_time(100)  # the program may think for as long as it likes
    wire.connection.answer([None], world.now)
    kinds = [packet.kind for packet in wire.read()]
    assert kinds == [PacketType.CONNACK, PacketType.PINGRESP, PacketType.SUBACK]
    assert not wire.connection.is_waiting


def test_what_came_before_the_connection_broke_is_done(version):
    world = World()
    listener = world.client(client_id="listener")
    listener.subscribe("#")
    world.state.asks_for_topics = True
    wire = world.client(version)
    for payload in (b"1", b"2"):
        wire.publish(payload=payload)
    wire.disconnect()
    wire.lose()
    assert wire.ended is None
    wire.connection.answer([None], world.now)
    assert wire.ended is None
    wire.connection.answer([None], world.now)
    assert wire.ended == ""
    assert payloads(listener.read()) == [b"1", b"2"]


def test_who_did_not_say_goodbye_is_lost_after_the_last_answer(version):
    world = World()
    world.state.asks_for_topics = True
    wire = world.client(version)
    wire.publish()
    wire.lose()
    assert wire.ended is None
    wire.connection.answer([None], world.now)
    assert wire.ended == "it broke"
    # Or when the caller has waited long enough.
    wire = world.client(version)
    wire.publish()
    wire.lose()
    wire.connection.abandon("too long", world.now)
    assert wire.ended == "it broke"
    wire.connection.answer([None], world.now)


def test_who_goes_before_the_answer_to_its_connect_is_not_connected(version):
    world = World()
    world.state.asks_to_connect = True
    wire = Wire(world, version)
    wire.send(Connect(wire.version, "me"))
    wire.lose()
    assert wire.ended == "it broke"
    assert not world.state.sessions


def test_an_answer_that_comes_too_late_is_dropped(version):
    world = World()
    world.state.asks_to_connect = True
    wire = Wire(world, version)
    wire.send(Connect(wire.version, "me"))
    wire.lose()
    wire.connection.answer([None], world.now)
    wire.connection.refuse(Refusal(0x87), world.now)
    wire.connection.challenge(b"x", world.now)
    wire.connection.authenticated(None, world.now)
    assert not world.state.sessions
    assert not wire.accepted


@pytest.mark.parametrize(
    ("limits", "will", "code"),
    [
        ({"maximum_qos": 1}, WillMessage("w", b"", 2), 0x9B),
        ({"retain_available": False}, WillMessage("w", b"", 0, True), 0x9A),
        ({}, WillMessage("$SYS/w", b""), 0x87),
        ({"maximum_topic_levels": 3}, WillMessage("a/b/c/d", b""), 0x90),
    ],
)
def test_a_will_that_could_not_be_published_is_refused(limits, will, code):
    world = World(**limits)
    wire = Wire(world)
    assert wire.connect(will=will).reason_code == code


def test_the_will_needs_a_permission_too():
    world = World()
    world.state.asks_for_topics = True
    wire = Wire(world)
    wire.send(Connect(wire.version, "me", will=WillMessage("w", b"")))
    (request,) = wire.connection.events
    assert isinstance(request, WillPermission)
    assert request.topics == ["w"]
    wire.connection.answer([Refusal(0x87)], world.now)
    assert wire.read_one().reason_code == 0x87


def test_what_the_broker_offers_is_announced():
    world = World(
        maximum_qos=1,
        retain_available=False,
        wildcard_subscriptions=False,
        subscription_identifiers=False,
        shared_subscriptions=False,
        receive_maximum=7,
        topic_alias_maximum=3,
        maximum_packet_size=None,
        maximum_session_expiry=100,
    )
    asked = Properties(session_expiry_interval=1000, request_response_information=1)
    connack = Wire(world).connect(properties=asked)
    assert connack.properties == Properties(
        session_expiry_interval=100,
        receive_maximum=7,
        maximum_qos=1,
        topic_alias_maximum=3,
        retain_available=0,
        wildcard_subscription_available=0,
        subscription_identifier_available=0,
        shared_subscription_available=0,
        response_information="response/me",
    )


@pytest.mark.parametrize(
    ("limits", "topic_filter", "code"),
    [
        ({"wildcard_subscriptions": False}, "a/#", 0xA2),
        ({"shared_subscriptions": False}, "$share/a/b", 0x9E),
        ({"maximum_topic_levels": 3}, "a/b/c/d", 0x8F),
        ({"maximum_subscriptions": 1}, "b", 0x97),
    ],
)
def test_a_subscription_that_is_not_to_be_had(limits, topic_filter, code):
    world = World(**limits)
    for version, expected in ((V5, code), (V311, 0x80)):
        wire = world.client(version)
        assert wire.subscribe("a") == [0]
        assert wire.subscribe("a") == [0]  # the same one again
        assert wire.subscribe(topic_filter) == [expected]


# --- quality of service ---------------------------------------------------------------


@pytest.mark.parametrize("qos", [1, 2])
def test_nobody_is_there_to_get_it(version, qos):
    world = World()
    wire = world.client(version)
    wire.publish(qos=qos)
    ack = wire.read_one()
    assert isinstance(ack, Ack)
    assert ack.reason_code == (0x10 if version == 5 else 0)


def test_a_repetition_is_delivered_once(version):
    world = World()
    wire = world.client(version)
    wire.subscribe("t")
    wire.publish(qos=2, mid=7)
    wire.publish(qos=2, mid=7, dup=True)
    packets = wire.read()
    assert payloads([p for p in packets if isinstance(p, Publish)]) == [b"x"]
    assert [p.packet_id for p in packets if isinstance(p, Ack)] == [7, 7]
    wire.ack(PacketType.PUBREL, 7)
    assert wire.read_one() == Ack(PacketType.PUBCOMP, 7)
    wire.publish(qos=2, mid=7)
    assert len(wire.read()) == 2


def test_a_refused_message_frees_its_identifier():
    world = World()
    wire = world.client()
    wire.publish("$SYS/mine", qos=2, mid=7)
    ack = wire.read_one()
    assert (ack.kind, ack.reason_code) == (PacketType.PUBREC, 0x87)
    wire.ack(PacketType.PUBREL, 7)
    assert wire.read_one().reason_code == 0x92
    wire.publish("mine", qos=2, mid=7)
    assert wire.read_one().reason_code == 0x10


def test_more_than_the_receive_maximum_is_an_error():
    world = World(receive_maximum=2)
    wire = world.client()
    for mid in (1, 2):
        wire.publish(qos=2, mid=mid)
    assert wire.ended is None
    wire.read()
    wire.publish(qos=2, mid=3)
    assert wire.read_one().reason_code == 0x93


def test_below_5_nobody_is_told_of_a_receive_maximum():
    world = World(receive_maximum=2)
    wire = world.client(V311)
    for mid in range(1, 100):
        wire.publish(qos=2, mid=mid)
    assert wire.ended is None


@pytest.mark.parametrize(
    ("limits", "message", "code"),
    [
        ({"maximum_qos": 0}, {"qos": 1}, 0x9B),
        ({"maximum_qos": 1}, {"qos": 2}, 0x9B),
        ({"retain_available": False}, {"retain": True}, 0x9A),
    ],
)
def test_what_the_connack_denied_is_an_error(limits, message, code):
    wire = World(**limits).client()
    wire.publish(**message)
    assert wire.read_one().reason_code == code


# --- leaving -------------------------------------------------------------------------


def test_a_session_of_no_time_can_not_be_made_to_last():
    world = World()
    wire = world.client()
    wire.disconnect(properties=Properties(session_expiry_interval=5))
    assert wire.read_one().reason_code == 0x82
    assert not world.state.sessions


def test_leaving_may_shorten_the_session():
    world = World()
    wire = world.client(properties=Properties(session_expiry_interval=500))
    wire.disconnect(properties=Properties(session_expiry_interval=5))
    assert wire.ended == ""
    assert list(world.state.sessions) == ["me"]
    world.pass_time(4.9)
    assert list(world.state.sessions) == ["me"]
    world.pass_time(0.2)
    assert not world.state.sessions
    assert world.notes == ["Expiring client me due to timeout."]


@pytest.mark.parametrize("how", ["end", "refuse"])
def test_a_session_that_the_broker_ends_lasts_from_then_on(how):
    """Session expiry and will delay count from the end, not from the last packet."""
    world = World()
    listener = world.client(client_id="listener")
    listener.subscribe("w")
    will = WillMessage("w", b"gone", properties=Properties(will_delay_interval=10))
    wire = world.client(will=will, properties=Properties(session_expiry_interval=20))
    # Nothing comes for a long time, and no timer tells the broker how late it is.
    world.now += 1000
    if how == "end":
        wire.connection.end(0x98, "administratively", world.now)
    else:
        wire.connection.refuse(Refusal(0x87), world.now)
    world.pass_time(9.9)
    assert listener.read() == []
    world.pass_time(0.2)
    assert payloads(listener.read()) == [b"gone"]
    world.pass_time(9.8)
    assert "me" in world.state.sessions
    world.pass_time(0.2)
    assert "me" not in world.state.sessions


@pytest.mark.parametrize("version", [ProtocolVersion.V31, V311, V5])
def test_ended_by_the_broker(version):
    world = World()
    wire = world.client(version)
    wire.connection.end(0x98, "for a reason", world.now)
    wire.connection.end(0x98, "again", world.now)
    assert wire.ended == "for a reason"
    if version == V5:
        assert wire.read_one().reason_code == 0x98
    else:
        assert wire.read() == []
