"""Server redirection (MQTT 5.0 §4.11) as a program sees it, over sockets."""

import asyncio
import logging
import subprocess
import sys
from typing import Any

import pytest

from aiomqtt import (
    Broker,
    Client,
    MqttCodeError,
    MqttConnectError,
    MqttError,
    Redirect,
    TLSParameters,
)
from tests.own_broker import server_context
from tests.peer import DISCONNECT, serve
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
    text,
    within,
)

USE_ANOTHER_SERVER, SERVER_MOVED = 0x9C, 0x9D


def reference_bytes(reference: str) -> bytes:
    return b"\x1c" + text(reference)


def refers(reference: str, code: int = USE_ANOTHER_SERVER):
    """A script that refuses, and names another server."""

    async def script(peer):
        await accept(peer, 5, code=code, properties=reference_bytes(reference))
        await gone(peer)

    return script


def ends(reference: str, code: int = USE_ANOTHER_SERVER):
    """A script that accepts, and ends the connection at the first PUBLISH."""

    async def script(peer):
        await accept(peer, 5)
        await expect_publish(peer, 5)
        properties = reference_bytes(reference)
        body = bytes([code, len(properties)]) + properties
        peer.packet(DISCONNECT << 4, body)
        await gone(peer)

    return script


def address(server: Any) -> tuple[str, int]:
    return "127.0.0.1", server.port


def place(server: Any) -> str:
    return f"127.0.0.1:{server.port}"


def client_of(*servers: Any, **options: Any) -> Client:
    """Return a client that may go to the ports of all, and begins with the first."""
    options.setdefault("redirect", "follow")
    return Client([address(server) for server in servers], protocol=5, **options)


# --- raise ---------------------------------------------------------------------------


@pytest.mark.parametrize("code", [USE_ANOTHER_SERVER, SERVER_MOVED])
async def test_by_default_the_program_learns_of_it(code):
    async with serve() as other, serve(refers(place(other), code)) as server:
        client = Client([address(server), address(other)], protocol=5)
        error = await fails(client, MqttConnectError)
        assert error.rc == code
        assert error.server_reference == place(other)
        assert other.peers == []


async def test_in_mid_session_it_raises():
    async with serve(ends("other:1884"), polite(5)) as server:
        client = Client(*address(server), protocol=5)
        with pytest.raises(MqttCodeError) as caught:
            async with asyncio.timeout(10), client:
                await client.publish("a", b"", 1)
        assert caught.value.rc == USE_ANOTHER_SERVER
        assert caught.value.server_reference == "other:1884"
        async with asyncio.timeout(10), client:
            assert len(server.peers) == 2


async def test_without_a_reference_it_goes_to_a_server_that_it_knows():
    """MQTT 5.0 §4.11: the other server may be already known to the client."""

    async def script(peer):
        await accept(peer, 5, code=USE_ANOTHER_SERVER)
        await gone(peer)

    async with serve(script) as server, serve(polite(5)) as other:
        client = client_of(server, other, redirect="raise")
        async with asyncio.timeout(10), client:
            assert len(other.peers) == 1


# --- follow --------------------------------------------------------------------------


async def test_a_broker_that_redirects_for_now(caplog):
    async with Broker() as first, Broker() as second:
        client = client_of(first, second)
        first.redirect(place(second))
        with caplog.at_level(logging.INFO, "mqtt"):
            async with asyncio.timeout(10), client:
                assert second.statistics.clients_connected == 1
        said = caplog.messages[0]
        assert said.startswith(f"Could not connect to {place(first)}: [code:156] ")
        assert said.endswith(f": trying {place(second)}")
        first.redirect(None)
        async with asyncio.timeout(10), client:
            assert first.statistics.clients_connected == 1


async def test_a_broker_that_has_moved():
    async with Broker() as first:
        async with Broker() as second:
            client = client_of(first, second)
            first.redirect(place(second), permanent=True)
            async with asyncio.timeout(10), client:
                assert second.statistics.clients_connected == 1
            first.redirect(None)
            async with asyncio.timeout(10), client:
                assert second.statistics.clients_connected == 1
        # That server is gone, and the first is back.
        async with asyncio.timeout(10), client:
            assert first.statistics.clients_connected == 1


