"""What to do after a connection was lost, or could not be made: the table of causes.

These are rules: nothing here connects, waits or reads a clock.
"""

import ssl
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from aiomqtt.exceptions import MqttCodeError, MqttConnectError, MqttError
from aiomqtt.net.callables import failed_in_program
from aiomqtt.net.explain import openssl_reason
from aiomqtt.net.proxy.answers import ProxyPasswordError
from aiomqtt.net.tls import UnusableFileError
from aiomqtt.standard.names import (
    ADMINISTRATIVE_ACTION,
    BAD_AUTHENTICATION_METHOD,
    BAD_USER_NAME_OR_PASSWORD,
    BANNED,
    CLIENT_IDENTIFIER_NOT_VALID,
    CONNECTION_RATE_EXCEEDED,
    IMPLEMENTATION_SPECIFIC_ERROR,
    KEEP_ALIVE_TIMEOUT,
    MALFORMED_PACKET,
    MAXIMUM_CONNECT_TIME,
    MESSAGE_RATE_TOO_HIGH,
    NOT_AUTHORIZED,
    PACKET_TOO_LARGE,
    PAYLOAD_FORMAT_INVALID,
    PROTOCOL_ERROR,
    QOS_NOT_SUPPORTED,
    QUOTA_EXCEEDED,
    RECEIVE_MAXIMUM_EXCEEDED,
    RETAIN_NOT_SUPPORTED,
    SERVER_BUSY,
    SERVER_MOVED,
    SERVER_SHUTTING_DOWN,
    SERVER_UNAVAILABLE,
    SESSION_TAKEN_OVER,
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED,
    SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED,
    TOPIC_ALIAS_INVALID,
    TOPIC_FILTER_INVALID,
    TOPIC_NAME_INVALID,
    UNSPECIFIED_ERROR,
    UNSUPPORTED_PROTOCOL_VERSION,
    USE_ANOTHER_SERVER,
    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED,
)
from aiomqtt.stores.base import SessionStoreError

from .addresses import is_redirection


class Action(StrEnum):
    """What to do after a connection was lost, or an attempt has failed."""

    RETRY = "retry"
    """Try again, after a delay that grows."""
    SLOW = "slow"
    """Try again, after the longest delay."""
    REDIRECT = "redirect"
    """Go to the server that the broker named."""
    STOP = "stop"
    """End the client with the error."""


# By the reason code of the CONNACK; the return codes of 3.1 and 3.1.1 come translated
# to these. What is not here says nothing about the future: it stops, as only a code
# that is about the server, and not about this CONNECT, is worth another attempt.
CONNACK_ACTIONS: Final = {
    UNSPECIFIED_ERROR: Action.RETRY,
    MALFORMED_PACKET: Action.STOP,
    PROTOCOL_ERROR: Action.STOP,
    IMPLEMENTATION_SPECIFIC_ERROR: Action.RETRY,
    UNSUPPORTED_PROTOCOL_VERSION: Action.STOP,  # 3.1.1: 1
    CLIENT_IDENTIFIER_NOT_VALID: Action.STOP,  # 3.1.1: 2
    BAD_USER_NAME_OR_PASSWORD: Action.STOP,  # 3.1.1: 4
    NOT_AUTHORIZED: Action.STOP,  # 3.1.1: 5
    SERVER_UNAVAILABLE: Action.RETRY,  # 3.1.1: 3
    SERVER_BUSY: Action.SLOW,
    BANNED: Action.STOP,
    # A DISCONNECT has it, too, but some brokers refuse connections with it.
    SERVER_SHUTTING_DOWN: Action.RETRY,
    BAD_AUTHENTICATION_METHOD: Action.STOP,
    # These five are about the will, or about the CONNECT as a whole.
    TOPIC_NAME_INVALID: Action.STOP,
    PACKET_TOO_LARGE: Action.STOP,
    PAYLOAD_FORMAT_INVALID: Action.STOP,
    RETAIN_NOT_SUPPORTED: Action.STOP,
    QOS_NOT_SUPPORTED: Action.STOP,
    QUOTA_EXCEEDED: Action.SLOW,
    # Without a Server Reference.
    USE_ANOTHER_SERVER: Action.RETRY,
    SERVER_MOVED: Action.RETRY,
    CONNECTION_RATE_EXCEEDED: Action.SLOW,
}

