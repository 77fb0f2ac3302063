"""What to do after each cause: the table, with every reason code of the standard."""

import errno
import socket
import ssl

import pytest

from aiomqtt import MqttCodeError, MqttConnectError, MqttError, Properties
from aiomqtt.client.causes import Action, to_action
from aiomqtt.net.callables import CallableError
from aiomqtt.net.proxy.answers import ProxyError, ProxyPasswordError
from aiomqtt.net.tls import UnusableFileError
from aiomqtt.properties import ReasonCode
from aiomqtt.standard.tables import (
    CONNECT_REASON_CODES,
    PacketType,
    ProtocolVersion,
    Role,
    reason_codes,
)

RETRY, SLOW, STOP = Action.RETRY, Action.SLOW, Action.STOP

CONNACK = {
    "retry": [0x80, 0x83, 0x88, 0x9C, 0x9D],
    "slow": [0x89, 0x97, 0x9F],
    "stop": [
        0x81,
        0x82,
        *range(0x84, 0x88),
        0x8A,
        0x8C,
        0x90,
        0x95,
        *range(0x99, 0x9C),
    ],
}
DISCONNECT = {
    "retry": [0x00, *range(0x80, 0x84), 0x8B, 0x8D, 0x8F, 0x90, *range(0x93, 0x97),
              *range(0x98, 0x9F), *range(0xA0, 0xA3)],
    "slow": [0x89, 0x97, 0x9F],
    "stop": [0x87, 0x8C, 0x8E],
}  # fmt: skip
# The return codes of 3.1 and 3.1.1 (§3.2.2.3 there).
RETURN_CODES = {"retry": [3], "stop": [1, 2, 4, 5]}


def cases(table):
    return [(code, Action(action)) for action in table for code in table[action]]


def known(packet):
    codes = reason_codes(packet, ProtocolVersion.V5, Role.SERVER)
    return {code for code in codes if code or packet is PacketType.DISCONNECT}


def caused(cause, error=None):
    """Return an error of this client with a cause."""
    error = error or MqttError("Could not connect to HOST: why")
    error.__cause__ = cause
    return error


def test_the_tables_below_have_every_code():
    for table, codes in (
        (CONNACK, known(PacketType.CONNACK)),
        (DISCONNECT, known(PacketType.DISCONNECT)),
        (RETURN_CODES, {*CONNECT_REASON_CODES}),
    ):
        assert sorted(code for code, _ in cases(table)) == sorted(codes)


@pytest.mark.parametrize(("code", "expected"), cases(CONNACK))
def test_each_refusal_of_5(code, expected):
    assert to_action(MqttConnectError(ReasonCode(code)), "raise") is expected


@pytest.mark.parametrize(("code", "expected"), cases(RETURN_CODES))
def test_each_refusal_below_5(code, expected):
    error = MqttConnectError(ReasonCode.of_connack(code))
    assert to_action(error, "raise") is expected


@pytest.mark.parametrize(("code", "expected"), cases(DISCONNECT))
def test_each_disconnect(code, expected):
    assert to_action(MqttCodeError(ReasonCode(code)), "raise") is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        # Unknown, or in a packet that the standard does not have it in.
        (MqttConnectError(ReasonCode(0xF0)), STOP),
        (MqttConnectError(ReasonCode.of_connack(6)), STOP),
        (MqttConnectError(ReasonCode(0x8B)), RETRY),
        (MqttCodeError(ReasonCode(0xF0)), RETRY),
        (MqttCodeError(ReasonCode(0x8A)), STOP),
    ],
)
def test_codes_outside_of_the_standard(error, expected):
    assert to_action(error, "raise") is expected


@pytest.mark.parametrize("kind", [MqttCodeError, MqttConnectError])
@pytest.mark.parametrize("code", [0x9C, 0x9D])
def test_a_redirection_names_the_server(kind, code):
    error = kind(ReasonCode(code))
    error.properties = Properties(server_reference="other:1883")
    assert to_action(error, "raise") is Action.REDIRECT


def test_a_takeover_is_answered_only_if_the_program_says_so():
    error = MqttCodeError(ReasonCode(0x8E))
    assert to_action(error, "raise") is STOP
    assert to_action(error, "retry") is RETRY


