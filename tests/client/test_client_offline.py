"""Publishing without a connection: wait for one, queue, or fail.

A test connects the client again by itself, so that it decides how long there is no
connection.
"""

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import pytest

from aiomqtt import Client, MqttCodeError, MqttError, OfflineQueue, Properties
from tests.continuous import dial, enter, watch_of
from tests.driving import calls_of
from tests.peer import PUBLISH, RawPeer, RawServer, serve
from tests.raw_scripts import (
    CEILING,
    SMALL_SEND_BUFFER,
    Published,
    accept,
    all_done,
    cancelled_after,
    expect_publish,
    gone,
    lasting,
    new_client,
    polite,
    serve_politely,
    stop_reading,
    take_apart,
    turns,
    within,
)

MODES = ["wait", "queue", "fail"]


def offline_client(
    server: RawServer,
    version: int = 5,
    offline: Any = None,
    make: Any = new_client,
    **options: Any,
) -> Client:
    client: Client = make(server, version, reconnect=True, offline=offline, **options)
    return client


def cut(version: int = 5, count: int = 1) -> Any:
    """A script that ends the connection after so many messages, unanswered."""

    async def script(peer: RawPeer) -> None:
        await accept(peer, version)
        for _ in range(count):
            await peer.expect(PUBLISH)
        peer.abort()

    return script


class Record:
    """A script that answers everything, and records the messages."""

    def __init__(self, version: int = 5) -> None:
        self.version = version
        self.published: list[Published] = []

    async def __call__(self, peer: RawPeer) -> None:
        await accept(peer, self.version)
        for first, body in await serve_politely(peer, self.version):
            if first >> 4 == PUBLISH:
                self.published.append(take_apart(first, body, self.version))

    @property
    def payloads(self) -> list[bytes]:
        return [published.payload for published in self.published]


@asynccontextmanager
async def disconnected(client: Client) -> Any:
    """Enter the client, and lose its connection to the script `cut`."""
    enter(client)
    try:
        await dial(client)
        client.publish_nowait("cut")
        await watch_of(client).wait_until_lost()
        assert calls_of(client).is_waiting_for_connection
        yield
    finally:
        await within(client.__aexit__(None, None, None))


# --- wait, queue, fail ------------------------------------------------------------


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_call_waits_for_the_next_connection(version, qos):
    record = Record(version)
    async with serve(cut(version), record) as server:
        client = offline_client(server, version)
        async with disconnected(client):
            task = asyncio.create_task(client.publish("t", b"1", qos))
            other = asyncio.create_task(client.publish_many([("t", b"2", qos)]))
            await turns()
            assert not task.done()
            assert not other.done()
            assert client.pending_messages() == ()
            await dial(client)
            await within(task)
            assert await within(other) == 1
    assert record.payloads == [b"1", b"2"]


async def test_a_call_waits_no_longer_than_its_timeout():
    async with serve(cut()) as server:
        client = offline_client(server)
        async with disconnected(client):
            with pytest.raises(MqttError, match="^Operation timed out$") as raised:
                await client.publish("t", b"", 1, timeout=0.01)
            assert "there was no connection within 0.01 seconds" in str(
                raised.value.__cause__
            )
            assert not raised.value.is_in_session
            with pytest.raises(MqttError, match="^Operation timed out"):
                await client.publish_many([("t", b"", 1)], timeout=0.01)
            assert calls_of(client).waiting_for_room == 0


async def test_messages_are_queued_and_sent_in_order(version):
    record = Record(version)
    async with serve(cut(version), record) as server:
        client = offline_client(server, version, "queue")
        async with disconnected(client):
            receipts = []
            for n in range(9):
                if n % 2:
                    await within(client.publish("t", b"%d" % n, n % 3))
                else:
                    receipts.append(client.publish_nowait("t", b"%d" % n, n % 3))
            assert (
                await within(client.publish_many([("t", b"9"), ("t", b"10", 1)])) == 2
            )
            assert [receipt.outcome for receipt in receipts] == [None] * 5
            assert [item.qos for item in client.pending_messages()] == [
                0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1,
            ]  # fmt: skip
            assert client.statistics.queued_messages == 11
            waiting = asyncio.gather(*receipts)
            await dial(client)
            await within(waiting)
            await all_done(client)
            assert {receipt.outcome for receipt in receipts} == {"delivered"}
    assert record.payloads == [b"%d" % n for n in range(11)]


