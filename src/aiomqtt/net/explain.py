"""Explanations why a connection failed or was lost, with advice."""

import asyncio
import os
import socket
import ssl
from typing import Final

from aiomqtt.escaping import escape
from aiomqtt.exceptions import MqttError

TLS_EXPECTED: Final = "does this port expect TLS, or a client certificate?"
_RENEW: Final = "the broker's certificate has to be renewed"
_AUTHORITY: Final = "pass the certificate of the broker's authority as ca_certs"
_NAME: Final = (
    "if this is the broker, pass the name in its certificate as server_hostname"
)
# The advice, by OpenSSL's number of the check that failed.
_ADVICE: Final = {
    9: "is the clock right?",
    10: _RENEW,
    18: "if it is the broker's own, pass it as ca_certs",
    19: _AUTHORITY,
    20: _AUTHORITY,
    21: _AUTHORITY,
    23: _RENEW,  # it was revoked
    26: "the broker needs a certificate for servers",
    62: _NAME,
    64: _NAME,
    66: _RENEW,  # its key or its signature is too weak
    67: _RENEW,
    68: _RENEW,
}
_NO_TLS: Final = "the other end speaks no TLS: does this port expect it?"
_NO_VERSION: Final = "client and broker have no version of TLS in common"
# Up to TLS 1.2 there is one alert for both.
_NO_CIPHER: Final = (
    "client and broker have no cipher in common, or the broker wants a client"
    " certificate: check ciphers and certfile"
)
_KIND: Final = "the broker did not accept the kind of the client certificate"
_REFUSED: Final = "the broker did not accept the client certificate: see its log"
# The explanation, by a part of OpenSSL's reason. An alert (RFC 8446 §6.2) is from the
# broker, and so about the certificate of the client.
_REASONS: Final = (
    ("WRONG_VERSION_NUMBER", _NO_TLS),
    ("RECORD_LAYER_FAILURE", _NO_TLS),
    ("UNEXPECTED_EOF", _NO_TLS),
    ("HTTP_REQUEST", "the other end speaks HTTP"),
    ("PROTOCOL_VERSION", _NO_VERSION),
    ("UNSUPPORTED_PROTOCOL", _NO_VERSION),
    ("NO_PROTOCOLS_AVAILABLE", "the client allows no version of TLS"),
    ("NO_CIPHERS_AVAILABLE", "the client's ciphers are for no version that it allows"),
    ("HANDSHAKE_FAILURE", _NO_CIPHER),
    ("INSUFFICIENT_SECURITY", "the broker wants stronger ciphers: check ciphers"),
    ("NO_APPLICATION_PROTOCOL", "the broker accepts no protocol of alpn_protocols"),
    ("UNRECOGNIZED_NAME", "the broker has no such name: check server_hostname"),
    ("CERTIFICATE_REQUIRED", "the broker wants a client certificate: pass certfile"),
    (
        "UNKNOWN_CA",
        "the broker does not know who signed the client certificate: check certfile",
    ),
    ("CERTIFICATE_EXPIRED", "the client certificate has expired: renew certfile"),
    ("CERTIFICATE_REVOKED", "the client certificate was revoked: renew certfile"),
    ("UNSUPPORTED_CERTIFICATE", f"{_KIND}: is it one for clients?"),
    ("BAD_CERTIFICATE", _REFUSED),
    ("CERTIFICATE_UNKNOWN", _REFUSED),
    ("ACCESS_DENIED", _REFUSED),
    ("INTERNAL_ERROR", "the broker failed: see its log"),
)


def explain_handshake(error: BaseException) -> str:
    """Return why a TLS handshake failed."""
    if isinstance(error, ConnectionError):
        # asyncio raises one without a text, even if the peer sent a FIN.
        return f"it ended the TLS handshake: {TLS_EXPECTED}"
    return explain(error)


def explain_loss(
    target: str,
    error: Exception | None,
    transport: asyncio.BaseTransport | None,
    was_accepted: bool,
) -> MqttError:
    """Return an error that says why a connection was lost.

    Args:
        target: Host and port.
        error: The error from the transport; None: the other end closed it.
        transport: The transport of the connection.
        was_accepted: Whether its CONNACK had come.
    """
    reason = escape(_reason_of_loss(error, transport, was_accepted))
    explanation = MqttError(f"Connection to {target} lost: {reason}")
    explanation.__cause__ = error
    return explanation


def _reason_of_loss(
    error: Exception | None,
    transport: asyncio.BaseTransport | None,
    was_accepted: bool,
) -> str:
    reason = "the broker closed it" if error is None else explain(error)
    if was_accepted or isinstance(error, ssl.SSLError):
        # In TLS 1.3 the handshake is over before the broker refuses a certificate.
        return reason
    reason += ", before its CONNACK"
    if transport is None or transport.get_extra_info("subprotocol") is not None:
        # The server has spoken WebSocket, so it is the right port.
        return reason
    if transport.get_extra_info("ssl_object") is not None:
        return f"{reason}: does it want a client certificate, or another one?"
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        # In memory and on Unix sockets there is no TLS.
        return reason
    return f"{reason}: does this port expect TLS, or WebSocket?"


def explain(error: BaseException) -> str:
    """Return the text of an exception of the network, with advice."""
    if isinstance(error, ssl.SSLCertVerificationError):
        said = error.verify_message.rstrip(".")
        text = f"the certificate was not accepted: {said}"
        advice = _ADVICE.get(error.verify_code)
        return f"{text}: {advice}" if advice else text
    if isinstance(error, ssl.SSLError):
        reason = openssl_reason(error)
        for part, meaning in _REASONS:
            if part in reason:
                return f"{meaning} ({reason})"
    if isinstance(error, socket.gaierror):
        return f"the host name can't be resolved: {error.strerror}"
    if isinstance(error, OSError) and error.strerror:
        if error.filename:
            return f"{error.strerror}: {error.filename!r}"
        # asyncio's own text, for the same text on each event loop.
        if error.strerror.startswith("Connect call failed") and error.errno:
            return f"[Errno {error.errno}] {os.strerror(error.errno)}"
    return str(error) or type(error).__name__


def openssl_reason(error: ssl.SSLError) -> str:
    """Return OpenSSL's reason, such as "WRONG_VERSION_NUMBER".

    An error that was not raised by `ssl` itself has none; then this is its text.
    """
    # `ssl` knows no names for reasons that are newer than its table, but their text:
    # "[SSL] tlsv1 alert no application protocol (_ssl.c:1006)".
    text = str(error).partition("] ")[2].partition(" (")[0]
    reason: str | None = getattr(error, "reason", None)
    return reason or text.upper().replace(" ", "_")
