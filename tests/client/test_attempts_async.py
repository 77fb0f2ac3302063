"""Several addresses: which is tried, what fails, what stays of a failed attempt."""

import asyncio
import contextlib
import logging
from typing import Any

import pytest

from aiomqtt import Client, MqttConnectError, MqttError, TLSParameters
from tests.own_broker import server_context
from tests.peer import CONNECT, serve
from tests.ports import free_port
from tests.raw_scripts import (
    accept,
    all_done,
    cancelled_after,
    expect_publish,
    fails,
    gone,
    goodbye,
    lasting,
    polite,
    within,
    works,
)
from tests.raw_scripts import good as good_script

# What an attempt lacked: a second is enough for the connection, even under load.
NO_CONNACK = "sent no CONNACK"


def address(server: Any) -> tuple[str, int]:
    return server.host, server.port


def text(server: Any) -> str:
    return f"{server.host}:{server.port}"


def refuses(version: int, code: int):
    async def script(peer):
        await accept(peer, version, code=code)
        await peer.expect_end()

    return script


async def silent(peer):
    """Accept the connection, and say nothing."""
    await gone(peer)


async def hangs_up(peer):
    await peer.expect(CONNECT)
    peer.close()


def tolerant(script):
    """A script whose client may go at any time."""

    async def one(peer):
        with contextlib.suppress(AssertionError, ConnectionError):
            await script(peer)
        peer.close()

    return one


def dead() -> tuple[str, int]:
    """An address where nobody listens."""
    return "127.0.0.1", free_port()


# --- the next address ----------------------------------------------------------------


async def test_the_first_that_accepts_is_taken(version):
    async with serve(good_script(version)) as server:
        await works(Client([address(server), dead()], protocol=version))


async def test_the_next_if_nobody_listens(version, caplog):
    first = dead()
    async with serve(good_script(version)) as server:
        client = Client([first, address(server)], protocol=version)
        with caplog.at_level(logging.INFO, "mqtt"):
            await works(client)
    said = [record.getMessage() for record in caplog.records]
    assert said[0].startswith(f"Could not connect to 127.0.0.1:{first[1]}: [Errno ")
    assert said[0].endswith(f"refused: trying {text(server)}")
    assert said[1].startswith(f"Connected to {text(server)}")
    assert said[2] == f"Disconnected from {text(server)}"


@pytest.mark.parametrize("script", [hangs_up, silent])
async def test_the_next_if_no_connack_comes(version, script):
    async with serve(script) as first, serve(good_script(version)) as second:
        client = Client(
            [address(first), address(second)], protocol=version, attempt_timeout=1
        )
        await works(client)


async def test_an_address_that_never_answers_gets_its_share_of_the_time():
    async with serve(silent) as first, serve(silent) as second:
        client = Client([address(first), address(second)], timeout=0.6)
        started = asyncio.get_running_loop().time()
        error = await fails(client)
        took = asyncio.get_running_loop().time() - started
    assert took > 0.5
    one, other = error.__cause__.exceptions
    assert str(one.__cause__).endswith("within 0.3 seconds")
    assert str(other.__cause__).startswith(text(second))


@pytest.mark.parametrize(("version", "code"), [(3, 3), (4, 3), (5, 0x88), (5, 0x97)])
async def test_the_next_if_the_server_is_unavailable(version, code):
    script = refuses(version, code)
    async with serve(script) as first, serve(good_script(version)) as second:
        await works(Client([address(first), address(second)], protocol=version))


@pytest.mark.parametrize(("version", "code"), [(3, 4), (4, 5), (5, 0x86), (5, 0x87)])
async def test_wrong_credentials_stop_at_once(version, code):
    async with serve(refuses(version, code)) as first, serve() as second:
        client = Client([dead(), address(first), address(second)], protocol=version)
        error = await fails(client, MqttConnectError)
        assert error.rc == code
        assert (
            error.__notes__[0] == f"The broker at {text(first)} refused the connection."
        )
        assert error.__notes__[1].startswith("Before that, 127.0.0.1:")
        assert second.peers == []


async def test_an_error_of_the_program_stops_at_once():
    def fail(*_: object) -> Any:
        raise error

    for name in ("websocket_headers", "tls_context"):
        options: dict[str, Any] = {name: fail}
        client = Client([dead(), dead()], transport="websockets", **options)
        error: Exception = LookupError()
        text = f"^Could not connect to .*: the callable for {name} raised LookupError$"
        assert (await fails(client, MqttError, text)).__cause__ is error
        error = MqttError("the token server is down")
        assert await fails(client, MqttError, "^the token server is down$") is error
        assert error.__cause__ is None


async def test_a_callable_that_fails_stops_at_once():
    async with serve() as second:
        client = Client(
            [dead(), address(second)],
            transport="websockets",
            websocket_headers=lambda headers: {1: 2},  # type: ignore[arg-type]
        )
        await fails(client, TypeError)
        assert second.peers == []


# --- the order -----------------------------------------------------------------------


async def test_each_entry_begins_with_the_first():
    async with serve(hangs_up, polite()) as first, serve(polite()) as second:
        client = Client([address(first), address(second)])
        async with client:
            assert len(second.peers) == 1
        async with client:
            assert len(first.peers) == 2


async def test_round_robin():
    async with serve(polite(), again=True) as one, serve(polite(), again=True) as other:
        client = Client([address(one), address(other)], address_order="round_robin")
        for expected in [(1, 0), (1, 1), (2, 1), (2, 2)]:
            async with client:
                assert (len(one.peers), len(other.peers)) == expected


# --- all fail ------------------------------------------------------------------------


