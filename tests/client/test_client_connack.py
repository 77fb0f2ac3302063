"""The answer to CONNECT: refusals, none in time, nonsense, and the end with it."""

import asyncio
import math

import pytest

from aiomqtt import MqttCodeError, MqttError, Properties
from aiomqtt.exceptions import MqttConnectError
from tests.peer import CONNECT, serve
from tests.raw_scripts import (
    CEILING,
    accept,
    fails,
    gone,
    good,
    goodbye,
    lasting,
    new_client,
    publish_bytes,
    within,
    works,
)

# --- the broker refuses --------------------------------------------------------

# The return codes of 3.1 and 3.1.1, with what aiomqtt 2.5 reported for them.
REFUSALS_3 = {
    1: (0x84, "[code:132] Unsupported protocol version"),
    2: (0x85, "[code:133] Client identifier not valid"),
    3: (0x88, "[code:136] Server unavailable"),
    4: (0x86, "[code:134] Bad user name or password"),
    5: (0x87, "[code:135] Not authorized"),
}
REFUSALS_5 = [
    0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C,
    0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
]  # fmt: skip


@pytest.mark.conformance("3.1.1", "MQTT-3.1.2-2", "MQTT-3.2.2-5")
@pytest.mark.parametrize("code", REFUSALS_3)
@pytest.mark.parametrize("level", [3, 4])
async def test_refused_below_5(level, code):
    async def refuses(peer):
        await accept(peer, level, code=code)
        peer.close()

    async with serve(refuses, good(level)) as server:
        client = new_client(server, level)
        error = await fails(client, MqttConnectError)
        reported, text = REFUSALS_3[code]
        assert error.rc == reported
        assert error.rc.value == reported
        assert error.rc >= 128
        assert str(error) == text
        # The number in the packet is as good.
        assert error.rc == code
        assert error.rc in (1, 2, 3, 4, 5)
        assert f"{server.host}:{server.port}" in "".join(error.__notes__)
        await works(client)


@pytest.mark.conformance("5.0", "MQTT-3.1.2-2", "MQTT-3.2.2-7", "MQTT-4.13.2-1")
@pytest.mark.parametrize("code", REFUSALS_5)
async def test_refused_in_5(code):
    async def refuses(peer):
        await accept(peer, 5, code=code, properties=b"\x1f\x00\x07because")
        peer.close()

    async with serve(refuses, good(5)) as server:
        client = new_client(server, 5)
        error = await fails(client, MqttConnectError)
        assert error.rc == code
        assert error.rc.value == code
        assert error.rc.is_failure
        assert error.reason_code == code
        assert error.reason_string == "because"
        assert str(error) == f"[code:{code}] {error.rc}: because"
        assert f"{server.host}:{server.port}" in "".join(error.__notes__)
        await works(client)


@pytest.mark.conformance("5.0", "MQTT-3.2.2-6")
@pytest.mark.conformance("3.1.1", "MQTT-3.2.2-4")
async def test_refused_with_session_present(version):
    async def refuses(peer):
        code = 0x87 if version == 5 else 5
        await accept(peer, version, code=code, session_present=1)
        await gone(peer)

    async with serve(refuses, good(version)) as server:
        client = new_client(server, version)
        await fails(client, MqttError)
        await works(client)


async def test_a_refused_client_closes_even_if_the_broker_does_not(version):
    ended = asyncio.Event()

    async def refuses(peer):
        await accept(peer, version, code=0x87 if version == 5 else 5)
        await peer.expect_end()  # without a DISCONNECT: there is no connection
        ended.set()

    async with serve(refuses) as server:
        await fails(new_client(server, version), MqttConnectError)
        await within(ended.wait())


async def test_credentials_can_change_between_attempts(version):
    async def refuses(peer):
        body = await accept(peer, version, code=0x86 if version == 5 else 4)
        assert body.endswith(b"\x00\x01u\x00\x05wrong")
        peer.close()

    async def takes(peer):
        body = await accept(peer, version)
        assert body.endswith(b"\x00\x01u\x00\x05right")
        peer.send(publish_bytes("t", b"again", version=version))
        await goodbye(peer)

    async with serve(refuses, takes) as server:
        client = new_client(server, version, username="u", password="wrong")
        await fails(client, MqttConnectError)
        client.set_credentials("u", "right")
        await works(client)


# --- the broker does not answer, or nonsense -----------------------------------


