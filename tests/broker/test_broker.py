"""The broker as a program uses it, over sockets and in memory."""

import asyncio
import contextlib
import logging
import socket
from typing import Any

import pytest

import aiomqtt
from aiomqtt.broker import Authentication, Broker, ClientInfo, Limits, Refusal
from tests.until import until

SOON = 5.0


async def next_payload(client: aiomqtt.Client) -> bytes:
    return (await asyncio.wait_for(anext(client.messages), SOON)).payload


def in_memory(broker: Broker, version: int = 5, **options: Any) -> aiomqtt.Client:
    return aiomqtt.Client(broker.name, transport="memory", protocol=version, **options)


def lasting(seconds: int = 600) -> aiomqtt.Properties:
    return aiomqtt.Properties(session_expiry_interval=seconds)


# --- starting and stopping ------------------------------------------------------------


async def test_ten_lines_are_enough():
    async with (
        aiomqtt.Broker() as broker,
        aiomqtt.Client(broker.host, broker.port) as client,
    ):
        await client.subscribe("temperature/#")
        await client.publish("temperature/outside", payload=28.4)
        assert await next_payload(client) == b"28.4"
        assert broker.url == f"mqtt://127.0.0.1:{broker.port}"


async def test_it_can_be_entered_again_on_its_port_with_what_it_kept(version):
    broker = Broker()
    options: dict[str, Any] = {"identifier": "me", "protocol": version}
    if version == 5:
        options |= {"properties": lasting(), "clean_start": False}
    else:
        options |= {"clean_session": False}
    async with broker:
        port = broker.port
        async with aiomqtt.Client(broker.host, port, **options) as client:
            await client.subscribe("t", 1)
        broker.publish("t", b"queued", 1)
        broker.publish("kept", b"retained", 1, True)
    assert broker.sessions == {"me"}
    with pytest.raises(RuntimeError, match="not running"):
        broker.publish("t")
    with pytest.raises(RuntimeError):
        _ = broker.port
    async with broker:
        assert broker.port == port
        async with aiomqtt.Client(broker.host, port, **options) as client:
            assert await next_payload(client) == b"queued"
            await client.subscribe("kept")
            assert await next_payload(client) == b"retained"
    broker.clear()
    assert broker.sessions == set()


async def test_it_is_not_started_twice():
    async with Broker() as broker:
        with pytest.raises(RuntimeError, match="running"):
            await broker.start()
        async with in_memory(broker):
            pass
    await broker.stop()  # harmless
    broker.kill()


async def test_a_port_that_is_taken():
    async with Broker() as broker:
        other = Broker(port=broker.port)
        with pytest.raises(OSError, match=str(broker.port)):
            await other.start()
        with pytest.raises(RuntimeError):
            _ = other.url
    async with other:
        pass


async def test_a_name_that_is_taken():
    async with Broker(None, name="here"):
        with pytest.raises(ValueError, match="here"):
            await Broker(name="here").start()


async def test_in_memory_only():
    async with Broker(None) as broker:
        with pytest.raises(RuntimeError, match="host"):
            _ = broker.host
        async with in_memory(broker) as client:
            await client.subscribe("t")
            await client.publish("t", b"x", 2)
            assert await next_payload(client) == b"x"


