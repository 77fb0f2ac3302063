"""The arguments of `Client` that say where to connect to, and how.

ValueError and TypeError name the argument and the rule.
"""

import ssl
from collections.abc import Iterable, Mapping
from copy import copy
from typing import Any, Final

from aiomqtt.argument_checks import check_range, check_type
from aiomqtt.net.connect import TRANSPORTS
from aiomqtt.net.target import Proxy, ServiceTarget, Target, WebSocketTarget
from aiomqtt.proxy_settings import HTTP, SOCKS4, SOCKS5
from aiomqtt.types import (
    ProxySettings,
    SocketOption,
    TLSContextLike,
    TLSParameters,
    WebSocketHeaders,
)

# The arguments that a transport may not take. `Client` takes them all.
_OPTIONAL: Final = (
    "tls_context",
    "tls_params",
    "tls_insecure",
    "bind_address",
    "bind_port",
    "socket_options",
    "server_hostname",
    "proxy",
)

# The ports that a program may give where the DNS says them: the default ones.
DEFAULT_PORTS: Final = (1883, 8883)

# By the type of a proxy: its scheme, and its default port, which is that of PySocks.
PROXY_SCHEMES: Final = {
    SOCKS4: ("socks4", 1080),
    SOCKS5: ("socks5", 1080),
    HTTP: ("http", 8080),
}


def to_target(given: Mapping[str, Any]) -> Target:
    """Return the target for the arguments of a client.

    Raises:
        ValueError: The transport does not take an argument, or a value is wrong.
        TypeError: An argument has a wrong type.
    """
    transport: str = given["transport"]
    kind = _to_kind(transport)
    options: dict[str, Any] = {name: given[name] for name in _OPTIONAL}
    options["socket_options"] = _to_socket_options(options["socket_options"])
    for name, value in options.items():
        if value and name not in kind.arguments:
            msg = (
                f"{name} can't be combined with transport {transport!r}, which has"
                f" {kind.missing}"
            )
            raise ValueError(msg)
    _check_tls(
        options["tls_context"],
        options["tls_params"],
        options["tls_insecure"],
        options["server_hostname"],
    )
    check_type("bind_address", options["bind_address"], str, type(None))
    options["bind_address"] = options["bind_address"] or ""
    check_range("bind_port", options["bind_port"], 0)
    options["tls_insecure"] = bool(options["tls_insecure"])
    hostname, port = given["hostname"], given["port"]
    has_port = "port" in kind.arguments
    _check_hostname(hostname, kind.place, has_port)
    if has_port:
        check_range("port", port, 1)
    options["proxy"] = _to_proxy(options["proxy"], hostname)
    if issubclass(kind, WebSocketTarget):
        options["websocket_path"], options["websocket_headers"] = to_websocket_options(
            given["websocket_path"], given["websocket_headers"]
        )
    taken = {name: options[name] for name in options if name in kind.arguments}
    if given["srv"]:
        _check_domain(transport, hostname, port)
        uses_tls = options["tls_context"] or options["tls_params"]
        return ServiceTarget(hostname, 8883 if uses_tls else 1883, **taken)
    return kind(hostname, port, **taken)


def _check_domain(transport: str, hostname: str, port: int) -> None:
    """Refuse what has no SRV records of MQTT."""
    from ipaddress import ip_address

    if transport != "tcp":
        msg = f"srv can't be combined with transport {transport!r}: it needs 'tcp'"
        raise ValueError(msg)
    if port not in DEFAULT_PORTS:
        msg = f"srv can't be combined with port {port}: the DNS says the ports"
        raise ValueError(msg)
    try:
        ip_address(hostname)
    except ValueError:
        return
    msg = f"with srv=True hostname must be a domain, not the address {hostname!r}"
    raise ValueError(msg)


def _to_kind(transport: str) -> type[Target]:
    """Return the class of a transport's targets."""
    if transport not in tuple(TRANSPORTS):
        names = [repr(name) for name in TRANSPORTS]
        msg = (
            f"transport must be {', '.join(names[:-1])} or {names[-1]},"
            f" not {transport!r}"
        )
        raise ValueError(msg)
    return TRANSPORTS[transport].target


