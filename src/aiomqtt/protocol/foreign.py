"""Telling what answers a CONNECT when it is not MQTT."""

from typing import Final

# What other protocols begin with, and what that says about the port.
_BEGINNINGS: Final = (
    (
        b"HTTP/",
        "the other end speaks HTTP: this is the port of a web server or of WebSocket",
    ),
    (b"\x15\x03", "the other end speaks TLS: pass tls_params or tls_context"),
    (b"\x16\x03", "the other end speaks TLS: pass tls_params or tls_context"),
    (b"SSH-", "the other end speaks SSH"),
    (b"AMQP", "the other end speaks AMQP: MQTT has a port of its own there"),
)


def foreign_protocol(data: bytes) -> str | None:
    """Return what the first bytes of a connection say of its other end, or None."""
    for beginning, meaning in _BEGINNINGS:
        if data.startswith(beginning):
            return meaning
    return None
