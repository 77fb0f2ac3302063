"""Sessions within the life of a client: what is sent again, and how.

The bytes on the wire over one connection after the other.
"""

import asyncio

import pytest

from aiomqtt import MqttCodeError, MqttError
from tests.peer import (
    CONNECT,
    DISCONNECT,
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    SUBSCRIBE,
    serve,
)
from tests.raw_scripts import (
    accept,
    ack_bytes,
    all_done,
    expect_publish,
    goodbye,
    lasting,
    new_client,
    polite,
    publish_bytes,
    serve_politely,
    turns,
    within,
)


@pytest.fixture(params=[4, 5], ids=["3.1.1", "5.0"])
def level(request):
    return request.param


async def lose(client, *publishes):
    """Enter, publish, and lose the connection."""
    async with client:
        tasks = [
            asyncio.create_task(client.publish("a", payload, qos))
            for payload, qos in publishes
        ]
        return await within(asyncio.gather(*tasks, return_exceptions=True))


def clean_bit(body):
    """The Clean Start or Clean Session flag of a CONNECT."""
    name = int.from_bytes(body[:2], "big")
    return body[2 + name + 1] >> 1 & 1


async def over_two_connections(client):
    """The payloads until the first connection ends, and the first one of the second."""
    got = []
    with pytest.raises(MqttError):
        async with client:
            async for message in client.messages:
                got.append(message.payload)  # noqa: PERF401 - it raises
    async with client:
        got.append((await within(anext(client.messages))).payload)
    return got


# --- Session Present = 1 -------------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-3.3.1-1", "MQTT-4.4.0-1", "MQTT-4.6.0-1")
@pytest.mark.conformance("5.0", "MQTT-4.3.3-6", "MQTT-3.1.2-23")
@pytest.mark.conformance("3.1.1", "MQTT-3.3.1-1", "MQTT-4.4.0-1", "MQTT-4.6.0-1")
@pytest.mark.conformance("3.1.1", "MQTT-2.3.1-3", "MQTT-4.3.3-1", "MQTT-3.1.2-4")
async def test_what_was_in_flight_is_sent_again(level):
    async def first(peer):
        await accept(peer, level)
        for number in range(1, 5):
            published = await expect_publish(peer, level)
            assert (published.packet_id, published.dup) == (number, False)
        peer.send(ack_bytes(PUBREC, 3))
        assert await peer.expect(PUBREL) == (0x62, b"\x00\x03")
        peer.send(ack_bytes(PUBACK, 2))
        peer.close()

    async def second(peer):
        await accept(peer, level, session_present=1)
        # PUBREL where PUBREC had come, PUBLISH with DUP for the others, in order.
        assert await peer.expect(PUBREL) == (0x62, b"\x00\x03")
        for number, payload, qos in ((1, b"1", 1), (4, b"4", 2)):
            published = await expect_publish(peer, level)
            assert published[:2] == ("a", payload)
            assert (published.qos, published.dup) == (qos, True)
            assert published.packet_id == number
        peer.send(ack_bytes(PUBCOMP, 3) + ack_bytes(PUBACK, 1) + ack_bytes(PUBREC, 4))
        assert await peer.expect(PUBREL) == (0x62, b"\x00\x04")
        peer.send(ack_bytes(PUBCOMP, 4) + publish_bytes("t", version=level))
        # The identifiers go on where they were.
        assert (await expect_publish(peer, level)).packet_id == 5
        peer.send(ack_bytes(PUBACK, 5))
        await goodbye(peer)

    async def third(peer):
        await accept(peer, level, session_present=1)
        assert await serve_politely(peer, level) == []  # all is done

    async with serve(first, second, third) as server:
        client = lasting(server, level)
        results = await lose(client, (b"1", 1), (b"2", 1), (b"3", 2), (b"4", 2))
        assert results[1] is None
        for result in (results[0], results[2], results[3]):
            assert isinstance(result, MqttError)
        async with client:
            await within(anext(client.messages))
            await within(client.publish("a", b"5", 1))
        async with client:
            await asyncio.sleep(0.05)