@pytest.mark.parametrize(
    "options", [{"port": -1}, {"port": 65_536}, {"port": "x"}, {"sys_interval": -1}]
)
def test_arguments_are_checked(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Broker(**options)


async def test_stopping_tells_the_clients():
    async with Broker() as broker:
        clients = [
            in_memory(broker),
            aiomqtt.Client(broker.host, broker.port, protocol=5),
        ]
        for client in clients:
            await client.__aenter__()
        await broker.stop()
        for client in clients:
            with pytest.raises(aiomqtt.MqttError) as caught:
                await asyncio.wait_for(anext(client.messages), SOON)
            assert caught.value.reason_code == 0x8B
            await client.__aexit__(None, None, None)


async def test_stopping_does_not_wait_for_clients_that_hang():
    async with Broker() as broker:
        reader, writer = await asyncio.open_connection(broker.host, broker.port)
        writer.write(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01x")
        assert await reader.readexactly(4) == b"\x20\x02\x00\x00"
        start = asyncio.get_running_loop().time()
        await broker.stop()
        assert asyncio.get_running_loop().time() - start < SOON
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_being_killed_tells_nobody_and_publishes_no_will():
    broker = Broker()
    will = aiomqtt.Will("will", b"gone", retain=True)
    async with broker:
        client = in_memory(broker, will=will, identifier="me", properties=lasting())
        await client.__aenter__()
        broker.kill()
        with pytest.raises(aiomqtt.MqttError) as caught:
            await asyncio.wait_for(anext(client.messages), SOON)
        assert caught.value.reason_code is None
        await client.__aexit__(None, None, None)
    await broker.start()
    assert dict(broker.retained) == {}
    assert broker.sessions == {"me"}
    await broker.stop()


async def test_it_listens_on_more_than_one_address():
    async with Broker() as broker:
        more = await broker.listen()
        assert more.port != broker.port
        async with (
            aiomqtt.Client(broker.host, broker.port) as one,
            aiomqtt.Client(more.host, more.port) as two,
            in_memory(broker) as three,
        ):
            await three.subscribe("t", 1)
            await one.publish("t", b"1", 1)
            await two.publish("t", b"2", 1)
            assert [await next_payload(three), await next_payload(three)] == [
                b"1",
                b"2",
            ]
            addresses = {info.address for info in broker.clients.values()}
            assert "memory" in addresses
            assert len(addresses) == 3
    with pytest.raises(RuntimeError, match="not running"):
        await broker.listen()


async def test_nothing_listens_for_a_broker_that_was_stopped_meanwhile():
    broker = Broker()
    await broker.start()
    listening = asyncio.create_task(broker.listen("localhost"))
    await asyncio.sleep(0)
    assert not listening.done()
    await broker.stop()
    with pytest.raises(RuntimeError, match="not running"):
        await listening
    async with broker:
        assert broker.host == "127.0.0.1"


# --- what can be seen and done --------------------------------------------------------


async def test_what_there_is_can_be_looked_at(version):
    async with Broker() as broker:
        assert (broker.clients, broker.sessions, dict(broker.retained)) == (
            {},
            set(),
            {},
        )
        client = in_memory(
            broker, version, identifier="me", username="u", password="secret"
        )
        async with client:
            info = broker.clients["me"]
            assert (info.client_id, info.version, info.username, info.password) == (
                "me",
                version,
                "u",
                b"secret",
            )
            assert "secret" not in repr(info)
            await client.subscribe("a/#")
            await client.publish("a/b", b"kept", 1, retain=True)
            message = broker.retained["a/b"]
            assert (message.topic.value, message.payload, message.qos) == (
                "a/b",
                b"kept",
                1,
            )
            statistics = broker.statistics
            assert statistics.clients_connected == 1
            assert statistics.subscriptions == 1
            assert statistics.retained_messages == 1
            assert statistics.messages_received == 1
            assert statistics.messages_sent == 1
            assert statistics.bytes_received > 0
            assert statistics.bytes_sent > 0
            assert 0 <= statistics.uptime < SOON
        await until(lambda: not broker.clients)


async def test_the_program_itself_publishes():
    async with Broker(None) as broker, in_memory(broker) as client:
        await client.subscribe("t", 2)
        properties = aiomqtt.Properties(content_type="text/plain")
        assert broker.publish("t", 28.4, 2, properties=properties) == 1
        message = await asyncio.wait_for(anext(client.messages), SOON)
        assert (message.payload, message.qos) == (b"28.4", 2)
        assert message.properties == properties
        assert broker.publish("nobody/listens") == 0
        assert broker.publish(aiomqtt.Topic("nobody/listens")) == 0
        for arguments, error in (
            (("a/#",), ValueError),
            (("t", b"", 3), ValueError),
            (("t", object()), TypeError),
            (("t", b"", 0, False, "x"), TypeError),
        ):
            with pytest.raises(error):
                broker.publish(*arguments)


async def test_what_can_not_be_retained_is_an_error():
    limits = Limits(maximum_retained_messages=0)
    async with Broker(None, limits=limits) as broker, in_memory(broker) as client:
        await client.subscribe("t")
        with pytest.raises(aiomqtt.MqttError, match="retain"):
            broker.publish("t", b"x", retain=True)
        broker.publish("t", b"y")
        assert await next_payload(client) == b"y"  # the other one was not published


@pytest.mark.parametrize("code", [0x98, 0x8B, 0x97])
async def test_a_client_is_disconnected_on_request(code):
    async with Broker(None) as broker, in_memory(broker, identifier="me") as client:
        assert not broker.disconnect("nobody")
        with pytest.raises(ValueError, match="0x10"):
            broker.disconnect("me", 0x10)
        assert broker.disconnect("me", code, reason_string="go away")
        with pytest.raises(aiomqtt.MqttError) as caught:
            await asyncio.wait_for(anext(client.messages), SOON)
        assert caught.value.reason_code == code
        assert "go away" in str(caught.value.__cause__)


async def test_connections_are_cut_on_request():
    async with Broker() as broker:
        clients = [in_memory(broker, identifier=name) for name in ("a", "b", "c")]
        for client in clients:
            await client.__aenter__()
        assert broker.abort("b") == 1
        with pytest.raises(aiomqtt.MqttError):
            await asyncio.wait_for(anext(clients[1].messages), SOON)
        assert set(broker.clients) == {"a", "c"}
        assert broker.abort() == 2
        for client in clients:
            with pytest.raises(aiomqtt.MqttError):
                await asyncio.wait_for(anext(client.messages), SOON)
            await client.__aexit__(None, None, None)


@pytest.mark.parametrize(("permanent", "code"), [(False, 0x9C), (True, 0x9D)])
async def test_clients_are_sent_elsewhere(permanent, code):
    async with Broker(None) as broker:
        async with in_memory(broker) as client:
            broker.redirect("other.example:1883", permanent=permanent)
            with pytest.raises(aiomqtt.MqttError) as caught:
                await asyncio.wait_for(anext(client.messages), SOON)
            assert caught.value.reason_code == code
        with pytest.raises(aiomqtt.MqttConnectError) as refused:
            await in_memory(broker).__aenter__()
        assert refused.value.rc == code
        with pytest.raises(aiomqtt.MqttConnectError) as refused:
            await in_memory(broker, 4).__aenter__()
        assert refused.value.rc == 3
        broker.redirect(None)
        async with in_memory(broker):
            pass


async def test_it_hangs_on_request():
    async with Broker() as broker:
        clients = [
            in_memory(broker, timeout=0.1),
            aiomqtt.Client(broker.host, broker.port, timeout=0.1),
        ]
        broker.pause()
        for client in clients:
            with pytest.raises(aiomqtt.MqttError, match="timed out"):
                await client.__aenter__()
        broker.resume()
        for client in clients:
            client.timeout = SOON
            async with client:
                broker.pause()
                with pytest.raises(aiomqtt.MqttError, match="timed out"):
                    await client.publish("t", b"", 1, timeout=0.05)
                broker.resume()
                await client.publish("t", b"", 1)


async def test_sys_topics_are_kept_up_to_date():
    async with Broker(None, sys_interval=0.05) as broker, in_memory(broker) as client:
        await client.subscribe("$SYS/broker/messages/received")
        assert await next_payload(client) == b"0"
        await client.publish("t", qos=1)
        assert await next_payload(client) == b"1"
    async with Broker(None, sys_interval=0) as broker, in_memory(broker) as client:
        await client.subscribe([("$SYS/#", 0), ("last", 0)])
        await client.publish("last", b"nothing else")
        assert await next_payload(client) == b"nothing else"


# --- who may do what ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        (True, None),
        (False, 0x86),
        (0x8A, 0x8A),
        (aiomqtt.ReasonCode(0x87), 0x87),
        (Refusal(0x9C, "over there", "other:1883"), 0x9C),
        (None, 0x80),  # a hook without a return lets nobody in
        ("yes", 0x80),
        (1, 0x80),
        (ZeroDivisionError("hook"), 0x80),
    ],
)
async def test_a_hook_decides_who_connects(caplog, verdict, code):
    asked: list[ClientInfo] = []

    async def authenticate(client: ClientInfo) -> Any:
        asked.append(client)
        await asyncio.sleep(0)
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    async with Broker(None, authenticate=authenticate) as broker:
        client = in_memory(broker, identifier="me", username="u", password="secret")
        if code is None:
            async with client:
                await client.publish("t", qos=1)
        else:
            with pytest.raises(aiomqtt.MqttConnectError) as caught:
                await client.__aenter__()
            assert caught.value.rc == code
            assert broker.sessions == set()
    assert [client.client_id for client in asked] == ["me"]
    assert asked[0].password == b"secret"
    assert ("failed" in caplog.text) == (code == 0x80)
    assert "secret" not in caplog.text