async def test_one_error_names_each_address_and_why(version):
    async with serve(silent) as late, serve(refuses(version, 3)) as busy:
        nobody = dead()
        client = Client(
            [nobody, address(late), address(busy)],
            protocol=version,
            attempt_timeout=1,
        )
        error = await fails(client)
    said = str(error)
    assert type(error) is MqttError
    assert said.startswith(
        f"Could not connect to any of 3 brokers: 127.0.0.1:{nobody[1]}: [Errno "
    )
    assert f"; {text(late)}: {NO_CONNACK} within 1 seconds; {text(busy)}: " in said
    assert isinstance(error.__cause__, ExceptionGroup)
    kinds = [type(one).__name__ for one in error.__cause__.exceptions]
    assert kinds == ["MqttError", "MqttError", "MqttConnectError"]


async def test_the_time_of_all_attempts_is_bounded():
    async with serve(silent) as first, serve() as second:
        client = Client(
            [address(first), address(second)], timeout=0.3, attempt_timeout=5
        )
        error = await fails(client)
        assert second.peers == []
    assert str(error).endswith(
        f"{text(second)}: not tried, for the 0.3 seconds were over"
    )


async def test_one_address_fails_as_it_always_did():
    async with serve(silent) as server:
        error = await fails(Client([address(server)], timeout=1))
    assert str(error) == "Operation timed out"
    assert str(error.__cause__) == f"{text(server)} {NO_CONNACK} within 1 seconds"


async def test_it_can_be_entered_again_after_all_have_failed(version):
    async with serve(hangs_up, good_script(version)) as server:
        client = Client([dead(), address(server)], protocol=version)
        await fails(client)
        await works(client)


# --- the connection ------------------------------------------------------------------


async def test_errors_name_the_address_in_use():
    async def script(peer):
        await accept(peer)
        await expect_publish(peer)
        peer.close()

    async with serve(script) as server:
        client = Client([dead(), address(server)])
        with pytest.raises(MqttError, match=f"^Connection to {text(server)} lost"):
            async with asyncio.timeout(10), client:
                await client.publish("a", b"", 1)


async def test_a_session_moves_to_the_next_address(version):
    async def cuts(peer):
        await accept(peer, version)
        await expect_publish(peer, version)
        peer.abort()

    async def resumes(peer):
        await accept(peer, version, session_present=0 if version == 3 else 1)
        published = await expect_publish(peer, version)
        assert (published.payload, published.qos, published.dup) == (b"1", 1, True)
        peer.send(b"\x40\x02" + published.packet_id.to_bytes(2, "big"))
        await goodbye(peer)

    async with serve(cuts, hangs_up) as first, serve(resumes) as second:
        client = lasting(first, version, attempt_timeout=5)
        client._addresses.targets += Client([address(second)])._addresses.targets
        with pytest.raises(MqttError):
            async with client:
                await client.publish("a", b"1", 1)
        async with asyncio.timeout(10), client:
            await all_done(client)


async def test_leaving_stops_the_attempts():
    waiting = asyncio.Event()

    async def script(peer):
        await peer.expect(CONNECT)
        waiting.set()
        await gone(peer)

    async with serve(script) as first, serve() as second:
        client = Client([address(first), address(second)])
        entering = asyncio.create_task(client.__aenter__())
        await within(waiting.wait())
        await within(client.disconnect())
        with pytest.raises(MqttError, match="^Disconnected$"):
            await within(entering)
        assert second.peers == []


@pytest.mark.parametrize("steps", range(0, 40, 2))
async def test_a_cancellation_leaves_nothing_behind(steps):
    async with (
        serve(tolerant(refuses(4, 3)), again=True) as first,
        serve(tolerant(polite()), again=True) as second,
    ):
        client = Client([dead(), address(first), address(second)])
        await cancelled_after(steps, client.__aenter__())
        await client.__aexit__(None, None, None)
        await within(client.__aenter__())
        await client.__aexit__(None, None, None)


# --- every transport -----------------------------------------------------------------


async def test_the_next_if_tls_fails(certificates):
    async def plain(peer):
        peer.send(b"\x20\x02\x00\x01\x00\x00")
        await gone(peer)

    context = server_context(certificates.server)
    async with serve(plain) as first, serve(polite(), tls=context) as second:
        client = Client(
            [address(first), address(second)],
            tls_params=TLSParameters(ca_certs=str(certificates.ca_file)),
        )
        async with asyncio.timeout(10), client:
            assert client.is_connected()


async def test_unix_sockets(tmp_path):
    connected = []

    async def broker(reader, writer):
        connected.append(await reader.read(1000))
        writer.write(b"\x20\x02\x00\x00")
        await reader.read(1000)
        writer.close()

    path = str(tmp_path / "broker")
    server = await asyncio.start_unix_server(broker, path)
    async with server:
        client = Client([str(tmp_path / "none"), path], transport="unix")
        async with asyncio.timeout(10), client:
            assert len(connected) == 1


async def test_brokers_in_memory():
    async with serve(polite(), name="second") as server:
        client = Client(["first", "second"], transport="memory")
        async with asyncio.timeout(10), client:
            assert len(server.peers) == 1


async def test_websockets_that_refuse():
    """A web server in the way is not the last word."""

    async def not_found(peer):
        await peer._reader.readuntil(b"\r\n\r\n")
        peer.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        await gone(peer)

    async with serve(not_found) as first, serve(not_found) as second:
        client = Client([address(first), address(second)], transport="websockets")
        error = await fails(client)
    assert f"; ws://{text(second)}/mqtt: " in str(error)
