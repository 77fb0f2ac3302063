"""Enhanced authentication and re-authentication (MQTT 5.0 §4.12)."""

import asyncio
import contextlib
import logging
import math
import traceback

import pytest

from aiomqtt import (
    Broker,
    Client,
    MqttCodeError,
    MqttError,
    Properties,
    ProtocolVersion,
)
from aiomqtt.exceptions import MqttConnectError
from aiomqtt.testing import AUTH, CONNACK, CONNECT, DISCONNECT, PUBLISH, Script
from tests.peer import varint
from tests.raw_scripts import cancelled_after

CONTINUE, REAUTHENTICATE = 0x18, 0x19
METHOD = {"authentication_method": "echo"}


class Echo:
    """Answers a number of challenges with what the broker said, twice."""

    method = "echo"

    def __init__(self, first=b"hello", final=None):
        self.first = first
        self.final = final
        self.said = []
        self.closed = 0

    async def authenticate(self):
        try:
            said = yield self.first
            while said != b"the end":
                self.said.append(said)
                said = yield said and said * 2
            self.said.append(said)
        finally:
            self.closed += 1


async def echo(exchange):
    """The broker's side of it."""
    if await exchange.challenge(b"ping") != b"pingping":
        return False
    return b"the end"


def client_of(server, authenticator, **arguments):
    arguments.setdefault("timeout", 5)
    return Client(
        server.name,
        transport="memory",
        protocol=ProtocolVersion.V5,
        authenticator=authenticator,
        **arguments,
    )


def with_data(data=None, **fields):
    """The fields of a packet of the broker."""
    properties = dict(METHOD)
    if data is not None:
        properties["authentication_data"] = data
    return {**fields, "properties": properties}


# --- connecting -----------------------------------------------------------------------


async def test_a_client_authenticates_in_several_steps():
    authenticator = Echo()
    async with Broker(None, enhanced_authentication=echo) as broker:
        client = client_of(broker, authenticator)
        for _ in range(2):
            async with client:
                assert client.connack_properties.authentication_data == b"the end"
                await client.publish("t", b"x", qos=1)
        assert authenticator.said == [b"ping", b"the end"] * 2
        assert authenticator.closed == 2


async def test_one_authenticator_for_several_clients():
    authenticator = Echo()
    async with (
        Broker(None, enhanced_authentication=echo) as broker,
        client_of(broker, authenticator),
        client_of(broker, authenticator),
        client_of(broker, authenticator),
    ):
        assert len(broker.clients) == 3


async def test_a_method_of_one_step():
    class Token:
        method = "token"

        async def authenticate(self):
            await asyncio.sleep(0)
            yield b"let me in"

    script = Script()
    script.expect(
        CONNECT, authentication_method="token", authentication_data=b"let me in"
    ).reply(CONNACK, properties={"authentication_method": "token"})
    script.expect(DISCONNECT)
    async with script, client_of(script, Token()):
        pass


async def test_the_other_properties_of_the_connect_stay():
    script = Script()
    script.expect(CONNECT, receive_maximum=7, authentication_data=None, **METHOD)
    script.reply(CONNACK, **with_data(b"the end"))
    script.expect(DISCONNECT)
    properties = Properties(receive_maximum=7)
    async with script, client_of(script, Echo(None), properties=properties):
        pass
    assert properties == Properties(receive_maximum=7)


async def test_the_broker_refuses_the_client():
    async def refuse(exchange):
        await exchange.challenge(b"ping")
        return False

    authenticator = Echo()
    async with Broker(None, enhanced_authentication=refuse) as broker:
        with pytest.raises(MqttConnectError) as raised:
            async with client_of(broker, authenticator):
                pass
        assert raised.value.rc == 0x87
        assert authenticator.closed == 1


async def test_the_broker_does_not_know_the_method():
    async with Broker(None) as broker:
        with pytest.raises(MqttConnectError) as raised:
            async with client_of(broker, Echo()):
                pass
    assert raised.value.rc == 0x8C


class Returning:
    """What one may write by mistake."""

    method = "echo"

    async def authenticate(self):
        return b"1"


class Impatient:
    method = "echo"

    async def authenticate(self):
        yield b"1"


class Refusing:
    method = "echo"

    def __init__(self, error):
        self.error = error

    async def authenticate(self):
        yield b"1"
        raise self.error


