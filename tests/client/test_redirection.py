"""Server references, and which of the servers a client may go to."""

from typing import Any

import pytest

from aiomqtt import MqttCodeError, Properties, Redirect, TLSParameters
from aiomqtt.client.redirection import (
    MAXIMUM_ADDRESSES,
    add_reason,
    allowed_ports,
    check_addresses,
    parse_server_reference,
    to_redirect,
)
from aiomqtt.net.target import TcpTarget, WebSocketTarget
from aiomqtt.properties import ReasonCode

TLS: dict[str, Any] = {"tls_params": TLSParameters()}


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        # The examples of §4.11.
        ("myserver.xyz.org", [("myserver.xyz.org", 7)]),
        ("myserver.xyz.org:8883", [("myserver.xyz.org", 8883)]),
        ("10.10.151.22:8883", [("10.10.151.22", 8883)]),
        ("[fe80::9610:3eff:fe1c]:1883", [("fe80::9610:3eff:fe1c", 1883)]),
        # Addresses of IPv6 without a port, with and without brackets.
        ("[::1]", [("::1", 7)]),
        ("::1", [("::1", 7)]),
        ("2001:db8::1:1883", [("2001:db8::1:1883", 7)]),
        # Lists.
        ("a b:2  [::3]:3 ", [("a", 7), ("b", 2), ("::3", 3)]),
        ("a a:7 a", [("a", 7)]),
        # A name that has no other meaning.
        ("a_b-c.", [("a_b-c.", 7)]),
    ],
)
def test_a_server_reference(reference, expected):
    assert parse_server_reference(reference, 7) == expected


@pytest.mark.parametrize(
    "reference",
    [
        "",
        " ",
        ":1883",
        "a:",
        "a:0",
        "a:65536",
        "a:123456",
        "a:-1",
        "a:b",
        "a:\uff11",
        "a:1:2",
        "[::1",
        "[]:1",
        "[a]:1",
        "[::1]1883",
        "[::1%eth0]:1883",
        "fe80::1%1",
        ":::1",
        "mqtt://a:1883",
        "a/b",
        "user@a",
        "a,b",
        "a\nb",
        "a\tb",
        "bücher",
        "..",
        "a" * 254,
    ],
)
def test_what_is_no_server(reference):
    assert parse_server_reference(reference, 7) == []
    assert parse_server_reference(f"a:1 {reference} b:2", 7)[-1] == ("b", 2)


def test_a_long_list_is_cut():
    reference = " ".join(f"a{number}" for number in range(10_000))
    assert len(parse_server_reference(reference, 7)) == MAXIMUM_ADDRESSES


def error_of(code, reference):
    error = MqttCodeError(ReasonCode(code), "Disconnected by the broker")
    error.properties = Properties(server_reference=reference)
    return error


def test_the_redirect_of_an_error():
    source = TcpTarget("a", 1884)
    redirect = to_redirect(source, error_of(0x9C, "b c:1885"))
    assert redirect == Redirect(
        "a:1884", ReasonCode(0x9C), (("b", 1884), ("c", 1885)), False
    )
    redirect = to_redirect(source, error_of(0x9D, "b"))
    assert redirect is not None
    assert redirect.is_permanent
    assert to_redirect(source, error_of(0x9D, "/")) is None
    assert to_redirect(source, error_of(0x9D, None)) is None


@pytest.mark.parametrize(
    ("origins", "expected"),
    [
        ([TcpTarget("a", 1884)], {1883, 1884}),
        ([TcpTarget("a", 1883), TcpTarget("b", 1885)], {1883, 1885}),
        ([TcpTarget("a", 1884, **TLS)], {8883, 1884}),
        ([WebSocketTarget("a", 9001)], {80, 9001}),
        ([WebSocketTarget("a", 9001, **TLS)], {443, 9001}),
    ],
)
def test_the_ports_that_are_followed(origins, expected):
    assert allowed_ports(origins) == expected


def test_a_target_keeps_its_options_but_the_place():
    tls = TLSParameters()
    target: Any = TcpTarget(
        "a", 1, "local", 2, (), tls_params=tls, server_hostname="name"
    )
    moved: Any = target.moved_to("b", 3)
    assert (str(moved), moved.tls_params, moved.tls_name) == ("b:3", tls, "name")
    assert str(target) == "a:1"
    moved = TcpTarget("a", 1, **TLS).moved_to("b", 3)
    assert moved.tls_name == "b"


def test_the_addresses_that_a_function_returns():
    assert check_addresses(item for item in [("a", 1), ("b", 2)]) == [
        ("a", 1),
        ("b", 2),
    ]
    assert check_addresses([]) == []


@pytest.mark.parametrize(
    ("returned", "error", "match"),
    [
        (None, TypeError, "or nothing: .., not NoneType"),
        (True, TypeError, "not bool"),
        ("a:1883", TypeError, "not str"),
        (["a"], TypeError, "not 'a'"),
        ([("a",)], TypeError, "tuples of host and port"),
        ([("a", "1")], TypeError, "tuples of host and port"),
        ([("", 1)], ValueError, "hosts and their ports"),
        ([("a", 0)], ValueError, "hosts and their ports"),
    ],
)
def test_a_function_that_returns_something_else(returned, error, match):
    with pytest.raises(error, match=f"^redirect must return .*{match}"):
        check_addresses(returned)


def test_the_error_says_why_it_was_not_followed():
    error = error_of(0x9C, "b")
    add_reason(error, "no \n reason")
    assert str(error) == (
        "[code:156] Disconnected by the broker, which was not followed: no \\n reason"
    )
