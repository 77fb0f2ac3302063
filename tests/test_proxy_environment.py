"""The proxy of the environment variables: which one, for which hosts, and errors."""

import os
import traceback
from typing import Any

import pytest

from aiomqtt import Client, ProxySettings
from aiomqtt.proxy_environment import VARIABLES, is_exception

NAMES = {name for names in VARIABLES.values() for name in names}
NAMES |= {"no_proxy", "NO_PROXY", "HTTP_PROXY", "http_proxy"}


def set_only(monkeypatch, **variables):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def arguments_of(settings: ProxySettings | None) -> dict[str, Any]:
    assert settings is not None
    return settings.proxy_args


def proxy_of(client: Any) -> str | None:
    proxy = client._addresses.targets[0].proxy
    return None if proxy is None else str(proxy)


@pytest.mark.parametrize(
    ("url", "kind", "address", "resolves", "name", "word", "port"),
    [
        ("socks5h://proxy.example:9050", 2, "proxy.example", True, None, None, 9050),
        ("socks5://proxy.example", 2, "proxy.example", False, None, None, 1080),
        ("socks4a://proxy.example", 1, "proxy.example", True, None, None, 1080),
        ("socks4://proxy.example", 1, "proxy.example", False, None, None, 1080),
        ("socks://proxy.example", 1, "proxy.example", False, None, None, 1080),
        ("http://proxy.example", 3, "proxy.example", True, None, None, 1080),
        ("HTTP://Proxy.Example:3128/", 3, "proxy.example", True, None, None, 3128),
        ("proxy.example:3128", 3, "proxy.example", True, None, None, 3128),
        ("proxy.example", 3, "proxy.example", True, None, None, 1080),
        ("http://[::1]:3128", 3, "::1", True, None, None, 3128),
        ("http://u:p%40s%3A@[2001:db8::1]", 3, "2001:db8::1", True, "u", "p@s:", 1080),
        ("u:p@proxy.example:80", 3, "proxy.example", True, "u", "p", 80),
        ("http://u@proxy.example", 3, "proxy.example", True, "u", None, 1080),
        ("socks5h://u:p@proxy.example", 2, "proxy.example", True, "u", "p", 1080),
        ("socks5h://m%C3%A4:%E2%82%AC@a", 2, "a", True, "m\xe4", "\u20ac", 1080),
        # Without room for a password, it is left out.
        ("socks4://u:p@proxy.example", 1, "proxy.example", False, "u", None, 1080),
    ],
)
def test_the_url(monkeypatch, url, kind, address, resolves, name, word, port):
    set_only(monkeypatch, ALL_PROXY=url)
    assert arguments_of(ProxySettings.from_environment()) == {
        "proxy_type": kind,
        "proxy_addr": address,
        "proxy_rdns": resolves,
        "proxy_username": name,
        "proxy_password": word,
        "proxy_port": port,
    }


@pytest.mark.skipif(os.name == "nt", reason="names of variables have no case there")
@pytest.mark.parametrize(
    ("scheme", "order"),
    [
        ("mqtt", "mqtt_proxy MQTT_PROXY all_proxy ALL_PROXY"),
        ("mqtts", "mqtts_proxy MQTTS_PROXY all_proxy ALL_PROXY"),
        ("ws", "ws_proxy WS_PROXY http_proxy all_proxy ALL_PROXY"),
        (
            "wss",
            "wss_proxy WSS_PROXY https_proxy HTTPS_PROXY all_proxy ALL_PROXY",
        ),
    ],
)
def test_the_order_of_the_variables(monkeypatch, scheme, order):
    names = order.split()
    set_only(monkeypatch, **{name: f"http://{name.lower()}.of" for name in NAMES})
    for number, name in enumerate(names):
        for earlier in names[:number]:
            monkeypatch.setenv(earlier, "")  # as good as unset
        monkeypatch.setenv(name, f"http://number-{number}")
        found = ProxySettings.from_environment(scheme)
        assert arguments_of(found)["proxy_addr"] == f"number-{number}"
    monkeypatch.delenv(names[-1])
    assert ProxySettings.from_environment(scheme) is None


def test_without_a_variable_there_is_none(monkeypatch):
    set_only(monkeypatch, no_proxy="broker.example", HTTP_PROXY="http://proxy.example")
    assert ProxySettings.from_environment() is None
    assert ProxySettings.from_environment("mqtts") is None
    if os.name != "nt":
        assert ProxySettings.from_environment("ws") is None