async def test_a_connected_client_follows_when_it_enters_again():
    async with Broker() as first, Broker() as second:
        client = client_of(first, second)
        with pytest.raises(MqttError, match="Disconnected during message iteration"):
            async with asyncio.timeout(10), client:
                first.redirect(place(second))
                async for _ in client.messages:
                    pass
        first.redirect(None)
        async with asyncio.timeout(10), client:
            assert second.statistics.clients_connected == 1
        async with asyncio.timeout(10), client:
            assert first.statistics.clients_connected == 1


async def test_below_5_there_are_no_references():
    async with Broker() as broker:
        broker.redirect("other")
        client = Client("127.0.0.1", broker.port, protocol=4, redirect="follow")
        error = await fails(client, MqttConnectError)
        assert (error.rc, error.server_reference) == (0x88, None)


async def test_the_first_of_a_list_that_accepts():
    async with serve(polite(5)) as last, serve(gone) as silent:
        nobody = "[::1]:9"
        reference = f"{nobody} {place(silent)} {place(last)}"
        async with serve(refers(reference)) as first:
            client = client_of(first, silent, last, attempt_timeout=1)
            async with asyncio.timeout(10), client:
                assert len(last.peers) == 1


async def test_all_of_them_fail():
    async with serve(refers("x:1 127.0.0.1:1883")) as first:
        client = client_of(first, timeout=5)
        error = await fails(client)
    said = str(error)
    assert f"{place(first)}: [code:156] " in said
    assert "; 127.0.0.1:1883: " in said
    assert "x:1:" not in said


async def test_it_tells_the_new_server_who_it_is():
    """The policy allows the server, and so the credentials."""
    connects = []

    async def script(peer):
        connects.append(await accept(peer, 5))
        await goodbye(peer)

    async with serve(script) as second, serve(refers(place(second))) as first:
        client = client_of(first, second, username="me", password="secret")
        async with asyncio.timeout(10), client:
            assert connects[0].endswith(text("me") + text("secret"))


async def test_a_session_moves_along():
    async def cuts(peer):
        await accept(peer, 5)
        await expect_publish(peer, 5)
        peer.abort()

    async def resumes(peer):
        await accept(peer, 5, session_present=1)
        published = await expect_publish(peer, 5)
        assert (published.payload, published.dup) == (b"1", True)
        peer.send(b"\x40\x02" + published.packet_id.to_bytes(2, "big"))
        await goodbye(peer)

    async with serve(resumes) as second, serve(cuts, refers(place(second))) as first:
        client = lasting(first, 5, redirect=lambda redirect: redirect.addresses)
        with pytest.raises(MqttError):
            async with client:
                await client.publish("a", b"1", 1)
        async with asyncio.timeout(10), client:
            await all_done(client)


# --- what is not followed ------------------------------------------------------------


async def test_another_port():
    async with serve() as other, serve(refers(place(other))) as server:
        error = await fails(client_of(server), MqttConnectError)
        assert other.peers == []
    assert str(error).endswith(
        f"(server reference: {place(other)}), which was not followed: of its ports none"
        f" is among {sorted({1883, server.port})}"
    )
    assert error.server_reference == place(other)


async def test_servers_that_redirect_to_each_other():
    async with Broker() as first, Broker() as second:
        first.redirect(place(second))
        second.redirect(place(first))
        error = await fails(client_of(first, second))
    assert "leads back to a server that was tried before" in str(error)


async def test_more_than_three():
    places: list[Any] = []
    async with (
        serve() as fifth,
        serve(refers(place(fifth))) as fourth,
        serve(refers(place(fourth))) as third,
        serve(refers(place(third))) as second,
        serve(refers(place(second))) as first,
    ):
        places = [first, second, third, fourth, fifth]
        client = client_of(first, redirect=lambda redirect: redirect.addresses)
        error = await fails(client)
        assert [len(server.peers) for server in places] == [1, 1, 1, 1, 0]
    assert str(error).endswith("not followed: there were 3 redirections before it")


async def test_an_unfollowed_redirection_of_a_connection_is_logged(caplog):
    async with serve(ends("other:22"), polite(5)) as server:
        client = client_of(server)
        with pytest.raises(MqttCodeError):
            async with asyncio.timeout(10), client:
                await client.publish("a", b"", 1)
        async with asyncio.timeout(10), client:
            assert len(server.peers) == 2
    [line] = [one for one in caplog.messages if "redirection" in one]
    assert line.startswith("The redirection is not followed: of its ports none")


