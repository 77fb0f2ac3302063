"""The proxy that environment variables name, by the rules of curl."""

import ipaddress
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

# By the scheme of the connection: the variables, in the order in which they are read.
# HTTP_PROXY is missing, as in curl: a web server sets it from a header of a request.
_FOR_ALL: Final = ("all_proxy", "ALL_PROXY")
VARIABLES: Final[dict[str, tuple[str, ...]]] = {
    "mqtt": ("mqtt_proxy", "MQTT_PROXY", *_FOR_ALL),
    "mqtts": ("mqtts_proxy", "MQTTS_PROXY", *_FOR_ALL),
    "ws": ("ws_proxy", "WS_PROXY", "http_proxy", *_FOR_ALL),
    "wss": ("wss_proxy", "WSS_PROXY", "https_proxy", "HTTPS_PROXY", *_FOR_ALL),
}
# By the scheme of the proxy's URL: its type, and whether it resolves names.
_TYPES: Final = {
    "http": ("HTTP", True),
    "socks": ("SOCKS4", False),
    "socks4": ("SOCKS4", False),
    "socks4a": ("SOCKS4", True),
    "socks5": ("SOCKS5", False),
    "socks5h": ("SOCKS5", True),
}
# The port if the URL has none, whatever the type.
DEFAULT_PORT: Final = 1080


class FoundProxy(NamedTuple):
    """A proxy that a variable names.

    Args:
        variable: The name of the variable.
        kind: "SOCKS4", "SOCKS5" or "HTTP".
        arguments: The other arguments of `ProxySettings`.
        no_proxy: The hosts to connect to without a proxy, as `is_exception` takes them.
    """

    variable: str
    kind: str
    arguments: dict[str, Any]
    no_proxy: str


def read_environment(environment: Mapping[str, str], scheme: str) -> FoundProxy | None:
    """Return the proxy for connections of a scheme, or None.

    Args:
        environment: The environment variables; one that is empty counts as unset.
        scheme: The scheme of the connection, a key of `VARIABLES`.

    Raises:
        ValueError: The value of a variable is malformed, or there is no such scheme.
    """
    if scheme not in VARIABLES:
        names = [repr(name) for name in VARIABLES]
        msg = f"scheme must be {', '.join(names[:-1])} or {names[-1]}, not {scheme!r}"
        raise ValueError(msg)
    no_proxy = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    for variable in VARIABLES[scheme]:
        if url := environment.get(variable):
            return FoundProxy(variable, *_parse(variable, url), no_proxy)
    return None


def _parse(variable: str, url: str) -> tuple[str, dict[str, Any]]:
    """Return the arguments in a URL; errors don't show it, for it has a password."""
    if "://" not in url:
        url = f"http://{url}"
    try:
        parts = urlsplit(url.strip())
        hostname, port = parts.hostname, parts.port
    except ValueError:
        msg = f"{variable} is no URL of a proxy, such as socks5h://proxy.example:1080"
        raise ValueError(msg) from None
    if parts.scheme not in _TYPES:
        msg = (
            f"{variable} has the scheme {parts.scheme!r}, which is not supported; these"
            f" are: {', '.join(_TYPES)}"
        )
        raise ValueError(msg)
    if not hostname:
        msg = f"{variable} has no host, such as in socks5h://proxy.example:1080"
        raise ValueError(msg)
    kind, resolves = _TYPES[parts.scheme]
    # As in curl, a password that this type of proxy has no room for is left out.
    password = None if kind == "SOCKS4" else parts.password
    return kind, {
        "proxy_addr": hostname,
        "proxy_rdns": resolves,
        "proxy_username": unquote(parts.username or "") or None,
        "proxy_password": unquote(password or "") or None,
        "proxy_port": DEFAULT_PORT if port is None else port,
    }


def is_exception(hostname: str, no_proxy: str) -> bool:
    """Whether a host is among those that the variable NO_PROXY lists.

    Args:
        hostname: The host's name or address.
        no_proxy: "*" for all hosts, or a list, separated by commas or blanks, of
            names, which include those below them, addresses and networks, such as
            ``192.168.0.0/16``.
    """
    if no_proxy.strip() == "*":
        return True
    tokens = no_proxy.replace(",", " ").split()
    address = _to_address(hostname)
    if address is not None:
        return any(_is_in(address, token.strip("[]")) for token in tokens)
    name = hostname.lower().rstrip(".")
    for token in tokens:
        domain = token.lower().strip(".")
        if domain and (name == domain or name.endswith(f".{domain}")):
            return True
    return False


def _to_address(
    hostname: str,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(hostname)
    except ValueError:
        return None


def _is_in(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, network: str
) -> bool:
    try:
        return address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