async def test_a_call_fails_at_once():
    async with serve(cut()) as server:
        client = offline_client(server, offline="fail")
        async with disconnected(client):
            why = calls_of(client).error
            for publish in (
                lambda: client.publish("t", b"", 1),
                lambda: client.publish("t"),
                lambda: client.publish_many([("t", b"", 1)]),
            ):
                with pytest.raises(MqttCodeError, match='offline="queue"') as raised:
                    await within(publish())
                assert raised.value.rc == 4
                assert raised.value.__cause__ is why
                assert not raised.value.is_in_session
            assert (raised.value.position, raised.value.accepted) == (0, 0)
            with pytest.raises(MqttCodeError, match="is not currently connected"):
                client.publish_nowait("t")
            assert client.pending_messages() == ()


async def test_without_waiting_there_must_be_a_queue():
    async with serve(cut()) as server:
        client = offline_client(server)
        async with disconnected(client):
            with pytest.raises(MqttCodeError, match="is not currently connected"):
                client.publish_nowait("t", b"", 1)


@pytest.mark.parametrize("default", MODES)
@pytest.mark.parametrize("mode", MODES)
async def test_each_call_may_decide_otherwise(default, mode):
    async with serve(cut()) as server:
        client = offline_client(server, offline=default)
        async with disconnected(client):
            tasks = [
                asyncio.create_task(client.publish("t", b"", 1, offline=mode)),
                asyncio.create_task(client.publish_many([("t",)], offline=mode)),
            ]
            await turns(5)
            assert [task.done() for task in tasks] == [mode != "wait"] * 2
            if mode == "queue":
                assert [task.result() for task in tasks] == [None, 1]
                receipt = client.publish_nowait("t", b"", 1, offline=mode)
                assert receipt.outcome is None
            else:
                with pytest.raises(MqttCodeError, match="not currently connected"):
                    client.publish_nowait("t", b"", 1, offline=mode)
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            if mode == "fail":
                assert {type(result) for result in results} == {MqttCodeError}


@pytest.mark.parametrize("mode", MODES)
async def test_with_a_connection_the_mode_makes_no_difference(mode):
    record = Record()
    async with serve(record) as server:
        client = offline_client(server, offline=mode)
        enter(client)
        await dial(client)
        for qos in (0, 1, 2):
            await within(client.publish("t", b"%d" % qos, qos))
            await within(client.publish_nowait("t", b"%d" % qos, qos))
        messages = [("t", b"%d" % n, n % 3) for n in range(300)]
        assert await within(client.publish_many(messages)) == 300
        await client.__aexit__(None, None, None)
        assert len(record.published) == 306


# --- arguments --------------------------------------------------------------------


async def test_an_unknown_mode_is_refused():
    async with serve(polite(5)) as server:
        client = offline_client(server)
        wrong: list[tuple[type[Exception], Any]] = [
            (ValueError, "drop"),
            (TypeError, OfflineQueue()),
        ]
        for error, mode in wrong:
            with pytest.raises(error, match="offline must be"):
                await client.publish("t", offline=mode)
            with pytest.raises(error, match="offline must be"):
                await client.publish_many([], offline=mode)
            with pytest.raises(error, match="offline must be"):
                client.publish_nowait("t", offline=mode)


async def test_a_client_that_does_not_reconnect_has_no_mode():
    async with serve(polite(5)) as server, new_client(server, 5) as client:
        with pytest.raises(ValueError, match="pass reconnect=True as well"):
            await client.publish("t", offline="queue")
        with pytest.raises(ValueError, match="pass reconnect=True as well"):
            await client.publish_many([], offline="wait")
        with pytest.raises(ValueError, match="pass reconnect=True as well"):
            client.publish_nowait("t", offline="fail")


