"""The arguments that say which brokers to connect to."""

from typing import Any

import pytest

from aiomqtt import Client, TLSParameters


def addresses(*args: Any, **arguments: Any) -> list[str]:
    return [str(target) for target in Client(*args, **arguments)._addresses.targets]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("a",), ["a:1883"]),
        ((["a"], 1), ["a:1"]),
        ((["a", ("b", 1884), "::1"], 9), ["a:9", "b:1884", "[::1]:9"]),
        ((("a", ("b", 2)),), ["a:1883", "b:2"]),
    ],
)
def test_each_broker_has_an_address(args, expected):
    assert addresses(*args) == expected


@pytest.mark.parametrize("transport", ["unix", "memory"])
def test_places_without_a_port(transport):
    expected = [f"{transport}:/a", f"{transport}:/b"]
    assert addresses(["/a", "/b"], transport=transport) == expected


def test_each_certificate_must_have_the_name_of_its_host():
    tls = TLSParameters()
    targets: Any = Client(["a", "b"], tls_params=tls)._addresses.targets
    assert [target.tls_name for target in targets] == ["a", "b"]
    client = Client(["a", "b"], tls_params=tls, server_hostname="c")
    targets = client._addresses.targets
    assert [target.tls_name for target in targets] == ["c", "c"]


def test_each_socket_has_the_options():
    options = [(1, 2, 3)]
    targets: Any = Client(["a", "b"], socket_options=iter(options))._addresses.targets
    assert [list(target.socket_options) for target in targets] == [options, options]


def test_the_options_of_a_websocket_are_set_for_each():
    client = Client(["a", "b"], transport="websockets")
    client.set_websocket_options("/other")
    assert [str(target) for target in client._addresses.targets] == [
        "ws://a:1883/other",
        "ws://b:1883/other",
    ]


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"hostname": []}, ValueError, "at least one broker"),
        ({"hostname": 5}, TypeError, "^hostname must be str or Sequence, not int"),
        ({"hostname": b"a"}, TypeError, "^hostname must be str, not bytes"),
        ({"hostname": None}, TypeError, "^hostname must be str or Sequence, not"),
        ({"hostname": ["a", 5]}, TypeError, "not of int$"),
        ({"hostname": ("a", 1883)}, TypeError, r'such as \("localhost", 1883\)'),
        ({"hostname": [("a",)]}, TypeError, "not of tuples of 1 items$"),
        ({"hostname": [(b"a", 1)]}, TypeError, "^hostname must be str, not bytes"),
        ({"hostname": [("a", 0)]}, ValueError, "^port must be 1 to 65535, not 0"),
        ({"hostname": [("a", "1")]}, TypeError, "^port must be int, not str"),
        ({"hostname": ["a", ""]}, ValueError, "^hostname must be a host name"),
        ({"hostname": ["a:1883"]}, ValueError, "pass hostname='a', port=1883"),
        ({"hostname": ["mqtt://u:secret@a"]}, ValueError, "not a URL"),
        ({"hostname": [("/a", 1)], "transport": "unix"}, ValueError, "has a port"),
        ({"address_order": "first"}, ValueError, "'listed', 'random' or 'round_robin'"),
        ({"address_order": None}, ValueError, "not None$"),
        ({"attempt_timeout": 0}, ValueError, "more than 0 seconds, not 0$"),
        ({"attempt_timeout": float("nan")}, ValueError, "a number, not nan"),
        ({"attempt_timeout": "1"}, TypeError, "must be a number, not str"),
    ],
)
def test_wrong_arguments(arguments, error, match):
    with pytest.raises(error, match=match) as caught:
        Client(**{"hostname": "a", **arguments})
    assert "secret" not in str(caught.value)