async def test_credentials(version):
    async with Broker(None, credentials={"u": "pä"}) as broker:
        async with in_memory(broker, version, username="u", password="pä"):
            pass
        for name, password, code in (
            ("u", "wrong", (0x86, 4)),
            ("u", None, (0x86, 4)),
            ("nobody", "pä", (0x86, 4)),
            ("nobody", "", (0x86, 4)),
            (None, None, (0x87, 5)),
        ):
            with pytest.raises(aiomqtt.MqttConnectError) as caught:
                await in_memory(
                    broker, version, username=name, password=password
                ).__aenter__()
            assert caught.value.rc == code[version < 5]


async def test_a_hook_decides_about_topics(version):
    async def authorize(client: ClientInfo, action: str, topic: str) -> bool | int:
        if topic == "broken":
            raise ZeroDivisionError
        if topic == "busy":
            return 0x97
        return topic.startswith(f"{client.username}/") or action == "subscribe"

    async with Broker(None, authorize=authorize) as broker:
        client = in_memory(broker, version, username="ann")
        async with client:
            await client.subscribe("#", 1)
            await client.publish("ann/a", b"1", 1)
            for topic, code in (("bob/a", 0x87), ("busy", 0x97), ("broken", 0x80)):
                for qos in (1, 2):
                    if version < 5:
                        await client.publish(topic, b"refused", qos)
                    else:
                        with pytest.raises(aiomqtt.MqttCodeError) as caught:
                            await client.publish(topic, b"refused", qos)
                        assert caught.value.rc == code
            await client.publish("bob/a", b"refused")
            await client.publish("ann/b", b"2", 2)
            assert [await next_payload(client) for _ in range(2)] == [b"1", b"2"]
            codes = await client.subscribe([("ok", 1), ("busy", 1)])
            assert [int(code) for code in codes] == [1, 0x97 if version == 5 else 0x80]