async def test_never_from_tls_to_plain(certificates):
    """Whatever the program's function allows, the new server has to speak TLS."""
    begins = []

    async def plain(peer):
        begins.append(await peer._reader.readexactly(3))
        peer.send(b"\x20\x02\x00\x01\x00\x00")
        await gone(peer)

    tls = server_context(certificates.server)
    async with (
        serve(plain) as second,
        serve(refers(place(second)), tls=tls) as first,
    ):
        client = client_of(
            first,
            username="me",
            password="secret",
            redirect=lambda redirect: redirect.addresses,
            tls_params=TLSParameters(ca_certs=str(certificates.ca_file)),
        )
        error = await fails(client)
    assert "speaks no TLS" in str(error)
    assert begins == [b"\x16\x03\x01"]  # a ClientHello


async def test_the_new_server_must_have_its_own_certificate(certificates):
    tls, other = server_context(certificates.server), certificates.wrong_name
    async with (
        Broker(ssl_context=server_context(other)) as second,
        Broker(ssl_context=tls) as first,
    ):
        first.redirect(place(second))
        client = client_of(
            first,
            second,
            tls_params=TLSParameters(ca_certs=str(certificates.ca_file)),
        )
        error = await fails(client)
        assert second.statistics.clients_connected == 0
    assert "the certificate was not accepted" in str(error)


# --- the program's function ----------------------------------------------------------


async def test_a_function_chooses():
    asked: list[Redirect] = []
    async with serve(polite(5)) as second:
        reference = f"other:22 {place(second)}"
        async with serve(refers(reference, SERVER_MOVED)) as first:

            def choose(redirect):
                asked.append(redirect)
                return redirect.addresses[1:]

            client = client_of(first, redirect=choose)
            async with asyncio.timeout(10), client:
                assert len(second.peers) == 1
    [redirect] = asked
    assert redirect.source == place(first)
    assert redirect.reason_code == SERVER_MOVED
    assert redirect.addresses == (("other", 22), address(second))
    assert redirect.is_permanent


@pytest.mark.parametrize("result", [None, LookupError()])
async def test_a_function_that_fails(result):
    def choose(redirect):
        if result is not None:
            raise result

    async with serve(refers("other"), polite(5)) as first:
        client = client_of(first, redirect=choose)
        if result is None:
            await fails(client, TypeError, "redirect must return tuples")
        else:
            error = await fails(client)
            assert str(error) == (
                f"Could not follow the redirection by {place(first)}: the callable for"
                " redirect raised LookupError"
            )
            assert error.__cause__ is result
        async with asyncio.timeout(10), client:
            assert client.is_connected()


@pytest.mark.parametrize(
    ("redirect", "match"), [("yes", "not 'yes'"), (None, "not None"), (5, "not 5")]
)
def test_wrong_arguments(redirect, match):
    with pytest.raises(ValueError, match=f"^redirect must be 'raise', .*{match}$"):
        Client("a", redirect=redirect)


def test_a_coroutine_function_is_refused():
    async def choose(redirect):
        return redirect.addresses

    with pytest.raises(TypeError, match="^redirect must .* not be a coroutine"):
        Client("a", redirect=choose)  # type: ignore[arg-type]


def test_importing_the_library_does_not_load_what_most_programs_never_need():
    program = """
import sys, aiomqtt
aiomqtt.Client(["a", "b"], redirect="follow")
aiomqtt.Client("a", srv=True)
for name in ("aiomqtt.client.redirection", "aiomqtt.net.srv", "dns", "random"):
    assert name not in sys.modules, name
assert aiomqtt.Redirect
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


# --- cancellation --------------------------------------------------------------------


async def test_a_cancellation_at_any_step():
    async with Broker() as first, Broker() as second:
        client = client_of(first, second)
        first.redirect(place(second))
        for steps in range(0, 60, 3):
            await cancelled_after(steps, client.__aenter__())
            await client.__aexit__(None, None, None)
        await within(client.__aenter__())
        assert second.statistics.clients_connected == 1
        await client.__aexit__(None, None, None)


async def test_by_websocket():
    async with Broker() as first, Broker() as second:
        one = await first.listen(websocket=True)
        other = await second.listen(websocket=True)
        first.redirect(place(other))
        client = client_of(one, other, transport="websockets")
        async with asyncio.timeout(10), client:
            assert second.statistics.clients_connected == 1
