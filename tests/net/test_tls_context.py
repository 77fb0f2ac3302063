"""TLS: a context from the program, and the protocols that are offered (ALPN)."""

import asyncio
import contextlib
import ssl
import threading

import pytest

from aiomqtt import Broker, Client, MqttError, TLSParameters
from aiomqtt.net.tls import load_context
from tests.peer import serve
from tests.ports import free_port
from tests.raw_scripts import accept, serve_politely, within

AWS = "x-amzn-mqtt-ca"


def server_context(certificates, *alpn):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server.certificate, certificates.server.key)
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


# --- a callable ---------------------------------------------------------------------


def plain(make):
    return lambda: make()


def coroutine(make):
    async def function():
        await asyncio.sleep(0)
        return make()

    return function


def plain_with_awaitable(make):
    return lambda: coroutine(make)()


def with_call(make):
    class Source:
        async def __call__(self):
            return make()

    return Source()


KINDS = [plain, coroutine, plain_with_awaitable, with_call]


@pytest.mark.parametrize("websocket", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_it_is_called_for_each_connection(certificates, kind, websocket):
    calls = []

    def make():
        calls.append(threading.current_thread() is threading.main_thread())
        return ssl.create_default_context(cafile=certificates.ca_file)

    async with Broker(None) as broker:
        listener = await broker.listen(
            ssl_context=server_context(certificates), websocket=websocket
        )
        client = Client(
            "localhost",
            listener.port,
            transport="websockets" if websocket else "tcp",
            tls_context=kind(make),
        )
        assert calls == []
        for count in (1, 2):
            async with client:
                await within(client.publish("a", b"", 1))
            assert len(calls) == count
    # Making a context blocks, so a plain function runs in a thread.
    assert set(calls) == {kind is not plain}


async def test_the_loop_turns_while_a_plain_function_runs():
    turned = threading.Event()

    def make():
        assert turned.wait(10), "the loop did not turn"
        return ssl.create_default_context()

    loading = asyncio.create_task(load_context(make, None, insecure=False))
    await asyncio.sleep(0)
    turned.set()
    context = await within(loading)
    assert isinstance(context, ssl.SSLContext)


@pytest.mark.parametrize("kind", KINDS)
async def test_it_returns_something_else(kind):
    make = kind(TLSParameters)
    client = Client("localhost", free_port(), tls_context=make)
    text = "^the callable for tls_context must return an SSLContext, not TLSParameters$"
    with pytest.raises(TypeError, match=text):
        await within(client.__aenter__())
    assert not client.is_connected()


@pytest.mark.parametrize("kind", KINDS)
async def test_it_fails(kind):
    errors = [
        (FileNotFoundError(2, "gone", "ca.crt"), "FileNotFoundError: gone: 'ca.crt'"),
        # Its text may hold a secret.
        (ValueError("token 123 has expired"), "ValueError"),
    ]
    remaining = [error for error, _ in errors]

    def make():
        raise remaining.pop(0)

    port = free_port()
    client = Client("localhost", port, tls_context=kind(make))
    for error, text in errors:
        with pytest.raises(MqttError) as caught:
            await within(client.__aenter__())
        assert str(caught.value) == (
            f"Could not connect to localhost:{port}: the callable for tls_context"
            f" raised {text}"
        )
        assert caught.value.__cause__ is error


async def test_a_coroutine_that_goes_on_after_its_cancellation():
    """A timeout ends the attempt all the same."""

    async def make():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return ssl.create_default_context()

    client = Client("localhost", free_port(), tls_context=make, timeout=0.05)
    with pytest.raises(MqttError) as caught:
        await within(client.__aenter__())
    assert str(caught.value.__cause__) == (
        "the callable for tls_context did not return within 0.05 seconds"
    )


async def test_a_coroutine_whose_task_is_cancelled():
    """The task that enters the client is not."""

    async def make():
        task = asyncio.ensure_future(asyncio.Event().wait())
        task.cancel()
        await task

    client = Client("localhost", free_port(), tls_context=make)
    with pytest.raises(MqttError, match="tls_context raised RuntimeError$"):
        await within(client.__aenter__())


async def test_its_own_mqtt_error_passes(certificates):
    def make():
        raise MqttError("fetching the certificates failed")

    client = Client("localhost", free_port(), tls_context=make)
    with pytest.raises(MqttError, match="^fetching the certificates failed$"):
        await within(client.__aenter__())


async def test_insecure_counts_for_a_context_from_a_callable(certificates):
    made = []

    def make():
        made.append(ssl.create_default_context(cafile=certificates.ca_file))
        return made[-1]

    context = await load_context(make, None, insecure=True)
    assert context is made[0]
    assert not context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


# --- ALPN ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "known", "selected"),
    [
        ([AWS], [AWS], AWS),
        (["mqtt", AWS], [AWS], AWS),
        # The server decides among those that both have.
        (["mqtt", AWS], [AWS, "mqtt"], AWS),
        (None, [AWS], None),
        ([], [AWS], None),
    ],
)
async def test_the_protocol_is_negotiated(certificates, offered, known, selected):
    found = []

    async def script(peer):
        tls = peer._writer.get_extra_info("ssl_object")
        found.append(tls.selected_alpn_protocol())
        await accept(peer)
        await serve_politely(peer)

    tls = server_context(certificates, *known)
    async with serve(script, again=True, tls=tls) as server:
        parameters = TLSParameters(
            ca_certs=str(certificates.ca_file), alpn_protocols=offered
        )
        client = Client(server.host, server.port, tls_params=parameters)
        async with client:
            await within(client.publish("a", b"", 1))
    assert found == [selected]