async def test_messages_keep_their_order_while_hooks_think():
    async def authorize(client: ClientInfo, action: str, topic: str) -> bool:
        for _ in range(int(topic) % 5 if topic.isdigit() else 0):
            await asyncio.sleep(0)
        return True

    async with (
        Broker(None, authorize=authorize) as broker,
        in_memory(broker) as client,
    ):
        await client.subscribe("+")
        for number in range(100):
            await client.publish(str(number), number)
        received = [await next_payload(client) for _ in range(100)]
    assert received == [str(number).encode() for number in range(100)]


async def test_a_client_that_leaves_while_a_hook_thinks():
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def authenticate(client: ClientInfo) -> bool:
        started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return True

    async with Broker(authenticate=authenticate) as broker:
        _, writer = await asyncio.open_connection(broker.host, broker.port)
        writer.write(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01x")
        await started.wait()
        broker.abort()
        async with asyncio.timeout(SOON):
            await cancelled.wait()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


# --- hostile and slow clients ---------------------------------------------------------


async def test_a_thousand_connections_more_than_there_may_be(caplog):
    caplog.set_level(logging.WARNING, "aiomqtt.broker")
    # Before those ten are given up, all the others have to be refused.
    limits = Limits(maximum_connections=10, connect_timeout=2)
    async with Broker(limits=limits) as broker:
        sockets = []
        for _ in range(200):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex((broker.host, broker.port))
            sockets.append(sock)
        await until(lambda: caplog.text.count("too many connections") >= 190)
        assert broker.statistics.connections == 10
        # Those that were let in say nothing, and make room.
        await until(lambda: broker.statistics.connections == 0)
        async with in_memory(broker) as client:
            await client.publish("t", qos=1)
        for sock in sockets:
            sock.close()


@pytest.mark.parametrize("qos", [0, 1])
async def test_a_client_that_never_reads_costs_no_more_than_the_limit(qos):
    limits = Limits(maximum_queued_bytes=1_000_000, maximum_queued_messages=500)
    async with Broker(limits=limits) as broker:
        sock = socket.create_connection((broker.host, broker.port))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(b"\x10\x10\x00\x04MQTT\x04\x02\x00\x00\x00\x04lazy")
        sock.sendall(b"\x82\x06\x00\x01\x00\x01t" + bytes((qos,)))
        await until(lambda: broker.statistics.subscriptions == 1)
        async with in_memory(broker) as good, in_memory(broker) as publisher:
            await good.subscribe("t", qos)
            count = 0
            async with asyncio.timeout(4 * SOON):
                while broker.statistics.messages_dropped < 100:
                    await publisher.publish("t", bytes(10_000), qos)
                    count += 1
                    while len(good.messages):
                        await anext(good.messages)
            (lazy,) = (
                connection
                for connection in broker._state.connections.values()  # type: ignore[union-attr]
                if connection.info.client_id == "lazy"
            )
            assert lazy.send_buffer.unsent < 2_000_000
            assert lazy.session is not None
            assert lazy.session.outbound.size < 2_000_000
        sock.close()


async def test_a_subscriber_that_is_slower_loses_nothing():
    """Its publisher has to wait, at any QoS."""
    async with Broker() as broker:
        reader, writer = await asyncio.open_connection(
            broker.host, broker.port, limit=4096
        )
        writer.write(b"\x10\x10\x00\x04MQTT\x04\x02\x00\x00\x00\x04slow")
        writer.write(b"\x82\x06\x00\x01\x00\x01t\x00")
        await reader.readexactly(4 + 5)
        frame = 2 + 1 + 3 + 1000
        count = 3000

        async def publish() -> None:
            async with aiomqtt.Client(broker.host, broker.port) as client:
                for _ in range(count):
                    await client.publish("t", bytes(1000))

        publishing = asyncio.create_task(publish())
        for _ in range(count):
            await reader.readexactly(frame)
        await publishing
        assert broker.statistics.messages_dropped == 0
        writer.close()
        await writer.wait_closed()


async def test_garbage_disturbs_nobody():
    async with Broker() as broker, in_memory(broker) as client:
        await client.subscribe("t")
        for number in range(50):
            reader, writer = await asyncio.open_connection(broker.host, broker.port)
            if number % 2:
                writer.write(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01x")
            writer.write(bytes((number * 37 % 256, number * 91 % 256)) * 40)
            writer.write_eof()
            async with asyncio.timeout(SOON):
                while await reader.read(1000):
                    pass
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await client.publish("t", b"still here")
        assert await next_payload(client) == b"still here"


async def test_enhanced_authentication_is_a_conversation(version):
    """In bytes, without our client."""
    if version < 5:
        return
    said: list[bytes | None] = []

    async def enhanced(exchange: Authentication) -> bytes | bool:
        said.append(exchange.data)
        assert exchange.method == "M"
        said.append(await exchange.challenge(b"who?"))
        return b"welcome" if said[-1] == b"me" else False

    connect = (
        b"\x10\x17\x00\x04MQTT\x05\x02\x00\x00\x09\x15\x00\x01M\x16\x00\x02hi\x00\x01x"
    )

    def auth(code: int, data: bytes) -> bytes:
        body = b"\x15\x00\x01M\x16\x00" + bytes((len(data),)) + data
        return bytes((0xF0, len(body) + 2, code, len(body))) + body

    async with Broker(enhanced_authentication=enhanced) as broker:
        for answer in (b"me", b"you"):
            reader, writer = await asyncio.open_connection(broker.host, broker.port)
            writer.write(connect)
            assert await reader.readexactly(15) == auth(0x18, b"who?")
            writer.write(auth(0x18, answer))
            head = await reader.readexactly(2)
            connack = await reader.readexactly(head[1])
            if answer == b"me":
                assert connack[1] == 0
                assert b"welcome" in connack
                # And again, on the living connection.
                writer.write(auth(0x19, b"again"))
                assert await reader.readexactly(15) == auth(0x18, b"who?")
                writer.write(auth(0x18, b"me"))
                assert await reader.readexactly(18) == auth(0x00, b"welcome")
            else:
                assert connack[1] == 0x87
            writer.close()
            await writer.wait_closed()
    assert said == [b"hi", b"me", b"again", b"me", b"hi", b"you"]