@pytest.mark.parametrize("answer", [CONNACK, AUTH], ids=["CONNACK", "AUTH"])
@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("secret"), "the authenticator failed: ValueError"),
        (TimeoutError("secret"), "the authenticator failed: TimeoutError"),
        (MqttError("an impostor"), "an impostor"),
    ],
    ids=["error", "timeout", "explained"],
)
async def test_an_authenticator_that_refuses_the_broker(error, text, answer):
    script = Script()
    script.expect(CONNECT).send(
        answer, **with_data(reason_code=0x18 * (answer == AUTH))
    )
    script.expect(DISCONNECT, reason_code=0x80)
    async with script:
        client = client_of(script, Refusing(error))
        with pytest.raises(MqttCodeError) as raised:
            await client.__aenter__()
    assert (
        str(raised.value) == f"[code:128] Disconnected with Unspecified error: {text}"
    )
    assert raised.value.__cause__ is error
    assert not client.is_connected()


async def test_an_authenticator_that_fails_before_the_first_packet():
    class Failing:
        method = "echo"

        async def authenticate(self):
            raise KeyError("secret")
            yield

    class Ending:
        method = "echo"

        async def authenticate(self):
            return
            yield

    async with Script() as script:
        with pytest.raises(MqttError) as raised:
            await client_of(script, Failing()).__aenter__()
        assert str(raised.value) == "the authenticator failed: KeyError"
        assert isinstance(raised.value.__cause__, KeyError)
        with pytest.raises(MqttError, match="ended without a first step"):
            await client_of(script, Ending()).__aenter__()


@pytest.mark.parametrize(
    ("data", "error"),
    [("text", TypeError), (5, TypeError), (bytes(65_536), ValueError)],
    ids=["str", "int", "too long"],
)
async def test_data_that_no_packet_carries(data, error):
    async with Script() as script:
        with pytest.raises(MqttError) as raised:
            await client_of(script, Echo(data)).__aenter__()
    assert isinstance(raised.value.__cause__, error)


async def test_the_authenticator_has_fewer_steps_than_the_broker():
    script = Script()
    script.expect(CONNECT).send(AUTH, **with_data(reason_code=CONTINUE))
    script.expect(DISCONNECT, reason_code=0x80)
    async with script:
        with pytest.raises(MqttError, match="requires a further step"):
            await client_of(script, Impatient()).__aenter__()


async def test_the_broker_accepts_before_the_last_step():
    """Whoever skips the steps has not proved who it is."""
    script = Script()
    script.expect(CONNECT).reply(CONNACK, **with_data(b"1"))
    script.expect(DISCONNECT, reason_code=0x80)
    async with script:
        with pytest.raises(MqttError, match="before its last step"):
            await client_of(script, Echo()).__aenter__()


async def test_an_authenticator_that_fails_is_not_asked_for_another_broker():
    class Failing:
        method = "echo"
        count = 0

        async def authenticate(self):
            self.count += 1
            yield b"1"
            raise ValueError

    authenticator = Failing()
    script = Script()
    script.expect(CONNECT).reply(CONNACK, **with_data())
    script.expect(DISCONNECT, reason_code=0x80)
    async with script:
        client = Client(
            [script.name, "another"],
            transport="memory",
            protocol=ProtocolVersion.V5,
            authenticator=authenticator,
        )
        with pytest.raises(MqttError, match="the authenticator failed"):
            await client.__aenter__()
    assert authenticator.count == 1


async def test_an_authenticator_that_catches_the_cancellation():
    class Catching(Hanging):
        async def authenticate(self):
            yield b"1"
            self.asked.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                yield b"2"

    script = Script()
    script.expect(CONNECT).send(AUTH, **with_data(reason_code=CONTINUE))
    script.expect_end()
    async with script:
        with pytest.raises(MqttError, match="^Operation timed out$"):
            await client_of(script, Catching(), timeout=0.05).__aenter__()


async def test_something_that_the_authenticator_awaits_is_cancelled():
    class Cancelled:
        method = "echo"

        async def authenticate(self):
            yield b"1"
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            await future

    script = Script()
    script.expect(CONNECT).send(AUTH, **with_data(reason_code=CONTINUE))
    script.expect(DISCONNECT, reason_code=0x80)
    async with script:
        with pytest.raises(MqttError, match="the authenticator failed"):
            await client_of(script, Cancelled()).__aenter__()


class Hanging:
    """Never answers the first challenge."""

    method = "echo"

    def __init__(self):
        self.asked = asyncio.Event()
        self.closed = False

    async def authenticate(self):
        try:
            yield b"1"
            self.asked.set()
            await asyncio.Event().wait()
        finally:
            self.closed = True


