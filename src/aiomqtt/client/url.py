"""The URL of a broker, such as ``mqtts://user:password@host:8883?keepalive=30``.

The rest of a password that was not percent-encoded may be in any part, as in
``mqtt://user:pass/word@host``. So no error repeats a part of a URL.
"""

import math
import os
import re
import socket
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote_to_bytes

from aiomqtt.argument_checks import check_type
from aiomqtt.types import TLSParameters

from .addresses import ORDERS
from .incoming_arguments import ACK_MODES, OVERFLOWS
from .offline import MODES

_VARIABLE: Final = "MQTT_URL"
_EXAMPLE: Final = "mqtt://user:password@host:1883"


class _Scheme(NamedTuple):
    transport: str
    port: int | None = None
    has_tls: bool = False
    # The DNS names the brokers of the host, and their ports.
    is_srv: bool = False


_SCHEMES: Final = {
    "mqtt": _Scheme("tcp", 1883),
    "mqtts": _Scheme("tcp", 8883, has_tls=True),
    "ws": _Scheme("websockets", 80),
    "wss": _Scheme("websockets", 443, has_tls=True),
    "unix": _Scheme("unix"),
    "memory": _Scheme("memory"),
    # The names of MQTT.js and of Paho.
    "tcp": _Scheme("tcp", 1883),
    "ssl": _Scheme("tcp", 8883, has_tls=True),
    "tls": _Scheme("tcp", 8883, has_tls=True),
    "mqtt+srv": _Scheme("tcp", is_srv=True),
    "mqtts+srv": _Scheme("tcp", has_tls=True, is_srv=True),
}


def _to_bool(text: str) -> bool:
    return {"true": True, "1": True, "false": False, "0": False}[text.lower()]


def _to_int(text: str) -> int:
    if not re.fullmatch("-?[0-9]{1,10}", text):
        raise ValueError
    return int(text)


def _to_float(text: str) -> float:
    return math.inf if text == "inf" else float(text)


def _to_positive(text: str) -> float:
    if not (number := _to_float(text)) > 0:
        raise ValueError
    return number


def _to_clean_start(text: str) -> bool | int:
    return 3 if text == "3" else _to_bool(text)


def _to_names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if not all(name.isascii() and 0 < len(name) <= 255 for name in names):
        raise ValueError
    return names


def _one_of(*choices: str) -> Callable[[str], str]:
    return {choice: choice for choice in choices}.__getitem__


def _to_protocol(text: str) -> int:
    return {"3": 3, "4": 4, "5": 5}[text]


def _to_short(text: str) -> int:
    if not 0 <= (number := _to_int(text)) <= 65535:
        raise ValueError
    return number


class _Kind(NamedTuple):
    """The type of an argument."""

    # Raises ValueError or KeyError for a text that is not such a value.
    convert: Callable[[str], object]
    # Describes such values, for the error.
    rule: str = ""


_STR: Final = _Kind(str)
_INT: Final = _Kind(_to_int, "a whole number")
_SHORT: Final = _Kind(_to_short, "a whole number from 0 to 65535")
_FLOAT: Final = _Kind(_to_float, 'a number or "inf"')
_BOOL: Final = _Kind(_to_bool, "true, false, 1 or 0")

# The arguments of `Client` that can stand in the query. The others are in another part
# of the URL, or are no plain values.
ARGUMENTS: Final[Mapping[str, _Kind]] = {
    "ack": _Kind(_one_of(*ACK_MODES), "receive, processed or manual"),
    "address_order": _Kind(_one_of(*ORDERS), "listed, random or round_robin"),
    "attempt_timeout": _Kind(_to_positive, 'a number above 0 or "inf"'),
    "bind_address": _STR,
    "bind_port": _SHORT,
    "clean_session": _BOOL,
    "clean_start": _Kind(_to_clean_start, "true, false, 1, 0 or 3"),
    "identifier": _STR,
    "keepalive": _SHORT,
    "max_concurrent_outgoing_calls": _INT,
    "max_inflight_messages": _INT,
    "max_queued_incoming_bytes": _INT,
    "max_queued_incoming_messages": _INT,
    "max_queued_outgoing_messages": _INT,
    "offline": _Kind(_one_of(*MODES), "wait, queue or fail"),
    "overflow": _Kind(_one_of(*OVERFLOWS), "pause, drop_oldest or drop_newest"),
    "password": _STR,
    "protocol": _Kind(_to_protocol, "3 (3.1), 4 (3.1.1) or 5 (5.0)"),
    "reconnect": _BOOL,
    "redirect": _Kind(_one_of("raise", "follow"), "raise or follow"),
    "server_hostname": _STR,
    "srv": _BOOL,
    "timeout": _FLOAT,
    "tls_insecure": _BOOL,
    "username": _STR,
    "websocket_path": _STR,
}
# The fields of `TLSParameters` that can stand there, too.
TLS_PARAMETERS: Final[Mapping[str, _Kind]] = {
    "alpn_protocols": _Kind(_to_names, "names in ASCII, separated by commas,"),
    "ca_certs": _STR,
    "certfile": _STR,
    "ciphers": _STR,
    "keyfile": _STR,
    "keyfile_password": _STR,
}


