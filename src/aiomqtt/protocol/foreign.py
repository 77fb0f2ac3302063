"""Recognition of other protocols from the first bytes of a connection."""

from typing import Final

# The first bytes of other protocols, and advice about the port.
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
    """Return a hint if the bytes begin another protocol that is known, else None."""
    for beginning, meaning in _BEGINNINGS:
        if data.startswith(beginning):
            return meaning
    return None
