"""Callables for the credentials and the will, which are called for each attempt."""

import asyncio
import contextlib
import logging
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from aiomqtt import (
    Broker,
    Client,
    MqttConnectError,
    MqttError,
    MqttReentrantError,
    Properties,
    Will,
)
from aiomqtt.broker import ClientInfo
from tests.peer import serve
from tests.ports import free_port
from tests.raw_scripts import (
    accept,
    fails,
    gone,
    goodbye,
    lasting,
    new_client,
    polite,
    turns,
    within,
)

SECRET = "secret-token"
# Nothing listens there: a client with a wrong callable must not get that far.
NOWHERE = "127.0.0.1", 9


class Seen:
    """A broker that accepts one password, and the user names that came."""

    def __init__(self, password: str) -> None:
        self.password = password
        self.clients: list[ClientInfo] = []
        self.broker = Broker(authenticate=self._authenticate)

    async def _authenticate(self, client: ClientInfo) -> bool:
        self.clients.append(client)
        return client.password == self.password.encode()

    def client(self, **arguments: Any) -> Client:
        return Client(self.broker.name, transport="memory", **arguments)


@contextlib.asynccontextmanager
async def seeing(password: str = SECRET) -> AsyncIterator[Seen]:
    seen = Seen(password)
    async with seen.broker:
        yield seen


def returning(*results: Any) -> tuple[Callable[[], Any], list[Any]]:
    """A callable that returns, or raises, one after the other; and what is left."""
    left = list(results)

    async def call() -> Any:
        result = left.pop(0)
        if isinstance(result, BaseException):
            raise result
        return result

    return call, left


# --- credentials ----------------------------------------------------------------


async def test_they_are_called_for_each_attempt(version):
    async with seeing("second") as seen:
        credentials, left = returning(
            ("u1", "first"), ("u2", "second"), ("u3", "third")
        )
        client = seen.client(protocol=version, credentials=credentials)
        assert len(left) == 3
        await fails(client, MqttConnectError)
        async with client:
            assert len(left) == 1
        await fails(client, MqttConnectError)
        assert [one.username for one in seen.clients] == ["u1", "u2", "u3"]
        assert [one.password for one in seen.clients] == [b"first", b"second", b"third"]


@pytest.mark.parametrize("password", [SECRET, SECRET.encode()])
async def test_a_plain_function_will_do(password):
    async with seeing() as seen, seen.client(credentials=lambda: ["u", password]):
        assert [one.password for one in seen.clients] == [SECRET.encode()]


async def test_none_for_no_credentials():
    async with seeing() as seen:
        await fails(seen.client(credentials=lambda: (None, None)), MqttConnectError)
        await fails(seen.client(credentials=lambda: ("u", None)), MqttConnectError)
        assert [one.username for one in seen.clients] == [None, "u"]


async def test_a_password_alone_is_for_5():
    async with seeing() as seen:
        client = seen.client(credentials=lambda: (None, SECRET), protocol=5)
        async with client:
            assert seen.clients[0].username is None
        client = seen.client(credentials=lambda: (None, SECRET))
        error = await fails(client, ValueError, "password needs a username")
        assert SECRET not in shown(error)
        assert len(seen.clients) == 1


def shown(error: BaseException) -> str:
    """All that a traceback shows of an error and its causes."""
    return "".join(traceback.format_exception(error)) + repr(error)


@pytest.mark.parametrize(
    ("result", "error", "match"),
    [
        (None, TypeError, "credentials must return a tuple .*, not NoneType"),
        (f"u{SECRET}", TypeError, "credentials must return a tuple .*, not str"),
        (SECRET[:2], TypeError, "credentials must return a tuple .*, not str"),
        ({"u": SECRET}, TypeError, "credentials must return a tuple .*, not dict"),
        ((SECRET,), ValueError, "credentials must return .*, not 1 values"),
        (("u", SECRET, 60), ValueError, "credentials must return .*, not 3 values"),
        ((5, SECRET), TypeError, "credentials returned .*: username must be str"),
        (("u", [SECRET]), TypeError, "credentials returned .*: password must be str"),
        (("u", SECRET + "\ud800"), ValueError, "password must be well-formed UTF-8"),
        (("u\0", SECRET), ValueError, r"user name must not contain U\+0000"),
        (("u", SECRET * 9999), ValueError, "password must be at most 65535 bytes"),
    ],
)
async def test_a_wrong_result(result, error, match):
    async with seeing() as seen:
        credentials, _ = returning(result, ("u", SECRET))
        client = seen.client(credentials=credentials, identifier="i")
        raised = await fails(client, error, match)
        assert SECRET not in shown(raised)
        assert seen.clients == []
        async with client:
            assert len(seen.clients) == 1