def test_nothing_is_read_unless_asked_for(monkeypatch):
    set_only(monkeypatch, **dict.fromkeys(NAMES - {"no_proxy", "NO_PROXY"}, "http://a"))
    assert proxy_of(Client("broker.example")) is None


def test_a_subclass_gets_its_own():
    class Mine(ProxySettings):
        pass

    with pytest.MonkeyPatch.context() as monkeypatch:
        set_only(monkeypatch, all_proxy="http://proxy.example")
        assert type(Mine.from_environment()) is Mine


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("https://u:secret@proxy", "ALL_PROXY has the scheme 'https', which is not"),
        ("ftp://u:secret@proxy", "these are: http, socks, socks4, socks4a, socks5, s"),
        ("http://u:secret@", "ALL_PROXY has no host"),
        ("http://u:secret@proxy:99999", "ALL_PROXY is no URL of a proxy"),
        ("http://u:secret@proxy:port", "ALL_PROXY is no URL of a proxy"),
        ("http://u:secret@[proxy", "ALL_PROXY is no URL of a proxy"),
        ("http://u:secret@proxy:0", "ALL_PROXY: proxy_port must be 1 to 65535"),
        ("http://u:secret@a proxy", "ALL_PROXY: proxy_addr must be a host name"),
        ("http://:secret@proxy", "ALL_PROXY: proxy_password needs proxy_username"),
        ("http://a%3Ab:secret@proxy", "ALL_PROXY: proxy_username must not have a col"),
        ("socks5://secret@proxy", "ALL_PROXY: proxy_username needs proxy_password"),
    ],
)
def test_a_malformed_url_is_not_shown(monkeypatch, url, match):
    set_only(monkeypatch, ALL_PROXY=url)
    with pytest.raises(ValueError, match=match) as caught:
        ProxySettings.from_environment()
    assert "secret" not in "".join(traceback.format_exception(caught.value))


def test_a_wrong_scheme():
    with pytest.raises(ValueError, match="scheme must be 'mqtt', .* or 'wss', not 'x'"):
        ProxySettings.from_environment("x")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("no_proxy", "hostname", "expected"),
    [
        ("", "broker.example", False),
        ("*", "broker.example", True),
        (" * ", "192.0.2.1", True),
        ("a, *", "broker.example", False),  # only alone
        ("broker.example", "broker.example", True),
        ("broker.example", "BROKER.example.", True),
        ("Example.", "broker.example", True),
        (".example", "broker.example", True),
        (".example", "example", True),
        ("ample", "broker.example", False),
        ("other.example", "broker.example", False),
        ("a,b.c broker.example", "broker.example", True),
        (",, ,.,", "broker.example", False),
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.10", False),
        ("2.1", "192.0.2.1", False),
        ("192.0.2.0/24", "192.0.2.1", True),
        ("192.0.2.77/24", "192.0.2.1", True),
        ("192.0.3.0/24", "192.0.2.1", False),
        ("192.0.2.0/99", "192.0.2.1", False),
        ("192.0.2.0/24", "broker.example", False),
        ("::1", "::1", True),
        ("[::1]", "::1", True),
        ("2001:db8::/32", "2001:db8::1", True),
        ("2001:db8::/32", "2001:db9::1", False),
        ("2001:db8::/32", "192.0.2.1", False),
        ("localhost", "127.0.0.1", False),
    ],
)
def test_hosts_without_the_proxy(monkeypatch, no_proxy, hostname, expected):
    assert is_exception(hostname, no_proxy) is expected
    for name in ("no_proxy", "NO_PROXY"):
        set_only(monkeypatch, ALL_PROXY="http://proxy.example", **{name: no_proxy})
        settings = ProxySettings.from_environment()
        assert settings is not None
        client = Client(hostname, proxy=settings)
        assert proxy_of(client) == (None if expected else "http://proxy.example:1080")


def test_each_of_several_brokers_is_looked_up(monkeypatch):
    set_only(monkeypatch, ALL_PROXY="socks5h://proxy", NO_PROXY="here.example")
    proxy = ProxySettings.from_environment()
    client: Any = Client(["here.example", "there.example"], proxy=proxy)
    assert [str(target) for target in client._addresses.targets] == [
        "here.example:1883",
        "there.example:1883 through socks5://proxy:1080",
    ]
    # A redirection leads to a host that may be an exception, or none.
    here, there = client._addresses.targets
    assert here.moved_to("there.example", 5).proxy is not None
    assert str(there.moved_to("x.here.example", 5)) == "x.here.example:5"
