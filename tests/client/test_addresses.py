"""The order of several addresses, and when to try the next: rules without a socket."""

import math
import random

import pytest

from aiomqtt import MqttCodeError, MqttConnectError, MqttError, Properties
from aiomqtt.client.addresses import (
    LONGEST_ATTEMPT,
    ORDERS,
    Addresses,
    Failures,
    Step,
    is_final,
    is_redirection,
    time_for_attempt,
)
from aiomqtt.net.target import TcpTarget
from aiomqtt.properties import ReasonCode

A, B, C, D = (TcpTarget(name, 1883) for name in "abcd")


def rounds(addresses, count):
    return [
        "".join(step.target.hostname for step in addresses.next_round())
        for _ in range(count)
    ]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("listed", ["abc", "abc", "abc", "abc"]),
        ("round_robin", ["abc", "bca", "cab", "abc"]),
        ("random", ["cba", "cba", "cba", "cba"]),
    ],
)
def test_the_order_of_each_entry(order, expected):
    addresses = Addresses([A, B, C], order, shuffle=list.reverse)
    assert rounds(addresses, 4) == expected


@pytest.mark.parametrize("order", ORDERS)
def test_one_address_is_tried_alone(order):
    assert rounds(Addresses([A], order), 3) == ["a", "a", "a"]


def test_at_random_each_comes_first_equally_often():
    shuffle = random.Random(15).shuffle
    firsts = [
        one[0] for one in rounds(Addresses([A, B, C], "random", shuffle=shuffle), 3000)
    ]
    for name in "abc":
        assert 900 < firsts.count(name) < 1100


def test_without_a_source_of_its_own_it_is_random_too():
    assert {*rounds(Addresses([A, B], "random"), 100)} == {"ab", "ba"}


def test_a_round_leaves_the_list_as_it_is():
    addresses = Addresses([A, B, C], "random", shuffle=list.reverse)
    addresses.next_round().clear()
    assert addresses.targets == [A, B, C]


@pytest.mark.parametrize(
    ("remaining", "attempts", "attempt_timeout", "expected"),
    [
        # Each gets its share of what is left ...
        (10, 1, None, 10),
        (10, 2, None, 5),
        (9, 3, None, 3),
        # ... unless the program says how much,
        (10, 2, 3, 3),
        (10, 1, 3, 3),
        (2, 2, 3, 2),
        (math.inf, 2, 3, 3),
        (10, 2, math.inf, 10),
        # ... and without any limit the first must not take forever.
        (math.inf, 2, None, LONGEST_ATTEMPT),
        (math.inf, 1, None, math.inf),
    ],
)
def test_the_time_of_an_attempt(remaining, attempts, attempt_timeout, expected):
    assert time_for_attempt(remaining, attempts, attempt_timeout) == expected


# --- when to try the next ----------------------------------------------------------

ABOUT_THE_SERVER = [0x80, 0x83, 0x88, 0x89, 0x8B, 0x97, 0x9C, 0x9D, 0x9F]
ABOUT_THE_CONNECT = [0x81, 0x82, 0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x90, 0x95]
ABOUT_THE_CONNECT += [0x99, 0x9A, 0x9B]


@pytest.mark.parametrize("code", ABOUT_THE_SERVER)
def test_a_refusal_that_is_about_the_server(code):
    assert not is_final(MqttConnectError(ReasonCode(code)))


@pytest.mark.parametrize("code", ABOUT_THE_CONNECT)
def test_a_refusal_that_is_about_the_connect(code):
    assert is_final(MqttConnectError(ReasonCode(code)))


@pytest.mark.parametrize(
    ("return_code", "final"),
    [(1, True), (2, True), (3, False), (4, True), (5, True)],
)
def test_a_refusal_below_5(return_code, final):
    assert is_final(MqttConnectError(ReasonCode.of_connack(return_code))) is final


@pytest.mark.parametrize(
    ("kind", "code", "reference", "expected"),
    [
        (MqttConnectError, 0x9C, "other:1883", True),
        (MqttConnectError, 0x9D, "other:1883", True),
        (MqttCodeError, 0x9D, "other:1883", True),
        (MqttConnectError, 0x9C, None, False),
        (MqttConnectError, 0x9C, "", False),
        (MqttConnectError, 0x89, "other:1883", False),
    ],
)
def test_a_redirection_names_another_server(kind, code, reference, expected):
    error = kind(ReasonCode(code))
    error.properties = Properties(server_reference=reference)
    assert error.server_reference == reference
    assert is_redirection(error) is expected


