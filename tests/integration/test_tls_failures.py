"""Handshakes that fail: each error says which check failed, and what to do.

With TLS and with secure WebSocket, by mosquitto and by our own broker.
"""

import re
import ssl
from typing import Any, NamedTuple

import pytest

from aiomqtt import Broker, Client, MqttCodeError, MqttError, TLSParameters
from tests.brokers import start_on_ports
from tests.certificates import DAY, Authority, Pair
from tests.documentation import ROOT
from tests.own_broker import server_context

PAGE = " ".join((ROOT / "docs" / "connection-errors.md").read_text().split())
OLD_CIPHER = "ECDHE-ECDSA-AES128-GCM-SHA256"
OTHER_CIPHER = "ECDHE-ECDSA-AES256-GCM-SHA384"
NO_REASON = "ended the TLS handshake: does this port expect TLS, or a client cert"
# The end of the advice when the broker does not say why.
ASKED = re.compile(r", or a(nother one| client certificate)\?$")
TLS_1_2 = {"tls_version": ssl.PROTOCOL_TLSv1_2}


class Files(NamedTuple):
    """The certificates of all rows: of the broker, and of the client."""

    ca_certs: str
    pairs: dict[str, Pair]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Files:
    authority = Authority(tmp_path_factory.mktemp("failures"))
    other = Authority(tmp_path_factory.mktemp("other-authority"))
    old, new = (-9 * DAY, -DAY), (DAY, 9 * DAY)
    sign = authority.sign
    found = {
        "good": sign("good"),
        "expired": sign("expired", valid=old),
        "not yet valid": sign("new", valid=new),
        "self-signed": sign("self", is_self_signed=True),
        "unknown authority": other.sign("other"),
        "other name": sign("name", names="DNS:broker.example"),
        "for clients": sign("clients", "clientAuth"),
        "client": sign("client", "clientAuth"),
        "expired client": sign("old-client", "clientAuth", valid=old),
        "client not yet valid": sign("new-client", "clientAuth", valid=new),
        "client of another authority": other.sign("client", "clientAuth"),
    }
    return Files(str(authority.ca_file), found)


class Listener(NamedTuple):
    """What a listener of a broker needs."""

    pair: str = "good"
    asks: bool = False  # for a certificate of the client
    only_tls_1_3: bool = False
    ciphers: str | None = None
    tls: bool = True


LISTENERS = {
    "expired": Listener("expired"),
    "not yet valid": Listener("not yet valid"),
    "self-signed": Listener("self-signed"),
    "unknown authority": Listener("unknown authority"),
    "other name": Listener("other name"),
    "for clients": Listener("for clients"),
    "asks": Listener(asks=True),
    "TLS 1.3": Listener(only_tls_1_3=True),
    "one cipher": Listener(ciphers=OLD_CIPHER),
    "good": Listener(),
    "plain": Listener(tls=False),
}


def settings(listener: Listener, files: Files, websocket: bool) -> str:
    """The lines of a listener in mosquitto.conf, below its port."""
    pair = files.pairs[listener.pair]
    lines = ["protocol websockets"] if websocket else []
    if not listener.tls:
        return "\n".join(lines)
    lines += [f"certfile {pair.certificate}", f"keyfile {pair.key}"]
    if listener.asks:
        lines += [f"cafile {files.ca_certs}", "require_certificate true"]
    if listener.only_tls_1_3:
        lines.append("tls_version tlsv1.3")
    if listener.ciphers:
        lines.append(f"ciphers {listener.ciphers}")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def mosquitto_ports(files, tmp_path_factory):
    """The ports of a mosquitto, by the name of the listener and the transport."""
    names = [
        (name, websocket)
        for name, listener in LISTENERS.items()
        for websocket in (False, True)
        if not (listener.only_tls_1_3 and websocket)
    ]

    def to_settings(ports):
        return "\n".join(
            f"listener {port} 127.0.0.1\n{settings(LISTENERS[name], files, websocket)}"
            for (name, websocket), port in zip(names, ports, strict=True)
        )

    directory = tmp_path_factory.mktemp("failing-mosquitto")
    broker, ports = start_on_ports(directory, len(names), to_settings)
    yield dict(zip(names, ports, strict=True))
    broker.stop()


def context_of(listener: Listener, files: Files) -> ssl.SSLContext | None:
    if not listener.tls:
        return None
    context = server_context(files.pairs[listener.pair], None)
    if listener.asks:
        context.load_verify_locations(files.ca_certs)
        context.verify_mode = ssl.CERT_REQUIRED
    if listener.only_tls_1_3:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    if listener.ciphers:
        context.set_ciphers(listener.ciphers)
    return context


@pytest.fixture(params=["mosquitto", "own"])
def kind(request):
    return request.param


@pytest.fixture(params=[False, True], ids=["tls", "wss"])
def websocket(request):
    return request.param


