"""TLS over TCP, against a broker with certificates of our own authority."""

import asyncio
import ssl
from typing import Any

import pytest

import aiomqtt
from tests.certificates import Certificates
from tests.integration.programs import client_of, payloads, unique


@pytest.fixture(params=["mosquitto", "own"])
def broker_kind(request: pytest.FixtureRequest) -> str:
    """There is no TLS in memory."""
    kind: str = request.param
    return kind


@pytest.fixture
def own_certificates(certificates: Certificates) -> Certificates:
    return certificates


def trusting(broker, **options: Any) -> aiomqtt.TLSParameters:
    return aiomqtt.TLSParameters(ca_certs=str(broker.ca_file), **options)


async def round_trip(client: aiomqtt.Client) -> None:
    topic = unique("tls")
    async with client:
        await client.subscribe(topic, 2)
        for qos in (0, 1, 2):
            await client.publish(topic, bytes(100_000), qos)
        assert await payloads(client, 3) == [bytes(100_000)] * 3


async def failure(client: aiomqtt.Client) -> aiomqtt.MqttError:
    """Why the client can't connect; it isn't a matter of credentials."""
    with pytest.raises(aiomqtt.MqttError) as caught:
        await client.__aenter__()
    assert not isinstance(caught.value, aiomqtt.MqttCodeError)
    assert not client.is_connected()
    return caught.value


async def test_with_parameters(broker, version):
    params = trusting(broker)
    client = client_of(broker, version, port=broker.tls_port, tls_params=params)
    await round_trip(client)
    await round_trip(client)


async def test_with_a_context(broker, version):
    context = ssl.create_default_context(cafile=broker.ca_file)
    client = client_of(broker, version, port=broker.tls_port, tls_context=context)
    await round_trip(client)
    await round_trip(client)


async def test_by_host_name(broker):
    client = aiomqtt.Client("localhost", broker.tls_port, tls_params=trusting(broker))
    await round_trip(client)


# More than TCP keeps, in one version: what is encrypted has nothing to do with it.
@pytest.mark.parametrize(
    ("version", "size"), [(3, 1 << 20), (4, 1 << 20), (5, 4 << 20)]
)
async def test_large_payloads_both_ways(broker, version, size):
    """Each way two of them, at the same time."""
    payload, topic = bytes(range(256)) * (size // 256), unique("large")
    params = trusting(broker)
    async with client_of(
        broker, version, port=broker.tls_port, tls_params=params, timeout=60
    ) as client:
        await client.subscribe(topic, 1)
        publishing = [client.publish(topic, payload, 1) for _ in range(2)]
        await asyncio.gather(*publishing)
        assert await payloads(client, 2) == [payload, payload]


# --- what is not trusted ------------------------------------------------------------


async def test_an_unknown_authority_is_refused_by_default(broker):
    client = client_of(broker, port=broker.tls_port, tls_params=aiomqtt.TLSParameters())
    error = await failure(client)
    assert f"127.0.0.1:{broker.tls_port}" in str(error)
    assert "certificate" in str(error)
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)


async def test_the_default_context_refuses_an_unknown_authority(broker):
    context = ssl.create_default_context()
    client = client_of(broker, port=broker.tls_port, tls_context=context)
    error = await failure(client)
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)


async def test_a_certificate_for_another_name_is_refused(broker):
    port = broker.wrong_name_port
    client = client_of(broker, port=port, tls_params=trusting(broker))
    error = await failure(client)
    assert f"127.0.0.1:{port}" in str(error)
    assert "IP address mismatch" in str(error)
    client = aiomqtt.Client("localhost", port, tls_params=trusting(broker))
    error = await failure(client)
    assert f"localhost:{port}" in str(error)
    assert "Hostname mismatch" in str(error)
    assert "localhost" in str(error)
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)