async def test_a_wrong_result_does_not_end_the_session(version):
    """A CONNECT that can't be sent leaves the unfinished messages as they are."""

    async def loses(peer):
        await accept(peer, version)
        await peer.read_packet()
        peer.close()

    async with serve(loses) as server:
        credentials, _ = returning(("u", "p"), ("u\0", "p"))
        client = lasting(server, version, credentials=credentials)
        with pytest.raises(MqttError):
            async with client:
                await within(client.publish("t", b"kept", 1))
        await fails(client, ValueError, "user name")
        assert [one.payload for one in client.pending_messages()] == [b"kept"]


# --- errors and time ------------------------------------------------------------


async def test_an_exception_is_the_cause_of_an_mqtt_error():
    refused = ConnectionRefusedError(f"no token for {SECRET}")
    async with seeing() as seen:
        credentials, _ = returning(refused, ("u", SECRET))
        client = seen.client(credentials=credentials)
        error = await fails(client, MqttError)
        assert type(error) is MqttError
        assert str(error) == (
            f"Could not connect to memory:{seen.broker.name}: the callable for"
            " credentials raised ConnectionRefusedError"
        )
        assert error.__cause__ is refused
        assert seen.clients == []
        async with client:
            assert client.is_connected()


async def test_an_mqtt_error_passes_unchanged():
    mine = MqttConnectError(135, "the token server refuses this device")
    client = Client(*NOWHERE, credentials=returning(mine)[0])
    assert await fails(client, MqttConnectError) is mine


async def test_a_timeout_of_its_own_is_not_ours():
    """An HTTP client raises the TimeoutError that `asyncio.timeout` raises too."""
    client = Client(*NOWHERE, credentials=returning(TimeoutError())[0])
    error = await fails(client, MqttError, "credentials raised TimeoutError$")
    assert type(error.__cause__) is TimeoutError


@pytest.mark.parametrize("name", ["credentials", "will"])
async def test_the_timeout_includes_it(name):
    async with seeing() as seen:
        hang = True

        async def call() -> Any:
            if hang:
                await asyncio.Event().wait()
            return ("u", SECRET) if name == "credentials" else Will("t")

        client = seen.client(timeout=0.05, **{name: call})
        error = await fails(client, MqttError, "^Operation timed out$")
        assert str(error.__cause__) == (
            f"the callable for {name} did not return within 0.05 seconds"
        )
        assert seen.clients == []
        hang = False
        client.timeout = 10.0
        if name == "credentials":
            async with client:
                assert client.is_connected()


async def test_the_timeout_holds_if_it_catches_the_cancellation():
    async def call() -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "u", SECRET

    async with seeing() as seen:
        client = seen.client(credentials=call, timeout=0.05)
        await fails(client, MqttError, "^Operation timed out$")
        assert seen.clients == []


async def test_a_cancellation_within_it_is_a_failure():
    async def call() -> Any:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        return await future

    error = await fails(Client(*NOWHERE, credentials=call), MqttError)
    assert str(error).endswith("the callable for credentials raised RuntimeError")
    assert str(error.__cause__) == "it was cancelled"


async def test_connecting_gets_the_rest_of_the_timeout():
    async def silent(peer):
        await gone(peer)

    async with serve(silent) as server:
        client = new_client(server, credentials=lambda: ("u", SECRET), timeout=0.05)
        error = await fails(client, MqttError, "^Operation timed out$")
        # A slow machine may not even open the connection.
        assert str(error.__cause__).startswith(f"{server.host}:{server.port} ")


async def test_a_cancellation_leaves_nothing_behind():
    async with seeing() as seen:
        called, cancelled = asyncio.Event(), asyncio.Event()

        async def call() -> Any:
            if called.is_set():
                return "u", SECRET
            called.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        client = seen.client(credentials=call)
        entering = asyncio.create_task(client.__aenter__())
        await within(called.wait())
        with pytest.raises(MqttReentrantError):
            await client.__aenter__()
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await within(entering)
        assert cancelled.is_set()
        assert not client.is_connected()
        async with client:
            assert len(seen.clients) == 1


async def test_leaving_meanwhile_ends_the_attempt():
    async with seeing() as seen:
        called, answer = asyncio.Event(), asyncio.Event()

        async def call() -> Any:
            called.set()
            await answer.wait()
            return "u", SECRET

        client = seen.client(credentials=call)
        entering = asyncio.create_task(client.__aenter__())
        await within(called.wait())
        await within(client.disconnect())
        # Entered by another task, while the first attempt has not noticed.
        again = asyncio.create_task(client.__aenter__())
        await turns()
        answer.set()
        with pytest.raises(MqttError, match="^Disconnected$"):
            await within(entering)
        await within(again)
        assert client.is_connected()
        assert len(seen.clients) == 1
        await client.__aexit__(None, None, None)


async def test_each_broker_of_a_list_gets_its_own():
    first, second = free_port(), free_port()
    async with seeing() as seen:
        await seen.broker.listen(port=second)
        credentials, left = returning(("u", "unused"), ("u", SECRET))
        addresses = [("127.0.0.1", first), ("127.0.0.1", second)]
        async with Client(addresses, credentials=credentials):
            assert left == []
            assert [one.password for one in seen.clients] == [SECRET.encode()]


