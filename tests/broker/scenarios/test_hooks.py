"""Hooks in every combination: what they decide is done and told, whatever they do."""

import asyncio
import itertools

import pytest

from aiomqtt.protocol.packets import WillMessage
from tests.broker.scenarios.line import CONNACK, PUBACK, PUBLISH, PUBREC, ClosedError

# --- what a hook may do ----------------------------------------------------------


async def allow(*_):
    return True


async def allow_later(*_):
    await asyncio.sleep(0)
    return True


async def deny(*_):
    return False


async def deny_later(*_):
    await asyncio.sleep(0)
    return 0x87


async def fail(*_):
    raise ZeroDivisionError


def no_coroutine(*_):
    return True


async def say_nothing(*_):
    pass


ALLOWING = {None, allow, allow_later}
HOOKS = [
    None,
    allow,
    allow_later,
    deny,
    deny_later,
    fail,
    no_coroutine,
    say_nothing,
]


def names(hook):
    return hook.__name__ if callable(hook) else str(hook)


@pytest.mark.parametrize("authorize", HOOKS, ids=names)
@pytest.mark.parametrize("authenticate", HOOKS, ids=names)
async def test_every_combination_of_hooks(
    start_broker, call, caplog, version, authenticate, authorize
):
    caplog.set_level("CRITICAL", "aiomqtt.broker")
    for credentials, will in itertools.product(
        (None, {"user": "secret"}), (None, WillMessage("left", b"gone"))
    ):
        broker = await start_broker(
            authenticate=authenticate, authorize=authorize, credentials=credentials
        )
        talker = await call(broker, version)
        # With the CONNECT, so that they wait for each answer in turn.
        early = talker.publish_packet("early", b"1", 1)
        talker.send(
            talker.connect_packet("me", username="user", password=b"secret", will=will),
            early,
        )
        connack = await talker.expect(CONNACK)
        may_connect = authenticate in ALLOWING and (
            will is None or authorize in ALLOWING
        )
        assert (connack.reason_code == 0) is may_connect
        if not may_connect:
            with pytest.raises(ClosedError):
                await talker.hear()
            assert broker.sessions == set()
            continue
        await talker.expect(PUBACK, packet_id=early.mid)
        await talk(talker, authorize in ALLOWING)


async def talk(talker, may_talk):
    """Subscribe and publish with each QoS; hear it, where that is allowed."""
    for qos in (0, 1, 2):
        [code] = await talker.subscribe("mine", qos=qos)
        assert (code < 0x80) is may_talk
        packet = talker.publish_packet("mine", b"1", qos)
        talker.send(packet)
        heard = {}
        if qos:
            answer = await talker.pick(PUBACK if qos == 1 else PUBREC, packet.mid)
            if talker.version == 5:
                assert (answer.reason_code < 0x80) is may_talk
        if may_talk:
            heard = await talker.expect(PUBLISH, topic="mine", payload=b"1", qos=qos)
            await talker.take_over(heard)
        await talker.nothing()


@pytest.mark.parametrize("authorize", HOOKS, ids=names)
@pytest.mark.parametrize("authenticate", HOOKS, ids=names)
async def test_who_has_a_wrong_password_is_never_let_in(
    start_broker, call, caplog, authenticate, authorize
):
    caplog.set_level("CRITICAL", "aiomqtt.broker")
    broker = await start_broker(
        authenticate=authenticate,
        authorize=authorize,
        credentials={"user": "secret"},
    )
    for will in (None, WillMessage("left", b"gone")):
        talker = await call(broker, 5)
        talker.send(
            talker.connect_packet("me", username="user", password=b"?", will=will)
        )
        await talker.expect_connack_refusal(0x86, 4)
    assert broker.sessions == set()