@pytest.mark.parametrize("how", ["params", "context"])
async def test_insecure_takes_any_name_but_not_any_authority(broker, how):
    def insecure(authority: Any) -> aiomqtt.Client:
        tls: dict[str, Any]
        if how == "params":
            tls = {"tls_params": aiomqtt.TLSParameters(ca_certs=authority)}
        else:
            tls = {"tls_context": ssl.create_default_context(cafile=authority)}
        port = broker.wrong_name_port
        return client_of(broker, port=port, tls_insecure=True, **tls)

    await round_trip(insecure(str(broker.ca_file)))
    error = await failure(insecure(None))
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)


async def test_no_certificate_is_wanted_with_cert_none(broker):
    params = aiomqtt.TLSParameters(cert_reqs=ssl.CERT_NONE)
    await round_trip(client_of(broker, port=broker.wrong_name_port, tls_params=params))


async def test_tls_to_a_port_without(broker):
    client = client_of(broker, tls_params=trusting(broker), timeout=5)
    error = await failure(client)
    assert f"127.0.0.1:{broker.port}" in str(error)
    # The same client connects when it is told better; nothing is left of this.
    await failure(client)


async def test_no_tls_to_a_port_with(broker):
    error = await failure(client_of(broker, port=broker.tls_port, timeout=5))
    assert f"127.0.0.1:{broker.tls_port}" in str(error)


@pytest.mark.parametrize("constant", ["PROTOCOL_TLS_CLIENT", "PROTOCOL_TLSv1_2"])
async def test_a_version_of_tls(broker, constant):
    params = trusting(broker, tls_version=getattr(ssl, constant))
    await round_trip(client_of(broker, port=broker.tls_port, tls_params=params))


async def test_ciphers(broker):
    params = trusting(broker, ciphers="ECDHE-ECDSA-AES256-GCM-SHA384")
    await round_trip(client_of(broker, port=broker.tls_port, tls_params=params))
    wrong = trusting(broker, ciphers="NO-SUCH-CIPHER")
    error = await failure(client_of(broker, port=broker.tls_port, tls_params=wrong))
    assert isinstance(error.__cause__, ssl.SSLError)


# --- the client's own certificate ---------------------------------------------------


async def test_a_client_certificate(broker, certificates):
    params = trusting(
        broker,
        certfile=str(certificates.client.certificate),
        keyfile=str(certificates.client.key),
        keyfile_password=certificates.client_key_password,
    )
    assert certificates.client_key_password not in repr(params)
    await round_trip(client_of(broker, port=broker.mutual_tls_port, tls_params=params))


async def test_a_missing_client_certificate(broker):
    client = client_of(broker, port=broker.mutual_tls_port, tls_params=trusting(broker))
    error = await failure(client)
    assert f"127.0.0.1:{broker.mutual_tls_port}" in str(error)


async def test_a_wrong_password_for_the_clients_key(broker, certificates):
    params = trusting(
        broker,
        certfile=str(certificates.client.certificate),
        keyfile=str(certificates.client.key),
        keyfile_password="wrong",
    )
    client = client_of(broker, port=broker.mutual_tls_port, tls_params=params)
    error = await failure(client)
    assert isinstance(error.__cause__, ssl.SSLError)


async def test_a_file_that_is_missing(broker, tmp_path):
    params = aiomqtt.TLSParameters(ca_certs=str(tmp_path / "missing.crt"))
    client = client_of(broker, port=broker.tls_port, tls_params=params)
    error = await failure(client)
    assert isinstance(error.__cause__, FileNotFoundError)
    (tmp_path / "missing.crt").write_bytes(broker.ca_file.read_bytes())
    await round_trip(client)


async def test_a_changed_file_counts_from_the_next_connection(
    broker, certificates, tmp_path
):
    authority = tmp_path / "ca.crt"
    authority.write_bytes(broker.ca_file.read_bytes())
    params = aiomqtt.TLSParameters(ca_certs=str(authority))
    client = client_of(broker, port=broker.tls_port, tls_params=params)
    await round_trip(client)
    authority.write_bytes(certificates.client.certificate.read_bytes())
    await failure(client)
    authority.write_bytes(broker.ca_file.read_bytes())
    await round_trip(client)