async def test_wrong_arguments_raise_and_nothing_is_queued():
    async with serve(cut()) as server:
        client = offline_client(server, offline="queue")
        async with disconnected(client):
            alias = Properties(topic_alias=1)
            for arguments in (("#",), ("t", b"", 3), ("", b"", 1, False, alias)):
                with pytest.raises(ValueError, match=r"topic|qos"):
                    await client.publish(*arguments)
                with pytest.raises(ValueError, match=r"topic|qos"):
                    client.publish_nowait(*arguments)
            with pytest.raises(ValueError, match="topic") as raised:
                await client.publish_many([("t", b"1"), ("#",)])
            assert "at message 1 of publish_many" in raised.value.__notes__
            assert len(client.pending_messages()) == 1


# --- the connection ends while a call waits -----------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("qos", [1, 2])
async def test_the_connection_ends_before_the_acknowledgement(mode, qos):
    record = Record()
    async with serve(cut(count=3), record) as server:
        client = offline_client(server, offline=mode)
        enter(client)
        await dial(client)
        tasks = [
            asyncio.create_task(client.publish("t", b"1", qos)),
            asyncio.create_task(client.publish_many([("t", b"2", qos)])),
        ]
        await turns()
        receipt = client.publish_nowait("t", b"3", qos)
        await watch_of(client).wait_until_lost()
        await turns(5)
        assert [task.done() for task in tasks] == [mode != "wait"] * 2
        if mode == "queue":
            assert [task.result() for task in tasks] == [None, 1]
        elif mode == "fail":
            for task in tasks:
                with pytest.raises(MqttError, match="lost") as raised:
                    await task
                assert raised.value.is_in_session
        # In any case the message is sent again.
        assert len(client.pending_messages()) == 3
        await dial(client)
        await within(receipt)
        await all_done(client)
        if mode == "wait":
            assert await asyncio.gather(*tasks) == [None, 1]
        await client.__aexit__(None, None, None)
        assert record.payloads == [b"1", b"2", b"3"]


async def test_leaving_waits_for_a_message_whose_connection_ended():
    answered = asyncio.Event()

    async def answer_late(peer: RawPeer) -> None:
        await accept(peer, 5)
        _, body = await peer.expect(PUBLISH)
        await asyncio.sleep(0.1)
        answered.set()
        peer.send(b"\x40\x02" + body[3:5])
        await gone(peer)

    async with serve(cut(), answer_late) as server:
        client = offline_client(server, offline="queue", make=lasting)
        enter(client)
        await dial(client)
        await within(client.publish("t", b"1", 1))
        await dial(client)
        await within(client.__aexit__(None, None, None))
        assert answered.is_set()
        assert client.pending_messages() == ()


@pytest.mark.parametrize("mode", MODES)
async def test_the_connection_ends_before_there_is_room(mode):
    go_on = asyncio.Event()
    record = Record()

    async def full(peer):
        await accept(peer, 5)
        stop_reading(peer)
        await within(go_on.wait())
        peer.abort()

    async with serve(full, record) as server:
        client = offline_client(server, offline=mode, socket_options=SMALL_SEND_BUFFER)
        enter(client)
        await dial(client)
        while not calls_of(client).is_congested:
            await client.publish("fill", bytes(100_000))
        tasks = [
            asyncio.create_task(client.publish("t", b"1", 1)),
            asyncio.create_task(client.publish_many([("t", b"2", 1)])),
        ]
        await turns()
        assert calls_of(client).waiting_for_room == 2
        go_on.set()
        await watch_of(client).wait_until_lost()
        await turns(5)
        assert [task.done() for task in tasks] == [mode != "wait"] * 2
        if mode == "fail":
            for task in tasks:
                with pytest.raises(MqttCodeError, match="not currently connected"):
                    await task
        await dial(client)
        if mode != "fail":
            assert await within(asyncio.gather(*tasks)) == [None, 1]
        await all_done(client)
        await client.__aexit__(None, None, None)
        assert sorted(record.payloads) == ([] if mode == "fail" else [b"1", b"2"])


async def test_a_batch_goes_on_by_itself_when_there_is_a_connection_again():
    record = Record()
    go_on = asyncio.Event()
    async with serve(cut(), record) as server:
        client = offline_client(server, offline="queue")
        async with disconnected(client):

            def messages():
                for n in range(1000):
                    if n == 500:
                        go_on.set()
                    yield "t", b"%d" % n, n % 3

            task = asyncio.create_task(client.publish_many(messages()))
            await within(go_on.wait())
            assert not task.done()
            await dial(client)
            assert await within(task) == 1000
            await all_done(client)
    # QoS 0 does not wait for the quota of the others.
    payloads = [int(payload) for payload in record.payloads]
    for qos in (0, 1, 2):
        assert [n for n in payloads if n % 3 == qos] == list(range(qos, 1000, 3))


