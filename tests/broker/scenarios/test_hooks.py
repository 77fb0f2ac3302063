"""Hooks in every combination: what they decide is done and told, whatever they do."""

import asyncio
import itertools
from typing import Any

import pytest

from aiomqtt.broker import Limits, Refusal
from aiomqtt.protocol.packets import WillMessage
from tests.broker.scenarios.line import (
    AUTH,
    CONNACK,
    PUBACK,
    PUBLISH,
    PUBREC,
    ClosedError,
)
from tests.until import until

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


@pytest.mark.parametrize("authenticate", HOOKS, ids=names)
async def test_every_combination_of_hooks(
    start_broker, call, caplog, version, authenticate
):
    """All pairs in 5.0; the version only changes the answers, so else both alike."""
    caplog.set_level("CRITICAL", "aiomqtt.broker")
    for authorize, credentials, will in itertools.product(
        HOOKS if version == 5 else [authenticate],
        (None, {"user": "secret"}),
        (None, WillMessage("left", b"gone")),
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


@pytest.mark.parametrize("authenticate", HOOKS, ids=names)
async def test_who_has_a_wrong_password_is_never_let_in(
    start_broker, call, caplog, authenticate
):
    caplog.set_level("CRITICAL", "aiomqtt.broker")
    for authorize in HOOKS:
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


# --- hooks that deny in an awkward way -----------------------------------------------


async def is_cancelled(*_):
    raise asyncio.CancelledError


async def cancels_itself(*_):
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)
    return True


async def returns_a_code_of_connack(*_):
    return 0x86


async def returns_an_unknown_code(*_):
    return 0xFE


async def returns_what_is_no_code(*_):
    return 0x100


async def says_too_much(*_):
    return Refusal(0x87, "x" * 70_000)


async def says_nul(*_):
    return Refusal(0x87, "a\x00b")


async def says_surrogate(*_):
    return Refusal(0x87, "a", "\udcff")


async def returns_too_much_data(*_):
    return b"x" * 70_000


AWKWARD = [
    is_cancelled,
    cancels_itself,
    returns_a_code_of_connack,
    returns_an_unknown_code,
    returns_what_is_no_code,
    says_too_much,
    says_nul,
    says_surrogate,
    returns_too_much_data,
]


@pytest.mark.parametrize("hook", AWKWARD, ids=names)
async def test_who_may_not_connect_is_told(start_broker, call, caplog, version, hook):
    caplog.set_level("CRITICAL", "aiomqtt.broker")
    broker = await start_broker(authenticate=hook)
    talker = await call(broker, version)
    talker.send(talker.connect_packet("me"), talker.publish_packet("early", b"1"))
    connack = await talker.expect(CONNACK)
    assert connack.reason_code >= 0x80
    await talker.expect_end()
    assert broker.sessions == set()


@pytest.mark.parametrize("hook", AWKWARD, ids=names)
async def test_who_may_not_authenticate_is_told(start_broker, call, caplog, hook):
    caplog.set_level("CRITICAL", "aiomqtt.broker")
    broker = await start_broker(enhanced_authentication=hook)
    talker = await call(broker, 5)
    talker.send(talker.connect_packet("me", authentication_method="any"))
    connack = await talker.expect(CONNACK)
    assert connack.reason_code >= 0x80
    await talker.expect_end()
    assert broker.sessions == set()


async def test_a_challenge_that_no_packet_can_carry(start_broker, call, caplog):
    caplog.set_level("CRITICAL", "aiomqtt.broker")

    async def challenge(exchange):
        await exchange.challenge(b"x" * 70_000)
        return True

    broker = await start_broker(enhanced_authentication=challenge)
    talker = await call(broker, 5)
    talker.send(talker.connect_packet("me", authentication_method="any"))
    await talker.expect_connack_refusal(0x80, 5)


async def test_an_authentication_that_is_cancelled_between_steps(
    start_broker, call, caplog
):
    caplog.set_level("CRITICAL", "aiomqtt.broker")
    tasks: list[Any] = []

    async def challenge(exchange):
        tasks.append(asyncio.current_task())
        await exchange.challenge(b"1")
        return True

    broker = await start_broker(enhanced_authentication=challenge)
    talker = await call(broker, 5)
    talker.send(talker.connect_packet("me", authentication_method="any"))
    await talker.expect(AUTH)
    tasks[0].cancel()
    await talker.expect_connack_refusal(0x80, 5)