def read_environment(given: Mapping[str, object]) -> dict[str, Any] | ValueError:
    """Return the arguments for the URL in the environment, as `to_arguments`."""
    url = os.environ.get(_VARIABLE)
    if not url:
        msg = f"the environment variable {_VARIABLE} is not set: it must be a URL"
        return ValueError(f"{msg}, such as {_EXAMPLE}")
    return to_arguments(url, given, _VARIABLE)


def to_arguments(
    url: str, given: Mapping[str, object], name: str = "url"
) -> dict[str, Any] | ValueError:
    """Return the arguments of `Client`, or the error of a wrong URL.

    The error is returned, so that its traceback has no frame with a part of the URL.

    Args:
        url: The URL.
        given: Arguments of `Client` that take precedence over those of the URL.
        name: What to call the URL in an error.

    Raises:
        TypeError: The URL is no str.
    """
    check_type(name, url, str)
    try:
        found, tls = _parse(url)
    except _WrongURL as error:
        msg = f"{name} {error}"
    else:
        return _merge(found, tls, given)
    return ValueError(msg)


def _merge(
    found: dict[str, Any], tls: TLSParameters | None, given: Mapping[str, object]
) -> dict[str, Any]:
    if given.get("credentials") is not None:
        for name in ("username", "password"):
            found.pop(name, None)
    merged = {**found, **given}
    if (
        tls is not None
        and merged.get("tls_context") is None
        and merged.get("tls_params") is None
    ):
        # Also if they are given as None: a URL that wants TLS gets it.
        merged["tls_params"] = tls
    return merged


class _WrongURL(ValueError):  # noqa: N818 - it does not leave this module
    """Says what is wrong with a URL, as a clause after its name."""


def _parse(url: str) -> tuple[dict[str, Any], TLSParameters | None]:
    """Return the arguments of a URL, and the parameters for TLS if it wants that."""
    if any(character.isspace() or not character.isprintable() for character in url):
        msg = (
            "must not have spaces, line breaks or control characters: percent-encode"
            " them (%20 for a space)"
        )
        raise _WrongURL(msg)
    prefix, colon, rest = url.partition(":")
    scheme = _SCHEMES.get(prefix.lower())
    if not colon or scheme is None:
        known = ", ".join(_SCHEMES)
        msg = f"must begin with a scheme, as in {_EXAMPLE}; there are {known}"
        raise _WrongURL(msg)
    rest, has_fragment, _ = rest.partition("#")
    if has_fragment:
        msg = "must not have a fragment: write %23 for a # in any other part"
        raise _WrongURL(msg)
    rest, _, query = rest.partition("?")
    found: dict[str, Any] = {"transport": scheme.transport}
    place = _parse_unix if scheme.transport == "unix" else _parse_hosts
    found |= place(rest, scheme)
    tls = _parse_query(query, found)
    if scheme.has_tls:
        return found, TLSParameters(**tls)
    if tls:
        msg = (
            f"has {next(iter(tls))}, which is for TLS: the scheme must be mqtts or wss"
        )
        raise _WrongURL(msg)
    return found, None


def _decode(text: str, part: str) -> str:
    """Return a part without percent-encoding."""
    if re.search("%(?![0-9A-Fa-f]{2})", text):
        msg = f"has a % in {part} without two hexadecimal digits: write %25 for a %"
        raise _WrongURL(msg)
    try:
        return unquote_to_bytes(text).decode()
    except ValueError:
        msg = f"must have UTF-8 in {part}, percent-encoded"
    raise _WrongURL(msg)


def _split_user(authority: str) -> tuple[str, dict[str, str]]:
    """Return the part of an authority after the user, and the user's arguments."""
    user, at, hosts = authority.rpartition("@")
    if not at:
        return hosts, {}
    username, has_password, password = user.partition(":")
    found = {}
    if username:
        found["username"] = _decode(username, "the user name")
    if has_password and (username or password):
        found["password"] = _decode(password, "the password")
    return hosts, found


def _parse_unix(rest: str, _: _Scheme) -> dict[str, Any]:
    """Return the arguments of ``//user:password@/path``, ``///path`` or ``path``."""
    found: dict[str, Any] = {}
    if rest.startswith("//"):
        authority, slash, path = rest[2:].partition("/")
        hosts, found = _split_user(authority)
        if hosts:
            msg = "must have three slashes before a path, as in unix:///run/mqtt.sock"
            raise _WrongURL(msg)
        rest = slash + path
    if not rest:
        msg = "must have the path of a socket, as in unix:///run/mqtt.sock"
        raise _WrongURL(msg)
    return {**found, "hostname": _decode(rest, "the path")}