@pytest.fixture
async def connect(kind, websocket, files, request):
    """Make a client of a listener, given by its name."""
    broker = Broker(None)

    async def find_port(name: str) -> int:
        if kind == "mosquitto":
            ports: dict[tuple[str, bool], int] = request.getfixturevalue(
                "mosquitto_ports"
            )
            return ports[name, websocket]
        context = context_of(LISTENERS[name], files)
        listener = await broker.listen(ssl_context=context, websocket=websocket)
        return listener.port

    async def connect_to(
        name: str,
        *,
        tls: bool = True,
        server_hostname: str | None = None,
        **parameters: Any,
    ) -> Client:
        transport: Any = "websockets" if websocket else "tcp"
        own = parameters.pop("own", None)
        if own is not None:
            pair = files.pairs[own]
            parameters |= {
                "certfile": str(pair.certificate),
                "keyfile": str(pair.key),
            }
        parameters.setdefault("ca_certs", files.ca_certs)
        return Client(
            "localhost",
            await find_port(name),
            transport=transport,
            tls_params=TLSParameters(**parameters) if tls else None,
            server_hostname=server_hostname,
        )

    async with broker:
        yield connect_to


async def failure(client: Client) -> str:
    with pytest.raises(MqttError) as caught:
        await client.__aenter__()
    assert not isinstance(caught.value, MqttCodeError)
    # A connection that was closed cleanly has no error beneath.
    assert isinstance(caught.value.__cause__, OSError | type(None))
    assert "localhost:" in str(caught.value)
    return str(caught.value)


async def publish(client: Client) -> None:
    async with client:
        await client.publish("a", b"", 1)


OF_THE_BROKER = [
    ("expired", "certificate has expired: the broker's certificate has to be renewed"),
    ("not yet valid", "is not yet valid: is the clock right?"),
    ("self-signed", "certificate: if it is the broker's own, pass it as ca_certs"),
    ("unknown authority", "pass the certificate of the broker's authority as ca_certs"),
    ("other name", "if this is the broker, pass the name in its certificate as server"),
    ("for clients", "purpose: the broker needs a certificate for servers"),
]


@pytest.mark.parametrize(("listener", "match"), OF_THE_BROKER)
async def test_the_certificate_of_the_broker(connect, listener, match):
    said = await failure(await connect(listener))
    assert "the certificate was not accepted: " in said
    assert match in said
    assert match in PAGE


@pytest.mark.parametrize("kind", ["mosquitto"])
@pytest.mark.parametrize("version", [{}, TLS_1_2], ids=["1.3", "1.2"])
@pytest.mark.parametrize(
    ("own", "match"),
    [
        (None, "the broker wants a client certificate"),
        ("client of another authority", "does not know who signed the client cert"),
        ("expired client", "the client certificate has expired: renew certfile"),
        ("client not yet valid", "did not accept the client certificate: see its log"),
        ("good", "is it one for clients?"),
    ],
)
async def test_the_certificate_of_the_client(connect, own, match, version):
    said = await failure(await connect("asks", own=own, **version))
    assert match in PAGE
    if not version and match not in said:
        # In TLS 1.3 the alert may get lost: the broker closes while the first bytes of
        # the client are on their way, and on the same machine the client notices that
        # first, as it writes.
        assert ASKED.search(said)
    else:
        assert match in said
    # No other advice.
    assert said.count("?") <= 1


@pytest.mark.parametrize("kind", ["own"])
@pytest.mark.parametrize("version", [{}, TLS_1_2], ids=["1.3", "1.2"])
async def test_the_broker_does_not_say_why(connect, version):
    """The servers of asyncio send no alert."""
    said = await failure(await connect("asks", **version))
    assert ASKED.search(said)


async def test_a_good_certificate_of_the_client(connect):
    """A control."""
    await publish(await connect("asks", own="client"))


# mosquitto's WebSocket knows no tls_version.
@pytest.mark.parametrize(
    ("kind", "websocket"), [("mosquitto", False), ("own", False), ("own", True)]
)
async def test_no_version_in_common(connect, kind):
    said = await failure(await connect("TLS 1.3", **TLS_1_2))
    assert NO_REASON in said if kind == "own" else "no version of TLS in common" in said


async def test_no_cipher_in_common(connect, kind):
    said = await failure(await connect("one cipher", ciphers=OTHER_CIPHER, **TLS_1_2))
    assert NO_REASON in said if kind == "own" else "no cipher in common, or" in said


async def test_tls_to_a_port_without(connect):
    said = await failure(await connect("plain"))
    # A web server may answer, and say that this is no HTTP.
    assert NO_REASON in said or "speaks no TLS: does this port expect it?" in said


async def test_no_tls_to_a_port_with(connect):
    client = await connect("good", tls=False)
    with pytest.raises(MqttError, match="speaks TLS: pass|expect TLS|, or TLS"):
        await client.__aenter__()


@pytest.mark.parametrize("kind", ["own"])
async def test_the_advice_helps(connect, files):
    own = str(files.pairs["self-signed"].certificate)
    await publish(await connect("self-signed", ca_certs=own))
    await publish(await connect("other name", server_hostname="broker.example"))
