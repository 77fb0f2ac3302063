"""Real proxies: each kind, with and without a password, and what they refuse."""

from typing import Any

import pytest

import aiomqtt
from aiomqtt import MqttError, ProxySettings, TLSParameters
from aiomqtt.broker import Broker
from tests.integration.programs import payloads
from tests.own_broker import server_context
from tests.ports import free_port
from tests.proxies import Apache, Dante, Microsocks, RealProxy, Tinyproxy

SOCKS4, SOCKS5, HTTP = 1, 2, 3
KINDS: dict[str, tuple[type[RealProxy], bool]] = {
    "dante": (Dante, False),
    "microsocks": (Microsocks, False),
    "microsocks-password": (Microsocks, True),
    "tinyproxy": (Tinyproxy, False),
    "tinyproxy-password": (Tinyproxy, True),
    "apache": (Apache, False),
}
WAYS = [(name, number) for name, (kind, _) in KINDS.items() for number in kind.types]
OPEN = [(name, number) for name, number in WAYS if not KINDS[name][1]]
CLOSED = [(name, number) for name, number in WAYS if KINDS[name][1]]


@pytest.fixture(scope="module")
def proxies(tmp_path_factory):
    started = {}
    for name, (kind, passwords) in KINDS.items():
        started[name] = kind(tmp_path_factory.mktemp(name), passwords=passwords)
        started[name].start()
    yield started
    for proxy in started.values():
        proxy.stop()


def new_client(port: int, settings: ProxySettings, **options: Any) -> aiomqtt.Client:
    options.setdefault("hostname", "127.0.0.1")
    return aiomqtt.Client(port=port, proxy=settings, **options)


async def fails(client: aiomqtt.Client) -> str:
    with pytest.raises(MqttError) as caught:
        await client.__aenter__()
    return str(caught.value)


async def exchange(client: aiomqtt.Client) -> None:
    async with client:
        await client.subscribe("topic", 2)
        for size in (0, 1, 300_000):
            for qos in (0, 1, 2):
                await client.publish("topic", bytes(size), qos)
        received = await payloads(client, 9)
        assert [len(payload) for payload in received] == [
            size for size in (0, 1, 300_000) for _ in range(3)
        ]


@pytest.mark.parametrize(("name", "kind"), WAYS)
async def test_a_round_trip(name, kind, proxies, mosquitto):
    client = new_client(mosquitto.port, proxies[name].settings(kind))
    for _ in range(2):
        await exchange(client)


@pytest.mark.parametrize(("name", "kind"), OPEN)
@pytest.mark.parametrize("scheme", ["mqtts", "ws", "wss"])
async def test_tls_and_websocket(name, kind, scheme, proxies, certificates):
    options: dict[str, Any] = {}
    context = None
    if scheme != "ws":
        context = server_context(certificates.server)
        options["tls_params"] = TLSParameters(ca_certs=str(certificates.ca_file))
    if scheme != "mqtts":
        options["transport"] = "websockets"
    async with Broker(None) as broker:
        listener = await broker.listen(
            port=0, ssl_context=context, websocket=scheme != "mqtts"
        )
        settings = proxies[name].settings(kind)
        await exchange(new_client(listener.port, settings, **options))


@pytest.mark.parametrize(("name", "kind"), OPEN)
@pytest.mark.parametrize("rdns", [True, False])
async def test_a_name(name, kind, rdns, proxies, mosquitto):
    """It has addresses of both families, and the broker is at one of them."""
    settings = proxies[name].settings(kind, proxy_rdns=rdns)
    client = new_client(mosquitto.port, settings, hostname="localhost")
    if name == "dante" and kind == SOCKS4 and rdns:
        said = await fails(client)
        assert "it may take no names: with proxy_rdns=False it gets an address" in said
        return
    async with client:
        assert client.is_connected()


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name, kind in OPEN if kind != SOCKS4]
)
async def test_a_host_with_ipv6(name, kind, proxies):
    async with Broker(None) as broker:
        listener = await broker.listen("::1")
        settings = proxies[name].settings(kind)
        async with new_client(listener.port, settings, hostname="::1") as client:
            assert client.is_connected()


