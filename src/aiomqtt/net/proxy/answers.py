"""Explains answers of proxies that don't open a connection, with advice."""

import re
from typing import Final

from aiomqtt.escaping import escape
from aiomqtt.net.http_head import parse_status

NAMES: Final = {"socks4": "SOCKS4", "socks5": "SOCKS5", "http": "HTTP"}

_NEEDS_PASSWORD: Final = (
    "the proxy needs a password: pass proxy_username and proxy_password"
)
WRONG_PASSWORD: Final = (
    "the proxy did not accept the user name and password: check proxy_username and"
    " proxy_password"
)
_NOT_ALLOWED: Final = (
    "its rules forbid it: have its administrator allow this host and port"
)
_FAILED: Final = "the log of the proxy may say why"
_CHECK_HOST: Final = (
    "does the broker run on this port, and is the hostname right, as seen from the"
    " proxy?"
)
# By the code of SOCKS5 (RFC 1928 §6).
_SOCKS5_REPLIES: Final = {
    1: f"general failure: {_FAILED}",
    2: f"not allowed: {_NOT_ALLOWED}",
    3: "network unreachable: is the hostname right, as seen from the proxy?",
    4: "host unreachable: is the hostname right, as seen from the proxy?",
    5: "connection refused: does the broker run, and on this port?",
    6: "time to live expired: is the hostname right, as seen from the proxy?",
    7: "command not supported: use another proxy",
    8: "address type not supported: with proxy_rdns=False it gets an address instead"
    " of a name; or pass an address of another family as hostname",
}
# By the code of SOCKS4.
_SOCKS4_REPLIES: Final = {
    0x5B: "rejected or failed: does the broker run, is the hostname right, as seen from"
    " the proxy, and do its rules allow it?",
    0x5C: "it can't ask identd on this machine who connects: use another proxy",
    0x5D: "identd on this machine names another user: check proxy_username",
}
# By the status of HTTP.
_STATUSES: Final = {
    400: "is this an HTTP proxy?",
    403: _NOT_ALLOWED,
    404: "this is a web server, or it can't find the host: is proxy_addr right, and the"
    " hostname?",
    405: "it does not support CONNECT: is this an HTTP proxy?",
    429: "it gets too many requests: try again later",
    500: f"it could not connect to the host, or failed: {_CHECK_HOST}",
    501: "it does not support CONNECT: is this an HTTP proxy?",
    502: f"it could not connect to the host: {_CHECK_HOST}",
    503: f"it could not connect to the host, or is not available: {_CHECK_HOST}",
    504: "the host did not answer it in time: is the hostname right, as seen from the"
    " proxy?",
}
# 407 and, as tinyproxy answers if the password is wrong, 401.
_AUTHENTICATION_REQUIRED: Final = (401, 407)
_CHALLENGE: Final = re.compile(rb"\r\nproxy-authenticate:[ \t]*([\w-]+)", re.IGNORECASE)


class ProxyError(Exception):
    """The proxy gives no connection, whatever the address of the host is."""


class ProxyPasswordError(ProxyError):
    """The proxy wants a password, or another one."""


class HostError(OSError):
    """The proxy gives no connection to this address; it may give one to another."""


def explain_stranger(answer: bytes, scheme: str) -> ProxyError:
    """Return the error for an answer that is not of the proxy's protocol."""
    name = NAMES[scheme]
    if scheme != "http" and answer.startswith(b"HT"):
        return ProxyError("the proxy speaks HTTP: pass proxy_type=3")
    if answer.startswith((b"\x15\x03", b"\x16\x03")):
        return ProxyError(
            "the proxy speaks TLS, which is not supported there: pass the port where it"
            f" speaks {name}"
        )
    return ProxyError(
        f"the proxy's answer is no {name}: is it a proxy, and are proxy_type and"
        " proxy_port right?"
    )


def explain_closing(scheme: str) -> str:
    """Return the reason if the proxy closes the connection without an answer."""
    return (
        "the proxy closed the connection during the handshake: is it a proxy for"
        f" {NAMES[scheme]}?"
    )


def explain_silence(scheme: str) -> str:
    """Return what to do if the proxy does not connect in time."""
    return f"does the proxy run, for {NAMES[scheme]}, and can it reach the host?"


def explain_method(answer: bytes, has_password: bool) -> ProxyError:
    """Return the error for the choice of an authentication method (RFC 1928 §3)."""
    version, method = answer
    if version != 5:
        return explain_stranger(answer, "socks5")
    if method == 2 or (method == 0xFF and not has_password):
        return ProxyPasswordError(_NEEDS_PASSWORD)
    if method == 0xFF:
        return ProxyError(
            "the proxy accepts neither a password nor a connection without one: use"
            " another proxy"
        )
    return ProxyError(
        f"the proxy asks for authentication method {method}, which is not supported:"
        " use another proxy"
    )


def explain_socks5(answer: bytes) -> ProxyError | HostError:
    """Return the error for an answer to the request of SOCKS5 (RFC 1928 §6)."""
    if answer[0] != 5:
        return explain_stranger(answer, "socks5")
    code = answer[1]
    if code == 0:
        return ProxyError("the proxy's answer is malformed: use another proxy")
    reason = _SOCKS5_REPLIES.get(code, f"unknown code: {_FAILED}")
    text = f"the proxy did not connect to the host (SOCKS5 reply {code}): {reason}"
    return HostError(text)


def explain_socks4(answer: bytes, has_name: bool) -> ProxyError | HostError:
    """Return the error for an answer to the request of SOCKS4.

    Args:
        answer: The answer.
        has_name: Whether the request had the host's name, not its address.
    """
    if answer[0] != 0:
        return explain_stranger(answer, "socks4")
    code = answer[1]
    reason = _SOCKS4_REPLIES.get(code, f"unknown code: {_FAILED}")
    text = f"the proxy did not connect to the host (SOCKS4 reply {code}): {reason}"
    if has_name and code == 0x5B:
        text += "; it may take no names: with proxy_rdns=False it gets an address"
    return HostError(text)


def explain_http(head: bytes, has_password: bool) -> ProxyError | HostError | None:
    """Return the error for an answer to CONNECT, or None if the host is connected.

    Any 2xx is one (RFC 9110 §9.3.6).
    """
    found = parse_status(head)
    if found is None:
        return explain_stranger(head, "http")
    status, shown = found
    if 200 <= status < 300:
        return None
    said = f"the proxy answered {shown}"
    if status in _AUTHENTICATION_REQUIRED:
        return ProxyPasswordError(f"{said}: {_explain_challenge(head, has_password)}")
    advice = _STATUSES.get(status, "is this an HTTP proxy?")
    text = f"{said}: {advice}"
    return HostError(text) if status >= 500 else ProxyError(text)


def _explain_challenge(head: bytes, has_password: bool) -> str:
    offered = [name.decode("ascii") for name in _CHALLENGE.findall(head)]
    if offered and "basic" not in [name.lower() for name in offered]:
        return (
            f"it asks for {escape(', '.join(offered))} authentication, and only Basic"
            " is supported: use another proxy"
        )
    return WRONG_PASSWORD if has_password else _NEEDS_PASSWORD