@pytest.mark.conformance("5.0", "MQTT-4.4.0-1")
async def test_it_is_sent_again_on_every_connection_until_acknowledged(level):
    async def loses(peer):
        session_present = int(len(server.peers) > 1)
        await accept(peer, level, session_present=session_present)
        published = await expect_publish(peer, level)
        assert published.packet_id == 1
        assert published.dup == bool(session_present)
        peer.abort()

    async def last(peer):
        await accept(peer, level, session_present=1)
        assert (await expect_publish(peer, level)).dup
        peer.send(ack_bytes(PUBACK, 1))
        peer.send(publish_bytes("t", b"", 0, 0, level))
        await goodbye(peer)

    async with serve(loses, loses, loses, last) as server:
        client = lasting(server, level)
        await lose(client, (b"1", 1))
        for _ in range(2):
            await lose(client)
        async with client:
            await within(anext(client.messages))


@pytest.mark.conformance("5.0", "MQTT-3.3.4-7", "MQTT-4.9.0-1")
async def test_what_is_sent_again_keeps_to_the_quota():
    """Receive Maximum holds for replays too."""

    async def first(peer):
        await accept(peer, 5)
        for _ in range(3):
            await expect_publish(peer, 5)
        peer.close()

    async def second(peer):
        await accept(peer, 5, session_present=1, properties=b"\x21\x00\x01")
        for number in (1, 2, 3):
            published = await expect_publish(peer, 5)
            assert (published.packet_id, published.dup) == (number, True)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await peer._reader.readexactly(1)
            peer.send(ack_bytes(PUBACK, number))
        await goodbye(peer)

    async with serve(first, second) as server:
        client = lasting(server, 5)
        await lose(client, (b"1", 1), (b"2", 1), (b"3", 1))
        async with client:
            await all_done(client)


@pytest.mark.conformance("5.0", "MQTT-4.4.0-2")
async def test_what_was_refused_is_not_sent_again():
    async def first(peer):
        await accept(peer, 5)
        await expect_publish(peer, 5)
        await expect_publish(peer, 5)
        peer.send(ack_bytes(PUBACK, 1, 0x97) + ack_bytes(PUBREC, 2, 0x87))
        peer.close()

    async def second(peer):
        await accept(peer, 5, session_present=1)
        assert await serve_politely(peer, 5) == []

    async with serve(first, second) as server:
        client = lasting(server, 5)
        results = await lose(client, (b"1", 1), (b"2", 2))
        assert [error.rc for error in results] == [0x97, 0x87]
        async with client:
            await asyncio.sleep(0.05)


async def test_what_was_cut_while_it_was_written_is_sent_again_whole(level):
    payload = bytes(3_000_000)

    async def first(peer):
        await accept(peer, level)
        await peer._reader.readexactly(100)
        peer.abort()

    async def second(peer):
        await accept(peer, level, session_present=1)
        published = await expect_publish(peer, level)
        assert (published.packet_id, published.dup) == (1, True)
        assert published.payload == payload
        peer.send(ack_bytes(PUBACK, 1))
        await goodbye(peer)

    async with serve(first, second) as server:
        client = lasting(server, level)
        (error,) = await lose(client, (payload, 1))
        assert isinstance(error, MqttError)
        async with client:
            pass


# --- Session Present = 0 -------------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-3.2.2-5")
@pytest.mark.conformance("3.1.1", "MQTT-3.2.2-2")
async def test_trap_4_a_session_that_the_broker_lost(level):
    """Trap 4: what was never acknowledged is sent as new; what was received is done."""

    async def first(peer):
        await accept(peer, level)
        for _ in range(3):
            await expect_publish(peer, level)
        peer.send(ack_bytes(PUBREC, 2))
        await peer.expect(PUBREL)
        peer.close()

    async def second(peer):
        await accept(peer, level, session_present=0)
        for number, payload in ((1, b"1"), (2, b"3")):
            published = await expect_publish(peer, level)
            assert (published.payload, published.dup) == (payload, False)
            assert published.packet_id == number
        peer.send(ack_bytes(PUBACK, 1) + ack_bytes(PUBREC, 2))
        assert await peer.expect(PUBREL) == (0x62, b"\x00\x02")
        peer.send(ack_bytes(PUBCOMP, 2))
        await goodbye(peer)

    async with serve(first, second) as server:
        client = lasting(server, level)
        await lose(client, (b"1", 1), (b"2", 2), (b"3", 2))
        async with client:
            await all_done(client)


async def test_a_stale_acknowledgement_does_no_harm(level):
    """Trap 4: a broker that still answers for the session before."""

    async def first(peer):
        await accept(peer, level)
        await expect_publish(peer, level)
        peer.close()

    async def second(peer):
        await accept(peer, level, session_present=0)
        peer.send(ack_bytes(PUBACK, 77) + ack_bytes(PUBCOMP, 78))
        published = await expect_publish(peer, level)
        peer.send(ack_bytes(PUBACK, published.packet_id))
        peer.send(publish_bytes("t", b"", 0, 0, level))
        await goodbye(peer)

    async with serve(first, second) as server:
        client = lasting(server, level)
        await lose(client, (b"1", 1))
        async with client:
            await within(anext(client.messages))
            assert client.is_connected()