async def test_the_timeout_covers_the_authenticator():
    script = Script()
    script.expect(CONNECT).send(AUTH, **with_data(reason_code=CONTINUE))
    script.expect_end()
    authenticator = Hanging()
    async with script:
        with pytest.raises(MqttError, match="^Operation timed out$") as raised:
            await client_of(script, authenticator, timeout=0.05).__aenter__()
    assert "the authenticator did not agree" in str(raised.value.__cause__)
    assert authenticator.closed


async def test_a_cancelled_authentication_leaves_nothing_behind():
    script = Script()
    script.expect(CONNECT).send(AUTH, **with_data(reason_code=CONTINUE))
    script.expect_end()
    authenticator = Hanging()
    async with script:
        client = client_of(script, authenticator)
        entering = asyncio.create_task(client.__aenter__())
        await authenticator.asked.wait()
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
    assert authenticator.closed


async def test_the_connection_is_lost_meanwhile():
    script = Script()
    script.expect(CONNECT).send(AUTH, **with_data(reason_code=CONTINUE))
    script.drop_connection()
    async with script:
        with pytest.raises(MqttError, match="lost"):
            await client_of(script, Slow()).__aenter__()


async def test_the_connection_is_lost_while_the_authenticator_hangs():
    authenticator = Hanging()
    script = Script()
    script.expect(CONNECT).send(AUTH, **with_data(reason_code=CONTINUE))
    script.call(authenticator.asked.wait).drop_connection()
    async with script:
        with pytest.raises(MqttError, match="lost"):
            await client_of(script, authenticator, timeout=math.inf).__aenter__()
    assert authenticator.closed


async def test_the_connection_is_lost_while_the_authenticator_hangs_again():
    class HangingLater:
        method = "echo"
        hangs = False
        asked = asyncio.Event()

        async def authenticate(self):
            if self.hangs:
                self.asked.set()
                await asyncio.Event().wait()
            yield b"1"

    authenticator = HangingLater()
    script = Script()
    script.expect(CONNECT).reply(CONNACK, **with_data())
    script.call(authenticator.asked.wait).drop_connection()
    async with script, client_of(script, authenticator) as client:
        authenticator.hangs = True
        with pytest.raises(MqttError, match="lost"):
            await client.reauthenticate(timeout=math.inf)


class Slow:
    """Takes a few turns for everything."""

    method = "echo"

    async def authenticate(self):
        said = b""
        while said != b"the end":
            said = yield b"1"
            for _ in range(20):
                await asyncio.sleep(0)


async def test_messages_wait_until_the_broker_is_accepted():
    go_on = asyncio.Event()

    class Waiting:
        method = "echo"

        async def authenticate(self):
            yield b"1"
            await go_on.wait()

    script = Script()
    script.expect(CONNECT).reply(CONNACK, **with_data())
    for number in range(100):
        script.send(PUBLISH, topic="t", payload=bytes(1000) + bytes((number,)))
    script.expect(DISCONNECT)
    async with script:
        client = client_of(script, Waiting())
        entering = asyncio.create_task(client.__aenter__())
        for _ in range(20):
            await asyncio.sleep(0)
        assert not client.is_connected()
        assert len(client.messages) == 0
        go_on.set()
        await entering
        numbers = []
        async for message in client.messages:
            numbers.append(message.payload[-1])
            if len(numbers) == 100:
                break
        assert numbers == [*range(100)]
        await client.__aexit__(None, None, None)


async def test_a_broker_that_is_not_accepted_yet_fills_no_memory():
    """Reading pauses after the CONNACK, however much comes after it."""
    go_on = asyncio.Event()
    count, size = 200, 100_000

    class Waiting:
        method = "echo"

        async def authenticate(self):
            yield b"1"
            await go_on.wait()

    async def flood(reader, writer):
        await reader.readuntil(b"echo\x16\x00\x011\x00\x00")
        writer.write(b"\x20\x0a\x00\x00\x07\x15\x00\x04" + b"echo")
        body = b"\x00\x01t\x00" + bytes(size)
        publish = b"\x30" + varint(len(body)) + body
        writer.write(publish * count)
        # At the broker's end: the client has read only part of it.
        is_stuck.set_result(writer.transport.get_write_buffer_size())
        with contextlib.suppress(OSError):
            await writer.drain()
            await reader.read()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    is_stuck = asyncio.get_running_loop().create_future()
    async with await asyncio.start_server(flood, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = Client("127.0.0.1", port, protocol=5, authenticator=Waiting())
        entering = asyncio.create_task(client.__aenter__())
        assert await is_stuck > 0
        calls = client._calls
        assert calls is not None
        while not calls.driver.reading.is_paused:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.001)
        assert len(client.messages) == 0
        go_on.set()
        await entering
        for _ in range(count):
            assert len((await anext(client.messages)).payload) == size
        await client.__aexit__(None, None, None)


