"""TLS: the context, and connections to the scripted peer."""

import asyncio
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

import aiomqtt.net.tls
from aiomqtt import Client, MqttError, TLSParameters
from aiomqtt.client.causes import to_action
from aiomqtt.net.tls import load_context, make_context
from tests.peer import CONNECT, serve
from tests.ports import free_port
from tests.raw_scripts import (
    CEILING,
    accept,
    gone,
    goodbye,
    polite,
    publish_bytes,
    within,
)


def server_context(pair):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    return context


def trusting(certificates, **values):
    return TLSParameters(ca_certs=str(certificates.ca_file), **values)


# --- the context ---------------------------------------------------------------


def test_it_verifies_by_default():
    context = make_context(TLSParameters())
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.get_ca_certs() is not None


@pytest.mark.parametrize(
    ("cert_reqs", "mode", "checks"),
    [
        (None, ssl.CERT_REQUIRED, True),
        (ssl.CERT_REQUIRED, ssl.CERT_REQUIRED, True),
        (ssl.CERT_OPTIONAL, ssl.CERT_OPTIONAL, True),
        (ssl.CERT_NONE, ssl.CERT_NONE, False),
        (0, ssl.CERT_NONE, False),
        (2, ssl.CERT_REQUIRED, True),
    ],
)
def test_cert_reqs(cert_reqs, mode, checks):
    context = make_context(TLSParameters(cert_reqs=cert_reqs))
    assert context.verify_mode is mode
    assert context.check_hostname is checks


V = ssl.TLSVersion


@pytest.mark.parametrize(
    ("name", "lowest", "highest"),
    [
        ("PROTOCOL_TLS", V.TLSv1_2, V.MAXIMUM_SUPPORTED),
        ("PROTOCOL_TLS_CLIENT", V.TLSv1_2, V.MAXIMUM_SUPPORTED),
        ("PROTOCOL_TLSv1_2", V.TLSv1_2, V.TLSv1_2),
        ("PROTOCOL_SSLv23", V.TLSv1_2, V.MAXIMUM_SUPPORTED),
    ],
)
def test_the_constants_of_tls_version_warn_of_nothing(name, lowest, highest):
    context = make_context(TLSParameters(tls_version=getattr(ssl, name)))
    assert context.maximum_version == highest
    assert context.minimum_version in (lowest, V.MINIMUM_SUPPORTED)
    assert context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize("path", [str, Path])
def test_paths(certificates, path):
    context = make_context(TLSParameters(ca_certs=path(certificates.ca_file)))
    assert len(context.get_ca_certs()) == 1


def test_a_version_by_its_number():
    context = make_context(TLSParameters(tls_version=5))
    assert context.minimum_version == context.maximum_version == V.TLSv1_2


@pytest.mark.parametrize(
    ("constant", "version"),
    [("PROTOCOL_TLSv1", V.TLSv1), ("PROTOCOL_TLSv1_1", V.TLSv1_1)],
)
def test_python_warns_of_versions_that_are_out_of_date(constant, version):
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context = make_context(TLSParameters(tls_version=getattr(ssl, constant)))
    assert context.maximum_version == version


def test_ciphers():
    context = make_context(TLSParameters(ciphers="ECDHE-ECDSA-AES256-GCM-SHA384"))
    names = {cipher["name"] for cipher in context.get_ciphers()}
    assert "ECDHE-ECDSA-AES256-GCM-SHA384" in names
    assert "ECDHE-RSA-AES128-GCM-SHA256" not in names


def test_files(certificates):
    context = make_context(
        trusting(
            certificates,
            certfile=str(certificates.client.certificate),
            keyfile=str(certificates.client.key),
            keyfile_password=certificates.client_key_password,
        )
    )
    assert len(context.get_ca_certs()) == 1


async def test_need_7_files_are_read_off_the_loop(monkeypatch):
    """Need 7: never blocks the loop."""
    threads = []
    enough = threading.Event()

    def slow(parameters):
        threads.append(threading.current_thread())
        assert enough.wait(CEILING), "the loop did not turn"
        return make_context(parameters)

    monkeypatch.setattr(aiomqtt.net.tls, "make_context", slow)
    turned = 0

    async def others():
        nonlocal turned
        while True:
            await asyncio.sleep(0.001)
            if threads:
                turned += 1
            if turned > 3:
                enough.set()

    task = asyncio.create_task(others())
    context = await load_context(None, TLSParameters(), insecure=False)
    task.cancel()
    assert isinstance(context, ssl.SSLContext)
    assert threads[0] is not threading.main_thread()


