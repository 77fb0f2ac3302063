"""The scripted broker, spoken to by our client and by a plain socket."""

import asyncio
import contextlib
import ssl
from typing import Any

import pytest

import aiomqtt
from aiomqtt import ReasonCode
from aiomqtt.protocol.packets import Ack, Publish, Suback, Subscribe
from aiomqtt.testing import (
    AUTH,
    CONNACK,
    CONNECT,
    DISCONNECT,
    PINGREQ,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBSCRIBE,
    Script,
)


def client_of(script: Script, version: int = 5, **options: Any) -> aiomqtt.Client:
    return aiomqtt.Client(script.host, script.port, protocol=version, **options)


@contextlib.asynccontextmanager
async def talker(script: Script) -> Any:
    """A client of raw bytes."""
    reader, writer = await asyncio.open_connection(script.host, script.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_a_conversation_over_two_connections(version):
    script = Script()
    script.expect(CONNECT, client_id="me").reply(CONNACK)
    script.expect(PUBLISH, topic="t", payload=b"x", qos=1, dup=False).drop_connection()
    present = version > 3
    script.expect(CONNECT, clean_start=False).reply(session_present=present)
    script.expect(PUBLISH, dup=True).reply(PUBACK)
    script.expect(DISCONNECT).expect_end()
    options: dict[str, Any] = {"identifier": "me"}
    if version == 5:
        expiry = aiomqtt.Properties(session_expiry_interval=60)
        options |= {"properties": expiry}
    else:
        options |= {"clean_session": False}
    async with script:
        client = client_of(script, version, **options)
        with pytest.raises(aiomqtt.MqttError):
            async with client:
                await client.publish("t", b"x", 1)
        async with client:
            pass


async def test_topics_and_filters_are_strings_or_objects():
    topic, wildcard = aiomqtt.Topic("a/b"), aiomqtt.Wildcard("a/+")
    script = Script()
    script.expect(CONNECT, will=None).reply()
    script.expect(SUBSCRIBE, filters=[wildcard, "c"]).reply()
    script.send(PUBLISH, topic=topic)
    script.expect(PUBLISH, topic=topic)
    script.expect(PUBLISH, topic="a/b")
    async with script, client_of(script) as client:
        await client.subscribe([wildcard, "c"])
        assert (await anext(client.messages)).topic == topic
        await client.publish(topic)
        await client.publish(topic)

    script = Script().expect(CONNECT).reply().expect(PUBLISH, topic=aiomqtt.Topic("x"))
    with pytest.raises(AssertionError, match="with topic='x', got 'a/b'"):
        async with script, client_of(script) as client:
            await client.publish(topic)


async def test_in_memory():
    script = Script()
    script.expect(CONNECT).reply(CONNACK)
    script.expect(SUBSCRIBE, filters=["t"]).reply()
    script.send(PUBLISH, topic="t", payload="hello")
    script.expect(DISCONNECT)
    async with script, aiomqtt.Client(script.name, transport="memory") as client:
        await client.subscribe("t")
        assert (await anext(client.messages)).payload == b"hello"


async def test_all_that_a_broker_says(version):
    script = Script()
    script.expect(CONNECT).reply()
    script.expect(SUBSCRIBE).reply()
    script.send(PUBLISH, topic="t", qos=2, packet_id=9, payload=b"x")
    script.expect(PUBREC, packet_id=9).reply()
    completed = asyncio.Event()
    script.expect(PUBCOMP, packet_id=9).call(completed.set)
    script.expect(PUBLISH, qos=2).reply()
    script.expect(PUBREL).reply()
    script.expect(PUBLISH, qos=1).reply()
    script.expect(UNSUBSCRIBE, filters=["t"]).reply()
    script.expect(DISCONNECT)
    async with script, client_of(script, version) as client:
        assert [int(code) for code in await client.subscribe("t", 2)] == [2]
        assert (await anext(client.messages)).payload == b"x"
        await completed.wait()
        await client.publish("t", b"y", 2)
        await client.publish("t", b"y", 1)
        await client.unsubscribe("t")


async def test_refusals_and_properties():
    script = Script()
    script.expect(CONNECT, receive_maximum=7).reply(
        CONNACK, properties={"maximum_qos": 1}
    )
    script.expect(SUBSCRIBE).reply(SUBACK, reason_codes=[0x87])
    script.expect(PUBLISH, content_type="c").reply(PUBACK, reason_code=0x97)
    script.send(DISCONNECT, reason_code=0x8E, properties={"reason_string": "gone"})
    script.close()
    async with script:
        client = client_of(script, properties=aiomqtt.Properties(receive_maximum=7))
        async with client:
            assert [int(code) for code in await client.subscribe("t")] == [0x87]
            with pytest.raises(aiomqtt.MqttCodeError) as refused:
                await client.publish(
                    "t", b"", 1, properties=aiomqtt.Properties(content_type="c")
                )
            assert refused.value.rc == 0x97
            with pytest.raises(aiomqtt.MqttError) as ended:
                await asyncio.wait_for(anext(client.messages), 5)
            assert ended.value.reason_code == 0x8E


async def test_pings_are_answered_unless_they_are_expected():
    ping = b"\xc0\x00"
    connect = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01x"
    script = Script()
    script.expect(CONNECT).reply()
    script.expect(PUBLISH, payload=b"x")
    script.expect(PINGREQ)
    script.close()
    async with script, talker(script) as (reader, writer):
        writer.write(connect + ping + ping + b"\x30\x04\x00\x01tx" + ping)
        assert await reader.read() == b"\x20\x02\x00\x00" + 2 * b"\xd0\x00"


async def test_what_no_broker_says_and_calls_of_the_test():
    called = []

    async def later() -> None:
        called.append("later")

    script = Script()
    script.expect(CONNECT).call(lambda: called.append("now")).call(later)
    script.wait(0.01).send(b"garbage").close()
    async with script, talker(script) as (reader, writer):
        writer.write(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01x")
        assert await reader.read() == b"garbage"
    assert called == ["now", "later"]


async def test_a_reply_by_a_function(version):
    def grant_less(packet: Subscribe) -> Suback:
        codes = [ReasonCode(0) for _ in packet.subscriptions]
        return Suback(SUBACK, packet.packet_id, codes)

    async def acknowledge(packet: Publish) -> list[Any]:
        assert (packet.topic.value, packet.payload) == ("t", b"x")
        await asyncio.sleep(0)
        # A ping's answer in front of it, which nobody has asked for.
        return [b"\xd0\x00", Ack(PUBACK, packet.mid)]

    script = Script()
    script.expect(CONNECT).reply()
    script.expect(SUBSCRIBE).reply_by(grant_less)
    script.expect(PUBLISH).reply_by(lambda packet: None)
    script.expect(PUBLISH).reply_by(acknowledge)
    async with script, client_of(script, version) as client:
        assert [int(code) for code in await client.subscribe("t", 2)] == [0]
        with pytest.raises(aiomqtt.MqttError, match="timed out"):
            await client.publish("t", b"x", 1, timeout=0.02)
        await client.publish("t", b"x", 1)


async def test_over_tls(certificates):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    pair = certificates.server
    context.load_cert_chain(pair.certificate, pair.key)
    trusted = ssl.create_default_context(cafile=certificates.ca_file)
    script = Script(ssl_context=context)
    script.expect(CONNECT).reply()
    script.expect(PUBLISH).drop_connection()
    script.expect(CONNECT).reply().close()
    async with script:
        client = client_of(script, tls_context=trusted)
        for _ in range(2):
            with pytest.raises(aiomqtt.MqttError):
                async with client:
                    await client.publish("t", b"x", 1)


# --- failures ------------------------------------------------------------------------


async def test_another_packet_is_told_with_all_that_was_said():
    script = Script()
    script.expect(CONNECT).reply(CONNACK)
    script.expect(PUBLISH, topic="t")
    with pytest.raises(AssertionError) as caught:
        async with script, client_of(script) as client:
            await client.subscribe("somewhere")
    text = str(caught.value)
    assert text.startswith("expected PUBLISH, got SUBSCRIBE")
    assert "at step 3, expect(PUBLISH, topic='t'), after:" in text
    assert "  -> CONNECT Connect(" in text
    assert "  <- CONNACK Connack(" in text
    assert "  -> SUBSCRIBE Subscribe(" in text
    # The client's own trouble is the cause.
    assert isinstance(caught.value.__cause__, aiomqtt.MqttError)


async def test_another_value_is_told():
    script = Script().expect(CONNECT).reply().expect(PUBLISH, payload=b"this")
    with pytest.raises(AssertionError, match=r"payload=b'this', got b'that'"):
        async with script, client_of(script) as client:
            await client.publish("t", b"that", 1)


async def test_a_packet_that_does_not_come_is_told():
    script = Script(timeout=0.5).expect(CONNECT).reply().expect(PUBLISH)
    with pytest.raises(AssertionError, match="waited 0.5 s for PUBLISH"):
        async with script, client_of(script) as client:
            await anext(client.messages)


async def test_a_client_that_does_not_come_is_told():
    with pytest.raises(AssertionError, match="no client connected within"):
        async with Script(timeout=0.05).expect(CONNECT):
            pass


async def test_a_client_that_leaves_is_told():
    script = Script().expect(CONNECT).reply().expect(DISCONNECT).expect(PUBLISH)
    with pytest.raises(AssertionError, match="the client closed, waiting for PUBLISH"):
        async with script, client_of(script):
            pass


async def test_what_breaks_a_rule_is_told():
    script = Script().expect(CONNECT)
    with pytest.raises(AssertionError, match="got what breaks a rule"):
        async with script, talker(script) as (reader, writer):
            writer.write(b"\x10\x02\x00\x00")
            await reader.read()


async def test_a_connection_too_many_is_told():
    script = Script().expect(CONNECT).reply().expect(DISCONNECT)
    with pytest.raises(AssertionError, match="1 more connected than the script"):
        async with script:
            client = client_of(script)
            async with client:
                pass
            # It does not wait for an answer until its timeout.
            async with asyncio.timeout(5), client:
                pass


async def test_what_never_came_to_its_turn_is_told():
    script = Script().expect(CONNECT).reply()
    with pytest.raises(AssertionError, match="1 more connected than the script"):
        async with script, talker(script) as (_, writer), talker(script):
            writer.write(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01x")


async def test_a_function_that_fails_is_told():
    def fail(packet: Any) -> None:
        raise ZeroDivisionError

    script = Script().expect(CONNECT).reply_by(fail)
    with pytest.raises(ZeroDivisionError) as caught:
        async with script, client_of(script):
            pass
    (note,) = caught.value.__notes__
    assert "at step 2, reply_by(" in note
    assert "  -> CONNECT Connect(" in note


async def test_nothing_answers():
    connect = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01x"
    script = Script().expect(CONNECT).expect(PUBLISH).reply()
    with pytest.raises(AssertionError, match="nothing answers"):
        async with script, talker(script) as (_, writer):
            writer.write(connect + b"\x30\x04\x00\x01tx")
    script = Script().reply(PUBACK)
    with pytest.raises(AssertionError, match="nothing to reply to"):
        async with script:
            pass


async def test_passwords_are_not_told():
    script = Script().expect(CONNECT, username="somebody else")
    with pytest.raises(AssertionError) as caught:
        async with script, client_of(script, username="u", password="secret"):
            pass
    assert "secret" not in str(caught.value)


async def test_the_error_of_the_test_is_raised_when_the_script_is_right():
    script = Script().expect(CONNECT).reply().expect(PUBLISH)
    with pytest.raises(ZeroDivisionError) as caught:
        async with script, client_of(script):
            _ = 1 / 0
    # It says how far the script had come.
    (note,) = caught.value.__notes__
    assert note.startswith("the script was waiting\nat step 3, expect(PUBLISH), after:")
    assert "  <- CONNACK Connack(" in note


def test_fields_that_there_are_not():
    with pytest.raises(TypeError, match="PUBLISH has no colour"):
        Script().expect(PUBLISH, colour="red")
    # Methods of Properties are no properties.
    with pytest.raises(TypeError, match="PUBLISH has no json, present, without"):
        Script().expect(PUBLISH, json=1, present=1, without=1)
    with pytest.raises(TypeError, match="PUBACK has no topic"):
        Script().expect(PUBACK, topic="t")
    Script().expect(AUTH, reason_code=0x18, authentication_data=b"x")