@pytest.mark.parametrize(("name", "kind"), OPEN)
async def test_the_next_of_several_brokers(name, kind, proxies, mosquitto):
    nowhere = free_port()
    brokers = [("127.0.0.1", nowhere), ("127.0.0.1", mosquitto.port)]
    settings = proxies[name].settings(kind)
    async with aiomqtt.Client(brokers, proxy=settings) as client:
        assert client.is_connected()


# --- refusals -----------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kind"), CLOSED)
async def test_the_wrong_password(name, kind, proxies):
    real = proxies[name]
    said = await fails(new_client(1, real.settings(kind, proxy_password="secret")))
    assert f"127.0.0.1:1 through {scheme(kind)}://127.0.0.1:{real.port}: " in said
    assert "the proxy did not accept the user name and password: check" in said
    assert "secret" not in said


@pytest.mark.parametrize(("name", "kind"), CLOSED)
async def test_no_password(name, kind, proxies):
    settings = proxies[name].settings(kind, proxy_username=None, proxy_password=None)
    said = await fails(new_client(1, settings))
    assert "the proxy needs a password: pass proxy_username and proxy_passwor" in said


@pytest.mark.parametrize(("name", "kind"), OPEN)
async def test_a_port_where_nothing_listens(name, kind, proxies):
    real, port = proxies[name], free_port()
    said = await fails(new_client(port, real.settings(kind)))
    start = f"Could not connect to 127.0.0.1:{port} through {scheme(kind)}://127.0.0.1:"
    assert said.startswith(f"{start}{real.port}: the proxy ")
    assert "does the broker run" in said


@pytest.mark.parametrize(("name", "kind"), OPEN)
async def test_a_name_that_the_proxy_can_not_resolve(name, kind, proxies):
    settings = proxies[name].settings(kind)
    said = await fails(new_client(1, settings, hostname="no.such.host.invalid"))
    assert "no.such.host.invalid:1 through" in said
    assert "is the hostname right" in said or "general failure" in said


@pytest.mark.parametrize(
    ("name", "kind"), [("dante", SOCKS4), ("dante", SOCKS5), ("apache", HTTP)]
)
async def test_a_host_that_the_rules_of_the_proxy_forbid(name, kind, proxies):
    real = proxies[name]
    said = await fails(new_client(real.refuses, real.settings(kind)))
    if kind == SOCKS4:  # which does not tell why
        assert "rejected or failed" in said
    else:
        assert "its rules forbid it: have its administrator allow this host" in said


@pytest.mark.parametrize("kind", [SOCKS4, SOCKS5, HTTP])
async def test_a_broker_that_is_taken_for_a_proxy(kind, mosquitto):
    settings = ProxySettings(
        proxy_type=kind, proxy_addr="127.0.0.1", proxy_port=mosquitto.port
    )
    said = await fails(new_client(1883, settings))
    assert f"127.0.0.1:1883 through {scheme(kind)}://127.0.0.1:{mosquitto.port}" in said
    assert "during the handshake" in said


@pytest.mark.parametrize(
    ("name", "kind", "meaning"),
    [
        ("dante", HTTP, "during the handshake|answer is no HTTP"),
        ("microsocks", HTTP, "during the handshake|answer is no HTTP"),
        ("microsocks", SOCKS4, "during the handshake|answer is no SOCKS4"),
        # It waits for the end of a line.
        ("tinyproxy", SOCKS5, "Operation timed out"),
        ("apache", SOCKS5, "the proxy speaks HTTP|Operation timed out"),
    ],
)
async def test_a_proxy_of_another_type(name, kind, meaning, proxies):
    client = new_client(1883, proxies[name].settings(kind), timeout=0.5)
    with pytest.raises(MqttError, match=meaning):
        await client.__aenter__()


def scheme(kind: int) -> str:
    return {SOCKS4: "socks4", SOCKS5: "socks5", HTTP: "http"}[kind]
