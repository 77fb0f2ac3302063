"""The arguments of the client's calls, checked and made into the engine's values.

ValueError and TypeError name the argument and the rule; nothing has changed then.
"""

import math
import ssl
from collections.abc import Iterable
from typing import Final

from aiomqtt.paho import is_subscribe_options, to_properties, to_subscribe_options
from aiomqtt.payload import encode_payload, encode_text
from aiomqtt.properties import SubscribeOptions
from aiomqtt.protocol.codec.encode import check_qos
from aiomqtt.protocol.packets import WillMessage
from aiomqtt.standard.names import V5
from aiomqtt.standard.tables import ProtocolVersion
from aiomqtt.topic import to_text
from aiomqtt.types import ProxySettings, SocketOption, TLSParameters, Will

# paho-mqtt's constant for "only until a connection was accepted".
CLEAN_START_FIRST_ONLY: Final = 3


def check_type(name: str, value: object, *types: type) -> None:
    if not isinstance(value, types):
        expected = " or ".join(
            "None" if kind is type(None) else kind.__name__ for kind in types
        )
        msg = f"{name} must be {expected}, not {type(value).__name__}"
        raise TypeError(msg)


def check_transport(transport: str) -> None:
    if transport not in ("tcp", "websockets", "unix", "memory"):
        msg = (
            "transport must be 'tcp', 'websockets', 'unix' or 'memory',"
            f" not {transport!r}"
        )
        raise ValueError(msg)
    if transport in ("websockets", "unix"):
        msg = f"transport {transport!r} is not implemented yet; 'tcp' and 'memory' are"
        raise NotImplementedError(msg)


def check_proxy(proxy: ProxySettings | None) -> None:
    if proxy is not None:
        msg = "proxy is not implemented yet"
        raise NotImplementedError(msg)


def check_memory(**arguments: object) -> None:
    """Refuse arguments that say something about a socket: in memory there is none."""
    for name, value in arguments.items():
        if value:
            msg = (
                f"{name} can't be combined with transport 'memory', which has neither"
                " a socket nor TLS"
            )
            raise ValueError(msg)


def check_tls(
    context: ssl.SSLContext | None,
    params: TLSParameters | None,
    insecure: bool | None,
    server_hostname: str | None,
) -> None:
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


def to_version(protocol: int | None) -> ProtocolVersion:
    if protocol is None:
        return ProtocolVersion.V311
    try:
        return ProtocolVersion(protocol)
    except ValueError:
        msg = f"protocol must be 3 (3.1), 4 (3.1.1) or 5 (5.0), not {protocol!r}"
        raise ValueError(msg) from None


def check_hostname(hostname: str, is_local: bool) -> str:
    """Refuse what can't be the name of a host."""
    check_type("hostname", hostname, str)
    if not hostname or "\0" in hostname:
        msg = f"hostname must be a host name or an address, not {hostname!r}"
        raise ValueError(msg)
    if is_local:  # the name of a broker, which may be any
        return hostname
    if "://" in hostname:
        raise ValueError(_not_a_url(hostname))
    name, separator, port = hostname.partition(":")
    if separator and port.isdecimal():
        msg = (
            f"hostname must be a host name or an address, not {hostname!r}: pass"
            f" hostname={name!r}, port={port}"
        )
        raise ValueError(msg)
    return hostname


def _not_a_url(url: str) -> str:
    """Say how to pass what a URL says; a password in it is not repeated."""
    from urllib.parse import urlsplit

    msg = "hostname must be a host name or an address, not a URL"
    try:
        parts = urlsplit(url)
        name, port = parts.hostname, parts.port
    except ValueError:
        return msg
    if not name:
        return msg
    said = f"{msg}: pass hostname={name!r}"
    if port:
        said += f", port={port}"
    if parts.username is not None:
        said += ", username= and password="
    if parts.scheme in ("mqtts", "ssl", "tls"):
        said += ", and for TLS tls_params=aiomqtt.TLSParameters()"
    return said


def check_range(name: str, value: int, lowest: int) -> int:
    """Refuse what is no int from the lowest to 65535."""
    check_type(name, value, int)
    if not lowest <= value <= 65535:
        msg = f"{name} must be {lowest} to 65535, not {value}"
        raise ValueError(msg)
    return value


