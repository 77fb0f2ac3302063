"""Need 18: certificates that are replaced are used from the next connection on."""

import shutil
import ssl

import pytest

from aiomqtt import Broker, Client, MqttError, TLSParameters
from tests.brokers import start_on_ports
from tests.certificates import DAY, Authority
from tests.integration.programs import unique, until_logged
from tests.own_broker import server_context
from tests.ports import free_port
from tests.raw_scripts import within


@pytest.fixture(scope="module")
def authorities(tmp_path_factory):
    old = Authority(tmp_path_factory.mktemp("old"))
    new = Authority(tmp_path_factory.mktemp("new"))
    return old, new


@pytest.fixture(scope="module")
def pairs(authorities):
    """The client's certificates, one after the other."""
    first, second = (
        authorities[0].sign(name, "clientAuth", "DNS:client.example")
        for name in ("first", "second")
    )
    expired = authorities[0].sign(
        "expired", "clientAuth", "DNS:client.example", valid=(-9 * DAY, -DAY)
    )
    return {"first": first, "second": second, "expired": expired}


@pytest.fixture
def files(tmp_path):
    """The client's files, as arguments of its parameters."""
    return {
        "certfile": str(tmp_path / "client.crt"),
        "keyfile": str(tmp_path / "client.key"),
    }


async def test_need_18_a_renewed_client_certificate(
    tmp_path_factory, authorities, pairs, files
):
    """mosquitto takes the user name from the certificate."""

    def install(name):
        shutil.copy(pairs[name].certificate, files["certfile"])
        shutil.copy(pairs[name].key, files["keyfile"])

    authority = authorities[0]
    server = authority.sign("mosquitto")
    broker, [port] = start_on_ports(
        tmp_path_factory.mktemp("rotation"),
        1,
        lambda ports: (
            f"""
listener {ports[0]} 127.0.0.1
certfile {server.certificate}
keyfile {server.key}
cafile {authority.ca_file}
require_certificate true
use_identity_as_username true
"""
        ),
    )
    parameters = TLSParameters(ca_certs=str(authority.ca_file), **files)
    identifier = unique("rotated")
    client = Client("localhost", port, identifier=identifier, tls_params=parameters)
    try:
        for name in ("first", "second"):
            install(name)
            async with client:
                await within(client.publish("a", b"", 1))
            await until_logged(broker, f"u'{name}'")
        install("expired")
        with pytest.raises(MqttError):
            await client.__aenter__()
        install("first")
        async with client:
            await within(client.publish("a", b"", 1))
        await until_logged(broker, "u'first'", 2)
    finally:
        broker.stop()


async def test_need_18_a_renewed_authority(authorities, tmp_path):
    """The broker gets a certificate of another authority, and the client its file."""
    old, new = authorities
    trusted, port = tmp_path / "ca.crt", free_port()
    parameters = TLSParameters(ca_certs=str(trusted))
    client = Client("localhost", port, tls_params=parameters)
    for authority, other in ((old, new), (new, old), (old, new)):
        context = server_context(authority.sign("server"))
        async with Broker(port=port, ssl_context=context):
            trusted.write_bytes(other.ca_file.read_bytes())
            with pytest.raises(MqttError, match="certificate was not accepted") as no:
                await within(client.__aenter__())
            assert isinstance(no.value.__cause__, ssl.SSLCertVerificationError)
            trusted.write_bytes(authority.ca_file.read_bytes())
            async with client:
                await within(client.publish("a", b"", 1))


async def test_both_authorities_during_the_change(authorities, tmp_path):
    trusted = tmp_path / "both.crt"
    trusted.write_bytes(b"".join(each.ca_file.read_bytes() for each in authorities))
    parameters = TLSParameters(ca_certs=str(trusted))
    for authority in authorities:
        context = server_context(authority.sign("both"))
        async with Broker(ssl_context=context) as broker:
            client = Client("localhost", broker.port, tls_params=parameters)
            async with client:
                await within(client.publish("a", b"", 1))
