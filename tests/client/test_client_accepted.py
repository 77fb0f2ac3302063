"""Whether a publish that failed is in the session, or has to be published again."""

import asyncio
import itertools
from typing import Any

import pytest

from aiomqtt import Client, MqttCodeError, MqttError, Properties
from tests.peer import DISCONNECT, PUBACK, PUBLISH, serve
from tests.raw_scripts import (
    SMALL_SEND_BUFFER,
    accept,
    ack_bytes,
    answer,
    expect_publish,
    gone,
    goodbye,
    lasting,
    new_client,
    publish_bytes,
    resume_reading,
    serve_politely,
    stop_reading,
    take_apart,
    turns,
    within,
)

COUNT = 60
BIG = 200_000
names = itertools.count()


@pytest.fixture(params=["tcp", "memory"])
def transport(request):
    return request.param


@pytest.fixture(params=[4, 5], ids=["3.1.1", "5.0"])
def level(request):
    return request.param


def lasting_over(server: Any, transport: str, version: int) -> Client:
    """A client whose session outlives its connections, over a transport.

    The network takes far fewer bytes than the 20 messages that may be in flight have:
    were it to take these, all other messages would be in the session's queue at once.
    """
    if transport == "tcp":
        return lasting(server, version, timeout=30, socket_options=SMALL_SEND_BUFFER)
    options: dict[str, Any] = (
        {"properties": Properties(session_expiry_interval=60)}
        if version == 5
        else {"clean_session": False}
    )
    return Client(
        server.name,
        transport="memory",
        protocol=version,
        identifier="me",
        timeout=30,
        **options,
    )


def payload(number: int) -> bytes:
    return number.to_bytes(2, "big") + bytes(BIG)


def collecting(came: list[int], version: int) -> Any:
    """A script that goes on with the session and notes the messages that come."""

    async def script(peer):
        await accept(peer, version, session_present=1)
        for first, body in await serve_politely(peer, version):
            if first >> 4 == PUBLISH:
                published = take_apart(first, body, version)
                if published.topic == "a":
                    came.append(int.from_bytes(published.payload[:2], "big"))

    return script


async def drain(client: Client) -> None:
    """Enter again, and leave when all that the session had is done."""
    async with client:
        await within(client.publish("last", qos=1))


async def test_when_the_connection_ends_each_publish_is_accepted_or_not(
    level, transport
):
    came: list[int] = []
    cut = asyncio.Event()

    async def ends(peer):
        await accept(peer, level)
        stop_reading(peer)
        await within(cut.wait())
        peer.abort()

    name = f"accepted-{next(names)}"
    async with serve(ends, collecting(came, level), name=name) as server:
        client = lasting_over(server, transport, level)
        with pytest.raises(MqttError):
            async with client:
                calls = [
                    asyncio.create_task(client.publish("a", payload(number), 1))
                    for number in range(COUNT)
                ]
                await turns()  # all of them have begun
                cut.set()
                errors = await within(asyncio.gather(*calls, return_exceptions=True))
                raise MqttError
        assert all(isinstance(error, MqttError) for error in errors)
        accepted = [n for n, error in enumerate(errors) if error.is_in_session]
        assert 0 < len(accepted) < COUNT
        await drain(client)
    # Those, in order, and none of the others.
    assert came == accepted


async def test_at_a_timeout_each_publish_is_accepted_or_not(level, transport):
    """Messages in the session still arrive, the others never."""
    came: list[int] = []
    go_on = asyncio.Event()

    async def script(peer):
        await accept(peer, level)
        stop_reading(peer)
        await within(go_on.wait())
        resume_reading(peer)
        for first, body in await serve_politely(peer, level):
            if first >> 4 == PUBLISH:
                published = take_apart(first, body, level)
                if published.topic == "a":
                    came.append(int.from_bytes(published.payload[:2], "big"))

    name = f"accepted-{next(names)}"
    async with (
        serve(script, name=name) as server,
        lasting_over(server, transport, level) as client,
    ):
        calls = [
            asyncio.create_task(client.publish("a", payload(number), 1, timeout=0.3))
            for number in range(COUNT)
        ]
        errors = await within(asyncio.gather(*calls, return_exceptions=True))
        go_on.set()
        await within(client.publish("last", qos=1))
    assert {str(error) for error in errors} == {"Operation timed out"}
    accepted = [n for n, error in enumerate(errors) if error.is_in_session]
    assert 0 < len(accepted) < COUNT
    assert came == accepted


