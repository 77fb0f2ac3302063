"""Server redirection (MQTT 5.0 §4.11): which other servers a client may go to.

These are the rules: nothing here connects or waits. The module is imported when a
broker first redirects.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv6Address
from typing import Final, NamedTuple, TypeAlias

from aiomqtt.escaping import escape
from aiomqtt.exceptions import MqttError
from aiomqtt.net.callables import mark
from aiomqtt.net.target import Target, TcpTarget, WebSocketTarget
from aiomqtt.properties import ReasonCode
from aiomqtt.standard.names import SERVER_MOVED

# A host and its port.
Address: TypeAlias = tuple[str, int]

# How often one entry follows redirections that follow on each other.
MAXIMUM_HOPS: Final = 3
# The number of addresses of one reference that are used.
MAXIMUM_ADDRESSES: Final = 16
# The longest name of the DNS.
LONGEST_NAME: Final = 253

# "name", "name:port", "[name]", "[name]:port": the form that §4.11 recommends. The
# name in brackets is an address of IPv6.
_REFERENCE: Final = re.compile(
    r"(?:\[(?P<bracketed>[0-9A-Fa-f:.]+)\]|(?P<name>[\w.-]+))(?::(?P<port>[0-9]{1,5}))?"
)


class Redirect(NamedTuple):
    """A broker's request to use another server (MQTT 5.0 §4.11).

    Attributes:
        source: The address of the broker that sent it, as in errors: "host:1883".
        reason_code: 0x9C (Use another server) or 0x9D (Server moved).
        addresses: Host and port of the servers to use instead, in the broker's order.
            A server that the broker named without a port has the port of `source`.
        is_permanent: Whether the broker asks to use them from now on: 0x9D.
    """

    source: str
    reason_code: ReasonCode
    addresses: tuple[Address, ...]
    is_permanent: bool


# Returns the addresses to use.
RedirectFunction: TypeAlias = Callable[[Redirect], Iterable[Address]]


def parse_server_reference(reference: str, default_port: int) -> list[Address]:
    """Return the addresses of a Server Reference, which separates them by spaces.

    What has another form than §4.11 recommends is left out.

    Args:
        reference: The Server Reference.
        default_port: The port of a server without one.
    """
    found: list[Address] = []
    for text in reference.split(" "):
        address = _parse_address(text, default_port)
        if address is not None and address not in found:
            found.append(address)
            if len(found) == MAXIMUM_ADDRESSES:
                break
    return found


def _parse_address(text: str, default_port: int) -> Address | None:
    if _is_ipv6(text):
        # Without brackets no port can follow it.
        return text, default_port
    match = _REFERENCE.fullmatch(text)
    if match is None or not text.isascii():
        return None
    name = match["bracketed"] or match["name"]
    if match["bracketed"] and not _is_ipv6(name):
        return None
    port = default_port if match["port"] is None else int(match["port"])
    if not 1 <= port <= 65535 or len(name) > LONGEST_NAME or not name.strip("."):
        return None
    return name, port


def _is_ipv6(text: str) -> bool:
    try:
        # With a zone, it is an address that only the broker knows.
        return ":" in text and "%" not in text and bool(IPv6Address(text))
    except ValueError:
        return False


def to_redirect(source: Target, error: MqttError) -> Redirect | None:
    """Return the redirection that ended a connection; None: it names no server.

    Args:
        source: The target of the connection.
        error: The error with which it ended.
    """
    reference, code = error.server_reference, error.reason_code
    if reference is None or code is None:
        return None
    addresses = tuple(parse_server_reference(reference, source.port))
    if not addresses:
        return None
    return Redirect(str(source), code, addresses, int(code) == SERVER_MOVED)


def default_port(target: Target) -> int:
    """Return the default port of a target's transport, with or without TLS."""
    uses_tls = isinstance(target, TcpTarget) and target.uses_tls
    if isinstance(target, WebSocketTarget):
        return 443 if uses_tls else 80
    return 8883 if uses_tls else 1883


def allowed_ports(origins: Sequence[Target]) -> set[int]:
    """Return the ports that "follow" allows: the default, and those of the program.

    Args:
        origins: The targets that the program named.
    """
    return {default_port(origins[0]), *(origin.port for origin in origins)}


def choose_addresses(function: RedirectFunction, redirect: Redirect) -> list[Address]:
    """Return the addresses that a function of the program chooses.

    Raises:
        MqttError: The function raised an exception, which is the cause.
        TypeError: It returned something else.
        ValueError: A host is empty, or a port out of range.
    """
    try:
        chosen = function(redirect)
    except MqttError:
        raise
    except Exception as error:
        msg = (
            f"Could not follow the redirection by {redirect.source}: the callable for"
            f" redirect raised {type(error).__name__}"
        )
        raise mark(MqttError(msg)) from error
    return check_addresses(chosen)


def check_addresses(addresses: Iterable[Address]) -> list[Address]:
    """Return the addresses that a function of the program returned.

    Raises:
        TypeError: The function returned something else.
        ValueError: A host is empty, or a port out of range.
    """
    found: list[Address] = []
    if isinstance(addresses, str | bytes) or not isinstance(addresses, Iterable):
        msg = (
            "redirect must return tuples of host and port, or nothing: [], not"
            f" {type(addresses).__name__}"
        )
        raise TypeError(msg)
    for address in addresses:
        match address:
            case (str(hostname), int(port)):
                if not hostname or not 1 <= port <= 65535:
                    msg = f"redirect must return hosts and their ports, not {address!r}"
                    raise ValueError(msg)
                found.append((hostname, port))
            case _:
                msg = f"redirect must return tuples of host and port, not {address!r}"
                raise TypeError(msg)
    return found


def add_reason(error: MqttError, reason: str) -> None:
    """Add to the text of an error why its redirection was not followed."""
    text = " ".join(map(str, error.args))
    error.args = (f"{text}, which was not followed: {escape(reason)}",)
