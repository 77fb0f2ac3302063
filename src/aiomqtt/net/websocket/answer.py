"""Explains an answer to the WebSocket handshake that does not open a WebSocket."""

import re
from typing import Final
from urllib.parse import urlsplit

from aiomqtt.escaping import escape
from aiomqtt.net.http_head import parse_status
from aiomqtt.net.target import WebSocketTarget
from aiomqtt.protocol.foreign import foreign_protocol

# How much of an answer is read before its headers must have ended, in bytes.
MAXIMUM_HEAD: Final = 64 * 1024

_LOCATION: Final = re.compile(rb"\r\nlocation:[ \t]*([^\r\n]*)", re.IGNORECASE)
_SWITCHING_PROTOCOLS: Final = 101
# By status: what to do.
_ADVICE: Final = {
    400: "does this port expect TLS, or another websocket_path?",
    401: "pass credentials in websocket_headers, such as Authorization",
    403: "check the credentials and the Origin in websocket_headers",
    404: "nothing has the path {path}: pass the websocket_path of the broker",
    405: "the path {path} takes no WebSocket: pass the websocket_path of the broker",
    407: "a proxy on the way needs a password",
    426: "the path {path} takes another protocol than WebSocket, or another version of"
    " it: check websocket_path",
    429: "it gets too many requests: try again later",
    503: "it is not available: try again later",
}


def explain_answer(head: bytes, target: WebSocketTarget) -> str | None:
    """Return why an answer is none that agrees, or None if it may be.

    Args:
        head: The beginning of the answer, with all headers if it is of HTTP.
        target: The server.
    """
    found = parse_status(head)
    if found is None:
        foreign = None if head.startswith(b"HTTP/") else foreign_protocol(head)
        return foreign or (
            "its answer to the WebSocket handshake is no HTTP: does this port expect"
            " WebSocket?"
        )
    status, shown = found
    if status == _SWITCHING_PROTOCOLS:
        return None
    said = f"it answered the WebSocket handshake with {shown}"
    advice = _advise(status, head, target)
    return f"{said}: {advice}" if advice else said


def _advise(status: int, head: bytes, target: WebSocketTarget) -> str:
    """Return what to do about a status."""
    location = _LOCATION.search(head)
    if 300 <= status < 400 and location is not None:
        place = _without_secrets(location[1].decode("latin-1").strip())
        return f"connect to {escape(place)} instead"
    if status in _ADVICE:
        return _ADVICE[status].format(path=repr(escape(target.shown_path)))
    if status >= 500:
        return "it failed: see its log"
    if status < 300:
        return (
            "this is a web server: pass the port and the websocket_path of the broker"
        )
    return ""


def _without_secrets(url: str) -> str:
    """Return a URL without its password and its query."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "another address"
    if ":" in host:
        host = f"[{host}]"
    start = f"{parts.scheme}://{host}" if parts.scheme else ""
    return f"{start}{f':{port}' if port else ''}{parts.path}"
