"""CONNECT and CONNACK, client identifiers, and the keep alive (MQTT 5.0 §3.1)."""

import asyncio
import time

import pytest

from aiomqtt.broker import Limits, Refusal
from aiomqtt.protocol.packets import Ping, WillMessage
from tests.broker.scenarios.line import BUSY, CONNACK, PINGREQ, PINGRESP
from tests.broker.scenarios.talker import connect_bytes

# --- client identifiers ---------------------------------------------------------


async def test_a_client_without_identifier(broker, call):
    """3.1.1 [MQTT-3.1.3-6], [MQTT-3.1.3-7]: for a clean session only."""
    talker = await call(broker, 4)
    await talker.hello("")
    talker = await call(broker, 4)
    talker.send_bytes(connect_bytes(4, flags=0))
    # 3.1.1 [MQTT-3.1.3-8]
    await talker.expect_connack_refusal(0x85, 2)


@pytest.mark.parametrize("flags", [0, 2])
async def test_3_1_needs_an_identifier(broker, call, flags):
    # 3.1 §3.1
    talker = await call(broker, 3)
    talker.send_bytes(connect_bytes(3, flags=flags))
    await talker.expect_connack_refusal(0x85, 2)


async def test_an_identifier_is_assigned(broker, call, join):
    """5.0 [MQTT-3.1.3-6], [MQTT-3.1.3-7], [MQTT-3.2.2-16]."""
    names = set()
    for options in ({}, {"session": True}, {"session": True}):
        talker = await join(broker, 5, "", **options)
        assert talker.connack.session_present is False
        names.add(talker.connack.properties.assigned_client_identifier)
    assert len(names) == 3
    assert None not in names
    # It names the session as any other does.
    assigned = talker.connack.properties.assigned_client_identifier
    await talker.subscribe("assigned", qos=1)
    await talker.goodbye()
    talker = await join(broker, 5, assigned, session=True)
    assert talker.connack.session_present is True
    assert talker.connack.properties.assigned_client_identifier is None


async def test_all_kinds_of_identifiers(broker, join, version):
    # 5.0 [MQTT-3.1.3-5]; more than it asks for.
    for name in ("0", "A" * 23, "a" * 1000, "ü/東京 #+$", " "):
        await join(broker, version, name)
        assert name in broker.clients


# --- what is refused ------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "level"),
    [
        *((b"MQTT", level) for level in (0, 1, 2, 3, 6, 7, 127, 0x83, 0x84, 0x85, 255)),
        *((b"MQIsdp", level) for level in (0, 2, 4, 5, 0x83)),
    ],
)
async def test_an_unknown_version(broker, call, name, level):
    """5.0 [MQTT-3.1.2-2], 3.1.1 [MQTT-3.1.2-2]: in the form that all can read."""
    talker = await call(broker, 4)
    talker.send_bytes(connect_bytes(level, name=name, client_id=b"unknown"))
    assert await talker.hear_bytes() == b"\x20\x02\x00\x01"


@pytest.mark.parametrize("name", [b"MQTX", b"mqtt", b"", b"MQIsdq", b"HTTP"])
@pytest.mark.parametrize("level", [3, 4, 5, 0x84])
async def test_another_protocol(broker, call, name, level):
    """5.0 [MQTT-3.1.2-1]: it may be closed without an answer."""
    talker = await call(broker, 4)
    talker.send_bytes(connect_bytes(level, name=name, client_id=b"other"))
    await talker.expect_end()


@pytest.mark.parametrize("flags", [0x03, 0x0A, 0x32, 0x82])
async def test_3_1_lets_unused_bits_through(broker, call, flags):
    talker = await call(broker, 3)
    packet = connect_bytes(3, flags=flags, client_id=b"old")
    talker.send_bytes(b"\x1f" + packet[1:])
    await talker.expect(CONNACK, reason_code=0)


async def test_user_names_and_passwords(start_broker, call, join, version):
    broker = await start_broker(credentials={"user": "secret"})
    await join(broker, version, "known", username="user", password=b"secret")
    for password in (b"wrong", b"", None):
        talker = await call(broker, version)
        talker.send(talker.connect_packet("wrong", username="user", password=password))
        await talker.expect_connack_refusal(0x86, 4)
    talker = await call(broker, version)
    talker.send(talker.connect_packet("anonymous"))
    await talker.expect_connack_refusal(0x87, 5)


async def test_a_password_without_a_user_name(start_broker, call, join):
    """5.0 §3.1.2.9 allows it."""

    async def authenticate(client):
        return client.username is None and client.password == b"token"

    broker = await start_broker(authenticate=authenticate)
    await join(broker, 5, "token", password=b"token")
    talker = await call(broker, 5)
    talker.send(talker.connect_packet("token", password=b"other"))
    await talker.expect_connack_refusal(0x86, 4)


@pytest.mark.parametrize(
    ("verdict", "v5", "v3"),
    [
        (False, 0x86, 4),
        (0x87, 0x87, 5),
        (0x88, 0x88, 3),
        (0x85, 0x85, 2),
        (Refusal(0x87, "not today"), 0x87, 5),
        (Refusal(0x9C, server_reference="there:1883"), 0x9C, 3),
    ],
)
async def test_somebody_else_decides(start_broker, call, version, verdict, v5, v3):
    async def authenticate(client):
        return verdict

    broker = await start_broker(authenticate=authenticate)
    talker = await call(broker, version)
    talker.send(talker.connect_packet("refused"))
    connack = await talker.expect_connack_refusal(v5, v3)
    if version == 5 and isinstance(verdict, Refusal):
        assert connack.properties.server_reference == verdict.server_reference
        if verdict.reason_string is not None:
            assert connack.properties.reason_string == verdict.reason_string
    assert broker.sessions == set()