async def test_insecure_is_about_the_name_alone():
    mine = ssl.create_default_context()
    assert await load_context(mine, None, insecure=True) is mine
    assert not mine.check_hostname
    assert mine.verify_mode is ssl.CERT_REQUIRED
    context = await load_context(None, TLSParameters(), insecure=True)
    assert context is not None
    assert not context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert await load_context(None, None, insecure=False) is None


@pytest.fixture
async def failed_handshakes(anyio_backend):
    """Let the peer's end of a handshake fail in silence: debug mode reports it."""
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda *_: None)
    yield
    loop.set_exception_handler(handler)


# --- connections ---------------------------------------------------------------


@pytest.mark.parametrize("by", ["tls_params", "tls_context"])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_over_tls(certificates, version, by, host):
    options = {"tls_params": trusting(certificates)}
    if by == "tls_context":
        context = ssl.create_default_context(cafile=certificates.ca_file)
        options = {"tls_context": context}
    tls = server_context(certificates.server)
    async with serve(polite(version), again=True, tls=tls) as server:
        client = Client(host, server.port, protocol=version, **options)
        for _ in range(2):
            async with client:
                await within(client.publish("a", bytes(200_000), 2))
                await within(client.subscribe("a"))


REFUSED = [
    ("wrong_name", {}, "(?i)certificate.*(hostname|name)"),
    ("server", {"ca_certs": None}, "(?i)certificate"),
]


@pytest.mark.parametrize(("pair", "changed", "match"), REFUSED)
async def test_a_certificate_that_is_not_accepted(
    failed_handshakes, certificates, pair, changed, match
):
    parameters = TLSParameters(**{"ca_certs": str(certificates.ca_file), **changed})
    tls = server_context(getattr(certificates, pair))
    async with serve(polite(), tls=tls, again=True) as server:
        client = Client("localhost", server.port, tls_params=parameters)
        with pytest.raises(MqttError, match=match) as caught:
            await within(client.__aenter__())
        assert f"localhost:{server.port}" in str(caught.value)
        assert isinstance(caught.value.__cause__, ssl.SSLError)
        assert to_action(caught.value, "raise") == "stop"


async def test_another_name_when_told_that_it_does_not_matter(certificates):
    tls = server_context(certificates.wrong_name)
    async with serve(polite(), tls=tls) as server:
        client = Client(
            "localhost",
            server.port,
            tls_params=trusting(certificates),
            tls_insecure=True,
        )
        async with client:
            await within(client.publish("a", b"", 1))


async def test_a_broker_without_tls(certificates):
    async def script(peer):
        await gone(peer)

    async with serve(script, again=True) as server:
        client = Client(
            "localhost", server.port, tls_params=trusting(certificates), timeout=0.5
        )
        with pytest.raises(MqttError):
            await within(client.__aenter__())


async def test_a_broker_that_speaks_something_else(certificates):
    async def script(peer):
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serve(script) as server:
        client = Client("localhost", server.port, tls_params=trusting(certificates))
        with pytest.raises(MqttError, match=f"localhost:{server.port}") as caught:
            await within(client.__aenter__())
        assert isinstance(caught.value.__cause__, ssl.SSLError)
        assert to_action(caught.value, "raise") == "retry"


@pytest.mark.parametrize("argument", ["ca_certs", "certfile", "keyfile"])
async def test_a_file_that_is_not_there_is_named(certificates, argument):
    files: dict[str, Any] = {
        "certfile": str(certificates.server.certificate),
        "keyfile": str(certificates.server.key),
        argument: "/no/such/file",
    }
    port = free_port()
    client = Client("localhost", port, tls_params=TLSParameters(**files))
    text = f"localhost:{port}: the file of {argument} can't be read: .*'/no/such/file'"
    with pytest.raises(MqttError, match=text) as caught:
        await within(client.__aenter__())
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert to_action(caught.value, "raise") == "stop"


