"""The unacknowledged messages of a session can be listed and dropped."""

import asyncio

import pytest

from aiomqtt import MqttError, PendingMessage, Properties
from tests.peer import PUBACK, PUBLISH, PUBREC, PUBREL, serve
from tests.raw_scripts import (
    CEILING,
    accept,
    ack_bytes,
    expect_publish,
    gone,
    goodbye,
    lasting,
    new_client,
    polite,
    turns,
    within,
)


def silent(version, *, answers=()):
    """A script that accepts, reads so many packets, answers, and waits for the end."""

    async def script(peer):
        await accept(peer, version)
        for packet in answers:
            await peer.expect(PUBLISH)
            if packet:
                peer.send(packet)
        await gone(peer)

    return script


@pytest.fixture(params=[4, 5], ids=["3.1.1", "5.0"])
def level(request):
    return request.param


async def leave_behind(client, *publishes, states=None):
    """Enter, publish without waiting, and leave before all is answered.

    Args:
        client: The client.
        *publishes: Arguments of `publish_nowait`.
        states: What the states of the pending messages are to become before.
    """
    receipts = []
    with pytest.raises(ZeroDivisionError):
        async with client:
            receipts += [client.publish_nowait(*publish) for publish in publishes]
            await asyncio.sleep(0.05)
            async with asyncio.timeout(CEILING):
                while states and states != [  # noqa: ASYNC110
                    message.state for message in client.pending_messages()
                ]:
                    await asyncio.sleep(0.01)
            raise ZeroDivisionError
    return receipts


async def test_what_is_pending_can_be_listed(level):
    properties = Properties(content_type="x") if level == 5 else None
    answers = [None, ack_bytes(PUBREC, 2)]
    async with serve(silent(level, answers=answers)) as server:
        client = lasting(server, level, max_inflight_messages=2)
        assert client.pending_messages() == ()
        await leave_behind(
            client,
            ("a/1", "one", 1, True, properties),
            ("a/2", "two", 2),
            ("a/3", "three", 2),
            ("a/0", "none", 0),
            states=["released", "sent", "queued"],
        )
        released, sent, queued = client.pending_messages()
    assert str(sent.topic) == "a/1"
    assert (sent.payload, sent.qos, sent.retain) == (b"one", 1, True)
    assert (sent.packet_id, sent.state, sent.properties) == (1, "sent", properties)
    assert sent.size > len("a/1" + "one")
    assert (released.topic, released.payload, released.retain) == (None, None, None)
    assert (released.packet_id, released.state, released.size) == (2, "released", 0)
    assert released.properties is None
    assert str(queued.topic) == "a/3"
    assert (queued.packet_id, queued.state, queued.payload) == (
        None,
        "queued",
        b"three",
    )
    assert "topic='a/3', qos=2, retain=False, packet_id=None" in repr(queued)
    assert "topic=None" in repr(released)
    assert "three" not in repr(queued)


async def test_a_pending_message_is_a_value():
    async with serve(silent(4, answers=[None] * 2)) as server:
        client = lasting(server, 4)
        await leave_behind(client, ("a", "1", 1), ("b", "2", 1))
        first, second = client.pending_messages()
    assert client.pending_messages() == (first, second)
    assert first != second
    assert first != "a"
    assert len({first, second, *client.pending_messages()}) == 2
    with pytest.raises(AttributeError, match="qos"):
        first.qos = 2  # type: ignore[misc]
    with pytest.raises(AttributeError, match="qos"):
        del first.qos  # type: ignore[misc]


async def test_a_message_that_the_broker_never_takes_can_be_dropped(level):
    """It closes the connection at it each time: nothing behind it gets through."""

    async def refuses(peer):
        await accept(peer, level, session_present=int(len(server.peers) > 1))
        while (await expect_publish(peer, level)).payload != b"poison":
            pass
        peer.abort()

    async def relieved(peer):
        await accept(peer, level, session_present=1)
        published = await expect_publish(peer, level)
        assert published.payload == b"good"
        peer.send(ack_bytes(PUBACK, published.packet_id))
        await goodbye(peer)

    async with serve(refuses, refuses, relieved) as server:
        client = lasting(server, level)
        for attempt in range(2):
            async with client:
                if not attempt:
                    client.publish_nowait("t", "poison", 1)
                    good = client.publish_nowait("t", "good", 1)
                with pytest.raises(MqttError):
                    await within(anext(client.messages))
        (poison,) = [
            item for item in client.pending_messages() if item.payload == b"poison"
        ]
        assert client.drop(poison) is True
        assert client.drop(poison) is False
        async with client:
            await within(good)
        assert client.pending_messages() == ()