class Stepping:
    """Takes a few turns of the loop for each step, and holds nothing afterwards."""

    method = "echo"

    def __init__(self):
        self.running = 0

    async def authenticate(self):
        self.running += 1
        try:
            said = None
            while said != b"the end":
                await asyncio.sleep(0)
                said = yield said and said * 2
                await asyncio.sleep(0)
        finally:
            self.running -= 1


@pytest.mark.parametrize("again", [False, True], ids=["entering", "again"])
async def test_cancelling_at_every_step_leaves_nothing_behind(again):
    authenticator = Stepping()
    was_faster = False
    async with Broker(None, enhanced_authentication=echo) as broker:
        for steps in range(200):
            client = client_of(broker, authenticator, identifier="c")
            if again:
                await client.__aenter__()
            call = client.reauthenticate if again else client.__aenter__
            task = await cancelled_after(steps, call())
            assert authenticator.running == 0
            was_faster = not task.cancelled()
            if was_faster:
                await task
            assert again or was_faster is client.is_connected()
            await client.__aexit__(None, None, None)
            # The client can be used again.
            async with client:
                await client.reauthenticate()
            if was_faster:
                break
    assert was_faster


# --- arguments ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"protocol": 4, "authenticator": Echo()}, ValueError, "MQTT 5.0"),
        ({"authenticator": Echo()}, ValueError, "MQTT 5.0"),
        ({"protocol": 5, "authenticator": object()}, TypeError, "authenticator must"),
        ({"protocol": 5, "authenticator": "echo"}, TypeError, "str has not"),
        ({"protocol": 5, "authenticator": Returning()}, TypeError, "with yield"),
        (
            {
                "protocol": 5,
                "authenticator": Echo(),
                "properties": Properties(authentication_method="other"),
            },
            ValueError,
            "authentication_method",
        ),
    ],
    ids=["3.1.1", "default", "object", "str", "no generator", "two methods"],
)
def test_wrong_arguments(arguments, error, text):
    with pytest.raises(error, match=text):
        Client("localhost", **arguments)


async def test_an_authenticator_that_hides_that_it_is_none():
    class Hiding:
        method = "echo"

        def authenticate(self):
            return [b"1"]

    async with Script() as script:
        with pytest.raises(TypeError, match="asynchronous generator"):
            await client_of(script, Hiding()).__aenter__()


def test_a_method_that_no_packet_carries():
    authenticator = Echo()
    authenticator.method = "a\0b"
    with pytest.raises(ValueError, match="U\\+0000"):
        Client("localhost", protocol=5, authenticator=authenticator)


# --- secrets --------------------------------------------------------------------------


async def test_authentication_data_are_shown_nowhere(caplog):
    caplog.set_level(logging.DEBUG)
    script = Script()
    script.expect(CONNECT).send(AUTH, **with_data(b"hush 1", reason_code=CONTINUE))
    script.expect(AUTH).reply(CONNACK, **with_data(b"hush 2"))
    script.expect(DISCONNECT)
    async with script:
        client = client_of(script, Echo(b"hush 0"))
        with pytest.raises(MqttError) as raised:
            await client.__aenter__()
    shown = caplog.text + "".join(traceback.format_exception(raised.value))
    assert "Sending AUTH" in shown
    assert "Received AUTH" in shown
    assert "hush" not in shown
    assert "hush" not in repr(client._engine.settings)


# --- again, on the living connection --------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-4.12.1-1", "MQTT-4.12.0-3")
async def test_a_connected_client_reauthenticates():
    authenticator = Echo()
    async with (
        Broker(None, enhanced_authentication=echo) as broker,
        client_of(broker, authenticator) as client,
    ):
        await client.subscribe("t")
        for _ in range(2):
            await client.reauthenticate()
        await client.publish("t", b"x")
        assert (await anext(client.messages)).payload == b"x"
    assert authenticator.said == [b"ping", b"the end"] * 3
    assert authenticator.closed == 3


@pytest.mark.conformance("5.0", "MQTT-4.12.1-2")
async def test_the_broker_refuses_to_authenticate_again():
    verdicts = [True, 0x87]

    async def once(exchange):
        return verdicts.pop(0)

    async with Broker(None, enhanced_authentication=once) as broker:
        client = client_of(broker, Impatient())
        with pytest.raises(MqttError) as raised:
            async with client:
                await client.reauthenticate()
        assert raised.value.reason_code == 0x87
        assert not client.is_connected()


def script_of_a_connected_client():
    script = Script()
    script.expect(CONNECT).reply(CONNACK, **with_data(b"the end"))
    script.expect(AUTH, reason_code=REAUTHENTICATE, authentication_data=b"hello")
    return script