# --- servers that have moved ---------------------------------------------------------


def moved(addresses, origin, *address):
    there = origin.moved_to(*address)
    addresses.on_connected(Step(there, origin, 1, address))


def test_a_server_that_has_moved_is_tried_there_first():
    addresses = Addresses([A, B])
    moved(addresses, A, "c", 1884)
    assert rounds(addresses, 2) == ["cab", "cab"]
    [first, *_] = addresses.next_round()
    assert (str(first.target), first.origin, first.hops) == ("c:1884", A, 0)
    # It may move again,
    moved(addresses, A, "d", 1884)
    assert rounds(addresses, 1) == ["dab"]
    # or return.
    addresses.on_connected(Step(A, A))
    assert rounds(addresses, 1) == ["ab"]


def test_a_server_that_was_reached_for_now_is_not_remembered():
    addresses = Addresses([A, B])
    addresses.on_connected(Step(A.moved_to("c", 1), A, 1, None, False))
    assert rounds(addresses, 1) == ["ab"]


def test_the_order_counts_a_moved_server_once():
    addresses = Addresses([A, B], "round_robin")
    moved(addresses, A, "c", 1884)
    assert rounds(addresses, 3) == ["cab", "bca", "cab"]


def test_a_redirection_that_ends_a_connection_is_taken_once():
    addresses, step = Addresses([A]), Step(A, A)
    error = MqttCodeError(ReasonCode(0x9C))
    error.properties = Properties(server_reference="b")
    addresses.on_end(error)  # without a connection
    assert addresses.take_redirection() is None
    addresses.on_connected(step)
    addresses.on_end(error)
    assert addresses.take_redirection() == (step, error)
    assert addresses.take_redirection() is None
    addresses.on_connected(step)
    addresses.on_end(MqttError("lost"))
    assert addresses.take_redirection() is None


@pytest.mark.parametrize(
    "error",
    [
        MqttError("Could not connect to a:1883: Connection refused"),
        MqttError("Operation timed out"),
        # The other end does not speak MQTT.
        MqttCodeError(ReasonCode(0x82), "Disconnected with Protocol error: ..."),
        MqttConnectError(None),
    ],
)
def test_a_broken_connection_is_not_final(error):
    assert not is_final(error)


def test_a_missing_package_is():
    error = MqttError("WebSocket needs a package")
    error.__cause__ = ImportError("websockets")
    assert is_final(error)


# --- the error -----------------------------------------------------------------------


def test_one_failure_is_the_error():
    failures, error = Failures(), MqttError("Operation timed out")
    failures.add("a:1883", error)
    assert failures.to_error([], 10) is error


def test_several_are_named_each_with_its_reason():
    failures = Failures()
    late = MqttError("Operation timed out")
    late.__cause__ = TimeoutError("b:1883 sent no CONNACK within 3 seconds")
    errors = [
        MqttError("Could not connect to a:1883: [Errno 111] Connection refused"),
        late,
        MqttConnectError(ReasonCode(0x89)),
    ]
    for target, error in zip([A, B, C], errors, strict=True):
        failures.add(str(target), error)
    error = failures.to_error([Step(D, D)], 9)
    assert str(error) == (
        "Could not connect to any of 4 brokers:"
        " a:1883: [Errno 111] Connection refused;"
        " b:1883: sent no CONNACK within 3 seconds;"
        " c:1883: [code:137] Server busy;"
        " d:1883: not tried, for the 9 seconds were over"
    )
    assert isinstance(error.__cause__, ExceptionGroup)
    assert list(error.__cause__.exceptions) == errors


@pytest.mark.parametrize(
    "said", ["Could not connect to a:1883: why", "Connection to a:1883 lost: why"]
)
def test_each_failure_names_its_address_once(said):
    failures = Failures()
    failures.add("a:1883", MqttError(said))
    assert failures.last == "a:1883: why"


def test_what_failed_before_is_a_note_of_the_error_that_stops():
    failures, error = Failures(), MqttConnectError(ReasonCode(0x86))
    failures.add("a:1883", MqttError("Could not connect to a:1883: refused"))
    failures.add_note_to(error)
    assert error.__notes__ == ["Before that, a:1883: refused"]