def openssl(reason):
    error = ssl.SSLError(1, f"[SSL: {reason}] said (_ssl.c:1006)")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        # The network, and brokers that are away.
        (None, RETRY),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), RETRY),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), RETRY),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), RETRY),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset"), RETRY),
        (OSError(errno.EHOSTUNREACH, "No route to host"), RETRY),
        (FileNotFoundError(errno.ENOENT, "of a Unix socket"), RETRY),
        (TimeoutError("HOST did not answer within 10 seconds"), RETRY),
        (ProxyError("the proxy can't be reached"), RETRY),
        (RuntimeError("of any other kind"), RETRY),
        # TLS.
        (ssl.SSLCertVerificationError(1, "certificate has expired"), STOP),
        (openssl("TLSV1_ALERT_UNKNOWN_CA"), STOP),
        (openssl("SSLV3_ALERT_CERTIFICATE_EXPIRED"), STOP),
        (openssl("TLSV13_ALERT_CERTIFICATE_REQUIRED"), STOP),
        (openssl("SSLV3_ALERT_BAD_CERTIFICATE"), STOP),
        (openssl("TLSV1_ALERT_PROTOCOL_VERSION"), STOP),
        (openssl("UNSUPPORTED_PROTOCOL"), STOP),
        (openssl("SSLV3_ALERT_HANDSHAKE_FAILURE"), STOP),
        # A reason without a name in the table of `ssl`.
        (ssl.SSLError(1, "[SSL] tlsv1 alert unrecognized name (_ssl.c:1006)"), STOP),
        (openssl("WRONG_VERSION_NUMBER"), RETRY),
        (openssl("TLSV1_ALERT_INTERNAL_ERROR"), RETRY),
        (openssl("UNEXPECTED_EOF_WHILE_READING"), RETRY),
        # Files of `tls_params`; two of them may be renewed one after the other.
        (FileNotFoundError(errno.ENOENT, "the file can't be read", "ca.crt"), STOP),
        (PermissionError(errno.EACCES, "the file can't be read", "ca.crt"), STOP),
        (UnusableFileError(1, "ca_certs holds no certificate"), STOP),
        (ssl.SSLError(1, "the key does not belong to certfile"), RETRY),
        # What this machine lacks, and what the program said.
        (ImportError("websockets"), STOP),
        (UnicodeEncodeError("idna", "..", 0, 1, "label empty"), STOP),
        (ProxyPasswordError("the proxy needs a password"), STOP),
    ],
)
def test_each_kind_of_failure_without_a_code(cause, expected):
    assert to_action(caused(cause), "raise") is expected


@pytest.mark.parametrize(
    "cause",
    [
        RuntimeError("the token server is down"),
        FileNotFoundError(errno.ENOENT, "the secret is being renewed", "secret"),
        ssl.SSLCertVerificationError(1, "of the token server"),
        ImportError("a mistake, which the log shows"),
    ],
)
def test_a_callable_of_the_program_may_fail_and_work_again(cause):
    failure = CallableError("the callable for credentials raised")
    failure.__cause__ = cause
    assert to_action(failure.to_mqtt_error("HOST"), "raise") is RETRY


def test_an_authenticator_that_does_not_accept_the_broker():
    refusal = MqttError("the broker is not authenticated by SCRAM: wrong signature")
    error = MqttCodeError(ReasonCode(0x80), "Disconnected with Unspecified error")
    assert to_action(caused(refusal, error), "raise") is STOP
    failure = OSError(errno.EIO, "the security module is away")
    assert to_action(caused(failure, error), "raise") is RETRY


REFUSED = caused(ConnectionRefusedError())
BUSY = MqttConnectError(ReasonCode(0x89))
EXPIRED = caused(ssl.SSLCertVerificationError(1, "expired"))
ELSEWHERE = MqttConnectError(ReasonCode(0x9C))
ELSEWHERE.properties = Properties(server_reference="other")


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([EXPIRED, REFUSED], RETRY),
        ([BUSY, REFUSED], RETRY),
        ([BUSY, BUSY], SLOW),
        ([EXPIRED, BUSY], SLOW),
        ([EXPIRED, ELSEWHERE], Action.REDIRECT),
        ([EXPIRED, EXPIRED], STOP),
    ],
)
def test_of_several_addresses_the_best_counts(errors, expected):
    group = ExceptionGroup("the attempts to connect", errors)
    assert to_action(caused(group), "raise") is expected


def test_the_addresses_of_one_name_are_of_the_network():
    group = ExceptionGroup("the attempts to connect", [ConnectionRefusedError()])
    cause = OSError(errno.ECONNREFUSED, "127.0.0.1: refused; ::1: refused")
    cause.__cause__ = group
    assert to_action(caused(cause), "raise") is RETRY