# --- no session ----------------------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-3.1.2-4")
@pytest.mark.conformance("3.1.1", "MQTT-3.1.2-6")
async def test_without_a_session_nothing_is_kept(version):
    async def first(peer):
        body = await accept(peer, version)
        assert clean_bit(body) == 1
        await expect_publish(peer, version)
        await expect_publish(peer, version)
        peer.send(publish_bytes("t", b"", 2, 9, version))
        await peer.expect(PUBREC)
        peer.close()

    async def second(peer):
        body = await accept(peer, version)
        assert clean_bit(body) == int(version < 5)  # 5.0: clean_start=3, first only
        # The identifiers begin anew, in both directions.
        assert (await expect_publish(peer, version)).packet_id == 1
        peer.send(ack_bytes(PUBACK, 1))
        peer.send(publish_bytes("t", b"new", 2, 9, version))
        await peer.expect(PUBREC)
        await goodbye(peer)

    async with serve(first, second) as server:
        client = new_client(server, version, identifier="me")
        await lose(client, (b"1", 1), (b"2", 2))
        assert len(client.messages) == 1
        async with client:
            await within(client.publish("a", b"3", 1))
            await within(anext(client.messages))
            assert (await within(anext(client.messages))).payload == b"new"


@pytest.mark.parametrize(
    ("clean_start", "bits"), [(3, [1, 0, 0]), (True, [1, 1, 1]), (False, [0, 0, 0])]
)
async def test_clean_start(clean_start, bits):
    def script(bit):
        async def accepts(peer):
            assert clean_bit(await accept(peer, 5)) == bit
            await goodbye(peer)

        return accepts

    async with serve(*map(script, bits)) as server:
        client = lasting(server, 5, clean_start=clean_start)
        for _ in bits:
            async with client:
                pass


async def test_clean_start_stays_until_a_connection_was_accepted():
    async def refuses(peer):
        assert clean_bit(await accept(peer, 5, code=0x89)) == 1
        peer.close()

    async def accepts(peer):
        assert clean_bit(await accept(peer, 5)) == 1
        await goodbye(peer)

    async with serve(refuses, accepts) as server:
        client = lasting(server, 5)
        with pytest.raises(MqttError):
            await client.__aenter__()
        async with client:
            pass


@pytest.mark.conformance("5.0", "MQTT-3.2.2-4")
async def test_trap_4_a_session_that_the_client_lacks():
    """Trap 4: refused with 0x82, and the next attempt asks for a new one."""

    async def first(peer):
        await accept(peer, 5)
        await goodbye(peer)

    async def surprises(peer):
        await accept(peer, 5, session_present=1)
        assert await peer.expect(DISCONNECT) == (0xE0, b"\x82")
        await peer.expect_end()
        peer.close()

    async def last(peer):
        assert clean_bit(await accept(peer, 5)) == 1
        await goodbye(peer)

    async with serve(first, surprises, last) as server:
        # No expiry interval: the session ends with its connection.
        client = new_client(server, 5, identifier="me")
        async with client:
            pass
        with pytest.raises(MqttCodeError) as caught:
            await within(client.__aenter__())
        assert caught.value.reason_code == 0x82
        async with client:
            pass


async def test_a_session_of_an_earlier_process_can_be_resumed(level):
    """Asked for with clean_start=False, a session that is present is welcome."""

    async def script(peer):
        assert clean_bit(await accept(peer, level, session_present=1)) == 0
        peer.send(publish_bytes("t", b"waited", 1, 1, level))
        await peer.expect(PUBACK)
        await goodbye(peer)

    async with serve(script) as server:
        options = {"clean_start": False} if level == 5 else {}
        async with lasting(server, level, **options) as client:
            assert (await within(anext(client.messages))).payload == b"waited"


# --- the receiver's side -------------------------------------------------------