# --- limits -----------------------------------------------------------------------


async def test_a_full_queue_refuses():
    record = Record()
    async with serve(cut(), record) as server:
        client = offline_client(server, offline=OfflineQueue(max_messages=3))
        async with disconnected(client):
            kept = client.publish_nowait("t", b"0", 1)
            with pytest.raises(MqttCodeError, match="as max_messages allows") as raised:
                await within(client.publish_many([("t", b"%d" % n) for n in range(5)]))
            assert (raised.value.rc, raised.value.position) == (15, 2)
            assert raised.value.accepted == 2
            with pytest.raises(MqttCodeError, match="as max_messages allows"):
                await client.publish("t", b"", 2)
            with pytest.raises(MqttCodeError, match="as max_messages allows"):
                client.publish_nowait("t")
            await dial(client)
            await within(kept)
            await client.publish("t", b"last", 1)
    assert record.payloads == [b"0", b"0", b"1", b"last"]


async def test_the_oldest_make_way_and_the_log_says_so_once(caplog):
    limits = OfflineQueue(max_messages=10, overflow="drop_oldest")
    record = Record()
    async with serve(cut(), cut(count=10), record) as server:
        client = offline_client(server, offline=limits)
        async with disconnected(client):
            first = client.publish_nowait("t", b"first", 1)
            waiting = asyncio.ensure_future(first)
            for n in range(1000):
                await client.publish("t", b"%d" % n, 1)
            with pytest.raises(MqttError, match='its overflow is "drop_oldest"'):
                await within(waiting)
            assert first.outcome == "dropped"
            (logged,) = caplog.records
            assert "without a connection is full: the oldest" in logged.getMessage()
            assert client.statistics.messages_dropped == 991
            await dial(client)
            await watch_of(client).wait_until_lost()
            for n in range(1000, 1010):
                # Those that were sent stay.
                with pytest.raises(MqttCodeError, match="as max_messages allows"):
                    await client.publish("t", b"%d" % n, 1)
            await dial(client)
            await all_done(client)
    assert record.payloads == [b"%d" % n for n in range(990, 1000)]


async def test_each_time_without_a_connection_has_one_warning(caplog):
    limits = OfflineQueue(max_messages=1, overflow="drop_oldest")
    async with serve(cut(), cut(), polite(5)) as server:
        client = offline_client(server, offline=limits)
        async with disconnected(client):
            for _ in range(2):
                for _ in range(10):
                    await client.publish("t")
                await dial(client)
                await watch_of(client).wait_until_lost()
                break
            await client.publish("t")
            await client.publish("t")
            assert len(caplog.records) == 2
            await dial(client)


async def test_qos_0_may_be_dropped():
    record = Record()
    async with serve(cut(), record) as server:
        client = offline_client(server, offline=OfflineQueue(qos0="drop"))
        async with disconnected(client):
            await client.publish("t", b"dropped")
            receipt = client.publish_nowait("t", b"dropped")
            assert (receipt.done(), receipt.outcome) == (True, "dropped")
            with pytest.raises(MqttError, match='the queue has qos0="drop"'):
                await receipt
            await client.publish("t", b"kept", 1)
            await dial(client)
            await all_done(client)
            await client.publish("t", b"sent")
    assert record.payloads == [b"kept", b"sent"]


async def test_the_bound_of_unfinished_messages_holds_as_well():
    async with serve(cut()) as server:
        client = offline_client(server, offline="queue", max_queued_outgoing_messages=1)
        async with disconnected(client):
            await client.publish("t", b"", 0)
            await client.publish("t", b"", 1)
            await client.publish("t", b"", 0)
            with pytest.raises(MqttCodeError, match="1 are unfinished already"):
                await client.publish("t", b"", 2)


# --- messages that wait too long ---------------------------------------------------


