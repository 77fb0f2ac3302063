"""Enhanced authentication (MQTT 5.0 §4.12)."""

import pytest

from aiomqtt.broker import Refusal
from aiomqtt.properties import Properties
from aiomqtt.protocol.packets import Ping, Signal
from tests.broker.scenarios.line import AUTH, CONNACK, PINGREQ

CONTINUE, REAUTHENTICATE = 0x18, 0x19


async def double(exchange):
    """The method of these tests: the client has to repeat, twice, what it is told."""
    if exchange.method != "double":
        return 0x8C
    answer = await exchange.challenge(b"ping")
    if answer != b"pingping":
        return False
    answer = await exchange.challenge(b"pong")
    if answer == b"refuse me":
        return Refusal(0x87, "as you like")
    return b"welcome" if answer == b"pongpong" else False


@pytest.fixture
async def strict(start_broker):
    """A broker that authenticates like this."""
    return await start_broker(enhanced_authentication=double)


def auth(data=None, code=CONTINUE, method="double"):
    properties = Properties(authentication_method=method, authentication_data=data)
    return Signal(AUTH, code, properties)


async def authenticate(talker, last=b"pongpong"):
    """The part of the client from the first challenge on."""
    await talker.expect(
        AUTH,
        reason_code=CONTINUE,
        authentication_method="double",
        authentication_data=b"ping",
    )
    talker.send(auth(b"pingping"))
    await talker.expect(AUTH, reason_code=CONTINUE, authentication_data=b"pong")
    talker.send(auth(last))


async def test_a_client_is_authenticated(strict, call):
    """[MQTT-4.12.0-2], [MQTT-4.12.0-3], [MQTT-4.12.0-5]."""
    talker = await call(strict, 5)
    talker.send(talker.connect_packet("known", authentication_method="double"))
    await authenticate(talker)
    await talker.expect(
        CONNACK,
        reason_code=0,
        authentication_method="double",
        authentication_data=b"welcome",
    )
    await talker.nothing()


async def test_a_connected_client_authenticates_anew(strict, call):
    # §4.12.1
    talker = await call(strict, 5)
    talker.send(talker.connect_packet("again", authentication_method="double"))
    await authenticate(talker)
    await talker.expect(CONNACK, reason_code=0)
    talker.send(auth(code=REAUTHENTICATE))
    await authenticate(talker)
    await talker.expect(AUTH, reason_code=0, authentication_method="double")
    await talker.nothing()
    # [MQTT-4.12.1-2]
    talker.send(auth(code=REAUTHENTICATE))
    await authenticate(talker, b"refuse me")
    await talker.expect_refusal(0x87)


async def test_a_client_is_refused(strict, call):
    # [MQTT-4.12.0-1] and §4.12: at any step
    talker = await call(strict, 5)
    talker.send(talker.connect_packet("wrong", authentication_method="double"))
    await authenticate(talker, b"wrong")
    await talker.expect_connack_refusal(0x87, 5)
    talker = await call(strict, 5)
    talker.send(talker.connect_packet("refused", authentication_method="double"))
    await authenticate(talker, b"refuse me")
    connack = await talker.expect_connack_refusal(0x87, 5)
    assert connack.properties.reason_string == "as you like"


async def test_an_unknown_method(strict, broker, call):
    """[MQTT-4.12.0-1]; a broker that authenticates nobody knows none."""
    for server in (strict, broker):
        talker = await call(server, 5)
        talker.send(talker.connect_packet("other", authentication_method="other"))
        await talker.expect_connack_refusal(0x8C, 5)


@pytest.mark.parametrize(
    "packet",
    [
        Ping(PINGREQ),  # [MQTT-3.1.2-30]
        auth(b"pingping", method="other"),  # [MQTT-4.12.0-5]
        auth(code=REAUTHENTICATE),
    ],
    ids=["another packet", "another method", "another beginning"],
)
async def test_what_is_wrong_before_the_connack(strict, call, packet):
    talker = await call(strict, 5)
    talker.send(talker.connect_packet("wrong", authentication_method="double"))
    await talker.expect(AUTH, authentication_data=b"ping")
    talker.send(packet)
    await talker.expect_closed()
    assert strict.sessions == set()


async def test_auth_of_a_client_that_connected_without(strict, join):
    # [MQTT-4.12.0-7]
    for packet in (auth(code=REAUTHENTICATE), auth(b"1")):
        talker = await join(strict, 5, "plain")
        talker.send(packet)
        await talker.expect_refusal(0x82)