async def test_a_publish_that_waits_for_the_quota_is_accepted(level):
    """It is in the session though no byte of it was written."""
    came: list[int] = []

    async def ends(peer):
        await accept(peer, level)
        await expect_publish(peer, level)
        peer.close()

    async with serve(ends, collecting(came, level)) as server:
        client = lasting(server, level, max_inflight_messages=1)
        async with client:
            errors = await within(
                asyncio.gather(
                    *(client.publish("a", bytes([0, n]), 1) for n in range(3)),
                    return_exceptions=True,
                )
            )
        assert [error.is_in_session for error in errors] == [True] * 3
        await drain(client)
    assert came == [0, 1, 2]


async def test_a_session_that_ends_with_its_connection_has_nothing(version):
    async def script(peer):
        await accept(peer, version)
        await expect_publish(peer, version)
        peer.close()

    async with serve(script) as server, new_client(server, version) as client:
        with pytest.raises(MqttError) as caught:
            await within(client.publish("a", b"x", 1))
        assert not caught.value.is_in_session
        receipt_error = await refused(client)
        assert not receipt_error.is_in_session


async def refused(client: Client) -> MqttError:
    """Publish without a connection; the error."""
    with pytest.raises(MqttCodeError) as caught:
        await client.publish("a", b"x", 1)
    return caught.value


async def test_without_a_connection_nothing_is_accepted(level):
    async def ends(peer):
        await accept(peer, level)
        peer.close()

    came: list[int] = []
    async with serve(ends, collecting(came, level)) as server:
        client = lasting(server, level)
        assert not (await refused(client)).is_in_session
        async with client:
            with pytest.raises(MqttError):
                await within(anext(client.messages))
            assert not (await refused(client)).is_in_session
        await drain(client)
    assert came == []


async def test_a_refusal_is_not_in_the_session():
    async def script(peer):
        await accept(peer, 5)
        published = await expect_publish(peer, 5)
        peer.send(ack_bytes(PUBACK, published.packet_id, 0x87))
        await goodbye(peer)

    async with serve(script) as server, lasting(server, 5) as client:
        with pytest.raises(MqttCodeError) as caught:
            await within(client.publish("a", b"x", 1))
        assert not caught.value.is_in_session


async def test_leaving_tells_those_whose_message_stays_in_the_session(level):
    """Leaving on an exception waits for nobody."""
    came: list[int] = []

    async def silent(peer):
        await accept(peer, level)
        await gone(peer)

    async with serve(silent, collecting(came, level)) as server:
        client = lasting(server, level)
        with pytest.raises(ZeroDivisionError):
            async with client:
                call = asyncio.create_task(client.publish("a", b"\x00\x07", 1))
                await turns()
                raise ZeroDivisionError
        with pytest.raises(MqttError) as caught:
            await within(call)
        assert caught.value.is_in_session
        await drain(client)
    assert came == [7]


async def test_an_acknowledgement_that_comes_with_the_timeout_is_a_success():
    """Nobody publishes again what has arrived."""

    async def script(peer):
        await accept(peer)
        await expect_publish(peer)
        await gone(peer)

    async with serve(script) as server, new_client(server) as client:
        call = asyncio.create_task(client.publish("a", b"x", 1))
        await turns()
        calls: Any = client._calls
        [waiter] = calls._waiters
        waiter.set_result(MqttError("Operation timed out"))
        calls.driver.data_received(ack_bytes(PUBACK, 1))
        await within(call)