async def test_no_connack_in_time(version):
    # On a busy machine the time may be over before the CONNECT is there.
    async with serve(gone, good(version)) as server:
        client = new_client(server, version, timeout=0.1)
        error = await fails(client)
        assert str(error) == "Operation timed out"  # programs compare this
        said = f"{error.__cause__} {getattr(error, '__notes__', '')}"
        assert f"{server.host}:{server.port}" in said
        client.timeout = CEILING
        await works(client)


async def test_it_can_wait_forever():
    asked = asyncio.Event()

    async def silent(peer):
        await peer.expect(CONNECT)
        asked.set()
        await gone(peer)

    async with serve(silent) as server:
        entering = asyncio.create_task(
            new_client(server, timeout=math.inf).__aenter__()
        )
        await within(asked.wait())
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering


async def ends(peer):
    peer.close()


async def resets(peer):
    peer.abort()


ANSWERS = {
    "nothing": b"",
    "half a CONNACK": b"\x20\x02\x00",
    "half a length": b"\x20\xff",
}


@pytest.mark.parametrize("end", [ends, resets])
@pytest.mark.parametrize("answer", ANSWERS)
async def test_the_connection_ends_before_the_connack(version, end, answer):
    async def script(peer):
        await peer.expect(CONNECT)
        peer.send(ANSWERS[answer])
        await end(peer)

    async with serve(script, good(version)) as server:
        client = new_client(server, version)
        await fails(client, MqttError, f"{server.host}:{server.port}")
        await works(client)


@pytest.mark.parametrize("end", [ends, resets])
async def test_the_connection_ends_before_the_connect(version, end):
    async with serve(end, good(version)) as server:
        client = new_client(server, version)
        await fails(client, MqttError, f"{server.host}:{server.port}")
        await works(client)


GARBAGE = {
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "zeroes": bytes(100),
    "ones": b"\xff" * 100,
    "an endless length": b"\x20\xff\xff\xff\xff\x7f",
    "a PUBLISH": b"\x30\x03\x00\x01t",
    "a PUBACK": b"\x40\x02\x00\x01",
    "a SUBACK": b"\x90\x03\x00\x01\x00",
    "a PINGRESP": b"\xd0\x00",
    "a CONNECT": b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x0a\x00\x01x",
    "a reserved flag": b"\x21\x02\x00\x00",
    "an empty CONNACK": b"\x20\x00",
    "a CONNACK that is too long": b"\x20\x05\x00\x00\x00\x00\x00",
    "an unlisted code": b"\x20\x03\x00\x7f\x00",
}


@pytest.mark.conformance("5.0", "MQTT-3.2.0-1", "MQTT-3.2.2-1", "MQTT-3.2.2-8")
@pytest.mark.conformance("3.1.1", "MQTT-3.2.0-1", "MQTT-4.8.0-1")
@pytest.mark.parametrize("garbage", GARBAGE)
async def test_garbage_before_the_connack(version, garbage):
    async def script(peer):
        await peer.expect(CONNECT)
        peer.send(GARBAGE[garbage])
        await gone(peer)

    async with serve(script, good(version)) as server:
        client = new_client(server, version)
        error = await fails(client, MqttCodeError)
        assert error.reason_code in (0x81, 0x82)
        assert f"{server.host}:{server.port}" in error.__notes__[0]
        await works(client)


@pytest.mark.conformance("5.0", "MQTT-3.2.2-1")
@pytest.mark.parametrize("level", [4, 5])  # 3.1 says nothing about these bits
async def test_reserved_flags_in_the_connack(level):
    async def script(peer):
        await peer.expect(CONNECT)
        peer.packet(0x20, b"\xfe\x00\x00" if level == 5 else b"\xfe\x00")
        await gone(peer)

    async with serve(script, good(level)) as server:
        client = new_client(server, level)
        error = await fails(client, MqttCodeError)
        assert error.reason_code == 0x81
        await works(client)


@pytest.mark.conformance("5.0", "MQTT-3.2.2-4", "MQTT-3.2.2-2")
async def test_session_present_where_none_was_wanted():
    async def script(peer):
        await accept(peer, 5, session_present=1)
        await gone(peer)

    async with serve(script, good(5)) as server:
        client = new_client(server, 5)
        error = await fails(client, MqttCodeError)
        assert error.reason_code == 0x82
        await works(client)