def _parse_hosts(rest: str, scheme: _Scheme) -> dict[str, Any]:
    """Return the arguments of ``//user:password@host:port,host:port/path``."""
    is_memory = scheme.transport == "memory"
    if rest.startswith("//"):
        rest = rest[2:]
    elif not is_memory:
        msg = f"must have two slashes after the scheme, as in {_EXAMPLE}"
        raise _WrongURL(msg)
    authority, slash, path = rest.partition("/")
    hosts, user = _split_user(authority)
    found: dict[str, Any] = {**user}
    if scheme.transport == "websockets":
        if "@" in path:
            msg = (
                "must not have an @ in its path: write %40, and %2F for a / in the user"
                " name or the password"
            )
            raise _WrongURL(msg)
        if slash:
            # It is sent as it is, so it stays percent-encoded.
            found["websocket_path"] = slash + path
    elif path:
        msg = (
            "must not have a path, which is for ws, wss and unix: write %2F for a / in"
            " the user name or the password"
        )
        raise _WrongURL(msg)
    items = [_parse_host(host, scheme) for host in hosts.split(",")]
    if len(items) > 1:
        found["hostname"] = [
            name if port is None else (name, port) for name, port in items
        ]
    else:
        found["hostname"] = items[0][0]
    if scheme.is_srv:
        found["srv"] = True
        if any(port is not None for _, port in items):
            msg = "must not have a port, which the DNS says: percent-encode @ and :"
            raise _WrongURL(msg)
    elif not is_memory:
        found["port"] = (items[0][1] if len(items) == 1 else None) or scheme.port
    return found


def _parse_host(host: str, scheme: _Scheme) -> tuple[str, int | None]:
    """Return a name or an address, and its port; None: the default one."""
    if not host:
        msg = f"must have a host, as in {_EXAMPLE}"
        raise _WrongURL(msg)
    if scheme.transport == "memory":
        return _decode(host, "the name of the broker"), None
    if host.startswith("["):
        address, bracket, after = host[1:].partition("]")
        # The zone of an address begins with %25 (RFC 6874), or as it is.
        name = address.replace("%25", "%")
        if not bracket or not _is_ipv6(name.partition("%")[0]):
            msg = "must have an IPv6 address within brackets, as in mqtt://[::1]:1883"
            raise _WrongURL(msg)
        _, colon, port = after.partition(":")
        if after and not after.startswith(":"):
            msg = "must have a colon and a port after the brackets, or nothing"
            raise _WrongURL(msg)
    else:
        name, colon, port = host.partition(":")
        if ":" in port:
            msg = (
                "has several colons in its host: write an IPv6 address in brackets, and"
                " percent-encode @, / and : in the user name and the password"
            )
            raise _WrongURL(msg)
        name = _decode(name, "the host")
        if not name:
            msg = f"must have a host, as in {_EXAMPLE}"
            raise _WrongURL(msg)
    if not colon:
        return name, None
    if not re.fullmatch("[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        msg = (
            "must have a port from 1 to 65535 after the colon: percent-encode @, / and"
            " ? in the user name and the password"
        )
        raise _WrongURL(msg)
    return name, int(port)


def _is_ipv6(address: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6, address)
    except (OSError, ValueError):
        return False
    return True


def _parse_query(query: str, found: dict[str, Any]) -> dict[str, Any]:
    """Add the arguments of the query; return the parameters for TLS among them."""
    tls: dict[str, Any] = {}
    for item in query.split("&"):
        if not item:
            continue
        name, equals, text = item.partition("=")
        kind = ARGUMENTS.get(name) or TLS_PARAMETERS.get(name)
        if kind is None:
            raise _WrongURL(_unknown(name, query))
        if not equals:
            msg = f"has {name} without a value: write {name}=..."
            raise _WrongURL(msg)
        if name in found or name in tls:
            msg = f"has {name} twice"
            raise _WrongURL(msg)
        value = _convert(kind, _decode(text.replace("+", " "), name))
        if value is None:
            msg = f"must have {kind.rule} as {name}"
            raise _WrongURL(msg)
        (tls if name in TLS_PARAMETERS else found)[name] = value
    return tls


def _convert(kind: _Kind, text: str) -> object:
    """Return the value of an argument; None: the text is wrong."""
    try:
        return kind.convert(text)
    except (ValueError, KeyError):
        return None


def _unknown(name: str, query: str) -> str:
    # With an @, it may be the rest of a password.
    shown = f", {name!r}" if re.fullmatch("[a-z_]+", name) and "@" not in query else ""
    if name in ("hostname", "port", "transport"):
        return f"has {name} in its query: it belongs before the query"
    known = ", ".join([*ARGUMENTS, *TLS_PARAMETERS])
    return f"has an unknown argument in its query{shown}: there are {known}"
