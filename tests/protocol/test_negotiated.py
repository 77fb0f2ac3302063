"""The state that ends with a connection: limits, keep alive."""

import pytest

from aiomqtt.properties import Properties, ReasonCode
from aiomqtt.protocol.negotiated import Negotiated, ServerLimits
from aiomqtt.protocol.packets import Connack, Connect
from aiomqtt.protocol.wire import PacketError
from aiomqtt.standard.tables import ProtocolVersion


def connack(**properties) -> Connack:
    values = Properties(**properties) if properties else None
    return Connack(False, ReasonCode(0), values)


def first_byte(qos: int = 0, retain: bool = False) -> int:
    return 0x30 | qos << 1 | retain


# --- limits ---------------------------------------------------------------------


@pytest.mark.parametrize("limits", [ServerLimits(), ServerLimits(connack())])
def test_without_properties_everything_is_allowed(limits):
    for qos in range(3):
        assert limits.refusal(first_byte(qos, True), 268_435_460) == 0
    assert limits.receive_maximum == 65_535
    assert limits.topic_alias_maximum == 0
    assert limits.wildcards
    assert limits.identifiers
    assert limits.shared


@pytest.mark.parametrize(
    ("properties", "qos", "retain", "size", "code"),
    [
        ({"maximum_qos": 0}, 0, False, 10, 0),
        ({"maximum_qos": 0}, 1, False, 10, 0x9B),
        ({"maximum_qos": 0}, 2, False, 10, 0x9B),
        ({"maximum_qos": 1}, 1, False, 10, 0),
        ({"maximum_qos": 1}, 2, False, 10, 0x9B),
        ({"retain_available": 0}, 0, False, 10, 0),
        ({"retain_available": 0}, 0, True, 10, 0x9A),
        ({"retain_available": 1}, 0, True, 10, 0),
        ({"maximum_packet_size": 10}, 0, False, 10, 0),
        ({"maximum_packet_size": 10}, 0, False, 11, 0x95),
    ],
)
def test_a_refusal_names_its_reason(properties, qos, retain, size, code):
    limits = ServerLimits(connack(**properties))
    assert limits.refusal(first_byte(qos, retain), size) == code


@pytest.mark.parametrize("value", [0, 1])
def test_kinds_of_subscriptions_are_available_or_not(value):
    limits = ServerLimits(
        connack(
            wildcard_subscription_available=value,
            subscription_identifier_available=value,
            shared_subscription_available=value,
        )
    )
    assert [limits.wildcards, limits.identifiers, limits.shared] == [bool(value)] * 3


# --- the ping clock -------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "servers", "first"),
    [(100, None, 90), (100, 10, 9), (100, 0, None), (0, None, None), (0, 10, 9)],
)
def test_the_server_keep_alive_takes_precedence(own, servers, first):
    connection = Negotiated(Connect(ProtocolVersion.V5, keep_alive=own))
    assert connection.keep_alive.due is None
    connection.accept(connack(server_keep_alive=servers), now=0)
    assert connection.keep_alive.due == first


# --- authentication, problem information, the session -----------------------------


def test_request_problem_information_0_allows_no_reasons():
    wants = Negotiated(Connect(ProtocolVersion.V5))
    refuses = Negotiated(
        Connect(
            ProtocolVersion.V5, properties=Properties(request_problem_information=0)
        )
    )
    for values in (
        Properties(reason_string="r"),
        Properties(user_property=[("a", "b")]),
    ):
        wants.check_problem_information(values)
        with pytest.raises(PacketError) as raised:
            refuses.check_problem_information(values)
        assert raised.value.reason_code == 0x82
    refuses.check_problem_information(None)
    refuses.check_problem_information(Properties())


@pytest.mark.parametrize(
    ("version", "clean_start", "asked", "granted", "persists"),
    [
        (3, True, None, None, False),
        (3, False, None, None, True),
        (4, True, None, None, False),
        (4, False, None, None, True),
        (5, False, None, None, False),
        (5, True, 10, None, True),
        (5, True, 10, 0, False),
        (5, True, None, 10, True),
        (5, False, 0, None, False),
    ],
)
def test_whether_the_session_outlives_the_connection(
    version, clean_start, asked, granted, persists
):
    connect = Connect(ProtocolVersion(version), clean_start=clean_start)
    if asked is not None:
        connect.properties = Properties(session_expiry_interval=asked)
    answer = connack() if granted is None else connack(session_expiry_interval=granted)
    assert Negotiated(connect).persists(answer) is persists