def to_websocket_options(
    path: str | None, headers: WebSocketHeaders | None
) -> tuple[str, WebSocketHeaders | None]:
    """Return the path and the headers of the WebSocket handshake."""
    # Most programs need it never.
    from aiomqtt.net.websocket.headers import check_headers, check_path

    if headers is not None and not callable(headers):
        check_headers(headers)
    return check_path("/mqtt" if path is None else path), headers


def with_websocket_options(
    target: Target, path: str | None, headers: WebSocketHeaders | None
) -> Target:
    """Return a target with other options of the WebSocket handshake."""
    if not isinstance(target, WebSocketTarget):
        msg = f"transport {target.transport!r} has no path and no headers"
        raise ValueError(msg)
    changed = copy(target)
    changed.websocket_path, changed.websocket_headers = to_websocket_options(
        path, headers
    )
    return changed


def _to_proxy(settings: ProxySettings | None, hostname: str) -> Proxy | None:
    """Return the proxy of the arguments, which may not be for this host."""
    check_type("proxy", settings, ProxySettings, type(None))
    if settings is None:
        return None
    given: dict[str, Any] = settings.proxy_args
    scheme, default_port = PROXY_SCHEMES[given["proxy_type"]]
    proxy = Proxy(
        scheme,
        given["proxy_addr"],
        given["proxy_port"] or default_port,
        given["proxy_username"] or "",
        given["proxy_password"] or "",
        bool(given["proxy_rdns"]),
        settings.no_proxy,
    )
    if scheme == "socks4" and ":" in hostname and proxy.is_for(hostname):
        msg = f"SOCKS4 has no IPv6, so no proxy of it can reach {hostname}: use SOCKS5"
        raise ValueError(msg)
    return proxy


def _check_tls(
    context: TLSContextLike | None,
    params: TLSParameters | None,
    insecure: bool | None,
    server_hostname: str | None,
) -> None:
    if not callable(context):
        check_type("tls_context", context, ssl.SSLContext, type(None))
    check_type("tls_params", params, TLSParameters, type(None))
    if context is not None and params is not None:
        msg = "tls_context and tls_params can't be combined: pass one of them"
        raise ValueError(msg)
    if insecure and context is None and params is None:
        msg = "tls_insecure needs tls_context or tls_params"
        raise ValueError(msg)
    if server_hostname is not None:
        check_type("server_hostname", server_hostname, str)
        if context is None and params is None:
            msg = "server_hostname needs tls_context or tls_params"
            raise ValueError(msg)
        if not server_hostname.rstrip("."):
            msg = f"server_hostname must be a host name, not {server_hostname!r}"
            raise ValueError(msg)


def _check_hostname(hostname: str, place: str, is_host: bool) -> None:
    """Refuse a name that no host can have; other places take almost any name."""
    check_type("hostname", hostname, str)
    if not hostname or "\0" in hostname:
        msg = f"hostname must be {place}, not {hostname!r}"
        raise ValueError(msg)
    if not is_host:
        return
    if "://" in hostname:
        # It may have a password, so the message has nothing of it.
        msg = (
            "hostname must be a host name or an address, not a URL: use"
            " Client.from_url(url)"
        )
        raise ValueError(msg)
    if hostname.startswith("["):
        msg = f"hostname must be {place}, without brackets, not {hostname!r}"
        raise ValueError(msg)
    if not hostname.isascii():
        # DNS has no other characters, so they have to be encoded.
        try:
            hostname.encode("idna")
        except UnicodeError as error:
            msg = f"hostname must be {place}, not {hostname!r}, which DNS can't have"
            raise ValueError(msg) from error
    name, separator, port = hostname.partition(":")
    if separator and port.isdecimal():
        msg = (
            f"hostname must be a host name or an address, not {hostname!r}: pass"
            f" hostname={name!r}, port={port}"
        )
        raise ValueError(msg)


def _to_socket_options(
    options: Iterable[SocketOption] | None,
) -> tuple[SocketOption, ...]:
    """Return the options; each is the arguments of ``socket.setsockopt``."""
    if options is None:
        return ()
    check_type("socket_options", options, Iterable)
    found = tuple(options)
    for option in found:
        if not isinstance(option, tuple | list) or len(option) not in (3, 4):
            msg = f"socket_options must hold arguments of setsockopt, not {option!r}"
            raise TypeError(msg)
    return found