# By the reason code of the DISCONNECT of the broker, or of this client, which has the
# same code for what the other end did wrong. What is not here is worth an attempt: the
# broker has accepted the client before.
DISCONNECT_ACTIONS: Final = {
    0: Action.RETRY,
    UNSPECIFIED_ERROR: Action.RETRY,
    MALFORMED_PACKET: Action.RETRY,
    PROTOCOL_ERROR: Action.RETRY,
    IMPLEMENTATION_SPECIFIC_ERROR: Action.RETRY,
    NOT_AUTHORIZED: Action.STOP,
    SERVER_BUSY: Action.SLOW,
    # The standard has this one in a CONNACK only, but a broker that bans a client
    # while it is connected has no other.
    BANNED: Action.STOP,
    SERVER_SHUTTING_DOWN: Action.RETRY,
    BAD_AUTHENTICATION_METHOD: Action.STOP,
    KEEP_ALIVE_TIMEOUT: Action.RETRY,
    # Unless `takeover` is "retry".
    SESSION_TAKEN_OVER: Action.STOP,
    # These are about one packet. A later one need not be like it.
    TOPIC_FILTER_INVALID: Action.RETRY,
    TOPIC_NAME_INVALID: Action.RETRY,
    RECEIVE_MAXIMUM_EXCEEDED: Action.RETRY,
    TOPIC_ALIAS_INVALID: Action.RETRY,
    PACKET_TOO_LARGE: Action.RETRY,
    MESSAGE_RATE_TOO_HIGH: Action.RETRY,
    QUOTA_EXCEEDED: Action.SLOW,
    ADMINISTRATIVE_ACTION: Action.RETRY,
    PAYLOAD_FORMAT_INVALID: Action.RETRY,
    RETAIN_NOT_SUPPORTED: Action.RETRY,
    QOS_NOT_SUPPORTED: Action.RETRY,
    USE_ANOTHER_SERVER: Action.RETRY,
    SERVER_MOVED: Action.RETRY,
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED: Action.RETRY,
    CONNECTION_RATE_EXCEEDED: Action.SLOW,
    MAXIMUM_CONNECT_TIME: Action.RETRY,
    SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED: Action.RETRY,
    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED: Action.RETRY,
}

# By the class of `__cause__`, without a reason code of the broker; the first one that
# fits. All others are of the network, such as a name that can't be resolved, a refused
# connection and a timeout.
CAUSE_ACTIONS: Final[tuple[tuple[type[BaseException], Action], ...]] = (
    # The broker's certificate was not accepted.
    (ssl.SSLCertVerificationError, Action.STOP),
    # A file of `tls_params` has the wrong contents.
    (UnusableFileError, Action.STOP),
    # A package is missing.
    (ImportError, Action.STOP),
    # An answer of a proxy is malformed.
    (UnicodeDecodeError, Action.RETRY),
    # The host name is malformed.
    (UnicodeError, Action.STOP),
    # The proxy wants a password, or another one.
    (ProxyPasswordError, Action.STOP),
    # The authenticator did not accept the broker.
    (MqttError, Action.STOP),
)

# Parts of OpenSSL's reasons that are about a certificate, or about what both ends are
# configured for. Others, such as WRONG_VERSION_NUMBER, may come from a server that
# stands in for the broker while that is away.
_TLS_STOPS: Final = (
    "ACCESS_DENIED",
    "CERTIFICATE",
    "HANDSHAKE_FAILURE",
    "INSUFFICIENT_SECURITY",
    "NO_APPLICATION_PROTOCOL",
    "NO_CIPHERS_AVAILABLE",
    "NO_PROTOCOLS_AVAILABLE",
    "PROTOCOL_VERSION",
    "UNKNOWN_CA",
    "UNRECOGNIZED_NAME",
    "UNSUPPORTED_PROTOCOL",
)


def to_action(error: MqttError, takeover: str) -> Action:
    """Return what to do after an error.

    Args:
        error: Why the connection ended, or why an attempt to connect has failed.
        takeover: "raise" or "retry": what to do after another client with the same
            client identifier has connected.
    """
    if is_redirection(error):
        return Action.REDIRECT
    if isinstance(error, SessionStoreError):
        return Action.STOP
    if failed_in_program(error):
        # It may need the network, too, whatever its exception is.
        return Action.RETRY
    code = int(error.rc) if isinstance(error, MqttCodeError) and error.rc else None
    if isinstance(error, MqttConnectError) and code is not None:
        return CONNACK_ACTIONS.get(code, Action.STOP)
    cause = error.__cause__
    if isinstance(cause, ExceptionGroup):
        return _to_action_for_all(cause.exceptions, takeover)
    action = _to_action_by_cause(cause)
    if action is not None or code is None:
        return action or Action.RETRY
    if code == SESSION_TAKEN_OVER and takeover == "retry":
        return Action.RETRY
    return DISCONNECT_ACTIONS.get(code, Action.RETRY)


def _to_action_by_cause(cause: BaseException | None) -> Action | None:
    for kind, action in CAUSE_ACTIONS:
        if isinstance(cause, kind):
            return action
    if isinstance(cause, OSError) and cause.filename is not None:
        # A file can't be read, such as one of `tls_params`. Errors of sockets name no
        # file, not even those of Unix sockets.
        return Action.STOP
    if isinstance(cause, ssl.SSLError):
        reason = openssl_reason(cause)
        if any(part in reason for part in _TLS_STOPS):
            return Action.STOP
    return None


def _to_action_for_all(errors: Sequence[Exception], takeover: str) -> Action:
    """Return what to do after the attempts to several addresses.

    One that is worth another attempt is enough.
    """
    actions = {
        to_action(error, takeover) for error in errors if isinstance(error, MqttError)
    }
    for action in (Action.RETRY, Action.REDIRECT, Action.SLOW):
        if action in actions:
            return action
    return Action.STOP