@pytest.mark.parametrize("failure", [OSError("no token"), MqttError("no token")])
async def test_its_failure_is_not_about_the_broker(failure):
    """Another broker would not get a token either."""
    credentials, left = returning(failure, ("u", SECRET))
    client = Client([NOWHERE, NOWHERE], credentials=credentials)
    error = await fails(client, MqttError)
    assert failure in (error, error.__cause__)
    assert len(left) == 1


# --- together with other ways ---------------------------------------------------


@pytest.mark.parametrize("name", ["username", "password"])
def test_one_way_at_a_time(name):
    arguments: dict[str, Any] = {name: SECRET, "credentials": lambda: ("u", "p")}
    with pytest.raises(ValueError, match=f"credentials and {name} can't be") as caught:
        Client("localhost", **arguments)
    assert SECRET not in shown(caught.value)


@pytest.mark.parametrize("wrong", [("u", "p"), "u", 5])
def test_they_must_be_a_callable(wrong):
    with pytest.raises(TypeError, match="credentials must be a callable, not"):
        Client("localhost", credentials=wrong)


async def test_set_credentials_is_for_fixed_ones():
    async with seeing() as seen:
        client = seen.client(credentials=lambda: ("u", SECRET))
        with pytest.raises(ValueError, match="has credentials, a callable"):
            client.set_credentials("u", "other")
        async with client:
            assert client.is_connected()


async def test_set_credentials_with_a_callable_for_the_will():
    async with seeing() as seen:
        client = seen.client(will=lambda: None)
        client.set_credentials("u", SECRET)
        async with client:
            assert client.is_connected()


async def test_what_the_program_sets_meanwhile_stays():
    """Its own callable may set what the next CONNECT says besides."""
    async with seeing() as seen:

        async def will() -> Will:
            client.set_credentials("u", SECRET)
            return Will("t")

        client = seen.client(will=will)
        async with client:
            assert seen.clients[0].username == "u"


async def test_the_log_shows_no_password(caplog):
    caplog.set_level(logging.DEBUG)
    async with seeing() as seen:
        client = seen.client(credentials=lambda: ("u", SECRET))
        async with client:
            assert SECRET not in repr(client) + repr(vars(client))
        assert "CONNECT" in caplog.text
        assert SECRET not in caplog.text


def test_clients_without_callables_do_not_load_the_module():
    program = """
import sys, aiomqtt
aiomqtt.Client("localhost", username="u", password="p", will=aiomqtt.Will("t"))
assert "aiomqtt.client.renewal" not in sys.modules
aiomqtt.Client("localhost", will=lambda: None)
assert "aiomqtt.client.renewal" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


# --- the will -------------------------------------------------------------------


async def cut(client: Client) -> None:
    """End the connection so that the broker publishes the will."""
    await client.__aenter__()
    assert client._calls is not None
    transport = client._calls.driver.writer.transport
    assert transport is not None
    transport.abort()
    await client.__aexit__(None, None, None)


@pytest.mark.parametrize("is_async", [True, False])
async def test_the_will_is_made_for_each_connection(version, is_async):
    wills = [Will("w", f"payload {number}", 1) for number in (1, 2)]
    will, _ = returning(*wills)
    if not is_async:
        made = iter(wills)
        will = lambda: next(made)  # noqa: E731
    async with (
        Broker() as broker,
        Client(broker.name, transport="memory") as other,
    ):
        await other.subscribe("w")
        client = Client(broker.name, transport="memory", will=will, protocol=version)
        for number in (1, 2):
            await cut(client)
            message = await within(anext(other.messages))
            assert message.payload == b"payload %d" % number


async def test_none_for_no_will():
    async def script(peer):
        body = await accept(peer)
        assert not body[7] & 0x04  # the Will Flag (3.1.1 §3.1.2.5)
        await goodbye(peer)

    async with serve(script) as server, new_client(server, will=lambda: None):
        pass


@pytest.mark.parametrize(
    ("will", "error", "match"),
    [
        ("t", TypeError, "will must be Will, not str"),
        (("t", b"x"), TypeError, "will must be Will, not tuple"),
        (Will("a/#"), ValueError, "the will's topic must not contain"),
        (Will("a", qos=3), ValueError, "the will's qos must be 0, 1 or 2"),
        (
            Will("a", properties=Properties(will_delay_interval=1)),
            ValueError,
            "since MQTT 5.0",
        ),
        (OSError("no status"), MqttError, "the callable for will raised OSError"),
    ],
)
async def test_a_wrong_will(will, error, match):
    async with serve(polite()) as server:
        call, _ = returning(will, Will("t"))
        client = new_client(server, will=call)
        await fails(client, error, match)
        async with client:
            assert client.is_connected()


async def test_both():
    async with seeing() as seen:
        called = []

        async def credentials() -> tuple[str, str]:
            called.append("credentials")
            return "u", SECRET

        async def will() -> Will:
            called.append("will")
            return Will("t")

        async with seen.client(credentials=credentials, will=will):
            assert called == ["credentials", "will"]
