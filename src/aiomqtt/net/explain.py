"""Explanations why a connection failed or was lost, with advice."""

import asyncio
import os
import socket
import ssl
from typing import Final

# The advice, by OpenSSL's number of the check that failed.
_ADVICE: Final = {
    9: "it is not valid yet: is the clock right?",
    10: "the broker's certificate has to be renewed",
    18: "if it is the broker's own, pass it as ca_certs",
    19: "pass the certificate of the broker's authority as ca_certs",
    20: "pass the certificate of the broker's authority as ca_certs",
    62: "if this is the broker, pass the name in its certificate as server_hostname",
    64: "if this is the broker, pass the name in its certificate as server_hostname",
}
# The explanation, by a part of OpenSSL's reason.
_REASONS: Final = (
    ("WRONG_VERSION_NUMBER", "the other end speaks no TLS: does this port expect it?"),
    ("RECORD_LAYER_FAILURE", "the other end speaks no TLS: does this port expect it?"),
    ("UNEXPECTED_EOF", "the other end speaks no TLS: does this port expect it?"),
    ("HTTP_REQUEST", "the other end speaks HTTP"),
    ("PROTOCOL_VERSION", "client and broker have no version of TLS in common"),
    ("UNSUPPORTED_PROTOCOL", "client and broker have no version of TLS in common"),
    ("HANDSHAKE_FAILURE", "client and broker have no cipher in common"),
    ("CERTIFICATE_REQUIRED", "the broker wants a client certificate: pass certfile"),
    ("UNKNOWN_CA", "the broker does not know who signed the client certificate"),
    ("CERTIFICATE_EXPIRED", "the client certificate has expired"),
    ("BAD_CERTIFICATE", "the broker did not accept the client certificate"),
    ("CERTIFICATE_UNKNOWN", "the broker did not accept the client certificate"),
)


def explain_handshake(error: BaseException) -> str:
    """Return why a TLS handshake failed."""
    if isinstance(error, ConnectionError):
        # asyncio raises one without a text, even if the peer sent a FIN.
        return "it ended the TLS handshake: does this port expect TLS?"
    return explain(error)


def explain_loss(
    error: BaseException | None,
    transport: asyncio.BaseTransport | None,
    was_accepted: bool,
) -> str:
    """Return why a connection was lost.

    Args:
        error: The error from the transport; None: the other end closed it.
        transport: The transport of the connection.
        was_accepted: Whether its CONNACK had come.
    """
    reason = "the broker closed it" if error is None else explain(error)
    if was_accepted:
        return reason
    reason += ", before its CONNACK"
    sock = None if transport is None else transport.get_extra_info("socket")
    if transport is None or sock is None:
        return reason
    if transport.get_extra_info("subprotocol") is not None:
        # The server has spoken WebSocket, so it is the right port.
        return reason
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        # A Unix socket, where there is no TLS.
        return reason
    if transport.get_extra_info("ssl_object") is None:
        return f"{reason}: does this port expect TLS?"
    return f"{reason}: does it want a client certificate?"


def explain(error: BaseException) -> str:
    """Return the text of an exception of the network, with advice."""
    if isinstance(error, ssl.SSLCertVerificationError):
        said = error.verify_message.rstrip(".")
        text = f"the certificate was not accepted: {said}"
        advice = _ADVICE.get(error.verify_code)
        return f"{text}: {advice}" if advice else text
    if isinstance(error, ssl.SSLError):
        # An error that was not raised by `ssl` itself has none.
        reason = getattr(error, "reason", None) or ""
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