# --- receipts --------------------------------------------------------------------


async def test_a_receipt_says_whether_its_message_is_in_the_session(level):
    came: list[int] = []

    async def ends(peer):
        await accept(peer, level)
        await expect_publish(peer, level)
        peer.close()

    async with serve(ends, collecting(came, level)) as server:
        client = lasting(server, level)
        async with client:
            receipt = client.publish_nowait("a", b"\x00\x05", 1)
            with pytest.raises(MqttError) as caught:
                await within(receipt)
            assert caught.value.is_in_session
        with pytest.raises(MqttCodeError) as caught:
            await receipt
        assert caught.value.is_in_session
        await drain(client)
        await receipt
    assert came == [5]


# --- publish_many ----------------------------------------------------------------


async def test_publish_many_says_how_many_it_accepted(level, transport):
    """From there on, publishing again leaves out nothing and doubles nothing."""
    came: list[int] = []
    cut = asyncio.Event()
    acked = 5

    async def ends(peer):
        await accept(peer, level)
        for _ in range(acked):
            answer(peer, level, *await peer.read_packet())
        stop_reading(peer)
        peer.send(publish_bytes("answered", version=level))
        await within(cut.wait())
        peer.abort()

    messages = [("a", payload(number), 1) for number in range(COUNT)]
    name = f"accepted-{next(names)}"
    async with serve(ends, collecting(came, level), name=name) as server:
        client = lasting_over(server, transport, level)
        with pytest.raises(MqttError) as caught:
            async with client:
                call = asyncio.create_task(
                    client.publish_many(messages, window=COUNT // 2)
                )
                await within(anext(client.messages))  # after the acknowledgements
                await turns()
                cut.set()
                await within(call)
        error = caught.value
        assert error.position is not None
        assert error.accepted is not None
        assert error.is_in_session
        assert acked <= error.position < error.accepted < COUNT
        async with client:
            await within(client.publish_many(messages[error.accepted :]))
    assert came == list(range(error.position, COUNT))


async def test_without_a_lasting_session_publish_many_goes_on_at_the_first_failure():
    async def script(peer):
        await accept(peer)
        came = [await expect_publish(peer) for _ in range(4)]
        for published in (came[0], came[2]):
            peer.send(ack_bytes(PUBACK, published.packet_id))
        peer.close()

    async with serve(script) as server, new_client(server) as client:
        with pytest.raises(MqttError) as caught:
            await within(client.publish_many([("a", b"x", 1)] * 10, window=4))
    assert caught.value.position == 1
    assert caught.value.accepted == 1
    assert not caught.value.is_in_session


async def test_at_a_timeout_publish_many_takes_back_what_was_not_sent():
    count, sent = 10, 3

    async def script(peer):
        await accept(peer)
        for _ in range(sent):
            await expect_publish(peer)
        first, _ = await peer.read_packet()
        assert first >> 4 == DISCONNECT  # nothing else was written
        peer.close()

    async with (
        serve(script) as server,
        new_client(server, max_inflight_messages=sent) as client,
    ):
        with pytest.raises(MqttError, match="timed out") as caught:
            await client.publish_many([("a", b"x", 1)] * count, timeout=0.2)
    assert caught.value.position == 0
    assert caught.value.is_in_session
    assert caught.value.accepted == sent


async def test_an_end_together_with_an_acknowledgement_is_told_at_once():
    """The acknowledgement wakes publish_many, which finds the connection over."""

    async def script(peer):
        await accept(peer)
        for _ in range(2):
            await expect_publish(peer)
        peer.send(ack_bytes(PUBACK, 1) + b"\x00\x00")
        await gone(peer)

    async with serve(script) as server, new_client(server, timeout=60) as client:
        with pytest.raises(MqttError) as caught:
            await within(client.publish_many([("a", b"x", 1)] * 5, window=2))
    assert caught.value.position == 1
    assert caught.value.accepted == 1