@pytest.mark.conformance("5.0", "MQTT-4.3.3-10", "MQTT-4.3.3-12", "MQTT-4.3.2-5")
@pytest.mark.conformance("3.1.1", "MQTT-4.3.3-2", "MQTT-4.3.2-2")
async def test_qos_2_is_delivered_once_across_connections(level):
    async def first(peer):
        await accept(peer, level)
        peer.send(publish_bytes("t", b"once", 2, 5, level))
        await peer.expect(PUBREC)
        peer.close()

    async def second(peer):
        await accept(peer, level, session_present=1)
        peer.send(publish_bytes("t", b"once", 2, 5, level, dup=True))
        assert await peer.expect(PUBREC) == (0x50, b"\x00\x05")
        peer.send(ack_bytes(PUBREL, 5))
        assert await peer.expect(PUBCOMP) == (0x70, b"\x00\x05")
        # From here on the identifier means a new message, whatever DUP says.
        peer.send(publish_bytes("t", b"new", 2, 5, level, dup=True))
        assert await peer.expect(PUBREC) == (0x50, b"\x00\x05")
        await goodbye(peer)

    async with serve(first, second) as server:
        client = lasting(server, level)
        assert await over_two_connections(client) == [b"once", b"new"]


async def test_qos_2_of_a_lost_session_is_a_new_message(level):
    async def first(peer):
        await accept(peer, level)
        peer.send(publish_bytes("t", b"1", 2, 5, level))
        await peer.expect(PUBREC)
        peer.close()

    async def second(peer):
        await accept(peer, level, session_present=0)
        peer.send(publish_bytes("t", b"2", 2, 5, level))
        await peer.expect(PUBREC)
        await goodbye(peer)

    async with serve(first, second) as server:
        client = lasting(server, level)
        assert await over_two_connections(client) == [b"1", b"2"]


async def test_subscribe_and_unsubscribe_are_not_sent_again(level):
    async def first(peer):
        await accept(peer, level)
        await peer.expect(SUBSCRIBE)
        peer.close()

    async def second(peer):
        await accept(peer, level, session_present=1)
        came = await serve_politely(peer, level)
        assert [first >> 4 for first, _ in came] == [SUBSCRIBE]
        assert came[0][1][:2] in (b"\x00\x01", b"\x00\x02")

    async with serve(first, second) as server:
        client = lasting(server, level)
        async with client:
            with pytest.raises(MqttError):
                await within(client.subscribe("a"))
        async with client:
            await within(client.subscribe("b"))


@pytest.mark.conformance("5.0", "MQTT-3.1.0-1")
async def test_the_connect_of_each_version(version):
    async def script(peer):
        first, body = await peer.expect(CONNECT)
        assert first == 0x10
        name = b"\x00\x06MQIsdp" if version == 3 else b"\x00\x04MQTT"
        none = b"\x00" if version == 5 else b""
        assert body == name + bytes([version, 2, 0, 60]) + none + b"\x00\x02me"
        peer.connack(version)
        await goodbye(peer)

    async with serve(script) as server, new_client(server, version, identifier="me"):
        await turns()


async def test_a_publish_of_an_earlier_connection_that_is_refused_is_logged(caplog):
    async def first(peer):
        await accept(peer, 5)
        await expect_publish(peer, 5)
        peer.close()

    async def second(peer):
        await accept(peer, 5, session_present=1)
        await expect_publish(peer, 5)
        peer.send(ack_bytes(PUBACK, 1, 0x97))
        peer.send(publish_bytes("t", b"", 0, 0, 5))
        await goodbye(peer)

    async with serve(first, second) as server:
        client = lasting(server, 5)
        await lose(client, (b"1", 1))
        async with client:
            await within(anext(client.messages))
    assert "refused" in caplog.text
    assert "Quota exceeded" in caplog.text


async def test_a_session_serves_many_connections(level):
    async with serve(polite(level), again=True) as server:
        client = lasting(server, level)
        for _ in range(20):
            async with client:
                await client.publish("a", b"", 1)
                await client.publish("a", b"", 2)
        assert len(client._engine.session.outbound) == 0


@pytest.mark.conformance("5.0", "MQTT-3.1.3-2")
@pytest.mark.conformance("3.1.1", "MQTT-3.1.3-2")
async def test_a_session_is_asked_for_under_the_same_identifier(level):
    async def script(peer):
        body = await accept(peer, level, session_present=int(len(server.peers) > 1))
        assert clean_bit(body) == int(level == 5 and len(server.peers) == 1)
        assert body.endswith(b"\x00\x02me")
        await goodbye(peer)

    async with serve(script, again=True) as server:
        client = lasting(server, level)
        for _ in range(3):
            async with client:
                assert client.identifier == "me"