async def test_nothing_is_done_for_who_is_refused(start_broker, call, join, version):
    """5.0 [MQTT-3.1.4-6], 3.1.1 [MQTT-3.1.4-5]: what follows CONNECT is not looked at.

    Nor is the will published.
    """
    broker = await start_broker(credentials={"user": "secret"})
    known = {"username": "user", "password": b"secret"}
    listener = await join(broker, version, "listener", **known)
    await listener.subscribe("refused/#")
    talker = await call(broker, version)
    will = WillMessage("refused/will", b"")
    talker.send(
        talker.connect_packet("refused", username="user", password=b"x", will=will),
        talker.publish_packet("refused/message", b"1"),
    )
    await talker.expect_connack_refusal(0x86, 4)
    await listener.nothing()


async def test_packets_may_follow_a_connect_at_once(broker, call, join, version):
    """5.0 [MQTT-3.1.4-5] and what the section says of clients that do not wait."""
    listener = await join(broker, version, "listener")
    await listener.subscribe("early")
    talker = await call(broker, version)
    talker.send(
        talker.connect_packet("early"),
        talker.publish_packet("early", b"1", 1),
        Ping(PINGREQ),
    )
    await talker.expect(CONNACK, reason_code=0)
    await talker.pick(PINGRESP, 0)
    await listener.take("early", b"1")


async def test_bytes_may_come_one_by_one(broker, call, version):
    talker = await call(broker, version)
    packet = connect_bytes(version, client_id=b"slow")
    for index in range(len(packet)):
        talker.send_bytes(packet[index : index + 1])
        await asyncio.sleep(0)
    await talker.expect(CONNACK, reason_code=0)
    await talker.nothing()


async def test_who_never_says_connect_is_not_kept(start_broker, call):
    broker = await start_broker(limits=Limits(connect_timeout=0.2))
    silent = await call(broker, 5)
    slow = await call(broker, 5)
    slow.send_bytes(connect_bytes(5, client_id=b"slow")[:-1])
    await silent.expect_closed()
    await slow.expect_closed()
    assert broker.sessions == set()


async def test_bytes_do_not_give_more_time_to_connect(start_broker, call):
    """It counts from the beginning of the connection, not from the last byte."""
    broker = await start_broker(limits=Limits(connect_timeout=1))
    talker = await call(broker, 4)
    packet = connect_bytes(4, client_id=b"x" * 100)
    began = time.monotonic()
    ending = asyncio.create_task(talker.expect_end())
    for index in range(len(packet)):
        if ending.done():
            break
        talker.send_bytes(packet[index : index + 1])
        await asyncio.wait([ending], timeout=0.1)
    assert time.monotonic() - began < 1 + BUSY  # it would take 11 seconds
    await ending


# --- keep alive -----------------------------------------------------------------


async def test_who_is_silent_is_given_up(broker, join):
    """5.0 [MQTT-3.1.2-22], 3.1.1 [MQTT-3.1.2-24]: after one and a half times."""
    listener = await join(broker, 5, "listener")
    await listener.subscribe("silent")

    async def be_silent(version):
        talker = await join(
            broker,
            version,
            f"silent-{version}",
            keep_alive=1,
            will=WillMessage("silent", b"gone"),
        )
        talker.send(Ping(PINGREQ))
        last = time.monotonic()
        await talker.expect(PINGRESP)
        await talker.expect_refusal(0x8D)
        assert time.monotonic() - last >= 1.4

    patient = await join(broker, 4, "no-keep-alive", keep_alive=0)
    async with asyncio.TaskGroup() as tasks:
        for version in (3, 4, 5):
            tasks.create_task(be_silent(version))
    # It is an end without a DISCONNECT of the client.
    for _ in range(3):
        await listener.take("silent", b"gone")
    # Who asked for none may be silent.
    await patient.nothing()
    await listener.nothing()


async def test_the_keep_alive_of_the_server(start_broker, join):
    """5.0 [MQTT-3.1.2-21], [MQTT-3.2.2-22]: it counts, also where there was none."""
    broker = await start_broker(limits=Limits(server_keep_alive=1))
    unhurried = await join(broker, 5, "unhurried", keep_alive=600)
    none = await join(broker, 5, "none", keep_alive=0)
    # Who can't be told is not held to it.
    older = await join(broker, 4, "older", keep_alive=600)
    last = time.monotonic()
    for talker in (unhurried, none):
        assert talker.connack.properties.server_keep_alive == 1
        await talker.expect_refusal(0x8D)
        assert time.monotonic() - last >= 1.4
    await older.nothing()


async def test_a_pause_of_the_broker_cuts_nobody(start_broker, call, join):
    """Packets that the broker does not read don't count as silence of a client."""
    broker = await start_broker(limits=Limits(connect_timeout=1))
    talkers = [
        await join(broker, version, f"v{version}", keep_alive=1)
        for version in (3, 4, 5)
    ]
    new = await call(broker, 4)
    broker.pause()
    await asyncio.sleep(2.5)
    broker.resume()
    for talker in talkers:
        await talker.nothing()
    await new.hello("new")