def to_bound(name: str, value: int | None) -> int | None:
    """Return a bound; 0 and less mean that there is none."""
    check_type(name, value, int, type(None))
    return value if value is not None and value > 0 else None


def check_timeout(timeout: float) -> float:
    """Refuse what is no number of seconds."""
    if not isinstance(timeout, int | float):
        msg = f"timeout must be a number of seconds, not {type(timeout).__name__}"
        raise TypeError(msg)
    if math.isnan(timeout):
        msg = "timeout must be a number of seconds, not nan"
        raise ValueError(msg)
    return timeout


def to_socket_options(
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


def to_clean_start(
    version: ProtocolVersion,
    identifier: str,
    clean_session: bool | None,
    clean_start: bool | int,
) -> bool | None:
    """Return the flag for every CONNECT; None: only until one was accepted."""
    if version < V5:
        if clean_session is False and not identifier:
            msg = "clean_session=False needs an identifier ([MQTT-3.1.3-7])"
            raise ValueError(msg)
        if clean_start != CLEAN_START_FIRST_ONLY:
            msg = "clean_start is for MQTT 5.0: 3.1 and 3.1.1 have clean_session"
            raise ValueError(msg)
        return True if clean_session is None else bool(clean_session)
    if clean_session is not None:
        msg = "clean_session is for MQTT 3.1 and 3.1.1: 5.0 has clean_start"
        raise ValueError(msg)
    if clean_start not in (True, False, CLEAN_START_FIRST_ONLY):
        msg = f"clean_start must be True, False or 3, not {clean_start!r}"
        raise ValueError(msg)
    return None if clean_start == CLEAN_START_FIRST_ONLY else bool(clean_start)


def to_identifier(identifier: str | bytes | None) -> str:
    """Return a client identifier; "" for none."""
    check_type("identifier", identifier, str, bytes, type(None))
    if isinstance(identifier, bytes):
        try:
            return identifier.decode()
        except UnicodeDecodeError:
            msg = "identifier must be well-formed UTF-8 ([MQTT-3.1.3-4])"
            raise ValueError(msg) from None
    return identifier or ""


def to_credentials(
    version: ProtocolVersion, username: str | None, password: str | bytes | None
) -> tuple[str | None, bytes | None]:
    check_type("username", username, str, type(None))
    check_type("password", password, str, bytes, type(None))
    if username is None and version < V5:
        if password:
            msg = "password needs a username below MQTT 5.0 ([MQTT-3.1.2-22])"
            raise ValueError(msg)
        return None, None
    if isinstance(password, str):
        password = encode_text("password", password)
    return username, password


def to_will(will: Will | None) -> WillMessage | None:
    if will is None:
        return None
    check_type("will", will, Will)
    return WillMessage(
        to_text("the will's topic", will.topic),
        encode_payload(will.payload),
        will.qos,
        bool(will.retain),
        to_properties("the will's properties", will.properties),
    )


def to_subscriptions(
    topic: object, qos: int, options: object
) -> list[tuple[str, SubscribeOptions]]:
    """Return filters with options for all forms that `subscribe` takes."""
    if isinstance(qos, str):
        msg = (
            "qos must be an int, not str: several filters are a list,"
            ' subscribe(["a", "b"])'
        )
        raise TypeError(msg)
    check_qos(qos)
    if options is None:
        options = SubscribeOptions(qos)
    elif not is_subscribe_options(options):
        msg = f"options must be SubscribeOptions, not {type(options).__name__}"
        raise TypeError(msg)
    elif qos:
        msg = "qos and options can't be combined: the options have their own qos"
        raise ValueError(msg)
    options = to_subscribe_options(options)
    items = topic if isinstance(topic, list) else [topic]
    return [_subscription(item, options) for item in items]


def _subscription(
    item: object, default: SubscribeOptions
) -> tuple[str, SubscribeOptions]:
    if not isinstance(item, tuple):
        return to_text("topic", item), default
    if len(item) != 2:
        msg = f"topic must be a filter and its options or QoS, not {item!r}"
        raise ValueError(msg)
    topic, options = item
    if is_subscribe_options(options):
        return to_text("topic", topic), to_subscribe_options(options)
    check_qos(options)
    return to_text("topic", topic), SubscribeOptions(options)
