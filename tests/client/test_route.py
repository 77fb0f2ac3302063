"""The addresses of one entry: which is next after a failure or a redirection."""

import pytest

from aiomqtt import MqttConnectError, MqttError, Properties, Redirect
from aiomqtt.client.addresses import Addresses, Step
from aiomqtt.client.route import Route
from aiomqtt.net.target import MemoryTarget, TcpTarget
from aiomqtt.properties import ReasonCode

A, B = TcpTarget("a", 1883), TcpTarget("b", 1883)


def redirection(reference, code=0x9C):
    error = MqttConnectError(ReasonCode(code), "Use another server")
    error.properties = Properties(server_reference=reference)
    return error


def follow(*targets):
    return Route(Addresses(targets or [A], redirect="follow"))


def untried(route):
    return " ".join(str(step.target) for step in route.untried)


def test_the_next_after_a_failure():
    route = Route(Addresses([A, B]))
    assert untried(route) == "a:1883 b:1883"
    step = route.next()
    assert step == Step(A, A)
    assert route.goes_on_after(step, MqttError("lost"))
    assert route.next() == Step(B, B)
    assert route.failures.count == 1


def test_a_final_failure():
    route = Route(Addresses([A, B]))
    assert not route.goes_on_after(route.next(), MqttConnectError(ReasonCode(0x86)))
    assert route.failures.count == 0


def test_a_redirection_is_raised_unless_the_program_says_otherwise():
    route = Route(Addresses([A, B]))
    error = redirection("c")
    assert not route.goes_on_after(route.next(), error)
    assert "followed" not in str(error)


def test_where_it_leads_comes_first():
    route = follow(A, B)
    assert route.goes_on_after(route.next(), redirection("c d"))
    assert untried(route) == "c:1883 d:1883 b:1883"
    step = route.next()
    assert (step.origin, step.hops, step.moved_to) == (A, 1, None)
    assert route.failures.last == ("a:1883: [code:156] Use another server")


def test_to_an_address_that_is_listed_too():
    route = follow(A, B)
    assert route.goes_on_after(route.next(), redirection("c B."))
    assert untried(route) == "c:1883 B.:1883"


@pytest.mark.parametrize(
    ("codes", "moved_to"),
    [
        ([0x9D], ("c", 1883)),
        ([0x9D, 0x9D], ("d", 1883)),
        ([0x9D, 0x9C], ("c", 1883)),
        ([0x9D, 0x9C, 0x9D], ("c", 1883)),
        ([0x9C, 0x9D], None),
    ],
)
def test_what_is_remembered_of_several(codes, moved_to):
    """Only where permanent redirections alone lead to."""
    route = follow(A)
    for code, name in zip(codes, "cde", strict=False):
        assert route.goes_on_after(route.next(), redirection(name, code))
    [step] = route.untried
    assert (step.hops, step.moved_to) == (len(codes), moved_to)


# --- what is not followed ------------------------------------------------------------


def reason(route, error):
    """Have the next address redirect; return why that is not followed."""
    before = len(route.untried)
    assert route.goes_on_after(route.next(), error)
    assert len(route.untried) == before - 1
    assert ", which was not followed: " in str(error)
    return str(error).partition(", which was not followed: ")[2]


def test_at_most_three_in_a_row():
    route = follow(A, B)
    for name in "cde":
        assert route.goes_on_after(route.next(), redirection(name))
    assert reason(route, redirection("f")) == "there were 3 redirections before it"
    # Another address begins anew.
    assert route.goes_on_after(route.next(), redirection("f"))


@pytest.mark.parametrize("names", ["a", "A.", "ca", "cc", "cda", "cdd", "cdc"])
def test_not_in_a_circle(names):
    route = follow(A)
    *on, back = names if names != "A." else [names]
    for name in on:
        assert route.goes_on_after(route.next(), redirection(name))
    why = reason(route, redirection(back))
    assert why == "it leads back to a server that was tried before"


def test_a_circle_is_left_out_of_a_list():
    route = follow(A)
    assert route.goes_on_after(route.next(), redirection("a c"))
    assert untried(route) == "c:1883"


def test_not_to_any_port():
    route = follow(A, TcpTarget("b", 1885))
    why = reason(route, redirection("c:22 d:8883"))
    assert why == "of its ports none is among [1883, 1885]"
    assert route.goes_on_after(route.next(), redirection("c:22 d:1883"))
    assert untried(route) == "d:1883"


def test_not_where_no_server_is_named():
    assert "form such as name:1883" in reason(follow(), redirection("mqtt://c"))


def test_not_without_a_network():
    route = follow(MemoryTarget("a", 1883))
    why = reason(route, redirection("c"))
    assert why == "transport 'memory' leads to no other server"


# --- the function of the program -----------------------------------------------------


def test_a_function_chooses():
    asked = []

    def choose(redirect):
        asked.append(redirect)
        return [("d", 9), redirect.addresses[0]]

    route = Route(Addresses([A], redirect=choose))
    assert route.goes_on_after(route.next(), redirection("c:1", 0x9D))
    assert untried(route) == "d:9 c:1"
    assert asked == [Redirect("a:1883", ReasonCode(0x9D), (("c", 1),), True)]


def test_a_function_that_allows_none():
    route = Route(Addresses([A], redirect=lambda redirect: ()))
    why = reason(route, redirection("c"))
    assert why == "the program's function allows no server of it"


# --- a DISCONNECT before the entry ---------------------------------------------------


def after_disconnect(addresses, code=0x9C, reference="c"):
    addresses.on_connected(addresses.next_round()[0])
    addresses.on_end(redirection(reference, code))
    return addresses


def test_the_next_entry_follows_the_redirection_of_the_last_connection():
    addresses = after_disconnect(Addresses([A, B], redirect="follow"))
    route = Route(addresses)
    assert untried(route) == "c:1883 a:1883 b:1883"
    assert route.failures.count == 0
    assert untried(Route(addresses)) == "a:1883 b:1883"


def test_it_is_remembered_if_the_server_accepts():
    addresses = after_disconnect(Addresses([A, B], redirect="follow"), 0x9D)
    addresses.on_connected(Route(addresses).next())
    assert untried(Route(addresses)) == "c:1883 a:1883 b:1883"


@pytest.mark.parametrize(
    ("policy", "reference"), [("raise", "c"), ("follow", "c:22"), ("follow", "a")]
)
def test_the_next_entry_begins_as_usual(policy, reference):
    addresses = after_disconnect(Addresses([A, B], redirect=policy), 0x9D, reference)
    route = Route(addresses)
    assert untried(route) == "a:1883 b:1883"
    assert bool(route.ignored) == (policy == "follow")