@pytest.mark.conformance("3.1.1", "MQTT-3.2.2-1")
async def test_session_present_in_a_clean_session_of_3_1_1_is_overlooked():
    async def script(peer):
        await accept(peer, 4, session_present=1)
        await goodbye(peer)

    async with serve(script, good(4)) as server:
        client = new_client(server, 4)
        async with client:
            assert client.session_present is False
        await works(client)


HINT = "(the broker does not speak MQTT 5.0: try protocol=ProtocolVersion.V311)"


@pytest.mark.parametrize(
    ("connack", "reported", "text"),
    [
        ("20 02 00 01", 0x84, f"[code:132] Unsupported protocol version {HINT}"),
        ("20 02 00 05", 0x87, "[code:135] Not authorized"),
        ("20 02 00 87", 0x87, "[code:135] Not authorized"),
    ],
)
async def test_a_refusal_as_in_3_1_1_to_a_connect_of_5_0(connack, reported, text):
    async def refuses(peer):
        await peer.expect(CONNECT)
        peer.send(bytes.fromhex(connack))
        peer.close()

    async with serve(refuses, good(5)) as server:
        client = new_client(server, 5)
        error = await fails(client, MqttConnectError)
        assert error.rc == error.rc.value == reported
        assert str(error) == text
        await works(client)


@pytest.mark.conformance("5.0", "MQTT-3.14.0-1")
async def test_disconnect_instead_of_a_connack():
    async def script(peer):
        await peer.expect(CONNECT)
        peer.send(b"\xe0\x01\x89")
        peer.close()

    async with serve(script, good(5)) as server:
        client = new_client(server, 5)
        error = await fails(client, MqttCodeError)
        assert error.reason_code in (0x82, 0x89)
        await works(client)


# --- the end comes in the same bytes as the CONNACK ----------------------------


@pytest.mark.conformance("5.0", "MQTT-4.13.2-1")
async def test_connack_and_disconnect_at_once():
    async def script(peer):
        await peer.expect(CONNECT)
        peer.send(b"\x20\x03\x00\x00\x00" + b"\xe0\x0b\x8b\x09\x1f\x00\x06closed")
        peer.close()

    async with serve(script, good(5)) as server:
        client = new_client(server, 5)
        error = await fails(client, MqttCodeError)
        assert error.reason_code == 0x8B
        assert error.reason_string == "closed"
        await works(client)


@pytest.mark.parametrize("end", [ends, resets])
async def test_connack_and_the_end_at_once(version, end):
    async def script(peer):
        await accept(peer, version)
        await end(peer)

    async with serve(script, good(version)) as server:
        client = new_client(server, version)
        with pytest.raises(MqttError):
            async with asyncio.timeout(CEILING), client:
                async for _ in client.messages:
                    pass
        await works(client)


async def test_connack_and_garbage_at_once(version):
    async def script(peer):
        await peer.expect(CONNECT)
        accepted = b"\x20\x03\x00\x00\x00" if version == 5 else b"\x20\x02\x00\x00"
        peer.send(accepted + b"\x00\x00")
        await gone(peer)

    async with serve(script, good(version)) as server:
        client = new_client(server, version)
        error = await fails(client, MqttCodeError)
        assert error.reason_code == 0x81
        await works(client)


# --- what an accepted connection says --------------------------------------------


async def test_what_the_connack_says_can_be_read(version):
    async def first(peer):
        # Receive Maximum 5, Reason String "hi".
        properties = b"\x21\x00\x05\x1f\x00\x02hi" if version == 5 else b""
        await accept(peer, version, properties=properties)
        await goodbye(peer)

    async def second(peer):
        await accept(peer, version, session_present=int(version > 3))
        await goodbye(peer)

    async def refuses(peer):
        await accept(peer, version, code=3 if version < 5 else 0x88)
        peer.close()

    async with serve(first, second, refuses) as server:
        client = lasting(server, version)
        assert client.session_present is False
        assert client.connack_properties is None
        async with client:
            assert client.session_present is False
            properties = client.connack_properties
            if version == 5:
                assert properties is not None
                assert properties.receive_maximum == 5
                assert properties.reason_string == "hi"
            else:
                assert properties is None
        assert client.connack_properties is properties
        async with client:
            # 3.1 does not tell.
            assert client.session_present is (version > 3)
            expected = Properties() if version == 5 else None
            assert client.connack_properties == expected
        # A connection that was refused changes nothing.
        await fails(client, MqttConnectError)
        assert client.session_present is (version > 3)