@pytest.mark.conformance("5.0", "MQTT-4.12.1-2")
async def test_the_authenticator_refuses_the_broker_when_it_authenticates_again():
    class Changing(Echo):
        async def authenticate(self):
            data = yield self.first
            if data != b"the end":
                raise MqttError("an impostor")

    script = script_of_a_connected_client()
    script.send(AUTH, **with_data(b"wrong", reason_code=0))
    script.expect(DISCONNECT, reason_code=0x80)
    async with script:
        client = client_of(script, Changing())
        with pytest.raises(MqttError, match="an impostor") as raised:
            async with client:
                await client.reauthenticate()
        assert str(raised.value.__cause__) == "an impostor"
        assert not client.is_connected()


async def test_calls_that_wait_get_the_reason():
    script = script_of_a_connected_client()
    script.send(AUTH, **with_data(reason_code=CONTINUE))
    script.expect(DISCONNECT, reason_code=0x80)
    async with script:
        client = client_of(script, SecondTimeFailing())
        async with client:
            with pytest.raises(MqttError, match="the authenticator failed"):
                await client.reauthenticate()
            with pytest.raises(MqttError) as raised:
                await client.publish("t")
            assert raised.value.__cause__ is not None
            assert isinstance(raised.value.__cause__.__cause__, ValueError)


class SecondTimeFailing(Echo):
    async def authenticate(self):
        said = yield b"hello"
        if said != b"the end":
            raise ValueError


async def test_failing_before_the_first_packet_changes_nothing():
    fails = False

    class Failing:
        method = "echo"

        async def authenticate(self):
            if fails:
                raise OSError("the server of tokens is down")
            yield b"token"

    script = Script()
    script.expect(CONNECT).reply(CONNACK, **with_data())
    script.expect(PUBLISH)
    script.expect(DISCONNECT, reason_code=0)
    async with script, client_of(script, Failing()) as client:
        fails = True
        with pytest.raises(MqttError) as raised:
            await client.reauthenticate()
        assert isinstance(raised.value.__cause__, OSError)
        await client.publish("t")


async def test_one_authentication_at_a_time():
    script = script_of_a_connected_client()
    script.expect(PUBLISH).send(AUTH, **with_data(b"the end", reason_code=0))
    script.expect(DISCONNECT, reason_code=0)
    async with script, client_of(script, Echo()) as client:
        first = asyncio.create_task(client.reauthenticate())
        await asyncio.sleep(0)
        with pytest.raises(MqttError, match="already"):
            await client.reauthenticate()
        await client.publish("t")
        await first


@pytest.mark.conformance("5.0", "MQTT-4.12.1-2")
async def test_an_authentication_that_is_given_up_ends_the_connection():
    for seconds in (0.05, math.inf):
        script = script_of_a_connected_client()
        script.expect(DISCONNECT, reason_code=0x80)
        async with script, client_of(script, Echo()) as client:
            if seconds < 1:
                with pytest.raises(MqttError, match="^Operation timed out$"):
                    await client.reauthenticate(timeout=seconds)
            else:
                again = asyncio.create_task(client.reauthenticate(timeout=seconds))
                await asyncio.sleep(0)
                again.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await again
            assert not client.is_connected()


async def test_the_connection_ends_while_it_authenticates_again():
    script = script_of_a_connected_client()
    script.drop_connection()
    async with script, client_of(script, Echo()) as client:
        with pytest.raises(MqttError, match="lost"):
            await client.reauthenticate()
        with pytest.raises(MqttCodeError) as raised:
            await client.reauthenticate()
        assert raised.value.rc == 4


async def test_without_a_connection_or_an_authenticator():
    client = Client("localhost", protocol=5, authenticator=Echo())
    with pytest.raises(MqttCodeError) as raised:
        await client.reauthenticate()
    assert raised.value.rc == 4
    with pytest.raises(ValueError, match="authenticator"):
        await Client("localhost", protocol=5).reauthenticate()


async def test_the_broker_begins_and_nobody_asked():
    """AUTH without an authentication in progress (§4.12.1)."""
    script = Script()
    script.expect(CONNECT).reply(CONNACK, **with_data(b"the end"))
    script.expect(PUBLISH).send(AUTH, **with_data(reason_code=CONTINUE))
    script.expect(DISCONNECT, reason_code=0x82)
    async with script, client_of(script, Echo()) as client:
        await client.publish("t")
        with pytest.raises(MqttError) as raised:
            await anext(client.messages)
        assert "Protocol Error" in str(raised.value.__cause__)