@pytest.mark.parametrize("hook", AWKWARD, ids=names)
async def test_who_may_not_talk_is_told(start_broker, join, caplog, version, hook):
    caplog.set_level("CRITICAL", "aiomqtt.broker")
    broker = await start_broker(authorize=hook)
    talker = await join(broker, version, "me")
    codes = await talker.subscribe("a", "b", "c", qos=2)
    allowed = {0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2}
    assert set(codes) <= (allowed if version == 5 else {0x80})
    for qos in (0, 1, 2):
        packet = talker.publish_packet("a", b"1", qos)
        talker.send(packet)
        if qos:
            answer = await talker.pick(PUBACK if qos == 1 else PUBREC, packet.mid)
            if version == 5:
                assert answer.reason_code in (0x80, 0x87)
    await talker.nothing()


async def test_a_task_that_is_cancelled_before_it_begins(start_broker, call, caplog):
    """A program may cancel all tasks; whoever waits for one is told."""
    caplog.set_level("CRITICAL", "aiomqtt.broker")

    async def authorize(*_):
        mine = asyncio.current_task()
        # Those of the other client, which has been asked about in the same turn.
        for task in asyncio.all_tasks():
            if task is not mine and "_ask" in repr(task.get_coro()):
                task.cancel()
        return True

    broker = await start_broker(authorize=authorize)
    talkers = [await call(broker, 5) for _ in range(2)]
    for number, talker in enumerate(talkers):
        await talker.hello(str(number))
        talker.send(talker.publish_packet("a", b"1", 1))
    answers = [await talker.expect(PUBACK) for talker in talkers]
    assert {int(answer.reason_code) for answer in answers} <= {0x10, 0x80}


# --- hooks that hang --------------------------------------------------------------


async def hang(*_):
    await asyncio.Event().wait()


async def test_a_hook_that_hangs_holds_no_connection_of_who_has_gone(
    start_broker, call, join
):
    broker = await start_broker(authenticate=hang, limits=Limits(maximum_connections=1))
    for version in (3, 4, 5):
        talker = await call(broker, version)
        talker.send(talker.connect_packet("me"))
        await until(lambda: broker.statistics.connections == 1)
        await talker.close()
        await until(lambda: broker.statistics.connections == 0)


@pytest.mark.parametrize("how", ["close", "vanish"])
async def test_a_connected_client_that_goes_while_a_hook_hangs(start_broker, join, how):
    broker = await start_broker(authorize=hang, limits=Limits(maximum_connections=1))
    for version in (3, 4, 5):
        talker = await join(broker, version, "me")
        # The second waits for the answer about the first.
        talker.send(talker.publish_packet("a", b"1", 1))
        talker.send(talker.publish_packet("b", b"1", 1))
        await talker.close() if how == "close" else talker.vanish()
        await until(lambda: broker.statistics.connections == 0)
        # Its session is there for whoever comes with the same identifier.
        again = await join(broker, version, "me")
        await again.nothing()
        await again.close()
        await until(lambda: broker.statistics.connections == 0)


async def test_a_silent_client_is_given_up_while_a_hook_hangs(start_broker, join):
    broker = await start_broker(authorize=hang)
    talker = await join(broker, 5, "me", keep_alive=1)
    talker.send(talker.publish_packet("a", b"1", 1))
    await talker.expect_refusal(0x8D)


async def test_what_was_sent_before_a_client_went_is_done(start_broker, join, version):
    """Also its DISCONNECT, so that there is no will."""

    async def authorize(client, action, topic):
        await asyncio.sleep(0.01)
        return True

    broker = await start_broker(authorize=authorize)
    listener = await join(broker, version, "listener")
    await listener.subscribe("#")
    talker = await join(broker, version, "me", will=WillMessage("will", b"gone"))
    talker.send(
        *(talker.publish_packet("a", str(number).encode()) for number in range(10)),
        talker.disconnect_packet(),
    )
    await talker.close()
    for number in range(10):
        await listener.take("a", str(number).encode())
    await until(lambda: set(broker.clients) == {"listener"})
    await listener.nothing()


async def test_no_more_is_read_than_fits_while_a_hook_thinks(start_broker, join):
    thinking = asyncio.Event()

    async def authorize(client, action, topic):
        await thinking.wait()
        return True

    broker = await start_broker(authorize=authorize)
    talker = await join(broker, 4, "me")
    packets = [talker.publish_packet("a", bytes(10_000)) for _ in range(1000)]
    talker.send(*packets)
    await until(lambda: broker.statistics.bytes_received > 64 * 1024)
    await asyncio.sleep(0.1)
    assert broker.statistics.bytes_received < 2_000_000
    thinking.set()
    await talker.nothing()
    assert broker.statistics.messages_received == 1000