async def test_a_message_expires_in_the_queue():
    record = Record()
    properties = Properties(message_expiry_interval=1)
    async with serve(cut(), record) as server:
        client = offline_client(server, offline="queue")
        async with disconnected(client):
            receipts = [
                client.publish_nowait("t", b"old", qos, properties=properties)
                for qos in (0, 1, 2)
            ]
            kept = client.publish_nowait("t", b"new", 1)
            for receipt in receipts:
                with pytest.raises(MqttError, match="its message_expiry_interval pass"):
                    await within(receipt)
                assert receipt.outcome == "expired"
            assert kept.outcome is None
            await dial(client)
            await within(kept)
    assert record.payloads == [b"new"]


async def test_a_message_expires_while_its_call_waits():
    record = Record()
    properties = Properties(message_expiry_interval=1)
    async with serve(cut(), record) as server:
        client = offline_client(server)
        async with disconnected(client):
            calls = [
                client.publish("t", b"old", qos, properties=properties)
                for qos in (0, 1, 2)
            ]
            results = await within(asyncio.gather(*calls, return_exceptions=True))
            assert [type(result) for result in results] == [MqttError] * 3
            assert all("message_expiry_interval passed" in str(e) for e in results)
            # The timeout may come first.
            with pytest.raises(MqttError, match="^Operation timed out$"):
                await client.publish("t", properties=properties, timeout=0.01)
            await dial(client)
            await within(client.publish("t", b"new", 1))
    assert record.payloads == [b"new"]


def lifetime(published: Published) -> int:
    assert published.properties[0] == 2  # Message Expiry Interval
    return int.from_bytes(published.properties[1:5], "big")


async def test_the_interval_counts_down_while_a_message_waits():
    record = Record()
    properties = Properties(message_expiry_interval=100)
    async with serve(cut(), record) as server:
        client = offline_client(server)
        async with disconnected(client):
            for qos in (0, 1):
                arguments = "t", b"", qos, False, properties
                await client.publish(*arguments, offline="queue")
            tasks = [
                asyncio.create_task(client.publish("t", b"", qos, False, properties))
                for qos in (0, 1)
            ]
            # More than a second, so that a clock in milliseconds sees it as well.
            await asyncio.sleep(1.05)
            await dial(client)
            await within(asyncio.gather(*tasks))
            await all_done(client)
            await client.publish("t", b"", 1, False, properties)
    *waited, fresh = record.published
    assert len(waited) == 4
    assert all(1 <= lifetime(published) < 100 for published in waited)
    assert lifetime(fresh) == 100


async def test_a_message_gets_too_old_for_the_queue(version):
    record = Record(version)
    async with serve(cut(version), record) as server:
        client = offline_client(server, version, OfflineQueue(max_age=0.05))
        async with disconnected(client):
            receipts = [client.publish_nowait("t", b"old", qos) for qos in (0, 1, 2)]
            for receipt in receipts:
                with pytest.raises(MqttError, match="for longer than the max_age"):
                    await within(receipt)
                assert receipt.outcome == "dropped"
            await dial(client)
            await within(client.publish("t", b"new", 1))
            assert client.statistics.messages_dropped == 3
    assert record.payloads == [b"new"]


async def test_a_message_that_waits_for_the_quota_gets_too_old_as_well():
    """What waited behind it, with QoS 0, is sent when it is dropped."""

    async def silent(peer):
        await accept(peer, 5, properties=b"\x21\x00\x01")  # Receive Maximum: 1
        came = [await expect_publish(peer, 5), await expect_publish(peer, 5)]
        assert [published.payload for published in came] == [b"1", b"3"]
        await gone(peer)

    async with serve(cut(), silent) as server:
        client = offline_client(server, offline=OfflineQueue(max_age=1000))
        async with disconnected(client):
            sent = client.publish_nowait("t", b"1", 1)
            old = client.publish_nowait("t", b"2", 1)
            await asyncio.sleep(0.01)
            follows = client.publish_nowait("t", b"3", 0)
            await dial(client)
            assert not follows.done()
            offline = calls_of(client).offline
            assert offline is not None
            due = offline._messages.deadline()
            assert due is not None
            # As if its time had come.
            offline._expire(due)
            await within(follows)
            assert (sent.outcome, old.outcome) == (None, "dropped")


# --- leaving ----------------------------------------------------------------------


