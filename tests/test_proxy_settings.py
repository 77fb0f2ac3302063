"""ProxySettings: the rules of its arguments; its password stays secret."""

import traceback
from typing import Any

import pytest

import aiomqtt
from aiomqtt import Client, ProxySettings


def make(**arguments: Any) -> ProxySettings:
    return ProxySettings(**{"proxy_type": 2, "proxy_addr": "localhost", **arguments})


def test_by_keyword():
    settings = make(proxy_port=1080)
    assert settings.proxy_args == {
        "proxy_type": 2,
        "proxy_addr": "localhost",
        "proxy_rdns": True,
        "proxy_username": None,
        "proxy_password": None,
        "proxy_port": 1080,
    }
    with pytest.raises(TypeError):
        ProxySettings(2, "localhost")  # type: ignore[misc]


def test_it_is_one_class_at_each_of_its_paths():
    assert aiomqtt.client.ProxySettings is aiomqtt.types.ProxySettings is ProxySettings


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"proxy_type": 0}, ValueError, r"proxy_type must be 1 \(SOCKS4\), 2 .* not 0"),
        ({"proxy_type": 4}, ValueError, "proxy_type must be"),
        ({"proxy_type": "socks5"}, TypeError, "proxy_type must be int, not str"),
        ({"proxy_type": None}, TypeError, "proxy_type must be int, not None"),
        ({"proxy_addr": ""}, ValueError, "proxy_addr must be a host name"),
        ({"proxy_addr": None}, TypeError, "proxy_addr must be str, not None"),
        ({"proxy_addr": b"a"}, TypeError, "proxy_addr must be str, not bytes"),
        ({"proxy_addr": "a\0b"}, ValueError, "proxy_addr must be a host name"),
        ({"proxy_addr": "a b"}, ValueError, "proxy_addr must be a host name"),
        ({"proxy_addr": "a\r\nb"}, ValueError, "proxy_addr must be a host name"),
        (
            {"proxy_addr": "proxy.example:3128"},
            ValueError,
            "pass proxy_addr='proxy.example', proxy_port=3128$",
        ),
        (
            {"proxy_addr": "http://u:secret@proxy.example"},
            ValueError,
            "not a URL: the other parts of a URL are proxy_type",
        ),
        ({"proxy_addr": "u:secret@proxy.example"}, ValueError, "not a URL"),
        ({"proxy_port": 0}, ValueError, "proxy_port must be 1 to 65535, not 0"),
        ({"proxy_port": 65536}, ValueError, "proxy_port must be 1 to 65535"),
        ({"proxy_port": "1080"}, TypeError, "proxy_port must be int, not str"),
        ({"proxy_rdns": "no"}, TypeError, "proxy_rdns must be bool"),
        ({"proxy_username": b"u"}, TypeError, "proxy_username must be str or None"),
        ({"proxy_password": b"secret"}, TypeError, "proxy_password must be str or No"),
        ({"proxy_password": "secret"}, ValueError, "proxy_password needs proxy_userna"),
        ({"proxy_username": "u"}, ValueError, "proxy_username needs proxy_password"),
        (
            {"proxy_type": 3, "proxy_password": "secret"},
            ValueError,
            "proxy_password needs proxy_username",
        ),
        (
            {"proxy_type": 3, "proxy_username": "u:v", "proxy_password": "secret"},
            ValueError,
            "proxy_username must not have a colon",
        ),
        (
            {"proxy_type": 1, "proxy_username": "u", "proxy_password": "secret"},
            ValueError,
            "proxy_password can't be combined with SOCKS4",
        ),
        ({"proxy_type": 1, "proxy_username": "\xe4"}, ValueError, "must be ASCII"),
        ({"proxy_type": 1, "proxy_username": "a\0"}, ValueError, "without a NUL"),
        (
            {"proxy_username": "u", "proxy_password": "secret" + "\xe4" * 128},
            ValueError,
            "at most 255 bytes",
        ),
        (
            {"proxy_username": "u", "proxy_password": "secret\ud800"},
            ValueError,
            "proxy_password must be well-formed UTF-8",
        ),
    ],
)
def test_wrong_arguments(arguments, error, match):
    with pytest.raises(error, match=match) as caught:
        make(**arguments)
    assert "secret" not in "".join(traceback.format_exception(caught.value)[2:])
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize("nothing", ["", None])
def test_an_empty_credential_is_none(nothing):
    make(proxy_username=nothing, proxy_password=nothing)
    make(proxy_type=1, proxy_username="u", proxy_password=nothing)
    make(proxy_type=3, proxy_username="u", proxy_password=nothing)


def test_the_password_is_secret():
    settings = make(proxy_username="u", proxy_password="secret", proxy_port=5)
    assert repr(settings) == (
        "ProxySettings(proxy_type=2, proxy_addr='localhost', proxy_rdns=True,"
        " proxy_username='u', proxy_port=5)"
    )
    client: Any = Client("broker.example", proxy=settings)
    target = client._addresses.targets[0]
    assert "secret" not in repr(client) + repr(target) + repr(target.proxy)
    assert "secret" not in str(target) + str(vars(target))


@pytest.mark.parametrize(
    ("arguments", "way"),
    [
        ({"proxy_type": 1}, "socks4://localhost:1080"),
        ({"proxy_type": 2}, "socks5://localhost:1080"),
        ({"proxy_type": 3}, "http://localhost:8080"),
        ({"proxy_type": 3, "proxy_port": 3128}, "http://localhost:3128"),
        ({"proxy_type": 2, "proxy_addr": "::1"}, "socks5://[::1]:1080"),
    ],
)
def test_the_address_in_messages(arguments, way):
    proxy = make(**arguments)
    for options, address in (
        ({"hostname": "broker.example"}, "broker.example:1883"),
        ({"hostname": "192.0.2.1", "port": 5}, "192.0.2.1:5"),
        (
            {"hostname": "broker.example", "transport": "websockets"},
            "ws://broker.example:1883/mqtt",
        ),
    ):
        client: Any = Client(proxy=proxy, **options)
        assert str(client._addresses.targets[0]) == f"{address} through {way}"


def test_wrong_arguments_of_the_client():
    with pytest.raises(TypeError, match="proxy must be ProxySettings or None, not str"):
        Client("broker.example", proxy="socks5://localhost")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="SOCKS4 has no IPv6"):
        Client("::1", proxy=make(proxy_type=1))
    for transport in ("unix", "memory"):
        with pytest.raises(ValueError, match="proxy can't be combined with transport"):
            Client("broker", transport=transport, proxy=make())  # type: ignore[arg-type]