async def test_a_receipt_of_a_dropped_message_says_so(level):
    async with serve(silent(level, answers=[None] * 2), polite(level)) as server:
        client = lasting(server, level)
        receipts = await leave_behind(client, ("a", "1", 1), ("a", "2", 2))
        assert client.drop_pending() == 2
        assert client.drop_pending() == 0
        for receipt in receipts:
            assert receipt.done()
            assert receipt.reason_code is None
            assert receipt.outcome == "dropped"
            with pytest.raises(MqttError, match="dropped from the session"):
                await receipt
        async with client:
            for receipt in receipts:
                with pytest.raises(MqttError, match="dropped from the session"):
                    await receipt


@pytest.mark.parametrize("qos", [1, 2])
async def test_whoever_waits_for_a_dropped_message_is_told(level, qos, caplog):
    async with (
        serve(silent(level, answers=[None] * 3)) as server,
        new_client(server, level, timeout=3600) as client,
    ):
        receipt = client.publish_nowait("a", "1", qos)
        waiting = [
            asyncio.create_task(client.publish("a", "2", qos)),
            asyncio.create_task(client.publish_many([("a", "3", qos)])),
            asyncio.ensure_future(receipt),
        ]
        await turns()
        assert client.drop_pending() == 3
        for task in waiting:
            with pytest.raises(MqttError, match="dropped from the session") as caught:
                await within(task)
        assert caught.value.reason_code is None
        # Leaving has nothing left to wait for.
        await within(client.disconnect())
    assert "refused" not in caplog.text


async def test_what_waits_for_the_quota_can_be_dropped(level):
    async def script(peer):
        await accept(peer, level)
        await peer.expect(PUBLISH)
        await within(dropped.wait())
        peer.send(ack_bytes(PUBREC, 1))
        assert await peer.expect(PUBREL) == (0x62, b"\x00\x01")
        await goodbye(peer)

    dropped = asyncio.Event()
    async with serve(script) as server:
        # Enough to enter on a busy machine; the exit takes it all.
        client = new_client(server, level, max_inflight_messages=1, timeout=1)
        async with client:
            for payload in ("sent", "queued"):
                client.publish_nowait("a", payload, 2)
            await asyncio.sleep(0.05)
            _, queued = client.pending_messages()
            assert queued.state == "queued"
            assert client.drop(queued)
            dropped.set()


async def test_a_message_of_another_client_is_left_alone():
    async with serve(silent(4, answers=[None]), silent(4, answers=[None])) as server:
        clients = [lasting(server, 4) for _ in range(2)]
        for client in clients:
            await leave_behind(client, ("a", "1", 1))
        (message,) = clients[0].pending_messages()
        assert clients[1].drop(message) is False
        assert clients[0].drop(message) is True
        with pytest.raises(TypeError, match="message"):
            clients[0].drop("a")  # type: ignore[arg-type]


async def test_a_session_that_ends_with_the_connection_owes_nothing(version):
    async with serve(silent(version, answers=[None])) as server:
        client = new_client(server, version)
        await leave_behind(client, ("a", "1", 1))
        assert client.pending_messages() == ()


async def test_the_listing_tells_what_was_so_when_it_was_made():
    async def script(peer):
        await accept(peer)
        await peer.expect(PUBLISH)
        await within(listed.wait())
        peer.send(ack_bytes(PUBACK, 1))
        await goodbye(peer)

    listed = asyncio.Event()
    async with serve(script) as server, new_client(server) as client:
        receipt = client.publish_nowait("a/b", "x", 1)
        (message,) = client.pending_messages()
        listed.set()
        await within(receipt)
        assert client.pending_messages() == ()
        assert (str(message.topic), message.payload, message.state) == (
            "a/b", b"x", "sent",
        )  # fmt: skip
        assert client.drop(message) is False
        assert isinstance(message, PendingMessage)