async def test_leaving_without_a_connection_ends_what_waits():
    async with serve(cut()) as server:
        client = offline_client(server, offline=OfflineQueue(max_age=1000))
        enter(client)
        await dial(client)
        client.publish_nowait("cut")
        await watch_of(client).wait_until_lost()
        receipt = client.publish_nowait("t", b"", 1)
        lost = asyncio.ensure_future(receipt)
        waits = asyncio.create_task(client.publish("t", b"", 1, offline="wait"))
        await turns()
        await within(client.__aexit__(None, None, None))
        for task in (lost, waits):
            with pytest.raises(MqttError):
                await within(task)
        assert receipt.outcome == "session lost"
        assert client.statistics.messages_lost == 1
        with pytest.raises(MqttCodeError, match="not currently connected"):
            client.publish_nowait("t", b"", 1)


@pytest.mark.parametrize("version", [4, 5])
async def test_in_a_session_that_lasts_the_queue_waits_for_the_next_entry(version):
    record = Record(version)
    async with serve(cut(version), record) as server:
        client = offline_client(server, version, "queue", lasting)
        async with disconnected(client):
            receipts = [client.publish_nowait("t", b"%d" % n, n) for n in range(3)]
        assert [receipt.outcome for receipt in receipts] == [None] * 3
        enter(client)
        await dial(client)
        await within(asyncio.gather(*receipts))
        await client.__aexit__(None, None, None)
    assert record.payloads == [b"0", b"1", b"2"]


async def test_leaving_sends_what_waits_for_its_turn():
    """With a connection, leaving waits until the queue is empty and acknowledged."""
    record = Record(4)
    async with serve(cut(4), record) as server:
        client = offline_client(server, 4, "queue")
        async with disconnected(client):
            for n in range(500):
                await client.publish("t", b"%d" % n, 1)
            await dial(client)
    assert record.payloads == [b"%d" % n for n in range(500)]
    assert client.pending_messages() == ()


async def test_while_leaving_nothing_is_queued():
    async def silent(peer):
        await accept(peer, 5)
        await expect_publish(peer, 5)
        await within(go_on.wait())
        peer.abort()

    go_on = asyncio.Event()
    async with serve(silent) as server:
        client = offline_client(server, offline="queue")
        enter(client)
        await dial(client)
        client.publish_nowait("t", b"", 1)
        leaving = asyncio.create_task(client.__aexit__(None, None, None))
        await turns()
        with pytest.raises(MqttCodeError, match="being left"):
            await within(client.publish("t", b"", 1))
        go_on.set()
        await within(leaving)


# --- cancellation ------------------------------------------------------------------


@pytest.mark.parametrize("steps", range(6))
@pytest.mark.parametrize("mode", MODES)
async def test_cancelling_at_any_step_leaves_nothing_or_one_message(mode, steps):
    record = Record()
    async with serve(cut(), record) as server:
        client = offline_client(server, offline=mode)
        async with disconnected(client):
            await cancelled_after(steps, client.publish("t", b"1", 1))
            await cancelled_after(steps, client.publish_many([("t", b"2", 1)] * 3))
            calls = calls_of(client)
            assert calls.waiting_for_room == calls.waiting == 0
            assert not calls._hasty
            queued = [item.payload for item in client.pending_messages()]
            if mode != "queue":
                assert queued == []
            await dial(client)
            await within(client.publish("t", b"last", 1))
    assert record.payloads == [*queued, b"last"]


@pytest.mark.parametrize("steps", range(12))
@pytest.mark.parametrize("mode", MODES)
async def test_cancelling_while_the_connection_ends_and_comes_back(mode, steps):
    record = Record()
    async with serve(cut(count=1), record) as server:
        client = offline_client(server, offline=mode)
        enter(client)
        await dial(client)
        task = asyncio.create_task(client.publish("t", b"1", 1))
        await watch_of(client).wait_until_lost()
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=CEILING)
        assert task.done()
        await dial(client)
        await within(client.publish("t", b"2", 1))
        await all_done(client)
        calls = calls_of(client)
        assert calls.waiting_for_room == calls.waiting == 0
        assert not calls._hasty
        await client.__aexit__(None, None, None)
        # It was sent once, so it is sent again.
        assert record.payloads == [b"1", b"2"]