@pytest.mark.parametrize(
    ("files", "match", "action"),
    [
        # OpenSSL would ask for the password on the terminal.
        ("client client", "is encrypted: pass its keyfile_password$", "stop"),
        ("client client wrong", "can't be decrypted: is keyfile_passw", "stop"),
        # Perhaps only one of the two has been renewed yet.
        ("client server", "does not belong to certfile", "retry"),
        ("client ca", "or '.*' no key$", "stop"),
    ],
)
async def test_a_key_that_can_not_be_used(certificates, files, match, action):
    certificate, key, *password = files.split()
    paths = {
        "client": certificates.client.key,
        "server": certificates.server.key,
        "ca": certificates.ca_file,
    }
    parameters = TLSParameters(
        certfile=str(getattr(certificates, certificate).certificate),
        keyfile=str(paths[key]),
        keyfile_password=password[0] if password else None,
    )
    client = Client("localhost", free_port(), tls_params=parameters)
    with pytest.raises(MqttError, match=match) as caught:
        await within(client.__aenter__())
    assert isinstance(caught.value.__cause__, OSError)
    assert "wrong" not in str(caught.value)
    assert to_action(caught.value, "raise") == action


async def test_a_file_that_holds_no_certificate(certificates):
    parameters = TLSParameters(ca_certs=str(certificates.server.key))
    client = Client("localhost", free_port(), tls_params=parameters)
    match = "ca_certs '.*' holds no certificate"
    with pytest.raises(MqttError, match=match) as caught:
        await within(client.__aenter__())
    assert to_action(caught.value, "raise") == "stop"


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("127.0.0.2", "localhost"),
        ("127.0.0.2", "localhost."),
        ("localhost.", None),
    ],
)
async def test_the_name_to_verify_apart_from_the_address(certificates, host, name):
    asked = []
    tls = server_context(certificates.server)
    tls.sni_callback = lambda _socket, asked_for, _context: asked.append(asked_for)
    async with serve(polite(), tls=tls, host="0.0.0.0") as server:
        client = Client(
            host,
            server.port,
            tls_params=trusting(certificates),
            server_hostname=name,
        )
        try:
            async with client:
                await within(client.publish("a", b"", 1))
        except MqttError as error:
            if "can't be resolved" not in str(error):  # "localhost.", on some systems
                raise
        else:
            assert asked == ["localhost"]


async def test_a_name_that_is_not_in_the_certificate(failed_handshakes, certificates):
    tls = server_context(certificates.server)
    async with serve(polite(), tls=tls, again=True) as server:
        client = Client(
            "localhost",
            server.port,
            tls_params=trusting(certificates),
            server_hostname="broker.example",
        )
        with pytest.raises(MqttError, match="as server_hostname$"):
            await within(client.__aenter__())


async def test_need_18_two_packets_in_one_record(certificates, version):
    """Need 18: CONNACK and PUBLISH in the same TLS record."""

    async def script(peer):
        await peer.expect(CONNECT)
        accepted = b"\x20\x03\x00\x00\x00" if version == 5 else b"\x20\x02\x00\x00"
        peer.send(accepted + publish_bytes("t", b"with it", version=version))
        await goodbye(peer)

    async with serve(script, tls=server_context(certificates.server)) as server:
        parameters = trusting(certificates)
        client = Client(
            "localhost", server.port, protocol=version, tls_params=parameters
        )
        async with client:
            assert (await within(anext(client.messages))).payload == b"with it"


async def test_need_18_a_swapped_file_is_used_at_the_next_connection(
    failed_handshakes, certificates, tmp_path
):
    """Need 18: the files are read anew for each connection."""
    trusted = tmp_path / "ca.crt"
    trusted.write_bytes(certificates.wrong_name.certificate.read_bytes())
    tls = server_context(certificates.server)
    async with serve(polite(), tls=tls, again=True) as server:
        parameters = TLSParameters(ca_certs=str(trusted))
        client = Client("localhost", server.port, tls_params=parameters)
        with pytest.raises(MqttError, match="certificate"):
            await within(client.__aenter__())
        trusted.write_bytes(certificates.ca_file.read_bytes())
        async with client:
            await within(client.publish("a", b"", 1))


async def test_the_end_over_tls(certificates, version):
    async def script(peer):
        await accept(peer, version)
        peer.close()

    async with serve(script, tls=server_context(certificates.server)) as server:
        parameters = trusting(certificates)
        client = Client(
            "localhost", server.port, protocol=version, tls_params=parameters
        )
        with pytest.raises(MqttError):
            async with asyncio.timeout(10), client:
                await anext(client.messages)
